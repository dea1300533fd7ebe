"""A clearing house around the pipeline: closer, sandbox bank and sender, driven by hand on the chain's time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
from sqlalchemy import select, update

from clearing.bankside import CLOSED, CUSTOMER, HONEST, RETURNING, VAULT, furnish
from fenzhang.clearing import accounts
from fenzhang.clearing.banks.http import HttpBank
from fenzhang.clearing.banks.httpsignatory import HttpSignatory
from fenzhang.clearing.banks.interface import Refused
from fenzhang.clearing.banks.signatory import Signatory, Signed
from fenzhang.clearing.cycles.closer import Clearing, Closer
from fenzhang.clearing.cycles.config import ClosingConfig
from fenzhang.clearing.cycles.paying import Payer
from fenzhang.clearing.errors import BankUnavailable
from fenzhang.clearing.formats import ISO20022
from fenzhang.clearing.model import BankAccount
from fenzhang.clearing.reconciliation.breaks import Registered
from fenzhang.clearing.reconciliation.reading import StatementReader
from fenzhang.clearing.reconciliation.running import Reconciler
from fenzhang.clearing.reconciliation.terms import Terms as ReconciliationTerms
from fenzhang.clearing.sender import PayoutSender
from fenzhang.domain.calendar import BusinessDays, SettlementCalendar, Terms
from fenzhang.domain.clearing import IN_TRANSIT, PAID, Cycle, Outcome, Payout
from fenzhang.domain.schemes import STANDARD, Scheme, Schemes
from fenzhang.ledger.balances import by_kind, trial_balance
from fenzhang.sandboxbank.app import create_app
from fenzhang.sandboxbank.bank import SandboxBank
from fenzhang.store import tables
from fenzhang.store.banktables import BankPayment
from fenzhang.store.clearingtables import CycleRow, PayoutRow
from fenzhang.store.cycletables import CyclePlan, PlannedPayout
from fenzhang.store.reconciliationtables import Break, Comparison
from fenzhang.store.tables import AccountKind
from pipeline.harness import Pipeline
from support.parties import PAIR, Party, RuleRef

UTC = ZoneInfo("UTC")
EVERY_S = 600
PAYEES = {"honest": HONEST, "closed": CLOSED, "returning": RETURNING}


def continuous(name: str = STANDARD, **terms: int | None) -> Scheme:
    """A scheme whose cycles close every ten minutes and are due at once."""
    calendar = SettlementCalendar(BusinessDays(), Terms(UTC, (), EVERY_S, 0))
    return Scheme(name, calendar, **terms)  # type: ignore[arg-type]  # min_payout and net_debit_cap


def one_scheme(scheme: Scheme | None = None) -> Callable[[str], Schemes]:
    """The same scheme for everybody in every currency."""
    return lambda currency: Schemes(currency, {STANDARD: scheme or continuous()})


@dataclass
class House:
    """The pipeline, and what closes its cycles and pays. Nothing runs by itself; all clocks show the chain's time."""

    pipeline: Pipeline
    bank: SandboxBank
    schemes_of: Callable[[str], Schemes] = field(default_factory=one_scheme)
    config: ClosingConfig = field(default_factory=lambda: ClosingConfig(depth=1))
    signatory: Signatory = field(init=False)
    closer: Closer = field(init=False)
    sender: PayoutSender = field(init=False)
    reader: StatementReader = field(init=False)
    reconciler: Reconciler = field(init=False)
    _open: list[HttpBank | HttpSignatory] = field(default_factory=list)

    def __post_init__(self) -> None:
        transport = httpx.ASGITransport(create_app(self.bank))
        domain = self.pipeline.world.system.deployment.clearing_domain()
        self.signatory = HttpSignatory("http://bank", domain, transport=transport)
        self._open.append(self.signatory)

        def clock() -> float:
            return float(self.now)

        reached = HttpBank("sandbox", "http://bank", ISO20022, customer=CUSTOMER, transport=transport)
        self._open.append(reached)
        self.reconciler = Reconciler(self.pipeline.database, ReconciliationTerms(), clock=clock)
        self.reader = StatementReader(self.reconciler, VAULT, reached, clock)
        self.sender = PayoutSender(self.pipeline.database, VAULT, reached, clock, resend_after_s=1)
        self.restart()

    def restart(self) -> None:
        """A new process, which remembers nothing."""
        self.closer = self.new_closer()

    def new_closer(self, signatory: Signatory | None = None) -> Closer:
        """Another closer of the same database."""
        clearing = Clearing(
            signatory=signatory or self.signatory,
            schemes_of=self.schemes_of,
            payer=Payer("sandbox", ISO20022, VAULT),
            zone_of=lambda _platform: UTC,
            bill_depth=2,
            clock=lambda: float(self.now),
        )
        return Closer(self.pipeline.database, clearing, self.config)

    async def take_over(self) -> None:
        """The closer was killed long enough ago for its lease to have ended; a new one begins."""
        async with self.pipeline.database.write() as session:
            await session.execute(update(tables.Lease).values(expires_at=0))
        self.restart()

    async def close(self) -> None:
        """Close all connections."""
        for each in self._open:
            await each.close()
        self.bank.books.close()

    @property
    def now(self) -> int:
        """The chain's time."""
        return self.pipeline.world.node.now

    # -------------------------------------------------------------------------- what happens

    async def give_account(self, who: Party | None, account: BankAccount, currency: str = "CNY") -> None:
        """Store where somebody is paid; None is the clearing account that payouts come from."""
        owner = accounts.CLEARING_ACCOUNT if who is None else who.id
        async with self.pipeline.database.write() as session:
            await accounts.store_account(session, VAULT, owner, currency, account, now=self.now)

    async def settle(self, amount: int, rule: RuleRef = PAIR, currency: str = "CNY") -> bytes:
        """An order that is captured and split whole; the split's id."""
        world = self.pipeline.world
        order = world.capture(amount, rule=rule, currency=currency)
        split = world.split(order.order_id, amount)
        self.pipeline.owners[order.order_id] = rule.platform.id
        await self.pipeline.accept(order, split)
        await self.pipeline.settle_all()
        return split.id

    async def pass_cut_off(self) -> None:
        """Blocks up to the next cut-off, and as many behind it as must be there."""
        later = self.now - self.now % EVERY_S + EVERY_S
        await self.at(later)

    async def at(self, moment: int) -> None:
        """Blocks from a moment on, as many as must stand above one."""
        self.pipeline.world.node.next_block_at(moment)
        self.pipeline.mine(self.config.depth + 1)
        await self.pipeline.follow()

    async def read_statements(self) -> Registered:
        """All of the bank's statements of today; the breaks that come and go by them."""
        today = datetime.fromtimestamp(self.now, UTC).date()
        return (await self.reader.read(today)).registered

    async def breaks_at_close(self) -> dict[str, tuple[str, int | None]]:
        """Kinds and amounts of payouts' breaks, after a run that looked at all; the sandbox has money of nobody's."""
        await self.reconciler.run(Comparison.BANK, at_close=True)
        query = select(Break.subject, Break.kind, Break.amount).where(
            Break.present, Break.kind != "CUSTODY_DIFFERS"
        )
        async with self.pipeline.database.read() as session:
            return {row[0]: (row[1], row[2]) for row in await session.execute(query)}

    async def bank_payments(self) -> dict[str, tuple[int, str]]:
        """Amount and state of what went to the bank, by end-to-end id."""
        async with self.pipeline.database.read() as session:
            rows = await session.execute(
                select(BankPayment.end_to_end_id, BankPayment.amount, BankPayment.state)
            )
            return {row[0]: (row[1], row[2]) for row in rows}

    async def change_payment(self, end_to_end_id: str, **values: object) -> None:
        """Somebody changes what went to the bank."""
        async with self.pipeline.database.write() as session:
            await session.execute(
                update(BankPayment).where(BankPayment.end_to_end_id == end_to_end_id).values(**values)
            )

    async def round(self) -> bool:
        """Everybody's turn once. Whether the closer did anything."""
        done = await self.closer.tick()
        await self.pipeline.round()
        await self.sender.tick()
        return done

    async def run_dry(self, rounds: int = 40) -> None:
        """Rounds until nothing is left to do."""
        quiet = 0
        for _ in range(rounds):
            quiet = 0 if await self.round() else quiet + 1
            if quiet > self.config.depth + 2:
                return
        raise AssertionError("there is always something left to do")

    async def close_cycle(self) -> None:
        """A cut-off passes, and everything that follows from it."""
        await self.pass_cut_off()
        await self.run_dry()

    # -------------------------------------------------------------------------- what there is

    async def cycles(self) -> list[CycleRow]:
        """Closed on the chain, in order of their numbers."""
        async with self.pipeline.database.read() as session:
            return list((await session.execute(select(CycleRow).order_by(CycleRow.number))).scalars())

    async def plans(self) -> list[CyclePlan]:
        """All plans."""
        return await self.pipeline.rows(CyclePlan)

    async def payouts(self) -> dict[tuple[int, str], tuple[int, str, str | None]]:
        """Amount, state and reason by number of the cycle and name of the participant."""
        query = (
            select(CycleRow.number, tables.Participant.reference, PayoutRow)
            .join(PayoutRow, PayoutRow.cycle_id == CycleRow.cycle_id)
            .join(tables.Participant, tables.Participant.id == PayoutRow.participant_id)
        )
        async with self.pipeline.database.read() as session:
            return {
                (number, name): (row.amount, row.state, row.reason)
                for number, name, row in await session.execute(query)
            }

    async def is_in_transit(self) -> bool:
        """Whether the chain has not heard what became of some payout."""
        return any(state == "IN_TRANSIT" for _, state, _ in (await self.payouts()).values())

    async def left_out(self, number: int) -> dict[str, str]:
        """Why a cycle pays nothing to somebody, by name."""
        query = (
            select(tables.Participant.reference, PlannedPayout.left_out)
            .join(PlannedPayout, PlannedPayout.participant_id == tables.Participant.id)
            .join(CyclePlan, CyclePlan.id == PlannedPayout.plan_id)
            .where(CyclePlan.number == number, PlannedPayout.left_out.is_not(None))
        )
        async with self.pipeline.database.read() as session:
            return {name: reason or "" for name, reason in await session.execute(query)}

    async def held_by_kind(self, currency: str = "CNY") -> dict[AccountKind, int]:
        """What accounts hold, by kind."""
        async with self.pipeline.database.read() as session:
            sums = by_kind(await trial_balance(session))
        return {each.kind: each.balance for each in sums if each.currency == currency}

    async def check(self, *currencies: str) -> None:
        """Nothing was lost or doubled: captured = held + payable + in transit + paid + refund payable.

        Captured is what the chain says, paid what left the bank, and the chain agrees with the ledger.
        """
        world = self.pipeline.world
        self.bank.advance()
        for currency in currencies or ("CNY",):
            held = await self.held_by_kind(currency)
            captured, _ = world.totals(currency)
            paid = captured - held.pop(AccountKind.BANK_CUSTODY, 0)
            assert captured == sum(held.values()) + paid
            [transit, on_chain] = world.system.call(
                "LedgerView", "positions", currency.encode(), [IN_TRANSIT, PAID]
            )
            assert (held.get(AccountKind.IN_TRANSIT, 0), paid) == (transit, on_chain)
        times = self.bank.books.times_paid()
        assert set(times.values()) <= {1}
        await self.pipeline.check_reconciled()


@dataclass
class Moody:
    """A clearing bank that does what is in `answers` first."""

    bank: Signatory
    answers: list[Signed | Refused | BankUnavailable]

    async def sign_cycle(self, cycle: Cycle, payouts: Sequence[Payout]) -> Signed | Refused:
        """The next answer, or the bank's."""
        if not self.answers:
            return await self.bank.sign_cycle(cycle, payouts)
        answer = self.answers.pop(0)
        if isinstance(answer, BankUnavailable):
            raise answer
        return answer

    async def sign_report(self, cycle_id: bytes, outcomes: Sequence[Outcome]) -> Signed | Refused:
        """The bank's answer."""
        return await self.bank.sign_report(cycle_id, outcomes)


def house_of(pipeline: Pipeline, folder: Path, **options: object) -> House:
    """A clearing house with a bank of its own, which has the clearing account and the payees."""
    bank = SandboxBank(folder / "bank.db", lambda: float(pipeline.world.node.now))
    furnish(bank)
    return House(pipeline, bank, **options)  # type: ignore[arg-type]  # fields of House
