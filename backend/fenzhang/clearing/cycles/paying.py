"""Payouts in transit go into files for the bank, each once; what becomes of them there is reported to the chain."""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, delete, literal_column, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.clearing import payments
from fenzhang.clearing.accounts import CLEARING_ACCOUNT, accounts_of
from fenzhang.clearing.banks.signatory import Signed
from fenzhang.clearing.cycles.choosing import Deep
from fenzhang.clearing.cycles.queueing import queue
from fenzhang.clearing.formats import Format
from fenzhang.clearing.model import (
    MAX_BANK_AMOUNT,
    MAX_PAYOUTS,
    UNEXPLAINED,
    BankAccount,
    PayoutFile,
    PayoutOrder,
)
from fenzhang.clearing.vault import Vault
from fenzhang.domain.clearing import Outcome, OutcomeKind
from fenzhang.store import payloads
from fenzhang.store.banktables import BankPayment, BankPaymentState
from fenzhang.store.bulk import chunks
from fenzhang.store.clearingtables import PayoutRow, PayoutRowState
from fenzhang.store.cycletables import CyclePlan, PlannedPayout, PlanState, ReportedOutcome
from fenzhang.store.plans import plan_with
from fenzhang.store.tables import Instruction, InstructionState, InstructionType

_AT_ONCE = 10_000
# Written out, as the conditions of partial indexes are: they serve only a query that names them literally.
_IN_TRANSIT: ColumnElement[str] = literal_column(f"'{PayoutRowState.IN_TRANSIT.value}'")
_RETURNED: ColumnElement[str] = literal_column(f"'{BankPaymentState.RETURNED.value}'")
_DECIDED = (BankPaymentState.PAID.value, BankPaymentState.FAILED.value, BankPaymentState.RETURNED.value)


@dataclass(frozen=True, slots=True)
class Payer:
    """By which bank payouts are made, and who can open what is stored about accounts."""

    bank: str
    """As `serve payouts` has its name."""
    format: Format
    vault: Vault


@dataclass(frozen=True, slots=True)
class ToReport:
    """What became of payouts of a plan, not reported yet."""

    plan_id: int
    cycle_id: bytes
    outcomes: tuple[Outcome, ...]


@dataclass(slots=True)
class Prepared:
    """What was put into files, and why not all."""

    payouts: int = 0
    missing: list[str] = field(default_factory=list)
    """Participants, or 32 zero bytes for the clearing account, and the currency in which they have no account."""


async def prepare_files(session: AsyncSession, payer: Payer, deep: Deep, now: int) -> Prepared:
    """Put payouts that were taken `deep` enough into files for the bank.

    Exactly once: an end-to-end id that was in a file before is never put into one again. Does not commit.
    """
    prepared = Prepared()
    by_currency: dict[str, list[tuple[PlannedPayout, CyclePlan]]] = {}
    for payout, plan in await waiting(session, deep, _AT_ONCE):
        by_currency.setdefault(plan.currency, []).append((payout, plan))
    for currency, rows in by_currency.items():
        owners = sorted({payout.participant_id for payout, _ in rows} | {CLEARING_ACCOUNT})
        accounts = await accounts_of(session, payer.vault, owners, currency)
        debtor = accounts.get(CLEARING_ACCOUNT)
        prepared.missing += [f"0x{owner.hex()} {currency}" for owner in owners if owner not in accounts]
        if debtor is None:
            continue
        orders = [
            _order(payout, plan, accounts[payout.participant_id])
            for payout, plan in rows
            if payout.participant_id in accounts
        ]
        for part in _parts(orders):
            file = _file(currency, debtor, part, now)
            await payments.prepare(session, payer.vault, payer.bank, payer.format, file, now=now)
            prepared.payouts += len(part)
    return prepared


async def waiting(session: AsyncSession, deep: Deep, limit: int) -> Sequence[tuple[PlannedPayout, CyclePlan]]:
    """Payouts that were taken `deep` enough and are in no file, by cycle and index."""
    query = (
        select(PlannedPayout, CyclePlan)
        .join(CyclePlan, CyclePlan.id == PlannedPayout.plan_id)
        .join(PayoutRow, PayoutRow.payout_id == PlannedPayout.payout_id)
        .outerjoin(BankPayment, BankPayment.end_to_end_id == PlannedPayout.end_to_end_id)
        .where(
            PayoutRow.state == _IN_TRANSIT,
            PayoutRow.block_number <= deep.number,
            BankPayment.end_to_end_id.is_(None),
            CyclePlan.state.in_([PlanState.SIGNED.value, PlanState.TAKEN.value]),
        )
        .order_by(CyclePlan.currency, PlannedPayout.plan_id, PlannedPayout.index)
        .limit(limit)
    )
    return [(payout, plan) for payout, plan in await session.execute(query)]


def _order(payout: PlannedPayout, plan: CyclePlan, creditor: BankAccount) -> PayoutOrder:
    remittance = f"分账 {plan.currency} {plan.scheme} {plan.number}"
    return PayoutOrder(payout.end_to_end_id or "", payout.amount, creditor, remittance)


def _parts(orders: Sequence[PayoutOrder]) -> Iterator[tuple[PayoutOrder, ...]]:
    """As many as a file may have, and as much."""
    part: list[PayoutOrder] = []
    total = 0
    for order in orders:
        if part and (len(part) == MAX_PAYOUTS or total + order.amount > MAX_BANK_AMOUNT):
            yield tuple(part)
            part, total = [], 0
        part.append(order)
        total += order.amount
    if part:
        yield tuple(part)


def _file(currency: str, debtor: BankAccount, orders: tuple[PayoutOrder, ...], now: int) -> PayoutFile:
    digest = sha256("".join(order.end_to_end_id for order in orders).encode()).digest()
    moment = datetime.fromtimestamp(now, UTC)
    message_id = "FZM" + b32encode(digest[:20]).decode()
    return PayoutFile(message_id, moment, debtor, moment.date(), currency, orders)


# ------------------------------------------------------------------------------ what the bank says


async def to_report(session: AsyncSession, chunk: Callable[[int], int], again_before: int) -> list[ToReport]:
    """What the bank said of payouts and the chain does not know, in parts as `chunk` says by the payouts of a cycle.

    Without what a report says that has no outcome, or that was brought to the chain after `again_before` (Unix seconds
    of the chain).
    """
    on_its_way = and_(PayoutRow.state == _IN_TRANSIT, BankPayment.state.in_(_DECIDED))
    came_back = and_(BankPayment.state == _RETURNED, PayoutRow.state == PayoutRowState.PAID.value)
    found: dict[bytes, tuple[_Plan, list[Outcome]]] = {}
    for what in (on_its_way, came_back):  # apart, for each has an index of its own
        for *plan, payout_id, state, said, reason in await session.execute(_said().where(what)):
            outcomes = _outcomes(payout_id, state, said, reason or UNEXPLAINED)
            found[payout_id] = (_Plan(*plan), outcomes)
    under_way = await _under_way(session, list(found), again_before)
    by_plan: dict[_Plan, list[Outcome]] = {}
    for of, outcomes in found.values():
        fresh = [each for each in outcomes if (each.payout_id, each.kind.name) not in under_way]
        by_plan.setdefault(of, []).extend(fresh)
    return [
        ToReport(of.id, of.cycle_id, tuple(part))
        for of, outcomes in by_plan.items()
        for part in chunks(outcomes, chunk(of.payouts))
    ]


class _Plan(NamedTuple):
    """What a report needs of a plan."""

    id: int
    cycle_id: bytes
    payouts: int


def _said() -> Select[*tuple[Any, ...]]:
    """What chain and bank say of payouts, by plan and index."""
    return (
        select(
            PlannedPayout.plan_id,
            CyclePlan.cycle_id,
            CyclePlan.payouts,
            PayoutRow.payout_id,
            PayoutRow.state,
            BankPayment.state.label("said"),
            BankPayment.reason,
        )
        .join(CyclePlan, CyclePlan.id == PlannedPayout.plan_id)
        .join(PayoutRow, PayoutRow.payout_id == PlannedPayout.payout_id)
        .join(BankPayment, BankPayment.end_to_end_id == PlannedPayout.end_to_end_id)
        # A void plan and the one in its place may have the same payout.
        .where(CyclePlan.state != PlanState.VOID.value)
        .order_by(PlannedPayout.plan_id, PlannedPayout.index)
        .limit(_AT_ONCE)
    )


def _outcomes(payout_id: bytes, state: str, said: str, reason: str) -> list[Outcome]:
    """What the chain has to be told, in its order: what came back was paid before."""
    paid, returned = Outcome(payout_id, OutcomeKind.PAID), Outcome(payout_id, OutcomeKind.RETURNED, reason)
    match said:
        case BankPaymentState.PAID:
            return [paid]
        case BankPaymentState.FAILED:
            return [Outcome(payout_id, OutcomeKind.FAILED, reason)]
        case _:
            return [returned] if state == PayoutRowState.PAID else [paid, returned]


async def _under_way(
    session: AsyncSession, payout_ids: Sequence[bytes], again_before: int
) -> set[tuple[bytes, str]]:
    """Outcomes of these payouts that a report says which has no end yet, or too new a one."""
    found: set[tuple[bytes, str]] = set()
    for chunk in chunks(payout_ids):
        query = (
            select(ReportedOutcome.payout_id, ReportedOutcome.kind)
            .join(Instruction, Instruction.seq == ReportedOutcome.instruction_seq)
            .where(
                ReportedOutcome.payout_id.in_(chunk),
                or_(
                    Instruction.state.in_([InstructionState.ACCEPTED, InstructionState.SUBMITTED]),
                    Instruction.accepted_at > again_before,
                ),
            )
        )
        found |= {(payout, kind) for payout, kind in await session.execute(query)}
    return found


async def queue_report(session: AsyncSession, report: ToReport, signed: Signed) -> None:
    """Bring a signed report to the chain. Does not commit."""
    plan = await plan_with(session, report.plan_id)
    ids = [outcome.payout_id for outcome in report.outcomes]
    reporting = payloads.Reporting(plan.id, plan.cycle_id, report.outcomes, signed.bank, signed.signature)
    digest = sha256(signed.signature + b"".join(ids)).hexdigest()[:12]
    last = (await session.execute(select(Instruction.seq).order_by(Instruction.seq.desc()).limit(1))).scalar()
    seq = await queue(session, InstructionType.REPORT, plan, f"report.{last or 0}.{digest}", reporting)
    for outcome in report.outcomes:
        known = (outcome.payout_id, outcome.kind.name)
        await session.execute(
            delete(ReportedOutcome).where(
                ReportedOutcome.payout_id == known[0], ReportedOutcome.kind == known[1]
            )
        )
        session.add(ReportedOutcome(payout_id=known[0], kind=known[1], instruction_seq=seq))
    await session.flush()
