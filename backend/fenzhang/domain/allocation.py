"""The one piece of arithmetic: how an amount becomes allocations, and how a return takes them back.

This is the readable specification. contracts/libraries/Allocator.sol gives the same answer or the same error for
every input; the tests hold the two together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from fenzhang.domain.errors import (
    InsufficientReturnable,
    LeafNotReturnable,
    LegExceedsRemaining,
    RoleNotBound,
)
from fenzhang.domain.rules import BASIS_POINTS, ROOT, Leg, LegKind, leaf_indices, validate_tree


@dataclass(frozen=True, slots=True)
class Allocation:
    """Recipient (participant id) and amount (minor units): the result of one leaf leg."""

    recipient: bytes
    amount: int


def allocate(legs: Sequence[Leg], amount: int, bindings: Mapping[str, bytes]) -> list[Allocation]:
    """Split `amount` (minor units) by `legs`, one allocation per leaf in leg order. They sum to `amount`.

    `bindings` names the participant of each role. Raises LegExceedsRemaining for the first leg that fails,
    RoleNotBound for the first leaf whose role nobody holds, InvalidRule for legs that form no tree.
    """
    recipients = []
    for index in leaf_indices(legs):
        leg = legs[index]
        recipient = leg.recipient if leg.recipient is not None else bindings.get(leg.role or "")
        if recipient is None:
            raise RoleNotBound(leg.role)
        recipients.append(recipient)
    shares = leaf_amounts(legs, amount)
    return [Allocation(recipient, share) for recipient, share in zip(recipients, shares, strict=True)]


def leaf_amounts(legs: Sequence[Leg], amount: int) -> list[int]:
    """The amounts alone: what each leaf takes of `amount`, in leg order. Raises as `allocate` does."""
    validate_tree(legs)
    pool = {ROOT: amount}
    remaining = {ROOT: amount}
    for index, leg in enumerate(legs):
        taken = _take(leg, pool[leg.parent], remaining[leg.parent])
        if taken > remaining[leg.parent]:
            raise LegExceedsRemaining(index, taken, remaining[leg.parent])
        remaining[leg.parent] -= taken
        pool[index] = remaining[index] = taken
    return [pool[index] for index in leaf_indices(legs)]


def _take(leg: Leg, pool: int, remaining: int) -> int:
    match leg.kind:
        case LegKind.FIXED:
            return leg.value
        case LegKind.SHARE:
            raised = max(pool * leg.value // BASIS_POINTS, leg.min)
            return min(raised, leg.max) if leg.max else raised
        case LegKind.REMAINDER:
            return remaining


def take_back(split_id: bytes, returnable: Sequence[int], amount: int) -> list[int]:
    """Spread a return of `amount` over leaves in proportion to what each can still give back (`returnable`).

    Cumulative floor: the first k leaves together give floor(sum(returnable[:k]) * amount / sum(returnable)), so the
    takes sum to `amount` and none is more than its leaf has. Raises InsufficientReturnable.
    """
    total = sum(returnable)
    if amount > total:
        raise InsufficientReturnable(split_id, amount, total)
    if total == 0:
        return [0] * len(returnable)
    given = [weight * amount // total for weight in accumulate(returnable)]
    return [after - before for before, after in zip([0, *given], given, strict=False)]


def check_takes(split_id: bytes, returnable: Sequence[int], takes: Sequence[int]) -> None:
    """Check a return that names the amount per leaf. Raises LeafNotReturnable for the first leaf that lacks it."""
    for leaf, (has, take) in enumerate(zip(returnable, takes, strict=True)):
        if take > has:
            raise LeafNotReturnable(split_id, leaf, take, has)
