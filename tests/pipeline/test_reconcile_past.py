"""Reconciliation as of a block, for as long as the node keeps its state."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from fenzhang.ledger.differences import Check
from fenzhang.ledger.moments import BlockNotMirrored
from fenzhang.ledger.reconcile import ContractsMissing, Reconciliation, StateNotKept, reconciliation
from fenzhang.store import tables
from pipeline.comparing import ON_SQLITE, change, differences, play
from pipeline.conftest import KEPT_STATES
from pipeline.harness import Pipeline


@pytest.fixture
async def market(pipeline: Pipeline) -> Pipeline:
    """A history of the test's own: tests before it may have made so many blocks that the node drops an older one."""
    await play(pipeline)
    return pipeline


async def _at(pipeline: Pipeline, block_number: int) -> Reconciliation:
    return await reconciliation(
        pipeline.database, pipeline.node, pipeline.world.system.deployment, block_number
    )


async def test_every_block_of_the_day_agrees_as_it_was_then(market: Pipeline) -> None:
    """Later blocks have changed balances, orders and positions since."""
    order, *_ = await market.rows(tables.Order)
    for _ in range(3):
        await market.accept(market.world.split(order.order_id, 40), market.world.refund(order.order_id, 30))
        await market.settle_all()
    newest = market.mirror.checkpoint
    assert newest is not None
    first = min(record.block_number for record in await market.rows(tables.Record))
    assert newest - first > 3

    found = [await _at(market, number) for number in range(first - 1, newest + 1)]

    assert [result.differences for result in found] == [[]] * len(found)
    assert [result.block_number for result in found] == list(range(first - 1, newest + 1))
    assert (found[0].orders, found[0].batches) == (0, 0)
    assert (found[-1].orders, found[-1].batches) == (3, len(await market.transactions()))
    assert [result.batches for result in found] == sorted(result.batches for result in found)
    now = await reconciliation(market.database, market.node, market.world.system.deployment)
    assert (found[-1].block_hash, found[-1].accounts) == (now.block_hash, now.accounts)


@ON_SQLITE
async def test_what_was_changed_is_named_from_its_block_on(market: Pipeline) -> None:
    [*_, posting] = await market.rows(tables.Posting)
    await change(
        market,
        update(tables.Posting).where(tables.Posting.id == posting.id).values(amount=posting.amount + 1),
    )

    before, then = [await _at(market, posting.block_number + change) for change in (-1, 0)]

    assert [difference.check for difference in before.differences] == [Check.JOURNAL]
    assert {Check.POSTING, Check.RECIPIENT_PAYABLE} <= {each.check for each in then.differences}


@ON_SQLITE
async def test_the_present_row_of_an_order_says_nothing_about_the_past(market: Pipeline) -> None:
    [order, *_] = await market.rows(tables.Order)
    await change(market, update(tables.Order).where(tables.Order.order_id == order.order_id).values(held=7))

    market.mine()
    await market.follow()

    assert market.mirror.checkpoint is not None
    assert (await _at(market, market.mirror.checkpoint - 1)).differences == []
    assert (await _at(market, market.mirror.checkpoint)).differences != []


@ON_SQLITE
async def test_a_block_that_cannot_be_compared_is_refused(market: Pipeline) -> None:
    newest = market.mirror.checkpoint
    assert newest is not None
    deployed = market.world.system.deployment.block_number

    with pytest.raises(BlockNotMirrored) as ahead:
        await _at(market, newest + 1)
    with pytest.raises(ContractsMissing) as early:
        await _at(market, deployed - 1)

    assert ahead.value.values == {"block_number": newest + 1, "newest": newest}
    assert early.value.field == "at"


@ON_SQLITE
async def test_a_node_that_has_dropped_the_state_says_so(market: Pipeline) -> None:
    newest = market.mirror.checkpoint
    assert newest is not None
    market.world.node.request("anvil_mine", hex(2 * KEPT_STATES))
    await market.follow()

    with pytest.raises(StateNotKept) as refused:
        await _at(market, newest)

    assert refused.value.values == {"block_number": newest}
    assert "archive node" in refused.value.message
    assert await differences(market) == []
