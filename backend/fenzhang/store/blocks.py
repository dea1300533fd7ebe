"""The newest block that the mirror has read: the chain's clock, as far as the database knows it."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.store.tables import Block

NEWEST_TIME = select(Block.timestamp).order_by(Block.number.desc()).limit(1).scalar_subquery()
"""Unix time of the newest block, to be asked for together with other things; NULL before the first."""


async def newest_time(session: AsyncSession) -> int:
    """Unix time of the newest block, 0 before the first."""
    return (await session.execute(select(NEWEST_TIME))).scalar() or 0
