"""The links of the journal's hash chain, as the mirror writes them; `domain.journal` says what they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from fenzhang.domain.journal import NO_LINK, Line, Link, line, links
from fenzhang.ledger.chart import AccountKey
from fenzhang.store.bulk import insert_tuples
from fenzhang.store.tables import Account, JournalLink, Posting, Record

_Debited, _Credited = aliased(Account), aliased(Account)


async def head(session: AsyncSession) -> Link:
    """The newest link, NO_LINK before the first."""
    found = (await session.execute(stored_links().order_by(JournalLink.number.desc()).limit(1))).first()
    return NO_LINK if found is None else Link(*found)


async def head_at(session: AsyncSession, block_number: int) -> Link:
    """The newest link of blocks up to this one, NO_LINK if there is none. It is what a cycle anchors.

    It stays the same as long as no reorganisation goes back beyond the block.
    """
    query = stored_links().where(JournalLink.block_number <= block_number)
    found = (await session.execute(query.order_by(JournalLink.number.desc()).limit(1))).first()
    return NO_LINK if found is None else Link(*found)


def stored_links() -> Select[int, int, int, bytes]:
    """A query for rows that are the fields of a Link."""
    return select(JournalLink.number, JournalLink.last_posting, JournalLink.block_number, JournalLink.hash)


def stored_postings() -> Select[*tuple[Any, ...]]:
    """A query for postings by number; `line_of` reads its rows. What an account or record does not say is None."""
    return (
        select(
            Posting.id,
            _Debited.kind.label("debit_kind"),
            _Debited.currency.label("debit_currency"),
            _Debited.participant_id.label("debited"),
            _Credited.kind.label("credit_kind"),
            _Credited.currency.label("credit_currency"),
            _Credited.participant_id.label("credited"),
            Posting.amount,
            Record.leaf,
            Posting.block_number,
            Posting.reverses_id,
            Posting.record_id,
        )
        .select_from(Posting)
        .outerjoin(_Debited, _Debited.id == Posting.debit_account_id)
        .outerjoin(_Credited, _Credited.id == Posting.credit_account_id)
        .outerjoin(Record, Record.id == Posting.record_id)
        .order_by(Posting.id)
    )


def accounts_of(row: Row[Any]) -> tuple[AccountKey, AccountKey]:
    """Debit and credit of a row of `stored_postings`."""
    return (
        AccountKey(row.debit_kind, row.debit_currency, row.debited),
        AccountKey(row.credit_kind, row.credit_currency, row.credited),
    )


def line_of(row: Row[Any]) -> Line:
    """A row of `stored_postings`."""
    debit, credit = accounts_of(row)
    return line(
        row.id,
        debit,
        credit,
        amount=row.amount,
        leaf=row.leaf,
        block_number=row.block_number,
        reverses=row.reverses_id,
    )


async def insert_links(session: AsyncSession, new: Sequence[Link]) -> None:
    """Append links to the chain. There is one writer, the mirror."""
    await insert_tuples(session, JournalLink, Link._fields, new)


async def link_stored(session: AsyncSession, first: int) -> None:
    """Link the postings from number `first` on, which were just written, as the database has them."""
    rows = await session.execute(stored_postings().where(Posting.id >= first))
    lines = [line_of(row) for row in rows]
    await insert_links(session, list(links(await head(session), lines)))
