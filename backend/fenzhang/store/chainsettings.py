"""Settings of the contracts as the mirror read them."""

from __future__ import annotations

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.domain.money import MAX_AMOUNT
from fenzhang.store.tables import ChainSetting

APPROVAL_LOCK = "approval_lock"
"""Least number of seconds between the approval of a rule version and its effect."""


async def read(session: AsyncSession, name: str) -> int:
    """The value of a setting; 0 for one that was never changed."""
    found = await session.get(ChainSetting, name)
    return 0 if found is None else found.value


async def write(session: AsyncSession, name: str, value: int) -> None:
    """Set a setting. What no 64-bit column holds is as good as the most that one holds."""
    await session.execute(delete(ChainSetting).where(ChainSetting.name == name))
    session.add(ChainSetting(name=name, value=min(value, MAX_AMOUNT)))
    await session.flush()
