"""Netting is a function of what accounts and registry say."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fenzhang.domain.errors import InvalidInput
from fenzhang.domain.money import MAX_AMOUNT
from fenzhang.domain.netting import MAX_PAYOUT, MAX_TOTAL, OBSTACLES, Dues, LeftOut, Net, net

ALICE, BOB = b"a" * 32, b"b" * 32
amounts = st.one_of(st.integers(0, 1_000), st.integers(0, MAX_AMOUNT))
signed = st.one_of(st.integers(-1_000, 1_000), st.integers(-MAX_AMOUNT, MAX_AMOUNT))
all_dues = st.lists(
    st.builds(Dues, st.binary(min_size=32, max_size=32), signed, amounts, amounts, signed),
    unique_by=lambda each: each.participant,
    max_size=12,
)
obstacle_sets = st.frozensets(st.sampled_from(OBSTACLES))


def one(dues: Dues, *obstacles: LeftOut, min_payout: int = 1, cap: int | None = None) -> Net:
    netting = net([dues], {dues.participant: frozenset(obstacles)}, min_payout=min_payout, net_debit_cap=cap)
    [found] = netting.nets
    return found


def test_what_is_due_is_paid() -> None:
    found = one(Dues(ALICE, 40, 100, 30, 110))
    assert (found.amount, found.left_out, found.carried_forward) == (110, None, 0)


def test_debts_elsewhere_are_offset() -> None:
    found = one(Dues(ALICE, 0, 100, 0, 60))
    assert (found.amount, found.carried_forward) == (60, 40)


def test_credit_elsewhere_is_not_paid_here() -> None:
    assert one(Dues(ALICE, 0, 100, 0, 1_000)).amount == 100


@pytest.mark.parametrize(
    ("dues", "cap", "left_out"),
    [
        (Dues(ALICE, 0, 0, 50, -50), None, LeftOut.IN_DEBT),
        (Dues(ALICE, 0, 0, 50, -50), 50, LeftOut.IN_DEBT),
        (Dues(ALICE, 0, 0, 50, -51), 50, LeftOut.DEBT_ABOVE_CAP),
        (Dues(ALICE, 0, 100, 0, -51), 50, LeftOut.DEBT_ABOVE_CAP),
        (Dues(ALICE, 0, 100, 0, 0), 50, LeftOut.IN_DEBT),
        (Dues(ALICE, -100, 20, 0, 30), 50, LeftOut.IN_DEBT),
    ],
)
def test_who_owes_is_paid_nothing(dues: Dues, cap: int | None, left_out: LeftOut) -> None:
    found = one(dues, *OBSTACLES, cap=cap)
    assert (found.amount, found.left_out) == (0, left_out)
    assert found.carried_forward == dues.due


def test_a_debt_above_the_cap_is_a_breach() -> None:
    netting = net([Dues(ALICE, 0, 0, 9, -9), Dues(BOB, 0, 9, 0, 9)], {}, net_debit_cap=8)
    assert [each.dues.participant for each in netting.breaches] == [ALICE]
    assert [each.dues.participant for each in netting.payouts] == [BOB]


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_an_obstacle_is_the_reason(obstacle: LeftOut) -> None:
    later = OBSTACLES[OBSTACLES.index(obstacle) :]
    assert one(Dues(ALICE, 0, 5, 0, 5), *later, min_payout=9).left_out is obstacle


def test_little_is_carried_forward() -> None:
    found = one(Dues(ALICE, 0, 99, 0, 99), min_payout=100)
    assert (found.amount, found.left_out, found.carried_forward) == (0, LeftOut.BELOW_MINIMUM, 99)
    assert one(Dues(ALICE, 99, 1, 0, 100), min_payout=100).amount == 100


def test_who_came_out_even_is_told_and_who_did_not_move_is_not() -> None:
    even, still = Dues(ALICE, 0, 7, 7, 0), Dues(BOB, 0, 0, 0, 12)
    assert net([even, still], {}).nets == (Net(even, 0),)


def test_more_than_a_bank_or_a_cycle_can_pay_is_carried_forward() -> None:
    first = one(Dues(ALICE, 0, MAX_AMOUNT, 0, MAX_AMOUNT))
    assert (first.amount, first.carried_forward) == (MAX_PAYOUT, MAX_AMOUNT - MAX_PAYOUT)
    many = [Dues(bytes([n]) * 32, 0, MAX_PAYOUT, 0, MAX_PAYOUT) for n in range(12)]
    netting = net(many, {})
    assert netting.total == MAX_TOTAL
    assert netting.nets[-1].left_out is LeftOut.BELOW_MINIMUM


def test_nobody_comes_twice() -> None:
    with pytest.raises(InvalidInput):
        net([Dues(ALICE, 0, 1, 0, 1), Dues(ALICE, 0, 2, 0, 2)], {})


@given(all_dues, st.lists(obstacle_sets, min_size=12, max_size=12), st.integers(1, 500), st.none() | amounts)
def test_whatever_the_facts(
    dues: list[Dues], obstacles: list[frozenset[LeftOut]], min_payout: int, cap: int | None
) -> None:
    by_id = {each.participant: found for each, found in zip(dues, obstacles, strict=False)}
    netting = net(dues, by_id, min_payout=min_payout, net_debit_cap=cap)
    shuffled = Random(1).sample(dues, len(dues))
    assert net(shuffled, by_id, min_payout=min_payout, net_debit_cap=cap) == netting

    told = {each.dues.participant: each for each in netting.nets}
    assert [each.dues.participant for each in netting.nets] == sorted(told)
    assert netting.total == sum(each.amount for each in netting.payouts) <= MAX_TOTAL
    for each in dues:
        found = told.get(each.participant)
        if found is None:
            assert each.due == each.credit == each.debit == 0 <= each.position
            continue
        assert found.amount + found.carried_forward == each.due
        if found.amount:
            assert found.left_out is None
            assert not by_id[each.participant]
            assert min_payout <= found.amount <= min(each.due, each.position, MAX_PAYOUT)
            assert found.amount in {min(each.due, each.position), MAX_PAYOUT} or netting.total == MAX_TOTAL
        else:
            assert (found.left_out is None) == (each.due == 0 and each.position >= 0)
        assert (found in netting.breaches) == (cap is not None and -each.position > cap)
