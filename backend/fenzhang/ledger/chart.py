"""The chart of accounts, and the accounts that exist.

Debit normal: bank custody (what the bank holds). Credit normal: order held, recipient payable, in transit, buyer refund
payable (what is owed). Every account is in one currency; only recipient payable accounts belong to a participant.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.store.bulk import insert_rows
from fenzhang.store.tables import Account, AccountKind

NO_PARTICIPANT = bytes(32)
"""`participant_id` of accounts that belong to nobody in particular."""

_PAYABLE = AccountKind.RECIPIENT_PAYABLE.value
CURRENCY_ACCOUNTS = (
    AccountKind.BANK_CUSTODY,
    AccountKind.ORDER_HELD,
    AccountKind.BUYER_REFUND_PAYABLE,
    AccountKind.IN_TRANSIT,
)
"""Accounts that every currency has once; they are opened together, so that a trial balance shows them all."""


class AccountKey(NamedTuple):
    """What an account is for. A tuple of plain values, because every posting looks two of them up."""

    kind: str
    """An AccountKind's value."""
    currency: str
    participant_id: bytes = NO_PARTICIPANT


def custody(currency: str) -> AccountKey:
    """Asset: captured money that the bank holds."""
    return AccountKey(AccountKind.BANK_CUSTODY.value, currency)


def order_held(currency: str) -> AccountKey:
    """Liability: captured, and not split or released."""
    return AccountKey(AccountKind.ORDER_HELD.value, currency)


def payable(currency: str, participant_id: bytes) -> AccountKey:
    """Liability: the position of a participant."""
    return AccountKey(_PAYABLE, currency, participant_id)


def buyer_refund_payable(currency: str) -> AccountKey:
    """Liability: refunded, and to be paid back to buyers."""
    return AccountKey(AccountKind.BUYER_REFUND_PAYABLE.value, currency)


def in_transit(currency: str) -> AccountKey:
    """Liability: payouts that were taken, until the bank says what became of them."""
    return AccountKey(AccountKind.IN_TRANSIT.value, currency)


class Chart:
    """Account ids by key, kept in memory for one writer. Accounts are never removed.

    New accounts are numbered by `assign`, inserted by `open`, and remembered only by `keep`, which belongs after the
    commit: a rolled back account must not be posted to.
    """

    def __init__(self) -> None:
        self._kept: dict[AccountKey, int] = {}
        self._opened: dict[AccountKey, int] = {}

    def id_of(self, key: AccountKey) -> int:
        """Id of an account that `assign` has seen."""
        found = self._kept.get(key)
        return self._opened[key] if found is None else found

    async def assign(self, session: AsyncSession, keys: Iterable[AccountKey]) -> None:
        """Number those of the accounts that do not exist, and with the first of a currency its own accounts."""
        wanted = set(keys)
        wanted |= {
            AccountKey(kind.value, currency)
            for currency in {key.currency for key in wanted}
            for kind in CURRENCY_ACCOUNTS
        }
        self._opened = {}
        missing = wanted - self._kept.keys()
        if not missing:
            return
        if not self._kept:
            await self._load(session)
            missing -= self._kept.keys()
        if not missing:
            return
        last: int = (await session.execute(select(func.max(Account.id)))).scalar() or 0
        # Sorted, so that a mirror that starts over numbers the accounts as the first one did.
        ordered = sorted(missing, key=lambda key: (key.kind, key.currency, key.participant_id))
        self._opened = {key: last + place for place, key in enumerate(ordered, start=1)}

    async def open(self, session: AsyncSession) -> None:
        """Insert the accounts that `assign` numbered last."""
        await insert_rows(
            session,
            Account,
            [
                {
                    "id": number,
                    "kind": key.kind,
                    "currency": key.currency,
                    "participant_id": key.participant_id,
                }
                for key, number in self._opened.items()
            ],
        )

    def keep(self) -> None:
        """The transaction that opened accounts has committed."""
        self._kept |= self._opened
        self._opened = {}

    async def _load(self, session: AsyncSession) -> None:
        rows = await session.execute(
            select(Account.id, Account.kind, Account.currency, Account.participant_id)
        )
        self._kept = {AccountKey(kind, currency, owner): number for number, kind, currency, owner in rows}
