"""What the accounts say: trial balance, balances and positions, always summed from the postings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from fenzhang.ledger.chart import AccountKey
from fenzhang.store.bulk import chunks
from fenzhang.store.sums import half_sums, whole
from fenzhang.store.tables import Account, AccountKind, Posting


@dataclass(frozen=True, slots=True)
class TrialBalanceRow:
    """An account and everything ever posted to it, minor units. `participant_id` is zero for no participant."""

    account_id: int
    kind: AccountKind
    currency: str
    participant_id: bytes
    debit: int
    credit: int

    @property
    def key(self) -> AccountKey:
        """What the account is for."""
        return AccountKey(self.kind, self.currency, self.participant_id)

    @property
    def balance(self) -> int:
        """What the account holds: debit - credit of the asset, credit - debit of liabilities."""
        difference = self.debit - self.credit
        return difference if self.kind is AccountKind.BANK_CUSTODY else -difference


async def trial_balance(session: AsyncSession) -> list[TrialBalanceRow]:
    """Every account with its debit and credit totals, by currency, kind and participant. Both columns sum equally."""
    debits = await _sums(session, Posting.debit_account_id)
    credits_ = await _sums(session, Posting.credit_account_id)
    accounts = await session.execute(
        select(Account.id, Account.kind, Account.currency, Account.participant_id).order_by(
            Account.currency, Account.kind, Account.participant_id
        )
    )
    return [
        TrialBalanceRow(
            account_id,
            AccountKind(kind),
            currency,
            owner,
            debits.get(account_id, 0),
            credits_.get(account_id, 0),
        )
        for account_id, kind, currency, owner in accounts
    ]


async def balances(session: AsyncSession) -> dict[AccountKey, int]:
    """Balance of every account, minor units; positive is what the account is meant to hold."""
    return {row.key: row.balance for row in await trial_balance(session)}


async def position(session: AsyncSession, participant_ids: Sequence[bytes]) -> dict[tuple[bytes, str], int]:
    """What is payable to each of these participants by currency, minor units. Those without an account are left out."""
    accounts: dict[int, tuple[bytes, str]] = {}
    for chunk in chunks(participant_ids):
        rows = await session.execute(
            select(Account.id, Account.participant_id, Account.currency).where(
                Account.kind == AccountKind.RECIPIENT_PAYABLE.value, Account.participant_id.in_(chunk)
            )
        )
        accounts |= {account_id: (owner, currency) for account_id, owner, currency in rows}
    result = dict.fromkeys(accounts.values(), 0)
    for numbers in chunks(list(accounts)):
        debits = await _sums(session, Posting.debit_account_id, Posting.debit_account_id.in_(numbers))
        credits_ = await _sums(session, Posting.credit_account_id, Posting.credit_account_id.in_(numbers))
        for account_id in numbers:
            result[accounts[account_id]] = credits_.get(account_id, 0) - debits.get(account_id, 0)
    return result


async def _sums(
    session: AsyncSession, account: InstrumentedAttribute[int], only: ColumnElement[bool] | None = None
) -> dict[int, int]:
    query = select(account, *half_sums(Posting.amount)).group_by(account)
    if only is not None:
        query = query.where(only)
    return {account_id: whole(high, low) for account_id, high, low in await session.execute(query)}
