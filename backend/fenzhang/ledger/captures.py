"""Orders by the time of their capture: the timestamp of the block with the record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Row, Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.domain.records import RecordKind
from fenzhang.ledger.period import Period
from fenzhang.store.tables import Block, Order, Record


async def span_of(session: AsyncSession, period: Period) -> range:
    """Ids of the records in blocks of a period. Those that an orphaned block left there are among them.

    Timestamps never fall from block to block, and ids of canonical records rise with the blocks.
    """
    first = await _first_record(session, await _first_block(session, period.begin))
    if first is None:
        return range(0)
    behind = await _first_record(session, await _first_block(session, period.end))
    if behind is None:
        newest = (await session.execute(select(func.max(Record.id)))).scalar_one()
        behind = newest + 1
    return range(first, behind)


async def _first_block(session: AsyncSession, time: int) -> int | None:
    """Number of the first mirrored block at or after `time`; there is no index on timestamps, so by halves."""
    bounds: Any = (await session.execute(select(func.min(Block.number), func.max(Block.number)))).one()
    low, high = bounds
    if low is None:
        return None
    while True:
        middle = (low + high) // 2
        found = (await session.execute(_next_block(middle))).first()
        if found is None:
            return None
        if found.timestamp < time:
            low = found.number + 1
            high = max(high, low)
        elif middle == low:
            return int(found.number)
        else:
            high = middle


def _next_block(number: int) -> Select[int, int]:
    wanted = select(Block.number, Block.timestamp).where(Block.number >= number)
    return wanted.order_by(Block.number).limit(1)


async def _first_record(session: AsyncSession, block: int | None) -> int | None:
    if block is None:
        return None
    query = (
        select(Record.id)
        .where(Record.block_number >= block, Record.canonical.is_(True))
        .order_by(Record.block_number, Record.id)
        .limit(1)
    )
    return (await session.execute(query)).scalar()


def windows(span: range, size: int) -> Iterator[range]:
    """A span of record ids in pieces of at most `size`."""
    for start in range(span.start, span.stop, size):
        yield range(start, min(start + size, span.stop))


async def captured_in(
    session: AsyncSession, platform_id: bytes, rule_id: bytes, window: range
) -> Sequence[Row[bytes, int, str, bytes]]:
    """Orders of a rule whose captures are among these records, in order of capture.

    Of each: order_id, rule_version, currency, bindings.
    """
    query = (
        select(Order.order_id, Order.rule_version, Order.currency, Order.bindings)
        .join(Record, Record.order_id == Order.order_id)
        .where(
            Record.id >= window.start,
            Record.id < window.stop,
            Record.kind == RecordKind.CAPTURE,
            Record.canonical.is_(True),
            Order.platform_id == platform_id,
            Order.rule_id == rule_id,
        )
        .order_by(Record.id)
    )
    return (await session.execute(query)).all()
