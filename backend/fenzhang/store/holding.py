"""A stage's hold on its leases: taken, renewed in time, required in every write."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.store import leases
from fenzhang.store.errors import LeaseLost
from fenzhang.store.session import Database

DEFAULT_TTL_S = 5.0
"""How long a lease outlives a holder that was killed."""
_RENEWALS_PER_TTL = 3


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
                fence = await leases.acquire(session, name, self._holder, self._ttl_s)
                if fence is None:
                    # Those that were free are given back, or two holders could block each other.
                    for taken in fences:
                        await leases.release(session, taken, self._holder)
                    fences = {}
                    break
                fences[name] = fence
        self._fences, self._renew_at = fences, renew_at
        if fences and fences != before:
            self.tenure += 1
        return bool(fences)

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
