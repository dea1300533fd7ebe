"""Reads a bank's statements: keeps their lines, matches them with payouts, and registers what does not agree."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import Final

from fenzhang.clearing.banks.interface import Bank
from fenzhang.clearing.errors import BankUnavailable, DocumentInvalid
from fenzhang.clearing.model import Statement
from fenzhang.clearing.reconciliation import lines
from fenzhang.clearing.reconciliation.bank import Unreadable
from fenzhang.clearing.reconciliation.comparing import Context
from fenzhang.clearing.reconciliation.running import Reconciler, Run
from fenzhang.clearing.reconciliation.stage import report
from fenzhang.clearing.vault import Vault
from fenzhang.stageloop import run_stage
from fenzhang.store.reconciliationtables import Comparison

log = logging.getLogger("fenzhang.clearing")
STATEMENT_DAYS: Final = timedelta(days=7)
"""How far back statements are read again: what came late is found, what was read before changes nothing."""


class StatementReader:
    """For the statements of one bank. `clock` gives Unix seconds. Of several, one reads at a time."""

    def __init__(self, reconciler: Reconciler, vault: Vault, bank: Bank, clock: Callable[[], float]) -> None:
        self._reconciler = reconciler
        self._vault = vault
        self._bank = bank
        self._clock = clock

    async def read(self, since: date) -> Run:
        """Keep the bank's statements from a day on, and compare.

        Notifications are passed over: a statement says the same again, with balances. Raises BankUnavailable,
        ReconciliationBusy, LeaseLost and DatabaseUnavailable.
        """
        unreadable: list[tuple[str, str]] = []
        documents = await self._bank.documents(since)
        async with self._reconciler.context(Comparison.BANK) as context:
            for document in documents:
                try:
                    reports = self._bank.format.read_reports(document)
                except DocumentInvalid as error:  # one bad document holds up no other, and no payout
                    unreadable.append((sha256(document).hexdigest()[:16], error.message[:500]))
                    continue
                for each in reports:
                    if isinstance(each, Statement):
                        await self._keep(context, lines.Told.of(each))
        return await self._reconciler.run(Comparison.BANK, unreadable=Unreadable(self._bank.name, unreadable))

    async def _keep(self, context: Context, told: lines.Told) -> None:
        """Most statements are told again just as they were: then nothing is written."""
        async with context.database.read() as session:
            if await lines.is_kept(session, self._vault, self._bank.name, told):
                return
        async with context.writing() as session:
            await lines.store(session, self._vault, self._bank.name, told)

    async def run(self, stop: asyncio.Event, *, interval_s: float = 60.0) -> None:
        """Read the statements of the last days until `stop` is set. What does not answer is waited for."""
        silent = False

        async def tick() -> bool:
            nonlocal silent
            if not await self._reconciler.holds(Comparison.BANK):
                return False
            since = datetime.fromtimestamp(self._clock(), UTC).date() - STATEMENT_DAYS
            try:
                report(await self.read(since))
            except BankUnavailable as error:
                if not silent:
                    log.warning("statements wait: %s", error.message)
                silent = True
            else:
                silent = False
            finally:
                await self._reconciler.release()
            return False

        await run_stage("statements", tick, stop, interval_s=interval_s)
