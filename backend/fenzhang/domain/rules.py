"""A rule version: an ordered list of legs that forms a tree. `validate` says whether a list of legs is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from fenzhang.domain.errors import InvalidRule

ROOT = -1
"""`parent` of a leg that takes from the whole amount."""
MAX_LEGS = 32
MAX_LEAVES = 20
"""Bounds what one split may cost on chain."""
MAX_DEPTH = 4
"""A leg of the root has depth 1."""
BASIS_POINTS = 10_000
RECIPIENT_SIZE = 32
"""Bytes of a participant id."""
MAX_ROLE_LENGTH = 32
"""A role name is a `bytes32` on chain."""
MAX_CHAIN_AMOUNT = 2**96 - 1
"""Largest amount the contracts can hold, minor units."""


class LegKind(IntEnum):
    """How a leg takes its amount from its pool. The numbers are those of the contracts."""

    FIXED = 0
    """Takes `value` minor units."""
    SHARE = 1
    """Takes `value` basis points of the pool, rounded down, within `min` and `max`."""
    REMAINDER = 2
    """Takes all that is left; the last child of every pool."""
    GIVEN = 3
    """Takes what the split gives it, from `min` to `max` and at most `value` basis points of the pool."""


_BOUNDED = frozenset({LegKind.SHARE, LegKind.GIVEN})
"""Kinds whose `value` is basis points, and which may have `min` and `max`."""


@dataclass(frozen=True, slots=True)
class Leg:
    """One leg. Amounts are minor units; `max` 0 means no cap. A leaf has a `recipient` (participant id) or a `role`."""

    parent: int
    kind: LegKind
    value: int = 0
    min: int = 0
    max: int = 0
    recipient: bytes | None = None
    role: str | None = None


@dataclass(frozen=True, slots=True)
class RuleTerms:
    """What a version says beside its legs about the orders that are split by it; immutable like them."""

    max_share_out: int = 0
    """Basis points of an order's captured amount that splits may give to others than its merchant; 0 means no cap."""
    may_owe: bool = False
    """A return may make a recipient's position negative."""
    park: bool = False
    """Shares of recipients that are not active any more wait in suspense positions; else such a split is rejected."""


NO_TERMS = RuleTerms()
"""Terms that change nothing."""


def smaller_cap(*caps: int) -> int:
    """The smallest of caps in basis points, of which 0 means none."""
    return min((cap for cap in caps if cap), default=0)


def validate_terms(terms: RuleTerms) -> None:
    """Raises InvalidRule for a cap above the whole."""
    if not 0 <= terms.max_share_out <= BASIS_POINTS:
        raise InvalidRule(-1, f"a cap of {terms.max_share_out} basis points is more than the whole")


def given_indices(legs: Sequence[Leg]) -> list[int]:
    """Indices of the GIVEN legs. A split gives its amounts in this order."""
    return [index for index, leg in enumerate(legs) if leg.kind is LegKind.GIVEN]


def leaf_indices(legs: Sequence[Leg]) -> list[int]:
    """Indices of the legs without children, in leg order."""
    parents = {leg.parent for leg in legs}
    return [index for index in range(len(legs)) if index not in parents]


def roles_of(legs: Sequence[Leg]) -> list[str]:
    """Role names in order of first use. Bindings on chain follow this order."""
    return list(dict.fromkeys(leg.role for leg in legs if leg.role is not None))


def validate(legs: Sequence[Leg]) -> None:
    """Check that `legs` is a rule: tree, limits, values, one closing REMAINDER per pool, recipients on leaves only.

    Raises InvalidRule naming the first offending leg.
    """
    validate_tree(legs)
    leaves = set(leaf_indices(legs))
    for index, leg in enumerate(legs):
        _validate_values(index, leg)
        if index not in leaves and (leg.recipient is not None or leg.role is not None):
            raise InvalidRule(index, "only a leaf names a recipient or a role")
        if index in leaves and (leg.recipient is None) == (leg.role is None):
            raise InvalidRule(index, "a leaf names either a recipient or a role")
        if leg.role is not None:
            _validate_role(index, leg.role)
        if leg.recipient is not None and (len(leg.recipient) != RECIPIENT_SIZE or not any(leg.recipient)):
            raise InvalidRule(index, "a recipient is a participant id of 32 bytes, not zero")


def validate_tree(legs: Sequence[Leg]) -> None:
    """Check the shape alone: counts, parents, depth, and one REMAINDER as the last child of every pool.

    This is all that `allocate` relies on. Raises InvalidRule.
    """
    if not 1 <= len(legs) <= MAX_LEGS:
        raise InvalidRule(-1, f"a rule has 1 to {MAX_LEGS} legs, not {len(legs)}")
    depth: list[int] = []
    closed: dict[int, bool] = {ROOT: False}
    for index, leg in enumerate(legs):
        if not ROOT <= leg.parent < index:
            raise InvalidRule(index, f"parent {leg.parent} is not an earlier leg")
        depth.append(1 if leg.parent == ROOT else depth[leg.parent] + 1)
        if depth[index] > MAX_DEPTH:
            raise InvalidRule(index, f"depth {depth[index]} is more than {MAX_DEPTH}")
        if closed.get(leg.parent, False):
            raise InvalidRule(index, "stands after the REMAINDER of its pool")
        closed[leg.parent] = leg.kind is LegKind.REMAINDER
    for parent, has_remainder in sorted(closed.items()):
        if not has_remainder:
            raise InvalidRule(parent, "the pool has no REMAINDER")
    leaves = len(leaf_indices(legs))
    if leaves > MAX_LEAVES:
        raise InvalidRule(-1, f"a rule has 1 to {MAX_LEAVES} leaves, not {leaves}")


def _validate_values(index: int, leg: Leg) -> None:
    for name, amount in (("value", leg.value), ("min", leg.min), ("max", leg.max)):
        if not 0 <= amount <= MAX_CHAIN_AMOUNT:
            raise InvalidRule(index, f"{name} {amount} is out of range")
    if leg.kind in _BOUNDED and leg.value > BASIS_POINTS:
        raise InvalidRule(index, f"{leg.value} basis points are more than the whole")
    if leg.kind is LegKind.GIVEN and not leg.value:
        raise InvalidRule(
            index, "a GIVEN leg needs a value: the most it may take, in basis points of the pool"
        )
    if leg.kind is LegKind.REMAINDER and leg.value:
        raise InvalidRule(index, "a REMAINDER has no value")
    if leg.kind not in _BOUNDED and (leg.min or leg.max):
        raise InvalidRule(index, "only a SHARE and a GIVEN leg have min and max")
    if leg.max and leg.min > leg.max:
        raise InvalidRule(index, f"min {leg.min} is above max {leg.max}")


def _validate_role(index: int, role: str) -> None:
    if (
        not 1 <= len(role) <= MAX_ROLE_LENGTH
        or not all(c.islower() or c.isdigit() or c in "_-" for c in role)
        or not role.isascii()
    ):
        raise InvalidRule(index, "a role name is 1 to 32 of a-z, 0-9, _ and -")
