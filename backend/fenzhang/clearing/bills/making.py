"""A bill is made from the first line to the last into a file, checked against the ledger, and has a hash."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import sha256
from typing import BinaryIO

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.clearing.bills.checking import balances_of, blocks_of, check
from fenzhang.clearing.bills.errors import DayNotFinal
from fenzhang.clearing.bills.formats import BillFormat, writer
from fenzhang.clearing.bills.lines import SETTLED, Line, Shaper, Subject, Totals
from fenzhang.clearing.bills.reading import DayReader
from fenzhang.domain.days import Day
from fenzhang.ledger.moments import newest_block
from fenzhang.store.session import Database
from fenzhang.store.snapshots import freeze
from fenzhang.store.tables import Block


@dataclass(frozen=True, slots=True)
class Made:
    """A bill that was written. `totals` are those that its lines say."""

    sha256: bytes
    """Of the content, uncompressed."""
    size: int
    lines: int
    totals: Totals


@dataclass(frozen=True, slots=True)
class Bill:
    """Which bill is meant, and how it is written."""

    subject: Subject
    day: Day
    form: BillFormat

    @property
    def file_name(self) -> str:
        """Kind, platform, merchant or participant, and day."""
        subject = self.subject
        names = [subject.platform] if subject.participant is None else [subject.platform, subject.participant]
        parts = ["bill", subject.kind.value.lower(), *names, self.day.date.isoformat()]
        return "-".join(parts) + f".{self.form.value}"


async def make(database: Database, bill: Bill, depth: int, out: BinaryIO) -> Made:
    """Write a bill to `out`. The same day gives the same bytes, whenever and wherever it is made.

    The day must be over on the chain by `depth` blocks. Raises DayNotFinal, BillDoesNotAddUp.
    """
    subject, day = bill.subject, bill.day
    before, write = writer(bill.form)
    digest, size, count = sha256(before), out.write(before), 0
    totals = Totals(subject.kind)
    async with database.read() as session:
        await freeze(session)
        await _require_final(session, day, depth)
        async for lines in _lines(session, subject, day, totals):
            piece = write(lines)
            digest.update(piece)
            size += out.write(piece)
            count += len(lines)
    return Made(digest.digest(), size, count, totals)


async def _lines(
    session: AsyncSession, subject: Subject, day: Day, totals: Totals
) -> AsyncIterator[list[Line]]:
    shaper = Shaper(subject, day)
    yield [shaper.first()]
    count = 1
    reader = DayReader(session, subject, day)
    async for happenings in reader.happenings():
        owners = await reader.owners(happenings)
        lines = [line for happening in happenings for line in shaper.lines(happening, owners)]
        for line in lines:
            totals.add(line)
        count += len(lines)
        yield lines
    blocks = await blocks_of(session, day)
    balances = await balances_of(session, subject, blocks)
    await check(session, subject, blocks, totals, balances)
    # A position that somebody had only later is not in the bills of days before.
    told = {(currency, parked) for _, state, currency, parked in totals.sums if state == SETTLED}
    shown = [
        each for each in balances if each.opening or each.closing or (each.currency, each.parked) in told
    ]
    ending = [*totals.lines(), *(line for balance in shown for line in balance.lines(subject))]
    yield [*ending, shaper.last(count + len(ending))]


async def _require_final(session: AsyncSession, day: Day, depth: int) -> None:
    """The day is final when a block of a later day has `depth` blocks above it."""
    newest = await newest_block(session)
    query = select(Block.timestamp).where(Block.number == newest.block_number - depth)
    time = (await session.execute(query)).scalar()
    if time is None or time < day.end:
        raise DayNotFinal(
            f"{day.date.isoformat()} ({day.zone.key}) is final when the chain has a block of {day.end} or later, "
            f"{depth} blocks below its newest one",
            day=day.date.isoformat(),
            time_zone=day.zone.key,
            end=day.end,
            newest_block=newest.block_number,
            newest_time=newest.time,
        )
