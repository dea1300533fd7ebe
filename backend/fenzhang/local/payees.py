"""Where the participants of a demo are paid: accounts at the sandbox bank, some of which cannot be paid to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import Enum
from typing import Final

from sqlalchemy import select

from fenzhang.clearing.accounts import CLEARING_ACCOUNT, store_account
from fenzhang.clearing.model import AccountNumber, AccountScheme, BankAccount
from fenzhang.clearing.vault import Vault
from fenzhang.client import AsyncClient
from fenzhang.ledger.balances import trial_balance
from fenzhang.local.bankside import Counter
from fenzhang.local.supervisor import Endpoints
from fenzhang.replay.credentials import Memory
from fenzhang.store.session import Database
from fenzhang.store.tables import AccountKind, Participant

_HOLDER: Final = "fenzhang clearing"
_CUSTOMER: Final = "fenzhang"
_EVERY: Final = 23
_AT_ONCE: Final = 8


class Trouble(Enum):
    """What is wrong with an account: the place, among `_EVERY` payees, of those that have it."""

    CLOSED = 3
    OTHER_HOLDER = 11
    NOT_KNOWN = 19
    """The participant said nothing of where it is paid."""


@dataclass(frozen=True, slots=True)
class Payee:
    """A participant with a position in a currency, and its account."""

    platform: str
    reference: str
    currency: str
    number: str
    trouble: Trouble | None = None


def clearing_number(currency: str) -> str:
    """Number of the account that payouts of a currency are made from."""
    return f"1001{currency}"


async def payees_of(database: Database, platforms: Sequence[str]) -> list[Payee]:
    """All participants of these platforms with something payable, in an order that is the same each time."""
    async with database.read() as session:
        rows = await trial_balance(session)
        known = {row.id: row for row in (await session.execute(select(Participant))).scalars()}
    names = {row.id: row.reference for row in known.values() if row.platform_id == row.id}
    found = sorted(
        (names[known[row.participant_id].platform_id], known[row.participant_id].reference, row.currency)
        for row in rows
        if row.kind is AccountKind.RECIPIENT_PAYABLE and row.balance > 0 and row.participant_id in known
    )
    troubles = {trouble.value: trouble for trouble in Trouble}
    return [
        Payee(*each, f"6222{place:08d}", troubles.get(place % _EVERY))
        for place, each in enumerate(found)
        if each[0] in platforms
    ]


async def open_accounts(
    counter: Counter, endpoints: Endpoints, payees: Sequence[Payee], currencies: Sequence[str]
) -> None:
    """Open the accounts at the bank, and tell the API of them, each platform of its own participants."""
    own = [
        {
            "number": clearing_number(currency),
            "holder": _HOLDER,
            "currency": currency,
            "customer": _CUSTOMER,
        }
        for currency in currencies
    ]
    await counter.open_accounts(own + [_account(payee) for payee in payees])
    memory = Memory.beside(endpoints.apps)
    async with AsyncExitStack() as stack:
        clients = {
            name: await stack.enter_async_context(AsyncClient(endpoints.api, app))
            for name in {payee.platform for payee in payees}
            if (app := memory.app(name)) is not None
        }
        gate = asyncio.Semaphore(_AT_ONCE)

        async def tell(payee: Payee) -> None:
            async with gate:
                await clients[payee.platform].put_bank_account(
                    payee.reference, payee.currency, number=payee.number, holder=payee.reference
                )

        await asyncio.gather(*(tell(each) for each in payees if each.trouble is not Trouble.NOT_KNOWN))


async def store_clearing_accounts(database: Database, vault: Vault, currencies: Sequence[str]) -> None:
    """Store where payouts are made from, as `fenzhang bank account` does."""
    async with database.write() as session:
        for currency in currencies:
            number = AccountNumber(AccountScheme.OTHER, clearing_number(currency))
            account = BankAccount(number, _HOLDER)
            await store_account(session, vault, CLEARING_ACCOUNT, currency, account, now=int(time.time()))


async def repair(counter: Counter, payees: Sequence[Payee]) -> int:
    """Participants whose account failed speak to their bank, all but the last; how many did."""
    broken = [each for each in payees if each.trouble in {Trouble.CLOSED, Trouble.OTHER_HOLDER}][:-1]
    await counter.open_accounts([_account(payee, repaired=True) for payee in broken])
    return len(broken)


def _account(payee: Payee, *, repaired: bool = False) -> dict[str, str]:
    trouble = None if repaired else payee.trouble
    return {
        "number": payee.number,
        "holder": "Somebody Else" if trouble is Trouble.OTHER_HOLDER else payee.reference,
        "currency": payee.currency,
        "state": "closed" if trouble is Trouble.CLOSED else "open",
    }
