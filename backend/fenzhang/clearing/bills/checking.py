"""Whether a bill says what the ledger says: its totals against the postings, read in another way than its lines."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.clearing.bills.errors import BillDoesNotAddUp
from fenzhang.clearing.bills.lines import SETTLED, Balance, BillKind, Subject, Totals
from fenzhang.domain.days import Day
from fenzhang.domain.records import RecordKind
from fenzhang.ledger.balances import position
from fenzhang.ledger.moments import first_block_from
from fenzhang.store.sums import half_sums, whole
from fenzhang.store.tables import OF_NO_ORDER, Account, Allocation, Order, Participant, Posting, Record

_Blocks = tuple[int, int]
"""First block of the day, and first block after it."""


async def blocks_of(session: AsyncSession, day: Day) -> _Blocks:
    """The mirrored blocks of a day that is over: the first, and the first one after it."""
    first, behind = await first_block_from(session, day.begin), await first_block_from(session, day.end)
    return first or 0, behind or 0


async def balances_of(session: AsyncSession, subject: Subject, blocks: _Blocks) -> list[Balance]:
    """The positions of a participant before and after the day, by currency; those that were 0 at both are left out."""
    ids = subject.positions
    if not ids:
        return []
    first, behind = blocks
    opening = await position(session, ids, first - 1)
    closing = await position(session, ids, behind - 1)
    return [
        Balance(currency, number != ids[0], opening[number, currency], closing[number, currency])
        for number, currency in sorted(opening, key=lambda key: (key[1], key[0] != ids[0]))
    ]


async def check(
    session: AsyncSession, subject: Subject, blocks: _Blocks, totals: Totals, balances: list[Balance]
) -> None:
    """Compare the totals with the postings of the day. Raises BillDoesNotAddUp."""
    if subject.kind is BillKind.PARTICIPANT:
        _check_positions(totals, balances)
        return
    told = {
        (kind, currency): each.amount
        for (kind, state, currency, _), each in totals.sums.items()
        if state == SETTLED and each.amount
    }
    posted: defaultdict[tuple[str, str], int] = defaultdict(int)
    queries = [_of_orders(subject)]
    if subject.kind is BillKind.PLATFORM:
        queries += [_of_resolutions(subject), _of_payouts(subject)]
    for query in queries:
        within = query.where(Posting.block_number >= blocks[0], Posting.block_number < blocks[1])
        for kind, currency, high, low in await session.execute(within):
            posted[RecordKind(kind).name, currency] += whole(high, low)
    if told != posted:
        differing = [key for key in told.keys() | posted.keys() if told.get(key, 0) != posted.get(key, 0)]
        kind, currency = min(differing)
        raise BillDoesNotAddUp(
            f"the bill has {told.get((kind, currency), 0)} {currency} of {kind}, the ledger "
            f"{posted.get((kind, currency), 0)}",
            kind=kind,
            currency=currency,
        )


def _check_positions(totals: Totals, balances: list[Balance]) -> None:
    for balance in balances:
        change = totals.change(balance.currency, parked=balance.parked)
        if balance.opening + change != balance.closing:
            raise BillDoesNotAddUp(
                f"a position of {balance.opening} {balance.currency} changed by {change} and is {balance.closing}",
                currency=balance.currency,
                opening=balance.opening,
                change=change,
                closing=balance.closing,
            )


def _posted() -> Select[*tuple[Any, ...]]:
    return (
        select(Record.kind, Account.currency, *half_sums(Posting.amount))
        .select_from(Posting)
        .join(Record, Record.id == Posting.record_id)
        .join(Account, Account.id == Posting.debit_account_id)
        .where(Record.canonical.is_(True), Posting.reverses_id.is_(None))
        .group_by(Record.kind, Account.currency)
    )


def _of_orders(subject: Subject) -> Select[*tuple[Any, ...]]:
    query = _posted().join(Order, Order.order_id == Record.order_id)
    query = query.where(Order.platform_id == subject.platform_id)
    if subject.kind is BillKind.MERCHANT:
        query = query.where(Order.merchant == subject.participant_id)
    return query


def _of_resolutions(subject: Subject) -> Select[*tuple[Any, ...]]:
    """They are of no order: they are the platform's whose participant they are about."""
    return (
        _posted()
        .join(Participant, Participant.id == Record.instruction_id)
        .where(OF_NO_ORDER, Record.kind == RecordKind.RESOLUTION)
        .where(Participant.platform_id == subject.platform_id)
    )


def _of_payouts(subject: Subject) -> Select[*tuple[Any, ...]]:
    """As resolutions: the platform's that enrolled the participant."""
    return (
        _posted()
        .join(Allocation, Allocation.record_id == Record.id)
        .join(Participant, Participant.id == Allocation.recipient)
        .where(Record.cycle_id.is_not(None), Participant.platform_id == subject.platform_id)
    )
