"""Statements as they are kept: every booked line, and every payment in one, once, though documents repeat or overlap.

A bank tells today's statement again and again, longer each time, and may tell another one that begins where the last
ended. The first is a newer edition: what it does not show any more does not count. The second is one of its own.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, NamedTuple, Self

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.clearing.model import AccountNumber, AccountScheme, LineStatus, Statement, StatementLine
from fenzhang.clearing.vault import Vault
from fenzhang.store.bulk import chunks, insert_tuples
from fenzhang.store.locks import lock_stripes
from fenzhang.store.reconciliationtables import (
    BankStatement,
    CustodyAccount,
    StatementLineRow,
    StatementMatch,
)


class _Said(NamedTuple):
    """What a line says. Two that say the same cannot be told apart."""

    booked_on: str
    amount: int
    end_to_end_id: str | None
    reference: str | None
    message_id: str | None
    reason: str | None
    reversal: bool
    is_part: bool

    @property
    def key(self) -> bytes:
        """The same for lines that say the same."""
        return sha256(json.dumps(self).encode()).digest()

    @property
    def has_name(self) -> bool:
        """Whether it is recognised among lines of the same amount."""
        return self.reference is not None or self.end_to_end_id is not None


_COLUMNS: Final = ("statement_id", "key", "occurrence", *_Said._fields, "shown")


@dataclass(frozen=True, slots=True)
class _Known:
    """A statement that is kept, and how often its lines say what."""

    row: BankStatement
    shown: Counter[bytes]


@dataclass(frozen=True, slots=True)
class Told:
    """A statement, and what its booked lines say: worked out before a transaction has to wait for it."""

    statement: Statement
    said: Sequence[tuple[bytes, _Said]]
    """With their keys."""
    digest: bytes

    @classmethod
    def of(cls, statement: Statement) -> Self:
        """What a statement tells."""
        said = [(each.key, each) for each in _said(statement.lines)]
        balances = f"{statement.opening} {statement.closing} ".encode()
        return cls(statement, said, sha256(balances + b"".join(key for key, _ in said)).digest())


async def is_kept(session: AsyncSession, vault: Vault, bank: str, told: Told) -> bool:
    """Whether a statement is kept just as it is told. Raises BankDataUnreadable."""
    account_id = await _known_account(session, vault, bank, told.statement)
    if account_id is None:
        return False
    return _is_among(await _overlapping(session, account_id, told.statement), told)


async def store(session: AsyncSession, vault: Vault, bank: str, told: Told) -> bool:
    """Keep a statement and its booked lines; whether anything in it is new. Does not commit.

    Raises BankDataUnreadable when the account of an earlier statement cannot be decrypted.
    """
    await lock_stripes(session, [sha256(bank.encode()).digest()])
    statement = told.statement
    account_id = await _account_id(session, vault, bank, statement)
    rows = await _overlapping(session, account_id, statement)
    if _is_among(rows, told):
        return False
    known = [_Known(row, await _shown(session, row.id)) for row in rows]
    same = [each for each in known if _period(each.row) == _days(statement)]
    created_at = int(statement.created_at.timestamp())
    before = _edition(statement, told.said, same)
    if before is not None and created_at < before.row.created_at:
        return False  # an older edition that comes late
    row = before.row if before else BankStatement(account_id=account_id)
    row.statement_id, row.created_at, row.digest = statement.statement_id, created_at, told.digest
    row.first_day, row.last_day = _days(statement)
    row.opening, row.closing = statement.opening, statement.closing
    session.add(row)
    await session.flush()
    others = [each for each in known if _period(each.row) != _days(statement)]
    await _show(session, row.id, told.said, others)
    return True


def _is_among(rows: Sequence[BankStatement], told: Told) -> bool:
    return any(row.digest == told.digest and _period(row) == _days(told.statement) for row in rows)


async def reencrypt(session: AsyncSession, vault: Vault) -> int:
    """Encrypt account numbers with the vault's newest key; how many. Raises BankDataUnreadable."""
    rows = (await session.execute(select(CustodyAccount))).scalars().all()
    old = [row for row in rows if not vault.is_current(row.sealed)]
    for row in old:
        context = _context(row.bank, row.currency)
        row.sealed = vault.seal(vault.open(row.sealed, context), context)
    await session.flush()
    return len(old)


def account_number(vault: Vault, row: CustodyAccount) -> AccountNumber:
    """Which account it is. Raises BankDataUnreadable."""
    scheme, number = json.loads(vault.open(row.sealed, _context(row.bank, row.currency)))
    return AccountNumber(AccountScheme(scheme), number)


async def _known_account(session: AsyncSession, vault: Vault, bank: str, statement: Statement) -> int | None:
    query = select(CustodyAccount).where(
        CustodyAccount.bank == bank, CustodyAccount.currency == statement.currency
    )
    rows = (await session.execute(query)).scalars().all()
    return next((row.id for row in rows if account_number(vault, row) == statement.account), None)


async def _account_id(session: AsyncSession, vault: Vault, bank: str, statement: Statement) -> int:
    known = await _known_account(session, vault, bank, statement)
    if known is not None:
        return known
    plain = json.dumps([statement.account.scheme, statement.account.number]).encode()
    made = CustodyAccount(
        bank=bank,
        currency=statement.currency,
        sealed=vault.seal(plain, _context(bank, statement.currency)),
    )
    session.add(made)
    await session.flush()
    return made.id


def _context(bank: str, currency: str) -> bytes:
    return b"custody_accounts\0" + currency.encode() + bank.encode()


def _said(lines: Iterable[StatementLine]) -> Iterable[_Said]:
    """A payment each; the whole line where the bank does not say what it is made of."""
    for line in lines:
        if line.status is not LineStatus.BOOKED or line.booked_on is None:
            continue
        day = line.booked_on.isoformat()
        whole = (line.reference, line.message_id)
        if not line.parts:
            yield _Said(day, line.amount, None, *whole, None, line.reversal, is_part=False)
        for part in line.parts:
            yield _Said(
                day, part.amount, part.end_to_end_id, *whole, part.reason, line.reversal, is_part=True
            )


def _days(statement: Statement) -> tuple[str, str]:
    return statement.first_day.isoformat(), statement.last_day.isoformat()


def _period(row: BankStatement) -> tuple[str, str]:
    return row.first_day, row.last_day


async def _overlapping(
    session: AsyncSession, account_id: int, statement: Statement
) -> Sequence[BankStatement]:
    """Statements that are about some of the same days."""
    first, last = _days(statement)
    query = select(BankStatement).where(
        BankStatement.account_id == account_id,
        BankStatement.first_day <= last,
        BankStatement.last_day >= first,
    )
    return (await session.execute(query.order_by(BankStatement.id))).scalars().all()


async def _shown(session: AsyncSession, statement_id: int) -> Counter[bytes]:
    keys = select(StatementLineRow.key).where(
        StatementLineRow.statement_id == statement_id, StatementLineRow.shown
    )
    return Counter((await session.execute(keys)).scalars())


def _edition(
    statement: Statement, said: Sequence[tuple[bytes, _Said]], same: Sequence[_Known]
) -> _Known | None:
    """The statement that this one is a newer edition of; None if it is one of its own.

    Of the same days, it is another one if it has no line of theirs that can be recognised, and begins where one ended
    or ends where one began. Editions begin alike, unless something came late before them; the first may be empty.
    """
    named = {key for key, each in said if each.has_name}
    for each in same:
        is_empty = not (said and each.shown) and each.row.opening == statement.opening
        if is_empty or named & each.shown.keys():
            return each
    if any(statement.opening == each.row.closing or statement.closing == each.row.opening for each in same):
        return None
    alike = [each for each in same if each.row.opening == statement.opening]
    return next(iter([*alike, *same]), None)


async def _show(
    session: AsyncSession,
    statement_id: int,
    said: Sequence[tuple[bytes, _Said]],
    others: Sequence[_Known],
) -> None:
    """Keep the lines that the statement shows, and take out of account those that it shows no more."""
    elsewhere: Counter[bytes] = Counter()
    for other in others:
        elsewhere |= other.shown
    numbered: dict[tuple[bytes, int], _Said] = {}
    counted: Counter[bytes] = Counter()
    for key, each in said:
        counted[key] += 1
        if counted[key] > elsewhere[key]:
            numbered[key, counted[key]] = each
    rows = (
        await session.execute(
            select(
                StatementLineRow.key, StatementLineRow.occurrence, StatementLineRow.id, StatementLineRow.shown
            ).where(StatementLineRow.statement_id == statement_id)
        )
    ).all()
    here = {(row.key, row.occurrence): row for row in rows}
    await _withdraw(session, [row.id for at, row in here.items() if row.shown and at not in numbered])
    again = [row.id for at, row in here.items() if not row.shown and at in numbered]
    for part in chunks(again):
        await session.execute(_set(part, shown=True))
    new = [(statement_id, *at, *each, True) for at, each in numbered.items() if at not in here]
    await insert_tuples(session, StatementLineRow, _COLUMNS, new)


async def _withdraw(session: AsyncSession, ids: Sequence[int]) -> None:
    """These lines do not count any more. What else was matched with their payouts is looked at again."""
    for part in chunks(ids):
        matched = select(StatementMatch.end_to_end_id).where(StatementMatch.line_id.in_(part))
        payouts = list((await session.execute(matched)).scalars())
        named = select(StatementLineRow.end_to_end_id).where(
            StatementLineRow.id.in_(part), StatementLineRow.end_to_end_id.is_not(None)
        )
        names = {each for each in (await session.execute(named)).scalars() if each is not None}
        await reopen(session, sorted(names | set(payouts)))
        await session.execute(_set(part, shown=False, matched_by=None, break_id=None))


async def reopen(session: AsyncSession, end_to_end_ids: Sequence[str]) -> None:
    """Forget what lines have to do with these payouts: the next run finds it out anew."""
    for part in chunks(end_to_end_ids):
        matched = select(StatementMatch.line_id).where(StatementMatch.end_to_end_id.in_(part))
        lines = list((await session.execute(matched)).scalars())
        named = select(StatementLineRow.id).where(StatementLineRow.end_to_end_id.in_(part))
        lines += (await session.execute(named)).scalars()
        for some in chunks(lines):
            await session.execute(delete(StatementMatch).where(StatementMatch.line_id.in_(some)))
            await session.execute(_set(some, matched_by=None))


def _set(ids: Sequence[int], **values: Any) -> Any:
    return (
        update(StatementLineRow)
        .where(StatementLineRow.id.in_(ids))
        .values(**values)
        .execution_options(synchronize_session=False)
    )
