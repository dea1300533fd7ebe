"""What the accounts say: trial balance, balances and positions, always summed from the postings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from fenzhang.domain.suspense import suspense_id
from fenzhang.ledger.chart import AccountKey
from fenzhang.store.bulk import chunks
from fenzhang.store.sums import half_sums, whole
from fenzhang.store.tables import Account, AccountKind, Participant, Posting


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
        return balance_of(self.kind, self.debit, self.credit)


@dataclass(frozen=True, slots=True)
class KindSums:
    """All accounts of a kind in a currency, minor units."""

    currency: str
    kind: AccountKind
    accounts: int
    debit: int
    credit: int

    @property
    def balance(self) -> int:
        """What they hold together."""
        return balance_of(self.kind, self.debit, self.credit)


def balance_of(kind: AccountKind, debit: int, credit: int) -> int:
    """What an account holds that this was posted to: positive is what it is meant to hold."""
    return debit - credit if kind is AccountKind.BANK_CUSTODY else credit - debit


def by_kind(rows: Iterable[TrialBalanceRow]) -> list[KindSums]:
    """A trial balance with one line for all accounts of a kind, by currency and kind."""
    grouped: defaultdict[tuple[str, AccountKind], list[TrialBalanceRow]] = defaultdict(list)
    for row in rows:
        grouped[row.currency, row.kind].append(row)
    return [
        KindSums(
            currency,
            kind,
            len(found),
            sum(row.debit for row in found),
            sum(row.credit for row in found),
        )
        for (currency, kind), found in sorted(grouped.items())
    ]


async def trial_balance(session: AsyncSession, block_number: int | None = None) -> list[TrialBalanceRow]:
    """Every account with its debit and credit totals, by currency, kind and participant. Both columns sum equally.

    With `block_number`, what was posted up to the end of that block; what a reorganisation undid evens out.
    The queries must see the same state (`freeze`), or a posting may be in one column only.
    """
    debits = await _sums(session, Posting.debit_account_id, block_number)
    credits_ = await _sums(session, Posting.credit_account_id, block_number)
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


async def position(
    session: AsyncSession, participant_ids: Sequence[bytes], block_number: int | None = None
) -> dict[tuple[bytes, str], int]:
    """What is payable to each of these participants by currency, minor units; negative is what it owes.

    Those without an account are left out. With `block_number`, at the end of that block.
    """
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
        debits = await _sums(session, Posting.debit_account_id, block_number, numbers)
        credits_ = await _sums(session, Posting.credit_account_id, block_number, numbers)
        for account_id in numbers:
            result[accounts[account_id]] = credits_.get(account_id, 0) - debits.get(account_id, 0)
    return result


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits in the suspense position of a participant, minor units. `reference` is its platform's name for it."""

    participant_id: bytes
    reference: str
    currency: str
    amount: int


async def in_suspense(session: AsyncSession, platform_id: bytes) -> list[Waiting]:
    """What waits for participants of a platform, by reference and currency."""
    enrolled = select(Participant.id).where(Participant.id == Account.participant_id).exists()
    strangers = select(Account.participant_id).where(
        Account.kind == AccountKind.RECIPIENT_PAYABLE.value, ~enrolled
    )
    suspended = {suspense_id(owner): owner for owner in (await session.execute(strangers)).scalars()}
    names: dict[bytes, str] = {}
    for chunk in chunks(sorted(suspended)):
        query = select(Participant.id, Participant.reference).where(
            Participant.id.in_(chunk), Participant.platform_id == platform_id
        )
        names |= {row.id: row.reference for row in await session.execute(query)}
    found = await position(session, [suspended[participant] for participant in names])
    waiting = [
        Waiting(suspense_id(owner), names[suspense_id(owner)], currency, amount)
        for (owner, currency), amount in found.items()
        if amount
    ]
    return sorted(waiting, key=lambda each: (each.reference, each.currency))


@dataclass(frozen=True, slots=True)
class Debt:
    """What a participant owes: what returns and refunds took from it beyond what it had, minor units."""

    currency: str
    participant_id: bytes
    amount: int


async def debts(session: AsyncSession, block_number: int | None = None) -> list[Debt]:
    """Everybody whose position is negative, by currency and participant.

    With `block_number`, at the end of that block.
    """
    payable = select(Account.id).where(Account.kind == AccountKind.RECIPIENT_PAYABLE.value)
    # Only an account that something was taken from can be below zero.
    debits = await _sums(session, Posting.debit_account_id, block_number, payable)
    owed: dict[int, int] = {}
    for numbers in chunks(list(debits)):
        credits_ = await _sums(session, Posting.credit_account_id, block_number, numbers)
        owed |= {number: debits[number] - credits_.get(number, 0) for number in numbers}
    found: list[Debt] = []
    for numbers in chunks([number for number, amount in owed.items() if amount > 0]):
        query = select(Account.id, Account.currency, Account.participant_id).where(Account.id.in_(numbers))
        found += [
            Debt(currency, owner, owed[number]) for number, currency, owner in await session.execute(query)
        ]
    return sorted(found, key=lambda debt: (debt.currency, debt.participant_id))


async def _sums(
    session: AsyncSession,
    account: InstrumentedAttribute[int],
    block_number: int | None,
    only: Sequence[int] | Select[int] | None = None,
) -> dict[int, int]:
    query = select(account, *half_sums(Posting.amount)).group_by(account)
    if block_number is not None:
        query = query.where(Posting.block_number <= block_number)
    if only is not None:
        query = query.where(account.in_(only))
    return {account_id: whole(high, low) for account_id, high, low in await session.execute(query)}
