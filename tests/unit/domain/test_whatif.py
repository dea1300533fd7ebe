"""Replaying an order by other legs: the arithmetic of splits and returns, and that the same legs change nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fenzhang.domain.allocation import Allocation, allocate, take_back
from fenzhang.domain.errors import GivenCount, GivenOutOfBounds, LegExceedsRemaining, RoleNotBound
from fenzhang.domain.records import PastRecord, RecordKind
from fenzhang.domain.rules import ROOT, Leg, LegKind, roles_of
from fenzhang.domain.whatif import Holders, replay
from support.parties import NOBODY, ident
from support.trees import trees

ORDER, SPLIT = b"O" * 32, b"S" * 32
ANN, BOB, CY = (letter * 32 for letter in (b"A", b"B", b"C"))
HALF = (Leg(ROOT, LegKind.SHARE, 5_000, role="agent"), Leg(ROOT, LegKind.REMAINDER, role="merchant"))
TENTH = (Leg(ROOT, LegKind.SHARE, 1_000, role="agent"), Leg(ROOT, LegKind.REMAINDER, role="merchant"))


def _split(amount: int, *leaves: tuple[bytes, int], number: bytes = SPLIT) -> PastRecord:
    allocations = tuple(Allocation(recipient, share) for recipient, share in leaves)
    return PastRecord(RecordKind.SPLIT, number, amount, allocations=allocations)


def _return(amount: int, *takes: tuple[bytes, int], split: bytes = SPLIT) -> PastRecord:
    allocations = tuple(Allocation(recipient, take) for recipient, take in takes)
    return PastRecord(RecordKind.RETURN, b"R" * 32, amount, split, allocations)


def _replayed(past: Sequence[PastRecord], draft: Sequence[Leg], bound: Sequence[bytes] = (ANN, BOB)) -> Any:
    [split] = replay(past, Holders.of(HALF), bound, draft)
    return split


def test_the_same_amount_is_divided_by_the_draft() -> None:
    split = _replayed([_split(101, (ANN, 50), (BOB, 51))], TENTH)
    assert split.hypothetical == [Allocation(ANN, 10), Allocation(BOB, 91)]
    assert (split.amount, split.actual) == (101, [Allocation(ANN, 50), Allocation(BOB, 51)])


def test_a_role_that_the_order_left_open_is_held_by_whom_the_split_bound() -> None:
    split = _replayed([_split(100, (CY, 50), (BOB, 50))], TENTH, (NOBODY, BOB))
    assert split.hypothetical == [Allocation(CY, 10), Allocation(BOB, 90)]


def test_a_role_that_nobody_held_and_a_leg_that_takes_too_much_are_refusals() -> None:
    unbound = (Leg(ROOT, LegKind.SHARE, 10, role="insurer"), HALF[1])
    dear = (Leg(ROOT, LegKind.FIXED, 101, role="agent"), HALF[1])
    past = [_split(100, (ANN, 50), (BOB, 50)), _return(10, (ANN, 5), (BOB, 5))]
    for draft, refusal in ((unbound, RoleNotBound("insurer")), (dear, LegExceedsRemaining(0, 101, 100))):
        split = _replayed(past, draft)
        assert (split.hypothetical, split.refusal) == (None, refusal)
        assert split.actual == [Allocation(ANN, 45), Allocation(BOB, 45)]


def test_a_return_in_proportion_is_in_proportion_to_what_the_draft_gave() -> None:
    split = _replayed([_split(100, (ANN, 50), (BOB, 50)), _return(11, (ANN, 5), (BOB, 6))], TENTH)
    assert split.hypothetical == [Allocation(ANN, 9), Allocation(BOB, 80)]
    assert (split.returns, split.returned, split.respread) == (1, 11, 0)


def test_a_return_that_named_its_amounts_takes_them_if_the_drafts_leaves_have_them() -> None:
    past = [_split(100, (ANN, 50), (BOB, 50)), _return(10, (ANN, 10), (BOB, 0))]
    split = _replayed(past, TENTH)
    assert (split.hypothetical, split.respread) == ([Allocation(ANN, 0), Allocation(BOB, 90)], 0)


@pytest.mark.parametrize(
    "draft", [TENTH, (HALF[1],), (*TENTH[:1], Leg(ROOT, LegKind.REMAINDER, recipient=CY))]
)
def test_else_it_is_spread_and_counted(draft: tuple[Leg, ...]) -> None:
    past = [_split(100, (ANN, 50), (BOB, 50)), _return(11, (ANN, 11), (BOB, 0))]
    split = _replayed(past, draft)
    assert split.respread == 1
    assert sum(leaf.amount for leaf in split.hypothetical) == 89


def test_a_release_and_a_return_from_another_split_say_nothing() -> None:
    past = [
        _split(100, (ANN, 50), (BOB, 50)),
        _return(10, (ANN, 5), (BOB, 5), split=b"X" * 32),
        PastRecord(RecordKind.RELEASE, b"L" * 32, 50),
    ]
    split = _replayed(past, HALF)
    assert split.hypothetical == split.actual == [Allocation(ANN, 50), Allocation(BOB, 50)]
    assert split.returns == 0


def test_a_split_with_other_leaves_than_its_version_is_not_guessed_at() -> None:
    with pytest.raises(ValueError, match="1 allocations by a version with 2 leaves"):
        replay([_split(100, (ANN, 100))], Holders.of(HALF), (ANN, BOB), HALF)


COMMISSION = (Leg(ROOT, LegKind.GIVEN, 5_000, 5, role="agent"), Leg(ROOT, LegKind.REMAINDER, role="merchant"))


def _replayed_by(version: Sequence[Leg], draft: Sequence[Leg], *leaves: tuple[bytes, int]) -> Any:
    [split] = replay([_split(100, *leaves)], Holders.of(version), (ANN, BOB), draft)
    return split


def test_a_draft_with_as_many_given_legs_gives_them_what_the_split_gave() -> None:
    net = (
        Leg(ROOT, LegKind.FIXED, 10, role="merchant"),
        Leg(ROOT, LegKind.REMAINDER),
        Leg(1, LegKind.GIVEN, 9_000, role="agent"),
        Leg(1, LegKind.REMAINDER, role="merchant"),
    )
    split = _replayed_by(COMMISSION, net, (ANN, 33), (BOB, 67))
    assert split.hypothetical == [Allocation(BOB, 10), Allocation(ANN, 33), Allocation(BOB, 57)]


def test_what_an_inner_given_leg_was_given_is_what_its_leaves_got() -> None:
    pool = (
        Leg(ROOT, LegKind.GIVEN, 5_000),
        Leg(ROOT, LegKind.REMAINDER, role="merchant"),
        Leg(0, LegKind.SHARE, 5_000, role="agent"),
        Leg(0, LegKind.REMAINDER, role="agent"),
    )
    leaves = replay([_split(100, (BOB, 67), (ANN, 16), (ANN, 17))], Holders.of(pool), (BOB, ANN), COMMISSION)
    assert leaves[0].hypothetical == [Allocation(ANN, 33), Allocation(BOB, 67)]


def test_without_given_legs_a_draft_needs_no_given_amounts() -> None:
    split = _replayed_by(COMMISSION, TENTH, (ANN, 33), (BOB, 67))
    assert split.hypothetical == [Allocation(ANN, 10), Allocation(BOB, 90)]


def test_what_a_draft_would_have_been_given_is_not_guessed() -> None:
    leaves = (ANN, 33), (BOB, 67)
    for version, draft, refusal in (
        (HALF, COMMISSION, GivenCount(0, 1)),
        (COMMISSION, (COMMISSION[0], *COMMISSION), GivenCount(1, 2)),
        (COMMISSION, (replace(COMMISSION[0], value=3_000), COMMISSION[1]), GivenOutOfBounds(0, 33, 5, 30)),
    ):
        split = _replayed_by(version, draft, *leaves)
        assert (split.hypothetical, split.refusal) == (None, refusal)


def test_a_refund_takes_as_much_from_each_split_by_any_draft() -> None:
    """One floor runs over all leaves of the order, those of releases among them."""
    other = b"T" * 32
    past = [
        _split(7, (ANN, 3), (BOB, 4)),
        PastRecord(RecordKind.RELEASE, b"L" * 32, 5),
        _split(9, (ANN, 4), (BOB, 5), number=other),
        # 10 of 21, in the leaves' order: 3, 4, 5, 4, 5.
        PastRecord(
            RecordKind.REFUND,
            b"F" * 32,
            12,
            allocations=tuple(
                Allocation(who, take) for who, take in ((ANN, 1), (BOB, 2), (BOB, 2), (ANN, 2), (BOB, 3))
            ),
        ),
    ]
    first, second = replay(past, Holders.of(HALF), (ANN, BOB), TENTH)
    assert (first.refunded, second.refunded) == (3, 5)
    assert [leaf.amount for leaf in first.actual + second.actual] == [2, 2, 2, 2]
    # By the draft 0 and 7, 0 and 9: what each split gives in all is the same.
    assert [leaf.amount for leaf in first.hypothetical or ()] == [0, 4]
    assert [leaf.amount for leaf in second.hypothetical or ()] == [0, 4]
    same = replay(past, Holders.of(HALF), (ANN, BOB), HALF)
    assert all(split.hypothetical == split.actual for split in same)


@given(trees(), trees(), st.data())
def test_sums_are_kept_and_the_same_legs_change_nothing(
    legs: tuple[Leg, ...], other: tuple[Leg, ...], data: st.DataObject
) -> None:
    """Splits of any rule, with returns and refunds: by the same legs the very same, by others the same in sum."""
    bound = {
        role: ident("holder", role) for role in ("merchant", "promoter", "courier", "r-1", "a_b", "x" * 32)
    }
    amount = data.draw(st.integers(1, 10**9))
    try:
        leaves = allocate(legs, amount, bound)
    except LegExceedsRemaining:
        return
    past = [PastRecord(RecordKind.SPLIT, SPLIT, amount, allocations=tuple(leaves))]
    left = [leaf.amount for leaf in leaves]
    refunded = 0
    for _ in range(data.draw(st.integers(0, 3))):
        kind = data.draw(st.sampled_from((RecordKind.RETURN, RecordKind.REFUND)))
        if kind is RecordKind.REFUND or data.draw(st.booleans()):
            takes = take_back(SPLIT, left, data.draw(st.integers(0, sum(left))))
        else:
            takes = [data.draw(st.integers(0, weight)) for weight in left]
        left = [has - take for has, take in zip(left, takes, strict=True)]
        taken = tuple(Allocation(leaf.recipient, take) for leaf, take in zip(leaves, takes, strict=True))
        split_id = SPLIT if kind is RecordKind.RETURN else NOBODY
        past.append(PastRecord(kind, b"R" * 32, sum(takes), split_id, taken))
        refunded += sum(takes) if kind is RecordKind.REFUND else 0
    order = [bound[role] if data.draw(st.booleans()) else NOBODY for role in roles_of(legs)]

    [same] = replay(past, Holders.of(legs), order, legs)
    [changed] = replay(past, Holders.of(legs), order, other)

    assert same.hypothetical == same.actual
    assert (same.refunded, changed.refunded) == (refunded, refunded)
    assert [leaf.amount for leaf in same.actual] == left
    assert same.respread == 0
    if changed.hypothetical is not None:
        assert sum(leaf.amount for leaf in changed.hypothetical) == sum(left)
        assert min(leaf.amount for leaf in changed.hypothetical) >= 0
