"""What makes up for a break: a posting, record, payout or break that exists, linked to it by a new row.

Nothing that was posted is changed. Money on the chain moves by records alone, so what balances the ledger is a later
record, such as that of a returned payout; what balances the bank is another break, such as the money that came back.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.clearing.reconciliation import breaks
from fenzhang.clearing.reconciliation.breaks import Word
from fenzhang.clearing.reconciliation.errors import BreakReferenceTaken, InvalidCorrection
from fenzhang.store.banktables import BankFile, BankPayment
from fenzhang.store.reconciliationtables import Break, BreakEvent, Correction, CorrectionTarget
from fenzhang.store.tables import Account, Posting, Record

_MAX_NUMBER = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Named:
    """What a correction refers to: the number of a posting, record or break, or a payout's end-to-end id."""

    target: CorrectionTarget
    id: str


async def resolve(
    session: AsyncSession, number: int, word: Word, correction: Named | None = None
) -> tuple[Break, bool]:
    """Resolve a break, with what makes up for it if anything does; whether that is new.

    Raises what breaks.resolve does, and InvalidCorrection.
    """
    row, event = await breaks.resolve(session, number, word)
    if event is None:
        if await _linked(session, number, word) != correction:
            raise BreakReferenceTaken(
                f"out_request_no {word.reference} was used for something else", field="out_request_no"
            )
        return row, False
    if correction is not None:
        currency, amount = await _worth(session, row, correction)
        session.add(
            Correction(
                break_id=row.id,
                event_id=event.id,
                target=correction.target.value,
                target_id=correction.id,
                currency=currency,
                amount=amount,
            )
        )
        await session.flush()
    return row, True


async def of(session: AsyncSession, number: int) -> list[Correction]:
    """Those of a break."""
    query = select(Correction).where(Correction.break_id == number).order_by(Correction.id)
    return list((await session.execute(query)).scalars())


async def _linked(session: AsyncSession, number: int, word: Word) -> Named | None:
    query = (
        select(Correction.target, Correction.target_id)
        .join(BreakEvent, BreakEvent.id == Correction.event_id)
        .where(
            Correction.break_id == number,
            BreakEvent.who == word.who,
            BreakEvent.reference == word.reference,
        )
    )
    found = (await session.execute(query)).one_or_none()
    return None if found is None else Named(CorrectionTarget(found[0]), found[1])


async def _worth(session: AsyncSession, row: Break, correction: Named) -> tuple[str | None, int | None]:
    """Currency and amount of what is named. Raises InvalidCorrection where they do not make up for the break."""
    if correction.target is CorrectionTarget.BREAK and correction.id == str(row.id):
        raise InvalidCorrection("correction.id", "a break does not make up for itself")
    found = await _find(session, correction)
    if found is None:
        raise InvalidCorrection("correction.id", f"there is no such {correction.target}")
    currency, amount = found
    if row.currency is not None and currency is not None and currency != row.currency:
        raise InvalidCorrection("correction.id", f"it is in {currency}, and the break in {row.currency}")
    if row.amount is not None and amount is not None and abs(amount) != abs(row.amount):
        raise InvalidCorrection(
            "correction.id", f"it is about {abs(amount)}, and the break about {abs(row.amount)}"
        )
    return currency, amount


async def _find(session: AsyncSession, correction: Named) -> tuple[str | None, int | None] | None:
    if correction.target is CorrectionTarget.PAYOUT:
        payout = (
            select(BankFile.currency, BankPayment.amount)
            .join(BankFile, BankFile.id == BankPayment.file_id)
            .where(BankPayment.end_to_end_id == correction.id)
        )
        return _pair((await session.execute(payout)).one_or_none())
    number = int(correction.id) if correction.id.isdecimal() and correction.id.isascii() else 0
    if not 1 <= number <= _MAX_NUMBER:
        raise InvalidCorrection("correction.id", f"a {correction.target} has a number")
    match correction.target:
        case CorrectionTarget.POSTING:
            query = (
                select(Account.currency, Posting.amount)
                .join(Account, Account.id == Posting.debit_account_id)
                .where(Posting.id == number)
            )
            return _pair((await session.execute(query)).one_or_none())
        case CorrectionTarget.RECORD:
            return await _record(session, number)
    one = (
        await session.execute(select(Break.currency, Break.amount).where(Break.id == number))
    ).one_or_none()
    return _pair(one)


async def _record(session: AsyncSession, number: int) -> tuple[str | None, int | None] | None:
    """A record's own amount; its currency is that of its postings, if it has any."""
    amount = (await session.execute(select(Record.amount).where(Record.id == number))).scalar_one_or_none()
    if amount is None:
        return None
    query = (
        select(Account.currency)
        .join(Posting, Posting.debit_account_id == Account.id)
        .where(Posting.record_id == number)
        .limit(1)
    )
    return (await session.execute(query)).scalar_one_or_none(), amount


def _pair(row: object) -> tuple[str | None, int | None] | None:
    return None if row is None else tuple(row)  # type: ignore[arg-type,return-value]  # a row of these two columns
