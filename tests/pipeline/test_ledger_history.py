"""What the ledger says of the past: balances at blocks, statements and the journal, through reorganisations."""

from __future__ import annotations

import csv
import json
from io import StringIO
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.domain.errors import InvalidInput
from fenzhang.ledger import moments
from fenzhang.ledger.balances import by_kind, position, trial_balance
from fenzhang.ledger.chart import AccountKey, custody, order_held, payable
from fenzhang.ledger.journal import COLUMNS, JournalFormat, journal
from fenzhang.ledger.moments import BlockNotMirrored, BlockRange, InvalidMoment, moment_of, range_of
from fenzhang.ledger.period import InvalidPeriod
from fenzhang.ledger.statement import Line, Place, Statement, beginning, statement
from fenzhang.store import tables
from pipeline.harness import Pipeline
from support.parties import MERCHANT

ALL = 1_000
HELD = order_held("CNY")


@pytest.fixture
async def history(pipeline: Pipeline) -> list[int]:
    """Blocks after which orders held 1,000, 400, 500, and 0 minor units: capture, split, return, release."""
    world, blocks = pipeline.world, []
    capture = world.capture(1_000)
    split = world.split(capture.order_id, 600)
    steps = (
        capture,
        split,
        world.give_back(capture.order_id, split.id, 100),
        world.release(capture.order_id),
    )
    for step in steps:
        await pipeline.accept(step)
        await pipeline.settle_all()
        blocks.append(_checkpoint(pipeline))
    return blocks


def _checkpoint(pipeline: Pipeline) -> int:
    assert pipeline.mirror.checkpoint is not None
    return pipeline.mirror.checkpoint


async def _held(session: AsyncSession, until: int | None) -> int:
    rows = await trial_balance(session, until)
    assert sum(row.debit for row in rows) == sum(row.credit for row in rows)
    [held] = [kind for kind in by_kind(rows) if kind.kind is tables.AccountKind.ORDER_HELD]
    return held.balance


async def _read(
    pipeline: Pipeline, account: AccountKey, first: int = 0, last: int | None = None, limit: int = ALL
) -> Statement:
    async with pipeline.database.read() as session:
        blocks = BlockRange(first, _checkpoint(pipeline) if last is None else last)
        return await statement(session, account, await beginning(session, blocks), limit)


async def _journal(
    pipeline: Pipeline, blocks: BlockRange, form: JournalFormat = JournalFormat.JSONL
) -> bytes:
    return b"".join([piece async for piece in journal(pipeline.database, blocks, form)])


# ------------------------------------------------------------------------------ balances


async def test_balances_at_a_block_are_those_that_were_then(pipeline: Pipeline, history: list[int]) -> None:
    async with pipeline.database.read() as session:
        assert [await _held(session, block) for block in history] == [1_000, 400, 500, 0]
        assert await _held(session, history[0] - 1) == 0
        assert await _held(session, None) == 0
        key = (MERCHANT.id, "CNY")
        merchant = [(await position(session, [MERCHANT.id], block))[key] for block in history]
    assert merchant[0] == 0 < merchant[2] < merchant[1] < merchant[3]


async def test_a_time_means_the_last_block_by_then(pipeline: Pipeline, history: list[int]) -> None:
    times = {block.number: block.timestamp for block in await pipeline.rows(tables.Block)}
    async with pipeline.database.read() as session:
        for block in history:
            found = await moment_of(session, at=times[block])
            assert (found.time, found.block_number >= block) == (times[block], True)
            assert await moment_of(session, at_block=block) == moments.Moment(block, times[block])
        assert (await moment_of(session, at=times[history[-1]] + 1_000)).block_number == _checkpoint(pipeline)
        assert await moment_of(session, at=min(times.values()) - 1) == moments.Moment(0, None)
        with pytest.raises(BlockNotMirrored):
            await moment_of(session, at_block=_checkpoint(pipeline) + 1)
        with pytest.raises(InvalidMoment):
            await moment_of(session, at_block=1, at=1)


async def test_a_period_is_blocks_or_times_in_order(pipeline: Pipeline, history: list[int]) -> None:
    newest = _checkpoint(pipeline)
    times = {block.number: block.timestamp for block in await pipeline.rows(tables.Block)}
    async with pipeline.database.read() as session:
        assert await range_of(session) == BlockRange(0, newest)
        assert await range_of(session, from_block=2, to_block=3) == BlockRange(2, 3)
        found = await range_of(session, begin=times[history[0]], end=times[history[-1]] + 1)
        assert found.first <= history[0]
        assert found.last >= history[-1]
        after_all = await range_of(session, begin=times[history[-1]] + 1_000)
        assert after_all == BlockRange(newest + 1, newest)
        for wrong in (
            {"from_block": 3, "to_block": 2},
            {"from_block": 3, "begin": 2},
            {"begin": 3, "end": 3},
        ):
            with pytest.raises(InvalidPeriod):
                await range_of(session, **wrong)
        with pytest.raises(BlockNotMirrored):
            await range_of(session, to_block=newest + 1)


# ------------------------------------------------------------------------------ statements


async def test_a_statement_goes_from_one_balance_to_the_next(pipeline: Pipeline, history: list[int]) -> None:
    whole = await _read(pipeline, HELD)
    assert (whole.opening, whole.closing) == (0, 0)
    assert whole.lines[0].entry.kind.name == "CAPTURE"
    assert whole.lines[-1].balance == whole.closing
    part = await _read(pipeline, HELD, history[1], history[2])
    assert (part.opening, part.debit, part.credit, part.closing) == (1_000, 600, 100, 500)
    assert {line.entry.kind.name for line in part.lines} == {"SPLIT", "RETURN"}
    assert sum(line.entry.amount for line in part.lines if line.is_debit) == part.debit
    asset = await _read(pipeline, custody("CNY"))
    assert (asset.debit, asset.credit, asset.closing, len(asset.lines)) == (1_000, 0, 1_000, 1)
    nothing = await _read(pipeline, payable("USD", MERCHANT.id))
    assert (nothing.opening, nothing.closing, nothing.lines, nothing.next) == (0, 0, [], None)


async def _pages(pipeline: Pipeline, account: AccountKey, place: Place, limit: int) -> list[Statement]:
    pages: list[Statement] = []
    following: Place | None = place
    while following is not None:
        async with pipeline.database.read() as session:
            pages.append(await statement(session, account, Place.read(str(following)), limit))
        following = pages[-1].next
    return pages


async def test_pages_of_a_statement_fit_whatever_is_posted_between_them(
    pipeline: Pipeline, history: list[int]
) -> None:
    whole = await _read(pipeline, HELD, history[1])
    async with pipeline.database.read() as session:
        place = await beginning(session, BlockRange(history[1], _checkpoint(pipeline)))
    await pipeline.accept(pipeline.world.capture(77))
    await pipeline.settle_all()
    pipeline.world.node.request("anvil_reorg", 3, [])
    await pipeline.follow()

    pages = await _pages(pipeline, HELD, place, 2)

    assert len(pages) > 2
    lines = [line for page in pages for line in page.lines]
    assert [_told(line) for line in lines] == [_told(line) for line in whole.lines]
    for page in pages:
        assert (page.opening, page.debit, page.credit, page.closing) == (
            whole.opening,
            whole.debit,
            whole.credit,
            whole.closing,
        )


def _told(line: Line) -> tuple[Any, ...]:
    entry = line.entry
    return entry.posting, entry.amount, line.is_debit, line.balance, entry.reverses, entry.reversed_by


@pytest.mark.parametrize("cursor", ["", "1-2-3-4", "1-2-3-4-x", "1-2-3-4-5\n", "1-2-3-4-" + "9" * 19])
def test_a_cursor_that_is_none_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidInput):
        Place.read(cursor)


async def test_what_a_reorganisation_took_back_is_shown_with_what_reverses_it(pipeline: Pipeline) -> None:
    world = pipeline.world
    capture = world.capture(1_000)
    await pipeline.accept(capture)
    await pipeline.settle_all()
    await pipeline.accept(world.split(capture.order_id, 600))
    await pipeline.round()
    split_in = _checkpoint(pipeline)
    pipeline.world.node.request("anvil_reorg", 1, [])
    await pipeline.follow()
    await pipeline.settle_all()

    found = await _read(pipeline, HELD)

    undone = [line for line in found.lines if line.entry.reversed_by is not None]
    reversing = [line for line in found.lines if line.entry.reverses is not None]
    assert [line.entry.reversed_by for line in undone] == [line.entry.posting for line in reversing]
    assert sum(line.entry.amount for line in undone) == 600
    assert all(line.is_debit for line in undone)
    assert not any(line.is_debit for line in reversing)
    assert {line.entry.time for line in undone + reversing} == {None}
    assert {line.entry.block_number for line in undone + reversing} == {split_in}
    assert found.closing == 400
    async with pipeline.database.read() as session:
        assert await _held(session, split_in - 1) == 1_000
        assert await _held(session, _checkpoint(pipeline)) == 400


# ------------------------------------------------------------------------------ journal


async def test_the_journal_is_every_posting_in_both_formats(pipeline: Pipeline, history: list[int]) -> None:
    blocks = BlockRange(0, _checkpoint(pipeline))
    lines = [json.loads(line) for line in (await _journal(pipeline, blocks)).splitlines()]
    text = (await _journal(pipeline, blocks, JournalFormat.CSV)).decode()
    rows = list(csv.DictReader(StringIO(text)))

    postings = await pipeline.rows(tables.Posting)
    records = {record.id: record for record in await pipeline.rows(tables.Record)}
    assert [line["posting"] for line in lines] == [posting.id for posting in postings]
    assert [tuple(line) for line in lines] == [COLUMNS] * len(lines)
    for line, posting in zip(lines, postings, strict=True):
        record = records[posting.record_id]
        assert (line["amount"], line["block_number"]) == (posting.amount, record.block_number)
        assert (line["tx_hash"], line["batch"]) == ("0x" + record.tx_hash.hex(), record.batch)
    assert (lines[0]["kind"], lines[0]["debit_account"], lines[0]["credit_account"]) == (
        "CAPTURE",
        "bank_custody",
        "order_held",
    )
    assert [{k: "" if v is None else str(v) for k, v in line.items()} for line in lines] == rows
    part = await _journal(pipeline, BlockRange(history[1], history[2]))
    kinds = {json.loads(line)["kind"] for line in part.splitlines()}
    assert kinds == {"SPLIT", "RETURN"}


async def test_the_journal_of_the_same_blocks_is_the_same_bytes(
    pipeline: Pipeline, history: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = BlockRange(0, history[-1])
    before = [await _journal(pipeline, blocks, form) for form in JournalFormat]
    await pipeline.accept(pipeline.world.capture(77))
    await pipeline.settle_all()
    monkeypatch.setattr("fenzhang.ledger.journal._PAGE", 1)
    assert [await _journal(pipeline, blocks, form) for form in JournalFormat] == before


async def test_a_journal_that_is_being_read_does_not_change_under_its_reader(
    pipeline: Pipeline, history: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fenzhang.ledger.journal._PAGE", 1)
    blocks = BlockRange(0, history[-1])
    whole = await _journal(pipeline, blocks)
    reading = journal(pipeline.database, blocks, JournalFormat.JSONL)
    pieces = [await anext(reading)]
    pipeline.world.node.request("anvil_reorg", 2, [])
    await pipeline.follow()
    pieces += [piece async for piece in reading]

    told = [json.loads(line) for line in b"".join(pieces).splitlines()]

    assert [line["posting"] for line in told] == [json.loads(line)["posting"] for line in whole.splitlines()]
    assert {line["reversed_by"] for line in told} == {None}
