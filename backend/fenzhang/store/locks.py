"""Locks that hold until the transaction ends. SQLite needs none: it has one writer."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

_STRIPES = 64
"""PostgreSQL's table of locks is finite, so many keys share few locks."""
_NAMESPACE = 0x667A
_LOCK = text(
    "SELECT pg_advisory_xact_lock(:namespace, stripe) FROM "
    "(SELECT unnest(CAST(:stripes AS integer[])) AS stripe ORDER BY 1) AS ordered"
)


async def lock_stripes(session: AsyncSession, keys: Iterable[bytes]) -> None:
    """Exclude other transactions that lock one of `keys` (ids: the first byte is even). Taken in one order, once."""
    if session.get_bind().dialect.name != "postgresql":
        return
    stripes = sorted({key[0] % _STRIPES for key in keys})
    if stripes:
        await session.execute(_LOCK, {"namespace": _NAMESPACE, "stripes": stripes})
