"""Suspense positions are verified: which shares were parked, to whom they went, and who was named as an heir."""

from __future__ import annotations

from dataclasses import replace

import pytest

from audit.auditing import Slots, lied_to_about, mapped, only, poke, verified
from fenzhang.audit.differences import Code
from fenzhang.domain.rules import RuleTerms
from fenzhang.domain.suspense import suspense_id
from support.parties import COURIER, MERCHANT, PAIR, PROMOTER, Party, ident
from support.system import GUARDIAN
from support.world import World

PARKING = replace(PAIR, rule_id=ident("rule", "parking"), terms=RuleTerms(park=True))
HEIRS = Slots.PLACES + 1
"""Slot of the registry's heirs."""


@pytest.fixture
def parked(world: World) -> tuple[bytes, bytes]:
    """An order and its split, half of which waits for the promoter."""
    world.put_in_force(PARKING)
    order = world.captured(1_000, rule=PARKING, bindings=(PROMOTER.id, MERCHANT.id))
    world.register("suspend", PROMOTER.id)
    split = world.split(order.order_id, 1_000)
    world.did(split)
    return order.order_id, split.id


def to_heir(world: World, heir: Party) -> None:
    world.register("close", PROMOTER.id)
    world.act(GUARDIAN, "ParticipantRegistry", "nameHeir", PROMOTER.id, heir.id)
    world.resolve(PROMOTER)


async def test_a_history_of_suspense_positions_holds(world: World, parked: tuple[bytes, bytes]) -> None:
    order, split = parked
    world.did(world.give_back(order, split, 100))
    world.register("resume", PROMOTER.id)
    world.resolve(PROMOTER)
    to_owner = await verified(world)
    assert to_owner.differences == ()
    world.register("suspend", PROMOTER.id)
    world.did(world.split(order, 100))
    to_heir(world, COURIER)
    world.did(world.refund(order, 700))

    report = await verified(world)

    assert report.differences == ()
    assert report.counts["records"] == to_owner.counts["records"] + 3


async def test_a_share_that_is_said_to_have_been_paid_and_was_parked_is_found(
    world: World, parked: tuple[bytes, bytes]
) -> None:
    order, _ = parked
    report = await lied_to_about(
        world, suspense_id(PROMOTER.id).hex(), PROMOTER.id.hex(), "eth_getLogs", "eth_getTransactionReceipt"
    )
    assert only(report, Code.DECISION_DIFFERS).order == order


async def test_a_resolution_to_somebody_else_is_found(world: World, parked: tuple[bytes, bytes]) -> None:
    assert parked
    to_heir(world, COURIER)
    # In the registry, the merchant is the heir now, and nothing told of it.
    slot = mapped(HEIRS, PROMOTER.id)
    poke(world, "ParticipantRegistry", slot, int.from_bytes(MERCHANT.id, "big"))

    difference = only(await verified(world), Code.SUSPENSE_TRANSITION)

    assert difference.participant == PROMOTER.id
    assert (difference.expected, difference.found) == (COURIER.id, MERCHANT.id)


async def test_an_heir_that_events_do_not_tell_of_is_found_where_it_gets_something(
    world: World, parked: tuple[bytes, bytes]
) -> None:
    assert parked
    world.register("close", PROMOTER.id)
    slot = mapped(HEIRS, PROMOTER.id)
    poke(world, "ParticipantRegistry", slot, int.from_bytes(COURIER.id, "big"))
    mined = world.system.transact(GUARDIAN, "ClearingHouse", "resolve", b"CNY", PROMOTER.id)
    assert mined.error is None

    report = await verified(world)

    found = [each for each in report.differences if each.code is Code.SUSPENSE_TRANSITION]
    assert {each.participant for each in found} == {PROMOTER.id}
    assert len(found) >= 2
