"""Holds and expiry: when nothing may be done on an order, and when anybody may release what it holds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fenzhang.chain.events import BatchSealed, OrderCaptured, OrderReleased, OrderSplit
from fenzhang.domain.errors import (
    HoldBeyondExpiry,
    NothingHeld,
    OnHold,
    OrderExpired,
    OrderNotExpired,
    OutdatedWitness,
    RecipientNotActive,
    UnknownOrder,
)
from fenzhang.domain.records import Capture, Instruction, OrderWitness, RecordKind
from support.parties import BOTH, MALL, MERCHANT, PAIR, SHOP, VENDING, VENDOR, ident
from support.world import FAR, World


@pytest.fixture
def soon(world: World) -> int:
    """A time that is not long ahead."""
    return world.node.now + 100


def at(world: World, timestamp: int) -> None:
    """The next transaction is mined at this time."""
    world.node.next_block_at(timestamp)


# ------------------------------------------------------------------------------ captures


@pytest.mark.parametrize(
    ("hold", "expiry"), [(0, 0), (5, 0), (0, 1), (0, 2**64 - 1), (5, 6), (2**64 - 1, 0), (0, FAR), (FAR, 0)]
)
def test_an_order_may_have_either_time_or_both(world: World, hold: int, expiry: int) -> None:
    order = world.capture(100, hold_until=hold, expires_at=expiry)
    captured = world.settle(world.attest(order)).only(OrderCaptured)
    assert (captured.hold_until, captured.expires_at) == (hold, expiry)
    assert captured.capture == order


def test_only_orders_with_times_have_an_event_of_them(world: World) -> None:
    plain = world.settle(world.attest(world.capture(100)))
    timed = world.settle(world.attest(world.capture(100, expires_at=FAR)))
    assert len(plain.mined.logs) == 2
    assert len(timed.mined.logs) == 3


@pytest.mark.parametrize(("hold", "expiry"), [(6, 6), (7, 6), (2**64 - 1, 1)])
def test_a_hold_must_end_before_the_order_expires(world: World, hold: int, expiry: int) -> None:
    order, other = world.capture(100, hold_until=hold, expires_at=expiry), world.capture(50)
    settled = world.settle(world.attest(order, other))
    assert settled.reasons == [HoldBeyondExpiry(hold, expiry)]
    assert settled.only(OrderCaptured).capture == other


def test_the_bank_signs_the_times(world: World) -> None:
    signed = world.attest(world.capture(100, expires_at=FAR))
    changed = replace(signed, captures=(replace(signed.captures[0], expires_at=FAR + 1),))
    assert [error.code for error in world.settle(changed).refusals] == ["invalid_signature"]


# ------------------------------------------------------------------------------ holds


def on_hold(world: World, until: int) -> tuple[Capture, list[Instruction]]:
    """An order on hold, and each of the instructions that a platform has."""
    order = world.captured(100, rule=PAIR, hold_until=until)
    return order, [
        world.split(order.order_id, 60),
        world.release(order.order_id),
        world.give_back(order.order_id, ident("no split"), 1),
    ]


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_nothing_may_be_done_on_an_order_before_its_hold_ends(world: World, soon: int, kind: int) -> None:
    order, instructions = on_hold(world, soon)
    at(world, soon - 1)
    settled = world.settle(world.authorize(instructions[kind]))
    assert settled.reasons == [OnHold(order.order_id, soon)]
    assert (world.held(order.order_id), world.totals()) == (100, (100, 100))


def test_a_hold_ends_with_the_second_that_it_names(world: World, soon: int) -> None:
    order, (split, release, _) = on_hold(world, soon)
    at(world, soon)
    world.did(split, release)
    assert world.held(order.order_id) == 0


def test_an_order_on_hold_cannot_be_split_with_its_capture_and_stops_no_other(
    world: World, soon: int
) -> None:
    held, plain = world.capture(100, rule=PAIR, hold_until=soon), world.capture(100, rule=PAIR)
    splits = [world.split(order.order_id, 100) for order in (held, plain)]
    settled = world.settle(world.attest(held, plain), world.authorize(*splits))
    assert settled.reasons == [OnHold(held.order_id, soon)]
    assert settled.only(OrderSplit).order_id == plain.order_id


# ------------------------------------------------------------------------------ expiry


def test_anybody_releases_what_an_expired_order_still_holds(world: World, soon: int) -> None:
    order = world.captured(100, rule=PAIR, merchant=BOTH, expires_at=soon)
    world.did(world.split(order.order_id, 60))
    before = world.position(BOTH)
    at(world, soon)
    settled = world.expire(order.order_id)
    released = settled.only(OrderReleased)
    assert released.by_expiry
    assert (released.release_id, released.merchant, released.amount) == (order.order_id, BOTH.id, 40)
    assert settled.only(BatchSealed).records == 1
    assert world.position(BOTH) == before + 40
    assert (world.held(order.order_id), world.totals()) == (0, (100, 0))
    record = world.twin.world.orders[order.order_id].past[-1]
    assert (record.kind, record.id) == (RecordKind.RELEASE, order.order_id)


def test_an_order_does_not_expire_a_second_early(world: World, soon: int) -> None:
    order = world.captured(100, expires_at=soon)
    at(world, soon - 1)
    settled = world.expire(order.order_id)
    assert settled.passed_over == [OrderNotExpired(order.order_id, soon)]
    assert settled.all(BatchSealed) == []
    assert world.held(order.order_id) == 100


def test_an_order_without_the_time_never_expires(world: World) -> None:
    order = world.captured(100)
    assert world.expire(order.order_id).passed_over == [OrderNotExpired(order.order_id, 0)]


def test_one_bad_order_never_stops_its_neighbours(world: World, soon: int) -> None:
    """Each reason once, between orders of two platforms and currencies that expire."""
    good = world.captured(100, expires_at=soon)
    vending = world.captured(70, rule=VENDING, merchant=VENDOR, currency="JPY", expires_at=soon)
    later = world.captured(50, expires_at=FAR)
    empty = world.captured(30, expires_at=soon)
    world.did(world.release(empty.order_id))
    moved = world.captured(40, rule=PAIR, expires_at=soon)
    outdated = world.twin.witness(moved.order_id, opened=False)
    world.did(world.split(moved.order_id, 10))
    dead_end = world.captured(20, merchant=BOTH, expires_at=soon)
    world.register("suspend", BOTH.id)
    unknown = OrderWitness(world.capture(60, expires_at=soon), bytes(32))
    at(world, soon)
    ids = [later.order_id, good.order_id, empty.order_id]
    settled = world.expire(*ids, outdated, dead_end.order_id, unknown, good.order_id, vending.order_id)
    assert settled.passed_over == [
        OrderNotExpired(later.order_id, FAR),
        NothingHeld(empty.order_id),
        OutdatedWitness(moved.order_id),
        RecipientNotActive(BOTH.id),
        UnknownOrder(unknown.capture.order_id),
        OutdatedWitness(good.order_id),
    ]
    assert [event.order_id for event in settled.all(OrderReleased)] == [good.order_id, vending.order_id]
    assert (world.totals()[1], world.totals("JPY")[1]) == (50 + 30 + 20, 0)


def test_nobody_can_lie_about_the_time_of_an_order(world: World) -> None:
    order = world.captured(100, expires_at=FAR)
    witness = world.twin.witness(order.order_id, opened=False)
    lie = replace(witness, capture=replace(order, expires_at=1))
    assert world.expire(lie).passed_over == [OutdatedWitness(order.order_id)]


def test_a_platform_cannot_prevent_that_an_order_expires(world: World, soon: int) -> None:
    order = world.captured(70, rule=VENDING, merchant=VENDOR, expires_at=soon)
    world.register("suspend", SHOP.id)
    at(world, soon)
    assert world.expire(order.order_id).only(OrderReleased).amount == 70


def test_an_expired_order_is_not_split_any_more(world: World, soon: int) -> None:
    order = world.captured(100, rule=PAIR, expires_at=soon)
    splits = [world.split(order.order_id, 60), world.split(order.order_id, 10)]
    at(world, soon - 1)
    world.did(splits[0])
    settled = world.settle(world.authorize(splits[1]))
    assert settled.reasons == [OrderExpired(order.order_id, soon)]
    assert world.held(order.order_id) == 40


def test_an_expired_order_may_be_released_by_its_platform(world: World, soon: int) -> None:
    order = world.captured(100, expires_at=soon)
    at(world, soon)
    released = world.did(world.release(order.order_id)).only(OrderReleased)
    assert (released.by_expiry, released.amount) == (False, 100)
    assert world.expire(order.order_id).passed_over == [NothingHeld(order.order_id)]


def test_returns_work_after_an_expiry_and_what_they_bring_expires_again(world: World, soon: int) -> None:
    order = world.captured(100, rule=PAIR, expires_at=soon)
    split = world.split(order.order_id, 60)
    world.did(split)
    at(world, soon)
    world.expire(order.order_id)
    world.did(world.give_back(order.order_id, split.id, 20))
    assert world.held(order.order_id) == 20
    before = world.position(MERCHANT)
    assert world.expire(order.order_id).only(OrderReleased).amount == 20
    assert world.position(MERCHANT) == before + 20
    world.did(world.give_back(order.order_id, split.id, 40))
    assert world.held(order.order_id) == 40


def test_a_return_behind_the_opened_past_of_an_expiry(world: World, soon: int) -> None:
    """The past that a return opens has the release by expiry in it, under the order's id."""
    order = world.captured(100, rule=PAIR, expires_at=soon)
    split = world.split(order.order_id, 60)
    world.did(split)
    at(world, soon)
    world.expire(order.order_id)
    witness = world.twin.witness(order.order_id, opened=True)
    assert [record.id for record in witness.past] == [split.id, order.order_id]
    world.settle(world.authorize(world.give_back(order.order_id, split.id, 1)), witnesses=[witness])
    assert world.held(order.order_id) == 1


def test_an_expiry_of_nothing_records_nothing(world: World) -> None:
    assert world.expire().events == []


def test_many_orders_expire_together(world: World, soon: int) -> None:
    orders = [world.capture(100 + number, expires_at=soon) for number in range(60)]
    world.settle(world.attest(*orders))
    at(world, soon)
    settled = world.expire(*[order.order_id for order in orders])
    assert settled.only(BatchSealed).records == 60
    assert world.position(MERCHANT) == sum(order.amount for order in orders)
    assert world.position(MALL) == 0
