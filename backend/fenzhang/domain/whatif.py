"""An order's past, replayed by other legs: what its splits would have allocated, after the same returns and refunds.

Only the arithmetic is replayed. Each settled split divides the same amount among the same holders of roles, and each
return takes the same amount back from it; so does each refund, from all splits and releases of the order. Who is
active or has agreed to receive is not asked again.

What a split gave the GIVEN legs of its version it gives those of a draft that has as many, in leg order. For a draft
with more or fewer of them (and not none) nobody knows what they would have been given, and it is a GivenCount.

A release is not replayed: what no split took goes to the order's merchant, whatever the legs are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from fenzhang.domain.allocation import Allocation, allocate, given_of, take_back
from fenzhang.domain.errors import GivenCount, GivenOutOfBounds, LegExceedsRemaining, RoleNotBound
from fenzhang.domain.records import PastRecord, RecordKind
from fenzhang.domain.rules import Leg, given_indices, leaf_indices, roles_of

_NOBODY = bytes(32)
Refusal = RoleNotBound | GivenCount | GivenOutOfBounds | LegExceedsRemaining
"""Why a draft cannot allocate a split."""


@dataclass(slots=True)
class Replayed:
    """A settled split: what it came to, and what it would have come to, per leaf, both after returns and refunds.

    Without `hypothetical` the draft cannot allocate it, for the reason `refusal`.
    """

    amount: int
    actual: list[Allocation]
    hypothetical: list[Allocation] | None
    refusal: Refusal | None = None
    returns: int = 0
    returned: int = 0
    refunded: int = 0
    """Of what refunds took beyond what the order held."""
    respread: int = 0
    """Returns that named amounts per leaf which the leaves of the draft do not fit; see `replay`."""
    is_release: bool = False


@dataclass(frozen=True, slots=True)
class Holders:
    """Who holds the roles of a version: its role names, the place among its leaves of each leaf with a role.

    And the version's legs if some are GIVEN, to tell what a split gave them.
    """

    roles: tuple[str, ...]
    role_leaves: tuple[tuple[int, str], ...]
    leaves: int
    giving: tuple[Leg, ...] = ()

    @classmethod
    def of(cls, legs: Sequence[Leg]) -> Holders:
        """Of the version with these legs."""
        leaves = leaf_indices(legs)
        named = ((place, legs[index].role) for place, index in enumerate(leaves))
        return cls(
            tuple(roles_of(legs)),
            tuple((place, role) for place, role in named if role is not None),
            len(leaves),
            tuple(legs) if given_indices(legs) else (),
        )

    def bindings(self, order: Sequence[bytes], allocations: Sequence[Allocation]) -> dict[str, bytes]:
        """Participant per role: as the order bound it, else as the split did, which its allocations show."""
        bound = {
            role: participant
            for role, participant in zip(self.roles, order, strict=False)
            if participant != _NOBODY
        }
        for place, role in self.role_leaves:
            bound.setdefault(role, allocations[place].recipient)
        return bound

    def given(self, allocations: Sequence[Allocation]) -> tuple[int, ...]:
        """What a split gave each GIVEN leg, in leg order."""
        return given_of(self.giving, [allocation.amount for allocation in allocations]) if self.giving else ()


def replay(
    past: Sequence[PastRecord], holders: Holders, order_bindings: Sequence[bytes], draft: Sequence[Leg]
) -> list[Replayed]:
    """The settled splits of an order by the legs `draft`, in order of `past`, the order's settled records.

    `holders` are those of the version that the order was captured with, `order_bindings` what it bound.

    A return that was spread over the leaves is spread over those of the draft. One that named its amounts takes the
    same from the draft's leaves, if these are for the same recipients and have as much to give; else it is spread too.

    Raises ValueError if a split has other leaves than the version of `holders`.
    """
    splits: dict[bytes, Replayed] = {}
    parts: list[Replayed] = []
    for record in past:
        if record.kind is RecordKind.SPLIT:
            parts.append(_split(record, holders, order_bindings, draft))
            splits.setdefault(record.id, parts[-1])
        elif record.kind is RecordKind.RELEASE:
            parts.append(Replayed(record.amount, [Allocation(_NOBODY, record.amount)], None, is_release=True))
        elif record.kind is RecordKind.RETURN and record.split_id in splits:
            _take_back(splits[record.split_id], record)
        elif record.kind is RecordKind.REFUND:
            _refund(parts, record)
    return [part for part in parts if not part.is_release]


def _split(
    record: PastRecord, holders: Holders, order_bindings: Sequence[bytes], draft: Sequence[Leg]
) -> Replayed:
    actual = list(record.allocations)
    if len(actual) != holders.leaves:
        raise ValueError(f"{len(actual)} allocations by a version with {holders.leaves} leaves")
    bindings: Mapping[str, bytes] = holders.bindings(order_bindings, actual)
    given = holders.given(actual) if given_indices(draft) else ()
    try:
        return Replayed(record.amount, actual, allocate(draft, record.amount, bindings, given))
    except (RoleNotBound, GivenCount, GivenOutOfBounds, LegExceedsRemaining) as refusal:
        return Replayed(record.amount, actual, None, refusal)


def _take_back(split: Replayed, record: PastRecord) -> None:
    split.returns += 1
    split.returned += record.amount
    takes = [taken.amount for taken in record.allocations]
    if split.hypothetical is not None:
        named = takes != _spread(split.actual, record)
        fits = named and _fits(split.actual, split.hypothetical, takes)
        split.respread += named and not fits
        split.hypothetical = _less(split.hypothetical, takes if fits else _spread(split.hypothetical, record))
    split.actual = _less(split.actual, takes)


def _refund(parts: Sequence[Replayed], record: PastRecord) -> None:
    """One cumulative floor runs over all leaves. Each part gives as much by any draft, for it begins and ends alike."""
    takes = [taken.amount for taken in record.allocations]
    amount, total = sum(takes), sum(leaf.amount for part in parts for leaf in part.actual)
    place = before = 0
    for part in parts:
        own = takes[place : place + len(part.actual)]
        place += len(part.actual)
        after = before + sum(leaf.amount for leaf in part.actual)
        part.refunded += sum(own)
        if part.hypothetical is not None and amount:
            reached = accumulate((leaf.amount for leaf in part.hypothetical), initial=before)
            floors = [weight * amount // total for weight in reached]
            part.hypothetical = _less(part.hypothetical, [b - a for a, b in pairwise(floors)])
        part.actual = _less(part.actual, own)
        before = after


def _spread(leaves: Sequence[Allocation], record: PastRecord) -> list[int]:
    return take_back(record.split_id, [leaf.amount for leaf in leaves], record.amount)


def _fits(actual: Sequence[Allocation], draft: Sequence[Allocation], takes: Sequence[int]) -> bool:
    """Whether amounts taken from the actual leaves can be taken from those of the draft, one by one."""
    return [leaf.recipient for leaf in actual] == [leaf.recipient for leaf in draft] and all(
        take <= leaf.amount for take, leaf in zip(takes, draft, strict=True)
    )


def _less(leaves: Sequence[Allocation], takes: Sequence[int]) -> list[Allocation]:
    return [Allocation(leaf.recipient, leaf.amount - take) for leaf, take in zip(leaves, takes, strict=True)]
