"""Leases: who may act for a signing key, or as the mirror, right now.

Time is the database's, so holders on machines with different clocks agree on when a lease ends. The fence
number grows with every new holder; `require` in a write transaction keeps others out until it commits.
"""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.store.errors import LeaseLost

_NOW = {
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
    "postgresql": "extract(epoch from clock_timestamp())",
}
_ACQUIRE = (
    "INSERT INTO leases (name, holder, fence, expires_at) VALUES (:name, :holder, 1, {now} + :ttl_s) "
    "ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at, "
    "fence = CASE WHEN leases.holder = excluded.holder THEN leases.fence ELSE leases.fence + 1 END "
    "WHERE leases.holder = excluded.holder OR leases.expires_at < {now} RETURNING fence"
)
_REQUIRE = text(
    "UPDATE leases SET fence = fence "
    "WHERE name = :name AND holder = :holder AND fence = :fence RETURNING fence"
)
_RELEASE = text("UPDATE leases SET expires_at = 0 WHERE name = :name AND holder = :holder")


async def acquire(session: AsyncSession, name: str, holder: str, ttl_s: float) -> int | None:
    """Take or renew a lease for `ttl_s` seconds. Returns its fence, None while somebody else holds it.

    `holder` must be unique to one run of one process, and the caller commits at once.
    """
    dialect = session.get_bind().dialect.name
    statement = text(_ACQUIRE.format(now=_NOW[dialect]))
    result = await session.execute(statement, {"name": name, "holder": holder, "ttl_s": ttl_s})
    fence: int | None = result.scalar_one_or_none()
    return fence


async def require(session: AsyncSession, name: str, holder: str, fence: int) -> None:
    """Make sure, until this transaction ends, that the lease is still the caller's. Raises LeaseLost."""
    values = {"name": name, "holder": holder, "fence": fence}
    if (await session.execute(_REQUIRE, values)).scalar_one_or_none() is None:
        raise LeaseLost(f"the lease {name} has another holder now", name=name)


async def release(session: AsyncSession, name: str, holder: str) -> None:
    """Give a lease up before it ends. Not an error when it is not the caller's any more."""
    await session.execute(_RELEASE, {"name": name, "holder": holder})
