"""The end of a demo's day: cycles close at noon, in the evening and a day later, the bank pays, all sides are compared.

Some participants have an account that the bank cannot pay to, some named none; the money of one currency comes in late
in part, and some comes in that nobody knows. What follows from it is what the demo shows.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter as Count
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from hashlib import file_digest
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy import func, select

from fenzhang import devnet
from fenzhang.api.bills import bill_named
from fenzhang.chain.deployments import load
from fenzhang.chain.node import NodeClient
from fenzhang.chain.views import ChainView
from fenzhang.clearing.banks.http import HttpBank
from fenzhang.clearing.bills import files
from fenzhang.clearing.bills.formats import BillFormat
from fenzhang.clearing.cycles import showing
from fenzhang.clearing.cycles.showing import CycleState
from fenzhang.clearing.formats import ISO20022
from fenzhang.clearing.reconciliation import breaks
from fenzhang.clearing.reconciliation.breaks import Word
from fenzhang.clearing.reconciliation.chain import Chain
from fenzhang.clearing.reconciliation.errors import ReconciliationBusy
from fenzhang.clearing.reconciliation.reading import StatementReader
from fenzhang.clearing.reconciliation.running import Reconciler
from fenzhang.clearing.reconciliation.sides import sides
from fenzhang.clearing.reconciliation.telling import Wanted, page
from fenzhang.clearing.reconciliation.terms import Terms
from fenzhang.clearing.vault import Vault
from fenzhang.domain.errors import FenzhangError
from fenzhang.intake.participants import platform_named
from fenzhang.local.bankside import DEPTH, Counter
from fenzhang.local.businessday import LATE, BusinessDay
from fenzhang.local.dayreport import FINAL, BreakReport, CycleReport, DayEnd
from fenzhang.local.payees import (
    Payee,
    clearing_number,
    open_accounts,
    payees_of,
    repair,
    store_clearing_accounts,
)
from fenzhang.local.supervisor import Endpoints
from fenzhang.replay.run import ReplayReport
from fenzhang.replay.scenario import Scenario
from fenzhang.settings import Settings
from fenzhang.store.reconciliationtables import Break, BreakState
from fenzhang.store.session import Database
from fenzhang.store.snapshots import freeze
from fenzhang.store.tables import Block, Order

UNKNOWN_MONEY: Final = 888
"""Minor units that come in, and that no order explains."""
_PATIENCE_S: Final = 120.0
_LOOK_S: Final = 0.2
_MOST: Final = 100_000
T = TypeVar("T")


class DayStuck(FenzhangError):
    """A cycle, or a comparison, did not come to its end in time."""

    code = "day_stuck"


@dataclass(frozen=True, slots=True)
class DayPlan:
    """A day that is to be closed. `settings` are those of the closer and of the sender."""

    endpoints: Endpoints
    settings: Settings
    day: BusinessDay
    calendars: Path
    platforms: Sequence[str]
    late: str | None
    """The platform that is settled at T+1."""
    currencies: Sequence[str]


async def day_plan(scenario: Scenario, endpoints: Endpoints, day: BusinessDay) -> DayPlan:
    """The plan of a scenario's day; its calendars are written. The platform with the fewest orders is settled late."""
    orders = Count(order.platform for order in scenario.orders)
    late = min(orders, key=lambda name: (orders[name], name)) if len(orders) > 1 else None
    calendars = endpoints.home / "calendars.toml"
    settings = Settings(
        home=endpoints.home,
        database_url="",
        rpc_url=endpoints.rpc,
        deployment=endpoints.deployment,
        calendars=calendars,
        bill_depth=DEPTH,
        clearing_depth=DEPTH,
    )
    async with Database(settings.database) as database, database.read() as session:
        owner = None if late is None else (await platform_named(session, late)).id
        currencies = sorted((await session.execute(select(Order.currency).distinct())).scalars())
    calendars.write_text(day.calendars(currencies, owner), encoding="utf-8")
    return DayPlan(endpoints, settings, day, calendars, sorted(orders), late, currencies)


@dataclass(slots=True)
class DayCloser:
    """Plays it. `afternoon` sends the orders after noon."""

    plan: DayPlan
    bank_url: str
    afternoon: Callable[[], Awaitable[ReplayReport]] | None
    _database: Database = field(init=False)
    _counter: Counter = field(init=False)
    _vault: Vault = field(init=False)
    _seconds: dict[str, float] = field(default_factory=dict)
    _repaired: int = 0
    _came_in: Count[str] = field(default_factory=Count)
    """Deposited at the bank, by currency."""

    async def run(self) -> DayEnd:
        """From noon to the next morning. Raises DayStuck, BankFailed, and what the parts raise."""
        self._vault = Vault.from_text(self.plan.settings.bank_secret())
        self._counter = Counter(self.bank_url)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._counter.close)
            self._database = await stack.enter_async_context(Database(self.plan.settings.database))
            payees = await self._timed("bank accounts", self._open())
            await self._fund(missing=1)
            await self._pass("noon cycle", self.plan.day.noon)
            await self._timed("compare at noon", self._compare())
            played = await self._spend_afternoon(payees)
            await self._pass("evening cycle", self.plan.day.evening)
            await self._pass("T+1 cycle", self.plan.day.over)
            await self._timed("compare at close", self._compare())
            await self._explain()
            bills = await self._timed("bills", self._write_bills())
            return await self._report(played, bills)

    # -------------------------------------------------------------------------- the bank

    async def _open(self) -> list[Payee]:
        plan = self.plan
        payees = await payees_of(self._database, plan.platforms)
        await store_clearing_accounts(self._database, self._vault, plan.currencies)
        await open_accounts(self._counter, plan.endpoints, payees, plan.currencies)
        return payees

    async def _fund(self, missing: int = 0) -> None:
        """What was captured comes in at the bank; of the last currency all but `missing` minor units."""
        query = select(Order.currency, func.sum(Order.captured)).group_by(Order.currency)
        async with self._database.read() as session:
            captured = {currency: int(total) for currency, total in await session.execute(query)}
        captured[max(captured)] -= missing
        for currency, total in captured.items():
            if total > self._came_in[currency]:
                number, reference = clearing_number(currency), f"D{currency}{total}"
                await self._counter.deposit(number, total - self._came_in[currency], reference)
                self._came_in[currency] = total

    async def _spend_afternoon(self, payees: Sequence[Payee]) -> ReplayReport | None:
        self._repaired = await repair(self._counter, payees)
        played = None
        if self.afternoon is not None:
            played = await self._timed("afternoon orders", self.afternoon())
        await self._fund()
        if len(self.plan.currencies) > 1:
            await self._counter.deposit(clearing_number(min(self.plan.currencies)), UNKNOWN_MONEY, "DUNKNOWN")
        return played

    # -------------------------------------------------------------------------- cycles

    async def _pass(self, name: str, cut_off: int) -> None:
        """Put the chain's clock at a cut-off, and wait until all that follows from it is decided."""
        devnet.advance_to(self.plan.settings.rpc_url, cut_off)
        await self._timed(name, self._settled(cut_off))

    async def _settled(self, cut_off: int) -> None:
        """Every cycle that closes at a cut-off is closed, and each of its payouts is decided.

        Which cycles there must be is known beforehand: those of schemes that had anything payable.
        """
        wanted = await self._wanted(cut_off)
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            found = {(each.currency, each.scheme): each for each in await self._cycles(cut_off)}
            if wanted <= found.keys() and all(set(each.states) <= FINAL for each in found.values()):
                return
            await asyncio.sleep(_LOOK_S)
        raise DayStuck(f"the cycles at {cut_off} are not decided: {sorted(wanted)} were expected")

    async def _wanted(self, cut_off: int) -> set[tuple[str, str]]:
        """Currency and scheme of cycles that have something to pay, by positions and accounts as they are now."""
        is_late = cut_off == self.plan.day.over
        payees = await payees_of(self._database, self.plan.platforms)
        return {
            (payee.currency, LATE if is_late else "standard")
            for payee in payees
            if (payee.platform == self.plan.late) == is_late and payee.trouble is None
        }

    async def _cycles(self, cut_off: int | None = None) -> list[CycleReport]:
        """Closed cycles, or those that close at one cut-off, in the order of the day."""
        async with self._database.read() as session:
            await freeze(session)
            shown = [
                each
                for each in await showing.cycles(session, _MOST)
                if each.state is CycleState.TAKEN and each.plan is not None
            ]
            found = []
            for each in shown:
                plan = each.plan
                if plan is None or cut_off not in {None, plan.closes}:
                    continue
                payouts = await showing.payouts_of_cycle(session, plan, None, b"", _MOST)
                found.append(
                    CycleReport(
                        currency=plan.currency,
                        scheme=plan.scheme,
                        number=plan.number,
                        closes=plan.closes,
                        payouts=plan.payouts,
                        total=plan.total,
                        states=dict(Count(p.state or "-" for p in payouts if p.planned.amount)),
                        left_out=dict(Count(p.planned.left_out for p in payouts if p.planned.left_out)),
                    )
                )
        return sorted(found, key=lambda each: (each.closes, each.currency, each.scheme))

    # -------------------------------------------------------------------------- three sides

    async def _compare(self) -> None:
        """Read the bank's statements, and compare all three sides as at close."""
        async with self._reconciler() as reconciler:
            bank = HttpBank("sandbox", self.bank_url, ISO20022, customer="fenzhang")
            async with bank:
                reader = StatementReader(reconciler, self._vault, bank, time.time)
                await _patiently(lambda: reader.read(datetime.fromtimestamp(time.time(), UTC).date()))
            for comparison in reconciler.comparisons:
                await _patiently(partial(reconciler.run, comparison, at_close=True))

    @asynccontextmanager
    async def _reconciler(self) -> AsyncIterator[Reconciler]:
        async with NodeClient(self.plan.settings.rpc_url) as node:
            chain = Chain(node, load(self.plan.endpoints.deployment))
            reconciler = Reconciler(self._database, Terms(), chain)
            try:
                yield reconciler
            finally:
                await reconciler.release()

    async def _explain(self) -> None:
        """Somebody looks at what is open."""
        note = "the sender did not say what it is for; the bank asks"
        for row in await self._breaks(BreakState.OPEN):
            async with self._database.write() as session:
                word = Word("demo", f"explain-{row.id}", note, int(time.time()))
                await breaks.explain(session, row.id, word)

    async def _breaks(self, state: BreakState) -> Sequence[Break]:
        async with self._database.read() as session:
            return (await page(session, Wanted(state), limit=1_000)).breaks

    # -------------------------------------------------------------------------- bills and report

    async def _write_bills(self) -> dict[str, str]:
        """The bill of each platform, as a file with its hash."""
        plan, written = self.plan, {}
        folder = plan.endpoints.home / "bills"
        folder.mkdir(exist_ok=True)
        for name in plan.platforms:
            async with self._database.read() as session:
                platform = await platform_named(session, name)
                day = plan.day.day.isoformat()
                bill = await bill_named(session, plan.settings, platform, day, BillFormat.CSV)
            path = await files.write(self._database, bill, DEPTH, folder, packed=False)
            with path.open("rb") as content:
                written[path.name] = file_digest(content, "sha256").hexdigest()
        return written

    async def _report(self, played: ReplayReport | None, bills: dict[str, str]) -> DayEnd:
        listed = [row for state in reversed(BreakState) for row in await self._breaks(state)]
        async with NodeClient(self.plan.settings.rpc_url) as node, self._database.read() as session:
            await freeze(session)
            newest = select(Block.hash).order_by(Block.number.desc()).limit(1)
            block: bytes = (await session.execute(newest)).scalar_one()
            view = ChainView(node, load(self.plan.endpoints.deployment), "0x" + block.hex())
            found = await sides(session, view)
        return DayEnd(
            cycles=await self._cycles(),
            afternoon=played,
            breaks=[_told(row) for row in listed],
            sides=found,
            bills=bills,
            repaired=self._repaired,
            paid_twice=await self._counter.paid_twice(),
            seconds=self._seconds,
        )

    async def _timed(self, name: str, work: Awaitable[T]) -> T:
        began = time.monotonic()
        result = await work
        self._seconds[name] = time.monotonic() - began
        return result


async def _patiently(work: Callable[[], Awaitable[T]]) -> T:
    """Another process compares now and then as well."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return await work()
        except ReconciliationBusy:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(_LOOK_S)


def _told(row: Break) -> BreakReport:
    return BreakReport(
        number=row.id,
        kind=row.kind,
        owner=row.owner,
        currency=row.currency,
        amount=row.amount,
        state=row.state,
        note=row.explanation,
    )
