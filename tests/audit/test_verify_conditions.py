"""Conditions are verified: who opened and confirmed them, who joined, and that no order moved too early or late."""

from __future__ import annotations

import pytest

from audit.auditing import (
    FORWARDER,
    Slots,
    codes,
    forwarded,
    install_forwarder,
    lied_to_about,
    mapped,
    only,
    peek,
    poke,
    verified,
)
from fenzhang.audit.differences import Code
from fenzhang.chain.codec import encode_call, encode_expire, encode_settle
from fenzhang.chain.events import AuthorizationSkipped, ExpiryPassedOver, OrderRefunded, OrderSplit
from fenzhang.chain.views import LEDGER_ROLE
from fenzhang.domain.errors import ConditionMissed, ConditionOpen
from fenzhang.domain.records import Attestation, Authorization, Capture
from support.parties import MALL, PAIR, STRANGER, VENDING, VENDOR, ident
from support.system import ADMIN, OUTSIDER, SUBMITTER
from support.world import World

COUNT = 96
"""Place of a condition's count in its second slot, behind deadline and needed; confirmed and reached follow."""
CONFIRMED, REACHED = 128, 136


@pytest.fixture
def group(world: World) -> bytes:
    """A condition of three orders that ends soon."""
    return world.opened(3, world.node.now + 100)


@pytest.fixture
def order(world: World, group: bytes) -> Capture:
    """One of its orders."""
    return world.captured(1_000, rule=PAIR, condition=group)


def send(world: World, *signed: Attestation | Authorization, forward: bool = False) -> None:
    """Settle without asking the twin, which knows better."""
    call = world.complete(signed)
    data = encode_settle(call.attestations, call.authorizations, call.witnesses, call.order_index)
    transact(world, data, forward=forward)


def transact(world: World, data: bytes, *, forward: bool = False) -> None:
    ledger = world.system.deployment.split_ledger
    to, sent = (FORWARDER, forwarded(ledger, data)) if forward else (ledger, data)
    if forward:
        install_forwarder(world.node)
    mined = world.node.transact(SUBMITTER.address, to, sent)
    assert mined.error is None
    assert mined.logs


def tweak(world: World, condition: bytes, change: int) -> None:
    """Change the second slot of a condition by adding to it, as no transaction could."""
    slot = mapped(Slots.CONDITIONS, MALL.id, condition) + 1
    poke(world, "Conditions", slot, peek(world, "Conditions", slot) + change)


@pytest.mark.parametrize("forward", [False, True])
async def test_a_history_of_conditions_holds(world: World, forward: bool) -> None:  # noqa: FBT001 -- a parameter
    """Also where the calls come from another contract: then signatures cannot be seen, and nothing else is missing."""
    now = world.node.now
    reached, missed = world.opened(2, now + 100), world.opened(2, now + 100)
    delivery = world.opened(1, now + 100, confirmer=STRANGER)
    first, alone = world.captured(5, rule=PAIR, condition=reached), world.captured(6, condition=missed)
    parcel = world.captured(7, rule=PAIR, condition=delivery)
    waiting = world.authorize(world.split(first.order_id, 5), world.release(parcel.order_id))
    assert world.settle(waiting).skipped
    assert world.settle(world.attest(world.capture(5, condition=ident("none")))).reasons
    world.confirm(delivery, STRANGER)
    assert world.expire(alone.order_id).passed_over
    last = world.capture(8, rule=PAIR, condition=reached)
    send(world, world.attest(last), waiting, world.authorize(world.split(last.order_id, 8)), forward=forward)
    world.node.next_block_at(now + 101)
    transact(world, encode_expire([world.twin.witness(alone.order_id, opened=False)]), forward=forward)

    report = await verified(world)

    assert set(codes(report)) <= ({Code.NOT_VERIFIABLE} if forward else set())
    assert report.counts["conditions"] == 3


# ------------------------------------------------------------------------------ orders moved too early or too late


@pytest.mark.parametrize("forward", [False, True])
async def test_an_order_that_was_split_while_its_condition_was_open_is_found(
    world: World,
    order: Capture,
    group: bytes,
    forward: bool,  # noqa: FBT001 -- a parameter
) -> None:
    tweak(world, group, 1 << REACHED)
    send(world, world.authorize(world.split(order.order_id, 100)), forward=forward)
    tweak(world, group, -(1 << REACHED))

    report = await verified(world)

    if forward:
        assert only(report, Code.DECISION_DIFFERS).expected == ConditionOpen(order.order_id, group)
        return
    difference = only(report, Code.AUTHORIZATION_DIFFERS)
    assert isinstance(difference.expected, AuthorizationSkipped)
    assert isinstance(difference.found, OrderSplit)


@pytest.mark.parametrize("forward", [False, True])
async def test_an_order_that_was_released_after_its_condition_was_missed_is_found(
    world: World,
    order: Capture,
    group: bytes,
    forward: bool,  # noqa: FBT001 -- a parameter
) -> None:
    world.node.next_block_at(world.node.now + 101)
    tweak(world, group, 1 << REACHED)
    send(world, world.authorize(world.release(order.order_id)), forward=forward)
    tweak(world, group, -(1 << REACHED))

    difference = only(await verified(world), Code.DECISION_DIFFERS)

    if forward:
        assert difference.expected == ConditionMissed(order.order_id, group)
    assert difference.order == order.order_id


@pytest.mark.parametrize("forward", [False, True])
async def test_a_refund_of_an_order_whose_condition_was_not_missed_is_found(
    world: World,
    order: Capture,
    group: bytes,
    forward: bool,  # noqa: FBT001 -- a parameter
) -> None:
    slot = mapped(Slots.CONDITIONS, MALL.id, group) + 1
    kept = poke(world, "Conditions", slot, 3 << 64 | 1)  # a deadline long ago
    transact(world, encode_expire([world.twin.witness(order.order_id, opened=False)]), forward=forward)
    poke(world, "Conditions", slot, kept)

    difference = only(await verified(world), Code.DECISION_DIFFERS)

    assert isinstance(difference.found, OrderRefunded)
    if not forward:
        assert isinstance(difference.expected, ExpiryPassedOver)


async def test_an_order_that_expired_and_was_refunded_is_found(world: World) -> None:
    group = world.opened(1, world.node.now + 20)
    order = world.captured(5, rule=PAIR, condition=group, expires_at=world.node.now + 30)
    world.node.next_block_at(order.expires_at)
    tweak(world, group, -(1 << REACHED))
    transact(world, encode_expire([world.twin.witness(order.order_id, opened=False)]), forward=True)
    tweak(world, group, 1 << REACHED)

    difference = only(await verified(world), Code.DECISION_DIFFERS)

    assert isinstance(difference.found, OrderRefunded)
    assert difference.order == order.order_id


# ------------------------------------------------------------------------------ forged counts and confirmations


@pytest.mark.usefixtures("order")
async def test_a_forged_count_is_found(world: World, group: bytes) -> None:
    tweak(world, group, 1 << COUNT)

    assert codes(await verified(world)) == {Code.CONDITION: 1}

    last = world.capture(5, rule=PAIR, condition=group)
    send(world, world.attest(last))
    report = await verified(world)
    assert Code.CONDITION_INVALID in codes(report), "the order was told to be the third one"
    assert Code.DECISION_DIFFERS in codes(report)


@pytest.mark.parametrize("bit", [CONFIRMED, REACHED])
@pytest.mark.usefixtures("order")
async def test_a_flag_that_nobody_set_is_found(world: World, group: bytes, bit: int) -> None:
    tweak(world, group, 1 << bit)

    difference = only(await verified(world), Code.CONDITION)

    assert difference.participant == MALL.id


@pytest.mark.usefixtures("order")
async def test_an_order_that_somebody_let_join_is_found(world: World, group: bytes) -> None:
    """The administration may give out the ledger's role, and verify tells what came of it."""
    world.act(ADMIN, "AccessManager", "grantRole", LEDGER_ROLE, OUTSIDER.address, 0)
    world.act(OUTSIDER, "Conditions", "join", MALL.id, group, ident("no order"))

    report = await verified(world)

    assert codes(report) == {Code.EVENT_UNEXPECTED: 1, Code.CONDITION_INVALID: 1}
    assert only(report, Code.CONDITION_INVALID).order == ident("no order")


@pytest.mark.usefixtures("order")
async def test_a_join_that_was_hidden_is_found(world: World, group: bytes) -> None:
    """A node that tells of another condition in the log."""
    other = world.opened(9)
    report = await lied_to_about(world, group.hex(), other.hex(), "eth_getLogs")
    assert Code.CONDITION_INVALID in codes(report)


async def test_conditions_that_nobody_signed_are_found(world: World) -> None:
    """As if the contract had not looked at the signature: its calldata says one thing, and the node another."""
    values, signature = world.condition(1, condition_id=ident("forged"))
    other = world.condition(1, condition_id=ident("another"))[1]
    data = encode_call("Conditions", "open", values, signature)
    mined = world.node.transact(OUTSIDER.address, world.system.deployment.conditions, data)
    assert mined.error is None

    report = await lied_to_about(world, signature.hex(), other.hex(), "eth_getTransactionByHash")

    assert codes(report) == {Code.SIGNATURE_INVALID: 1}


async def test_a_confirmation_by_another_is_found(world: World) -> None:
    delivery = world.opened(0, world.node.now + 50, confirmer=STRANGER)
    good = world.confirmation(delivery, STRANGER)
    bad = world.confirmation(delivery, MALL)
    world.act(OUTSIDER, "Conditions", "confirm", *good)

    report = await lied_to_about(world, good[2].hex(), bad[2].hex(), "eth_getTransactionByHash")

    assert codes(report) == {Code.SIGNATURE_INVALID: 1}


async def test_a_condition_of_one_platform_does_nothing_for_another(world: World, group: bytes) -> None:
    foreign = world.capture(5, rule=VENDING, merchant=VENDOR, condition=group)
    assert world.settle(world.attest(foreign)).reasons
    assert (await verified(world)).held
