"""Several queries that must fit together."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession


async def freeze(session: AsyncSession) -> None:
    """Every query of this session, which must be a new one, sees the same state. A read of SQLite does so anyway."""
    if session.get_bind().dialect.name == "postgresql":
        await session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
