"""Refunds: a part of an order is its buyer's again, from what it holds and then from all that it gave."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fenzhang.chain.events import InstructionRejected, OrderRefunded, OrderReleased, OrderSplit, SplitReturned
from fenzhang.chain.evidence import content_of_refund, record_leaf
from fenzhang.domain.allocation import Allocation
from fenzhang.domain.errors import (
    InsufficientHeld,
    InsufficientPosition,
    InsufficientRefundable,
    InsufficientReturnable,
    MalformedInstruction,
    NothingHeld,
    NotOrderPlatform,
    Rejection,
    ReturnNotFirst,
    UnknownOrder,
    ZeroAmount,
)
from fenzhang.domain.records import Capture, Instruction, RecordKind
from fenzhang.domain.rules import Leg, LegKind
from support.parties import COURIER, MALL, MERCHANT, PAIR, PROMOTER, SHOP, RuleRef, ident
from support.positions import write_position
from support.world import World

TENTH = RuleRef(
    MALL,
    ident("rule", "tenth"),
    1,
    (Leg(-1, LegKind.SHARE, 1_000, role="promoter"), Leg(-1, LegKind.REMAINDER, role="merchant")),
)
RECEIVERS = (PROMOTER, MERCHANT)
TERMS: dict[str, Any] = {"rule": TENTH, "bindings": [who.id for who in RECEIVERS]}


@pytest.fixture
def order(world: World) -> Capture:
    """An order over 1,000: a promoter gets a tenth of a split, the merchant the rest."""
    world.put_in_force(TENTH)
    return world.captured(1_000, **TERMS)


def split_of(world: World, order: Capture, amount: int) -> bytes:
    """Id of a settled split."""
    split = world.split(order.order_id, amount)
    world.did(split)
    return split.id


def refunded(world: World, order: Capture, amount: int) -> tuple[int, list[int]]:
    """What a refund that must settle takes from what the order holds, and from each leaf."""
    event = world.did(world.refund(order.order_id, amount)).only(OrderRefunded)
    assert event.amount == amount == event.from_held + sum(take.amount for take in event.takes)
    return event.from_held, [take.amount for take in event.takes]


def rejected(world: World, instruction: Instruction) -> Rejection:
    state = books(world), world.held(instruction.order_id)
    settled = world.settle(world.authorize(instruction))
    assert (books(world), world.held(instruction.order_id)) == state
    [reason] = settled.reasons
    assert isinstance(reason, Rejection)
    return reason


def books(world: World) -> tuple[object, ...]:
    return world.totals(), world.refunded(), [world.position(who) for who in RECEIVERS]


def positions(world: World) -> list[int]:
    return [world.position(who) for who in RECEIVERS]


# ------------------------------------------------------------------------------ what is taken, and from whom


def test_what_an_order_holds_is_taken_first(world: World, order: Capture) -> None:
    split_of(world, order, 400)
    before = positions(world)
    assert refunded(world, order, 600) == (600, [0, 0])
    assert (world.held(order.order_id), world.totals(), world.refunded()) == (0, (1_000, 0), 600)
    assert positions(world) == before


def test_then_all_leaves_of_all_splits_give_in_proportion(world: World, order: Capture) -> None:
    split_of(world, order, 100)
    split_of(world, order, 700)
    assert positions(world) == [80, 720]
    refund = world.refund(order.order_id, 600)
    event = world.did(refund).only(OrderRefunded)
    # 200 were held; 400 of the 800 that 10, 90, 70 and 630 are, by cumulative floor.
    takes = tuple(
        Allocation(who.id, amount)
        for who, amount in ((PROMOTER, 5), (MERCHANT, 45), (PROMOTER, 35), (MERCHANT, 315))
    )
    assert (event.order_id, event.refund_id) == (order.order_id, refund.id)
    assert (event.amount, event.from_held, event.takes) == (600, 200, takes)
    assert positions(world) == [40, 360]
    assert (world.held(order.order_id), world.totals(), world.refunded()) == (0, (1_000, 0), 600)


def test_one_floor_runs_over_the_leaves_of_all_splits(world: World, order: Capture) -> None:
    for _ in range(3):
        split_of(world, order, 3)
    world.did(world.release(order.order_id))
    # 0, 3, 0, 3, 0, 3 and 991 of the release: floors of 3, 6, 9 and 1,000 half-units each.
    assert refunded(world, order, 500) == (0, [0, 1, 0, 2, 0, 1, 496])


def test_a_release_gives_like_a_leaf_of_the_merchant(world: World, order: Capture) -> None:
    split_of(world, order, 500)
    world.did(world.release(order.order_id))
    assert refunded(world, order, 100) == (0, [5, 45, 50])
    assert refunded(world, order, 900) == (0, [45, 405, 450])
    assert positions(world) == [0, 0]
    assert rejected(world, world.refund(order.order_id, 1)) == InsufficientRefundable(order.order_id, 1, 0)


def test_single_units_are_refunded_until_nothing_is_left(world: World) -> None:
    world.put_in_force(TENTH)
    order = world.captured(12, **TERMS)
    split_of(world, order, 10)
    takes = [refunded(world, order, 1) for _ in range(12)]
    assert [held for held, _ in takes] == [1, 1] + [0] * 10
    assert [sum(column) for column in zip(*(leaves for _, leaves in takes), strict=True)] == [1, 9]
    assert rejected(world, world.refund(order.order_id, 1)) == InsufficientRefundable(order.order_id, 1, 0)
    assert world.refunded() == 12


def test_an_order_that_was_never_split_is_refunded_from_what_it_holds(world: World, order: Capture) -> None:
    assert refunded(world, order, 1_000) == (1_000, [])
    split, release = world.split(order.order_id, 1), world.release(order.order_id)
    assert rejected(world, split) == InsufficientHeld(order.order_id, 1, 0)
    assert rejected(world, release) == NothingHeld(order.order_id)


def test_an_order_is_captured_and_refunded_in_one_transaction(world: World) -> None:
    order = world.capture(50, rule=PAIR)
    settled = world.settle(world.attest(order), world.authorize(world.refund(order.order_id, 20)))
    assert settled.only(OrderRefunded).from_held == 20
    assert (world.held(order.order_id), world.refunded()) == (30, 20)


def test_every_currency_has_a_total_of_its_own(world: World) -> None:
    for currency, amount in (("CNY", 10), ("JPY", 7)):
        refunded(world, world.captured(10, rule=PAIR, currency=currency), amount)
    assert [world.refunded(currency) for currency in ("CNY", "JPY", "EUR")] == [10, 7, 0]


# ------------------------------------------------------------------------------ with returns


def test_a_return_counts_what_was_refunded_before(world: World, order: Capture) -> None:
    split = split_of(world, order, 1_000)
    assert refunded(world, order, 500) == (0, [50, 450])
    over = world.give_back(order.order_id, split, 501)
    assert rejected(world, over) == InsufficientReturnable(split, 501, 500)
    back = world.did(world.give_back(order.order_id, split, 500)).only(SplitReturned)
    assert [leaf.amount for leaf in back.allocations] == [50, 450]


def test_a_refund_counts_what_was_returned_before(world: World, order: Capture) -> None:
    first, second = split_of(world, order, 600), split_of(world, order, 400)
    world.did(world.give_back(order.order_id, second, 300))
    world.did(world.give_back(order.order_id, first, 60, (60, 0)))
    # Held again: 360. The leaves have 0 and 540, 10 and 90.
    assert refunded(world, order, 360 + 64) == (360, [0, 54, 1, 9])


def test_what_is_split_after_a_refund_is_refunded_behind_it(world: World, order: Capture) -> None:
    split_of(world, order, 100)
    assert refunded(world, order, 950) == (900, [5, 45])
    world.did(world.give_back(order.order_id, world.twin.world.orders[order.order_id].past[0].id, 40))
    split_of(world, order, 40)
    assert refunded(world, order, 25) == (0, [0, 5, 2, 18])


def test_splits_that_share_an_id_keep_leaves_of_their_own(world: World, order: Capture) -> None:
    split = world.split(order.order_id, 500)
    world.did(split)
    world.did(split)
    world.did(world.give_back(order.order_id, split.id, 500))
    # The return counts against the first of them.
    assert refunded(world, order, 600) == (500, [0, 0, 10, 90])


# ------------------------------------------------------------------------------ refusals


def test_more_than_the_order_has_is_refused_with_what_it_has(world: World, order: Capture) -> None:
    split_of(world, order, 400)
    refunded(world, order, 300)
    over = world.refund(order.order_id, 701)
    assert rejected(world, over) == InsufficientRefundable(order.order_id, 701, 700)


def test_nothing_is_not_refunded(world: World, order: Capture) -> None:
    assert rejected(world, world.refund(order.order_id, 0)) == ZeroAmount()


@pytest.mark.parametrize("field", ["split_id", "bindings", "amounts"])
def test_a_refund_has_no_other_fields(world: World, order: Capture, field: str) -> None:
    values: dict[str, Any] = {"split_id": ident("split"), "bindings": (PROMOTER.id,), "amounts": (5,)}
    refund = replace(world.refund(order.order_id, 5), **{field: values[field]})
    assert rejected(world, refund) == MalformedInstruction(refund.id)


def test_only_the_platform_of_the_order_refunds_it(world: World, order: Capture) -> None:
    refund = world.refund(order.order_id, 5)
    settled = world.settle(world.authorize(refund, platform=SHOP))
    assert settled.reasons == [NotOrderPlatform(order.order_id, SHOP.id)]


def test_an_unknown_order_is_not_refunded(world: World) -> None:
    refund = world.refund(ident("nowhere"), 5)
    assert world.settle(world.authorize(refund)).reasons == [UnknownOrder(refund.order_id)]


def test_a_recipient_that_cannot_give_stops_the_whole_refund(world: World, order: Capture) -> None:
    split_of(world, order, 1_000)
    write_position(world, MERCHANT, 449)
    refund = world.refund(order.order_id, 500)
    assert rejected(world, refund) == InsufficientPosition(MERCHANT.id, 450, 449)
    assert refunded(world, order, 100) == (0, [10, 90])


def test_a_recipient_on_several_leaves_must_have_what_all_of_them_give(world: World, order: Capture) -> None:
    split_of(world, order, 500)
    world.did(world.release(order.order_id))
    write_position(world, MERCHANT, 94)
    refund = world.refund(order.order_id, 100)
    assert rejected(world, refund) == InsufficientPosition(MERCHANT.id, 95, 94)


def test_a_leaf_that_gives_nothing_needs_no_position(world: World) -> None:
    world.put_in_force(TENTH)
    order = world.captured(100, rule=TENTH, bindings=(COURIER.id, MERCHANT.id))
    split_of(world, order, 4)
    write_position(world, COURIER, -1)
    assert refunded(world, order, 100) == (96, [0, 4])


# ------------------------------------------------------------------------------ order of instructions, witnesses


def test_a_refund_stands_before_what_else_happens_to_its_order(world: World, order: Capture) -> None:
    split, refund = world.split(order.order_id, 10), world.refund(order.order_id, 5)
    settled = world.settle(world.authorize(split, refund))
    assert settled.only(OrderSplit).amount == 10
    assert settled.reasons == [ReturnNotFirst(order.order_id)]
    refund, release = world.refund(order.order_id, 5), world.release(order.order_id)
    settled = world.did(refund, release)
    assert settled.only(OrderReleased).amount == 985


def test_a_refund_behind_one_that_was_rejected_is_first(world: World, order: Capture) -> None:
    over, refund = world.refund(order.order_id, 1_001), world.refund(order.order_id, 5)
    settled = world.settle(world.authorize(over, refund))
    assert settled.reasons == [InsufficientRefundable(order.order_id, 1_001, 1_000)]
    assert settled.only(OrderRefunded).refund_id == refund.id


def test_without_the_opened_past_a_refund_is_skipped_and_stays_valid(world: World, order: Capture) -> None:
    split_of(world, order, 10)
    signed = world.authorize(world.refund(order.order_id, 995))
    closed = world.twin.witness(order.order_id, opened=False)
    assert world.settle(signed, witnesses=[closed]).skipped == [order.order_id]
    assert world.settle(signed).only(OrderRefunded).amount == 995


def test_an_altered_refund_in_the_past_opens_nothing(world: World, order: Capture) -> None:
    split_of(world, order, 1_000)
    refunded(world, order, 100)
    honest = world.twin.witness(order.order_id, opened=True)
    *before, refund = honest.past
    assert refund.kind is RecordKind.REFUND
    cheaper = replace(refund, allocations=tuple(replace(take, amount=0) for take in refund.allocations))
    signed = world.authorize(world.refund(order.order_id, 950))
    forged = replace(honest, past=(*before, cheaper))
    assert world.settle(signed, witnesses=[forged]).skipped == [order.order_id]
    assert world.settle(signed).reasons == [InsufficientRefundable(order.order_id, 950, 900)]


def test_its_leaf_is_what_the_interface_says(world: World, order: Capture) -> None:
    split_of(world, order, 1_000)
    refund = world.refund(order.order_id, 30)
    event = world.did(refund).only(OrderRefunded)
    leaf = record_leaf(RecordKind.REFUND, refund.id, order.order_id, 30, content_of_refund(event.takes))
    batch = world.system.call("LedgerView", "batchCount")
    assert world.system.call("LedgerView", "isRecorded", batch, leaf, [])


def test_a_rejected_refund_is_recorded_as_one(world: World, order: Capture) -> None:
    settled = world.settle(world.authorize(world.refund(order.order_id, 0)))
    assert settled.only(InstructionRejected).kind is RecordKind.REFUND
