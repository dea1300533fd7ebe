"""Holds and expiry are verified by the times of blocks: nothing before a hold ends, no expiry before its time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from audit.auditing import FORWARDER, codes, forwarded, install_forwarder, lied_to_about, only, verified
from fenzhang.audit.differences import Code
from fenzhang.chain.codec import encode_expire, encode_settle
from fenzhang.chain.events import ExpiryPassedOver, InstructionRejected, OrderReleased, OrderSplit
from fenzhang.chain.reverts import decode_revert
from fenzhang.domain.errors import OnHold, OrderExpired, OrderNotExpired
from fenzhang.domain.records import Capture, OrderWitness
from support.parties import BOTH, PAIR
from support.system import OUTSIDER, SUBMITTER
from support.world import World


@pytest.fixture
def soon(world: World) -> int:
    """A time that is not long ahead."""
    return world.node.now + 100


def timed(world: World, soon: int, **more: int) -> Capture:
    """An order of 100 that expires soon, 60 of it split."""
    order = world.captured(100, rule=PAIR, expires_at=soon, **more)
    world.did(world.split(order.order_id, 60))
    return order


async def test_a_history_of_holds_and_expiries_holds(world: World, soon: int) -> None:
    order = timed(world, soon)
    held = world.captured(100, rule=PAIR, hold_until=soon)
    assert world.settle(world.authorize(world.split(held.order_id, 1))).reasons
    stopped, plain = world.captured(50, merchant=BOTH, expires_at=soon), world.captured(40)
    bad = world.capture(10, hold_until=9, expires_at=8)
    assert world.settle(world.attest(bad)).reasons
    world.register("suspend", BOTH.id)
    stale = world.twin.witness(order.order_id, opened=False)
    unknown = OrderWitness(world.capture(60, expires_at=1), bytes(32))
    world.expire(order.order_id)
    world.node.next_block_at(soon)
    world.expire(order.order_id, stopped.order_id, plain.order_id, stale, unknown)
    world.expire(replace(stale, head=bytes(32)))
    assert world.settle(world.authorize(world.split(order.order_id, 1))).reasons
    world.did(world.split(held.order_id, 100))

    report = await verified(world)

    assert report.differences == ()
    assert (report.counts["releases"], report.counts["rejections"]) == (1, 3)


async def test_an_expiry_through_another_contract_holds_for_nobody_had_to_sign_it(
    world: World, soon: int
) -> None:
    order = timed(world, soon)
    call_through_forwarder(world, encode_expire([world.twin.witness(order.order_id, opened=False)]), soon)

    report = await verified(world)

    assert report.differences == ()
    assert report.counts["releases"] == 1


def call_through_forwarder(world: World, data: bytes, timestamp: int) -> None:
    install_forwarder(world.node)
    world.node.next_block_at(timestamp)
    mined = world.node.transact(
        OUTSIDER.address, FORWARDER, forwarded(world.system.deployment.split_ledger, data)
    )
    assert (mined.error, mined.timestamp) == (None, timestamp)


def settle_data(world: World, order: Capture) -> bytes:
    call = world.complete([world.authorize(world.split(order.order_id, 10))])
    return encode_settle(call.attestations, call.authorizations, call.witnesses, call.order_index)


async def lied_to_about_time(world: World, truth: int, claim: int) -> list[object]:
    """Expected and found of the one difference, when a node tells the time of a block otherwise."""
    report = await lied_to_about(world, f'"{truth:#x}"', f'"{claim:#x}"', "eth_getBlockByNumber")
    difference = only(report, Code.DECISION_DIFFERS)
    return [difference.expected, difference.found]


async def test_an_expiry_before_its_time_is_found(world: World, soon: int) -> None:
    order = timed(world, soon)
    world.node.next_block_at(soon)
    world.expire(order.order_id)

    expected, found = await lied_to_about_time(world, soon, soon - 1)

    assert isinstance(expected, ExpiryPassedOver)
    assert decode_revert(expected.reason) == OrderNotExpired(order.order_id, soon)
    assert isinstance(found, OrderReleased)


async def test_an_expired_order_that_was_passed_over_is_found(world: World, soon: int) -> None:
    order = timed(world, soon)
    world.node.next_block_at(soon - 1)
    world.expire(order.order_id)

    expected, found = await lied_to_about_time(world, soon - 1, soon)

    assert isinstance(expected, OrderReleased)
    assert isinstance(found, ExpiryPassedOver)


async def test_a_split_on_hold_is_found(world: World, soon: int) -> None:
    order = world.captured(100, rule=PAIR, hold_until=soon)
    world.node.next_block_at(soon)
    world.did(world.split(order.order_id, 10))

    expected, found = await lied_to_about_time(world, soon, soon - 1)

    assert isinstance(expected, InstructionRejected)
    assert decode_revert(expected.reason) == OnHold(order.order_id, soon)
    assert isinstance(found, OrderSplit)


async def test_a_split_of_an_expired_order_is_found(world: World, soon: int) -> None:
    order = world.captured(100, rule=PAIR, expires_at=soon)
    world.node.next_block_at(soon - 1)
    mined = world.node.transact(
        SUBMITTER.address, world.system.deployment.split_ledger, settle_data(world, order)
    )
    assert (mined.error, mined.timestamp) == (None, soon - 1)

    expected, found = await lied_to_about_time(world, soon - 1, soon)

    assert isinstance(expected, InstructionRejected)
    assert decode_revert(expected.reason) == OrderExpired(order.order_id, soon)
    assert isinstance(found, OrderSplit)


async def test_times_are_checked_also_where_calldata_does_not_show(world: World, soon: int) -> None:
    held, timed_out = (
        world.captured(100, rule=PAIR, hold_until=soon),
        world.captured(100, rule=PAIR, expires_at=soon + 5),
    )
    call_through_forwarder(world, settle_data(world, held), soon)
    witness = world.twin.witness(timed_out.order_id, opened=False)
    call_through_forwarder(world, encode_expire([witness]), soon + 5)

    assert codes(await verified(world)) == {Code.NOT_VERIFIABLE: 1}
    assert await lied_to_about_time(world, soon, soon - 1)
    [expected, found] = await lied_to_about_time(world, soon + 5, soon + 4)
    assert expected == OrderNotExpired(timed_out.order_id, soon + 5)
    assert isinstance(found, OrderReleased)


async def test_the_times_of_an_order_that_a_node_tells_otherwise_are_found(world: World, soon: int) -> None:
    world.captured(100, rule=PAIR, expires_at=soon)

    report = await lied_to_about(world, f"{soon:064x}", f"{soon + 1:064x}", "eth_getLogs")

    assert codes(report)[Code.DECISION_DIFFERS] == 1
    assert codes(report)[Code.ORDER_SLOT] == 1
