"""What survives: crashes between storing and sending, lost pools, nonces used elsewhere, a second submitter."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.chain.errors import DeploymentMismatch, NodeUnavailable
from fenzhang.chain.node import NodeClient, SendStatus
from fenzhang.devnet import ephemeral_node
from fenzhang.store import tables
from fenzhang.store.errors import DatabaseUnavailable, LeaseLost
from fenzhang.store.session import Database
from fenzhang.submission.submitter import Submitter
from pipeline.harness import FAST, Pipeline, keyring
from support.system import SUBMITTER


async def _store_only(pipeline: Pipeline) -> None:
    """Submission up to the moment before the node hears of it."""
    assert await pipeline.submitter._ready()
    assert await pipeline.submitter.prepare_and_store()


async def test_a_crash_between_storing_and_sending_loses_nothing_and_signs_nothing_twice(
    pipeline: Pipeline,
) -> None:
    capture = pipeline.world.capture(1_000)
    seqs = await pipeline.accept(capture, pipeline.world.split(capture.order_id, 600))
    await _store_only(pipeline)
    [stored] = await pipeline.transactions()
    assert stored.state == "SIGNED"
    assert await pipeline.states(*seqs) == ["SUBMITTED", "SUBMITTED"]

    await pipeline.take_over()
    await pipeline.settle_all()

    [after] = await pipeline.transactions()
    assert (after.raw, after.hash, after.nonce) == (stored.raw, stored.hash, stored.nonce)
    assert after.state == "MINED"
    assert await pipeline.states(*seqs) == ["SETTLED", "SETTLED"]
    assert len(await pipeline.rows(tables.Authorization)) == 2
    await pipeline.check_reconciled()


async def test_a_crash_after_sending_is_repaired_from_the_receipt(pipeline: Pipeline) -> None:
    seqs = await pipeline.accept(pipeline.world.capture(1_000))
    await _store_only(pipeline)
    [stored] = await pipeline.transactions()
    # The node had it before the process could note so.
    [answer] = await pipeline.node.send_raw([stored.raw])
    assert answer.status is SendStatus.ACCEPTED
    pipeline.mine()

    await pipeline.take_over()
    await pipeline.submit()
    await pipeline.follow()
    await pipeline.submit()

    [after] = await pipeline.transactions()
    assert after.state == "MINED"
    assert await pipeline.states(*seqs) == ["SETTLED"]


async def test_already_known_and_nonce_too_low_are_answers(pipeline: Pipeline) -> None:
    seqs = await pipeline.accept(pipeline.world.capture(1_000))
    await pipeline.submit()
    for _ in range(3):
        assert await pipeline.submit() == 1  # the same bytes again: already known
    pipeline.mine()
    for _ in range(3):
        assert await pipeline.submit() == 1  # mined and not mirrored: nonce too low

    assert [t.state for t in await pipeline.transactions()] == ["SENT"]
    await pipeline.follow()
    await pipeline.submit()

    assert [t.state for t in await pipeline.transactions()] == ["MINED"]
    assert await pipeline.states(*seqs) == ["SETTLED"]


async def test_a_node_that_forgot_its_pool_gets_the_same_bytes_again(pipeline: Pipeline) -> None:
    captures = [pipeline.world.capture(1_000 + n) for n in range(3)]
    for capture in captures:
        await pipeline.accept(capture)
        await pipeline.submit()
    before = [t.raw for t in await pipeline.transactions()]
    pipeline.world.node.request("anvil_dropAllTransactions")

    await pipeline.settle_all()

    assert [t.raw for t in await pipeline.transactions()] == before
    assert len(await pipeline.rows(tables.Order)) == 3


async def test_a_nonce_used_elsewhere_costs_another_transaction_and_nothing_else(pipeline: Pipeline) -> None:
    capture = pipeline.world.capture(1_000)
    split = pipeline.world.split(capture.order_id, 600)
    seqs = await pipeline.accept(capture, split)
    await _store_only(pipeline)
    # Somebody sends from our account what our database does not know.
    pipeline.world.node.transact(SUBMITTER.address, SUBMITTER.address, b"")

    await pipeline.settle_all()

    lost, mined = await pipeline.transactions()
    assert (lost.state, lost.block_number) == ("REVERTED", None)
    assert mined.state == "MINED"
    assert mined.nonce == lost.nonce + 1
    assert await pipeline.states(*seqs) == ["SETTLED", "SETTLED"]
    # The authorizations are those that were signed first.
    assert len(await pipeline.rows(tables.Authorization)) == 2


async def test_a_second_submitter_waits_for_the_lease_and_then_goes_on(pipeline: Pipeline) -> None:
    config = dataclasses.replace(FAST, lease_s=3.0)
    pipeline.config = config
    first, second = pipeline.new_submitter(), pipeline.new_submitter()
    seqs = await pipeline.accept(pipeline.world.capture(1_000))
    assert await first._ready()
    await pipeline.accept(pipeline.world.capture(2_000))

    assert await second.tick() == 0
    assert await pipeline.transactions() == []
    assert await first.prepare_and_store() == 1
    await asyncio.sleep(3.2)  # the first one is stopped for longer than its lease

    assert await second.tick() == 1
    with pytest.raises(LeaseLost):
        await _write_as(first)
    pipeline.mine()
    await pipeline.follow()
    await second.tick()
    assert await pipeline.states(*seqs) == ["SETTLED"]


async def _write_as(submitter: Submitter) -> None:
    holding = submitter._holding
    assert holding is not None
    async with submitter._database.write() as session:
        await holding.require(session)


async def test_another_chain_under_us_stops_submission_and_mirror(pipeline: Pipeline) -> None:
    deployment = pipeline.world.system.deployment
    with ephemeral_node(chain_id=31_337) as other:
        async with NodeClient(other.url) as node:
            submitter = Submitter(pipeline.database, node, deployment, keyring(deployment.chain_id), FAST)
            with pytest.raises(DeploymentMismatch, match="chain"):
                await asyncio.wait_for(submitter.run(asyncio.Event()), 10)


async def test_an_unreachable_node_is_waited_for_and_nothing_is_lost(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    seqs = await pipeline.accept(pipeline.world.capture(1_000))
    deployment = pipeline.world.system.deployment
    async with NodeClient("http://127.0.0.1:9") as away:
        submitter = Submitter(pipeline.database, away, deployment, keyring(deployment.chain_id), FAST)
        with pytest.raises(NodeUnavailable):
            await submitter.tick()
        stop = asyncio.Event()
        running = asyncio.create_task(submitter.run(stop))
        await asyncio.sleep(0.5)
        stop.set()
        await asyncio.wait_for(running, 10)
    assert len([r for r in caplog.records if "submission waits" in r.message]) == 1

    await pipeline.settle_all()

    assert await pipeline.states(*seqs) == ["SETTLED"]


async def test_nonces_that_the_chain_lost_are_filled_before_the_mirror_has_followed(
    pipeline: Pipeline,
) -> None:
    world = pipeline.world
    snapshot = world.node.snapshot()
    seqs = await pipeline.accept(world.capture(1_000))
    await pipeline.round()
    seqs += await pipeline.accept(world.capture(2_000))
    await pipeline.submit()
    # The chain is back before the first transaction, which counts as mined; the second cannot come without it.
    world.node.revert(snapshot)

    await pipeline.submit()
    pipeline.mine()
    await pipeline.settle_all()

    assert await pipeline.states(*seqs) == ["SETTLED", "SETTLED"]
    assert [t.state for t in await pipeline.transactions()] == ["MINED", "MINED"]
    await pipeline.check_reconciled()


async def test_a_refusal_of_the_node_is_reported_once_and_outlasted(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    node = pipeline.world.node
    seqs = await pipeline.accept(pipeline.world.capture(1_000))
    node.request("anvil_setNextBlockBaseFeePerGas", "0x3b9aca00")
    for _ in range(3):
        await pipeline.submit()
    assert [t.state for t in await pipeline.transactions()] == ["SIGNED"]
    assert len([r for r in caplog.records if "refuses" in r.message]) == 1

    node.request("anvil_setNextBlockBaseFeePerGas", "0x0")
    await pipeline.settle_all()

    assert await pipeline.states(*seqs) == ["SETTLED"]
    assert len(await pipeline.transactions()) == 1


async def test_blocks_that_hold_less_than_a_full_transaction_get_smaller_ones(pipeline: Pipeline) -> None:
    node, limit = pipeline.world.node, 2_000_000
    captures = [pipeline.world.capture(1_000) for _ in range(60)]
    seqs = await pipeline.accept(*captures)
    node.request("evm_setBlockGasLimit", hex(limit))
    node.mine()
    try:
        await pipeline.settle_all()
    finally:
        node.request("evm_setBlockGasLimit", hex(1_000_000_000))

    assert set(await pipeline.states(*seqs)) == {"SETTLED"}
    assert len(await pipeline.transactions()) > 1
    assert all(t.gas_limit <= limit for t in await pipeline.transactions())


async def test_a_mirror_whose_commit_was_done_although_it_failed_goes_on(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to a COMMIT was lost: what the mirror is about to write again is there already."""
    seqs = await pipeline.accept(pipeline.world.capture(1_000), pipeline.world.capture(2_000))
    await pipeline.follow()
    await pipeline.submit()
    pipeline.mine()
    real = Database.write
    lost = 1

    @asynccontextmanager
    async def write(database: Database) -> AsyncIterator[AsyncSession]:
        nonlocal lost
        async with real(database) as session:
            yield session
        if lost and (await pipeline.states(*seqs)) == ["SETTLED", "SETTLED"]:
            lost -= 1
            raise DatabaseUnavailable("the connection broke in the commit")

    monkeypatch.setattr(Database, "write", write)
    stop = asyncio.Event()
    running = asyncio.create_task(pipeline.mirror.run(stop))
    async with asyncio.timeout(20):
        while lost:  # noqa: ASYNC110 -- what is awaited happens in the database
            await asyncio.sleep(0.02)
    pipeline.mine()
    await pipeline.submit()
    async with asyncio.timeout(20):
        while [t.state for t in await pipeline.transactions()] != ["MINED"]:
            await pipeline.submit()
            await asyncio.sleep(0.05)
    assert not running.done()
    stop.set()
    await running
    await pipeline.check_reconciled()


async def test_a_node_that_turns_into_another_chain_gets_nothing_signed(pipeline: Pipeline) -> None:
    await pipeline.submit()
    [seq] = await pipeline.accept(pipeline.world.capture(1_000))
    real = pipeline.node._url
    with ephemeral_node(chain_id=31_337) as other:
        pipeline.node._url = httpx.URL(other.url)
        with pytest.raises(DeploymentMismatch, match="serves chain 31337"):
            await pipeline.submit()
        pipeline.node._url = real
    assert await pipeline.transactions() == []
    assert await pipeline.states(seq) == ["ACCEPTED"]
    await pipeline.settle_all()
