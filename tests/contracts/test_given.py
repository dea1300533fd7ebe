"""Splits that give GIVEN legs their amounts: within the bounds of the rule, and never otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from fenzhang.chain.events import InstructionRejected, OrderSplit, SplitReturned
from fenzhang.domain.allocation import Allocation
from fenzhang.domain.errors import (
    BindingCount,
    GivenCount,
    GivenOutOfBounds,
    InsufficientHeld,
    LegExceedsRemaining,
    MalformedInstruction,
    Rejection,
    ZeroAmount,
)
from fenzhang.domain.records import Capture, Instruction
from fenzhang.domain.rules import Leg, LegKind
from support.parties import AGENCY, COURIER, MALL, MERCHANT, NOBODY, PAIR, PROMOTER, RuleRef, ident
from support.world import World


@pytest.fixture
def agency(world: World) -> World:
    world.put_in_force(AGENCY)
    return world


def ordered(world: World, amount: int = 1_000) -> Capture:
    return world.captured(amount, rule=AGENCY)


def rejected(world: World, split: Instruction) -> Rejection:
    """Why a split is rejected, alone in its transaction."""
    [reason] = world.settle(world.authorize(split)).reasons
    assert isinstance(reason, Rejection)
    return reason


def test_each_given_leg_takes_exactly_what_it_is_given(agency: World) -> None:
    order = ordered(agency)
    split = agency.did(agency.split(order.order_id, 1_000, given=(70, 501, 250))).only(OrderSplit)
    assert split.allocations == (
        Allocation(PROMOTER.id, 70),
        Allocation(MERCHANT.id, 429),
        Allocation(COURIER.id, 250),
        Allocation(MALL.id, 251),
    )


def test_an_order_is_split_in_parts_each_with_amounts_of_its_own(agency: World) -> None:
    order = ordered(agency)
    for amount, given in ((100, (20, 60, 30)), (200, (3, 0, 0)), (700, (90, 420, 0))):
        split = agency.did(agency.split(order.order_id, amount, given=given)).only(OrderSplit)
        promoter, merchant, courier, mall = [allocation.amount for allocation in split.allocations]
        assert (promoter, courier + mall, courier) == given
        assert promoter + merchant + courier + mall == amount


def test_orders_of_one_transaction_do_not_share_given_amounts(agency: World) -> None:
    captures = [agency.capture(1_000, rule=AGENCY) for _ in range(3)]
    splits = [
        agency.split(capture.order_id, 1_000, given=given)
        for capture, given in zip(captures, ((10, 20, 3), (11, 700, 4), (12, 22, 5)), strict=True)
    ]
    plain = agency.capture(100, rule=PAIR)
    settled = agency.settle(
        agency.attest(*captures, plain), agency.authorize(*splits, agency.split(plain.order_id, 100))
    )
    promoters = [split.allocations[0].amount for split in settled.all(OrderSplit)]
    assert promoters == [10, 12, 50]
    assert settled.reasons == [GivenOutOfBounds(1, 700, 0, 600)]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ((2, 0, 0), GivenOutOfBounds(0, 2, 3, 90)),
        ((91, 0, 0), GivenOutOfBounds(0, 91, 3, 90)),
        ((2**96 - 1, 0, 0), GivenOutOfBounds(0, 2**96 - 1, 3, 90)),
        ((3, 601, 0), GivenOutOfBounds(1, 601, 0, 600)),
        ((3, 501, 251), GivenOutOfBounds(3, 251, 0, 250)),
        ((3, 0, 1), GivenOutOfBounds(3, 1, 0, 0)),
        ((91, 601, 400), GivenOutOfBounds(0, 91, 3, 90)),
    ],
)
def test_a_split_cannot_give_what_was_not_agreed(
    agency: World, given: Sequence[int], reason: Rejection
) -> None:
    order = ordered(agency)
    assert rejected(agency, agency.split(order.order_id, 1_000, given=given)) == reason
    assert agency.held(order.order_id) == 1_000


def test_a_fifth_of_a_small_split_is_less_than_the_absolute_bounds(agency: World) -> None:
    order = ordered(agency)
    small = agency.split(order.order_id, 14, given=(3, 0, 0))
    assert rejected(agency, small) == GivenOutOfBounds(0, 3, 3, 2)
    some = agency.split(order.order_id, 100, given=(21, 0, 0))
    assert rejected(agency, some) == GivenOutOfBounds(0, 21, 3, 20)


def test_given_amounts_within_their_bounds_may_still_be_too_much_together(world: World) -> None:
    legs = (
        Leg(-1, LegKind.GIVEN, 6_000, role="promoter"),
        Leg(-1, LegKind.GIVEN, 6_000, role="courier"),
        Leg(-1, LegKind.REMAINDER, role="merchant"),
    )
    rule = world.put_in_force(RuleRef(MALL, ident("rule", "two"), 1, legs))
    order = world.captured(100, rule=rule, bindings=(PROMOTER.id, COURIER.id, MERCHANT.id))
    dear = world.split(order.order_id, 100, given=(60, 41))
    assert rejected(world, dear) == LegExceedsRemaining(1, 41, 40)
    world.did(world.split(order.order_id, 100, given=(60, 40)))


@pytest.mark.parametrize("given", [(), (3,), (3, 0), (3, 0, 0, 0), (0,) * 40])
def test_there_is_one_amount_for_each_given_leg(agency: World, given: Sequence[int]) -> None:
    order = ordered(agency)
    split = agency.split(order.order_id, 1_000, given=given)
    assert rejected(agency, split) == GivenCount(len(given), 3)


def test_a_rule_without_given_legs_takes_no_amounts(agency: World) -> None:
    order = agency.captured(100, rule=PAIR)
    for given in ((0,), (50,), (50, 50)):
        split = agency.split(order.order_id, 100, given=given)
        assert rejected(agency, split) == MalformedInstruction(split.id)


@pytest.mark.parametrize("given", [(2**96, 0, 0), (3, 0, 2**256 - 1), (2**255,)])
def test_a_word_that_is_no_amount_harms_its_own_split_alone(agency: World, given: Sequence[int]) -> None:
    order = ordered(agency)
    bad = agency.split(order.order_id, 100, given=given)
    good = agency.split(order.order_id, 100, given=(3, 0, 0))
    settled = agency.settle(agency.authorize(bad, good))
    assert settled.reasons == [MalformedInstruction(bad.id)]
    assert settled.only(InstructionRejected).id == bad.id
    assert settled.only(OrderSplit).split_id == good.id


def test_a_release_takes_no_amounts(agency: World) -> None:
    order = ordered(agency)
    release = replace(agency.release(order.order_id), amounts=(3, 0, 0))
    assert rejected(agency, release) == MalformedInstruction(release.id)


def test_the_first_fault_is_the_reason(agency: World) -> None:
    order = agency.captured(34, rule=AGENCY)
    split = replace(agency.split(order.order_id, 0, given=(2**96, 0)), bindings=(NOBODY,))
    corrections: list[tuple[Rejection, dict[str, object]]] = [
        (MalformedInstruction(split.id), {"amounts": (9, 21)}),
        (ZeroAmount(), {"amount": 35}),
        (InsufficientHeld(order.order_id, 35, 34), {"amount": 34}),
        (GivenCount(2, 3), {"amounts": (9, 21, 11)}),
        (BindingCount(1, 3), {"bindings": ()}),
        (GivenOutOfBounds(0, 9, 3, 6), {"amounts": (6, 21, 11)}),
        (GivenOutOfBounds(1, 21, 0, 20), {"amounts": (6, 20, 11)}),
        (GivenOutOfBounds(3, 11, 0, 10), {"amounts": (6, 20, 10)}),
    ]
    for reason, correction in corrections:
        assert rejected(agency, split) == reason
        split = replace(split, **correction)  # type: ignore[arg-type] # fields by name
    agency.did(split)


def test_what_was_given_is_returned_like_any_allocation(agency: World) -> None:
    order = ordered(agency)
    split = agency.split(order.order_id, 1_000, given=(90, 10, 5))
    agency.did(split)
    back = agency.did(agency.give_back(order.order_id, split.id, 100)).only(SplitReturned)
    assert [taken.amount for taken in back.allocations] == [9, 90, 0, 1]
    named = agency.give_back(order.order_id, split.id, 81, (81, 0, 0, 0))
    assert agency.did(named).only(SplitReturned).amount == 81
