"""Lines and payouts out of the database, and what was found out about them back into it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Select, delete, func, literal_column, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.clearing import payments
from fenzhang.clearing.reconciliation.inferring import EARLIEST, LATEST, Open
from fenzhang.clearing.reconciliation.lines import reopen
from fenzhang.clearing.reconciliation.matching import Line, Matching, Payout
from fenzhang.store.banktables import BankFile, BankPayment, BankPaymentState
from fenzhang.store.bulk import chunks, insert_tuples, update_tuples
from fenzhang.store.reconciliationtables import (
    BankStatement,
    CustodyAccount,
    MatchedBy,
    StatementLineRow,
    StatementMatch,
)

NAMES: Final = 1_000
"""End-to-end ids that are looked at in one go."""
RETURNED_WITHIN: Final = timedelta(days=60)
"""How long after it was sent a payout may come back without a reference."""
_OPEN: Final[Any] = literal_column("(shown AND matched_by IS NULL)")
"""Written out: a partial index serves only a query that names its condition literally."""
_LINE: Final[Any] = (
    select(StatementLineRow, CustodyAccount.bank, CustodyAccount.currency)
    .join(BankStatement, BankStatement.id == StatementLineRow.statement_id)
    .join(CustodyAccount, CustodyAccount.id == BankStatement.account_id)
)
_PAYOUT: Final[Any] = select(
    BankPayment.end_to_end_id,
    BankFile.message_id,
    BankFile.bank,
    BankFile.currency,
    BankPayment.amount,
    BankFile.created_at,
    BankPayment.state,
).join(BankFile, BankFile.id == BankPayment.file_id)


async def open_names(session: AsyncSession) -> list[str]:
    """End-to-end ids of lines that are not matched, in order."""
    name = StatementLineRow.end_to_end_id
    query = select(name).where(_OPEN, name.is_not(None)).distinct()
    return sorted(each for each in (await session.execute(query)).scalars() if each is not None)


async def names_behind(session: AsyncSession, behind: str) -> list[str]:
    """Some of all end-to-end ids on statements, those behind `behind`, in order."""
    name = StatementLineRow.end_to_end_id
    query = select(name).where(StatementLineRow.shown, name > behind).distinct().order_by(name).limit(NAMES)
    return [each for each in (await session.execute(query)).scalars() if each is not None]


async def lines_naming(session: AsyncSession, names: Sequence[str]) -> list[Line]:
    """All lines that name one of these end-to-end ids."""
    found: list[Line] = []
    for part in chunks(names):
        query = _LINE.where(StatementLineRow.shown, StatementLineRow.end_to_end_id.in_(part))
        found += await _lines(session, query)
    return found


async def nameless(session: AsyncSession) -> list[Line]:
    """Open lines that name none, and matched ones that a reversal among them may be about."""
    row = StatementLineRow
    found = await _lines(session, _LINE.where(_OPEN, row.end_to_end_id.is_(None)).order_by(row.id))
    about = sorted({line.reference for line in found if line.reversal and line.reference is not None})
    for part in chunks(about):
        query = _LINE.where(
            row.shown,
            row.reference.in_(part),
            row.end_to_end_id.is_(None),
            row.matched_by.in_(("AMOUNT", "FILE", "FUNDING")),
        )
        found += await _lines(session, query.order_by(row.id))
    return found


async def payouts_named(session: AsyncSession, names: Sequence[str]) -> dict[str, Payout]:
    """Those that exist."""
    found: dict[str, Payout] = {}
    for part in chunks(names):
        rows = await session.execute(_PAYOUT.where(BankPayment.end_to_end_id.in_(part)))
        found |= {row.end_to_end_id: _payout(row) for row in rows}
    return found


async def choices(session: AsyncSession, lines: Sequence[Line]) -> Open:
    """Payouts that lines without a name may belong to."""
    days = [line.booked_on for line in lines if line.amount < 0 or line.is_return]
    returns = [line for line in lines if line.is_return]
    matched = select(StatementMatch.line_id).where(StatementMatch.end_to_end_id == BankPayment.end_to_end_id)
    unexplained: list[Payout] = []
    if days:
        query = _PAYOUT.where(
            ~matched.exists(),
            BankPayment.state != BankPaymentState.PREPARED,
            BankFile.created_at >= _moment(min(days) - LATEST),
            BankFile.created_at < _moment(max(days) + EARLIEST + timedelta(days=1)),
        )
        unexplained = [_payout(row) for row in await session.execute(query)]
    paid: list[Payout] = []
    for part in chunks(sorted({line.amount for line in returns})):
        first = min(line.booked_on for line in returns) - RETURNED_WITHIN
        net = (
            select(func.sum(StatementMatch.amount))
            .where(StatementMatch.end_to_end_id == BankPayment.end_to_end_id)
            .scalar_subquery()
        )
        query = _PAYOUT.where(BankPayment.amount.in_(part), BankFile.created_at >= _moment(first), net < 0)
        paid += [_payout(row) for row in await session.execute(query)]
    return Open(unexplained, paid)


async def keep(session: AsyncSession, lines: Sequence[Line], found: Matching, *, now: int) -> int:
    """Write down what came of these lines and what it says of payouts; how many lines were matched anew."""
    stored: dict[int, str | None] = {}
    for part in chunks([line.id for line in lines]):
        query = select(StatementLineRow.id, StatementLineRow.matched_by).where(StatementLineRow.id.in_(part))
        stored |= {row.id: row.matched_by for row in await session.execute(query)}
    became = {
        number: found.matches[number].by.value if number in found.matches else None for number in stored
    }
    changed = [number for number, by in became.items() if by != stored[number]]
    for part in chunks(changed):
        await session.execute(delete(StatementMatch).where(StatementMatch.line_id.in_(part)))
    await update_tuples(
        session,
        StatementLineRow,
        ("matched_by", "break_id", "id"),
        [(became[number], None, number) for number in changed],
    )
    await insert_tuples(
        session,
        StatementMatch,
        ("line_id", "end_to_end_id", "amount"),
        [
            (number, *share)
            for number in changed
            if number in found.matches
            for share in found.matches[number].shares
        ],
    )
    await payments.apply(session, found.said, now=now)
    return sum(became[number] is not None for number in changed)


async def forget_guesses(session: AsyncSession, names: Sequence[str]) -> None:
    """Lines that name nothing lose the payouts that other lines name now."""
    named = select(StatementMatch.end_to_end_id).join(
        StatementLineRow, StatementLineRow.id == StatementMatch.line_id
    )
    for part in chunks(names):
        query = named.where(StatementMatch.end_to_end_id.in_(part), StatementLineRow.end_to_end_id.is_(None))
        await reopen(session, sorted(set((await session.execute(query)).scalars())))


async def overdue(session: AsyncSession, before: int, only: Sequence[str] | None = None) -> list[Payout]:
    """Payouts that the bank said it paid before a moment and no line shows; of `only` if it is given."""
    matched = select(StatementMatch.line_id).where(StatementMatch.end_to_end_id == BankPayment.end_to_end_id)
    query = _PAYOUT.where(
        BankPayment.state == BankPaymentState.PAID, BankPayment.changed_at < before, ~matched.exists()
    )
    found: list[Payout] = []
    for part in [None] if only is None else chunks(only):
        some = true() if part is None else BankPayment.end_to_end_id.in_(part)
        found += [_payout(row) for row in await session.execute(query.where(some))]
    return found


async def disputed(session: AsyncSession) -> list[Payout]:
    """Payouts of which the bank said two things."""
    state: Any = literal_column("bank_payments.state IN ('SENT', 'DISPUTED')")  # as the partial index has it
    rows = await session.execute(_PAYOUT.where(state, BankPayment.state == BankPaymentState.DISPUTED))
    return [_payout(row) for row in rows]


async def _lines(session: AsyncSession, query: Select[Any]) -> list[Line]:
    return [_line(row, bank, currency) for row, bank, currency in await session.execute(query)]


def _line(row: StatementLineRow, bank: str, currency: str) -> Line:
    return Line(
        row.id,
        bank,
        currency,
        date.fromisoformat(row.booked_on),
        row.amount,
        row.end_to_end_id,
        row.reference,
        row.message_id,
        row.reason,
        row.reversal,
        row.is_part,
        None if row.matched_by is None else MatchedBy(row.matched_by),
    )


def _payout(row: Any) -> Payout:
    sent_on = datetime.fromtimestamp(row.created_at, UTC).date()
    return Payout(
        row.end_to_end_id,
        row.message_id,
        row.bank,
        row.currency,
        row.amount,
        sent_on,
        BankPaymentState(row.state),
    )


def _moment(day: date) -> int:
    return int(datetime.combine(day, datetime.min.time(), UTC).timestamp())
