"""Orders expire by themselves: submission releases what they hold, by the chain's time and once at a time."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import update

from fenzhang.chain.codec import EXPIRE_SELECTOR, encode_expire
from fenzhang.chain.events import OrderReleased
from fenzhang.domain.allocation import Allocation
from fenzhang.domain.records import Capture, OrderWitness, PastRecord, RecordKind
from fenzhang.ledger.balances import position
from fenzhang.store import payloads, tables
from fenzhang.store.tables import InstructionType, TransactionState
from pipeline.harness import FAST, Pipeline
from support.parties import BOTH, MALL, MERCHANT, PAIR, PROMOTER, Party
from support.system import OUTSIDER

pytestmark = pytest.mark.either_database


async def captured(pipeline: Pipeline, *orders: Capture) -> None:
    """Captured and mirrored."""
    await pipeline.accept(*orders)
    await pipeline.settle_all()


def orders_due(pipeline: Pipeline, count: int = 1, merchant: Party = MERCHANT) -> tuple[int, list[Capture]]:
    """A time that is not long ahead, and orders that expire then."""
    world = pipeline.world
    soon = world.node.now + 100
    return soon, [world.capture(1_000, rule=PAIR, merchant=merchant, expires_at=soon) for _ in range(count)]


async def reach(pipeline: Pipeline, timestamp: int) -> None:
    """A block of this time, mirrored."""
    pipeline.world.node.next_block_at(timestamp)
    pipeline.mine()
    await pipeline.follow()


async def held(pipeline: Pipeline, *orders: Capture) -> list[int]:
    rows = {row.order_id: row.held for row in await pipeline.rows(tables.Order)}
    return [rows[order.order_id] for order in orders]


async def expiring_transactions(pipeline: Pipeline) -> list[tables.Transaction]:
    return [row for row in await pipeline.transactions() if EXPIRE_SELECTOR in row.raw]


async def test_an_order_expires_when_the_chain_has_come_to_its_time(pipeline: Pipeline) -> None:
    soon, [order] = orders_due(pipeline)
    await captured(pipeline, order)
    await reach(pipeline, soon - 1)
    assert await pipeline.submit() == 0
    await reach(pipeline, soon)

    await pipeline.round()

    assert await held(pipeline, order) == [0]
    async with pipeline.database.read() as session:
        assert (await position(session, [MERCHANT.id]))[MERCHANT.id, "CNY"] == 1_000
    [record] = await pipeline.rows(tables.Record, tables.Record.kind == int(RecordKind.RELEASE))
    assert (record.instruction_id, record.order_id) == (order.order_id, order.order_id)
    [transaction] = await expiring_transactions(pipeline)
    assert transaction.state == TransactionState.MINED
    await pipeline.check_reconciled()
    assert await pipeline.submit() == 0


async def test_what_expired_while_nobody_was_there_is_released_by_whoever_comes(pipeline: Pipeline) -> None:
    soon, orders = orders_due(pipeline, 3)
    await captured(pipeline, *orders)
    pipeline.world.node.next_block_at(soon + 1_000)
    pipeline.mine(5)
    await pipeline.take_over()
    await pipeline.follow()

    await pipeline.round()

    assert await held(pipeline, *orders) == [0, 0, 0]
    assert len(await expiring_transactions(pipeline)) == 1


async def test_an_order_is_in_one_transaction_at_a_time(pipeline: Pipeline) -> None:
    soon, [order] = orders_due(pipeline)
    await captured(pipeline, order)
    await reach(pipeline, soon)
    await pipeline.submit()
    await pipeline.take_over()
    for _ in range(3):
        await pipeline.submit()
    assert len(await expiring_transactions(pipeline)) == 1

    pipeline.mine()
    await pipeline.follow()
    await pipeline.submit()

    assert await held(pipeline, order) == [0]
    assert len(await expiring_transactions(pipeline)) == 1


async def test_a_transaction_that_was_stored_and_never_sent_goes_out_by_the_next_process(
    pipeline: Pipeline,
) -> None:
    soon, [order] = orders_due(pipeline)
    await captured(pipeline, order)
    await reach(pipeline, soon)
    assert await pipeline.submitter.prepare_and_store() == 1
    await pipeline.take_over()

    await pipeline.round()

    assert await held(pipeline, order) == [0]
    assert len(await expiring_transactions(pipeline)) == 1


async def test_instructions_of_an_order_wait_for_its_expiry(pipeline: Pipeline) -> None:
    world = pipeline.world
    soon, [order] = orders_due(pipeline)
    split = world.split(order.order_id, 600)
    await captured(pipeline, order)
    await pipeline.accept(split)
    await pipeline.settle_all()
    await reach(pipeline, soon)
    [seq] = await pipeline.accept(world.give_back(order.order_id, split.id, 100))

    await pipeline.submit()
    assert await pipeline.states(seq) == ["ACCEPTED"]
    pipeline.mine()
    await pipeline.settle_all()
    assert await pipeline.states(seq) == ["SETTLED"]
    assert await held(pipeline, order) == [100]
    await pipeline.round()

    assert await held(pipeline, order) == [0]
    await pipeline.check_reconciled()


async def test_an_expiry_with_an_outdated_witness_is_tried_again_with_a_fresh_one(pipeline: Pipeline) -> None:
    world = pipeline.world
    soon, [order] = orders_due(pipeline)
    split = world.split(order.order_id, 600)
    await captured(pipeline, order)
    await pipeline.accept(split)
    await pipeline.settle_all()
    await reach(pipeline, soon)
    await pipeline.submitter.prepare_and_store()
    # Somebody else relays a return in between.
    leaves = (Allocation(PROMOTER.id, 300), Allocation(MERCHANT.id, 300))
    past = (PastRecord(RecordKind.SPLIT, split.id, 600, allocations=leaves),)
    head = (await pipeline.witness(order)).head
    back = world.authorize(world.give_back(order.order_id, split.id, 100))
    pipeline.relay(back, witnesses=[OrderWitness(order, head, past)])
    await pipeline.submit()
    pipeline.mine()
    await pipeline.follow()
    assert await held(pipeline, order) == [500]

    await pipeline.submit()
    pipeline.mine()
    await pipeline.follow()

    assert await held(pipeline, order) == [0]
    assert len(await expiring_transactions(pipeline)) == 2


async def test_a_merchant_that_cannot_receive_is_left_alone_until_it_can(pipeline: Pipeline) -> None:
    world = pipeline.world
    soon, [order] = orders_due(pipeline, merchant=BOTH)
    await captured(pipeline, order)
    world.register("suspend", BOTH.id)
    await reach(pipeline, soon)
    assert await pipeline.submit() == 0

    seq = await pipeline.ask(InstructionType.RESUME, MALL.id, payloads.StandingChange(BOTH.id))
    await pipeline.settle_all()
    assert await pipeline.states(seq) == ["SETTLED"]
    await pipeline.round()

    assert await held(pipeline, order) == [0]


async def test_what_is_passed_over_is_tried_again_after_a_pause_that_doubles(pipeline: Pipeline) -> None:
    world = pipeline.world
    pipeline.config = replace(FAST, first_backoff_s=100.0, longest_backoff_s=1_000.0)
    pipeline.restart()
    soon, [order] = orders_due(pipeline, merchant=BOTH)
    await captured(pipeline, order)
    world.register("suspend", BOTH.id)
    await reach(pipeline, soon)
    async with pipeline.database.write() as session:
        # As if the mirror had not come to the suspension yet.
        await session.execute(
            update(tables.Participant).where(tables.Participant.id == BOTH.id).values(status=1)
        )
    await pipeline.round()
    await pipeline.round()
    assert len(await expiring_transactions(pipeline)) == 1
    [tried] = await pipeline.rows(tables.Expiry)
    assert (tried.tries, tried.not_before) == (1, soon + 100)

    await reach(pipeline, soon + 100)
    await pipeline.round()

    assert len(await expiring_transactions(pipeline)) == 2
    [tried] = await pipeline.rows(tables.Expiry)
    assert (tried.tries, tried.not_before) == (2, soon + 100 + 200)
    assert await held(pipeline, order) == [1_000]


async def test_who_else_expires_an_order_does_no_harm(pipeline: Pipeline) -> None:
    world = pipeline.world
    soon, [order] = orders_due(pipeline)
    await captured(pipeline, order)
    await reach(pipeline, soon)
    await pipeline.submitter.prepare_and_store()
    witness = await pipeline.witness(order)
    data = encode_expire([witness])
    mined = world.node.transact(OUTSIDER.address, world.system.deployment.split_ledger, data)
    assert isinstance(world.system.events(mined)[0], OrderReleased)

    await pipeline.round()

    assert await held(pipeline, order) == [0]
    await pipeline.check_reconciled()
    assert await pipeline.submit() == 0
    [own] = await expiring_transactions(pipeline)
    assert own.state == TransactionState.MINED


async def test_an_expiry_that_the_chain_forgot_happens_again(pipeline: Pipeline) -> None:
    world = pipeline.world
    soon, [order] = orders_due(pipeline)
    await captured(pipeline, order)
    await reach(pipeline, soon)
    before = world.node.snapshot()
    await pipeline.round()
    assert await held(pipeline, order) == [0]

    world.node.revert(before)
    pipeline.mine(2)
    await pipeline.follow()
    await pipeline.follow()
    for _ in range(3):
        await pipeline.round()

    assert await held(pipeline, order) == [0]
    assert len(await expiring_transactions(pipeline)) == 1
    await pipeline.check_reconciled()


async def test_more_orders_than_one_transaction_takes_expire_in_several(pipeline: Pipeline) -> None:
    soon, orders = orders_due(pipeline, 12)
    pipeline.config = replace(FAST, max_orders=5)
    pipeline.restart()
    await captured(pipeline, *orders)
    await reach(pipeline, soon)
    for _ in range(4):
        await pipeline.round()

    assert await held(pipeline, *orders) == [0] * 12
    assert len(await expiring_transactions(pipeline)) == 3
