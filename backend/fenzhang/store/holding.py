"""A stage's hold on its leases: taken, renewed in time, required in every write."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import time
from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.store import leases
from fenzhang.store.errors import LeaseLost
from fenzhang.store.session import Database

log = logging.getLogger("fenzhang.store")
DEFAULT_TTL_S = 4.0
"""How long a lease outlives a holder that was killed."""
_RENEWALS_PER_TTL = 3


class _Others:
    """Leases that others hold, and how long they have not been renewed by this process's own, steady clock."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float | None, float]] = {}

    def look(self, name: str, ends: float | None) -> None:
        """What a lease looks like now."""
        if name not in self._seen or self._seen[name][0] != ends:
            self._seen[name] = (ends, time.monotonic())

    def stalled(self, name: str, ttl_s: float) -> float | None:
        """What a lease has looked like for its whole length, None if it was renewed, or not looked at, since."""
        ends, since = self._seen.get(name, (None, 0.0))
        return ends if time.monotonic() - since > ttl_s else None


class Holding:
    """The leases `names`, held together or not at all by one run of one stage."""

    def __init__(self, database: Database, names: Sequence[str], ttl_s: float = DEFAULT_TTL_S) -> None:
        self._database = database
        # Sorted: two that want the same leases ask in the same order.
        self._names = sorted(set(names))
        self._ttl_s = ttl_s
        self._holder = f"{socket.gethostname()[:40]}:{os.getpid()}:{secrets.token_hex(8)}"
        self._fences: dict[str, int] = {}
        self._renew_at = 0.0
        self._others = _Others()
        self._waits = False
        self.tenure = 0
        """Grows whenever the leases are taken anew: what was remembered from before may be outdated."""

    @property
    def held(self) -> bool:
        """Whether all leases were this holder's when it last looked."""
        return bool(self._fences)

    async def ensure(self) -> bool:
        """Take the leases or keep them from ending. False while somebody else has one of them.

        Raises DatabaseUnavailable.
        """
        if self._fences and time.monotonic() < self._renew_at:
            return True
        renew_at = time.monotonic() + self._ttl_s / _RENEWALS_PER_TTL
        before, self._fences = self._fences, {}
        fences: dict[str, int] = {}
        async with self._database.write() as session:
            for name in self._names:
                stalled = self._others.stalled(name, self._ttl_s)
                fence = await leases.acquire(session, name, self._holder, self._ttl_s, stalled)
                if fence is None:
                    self._others.look(name, await leases.seen(session, name))
                    # Those that were free are given back, or two holders could block each other.
                    for taken in fences:
                        await leases.release(session, taken, self._holder)
                    fences = {}
                    break
                fences[name] = fence
        self._fences, self._renew_at = fences, renew_at
        if fences and fences != before:
            self.tenure += 1
        self._report(name)
        return bool(fences)

    def _report(self, last: str) -> None:
        if self.held:
            self._waits = False
        elif not self._waits:
            self._waits = True
            log.info("another process has the lease %s: this one waits", last)

    async def require(self, session: AsyncSession) -> None:
        """Make sure that nobody takes over before the write of `session` commits. Raises LeaseLost."""
        if not self._fences:
            raise LeaseLost("the lease is not held", names=self._names)
        try:
            for name, fence in self._fences.items():
                await leases.require(session, name, self._holder, fence)
        except LeaseLost:
            self._fences = {}
            raise

    async def release(self) -> None:
        """Let others act at once. Raises DatabaseUnavailable."""
        self._fences = {}
        async with self._database.write() as session:
            for name in self._names:
                await leases.release(session, name, self._holder)
