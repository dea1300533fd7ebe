"""Cycles, payouts and bank accounts, as flows: what was paid to whom, why not to others, and the proof of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fenzhang.client.flow import Flow
from fenzhang.client.reading import reader
from fenzhang.client.session import Call, Session

_PAGE = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BankAccountView:
    """Where a participant is paid in a currency. Number and holder are masked."""

    out_participant_no: str
    participant_id: str
    currency: str
    scheme: str
    number: str
    holder: str
    bank: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleView:
    """A cycle. Amounts are minor units; `left_out` counts by reason who is not paid."""

    currency: str
    scheme: str
    number: int
    cycle_id: str
    state: str
    to_block: int
    at_block: int
    payouts: int
    total: int
    payout_root: str
    bill_root: str
    journal_head: str
    closes: int | None = None
    due: str | None = None
    bank: str | None = None
    refusal: str | None = None
    block_number: int | None = None
    left_out: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CyclePage:
    """A page of cycles; `next` is the cursor of the next one, None on the last."""

    cycles: tuple[CycleView, ...]
    next: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PayoutView:
    """What a cycle does for a participant, minor units. Either `amount` is paid, or `left_out` says why not.

    `state` is what became of it on the chain, None while it is not taken. The last three are those of one that was
    asked for by itself: the path from `payout_id` to the root.
    """

    currency: str
    scheme: str
    number: int
    participant_id: str
    brought_forward: int
    credit: int
    debit: int
    due: int
    position: int
    amount: int
    out_participant_no: str | None = None
    left_out: str | None = None
    state: str | None = None
    reason: str | None = None
    index: int | None = None
    payout_id: str | None = None
    end_to_end_id: str | None = None
    cycle_id: str | None = None
    payout_root: str | None = None
    proof: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PayoutPage:
    """A page of payouts; `next` is the cursor of the next one, None on the last."""

    payouts: tuple[PayoutView, ...]
    next: str | None = None


class CycleOperations:
    """The part of the API that is about cycles, as flows over one session."""

    _session: Session

    def put_bank_account(
        self,
        participant: str,
        currency: str,
        *,
        number: str,
        holder: str,
        scheme: str = "OTHER",
        bank: str = "",
    ) -> Flow[BankAccountView]:
        """Say where a participant is paid in a currency. `scheme` is IBAN, or OTHER for a bank's own number."""
        call = Call(
            method="PUT",
            path=_account_path(participant, currency),
            read=reader(BankAccountView),
            body={"scheme": scheme, "number": number, "holder": holder, "bank": bank},
        )
        return (yield from self._session.perform(call))

    def get_bank_account(self, participant: str, currency: str) -> Flow[BankAccountView]:
        """Where a participant is paid in a currency, masked. Raises NotFound."""
        call = Call(method="GET", path=_account_path(participant, currency), read=reader(BankAccountView))
        return (yield from self._session.perform(call))

    def list_cycles(self, currency: str | None = None, scheme: str | None = None) -> Flow[list[CycleView]]:
        """Cycles by currency, scheme and number."""
        found: list[CycleView] = []
        given = {"currency": currency, "scheme": scheme}
        query: dict[str, str | int] = {"limit": _PAGE, **{k: v for k, v in given.items() if v is not None}}
        while True:
            call = Call(method="GET", path="/v1/cycles", read=reader(CyclePage), query=query)
            page = yield from self._session.perform(call)
            found += page.cycles
            if page.next is None:
                return found
            query = query | {"after": page.next}

    def get_cycle(self, currency: str, scheme: str, number: int) -> Flow[CycleView]:
        """A cycle: what it pays and vouches for, and how far it has come. Raises NotFound."""
        call = Call(method="GET", path=_cycle_path(currency, scheme, number), read=reader(CycleView))
        return (yield from self._session.perform(call))

    def list_cycle_payouts(self, currency: str, scheme: str, number: int) -> Flow[list[PayoutView]]:
        """What a cycle does for the platform's participants, or for all; those left out are among them."""
        return (yield from self._payouts(f"{_cycle_path(currency, scheme, number)}/payouts", {}))

    def get_cycle_payout(self, currency: str, scheme: str, number: int, participant: str) -> Flow[PayoutView]:
        """What a cycle does for a participant, with the proof that its payout is in it. Raises NotFound."""
        path = f"{_cycle_path(currency, scheme, number)}/payouts/{participant}"
        return (yield from self._session.perform(Call(method="GET", path=path, read=reader(PayoutView))))

    def list_payouts(self, participant: str | None = None) -> Flow[list[PayoutView]]:
        """Payouts in the order in which they were planned, to one participant or to all that the app may see."""
        query = {} if participant is None else {"participant": participant}
        return (yield from self._payouts("/v1/payouts", query))

    def _payouts(self, path: str, given: Mapping[str, str]) -> Flow[list[PayoutView]]:
        found: list[PayoutView] = []
        query: dict[str, str | int] = {"limit": _PAGE, **given}
        while True:
            call = Call(method="GET", path=path, read=reader(PayoutPage), query=query)
            page = yield from self._session.perform(call)
            found += page.payouts
            if page.next is None:
                return found
            query = query | {"after": page.next}


def _cycle_path(currency: str, scheme: str, number: int) -> str:
    return f"/v1/cycles/{currency}/{scheme}/{number}"


def _account_path(participant: str, currency: str) -> str:
    return f"/v1/participants/{participant}/bank-accounts/{currency}"
