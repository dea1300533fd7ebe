"""The journal: every posting of some blocks, in one order, as text that is the same byte for byte each time.

Postings come by block, then by record, then by number. Those of a record that a reorganisation took off the chain stand
in the block it was in, each with the one that reverses it.
"""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator, Callable
from enum import StrEnum
from io import StringIO
from typing import Any

import orjson
from sqlalchemy import select, tuple_

from fenzhang.domain.identifiers import hex_id
from fenzhang.ledger.chart import NO_PARTICIPANT
from fenzhang.ledger.entries import Entry, entries, entry_of, last_posting
from fenzhang.ledger.moments import BlockRange
from fenzhang.store.session import Database
from fenzhang.store.tables import Posting, Record

COLUMNS = (
    "posting",
    "block_number",
    "time",
    "tx_hash",
    "batch",
    "record",
    "kind",
    "order_id",
    "instruction_id",
    "debit_account",
    "debit_participant_id",
    "credit_account",
    "credit_participant_id",
    "currency",
    "amount",
    "reverses",
    "reversed_by",
    "cycle_id",
    "reason",
)
"""What is told about each posting, in this order."""
_PAGE = 500
"""Records per query; each has at most 20 postings, and as many that reverse them."""


class JournalFormat(StrEnum):
    """How a journal is written."""

    JSONL = "jsonl"
    """An object per line; what does not apply is null."""
    CSV = "csv"
    """RFC 4180 with a header; what does not apply is empty."""


async def journal(database: Database, blocks: BlockRange, form: JournalFormat) -> AsyncIterator[bytes]:
    """The journal of these blocks in pieces, UTF-8; what is posted meanwhile is not in it."""
    write = _json_line if form is JournalFormat.JSONL else _csv_line
    if form is JournalFormat.CSV:
        yield _csv_row(COLUMNS)
    async with database.read() as session:
        newest = await last_posting(session)
    after: tuple[int, int] | None = (blocks.first, 0)
    while after is not None:
        piece, after = await _page(database, blocks.last, after, newest, write)
        if piece:
            yield piece


async def _page(
    database: Database, last: int, after: tuple[int, int], newest: int, write: Callable[[Entry], bytes]
) -> tuple[bytes, tuple[int, int] | None]:
    """The postings of the next records behind `after` (block and record), and where to go on, None at the end."""
    async with database.read() as session:
        place = tuple_(Record.block_number, Record.id)
        query = (
            select(Record.block_number, Record.id)
            .where(place > after, Record.block_number <= last)
            .order_by(Record.block_number, Record.id)
            .limit(_PAGE)
        )
        records = [(number, record) for number, record in await session.execute(query)]
        wanted = Posting.record_id.in_([record for _, record in records])
        rows = await session.execute(entries(newest).where(wanted)) if records else ()
        found = sorted((entry_of(row) for row in rows), key=_place)
    return b"".join(map(write, found)), records[-1] if len(records) == _PAGE else None


def _place(entry: Entry) -> tuple[int, int, int]:
    return entry.block_number, entry.record, entry.posting


def _values(entry: Entry) -> tuple[Any, ...]:
    return (
        entry.posting,
        entry.block_number,
        entry.time,
        hex_id(entry.tx_hash),
        entry.batch,
        entry.record,
        entry.kind.name,
        hex_id(entry.order_id),
        hex_id(entry.instruction_id),
        entry.debit.kind,
        _owner(entry.debit.participant_id),
        entry.credit.kind,
        _owner(entry.credit.participant_id),
        entry.debit.currency,
        entry.amount,
        entry.reverses,
        entry.reversed_by,
        None if entry.cycle_id is None else hex_id(entry.cycle_id),
        entry.reason,
    )


def _owner(participant_id: bytes) -> str | None:
    return None if participant_id == NO_PARTICIPANT else hex_id(participant_id)


def _json_line(entry: Entry) -> bytes:
    return orjson.dumps(dict(zip(COLUMNS, _values(entry), strict=True))) + b"\n"


def _csv_line(entry: Entry) -> bytes:
    return _csv_row(_values(entry))


def _csv_row(values: tuple[Any, ...]) -> bytes:
    out = StringIO()
    csv.writer(out).writerow(values)
    return out.getvalue().encode()
