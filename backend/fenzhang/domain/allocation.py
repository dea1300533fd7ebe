"""The one piece of arithmetic: how an amount becomes allocations, and how a return takes them back.

This is the readable specification. contracts/libraries/Allocator.sol gives the same answer or the same error for
every input; the tests hold the two together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from fenzhang.domain.errors import (
    GivenCount,
    GivenOutOfBounds,
    InsufficientReturnable,
    LeafNotReturnable,
    LegExceedsRemaining,
    RoleNotBound,
)
from fenzhang.domain.rules import (
    BASIS_POINTS,
    ROOT,
    Leg,
    LegKind,
    given_indices,
    leaf_indices,
    validate_tree,
)


@dataclass(frozen=True, slots=True)
class Allocation:
    """Recipient (participant id) and amount (minor units): the result of one leaf leg."""

    recipient: bytes
    amount: int


def allocate(
    legs: Sequence[Leg], amount: int, bindings: Mapping[str, bytes], given: Sequence[int] = ()
) -> list[Allocation]:
    """Split `amount` (minor units) by `legs`, one allocation per leaf in leg order. They sum to `amount`.

    `bindings` names the participant of each role, `given` has the amount of each GIVEN leg in leg order.
    Raises RoleNotBound for the first leaf whose role nobody holds, GivenCount, LegExceedsRemaining or
    GivenOutOfBounds for the first leg that fails, InvalidRule for legs that form no tree.
    """
    recipients = []
    for index in leaf_indices(legs):
        leg = legs[index]
        recipient = leg.recipient if leg.recipient is not None else bindings.get(leg.role or "")
        if recipient is None:
            raise RoleNotBound(leg.role)
        recipients.append(recipient)
    shares = leaf_amounts(legs, amount, given)
    return [Allocation(recipient, share) for recipient, share in zip(recipients, shares, strict=True)]


def leaf_amounts(legs: Sequence[Leg], amount: int, given: Sequence[int] = ()) -> list[int]:
    """The amounts alone: what each leaf takes of `amount`, in leg order. Raises as `allocate` does."""
    validate_tree(legs)
    check_given_count(legs, given)
    amounts = iter(given)
    pool = {ROOT: amount}
    remaining = {ROOT: amount}
    for index, leg in enumerate(legs):
        if leg.kind is LegKind.GIVEN:
            taken = next(amounts)
            least, most = given_bounds(leg, pool[leg.parent])
            if not least <= taken <= most:
                raise GivenOutOfBounds(index, taken, least, most)
        else:
            taken = _take(leg, pool[leg.parent], remaining[leg.parent])
        if taken > remaining[leg.parent]:
            raise LegExceedsRemaining(index, taken, remaining[leg.parent])
        remaining[leg.parent] -= taken
        pool[index] = remaining[index] = taken
    return [pool[index] for index in leaf_indices(legs)]


def _take(leg: Leg, pool: int, remaining: int) -> int:
    """What a leg takes that is not GIVEN."""
    if leg.kind is LegKind.FIXED:
        return leg.value
    if leg.kind is LegKind.REMAINDER:
        return remaining
    raised = max(pool * leg.value // BASIS_POINTS, leg.min)
    return min(raised, leg.max) if leg.max else raised


# ------------------------------------------------------------------------------ given amounts


@dataclass(frozen=True, slots=True)
class GivenRange:
    """What a GIVEN leg (by index) may take: `least` to `most`, and not more than `remaining` of its pool.

    `most` or `remaining` is None while it depends on an amount that was not given, and where a leg before failed.
    `most` below `least` means that this pool is too small for the leg, whatever is given.
    """

    leg: int
    least: int
    most: int | None
    remaining: int | None


def given_bounds(leg: Leg, pool: int) -> tuple[int, int]:
    """The least and the most that a GIVEN leg of a pool of this amount may take."""
    share = pool * leg.value // BASIS_POINTS
    return leg.min, min(share, leg.max) if leg.max else share


def check_given_count(legs: Sequence[Leg], given: Sequence[int]) -> None:
    """Raises GivenCount unless there is one given amount per GIVEN leg."""
    expected = len(given_indices(legs))
    if len(given) != expected:
        raise GivenCount(len(given), expected)


def given_of(legs: Sequence[Leg], leaves: Sequence[int]) -> tuple[int, ...]:
    """What a split gave each GIVEN leg, from what its leaves took: all of a leg ends at the leaves below it."""
    taken = dict.fromkeys(range(ROOT, len(legs)), 0)
    taken.update(zip(leaf_indices(legs), leaves, strict=True))
    for index in reversed(range(len(legs))):
        taken[legs[index].parent] += taken[index]
    return tuple(taken[index] for index in given_indices(legs))


def given_ranges(legs: Sequence[Leg], amount: int, given: Sequence[int] = ()) -> list[GivenRange]:
    """The range of each GIVEN leg when `amount` is split, in leg order, as far as `given` says enough.

    `given` may lack amounts, and have some that the legs refuse. Raises InvalidRule for legs that form no tree.
    """
    validate_tree(legs)
    amounts = iter(given)
    pool: dict[int, int | None] = {ROOT: amount}
    remaining: dict[int, int | None] = {ROOT: amount}
    found = []
    for index, leg in enumerate(legs):
        whole, left = pool[leg.parent], remaining[leg.parent]
        if leg.kind is LegKind.GIVEN:
            most = None if whole is None else given_bounds(leg, whole)[1]
            found.append(GivenRange(index, leg.min, most, left))
            taken = next(amounts, None)
        else:
            needed = left if leg.kind is LegKind.REMAINDER else whole
            taken = None if needed is None else _take(leg, needed, needed)
        pool[index] = remaining[index] = taken
        known = left is not None and taken is not None and taken <= left
        remaining[leg.parent] = (left or 0) - (taken or 0) if known else None
    return found


# ------------------------------------------------------------------------------ what returns and refunds take


def take_back(split_id: bytes, returnable: Sequence[int], amount: int) -> list[int]:
    """Spread a return of `amount` over the leaves of a split. Raises InsufficientReturnable."""
    total = sum(returnable)
    if amount > total:
        raise InsufficientReturnable(split_id, amount, total)
    return spread_takes(returnable, amount)


def spread_takes(returnable: Sequence[int], amount: int) -> list[int]:
    """Spread `amount` over leaves in proportion to what each can still give back; together they can give so much.

    Cumulative floor: the first k leaves together give floor(sum(returnable[:k]) * amount / sum(returnable)), so the
    takes sum to `amount` and none is more than its leaf has.
    """
    total = sum(returnable)
    if total == 0:
        return [0] * len(returnable)
    given = [weight * amount // total for weight in accumulate(returnable)]
    return [after - before for before, after in zip([0, *given], given, strict=False)]


def check_takes(split_id: bytes, returnable: Sequence[int], takes: Sequence[int]) -> None:
    """Check a return that names the amount per leaf. Raises LeafNotReturnable for the first leaf that lacks it."""
    for leaf, (has, take) in enumerate(zip(returnable, takes, strict=True)):
        if take > has:
            raise LeafNotReturnable(split_id, leaf, take, has)
