"""Freezes are verified: who made and undid them, and that nothing frozen moved."""

from __future__ import annotations

import pytest

from audit.auditing import (
    FORWARDER,
    Slots,
    codes,
    forwarded,
    install_forwarder,
    mapped,
    only,
    peek,
    poke,
    verified,
)
from fenzhang.audit.differences import Code
from fenzhang.chain.codec import encode_settle
from fenzhang.chain.events import FreezeChanged, InstructionRejected, OrderSplit, SplitReturned
from fenzhang.chain.reverts import decode_revert
from fenzhang.domain.errors import OrderFrozen, ParticipantFrozen
from fenzhang.domain.records import Authorization, Capture, Instruction
from support.parties import MALL, PAIR, PROMOTER
from support.system import GUARDIAN, SUBMITTER
from support.world import World

FROZEN_PARTICIPANT = 1 << 248
"""Behind authority, status, home and cap in its slot."""


@pytest.fixture
def order(world: World) -> Capture:
    """An order that expires soon."""
    return world.captured(1_000, rule=PAIR, expires_at=world.node.now + 100)


@pytest.fixture
def split(world: World, order: Capture) -> Instruction:
    """A split of it."""
    made = world.split(order.order_id, 600)
    world.did(made)
    return made


async def test_a_history_of_freezes_holds(world: World, order: Capture, split: Instruction) -> None:
    signed = world.authorize(world.give_back(order.order_id, split.id, 10))
    world.freeze(order.order_id)
    world.freeze(order.order_id, split.id)
    world.freeze(PROMOTER)
    world.freeze(MALL)
    assert world.settle(signed).refusals
    world.unfreeze(MALL)
    assert world.settle(world.authorize(world.split(order.order_id, 10))).reasons
    world.node.next_block_at(order.expires_at)
    assert world.expire(order.order_id).passed_over
    world.unfreeze(order.order_id)
    assert world.settle(world.authorize(world.give_back(order.order_id, split.id, 10))).reasons
    world.unfreeze(order.order_id, split.id)
    assert world.settle(world.authorize(world.give_back(order.order_id, split.id, 10))).reasons
    world.expire(order.order_id)

    report = await verified(world)

    assert report.differences == ()
    assert report.counts["freezes"] == 4


def send(world: World, signed: Authorization) -> None:
    """Settle without asking the twin, which knows better."""
    call = world.complete([signed])
    data = encode_settle(call.attestations, call.authorizations, call.witnesses, call.order_index)
    mined = world.node.transact(SUBMITTER.address, world.system.deployment.split_ledger, data)
    assert mined.error is None


def thawed(world: World, order: Capture) -> None:
    """Take out or put back who froze an order, as no transaction could."""
    slot = mapped(Slots.FREEZES, order.order_id, bytes(32))
    poke(world, "Conditions", slot, peek(world, "Conditions", slot) ^ int.from_bytes(GUARDIAN.address, "big"))


async def test_a_split_of_a_frozen_order_is_found(world: World, order: Capture) -> None:
    world.freeze(order.order_id)
    thawed(world, order)
    send(world, world.authorize(world.split(order.order_id, 100)))
    thawed(world, order)

    difference = only(await verified(world), Code.DECISION_DIFFERS)

    assert isinstance(difference.expected, InstructionRejected)
    assert decode_revert(difference.expected.reason) == OrderFrozen(order.order_id)
    assert isinstance(difference.found, OrderSplit)


async def test_money_taken_from_a_frozen_participant_is_found(
    world: World, order: Capture, split: Instruction
) -> None:
    world.freeze(PROMOTER)
    slot = mapped(Slots.PARTICIPANTS, PROMOTER.id)
    count = peek(world, "ParticipantRegistry", Slots.FROZEN_COUNT)
    poke(world, "ParticipantRegistry", Slots.FROZEN_COUNT, 0)
    send(world, world.authorize(world.give_back(order.order_id, split.id, 100)))
    poke(world, "ParticipantRegistry", Slots.FROZEN_COUNT, count)

    report = await verified(world)

    difference = only(report, Code.DECISION_DIFFERS)
    assert isinstance(difference.expected, InstructionRejected)
    assert decode_revert(difference.expected.reason) == ParticipantFrozen(PROMOTER.id)
    assert isinstance(difference.found, SplitReturned)
    assert peek(world, "ParticipantRegistry", slot) & FROZEN_PARTICIPANT


async def test_a_movement_of_frozen_money_is_found_where_calldata_does_not_show(
    world: World, order: Capture, split: Instruction
) -> None:
    install_forwarder(world.node)
    world.freeze(order.order_id, split.id)
    world.freeze(order.order_id)
    thawed(world, order)
    call = world.complete([world.authorize(world.split(order.order_id, 100))])
    data = encode_settle(call.attestations, call.authorizations, call.witnesses, call.order_index)
    mined = world.node.transact(
        SUBMITTER.address, FORWARDER, forwarded(world.system.deployment.split_ledger, data)
    )
    assert mined.error is None
    thawed(world, order)

    report = await verified(world)

    assert codes(report) == {Code.NOT_VERIFIABLE: 1, Code.DECISION_DIFFERS: 1}
    assert only(report, Code.DECISION_DIFFERS).expected == OrderFrozen(order.order_id)


async def test_a_flag_that_nobody_set_is_found(world: World) -> None:
    slot = mapped(Slots.PARTICIPANTS, PROMOTER.id)
    registered = peek(world, "ParticipantRegistry", slot)
    poke(world, "ParticipantRegistry", slot, registered | FROZEN_PARTICIPANT)
    poke(world, "ParticipantRegistry", Slots.FROZEN_COUNT, 1)
    poke(world, "Conditions", Slots.FROZEN_ORDERS, 1)

    report = await verified(world)

    assert codes(report) == {Code.FREEZE: 3}


async def test_a_freezer_that_was_exchanged_is_found(world: World, order: Capture) -> None:
    world.freeze(order.order_id)
    slot = mapped(Slots.FREEZES, order.order_id, bytes(32))
    poke(world, "Conditions", slot, int.from_bytes(SUBMITTER.address, "big"))

    difference = only(await verified(world), Code.FREEZE)

    assert difference.order == order.order_id


async def test_a_freeze_undone_by_whoever_made_it_is_found(world: World, order: Capture) -> None:
    world.freeze(order.order_id)
    slot = mapped(Slots.FREEZES, order.order_id, bytes(32))
    poke(world, "Conditions", slot, int.from_bytes(SUBMITTER.address, "big"))
    world.unfreeze(order.order_id, by=GUARDIAN)

    difference = only(await verified(world), Code.FREEZE_TRANSITION)

    assert isinstance(difference.found, FreezeChanged)
    assert difference.order == order.order_id
