"""Leases: who may act for a signing key, or as the mirror, right now.

Safety rests on no clock: the fence number grows with every new holder, and `require` in a write transaction keeps
others out until it commits. When a lease may be taken over is told by the database's clock, which holders on several
machines share. Should that clock be set back, a lease would not end for long; so it also ends for who has seen it
unrenewed for its whole length by a clock that is never set (`stalled`).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Result, text
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
    "WHERE leases.holder = excluded.holder OR leases.expires_at < {now} OR leases.expires_at = :stalled "
    "RETURNING fence{limited}"
)
_SEEN = text("SELECT expires_at FROM leases WHERE name = :name")
_REQUIRE = (
    "UPDATE leases SET fence = fence "
    "WHERE name = :name AND holder = :holder AND fence = :fence RETURNING fence{limited}"
)
_LIMITED = {
    "sqlite": "",
    # Whoever stops in the middle of such a transaction has locked the lease: its connection is ended.
    "postgresql": ", set_config('idle_in_transaction_session_timeout', '3000', true)",
}
_RELEASE = text("UPDATE leases SET expires_at = 0 WHERE name = :name AND holder = :holder")


async def acquire(
    session: AsyncSession, name: str, holder: str, ttl_s: float, stalled: float | None = None
) -> int | None:
    """Take or renew a lease for `ttl_s` seconds. Returns its fence, None while somebody else holds it.

    `holder` must be unique to one run of one process, and the caller commits at once. `stalled` is what `seen` gave
    when the lease was last renewed, if that is longer ago than its length.
    """
    dialect = session.get_bind().dialect.name
    statement = text(_ACQUIRE.format(now=_NOW[dialect], limited=_LIMITED[dialect]))
    values = {"name": name, "holder": holder, "ttl_s": ttl_s, "stalled": stalled}
    return _fence(await session.execute(statement, values))


async def seen(session: AsyncSession, name: str) -> float | None:
    """When a lease ends by the database's clock: another number after each renewal. None for an unknown lease."""
    found: float | None = (await session.execute(_SEEN, {"name": name})).scalar_one_or_none()
    return found


async def require(session: AsyncSession, name: str, holder: str, fence: int) -> None:
    """Make sure, until this transaction ends, that the lease is still the caller's. Raises LeaseLost."""
    statement = text(_REQUIRE.format(limited=_LIMITED[session.get_bind().dialect.name]))
    values = {"name": name, "holder": holder, "fence": fence}
    if _fence(await session.execute(statement, values)) is None:
        raise LeaseLost(f"the lease {name} has another holder now", name=name)


def _fence(result: Result[Any]) -> int | None:
    row = result.one_or_none()
    return None if row is None else int(row.fence)


async def release(session: AsyncSession, name: str, holder: str) -> None:
    """Give a lease up before it ends. Not an error when it is not the caller's any more."""
    await session.execute(_RELEASE, {"name": name, "holder": holder})
