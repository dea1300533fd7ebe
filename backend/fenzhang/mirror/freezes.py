"""What guardians froze, as rows that say who, why, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, update
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.chain.events import FreezeChanged, ParticipantFreezeChanged
from fenzhang.domain.world import WHOLE_ORDER
from fenzhang.store.tables import Freeze

FreezeEvent = FreezeChanged | ParticipantFreezeChanged


async def follow_freezes(session: AsyncSession, events: Sequence[object]) -> None:
    """Write what the freezes and unfreezes among the events changed, in order."""
    for event in events:
        if isinstance(event, FreezeEvent):
            await (_begin if event.frozen else _end)(session, event)


async def rewind_freezes(session: AsyncSession, ancestor: int) -> None:
    """Undo what blocks above `ancestor` did."""
    await session.execute(delete(Freeze).where(Freeze.block_number > ancestor))
    await session.execute(
        update(Freeze)
        .where(Freeze.ended_block > ancestor)
        .values(ended_by=None, ended_reason=None, ended_block=None, ended_tx_hash=None)
    )


async def _begin(session: AsyncSession, event: FreezeEvent) -> None:
    session.add(
        Freeze(
            target_id=_target_of(event),
            order_id=event.order_id if isinstance(event, FreezeChanged) else None,
            guardian=event.guardian,
            reason=event.reason,
            block_number=event.at.block_number,
            tx_hash=event.at.tx_hash,
        )
    )
    await session.flush()


async def _end(session: AsyncSession, event: FreezeEvent) -> None:
    # Splits of two orders may have the same id.
    order_id = event.order_id if isinstance(event, FreezeChanged) else None
    await session.execute(
        update(Freeze)
        .where(Freeze.target_id == _target_of(event), Freeze.ended_block.is_(None))
        .where(Freeze.order_id.is_not_distinct_from(order_id))
        .values(
            ended_by=event.guardian,
            ended_reason=event.reason,
            ended_block=event.at.block_number,
            ended_tx_hash=event.at.tx_hash,
        )
    )


def _target_of(event: FreezeEvent) -> bytes:
    if isinstance(event, ParticipantFreezeChanged):
        return event.participant
    return event.order_id if event.split_id == WHOLE_ORDER else event.split_id
