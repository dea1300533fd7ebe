"""Sends prepared files to a bank and follows their payouts to an end, over crashes, silence and late answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang import crashpoints
from fenzhang.clearing import payments
from fenzhang.clearing.banks.interface import Accepted, Bank, Refused
from fenzhang.clearing.errors import BankUnavailable, DocumentInvalid
from fenzhang.clearing.model import PayoutState, PayoutStatus
from fenzhang.clearing.statements import Finding, Problem, apply_report
from fenzhang.clearing.states import DUPLICATE, Arrival, arrival
from fenzhang.clearing.vault import Vault
from fenzhang.stageloop import run_stage
from fenzhang.store.banktables import BankFile
from fenzhang.store.holding import Holding
from fenzhang.store.session import Database
from fenzhang.telemetry import metrics

log = logging.getLogger("fenzhang.clearing")
ASKED_AT_ONCE: Final = 1_000
RESEND_AFTER_S: Final = 900
"""How long after an attempt a bank may still not know what came of it. It must be longer than any attempt takes."""
STATEMENT_DAYS: Final = timedelta(days=7)
"""How far back statements are read again: what came late is found, what was read before changes nothing."""


class PayoutSender:
    """For the files of one bank. `clock` gives Unix seconds.

    Several may run side by side: of those that `run` one works at a time, and each attempt at a file is made by one.
    """

    def __init__(
        self,
        database: Database,
        vault: Vault,
        bank: Bank,
        clock: Callable[[], float],
        *,
        resend_after_s: float = RESEND_AFTER_S,
    ) -> None:
        self._database = database
        self._vault = vault
        self._bank = bank
        self._clock = clock
        self._resend_after_s = resend_after_s
        self._holding = Holding(database, [f"payouts:{bank.name}"])

    async def tick(self) -> None:
        """Ask about what is unknown, send what the bank does not have, ask about what is open.

        Raises BankUnavailable and DatabaseUnavailable; trying again later is all that they ask for.
        """
        silent: BankUnavailable | None = None
        behind = 0
        while files := await self._undecided(behind):
            behind = files[-1].id
            for file in files:
                try:
                    await self._resolve(file)
                except BankUnavailable as error:  # one file that nobody can tell about holds up no other
                    silent = error
        await self._follow()
        if silent is not None:
            raise silent

    async def _undecided(self, behind: int) -> Sequence[BankFile]:
        async with self._database.read() as session:
            return await payments.undecided(session, self._bank.name, behind)

    async def _send(self, file: BankFile) -> None:
        """One attempt. What happens before the commit never left; what happens after it is found out by asking."""
        async with self._database.write() as session:
            sending = await payments.begin_attempt(
                session, self._vault, file.id, file.attempts + 1, now=self._now()
            )
        if sending is None:
            return
        crashpoints.passed(crashpoints.BEFORE_BANK)
        answer = await self._bank.submit(sending.message_id, sending.content)
        crashpoints.passed(crashpoints.AFTER_BANK)
        if isinstance(answer, Accepted):
            async with self._database.write() as session:
                await payments.accept(session, file.id, now=self._now())
        elif isinstance(answer, Refused):
            await self._note_refusal(file, answer.reason)
        else:
            log.warning("whether %s has %s is not known: %s", self._bank.name, file.message_id, answer.why)

    async def _note_refusal(self, file: BankFile, reason: str) -> None:
        """It counts later, if the bank then still knows none of the payouts: banks refuse what they have already.

        A refusal that says so itself never counts.
        """
        log.warning("%s refuses %s: %s", self._bank.name, file.message_id, reason)
        if reason not in DUPLICATE:
            async with self._database.write() as session:
                await payments.note_refusal(session, file.id, file.attempts + 1, reason)

    async def _resolve(self, file: BankFile) -> None:
        """Send a file if the bank, asked, knows nothing of it: also the first time, for the database may be a copy.

        Or give it up if the bank refused it. Neither happens before the last attempt is so long ago that the bank
        must know what came of it.
        """
        waiting = file.attempted_at is not None and self._now() - file.attempted_at < self._resend_after_s
        if await self._ask(file) is not Arrival.NOT_THERE or waiting:
            return
        if file.reason is not None:
            async with self._database.write() as session:
                await payments.refuse(session, file.id, file.attempts, file.reason, now=self._now())
            return
        if file.attempts:
            log.warning("%s knows nothing of %s: it is sent again", self._bank.name, file.message_id)
        await self._send(file)

    async def _ask(self, file: BankFile) -> Arrival:
        """Whether the bank has a file. If so, that is stored with what it says of the payouts."""
        async with self._database.read() as session:
            ids = await payments.ids_of(session, file.id)
        said = await self._bank.statuses(ids)
        found = arrival([status.state for status in said.values()], len(ids))
        if found is Arrival.THERE:
            strange = [each for each, status in said.items() if status.state is PayoutState.NOT_KNOWN]
            if strange:
                log.error("%s has %s, and does not know %s", self._bank.name, file.message_id, strange[0])
            async with self._database.write() as session:
                await payments.accept(session, file.id, now=self._now())
                await self._store(session, said)
        return found

    async def _store(self, session: AsyncSession, said: Mapping[str, PayoutStatus]) -> None:
        told = {each: [status] for each, status in said.items()}
        metrics.PAYOUTS_CHANGED.inc(await payments.apply(session, told, now=self._now()))

    async def _follow(self) -> None:
        """Ask about all payouts that the bank has not decided."""
        behind = ""
        while True:
            async with self._database.read() as session:
                ids = await payments.followed(session, self._bank.name, behind, ASKED_AT_ONCE)
            if not ids:
                return
            said = await self._bank.statuses(ids)
            async with self._database.write() as session:
                await self._store(session, said)
            behind = ids[-1]

    async def read_statements(self, since: date) -> list[Finding]:
        """Apply the bank's statements from a day on; what in them nobody can explain, or read.

        Raises BankUnavailable and DatabaseUnavailable.
        """
        found: list[Finding] = []
        for document in await self._bank.documents(since):
            try:
                reports = self._bank.format.read_reports(document)
            except DocumentInvalid as error:  # one bad document holds up no other, and no payout
                found.append(Finding(Problem.UNREADABLE, 0, reference=error.message))
                continue
            for report in reports:
                async with self._database.write() as session:
                    found += await apply_report(session, report, now=self._now())
        return found

    async def run(self, stop: asyncio.Event, *, interval_s: float = 1.0, statements_s: float = 60.0) -> None:
        """Tick until `stop` is set, and read the statements of the last days every `statements_s`.

        A bank or a database that does not answer is waited for; other errors end it. What a statement does not explain
        is logged once.
        """
        silent = False
        logged: set[Finding] = set()
        read_at = -statements_s

        async def tick() -> bool:
            nonlocal silent, read_at
            if not await self._holding.ensure():
                return False
            try:
                if self._clock() - read_at >= statements_s:
                    read_at = self._clock()
                    since = datetime.fromtimestamp(read_at, UTC).date() - STATEMENT_DAYS
                    findings = set(await self.read_statements(since)) - logged
                    _report(findings)
                    logged.update(findings)
                await self.tick()
            except BankUnavailable as error:
                if not silent:
                    log.warning("payouts wait: %s", error.message)
                silent = True
            else:
                silent = False
            return False

        try:
            await run_stage("payouts", tick, stop, interval_s=interval_s, active=lambda: self._holding.held)
        finally:
            if self._holding.held:
                await self._holding.release()

    def _now(self) -> int:
        return int(self._clock())


def _report(findings: Iterable[Finding]) -> None:
    """Money that came in without a reference is no matter of payouts; all else is."""
    for finding in findings:
        if finding.amount < 0 or finding.problem is not Problem.NO_REFERENCE:
            told = {"end_to_end_id": finding.end_to_end_id, "reference": finding.reference}
            log.warning("a statement needs explaining: %s", finding.problem, extra={"fields": told})
