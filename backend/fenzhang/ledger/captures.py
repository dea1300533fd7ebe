"""Orders by the time of their capture: the timestamp of the block with the record."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Row, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.domain.records import RecordKind
from fenzhang.ledger.moments import first_block_from
from fenzhang.ledger.period import Period
from fenzhang.store.bulk import chunks
from fenzhang.store.tables import Order, Record


async def span_of(session: AsyncSession, period: Period) -> range:
    """Ids of the records in blocks of a period. Those that an orphaned block left there are among them.

    Timestamps never fall from block to block, and ids of canonical records rise with the blocks.
    """
    first = await _first_record(session, await first_block_from(session, period.begin))
    if first is None:
        return range(0)
    behind = await _first_record(session, await first_block_from(session, period.end))
    if behind is None:
        newest = (await session.execute(select(func.max(Record.id)))).scalar_one()
        behind = newest + 1
    return range(first, behind)


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
) -> list[Row[bytes, int, str, bytes, bytes, bytes]]:
    """Orders of a rule whose captures are among these records, in order of capture.

    Of each: order_id, rule_version, currency, bindings.
    """
    captures = (
        select(Record.order_id)
        .where(
            Record.id >= window.start,
            Record.id < window.stop,
            Record.kind == RecordKind.CAPTURE,
            Record.canonical.is_(True),
        )
        .order_by(Record.id)
    )
    captured = (await session.execute(captures)).scalars().all()
    found: dict[bytes, Row[bytes, int, str, bytes, bytes, bytes]] = {}
    for chunk in chunks(captured):
        # By their ids alone: asked for the platform's too, SQLite would go through all of its orders every time.
        query = select(
            Order.order_id,
            Order.rule_version,
            Order.currency,
            Order.bindings,
            Order.platform_id,
            Order.rule_id,
        ).where(Order.order_id.in_(chunk))
        found |= {row.order_id: row for row in await session.execute(query)}
    wanted = (found[order_id] for order_id in captured if order_id in found)
    return [row for row in wanted if (row.platform_id, row.rule_id) == (platform_id, rule_id)]
