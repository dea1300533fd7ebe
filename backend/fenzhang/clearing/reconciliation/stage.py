"""Compares again and again, and shows what is open."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import func, select

from fenzhang.clearing.reconciliation.errors import ReconciliationBusy
from fenzhang.clearing.reconciliation.running import Reconciler, Run
from fenzhang.domain.errors import FenzhangError
from fenzhang.ledger.reconcile import CheckpointUnknown, NothingMirrored
from fenzhang.stageloop import run_stage
from fenzhang.store.reconciliationtables import Break, BreakState, ReconciliationRun
from fenzhang.store.session import Database
from fenzhang.telemetry import metrics

log = logging.getLogger("fenzhang.clearing")
INTERVAL_S: Final = 60.0
_CLOSES_AFTER: Final = timedelta(days=1)
_WAITED_FOR: tuple[type[FenzhangError], ...] = (NothingMirrored, CheckpointUnknown, ReconciliationBusy)
"""What passes by itself when mirror and node, or another process, go on."""


class ReconciliationStage:
    """Makes the comparisons in turn: what is new in each round, and all once a day.

    Of several, one makes a comparison at a time. `clock` gives Unix seconds.
    """

    def __init__(
        self, database: Database, reconciler: Reconciler, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._reconciler = reconciler
        self._clock = clock

    async def tick(self) -> None:
        """One round. Raises what a comparison stops for."""
        for comparison in self._reconciler.comparisons:
            try:
                report(await self._reconciler.run(comparison, at_close=await self._is_due(comparison)))
            except _WAITED_FOR as error:
                log.info("reconciliation waits: %s", error.message)
        await self._reconciler.release()
        await show(self._database, int(self._clock()))

    async def run(self, stop: asyncio.Event, *, interval_s: float = INTERVAL_S) -> None:
        """Tick until `stop` is set. What is away is waited for; other errors end it."""

        async def tick() -> bool:
            await self.tick()
            return False

        await run_stage("reconciliation", tick, stop, interval_s=interval_s)

    async def _is_due(self, comparison: str) -> bool:
        """Whether the last run that looked at all is of another day, UTC."""
        query = select(func.max(ReconciliationRun.at)).where(
            ReconciliationRun.comparison == comparison, ReconciliationRun.at_close
        )
        async with self._database.read() as session:
            last = (await session.execute(query)).scalar()
        if last is None:
            return True
        return _day(self._clock()) - _day(last) >= _CLOSES_AFTER


def _day(moment: float) -> datetime:
    return datetime.combine(datetime.fromtimestamp(moment, UTC).date(), datetime.min.time(), UTC)


def report(run: Run) -> None:
    """Log what changed, each break once."""
    for row in run.registered.opened:
        told = {"break": row.id, "subject": row.subject, "currency": row.currency, "amount": row.amount}
        log.warning("a break was found: %s", row.kind, extra={"fields": told})
    for row in run.registered.resolved:
        log.info("a break is gone: %s", row.kind, extra={"fields": {"break": row.id, "subject": row.subject}})


async def show(database: Database, now: int) -> None:
    """Let the metrics of this process say what is open, and since when."""
    query = (
        select(Break.kind, func.count(), func.min(Break.first_seen))
        .where(Break.state != BreakState.RESOLVED)
        .group_by(Break.kind)
    )
    async with database.read() as session:
        found = (await session.execute(query)).all()
    metrics.BREAKS_OPEN.clear()
    metrics.BREAKS_OLDEST.set(0)
    for kind, count, _ in found:
        metrics.BREAKS_OPEN.labels(kind).set(count)
    if found:
        metrics.BREAKS_OLDEST.set(max(0, now - min(first for _, _, first in found)))
