"""Releases: what was not split goes to the merchant of the order."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fenzhang.chain.events import OrderReleased
from fenzhang.domain.errors import (
    MalformedInstruction,
    NothingHeld,
    NotOrderPlatform,
    RecipientNotActive,
    Rejection,
    UnknownOrder,
)
from fenzhang.domain.records import Instruction
from support.parties import BOTH, MALL, MERCHANT, NOBODY, PAIR, PROMOTER, SHOP, Party, ident
from support.world import World


def rejected(world: World, instruction: Instruction, by: Party = MALL) -> Rejection:
    before = world.totals()
    settled = world.settle(world.authorize(instruction, platform=by))
    assert world.totals() == before
    [reason] = settled.reasons
    assert isinstance(reason, Rejection)
    return reason


def test_a_release_pays_all_that_is_held_to_the_merchant(world: World) -> None:
    order = world.captured(1_000, merchant=BOTH)
    release = world.release(order.order_id)
    event = world.did(release).only(OrderReleased)
    assert (event.order_id, event.release_id, event.merchant, event.amount) == (
        order.order_id,
        release.id,
        BOTH.id,
        1_000,
    )
    assert world.position(BOTH) == 1_000
    assert world.held(order.order_id) == 0
    assert world.totals() == (1_000, 0)


def test_a_release_behind_a_split_pays_the_rest(world: World) -> None:
    order = world.captured(100, rule=PAIR)
    settled = world.did(world.split(order.order_id, 60), world.release(order.order_id))
    assert settled.only(OrderReleased).amount == 40
    assert (world.position(PROMOTER), world.position(MERCHANT)) == (30, 70)


def test_an_order_can_be_released_in_the_transaction_that_captures_it(world: World) -> None:
    order = world.capture(100)
    settled = world.settle(world.attest(order), world.authorize(world.release(order.order_id)))
    assert settled.only(OrderReleased).amount == 100


def test_an_order_that_holds_nothing_cannot_be_released(world: World) -> None:
    order = world.captured(100, rule=PAIR)
    settled = world.settle(world.authorize(world.release(order.order_id), world.release(order.order_id)))
    assert settled.reasons == [NothingHeld(order.order_id)]
    assert rejected(world, world.release(order.order_id)) == NothingHeld(order.order_id)
    fully_split = world.captured(100, rule=PAIR)
    world.did(world.split(fully_split.order_id, 100))
    assert rejected(world, world.release(fully_split.order_id)) == NothingHeld(fully_split.order_id)


def test_what_is_returned_after_a_release_is_released_again(world: World) -> None:
    order = world.captured(100, rule=PAIR)
    split = world.split(order.order_id, 60)
    world.did(split, world.release(order.order_id))
    world.did(world.give_back(order.order_id, split.id, 10), world.release(order.order_id))
    assert world.held(order.order_id) == 0
    assert (world.position(PROMOTER), world.position(MERCHANT)) == (25, 75)


MALFORMED = {
    "an amount": {"amount": 100},
    "a split": {"split_id": ident("x")},
    "bindings": {"bindings": (NOBODY,)},
    "amounts": {"amounts": (100,)},
}


@pytest.mark.parametrize("extra", MALFORMED.values(), ids=MALFORMED)
def test_a_release_is_rejected_that_names(world: World, extra: dict[str, object]) -> None:
    order = world.captured(100)
    release = replace(world.release(order.order_id), **extra)  # type: ignore[arg-type] # fields by name
    assert rejected(world, release) == MalformedInstruction(release.id)
    assert world.held(order.order_id) == 100


def test_a_release_waits_for_a_merchant_that_is_suspended(world: World) -> None:
    order = world.captured(100)
    world.register("suspend", MERCHANT.id)
    assert rejected(world, world.release(order.order_id)) == RecipientNotActive(MERCHANT.id)
    world.register("resume", MERCHANT.id)
    assert world.did(world.release(order.order_id)).only(OrderReleased).amount == 100


def test_a_release_of_another_platforms_order_or_of_none_is_rejected(world: World) -> None:
    order = world.captured(100)
    by_shop = rejected(world, world.release(order.order_id), by=SHOP)
    assert by_shop == NotOrderPlatform(order.order_id, SHOP.id)
    assert rejected(world, world.release(ident("none"))) == UnknownOrder(ident("none"))
