"""The closer: plans cycles that are ready, has them signed and closed, pays what was taken, reports what became of it.

It keeps nothing that is needed after a crash. Each step is one transaction that first sees what is there, and under the
lease of which one process has it; whatever is outside, the bank and the chain, does the same thing once however often
it is asked.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from fenzhang import crashpoints
from fenzhang.clearing.banks.interface import Refused
from fenzhang.clearing.banks.signatory import Signatory
from fenzhang.clearing.cycles import anchoring, paying, steps
from fenzhang.clearing.cycles.anchoring import ZoneOf
from fenzhang.clearing.cycles.choosing import Deep, deep_block, is_busy, newest_ready
from fenzhang.clearing.cycles.config import ClosingConfig
from fenzhang.clearing.cycles.facts import Membership
from fenzhang.clearing.cycles.paying import Payer
from fenzhang.clearing.cycles.planning import draft_next, store_plan
from fenzhang.clearing.errors import BankUnavailable
from fenzhang.domain.calendar import InvalidCalendar, NoBusinessDay
from fenzhang.domain.schemes import Schemes
from fenzhang.stageloop import run_stage
from fenzhang.store.blocks import newest_time
from fenzhang.store.holding import Holding
from fenzhang.store.plans import cycle_of
from fenzhang.store.session import Database
from fenzhang.store.snapshots import freeze
from fenzhang.store.tables import Account, AccountKind
from fenzhang.telemetry import metrics

log = logging.getLogger("fenzhang.clearing")
LEASE = "clearing"
_RENEWALS_PER_LEASE = 4
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Clearing:
    """Who closes, by which terms, and who pays."""

    signatory: Signatory
    schemes_of: Callable[[str], Schemes]
    """The schemes of a currency; raises InvalidCalendar."""
    payer: Payer
    zone_of: ZoneOf
    bill_depth: int
    """As in Settings."""
    clock: Callable[[], float]
    """Unix seconds, for what banks are told; nothing that is due is told by it."""


class Closer:
    """Of several on one database one works, and the others wait for its lease."""

    def __init__(self, database: Database, clearing: Clearing, config: ClosingConfig | None = None) -> None:
        self._database = database
        self._clearing = clearing
        self._config = config or ClosingConfig()
        self._holding = Holding(database, [LEASE], self._config.lease_s)
        self._looked_at: dict[tuple[str, str], int] = {}
        """By currency and scheme the cut-off of the newest cycle that was ready and had nothing to do."""
        self._ask_at: dict[int, float] = {}
        """When a plan that the bank did not sign is shown to it again."""
        self._told: set[str] = set()
        """What was logged once."""

    async def run(self, stop: asyncio.Event) -> None:
        """Close until `stop` is set, outlasting a database or a bank that is away."""

        async def tick() -> bool:
            try:
                return await self.tick()
            except BankUnavailable as error:
                self._tell_once(f"cycles wait: {error.message}")
                return False

        try:
            await run_stage(
                "clearing",
                tick,
                stop,
                interval_s=self._config.poll_interval_s,
                active=lambda: self._holding.held,
            )
        finally:
            if self._holding.held:
                await self._holding.release()

    async def tick(self) -> bool:
        """One look at everything. Whether anything was done, so that there may be more; False without the lease.

        Raises BankUnavailable, after all that needs no bank, and DatabaseUnavailable; trying again helps.
        """
        if not await self._holding.ensure():
            return False
        async with self._database.read() as session:
            deep = await deep_block(session, self._config.depth)
        if deep is None:
            return False
        try:
            done = await self._give_up(deep)
            done |= await self._take(deep)
            done |= await self._prepare_files(deep)
            done |= await self._plan(deep)
        except IntegrityError as error:
            log.info("somebody else was faster: %s", type(error.orig).__name__)
            return False
        done |= await self._sign()
        done |= await self._report()
        return done

    # -------------------------------------------------------------------------- closing

    async def _give_up(self, deep: Deep) -> bool:
        async with self._database.read() as session:
            if not await steps.standing(session):
                return False
        async with self._database.write() as session:
            await self._holding.require(session)
            return await steps.give_up(session, deep) > 0

    async def _plan(self, deep: Deep) -> bool:
        ready = [
            each
            for currency in await self._currencies()
            if not await self._is_busy(currency, deep)
            for each in self._ready(currency, deep)
        ]
        if ready:
            clearing = self._clearing
            await anchoring.hash_final_days(self._database, clearing.zone_of, clearing.bill_depth)
        done = False
        for member, closes in ready:
            async with self._database.read() as session:
                await freeze(session)
                if await is_busy(session, member.currency, deep):
                    continue
                draft = await self._holding_on(draft_next(session, member, deep, self._config.closing_life_s))
            if draft is None:
                self._looked_at[member.currency, member.scheme] = closes
                continue
            crashpoints.passed(crashpoints.BEFORE_PLAN)
            async with self._database.write() as session:
                await self._holding.require(session)
                await store_plan(session, draft)
            metrics.CYCLES_PLANNED.inc()
            crashpoints.passed(crashpoints.AFTER_PLAN)
            done = True
        return done

    async def _is_busy(self, currency: str, deep: Deep) -> bool:
        async with self._database.read() as session:
            return await is_busy(session, currency, deep)

    async def _holding_on(self, work: Coroutine[Any, Any, T]) -> T:
        """Keep the lease while something takes longer than it lasts."""
        task = asyncio.ensure_future(work)
        try:
            while True:
                done, _ = await asyncio.wait({task}, timeout=self._config.lease_s / _RENEWALS_PER_LEASE)
                if done:
                    return task.result()
                await self._holding.ensure()
        finally:
            task.cancel()

    async def _currencies(self) -> list[str]:
        """Those in which anybody has a position."""
        query = select(Account.currency).where(Account.kind == AccountKind.RECIPIENT_PAYABLE.value)
        async with self._database.read() as session:
            return sorted((await session.execute(query.distinct())).scalars())

    def _ready(self, currency: str, deep: Deep) -> Iterator[tuple[Membership, int]]:
        """Schemes of a currency with a cycle that was not looked at since it became ready, and its cut-off."""
        try:
            schemes = self._clearing.schemes_of(currency)
            for name in sorted(schemes.by_name):
                last = newest_ready(schemes.by_name[name].calendar, deep.time)
                if last is not None and self._looked_at.get((currency, name)) != last.closes:
                    yield Membership(schemes, name), last.closes
        except (InvalidCalendar, NoBusinessDay) as error:
            self._tell_once(f"nothing is cleared in {currency}: {error.message}")

    async def _sign(self) -> bool:
        """Show the bank what it has not signed."""
        done = False
        async with self._database.read() as session:
            waiting = await steps.unsigned(session)
        for plan in waiting:
            if self._ask_at.get(plan.id, 0) > self._clearing.clock():
                continue
            async with self._database.read() as session:
                payouts = await steps.payouts_of(session, plan.id)
            answer = await self._holding_on(self._clearing.signatory.sign_cycle(cycle_of(plan), payouts))
            if isinstance(answer, Refused):
                self._ask_at[plan.id] = self._clearing.clock() + self._config.ask_again_s
            crashpoints.passed(crashpoints.AFTER_SIGNATURE)
            async with self._database.write() as session:
                await self._holding.require(session)
                await steps.keep_answer(session, plan.id, answer)
            crashpoints.passed(crashpoints.AFTER_CLOSE_QUEUED)
            done = True
        return done

    async def _take(self, deep: Deep) -> bool:
        done = False
        async with self._database.read() as session:
            closed = await steps.closed(session)
        for plan in closed:
            async with self._database.write() as session:
                await self._holding.require(session)
                changed = await steps.go_on(session, plan, deep, self._config.chunk(plan.payouts))
            if changed:
                crashpoints.passed(crashpoints.AFTER_TAKE_QUEUED)
                done = True
        return done

    # -------------------------------------------------------------------------- paying

    async def _prepare_files(self, deep: Deep) -> bool:
        async with self._database.read() as session:
            if not await paying.waiting(session, deep, 1):
                return False
        now = int(self._clearing.clock())
        async with self._database.write() as session:
            await self._holding.require(session)
            prepared = await paying.prepare_files(session, self._clearing.payer, deep, now)
            if prepared.payouts:
                crashpoints.passed(crashpoints.BEFORE_FILE)
        for each in prepared.missing:
            self._tell_once(f"no bank account is stored for {each}: payouts wait")
        if prepared.payouts:
            metrics.PAYOUTS_PREPARED.inc(prepared.payouts)
            crashpoints.passed(crashpoints.AFTER_FILE)
        return prepared.payouts > 0

    async def _report(self) -> bool:
        """Have signed, and bring to the chain, what the bank said of payouts."""
        async with self._database.read() as session:
            now = await newest_time(session)
            again_before = now - int(self._config.report_again_s)
            waiting = await paying.to_report(session, self._config.chunk, again_before)
        done = False
        for report in waiting:
            signing = self._clearing.signatory.sign_report(report.cycle_id, report.outcomes)
            answer = await self._holding_on(signing)
            if isinstance(answer, Refused):
                self._tell_once(f"the clearing bank does not sign a report: {answer.reason}")
                continue
            crashpoints.passed(crashpoints.AFTER_REPORT_SIGNED)
            async with self._database.write() as session:
                await self._holding.require(session)
                await paying.queue_report(session, report, answer)
            metrics.OUTCOMES_REPORTED.inc(len(report.outcomes))
            crashpoints.passed(crashpoints.AFTER_REPORT_QUEUED)
            done = True
        return done

    def _tell_once(self, message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            log.error("%s", message)
