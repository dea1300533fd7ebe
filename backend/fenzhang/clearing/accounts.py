"""Where participants are paid: their bank accounts, encrypted in the database and readable with the vault alone.

Functions with a session do not commit.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.clearing.errors import BankDataUnreadable, UnknownAccount
from fenzhang.clearing.model import AccountNumber, AccountScheme, BankAccount
from fenzhang.clearing.payments import file_context
from fenzhang.clearing.reconciliation import lines
from fenzhang.clearing.vault import Vault
from fenzhang.domain.money import check_currency
from fenzhang.domain.records import NOTHING
from fenzhang.store.banktables import BankAccountRow, BankFile
from fenzhang.store.bulk import chunks

CLEARING_ACCOUNT: Final = NOTHING
"""In place of a participant: the account that payouts are made from."""
_ID_SIZE: Final = 8
_AT_ONCE: Final = 100
"""Rows, and files, encrypted anew in one transaction."""


async def store_account(
    session: AsyncSession,
    vault: Vault,
    participant_id: bytes,
    currency: str,
    account: BankAccount,
    *,
    now: int,
) -> None:
    """Store where a participant is paid in a currency, in place of what was stored before. Raises UnknownCurrency."""
    check_currency("currency", currency)
    plain = json.dumps(
        [account.account.scheme, account.account.number, account.holder, account.bank]
    ).encode()
    sealed = vault.seal(plain, _context(participant_id, currency))
    await session.merge(
        BankAccountRow(participant_id=participant_id, currency=currency, sealed=sealed, changed_at=now)
    )
    await session.flush()


async def account_of(
    session: AsyncSession, vault: Vault, participant_id: bytes, currency: str
) -> BankAccount:
    """Where a participant is paid in a currency. Raises UnknownAccount, BankDataUnreadable."""
    row = await session.get(BankAccountRow, (participant_id, currency))
    if row is None:
        raise UnknownAccount(f"no bank account for {currency} is stored for 0x{participant_id.hex()}")
    return _opened(vault, row)


async def accounts_of(
    session: AsyncSession, vault: Vault, participant_ids: Sequence[bytes], currency: str
) -> dict[bytes, BankAccount]:
    """Where those of the participants are paid that have an account. Raises BankDataUnreadable."""
    found: dict[bytes, BankAccount] = {}
    for chunk in chunks(participant_ids):
        query = select(BankAccountRow).where(
            BankAccountRow.participant_id.in_(chunk), BankAccountRow.currency == currency
        )
        for row in (await session.execute(query)).scalars():
            found[row.participant_id] = _opened(vault, row)
    return found


def _opened(vault: Vault, row: BankAccountRow) -> BankAccount:
    plain = vault.open(row.sealed, _context(row.participant_id, row.currency))
    try:
        scheme, number, holder, bank = json.loads(plain)
        return BankAccount(AccountNumber(AccountScheme(scheme), number), holder, bank)
    except ValueError:
        raise BankDataUnreadable("it is not an account") from None


async def reencrypt(session: AsyncSession, vault: Vault) -> int:
    """Encrypt some accounts (those of statements too) and stored bank files with the vault's newest key; how many.

    0 when all are. Only then the older keys may be thrown away. Raises BankDataUnreadable.
    """
    others = func.substr(BankAccountRow.sealed, 1, _ID_SIZE) != vault.current
    accounts = (await session.execute(select(BankAccountRow).where(others).limit(_AT_ONCE))).scalars().all()
    for row in accounts:
        context = _context(row.participant_id, row.currency)
        row.sealed = vault.seal(vault.open(row.sealed, context), context)
    query = select(BankFile.id, BankFile.message_id, BankFile.content)
    query = query.where(func.substr(BankFile.content, 1, _ID_SIZE) != vault.current)
    files = (await session.execute(query.limit(_AT_ONCE))).all()
    for file_id, message_id, content in files:
        context = file_context(message_id)
        sealed = vault.seal(vault.open(content, context), context)
        await session.execute(update(BankFile).where(BankFile.id == file_id).values(content=sealed))
    return len(accounts) + len(files) + await lines.reencrypt(session, vault)


def _context(participant_id: bytes, currency: str) -> bytes:
    return b"bank_accounts\0" + participant_id + currency.encode()
