"""Whether the journal is still the one that its links were made for; what does not fit first is named.

A link tells that something in its postings is not as it was, not what. So the postings of a link that does not fit are
held against what their records demand, and the first that is different is the one named.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest
from typing import Any

from sqlalchemy import Row, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.domain.allocation import Allocation
from fenzhang.domain.journal import NO_LINK, Line, Link, link_hash
from fenzhang.domain.records import RecordKind
from fenzhang.ledger.anchors import Anchors
from fenzhang.ledger.chart import AccountKey
from fenzhang.ledger.links import accounts_of, line_of, stored_links, stored_postings
from fenzhang.ledger.posting import draft
from fenzhang.store import tables
from fenzhang.store.tables import AccountKind, JournalLink, Posting, Record

_PAGE = 2_000
_KINDS = frozenset(kind.value for kind in AccountKind)
_CURRENCY, _ID = 3, 32


@dataclass(frozen=True, slots=True)
class Fault:
    """The first thing in the journal that does not fit. `subject` names a posting, a link, or a cycle."""

    subject: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.subject}: expected {self.expected}, found {self.found}"


@dataclass(frozen=True, slots=True)
class Examined:
    """The last link that fits, how many postings it vouches for, and what does not fit first, if anything."""

    head: Link
    postings: int
    anchored: int
    """Cycles whose anchored heads were compared."""
    fault: Fault | None


async def examine_journal(session: AsyncSession) -> Examined:
    """Make the hash chain anew from the postings and compare it link by link, and with what cycles anchored.

    The session is frozen.
    """
    good, postings = NO_LINK, _Postings(session)
    anchors = await Anchors.load(session)
    async for link in _links(session):
        rows = await postings.up_to(link.last_posting)
        fault = _numbering_fault(good, link, rows) or await _content_fault(session, good, link, rows)
        if fault is not None:
            return Examined(good, good.last_posting, 0, fault)
        good = link
        anchors.take(link)
    unlinked = await postings.next_one()
    fault = (
        Fault(f"posting {unlinked}", "a link that covers it", "none") if unlinked else _anchor_fault(anchors)
    )
    return Examined(good, good.last_posting, len(anchors), fault)


def _anchor_fault(anchors: Anchors) -> Fault | None:
    broken = anchors.first_broken()
    if broken is None:
        return None
    anchor, link = broken
    return Fault(
        str(anchor),
        f"0x{anchor.journal_head.hex()} at the end of block {anchor.at_block}, as it anchored",
        f"0x{link.hash.hex()}, link {link.number}",
    )


async def _links(session: AsyncSession) -> AsyncIterator[Link]:
    query = stored_links().order_by(JournalLink.number).limit(_PAGE)
    following = query
    while True:
        page = [Link(*row) for row in await session.execute(following)]
        for link in page:
            yield link
        if len(page) < _PAGE:
            return
        following = query.where(JournalLink.number > page[-1].number)


class _Postings:
    """All postings by number, read in pages."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session
        self._waiting: list[Row[Any]] = []
        self._following = stored_postings().limit(_PAGE)
        self._ended = False

    async def up_to(self, last: int) -> list[Row[Any]]:
        """The postings behind those given before, up to number `last`."""
        while not self._ended and (not self._waiting or self._waiting[-1].id < last):
            await self._read_page()
        place = next((at for at, row in enumerate(self._waiting) if row.id > last), len(self._waiting))
        given, self._waiting = self._waiting[:place], self._waiting[place:]
        return given

    async def next_one(self) -> int | None:
        """Number of the posting behind those given before."""
        if not self._waiting and not self._ended:
            await self._read_page()
        return int(self._waiting[0].id) if self._waiting else None

    async def _read_page(self) -> None:
        page = (await self._session.execute(self._following)).all()
        self._waiting += page
        self._ended = len(page) < _PAGE
        if page:
            self._following = stored_postings().where(Posting.id > page[-1].id).limit(_PAGE)


def _numbering_fault(good: Link, link: Link, rows: Sequence[Row[Any]]) -> Fault | None:
    """Links and postings are numbered without a gap, and a link is about one block."""
    if link.number != good.number + 1:
        return Fault(f"link {good.number + 1}", "a row", f"link {link.number} behind link {good.number}")
    if link.last_posting <= good.last_posting:
        return Fault(
            f"link {link.number}", f"postings from {good.last_posting + 1}", f"up to {link.last_posting}"
        )
    for number, row in enumerate(rows, good.last_posting + 1):
        if row.id > number:
            return _missing(number, link)
        if row.id < number:
            return Fault(f"posting {row.id}", "numbers from 1 on", "another")
    if len(rows) != link.last_posting - good.last_posting:
        return _missing(good.last_posting + len(rows) + 1, link)
    return None


def _missing(number: int, link: Link) -> Fault:
    return Fault(f"posting {number}", f"a row, which link {link.number} covers", "nothing")


async def _content_fault(
    session: AsyncSession, good: Link, link: Link, rows: Sequence[Row[Any]]
) -> Fault | None:
    lines: list[Line] = []
    for row in rows:
        made = _readable_line(row)
        if made is None:
            return Fault(f"posting {row.id}", "accounts, an amount and a record", "what no posting has")
        lines.append(made)
    computed = link_hash(good.hash, lines)
    if computed == link.hash and link.block_number == rows[-1].block_number:
        return None
    named = await _changed_posting(session, rows)
    if named is not None:
        return named
    covered = f"block {rows[-1].block_number}, postings {rows[0].id} to {rows[-1].id}"
    return Fault(
        f"link {link.number}",
        f"0x{link.hash.hex()} of block {link.block_number}",
        f"0x{computed.hex()} of {covered}",
    )


def _readable_line(row: Row[Any]) -> Line | None:
    """None for what the mirror cannot have written, so that nothing is cut to fit."""
    try:
        for kind, currency, participant in accounts_of(row):
            if kind not in _KINDS or len(currency) != _CURRENCY or len(participant) != _ID:
                return None
        return line_of(row) if len(row.leaf) == _ID else None
    except (struct.error, TypeError, AttributeError):
        # SQLite takes any value in any column, and a record or account may be gone.
        return None


async def _changed_posting(session: AsyncSession, rows: Sequence[Row[Any]]) -> Fault | None:
    """The first of these postings that is not what its record demands."""
    for record_id, group in groupby(rows, lambda row: row.record_id):
        posted = list(group)
        record = await session.get(Record, record_id)
        demanded = await _demanded(session, record, posted) if record else []
        # A copy of a posting would otherwise be what its record demands.
        demanded = demanded[await _posted_before(session, posted[0]) :]
        for row, entry in zip_longest(posted, demanded):
            if row is None:
                return Fault(f"record {record_id}", f"a posting of {_said(entry)}", "none")
            if entry is None or entry != _entry(row):
                expected = _said(entry) if entry else f"no more postings of record {record_id}"
                return Fault(f"posting {row.id}", expected, _said(_entry(row)))
    return None


_Entry = tuple[AccountKey, AccountKey, int, int]
"""Debit, credit, amount, block number."""


def _entry(row: Row[Any]) -> _Entry:
    return *accounts_of(row), row.amount, row.block_number


def _said(entry: _Entry) -> str:
    debit, credit, amount, block_number = entry
    return f"{amount} {_name(debit)} to {_name(credit)} in block {block_number}"


def _name(key: AccountKey) -> str:
    owner = f" 0x{key.participant_id.hex()}" if any(key.participant_id) else ""
    return f"{key.kind} {key.currency}{owner}"


async def _demanded(session: AsyncSession, record: Record, posted: Sequence[Row[Any]]) -> list[_Entry]:
    """What a record must post, or for postings that reverse, what must take its postings back."""
    if posted[0].reverses_id is not None:
        query = stored_postings().where(Posting.record_id == record.id, Posting.reverses_id.is_(None))
        originals = [_entry(row) for row in await session.execute(query)]
        return [(credit, debit, amount, block) for debit, credit, amount, block in originals]
    leaves = await session.execute(
        select(tables.Allocation.recipient, tables.Allocation.amount)
        .where(tables.Allocation.record_id == record.id)
        .order_by(tables.Allocation.leaf)
    )
    drafts = draft(
        RecordKind(record.kind),
        currency=posted[0].debit_currency,
        amount=record.amount,
        allocations=[Allocation(recipient, amount) for recipient, amount in leaves],
        record_id=record.id,
        block_number=record.block_number,
    )
    return [(item.debit, item.credit, item.amount, item.block_number) for item in drafts]


async def _posted_before(session: AsyncSession, row: Row[Any]) -> int:
    """How many postings of its kind, reversing or not, the record of a posting has before that one."""
    reverses = Posting.reverses_id
    same = reverses.is_(None) if row.reverses_id is None else reverses.is_not(None)
    query = select(func.count()).where(Posting.record_id == row.record_id, Posting.id < row.id, same)
    return (await session.execute(query)).scalar_one()
