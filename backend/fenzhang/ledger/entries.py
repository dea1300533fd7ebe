"""Postings with all that explains them: the record, its place on the chain, both accounts, and what corrects what."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import Row, Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from fenzhang.domain.records import RecordKind
from fenzhang.ledger.chart import AccountKey
from fenzhang.store.tables import Account, Block, Posting, Record

_Debited, _Credited, _Reversal = aliased(Account), aliased(Account), aliased(Posting)


class Entry(NamedTuple):
    """A posting. `amount` is in minor units of the accounts' currency."""

    posting: int
    debit: AccountKey
    credit: AccountKey
    amount: int
    block_number: int
    time: int | None
    """Unix time of the block. None where a reorganisation took the block away: its time is not kept."""
    record: int
    kind: RecordKind
    batch: int
    tx_hash: bytes
    order_id: bytes
    instruction_id: bytes
    reverses: int | None
    """The posting that this one takes back, because its block is not on the chain any more."""
    reversed_by: int | None
    """The posting that takes this one back."""
    cycle_id: bytes | None
    """Of what became of a payout: its cycle. The payout is `instruction_id`."""
    reason: str | None
    """Of a payout that failed or came back: the bank's code."""


async def last_posting(session: AsyncSession) -> int:
    """Number of the newest posting, 0 for none. What has no higher number never changes."""
    return (await session.execute(select(func.max(Posting.id)))).scalar() or 0


def entries(newest: int) -> Select[*tuple[Any, ...]]:
    """A query for postings up to the number `newest`, as if none had come after it. `entry_of` reads its rows."""
    reversal = (_Reversal.reverses_id == Posting.id) & (_Reversal.id <= newest)
    return (
        select(
            Posting.id,
            _Debited.kind,
            _Debited.currency,
            _Debited.participant_id,
            _Credited.kind,
            _Credited.currency,
            _Credited.participant_id,
            Posting.amount,
            Posting.block_number,
            Block.timestamp,
            Record.id,
            Record.kind,
            Record.batch,
            Record.tx_hash,
            Record.order_id,
            Record.instruction_id,
            Posting.reverses_id,
            _Reversal.id,
            Record.cycle_id,
            Record.reason,
        )
        .select_from(Posting)
        .join(Record, Record.id == Posting.record_id)
        .join(_Debited, _Debited.id == Posting.debit_account_id)
        .join(_Credited, _Credited.id == Posting.credit_account_id)
        .outerjoin(_Reversal, reversal)
        .outerjoin(Block, Block.number == Posting.block_number)
        .where(Posting.id <= newest)
    )


def entry_of(row: Row[*tuple[Any, ...]]) -> Entry:
    """A row of the query `entries`."""
    (
        posting,
        debit_kind,
        debit_currency,
        debited,
        credit_kind,
        credit_currency,
        credited,
        amount,
        block_number,
        time,
        record,
        kind,
        batch,
        tx_hash,
        order_id,
        instruction_id,
        reverses,
        reversed_by,
        cycle_id,
        reason,
    ) = row
    return Entry(
        posting,
        AccountKey(debit_kind, debit_currency, debited),
        AccountKey(credit_kind, credit_currency, credited),
        amount,
        block_number,
        time if reverses is None and reversed_by is None else None,
        record,
        RecordKind(kind),
        batch,
        tx_hash,
        order_id,
        instruction_id,
        reverses,
        reversed_by,
        cycle_id,
        reason["code"] if reason else None,
    )
