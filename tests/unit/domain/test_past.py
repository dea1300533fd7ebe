"""The past of an order: what its leaves can still give back, and what a refund takes from them."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from fenzhang.domain.allocation import Allocation, spread_takes
from fenzhang.domain.past import add_up, held_change, order_leaves, returnable, split_place
from fenzhang.domain.records import PastRecord, RecordKind

SHOP, RIDER = b"shop".ljust(32), b"rider".ljust(32)
FIRST, SECOND = b"first".ljust(32), b"second".ljust(32)


def split(*amounts: int, named: bytes = FIRST) -> PastRecord:
    leaves = tuple(Allocation(RIDER if place else SHOP, amount) for place, amount in enumerate(amounts))
    return PastRecord(RecordKind.SPLIT, named, sum(amounts), allocations=leaves)


def release(amount: int) -> PastRecord:
    return PastRecord(RecordKind.RELEASE, b"release".ljust(32), amount)


def give_back(*amounts: int, of: bytes = FIRST) -> PastRecord:
    return PastRecord(RecordKind.RETURN, b"back".ljust(32), sum(amounts), of, _takes(amounts))


def refund(amount: int, *takes: int) -> PastRecord:
    return PastRecord(RecordKind.REFUND, b"refund".ljust(32), amount, allocations=_takes(takes))


def _takes(amounts: Sequence[int]) -> tuple[Allocation, ...]:
    return tuple(Allocation(SHOP, amount) for amount in amounts)


def left(*past: PastRecord) -> list[int]:
    return [leaf.amount for leaf in order_leaves(past, SHOP)]


def test_leaves_stand_in_the_order_of_records_and_a_release_is_one_of_the_merchant() -> None:
    past = [split(10, 20), release(5), split(3, named=SECOND)]
    assert order_leaves(past, SHOP) == [
        Allocation(SHOP, 10),
        Allocation(RIDER, 20),
        Allocation(SHOP, 5),
        Allocation(SHOP, 3),
    ]
    assert split_place(past, SECOND) == slice(3, 4)
    assert split_place(past, b"third".ljust(32)) is None


def test_returns_and_refunds_take_from_the_leaves_that_were_there() -> None:
    past = [
        split(10, 20),
        release(5),
        refund(50, 1, 2, 3),
        split(3, 4, named=SECOND),
        refund(5, 1, 1, 1, 1, 1),
    ]
    assert left(*past) == [8, 17, 1, 2, 3]
    assert left(*past, give_back(2, 3, of=SECOND)) == [8, 17, 1, 0, 0]
    assert returnable([*past, give_back(1, 7)], FIRST) == [Allocation(SHOP, 7), Allocation(RIDER, 10)]


def test_what_a_record_adds_to_the_held_money() -> None:
    changes = [held_change(kind, 10, 4) for kind in RecordKind]
    assert changes == [10, -10, -10, 10, 0, -6] + [0] * 6


def test_takes_of_a_refund_may_come_to_less_than_its_amount() -> None:
    takes = _takes([3, 4])
    assert add_up(RecordKind.REFUND, 7, takes)
    assert add_up(RecordKind.REFUND, 9, takes)
    assert add_up(RecordKind.REFUND, 9, ())
    assert not add_up(RecordKind.REFUND, 6, takes)
    assert [add_up(RecordKind.SPLIT, amount, takes) for amount in (6, 7, 8)] == [False, True, False]
    assert add_up(RecordKind.CAPTURE, 8, ())


@given(st.lists(st.integers(0, 2**63 - 1), max_size=60), st.integers(0, 2**63 - 1))
def test_a_spread_sums_exactly_and_takes_no_more_than_a_leaf_has(weights: list[int], amount: int) -> None:
    amount = min(amount, sum(weights))
    takes = spread_takes(weights, amount)
    assert sum(takes) == amount
    assert all(0 <= take <= weight for take, weight in zip(takes, weights, strict=True))


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=12), st.lists(st.integers(1, 10**6), max_size=8))
def test_refunds_one_after_the_other_never_take_what_is_not_there(
    weights: list[int], amounts: list[int]
) -> None:
    past = [split(*weights)]
    for amount in amounts:
        leaves = left(*past)
        takes = spread_takes(leaves, min(amount, sum(leaves)))
        past.append(refund(sum(takes), *takes))
        assert min(left(*past)) >= 0
        assert sum(left(*past)) == sum(leaves) - sum(takes)
