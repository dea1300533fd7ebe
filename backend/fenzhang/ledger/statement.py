"""The statement of an account: what it held before some blocks, every posting in them, and what it held after.

Pages of a statement fit together whatever is posted meanwhile: the first one fixes the blocks and the newest posting.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from heapq import merge
from typing import NamedTuple, Self

from sqlalchemy import ColumnElement, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from fenzhang.domain.errors import InvalidInput
from fenzhang.ledger.balances import balance_of
from fenzhang.ledger.chart import AccountKey
from fenzhang.ledger.entries import Entry, entries, entry_of, last_posting
from fenzhang.ledger.moments import BlockRange
from fenzhang.store.sums import half_sums, whole
from fenzhang.store.tables import Account, AccountKind, Posting

CURSOR_PATTERN = "^[0-9]{1,18}(-[0-9]{1,18}){4}$"
_CURSOR = re.compile(CURSOR_PATTERN.removesuffix("$") + r"\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page begins: behind posting `posting` of block `block`, in the blocks `first` to `last`."""

    first: int
    last: int
    newest: int
    """Number of the last posting that belongs to the statement."""
    block: int
    posting: int

    @classmethod
    def read(cls, cursor: str) -> Self:
        """The place that a cursor names. Raises InvalidInput naming `after`."""
        if not _CURSOR.match(cursor):
            raise InvalidInput("after", "this is no cursor")
        return cls(*map(int, cursor.split("-")))

    def __str__(self) -> str:
        return f"{self.first}-{self.last}-{self.newest}-{self.block}-{self.posting}"


class Line(NamedTuple):
    """An entry of the account, and what the account held after it, minor units."""

    entry: Entry
    is_debit: bool
    balance: int


@dataclass(frozen=True, slots=True)
class Statement:
    """A page. `opening`, `debit`, `credit` and `closing` are those of all its blocks, minor units, on every page.

    Debits raise the balance of the asset and lower that of liabilities: what it holds is what it is meant to hold.
    """

    account: AccountKey
    blocks: BlockRange
    opening: int
    debit: int
    credit: int
    closing: int
    lines: list[Line]
    next: Place | None


async def beginning(session: AsyncSession, blocks: BlockRange) -> Place:
    """Where the first page of a statement over `blocks` begins."""
    return Place(blocks.first, blocks.last, await last_posting(session), blocks.first, 0)


async def statement(session: AsyncSession, account: AccountKey, place: Place, limit: int) -> Statement:
    """A page of at most `limit` lines. An account that nothing was posted to has an empty statement."""
    query = select(Account.id).where(
        Account.kind == account.kind,
        Account.currency == account.currency,
        Account.participant_id == account.participant_id,
    )
    number = (await session.execute(query)).scalar()
    reader = _Reader(session, AccountKind(account.kind), number or 0, place.newest)
    opening = reader.balance(*await reader.sums(Posting.block_number < place.first))
    within = (Posting.block_number >= place.first, Posting.block_number <= place.last)
    debit, credit = await reader.sums(*within)
    shown = tuple_(Posting.block_number, Posting.id) <= (place.block, place.posting)
    before = reader.balance(*await reader.sums(*within, shown)) if place.posting else 0
    found = await reader.entries(*within, ~shown, limit=limit + 1)
    lines = reader.lines(found[:limit], opening + before)
    last = lines[-1].entry if len(found) > limit else None
    return Statement(
        account,
        BlockRange(place.first, place.last),
        opening,
        debit,
        credit,
        opening + reader.balance(debit, credit),
        lines,
        None if last is None else replace(place, block=last.block_number, posting=last.posting),
    )


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads what was posted to one account, up to the posting `newest`."""

    session: AsyncSession
    kind: AccountKind
    account_id: int
    newest: int

    def balance(self, debit: int, credit: int) -> int:
        return balance_of(self.kind, debit, credit)

    async def sums(self, *conditions: ColumnElement[bool]) -> tuple[int, int]:
        debit = await self._sum(Posting.debit_account_id, conditions)
        return debit, await self._sum(Posting.credit_account_id, conditions)

    async def _sum(self, side: InstrumentedAttribute[int], conditions: Sequence[ColumnElement[bool]]) -> int:
        query = select(*half_sums(Posting.amount)).where(
            side == self.account_id, Posting.id <= self.newest, *conditions
        )
        high, low = (await self.session.execute(query)).one()
        return whole(high or 0, low or 0)

    async def entries(self, *conditions: ColumnElement[bool], limit: int) -> list[tuple[Entry, bool]]:
        """Each with whether it is a debit, by block and number."""
        sides: list[list[tuple[Entry, bool]]] = []
        for side in (Posting.debit_account_id, Posting.credit_account_id):
            query = (
                entries(self.newest)
                .where(side == self.account_id, *conditions)
                .order_by(Posting.block_number, Posting.id)
                .limit(limit)
            )
            is_debit = side is Posting.debit_account_id
            sides.append([(entry_of(row), is_debit) for row in await self.session.execute(query)])
        ordered = merge(*sides, key=lambda found: (found[0].block_number, found[0].posting))
        return list(ordered)[:limit]

    def lines(self, found: Sequence[tuple[Entry, bool]], balance: int) -> list[Line]:
        lines = []
        for entry, is_debit in found:
            balance += self.balance(entry.amount, 0) if is_debit else self.balance(0, entry.amount)
            lines.append(Line(entry, is_debit, balance))
        return lines
