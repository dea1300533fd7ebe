"""Refunds from stored instructions to postings, through reorganisations, and back into what-ifs."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select, update

from fenzhang.domain.records import Capture, RecordKind
from fenzhang.domain.rules import Leg, LegKind
from fenzhang.ledger.balances import by_kind, position, trial_balance
from fenzhang.ledger.differences import Check
from fenzhang.ledger.period import Period
from fenzhang.ledger.reconcile import reconcile
from fenzhang.ledger.whatif import Question, Sums, what_if
from fenzhang.store import tables
from fenzhang.store.tables import AccountKind
from pipeline.harness import Pipeline
from support.databases import drop_triggers
from support.parties import MALL, MERCHANT, PAIR, PROMOTER

pytestmark = pytest.mark.either_database

CNY = "CNY"


async def _settled(pipeline: Pipeline) -> Capture:
    """An order split twice, refunded, returned from, refunded again, released, and refunded once more."""
    world = pipeline.world
    order = world.capture(1_000, rule=PAIR)
    first, second = world.split(order.order_id, 200), world.split(order.order_id, 500)
    await pipeline.accept(order, first, second)
    await pipeline.settle_all()
    seqs = await pipeline.accept(
        world.refund(order.order_id, 370),
        world.give_back(order.order_id, second.id, 90),
        world.refund(order.order_id, 40),
        world.release(order.order_id),
        world.refund(order.order_id, 54),
    )
    await pipeline.settle_all()
    assert await pipeline.states(*seqs) == ["SETTLED"] * 5
    return order


async def _balances(pipeline: Pipeline) -> dict[AccountKind, int]:
    async with pipeline.database.read() as session:
        return {sums.kind: sums.balance for sums in by_kind(await trial_balance(session))}


async def test_refunds_are_owed_to_buyers(pipeline: Pipeline) -> None:
    order = await _settled(pipeline)

    # 370: 300 held, and 70 of 700, which leaves 90, 90, 225, 225. Of the second split 90 come back, which leaves 180
    # and 180. 40 of these are refunded, 50 released. 54 of the 590 then are 8, 8, 16, 17, and 5 of what was released.
    async with pipeline.database.read() as session:
        found = await position(session, [PROMOTER.id, MERCHANT.id])
    assert found == {(PROMOTER.id, CNY): 246, (MERCHANT.id, CNY): 290}
    assert await _balances(pipeline) == {
        AccountKind.BANK_CUSTODY: 1_000,
        AccountKind.ORDER_HELD: 0,
        AccountKind.RECIPIENT_PAYABLE: 536,
        AccountKind.BUYER_REFUND_PAYABLE: 464,
        AccountKind.IN_TRANSIT: 0,
    }
    [row] = await pipeline.rows(tables.Order, tables.Order.order_id == order.order_id)
    assert row.held == 0
    refunds = await pipeline.rows(tables.Record, tables.Record.kind == int(RecordKind.REFUND))
    assert [refund.amount for refund in refunds] == [370, 40, 54]
    await pipeline.check_reconciled()


async def test_a_reorganisation_takes_a_refund_back_and_brings_it_again(pipeline: Pipeline) -> None:
    world = pipeline.world
    order = world.capture(1_000, rule=PAIR)
    await pipeline.accept(order, world.split(order.order_id, 600))
    await pipeline.settle_all()
    before = await _balances(pipeline)
    [seq] = await pipeline.accept(world.refund(order.order_id, 700))
    await pipeline.settle_all()
    assert (await _balances(pipeline))[AccountKind.BUYER_REFUND_PAYABLE] == 700

    world.node.request("anvil_reorg", 1, [])
    await pipeline.follow()
    assert await _balances(pipeline) == before
    [row] = await pipeline.rows(tables.Order, tables.Order.order_id == order.order_id)
    assert row.held == 400
    await pipeline.check_reconciled()

    await pipeline.settle_all()
    assert await pipeline.states(seq) == ["SETTLED"]
    assert (await _balances(pipeline))[AccountKind.BUYER_REFUND_PAYABLE] == 700
    await pipeline.check_reconciled()


async def test_the_chain_s_reasons_are_the_instructions_reasons(pipeline: Pipeline) -> None:
    world = pipeline.world
    order = world.capture(1_000, rule=PAIR)
    seqs = await pipeline.accept(order, world.refund(order.order_id, 1_001))
    await pipeline.settle_all()
    refused = await pipeline.instruction(seqs[1])
    assert refused.reason is not None
    assert refused.reason["code"] == "insufficient_refundable"
    assert refused.reason["values"] == {
        "order_id": "0x" + order.order_id.hex(),
        "amount": 1_001,
        "refundable": 1_000,
    }


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_reconcile_sees_a_refund_that_was_changed(pipeline: Pipeline) -> None:
    await _settled(pipeline)
    await drop_triggers(pipeline.database)
    async with pipeline.database.write() as session:
        last = select(func.max(tables.Record.id)).where(tables.Record.kind == int(RecordKind.REFUND))
        leaf = (tables.Allocation.record_id == last.scalar_subquery()) & (tables.Allocation.leaf == 0)
        await session.execute(
            update(tables.Allocation)
            .where(leaf)
            .values(amount=tables.Allocation.amount - 1)
            .execution_options(synchronize_session=False)
        )

    found = await reconcile(pipeline.database, pipeline.node, pipeline.world.system.deployment)

    assert {difference.check for difference in found} == {Check.RECORD, Check.POSTING, Check.ORDER_RECORDS}


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_reconcile_compares_what_is_owed_to_buyers(pipeline: Pipeline) -> None:
    await _settled(pipeline)
    await drop_triggers(pipeline.database)
    async with pipeline.database.write() as session:
        await session.execute(
            update(tables.Posting)
            .where(tables.Posting.amount == 300)
            .values(amount=301)
            .execution_options(synchronize_session=False)
        )

    found = await reconcile(pipeline.database, pipeline.node, pipeline.world.system.deployment)

    [buyers] = [each for each in found if each.check is Check.BUYER_REFUND_PAYABLE]
    assert (buyers.chain, buyers.ledger, buyers.currency) == (464, 465, CNY)


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_a_what_if_refunds_a_draft_as_much(pipeline: Pipeline) -> None:
    await _settled(pipeline)
    draft = [Leg(-1, LegKind.SHARE, 1_000, role="promoter"), Leg(-1, LegKind.REMAINDER, role="merchant")]
    question = Question(MALL.id, PAIR.rule_id, PAIR.legs, Period(0, 2**53))

    same = await what_if(pipeline.database, question)
    changed = await what_if(pipeline.database, Question(MALL.id, PAIR.rule_id, draft, Period(0, 2**53)))

    totals = same.totals[CNY]
    left = totals.amount - totals.returned - totals.refunded
    assert (totals.amount, totals.returned, totals.refunded) == (700, 90, 70 + 49)
    assert all(sums.actual == sums.hypothetical for sums in same.sums.values())
    assert sum(sums.hypothetical for sums in changed.sums.values()) == left
    assert changed.sums[CNY, PROMOTER.id] == Sums(246, 50)
