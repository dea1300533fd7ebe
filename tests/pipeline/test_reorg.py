"""The chain reorganises: postings are reversed by linked rows, nothing is doubled, nothing is missed."""

from __future__ import annotations

from typing import Any

import pytest

from fenzhang.ledger.balances import balances
from fenzhang.ledger.chart import order_held
from fenzhang.mirror.config import MirrorConfig
from fenzhang.mirror.errors import ReorgTooDeep
from fenzhang.store import tables
from pipeline.harness import Pipeline
from support.parties import MERCHANT
from support.system import OUTSIDER


def _reorg(pipeline: Pipeline, depth: int, transactions: list[Any] | None = None) -> None:
    """Replace the last `depth` blocks by others, with the given transactions only: [raw bytes, block offset]."""
    pipeline.world.node.request("anvil_reorg", depth, transactions or [])


async def _check_ledger(pipeline: Pipeline) -> None:
    postings = await pipeline.rows(tables.Posting)
    records = {record.id: record for record in await pipeline.rows(tables.Record)}
    reversed_by = {posting.reverses_id: posting for posting in postings if posting.reverses_id is not None}
    for posting in postings:
        if posting.reverses_id is None:
            assert (posting.id in reversed_by) is not records[posting.record_id].canonical
    await pipeline.check_reconciled()


async def test_dropped_transactions_are_undone_and_sent_again(pipeline: Pipeline) -> None:
    world = pipeline.world
    capture = world.capture(1_000)
    seqs = await pipeline.accept(capture)
    await pipeline.round()
    split = world.split(capture.order_id, 600)
    seqs += await pipeline.accept(split)
    await pipeline.round()
    assert await pipeline.states(*seqs) == ["SETTLED", "SETTLED"]

    _reorg(pipeline, 1)
    await pipeline.follow()

    assert await pipeline.states(*seqs) == ["SETTLED", "SUBMITTED"]
    assert [t.state for t in await pipeline.transactions()] == ["MINED", "SENT"]
    records = await pipeline.rows(tables.Record)
    assert [record.canonical for record in records] == [True, False]
    [order] = await pipeline.rows(tables.Order)
    assert (order.held, order.head) == (1_000, bytes(32))
    async with pipeline.database.read() as session:
        assert (await balances(session))[order_held("CNY")] == 1_000
    await _check_ledger(pipeline)

    await pipeline.settle_all()

    assert await pipeline.states(*seqs) == ["SETTLED", "SETTLED"]
    assert len(await pipeline.transactions()) == 2
    await _check_ledger(pipeline)


async def test_an_order_whose_capture_is_orphaned_is_gone_until_it_is_captured_again(
    pipeline: Pipeline,
) -> None:
    world = pipeline.world
    capture = world.capture(1_000)
    seqs = await pipeline.accept(capture, world.split(capture.order_id, 600))
    await pipeline.round()

    _reorg(pipeline, 1)
    await pipeline.follow()

    assert await pipeline.rows(tables.Order) == []
    assert await pipeline.states(*seqs) == ["SUBMITTED", "SUBMITTED"]
    await pipeline.settle_all()
    assert await pipeline.states(*seqs) == ["SETTLED", "SETTLED"]
    assert [r.canonical for r in await pipeline.rows(tables.Record)] == [False, False, True, True]
    await _check_ledger(pipeline)


async def test_reordered_transactions_are_followed(pipeline: Pipeline) -> None:
    world = pipeline.world
    first, second = world.capture(1_000), world.capture(2_000)
    await pipeline.accept(first)
    await pipeline.round()
    seqs = await pipeline.accept(world.split(first.order_id, 600))
    await pipeline.round()
    seqs += await pipeline.accept(second, world.split(second.order_id, 2_000))
    await pipeline.round()
    raw = [t.raw for t in await pipeline.transactions()]

    # The same two transactions, now in one block: other batches at other places.
    _reorg(pipeline, 2, [["0x" + raw[1].hex(), 0], ["0x" + raw[2].hex(), 0]])
    await pipeline.follow()

    assert await pipeline.states(*seqs) == ["SETTLED"] * 3
    await pipeline.submit()
    assert [t.state for t in await pipeline.transactions()] == ["MINED"] * 3
    blocks = [t.block_number for t in await pipeline.transactions()]
    assert blocks[1] == blocks[2]
    await _check_ledger(pipeline)


async def test_a_transaction_that_was_seen_mined_and_then_orphaned_is_found_again(pipeline: Pipeline) -> None:
    """The receipt comes from a block that the mirror never gets to see."""
    world = pipeline.world
    seqs = await pipeline.accept(world.capture(1_000))
    await pipeline.submit()
    pipeline.mine()
    await pipeline.submit()  # has a receipt, waits for the mirror
    _reorg(pipeline, 1)
    await pipeline.settle_all()

    assert await pipeline.states(*seqs) == ["SETTLED"]
    assert [t.state for t in await pipeline.transactions()] == ["MINED"]
    await _check_ledger(pipeline)


async def test_a_chain_that_got_shorter_is_followed_back(pipeline: Pipeline) -> None:
    world = pipeline.world
    capture = world.capture(1_000)
    seqs = await pipeline.accept(capture)
    await pipeline.round()
    snapshot = world.node.snapshot()
    seqs += await pipeline.accept(world.split(capture.order_id, 600))
    await pipeline.round()
    pipeline.mine(3)
    await pipeline.follow()

    # A node that was restarted from an older state.
    world.node.revert(snapshot)
    await pipeline.follow()

    assert await pipeline.states(*seqs) == ["SETTLED", "SUBMITTED"]
    await pipeline.settle_all()
    assert await pipeline.states(*seqs) == ["SETTLED", "SETTLED"]
    await _check_ledger(pipeline)


async def test_a_release_undone_and_replaced_by_another_outcome(pipeline: Pipeline) -> None:
    world = pipeline.world
    capture = world.capture(1_000)
    await pipeline.accept(capture)
    await pipeline.settle_all()
    release = world.release(capture.order_id)
    split = world.authorize(world.split(capture.order_id, 1_000))
    seqs = await pipeline.accept(release)
    await pipeline.round()
    assert await pipeline.states(*seqs) == ["SETTLED"]

    # On the other branch the platform's split comes first and leaves nothing to release.
    _reorg(pipeline, 1)
    await pipeline.follow()
    pipeline.world.node.request("anvil_dropAllTransactions")
    pipeline.relay(split, witnesses=[await pipeline.witness(capture)])
    await pipeline.settle_all()

    assert await pipeline.reasons(*seqs) == ["nothing_held"]
    async with pipeline.database.read() as session:
        assert (await balances(session))[order_held("CNY")] == 0
    await _check_ledger(pipeline)


async def test_participants_are_read_anew_after_a_reorganisation(pipeline: Pipeline) -> None:
    world = pipeline.world
    await pipeline.follow()
    world.register("suspend", MERCHANT.id)
    await pipeline.follow()
    [before] = await pipeline.rows(tables.Participant, tables.Participant.id == MERCHANT.id)
    assert before.status == 2

    _reorg(pipeline, 1)
    await pipeline.follow()

    [after] = await pipeline.rows(tables.Participant, tables.Participant.id == MERCHANT.id)
    assert after.status == 1
    assert all(rule.approved for rule in await pipeline.rows(tables.RuleVersion))


async def test_completions_tell_of_the_way_back(pipeline: Pipeline) -> None:
    [seq] = await pipeline.accept(pipeline.world.capture(1_000))
    await pipeline.round()
    _reorg(pipeline, 1)
    await pipeline.follow()
    await pipeline.settle_all()

    completions = await pipeline.rows(tables.Completion)
    assert [(c.instruction_seq, c.state) for c in completions] == [
        (seq, "SETTLED"),
        (seq, "SUBMITTED"),
        (seq, "SETTLED"),
    ]


async def test_a_reorganisation_deeper_than_remembered_stops_the_mirror(pipeline: Pipeline) -> None:
    pipeline.mirror_config = MirrorConfig(kept_blocks=3, shrink_patience_s=0.0)
    pipeline.restart()
    await pipeline.accept(pipeline.world.capture(1_000))
    await pipeline.settle_all()
    pipeline.mine(8)
    await pipeline.follow()
    before = await pipeline.rows(tables.Posting)

    # Empty blocks alone would come out the same again.
    account = "0x" + OUTSIDER.address.hex()
    _reorg(pipeline, 5, [[{"from": account, "to": account, "gasPrice": "0x0", "gas": "0x5208"}, 0]])

    with pytest.raises(ReorgTooDeep):
        await pipeline.follow()
    assert len(await pipeline.rows(tables.Posting)) == len(before)


async def test_many_reorganisations_in_a_row(pipeline: Pipeline) -> None:
    world = pipeline.world
    captures = [world.capture(1_000 + n) for n in range(6)]
    seqs: list[int] = []
    pipeline.mine(4)  # anvil can go back only over blocks made since the test began
    for depth, capture in enumerate(captures):
        seqs += await pipeline.accept(
            capture, world.split(capture.order_id, 500), world.release(capture.order_id)
        )
        await pipeline.round()
        pipeline.mine(depth % 2)
        await pipeline.follow()
        _reorg(pipeline, depth % 2 + 1)
        await pipeline.follow()
        await _check_ledger(pipeline)

    await pipeline.settle_all()

    assert await pipeline.states(*seqs) == ["SETTLED"] * len(seqs)
    await _check_ledger(pipeline)
