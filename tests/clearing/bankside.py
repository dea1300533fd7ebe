"""A shop's account at a sandbox bank, payees of every kind, and a network between that loses things."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Literal, get_args

import httpx

from fenzhang.clearing.model import AccountNumber, AccountScheme, BankAccount, PayoutFile, PayoutOrder
from fenzhang.clearing.vault import Vault
from fenzhang.sandboxbank.bank import SandboxBank
from fenzhang.sandboxbank.books import AccountState

CUSTOMER: Final = "fenzhang"
NOON: Final = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()
VAULT: Final = Vault([b"k" * 32])


def account(number: str, holder: str) -> BankAccount:
    return BankAccount(AccountNumber(AccountScheme.OTHER, number), holder, "102100099996")


SHOP: Final = account("6222000000000001", "清算专户")
HONEST: Final = account("6222000000000002", "商户甲")
CLOSED: Final = account("6222000000000003", "商户乙")
RETURNING: Final = account("6222000000000004", "商户丙")
MISNAMED: Final = account("6222000000000002", "商户丁")
NOBODY: Final = account("6222000000000009", "商户戊")
PAYEES: Final = (HONEST, CLOSED, RETURNING, MISNAMED, NOBODY)
STATES: Final[dict[str, AccountState]] = {"HONEST": "open", "CLOSED": "closed", "RETURNING": "returns"}


def furnish(bank: SandboxBank, money: int = 10**12) -> None:
    """Open the accounts, and put money on the shop's."""
    bank.books.open_account(SHOP, "CNY", customer=CUSTOMER)
    for payee, state in zip((HONEST, CLOSED, RETURNING), STATES.values(), strict=True):
        bank.books.open_account(payee, "CNY", state=state)
    bank.books.deposit(SHOP.account, money, "D-1")


def order(end_to_end_id: str, amount: int = 1_000, creditor: BankAccount = HONEST) -> PayoutOrder:
    return PayoutOrder(end_to_end_id, amount, creditor, f"分账 {end_to_end_id}")


def payout_file(message_id: str, *payouts: PayoutOrder, at: float = NOON) -> PayoutFile:
    moment = datetime.fromtimestamp(int(at), UTC)
    return PayoutFile(message_id, moment, SHOP, moment.date(), "CNY", payouts)


class Died(BaseException):
    """The process was killed here."""


Fate = Literal["arrives", "doubled", "lost", "answer lost", "late", "dies before", "dies after"]
"""A doubled file arrives twice, at a bank that refuses what it has already; only the second answer comes back."""
FATES: Final[tuple[Fate, ...]] = get_args(Fate)


@dataclass
class Network(httpx.AsyncBaseTransport):
    """Between sender and bank. What happens to the next files is in `fates`; then all is well. Questions arrive."""

    inner: httpx.ASGITransport
    fates: deque[Fate] = field(default_factory=deque)
    on_its_way: list[httpx.Request] = field(default_factory=list)
    known: Callable[[bytes], bool] = lambda _content: False
    """Whether the bank knows a payout of a file."""
    seen: set[bytes] = field(default_factory=set)
    sent: int = 0
    sent_needlessly: int = 0
    """Files that were sent again although the bank, asked, would have said that it has them."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Let fate decide."""
        if request.url.path != "/files":
            return await self.inner.handle_async_request(request)
        self.sent += 1
        self.sent_needlessly += request.content in self.seen and self.known(request.content)
        self.seen.add(request.content)
        fate = self.fates.popleft() if self.fates else "arrives"
        if fate == "dies before":
            raise Died
        if fate == "lost":
            raise httpx.ConnectTimeout("lost", request=request)
        if fate == "late":
            self.on_its_way.append(request)
            raise httpx.ReadTimeout("late", request=request)
        answer = await self.inner.handle_async_request(request)
        if fate == "dies after":
            raise Died
        if fate == "doubled" and answer.is_success:
            return httpx.Response(409, json={"reason": "DU01"}, request=request)
        if fate == "answer lost":
            raise httpx.ReadTimeout("answer lost", request=request)
        return answer

    async def deliver_late(self) -> None:
        """What was held up arrives."""
        while self.on_its_way:
            late = self.on_its_way.pop(0)
            again = httpx.Request(late.method, late.url, headers=late.headers, content=late.content)
            await self.inner.handle_async_request(again)
