"""What all comparisons have in common: what they work with, and what they come to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.clearing.reconciliation.breaks import Covers
from fenzhang.clearing.reconciliation.model import Sighting
from fenzhang.clearing.reconciliation.terms import Terms
from fenzhang.store.errors import LeaseLost
from fenzhang.store.holding import Holding
from fenzhang.store.session import Database

_RENEWED_S = 1.0


@dataclass(frozen=True, slots=True)
class Context:
    """A run: its database, its lease, its time (Unix seconds), and where the run before it stopped."""

    database: Database
    holding: Holding
    terms: Terms
    now: int
    at_close: bool
    position: int = 0

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncSession]:
        """A write transaction under the lease. Raises LeaseLost, DatabaseUnavailable."""
        await self.go_on()
        async with self.database.write() as session:
            await self.holding.require(session)
            yield session

    async def go_on(self) -> None:
        """Keep the lease from ending. Raises LeaseLost."""
        if not await self.holding.ensure():
            raise LeaseLost("another process compares now")

    @asynccontextmanager
    async def staying(self) -> AsyncIterator[None]:
        """Keep the lease while the block does something long that writes nothing."""

        async def renew() -> None:
            while True:
                await self.go_on()
                await asyncio.sleep(_RENEWED_S)

        renewing = asyncio.create_task(renew())
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.wait([renewing])
        await self.go_on()


@dataclass(slots=True)
class Compared:
    """What a comparison saw, which breaks it looked for, and how far it came."""

    covers: Covers
    sightings: list[Sighting] = field(default_factory=list)
    looked_at: int = 0
    matched: int = 0
    position: int = 0
