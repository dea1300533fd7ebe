"""Runs of the comparisons: one at a time of each, by a lease, from where the last one stopped."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.clearing.reconciliation import bank, chain, instructions
from fenzhang.clearing.reconciliation.bank import Unreadable
from fenzhang.clearing.reconciliation.breaks import Look, Registered, register
from fenzhang.clearing.reconciliation.chain import Chain
from fenzhang.clearing.reconciliation.comparing import Compared, Context
from fenzhang.clearing.reconciliation.errors import ReconciliationBusy
from fenzhang.clearing.reconciliation.terms import Terms
from fenzhang.store.holding import Holding
from fenzhang.store.reconciliationtables import Comparison, ReconciliationCheckpoint
from fenzhang.store.session import Database


@dataclass(frozen=True, slots=True)
class Run:
    """What a run came to."""

    comparison: Comparison
    at_close: bool
    looked_at: int
    matched: int
    seen: int
    """Breaks that are there."""
    registered: Registered


class Reconciler:
    """Compares. `clock` gives Unix seconds. Without a `chain` the ledger cannot be compared with it."""

    def __init__(
        self,
        database: Database,
        terms: Terms,
        chain_: Chain | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._terms = terms
        self._chain = chain_
        self._clock = clock
        self._holdings = {each: Holding(database, [f"reconciliation {each}"]) for each in Comparison}

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """Those that it can make."""
        return tuple(each for each in Comparison if each is not Comparison.CHAIN or self._chain)

    async def holds(self, comparison: Comparison) -> bool:
        """Whether this one may run now; it keeps the lease then."""
        return await self._holdings[comparison].ensure()

    async def run(
        self, comparison: Comparison, *, at_close: bool = False, unreadable: Unreadable | None = None
    ) -> Run:
        """Compare, and register what is seen. Raises ReconciliationBusy, LeaseLost, DatabaseUnavailable.

        And for CHAIN what `ledger.reconcile` raises.
        """
        async with self.context(comparison, at_close=at_close) as context:
            compared = await self._compare(comparison, context, unreadable)
            look = Look(comparison, context.now, at_close, compared.looked_at, compared.matched)
            async with context.writing() as session:
                registered = await register(session, look, compared.sightings, compared.covers)
                await _keep_checkpoint(session, comparison, compared.position, context.now)
            return Run(
                comparison,
                at_close,
                compared.looked_at,
                compared.matched,
                len(compared.sightings),
                registered,
            )

    @asynccontextmanager
    async def context(self, comparison: Comparison, *, at_close: bool = False) -> AsyncIterator[Context]:
        """What a run works with, under the comparison's lease. Raises ReconciliationBusy."""
        holding = self._holdings[comparison]
        if not await holding.ensure():
            raise ReconciliationBusy(f"another process compares {comparison} now")
        async with self._database.read() as session:
            known = await session.get(ReconciliationCheckpoint, comparison.value)
        position = 0 if known is None else known.position
        yield Context(self._database, holding, self._terms, int(self._clock()), at_close, position)

    async def release(self) -> None:
        """Let others compare at once. Raises DatabaseUnavailable."""
        for holding in self._holdings.values():
            if holding.held:
                await holding.release()

    async def _compare(
        self, comparison: Comparison, context: Context, unreadable: Unreadable | None
    ) -> Compared:
        work: Awaitable[Compared]
        match comparison:
            case Comparison.INSTRUCTIONS:
                work = instructions.compare(context)
            case Comparison.CHAIN:
                assert self._chain is not None  # noqa: S101 -- `comparisons` says so
                work = chain.compare(context, self._chain)
            case Comparison.BANK:
                work = bank.compare(context, unreadable)
        return await work


async def _keep_checkpoint(session: AsyncSession, comparison: Comparison, position: int, now: int) -> None:
    row = ReconciliationCheckpoint(comparison=comparison.value, position=position, at=now)
    await session.merge(row)
    await session.flush()
