"""A range of blocks goes into the database: rows, postings, states and checkpoint in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang import crashpoints
from fenzhang.chain.codec import decode_revert
from fenzhang.chain.node import BlockHeader
from fenzhang.domain.money import MAX_AMOUNT
from fenzhang.ledger.chart import Chart
from fenzhang.ledger.posting import Page, number, write_page
from fenzhang.mirror import clearing, governance
from fenzhang.mirror.entries import Entry
from fenzhang.mirror.fetching import Span
from fenzhang.mirror.orders import store_orders
from fenzhang.mirror.outcomes import Ahead, Verdicts, judge, look_ahead
from fenzhang.mirror.reading import Reading
from fenzhang.store import feed
from fenzhang.store.bulk import insert_rows, insert_tuples
from fenzhang.store.reasons import reason_to_json
from fenzhang.store.tables import Allocation, Block, Record


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a range of blocks comes to, in rows. It holds until its writer writes anything."""

    reading: Reading
    records: Sequence[tuple[Any, ...]]
    leaves: Sequence[tuple[Any, ...]]
    page: Page
    ahead: Ahead | None
    """Instructions that were looked up; None to look them up when writing."""


async def prepare(session: AsyncSession, chart: Chart, reading: Reading, *, look_up: bool) -> Prepared:
    """Do what needs no write lock before taking it: SQLite has one, and the other stages wait for it."""
    entries = reading.entries
    leaves = [
        (entry.id, place, leaf.recipient, leaf.amount)
        for entry in entries
        for place, leaf in enumerate(entry.allocations)
    ]
    page = await number(session, chart, reading.postings, {entry.id: entry.leaf for entry in entries})
    ahead = await look_ahead(session, reading.outcomes) if look_up else None
    return Prepared(reading, [_record_row(entry) for entry in entries], leaves, page, ahead)


async def write_span(
    session: AsyncSession, chart: Chart, span: Span, prepared: Prepared, kept_blocks: int
) -> Verdicts:
    """Write what a range of blocks recorded, and the blocks themselves as the new checkpoint.

    Returns what became of instructions.
    """
    reading = prepared.reading
    await insert_tuples(session, Record, _RECORD_COLUMNS, prepared.records)
    await insert_tuples(session, Allocation, ("record_id", "leaf", "recipient", "amount"), prepared.leaves)
    await store_orders(session, list(reading.touched.values()))
    await write_page(session, chart, prepared.page)
    if reading.entries:
        crashpoints.passed(crashpoints.IN_MIRROR)
    verdicts = Verdicts()
    await judge(session, reading.outcomes, verdicts, prepared.ahead)
    await governance.follow(session, reading.governance, verdicts)
    await clearing.follow(session, reading.cleared, verdicts)
    await verdicts.write(session, {header.number: header.timestamp for header in span.headers})
    await _store_blocks(
        session, span.headers, {entry.at.block_number for entry in reading.entries}, kept_blocks
    )
    # Last, because the feed's counter stays locked from here to the commit.
    await feed.append(session, verdicts.changes())
    return verdicts


_RECORD_COLUMNS = (
    "id",
    "kind",
    "instruction_id",
    "order_id",
    "split_id",
    "cycle_id",
    "amount",
    "leaf",
    "batch",
    "leaf_index",
    "block_number",
    "tx_hash",
    "log_index",
    "canonical",
    "reason",
)


def _record_row(entry: Entry) -> tuple[Any, ...]:
    at = entry.at
    return (
        entry.id,
        int(entry.kind),
        entry.instruction_id,
        entry.order_id,
        entry.split_id,
        entry.cycle_id,
        min(entry.amount, MAX_AMOUNT),
        entry.leaf,
        entry.batch,
        entry.leaf_index,
        at.block_number,
        at.tx_hash,
        at.log_index,
        True,
        entry.told if entry.reason is None else _reason(entry, entry.reason),
    )


def _reason(entry: Entry, reason: bytes) -> dict[str, Any]:
    """A rejection with what its leaf was hashed from: the bytes, and the amount where the column cannot hold it.

    With it what was rejected, and whose signature it carried.
    """
    stored = {**reason_to_json(decode_revert(reason)), "data": "0x" + reason.hex()}
    if entry.asked is not None:
        stored |= {"kind": entry.asked.kind.name, "signer": "0x" + entry.asked.signer.hex()}
    if entry.amount > MAX_AMOUNT:
        # A rejected instruction may ask for any uint96; what settles never exceeds MAX_AMOUNT.
        stored["amount"] = entry.amount
    return stored


async def _store_blocks(
    session: AsyncSession, headers: Sequence[BlockHeader], with_records: set[int], kept: int
) -> None:
    """Remember blocks with records for ever, the newest `kept` until others are newer."""
    newest = headers[-1].number
    remembered = [h for h in headers if h.number in with_records or h.number > newest - kept]
    await insert_rows(
        session,
        Block,
        [
            {"number": h.number, "hash": h.hash, "parent_hash": h.parent_hash, "timestamp": h.timestamp}
            for h in remembered
        ],
    )
    # Only those blocks that this range pushed out: older ones have been looked at before.
    leaving = (Block.number <= newest - kept) & (Block.number > headers[0].number - 1 - kept)
    has_records = select(Record.id).where(Record.block_number == Block.number).exists()
    await session.execute(
        delete(Block).where(leaving, ~has_records).execution_options(synchronize_session=False)
    )
