"""What a bank's statements say about payouts, and what in them nobody can explain.

Lines may come twice, in parts or merged, and be reversed. So what counts is what the booked lines of a document do to
each end-to-end id together: the payout's amount out, or out and in again, or in again. Anything else is a finding.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.clearing import payments
from fenzhang.clearing.model import LineStatus, PayoutState, PayoutStatus, Report, StatementLine
from fenzhang.store.banktables import BankFile, BankPayment
from fenzhang.store.bulk import chunks


class Problem(StrEnum):
    """Why a line explains no payout."""

    NO_REFERENCE = "NO_REFERENCE"
    """It names no end-to-end id."""
    NOT_OURS = "NOT_OURS"
    """No payout was ever prepared with its end-to-end id."""
    OTHER_AMOUNT = "OTHER_AMOUNT"
    """The lines of an end-to-end id add up to something that is not its payout."""
    OTHER_CURRENCY = "OTHER_CURRENCY"
    UNREADABLE = "UNREADABLE"
    """The document is not what it claims to be; `reference` is what is wrong."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something on a statement that somebody must explain. Amount in minor units of the statement's currency."""

    problem: Problem
    amount: int
    end_to_end_id: str | None = None
    reference: str | None = None


@dataclass(slots=True)
class _Moved:
    """What the booked lines do to one end-to-end id."""

    amount: int = 0
    returned: int = 0
    reason: str | None = None


async def apply_report(session: AsyncSession, report: Report, *, now: int) -> list[Finding]:
    """Change the states of payouts by a statement or notification; what it says and nobody can explain.

    Applying a document again, or a document that repeats another, changes nothing more. Does not commit.
    """
    moved, findings = _moved(report.lines)
    known = await _known(session, sorted(moved))
    said: dict[str, list[PayoutStatus]] = {}
    for end_to_end_id, told in moved.items():
        if end_to_end_id not in known:
            findings.append(Finding(Problem.NOT_OURS, told.amount, end_to_end_id))
            continue
        amount, currency = known[end_to_end_id]
        statuses = _statuses(told, amount)
        if currency != report.currency:
            findings.append(Finding(Problem.OTHER_CURRENCY, told.amount, end_to_end_id))
        elif statuses is None:
            findings.append(Finding(Problem.OTHER_AMOUNT, told.amount, end_to_end_id))
        else:
            said[end_to_end_id] = statuses
    await payments.apply(session, said, now=now)
    return findings


def _moved(lines: tuple[StatementLine, ...]) -> tuple[dict[str, _Moved], list[Finding]]:
    moved: dict[str, _Moved] = {}
    findings: list[Finding] = []
    for line in lines:
        if line.status is not LineStatus.BOOKED:
            continue
        if not line.parts:
            findings.append(Finding(Problem.NO_REFERENCE, line.amount, reference=line.reference))
        for part in line.parts:
            if part.end_to_end_id is None:
                findings.append(Finding(Problem.NO_REFERENCE, part.amount, reference=line.reference))
                continue
            told = moved.setdefault(part.end_to_end_id, _Moved())
            told.amount += part.amount
            if part.reason is not None:
                told.reason = part.reason
                told.returned += part.amount
    return moved, findings


def _statuses(told: _Moved, amount: int) -> list[PayoutStatus] | None:
    """What happened to a payout of `amount`, None if that is no story. A return says that it was paid before."""
    paid, came_back = PayoutStatus(PayoutState.PAID), PayoutStatus(PayoutState.FAILED, told.reason)
    match told.amount, told.returned:
        case (net, 0) if net == -amount:
            return [paid]
        case (net, returned) if returned == amount and net in {0, amount}:
            return [paid, came_back]
        case (0, 0):
            return []  # booked and reversed: nothing happened
    return None


async def _known(session: AsyncSession, end_to_end_ids: list[str]) -> dict[str, tuple[int, str]]:
    """Amount and currency of the payouts that were prepared."""
    found: dict[str, tuple[int, str]] = {}
    for part in chunks(end_to_end_ids):
        query = (
            select(BankPayment.end_to_end_id, BankPayment.amount, BankFile.currency)
            .join(BankFile, BankFile.id == BankPayment.file_id)
            .where(BankPayment.end_to_end_id.in_(part))
        )
        found |= {row[0]: (row[1], row[2]) for row in (await session.execute(query)).all()}
    return found
