"""The sandbox bank as the clearing bank: what it signs, and what it refuses to sign.

It recomputes a cycle's root and total from the payouts, and remembers what it signed for. Of a payout it says on the
chain only what its own books say. Its key is the devnet's, which everybody knows, and it signs for no other chain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from fenzhang.chain.clearing import cycle_id, payout_id, payout_root
from fenzhang.chain.eip712 import clearing_domain
from fenzhang.chain.keystore import DEVNET_CHAIN_ID
from fenzhang.chain.signer import LocalKey
from fenzhang.clearing.banks.httpsignatory import CYCLES_PATH, REPORTS_PATH
from fenzhang.clearing.banks.interface import Refused
from fenzhang.clearing.banks.signatory import LocalSignatory, Signed
from fenzhang.devnet import dev_account
from fenzhang.domain.clearing import Cycle, Outcome, OutcomeKind, Payout, end_to_end_id
from fenzhang.sandboxbank.books import Books, PaymentStory

OTHER_CHAIN: Final = "CHAIN"
OTHER_ROOT, OTHER_TOTAL, OTHER_ORDER = "ROOT", "TOTAL", "ORDER"
"""The payouts are not those of the cycle: their root, their sum, or their indices are others."""
NOT_SIGNED: Final = "NOTSIGNED"
"""The payout is in no cycle that this bank signed."""
OTHER_AMOUNT: Final = "AMOUNT"
"""What was paid is not what the cycle pays."""
NOT_SO: Final[Mapping[OutcomeKind, str]] = {
    OutcomeKind.PAID: "NOTPAID",
    OutcomeKind.FAILED: "NOTFAILED",
    OutcomeKind.RETURNED: "NOTRETURNED",
}
"""The books say something else."""

_Bytes32 = Annotated[str, Field(pattern=r"^0x[0-9a-f]{64}$")]
_Address = Annotated[str, Field(pattern=r"^0x[0-9a-f]{40}$")]
_Count = Annotated[int, Field(ge=0, lt=1 << 64)]
_Code = Annotated[str, Field(pattern=r"^[A-Za-z0-9]{0,32}$")]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")
    chain_id: int
    contract: _Address


class _Cycle(BaseModel):
    model_config = ConfigDict(extra="forbid")
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    scheme: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
    number: _Count
    to_block: _Count
    at_block: _Count
    payouts: _Count
    total: Annotated[int, Field(ge=0, lt=1 << 128)]
    payout_root: _Bytes32
    bill_root: _Bytes32
    journal_head: _Bytes32
    deadline: _Count


class CycleAsked(_Asked):
    """A cycle, and its payouts: index, participant, amount."""

    cycle: _Cycle
    payouts: list[tuple[_Count, _Bytes32, Annotated[int, Field(gt=0, lt=1 << 96)]]]


class ReportAsked(_Asked):
    """Outcomes of payouts of a cycle: payout, kind, reason code."""

    cycle_id: _Bytes32
    outcomes: list[tuple[_Bytes32, Literal["PAID", "FAILED", "RETURNED"], _Code]]


@dataclass(frozen=True, slots=True)
class Desk:
    """Signs for the books that it has."""

    books: Books
    key: LocalKey

    @classmethod
    def of_devnet(cls, books: Books) -> Desk:
        """With the devnet's key."""
        return cls(books, LocalKey(bytes.fromhex(dev_account("clearing-bank").private_key[2:])))

    async def sign_cycle(self, asked: CycleAsked) -> Signed | Refused:
        """The signature, or why there is none."""
        cycle = Cycle(**_plain(asked.cycle.model_dump()))
        payouts = [Payout(index, _bytes(owner), amount) for index, owner, amount in asked.payouts]
        reason = _refusal(cycle, payouts)
        if asked.chain_id != DEVNET_CHAIN_ID or reason is not None:
            return Refused(reason or OTHER_CHAIN)
        identity = cycle_id(cycle.currency, cycle.scheme, cycle.number)
        self.books.sign_for(
            (end_to_end_id(payout_id(identity, payout)), cycle.currency, payout.amount) for payout in payouts
        )
        return await self._signatory(asked).sign_cycle(cycle, payouts)

    async def sign_report(self, asked: ReportAsked) -> Signed | Refused:
        """The signature, or why there is none: it says nothing that the books do not say."""
        if asked.chain_id != DEVNET_CHAIN_ID:
            return Refused(OTHER_CHAIN)
        outcomes = [
            Outcome(_bytes(payout), OutcomeKind[kind], reason) for payout, kind, reason in asked.outcomes
        ]
        for outcome in outcomes:
            story = self.books.story_of(end_to_end_id(outcome.payout_id))
            reason = NOT_SIGNED if story is None else _is_not_so(outcome.kind, story)
            if reason is not None:
                return Refused(reason)
        return await self._signatory(asked).sign_report(_bytes(asked.cycle_id), outcomes)

    def _signatory(self, asked: _Asked) -> LocalSignatory:
        return LocalSignatory(self.key, clearing_domain(asked.chain_id, _bytes(asked.contract)))


def _refusal(cycle: Cycle, payouts: Sequence[Payout]) -> str | None:
    if [payout.index for payout in payouts] != list(range(cycle.payouts)):
        return OTHER_ORDER
    if sum(payout.amount for payout in payouts) != cycle.total:
        return OTHER_TOTAL
    identity = cycle_id(cycle.currency, cycle.scheme, cycle.number)
    return None if payout_root(identity, payouts) == cycle.payout_root else OTHER_ROOT


def _is_not_so(kind: OutcomeKind, story: PaymentStory) -> str | None:
    if story.paid_amount is not None and story.paid_amount != story.signed_amount:
        return OTHER_AMOUNT
    so = {
        OutcomeKind.PAID: story.paid_amount is not None,
        OutcomeKind.FAILED: story.failed and (story.paid_amount is None or story.came_back),
        OutcomeKind.RETURNED: story.came_back,
    }
    return None if so[kind] else NOT_SO[kind]


def add_signing(app: FastAPI, desk: Desk) -> None:
    """What a clearing bank is asked for."""

    @app.post(CYCLES_PATH)
    async def sign_cycle(asked: CycleAsked) -> JSONResponse:
        """Sign a cycle: 200 with the signature, 422 with the reason."""
        return _answer(await desk.sign_cycle(asked))

    @app.post(REPORTS_PATH)
    async def sign_report(asked: ReportAsked) -> JSONResponse:
        """Sign what became of payouts: 200 with the signature, 422 with the reason."""
        return _answer(await desk.sign_report(asked))


def _answer(found: Signed | Refused) -> JSONResponse:
    if isinstance(found, Refused):
        return JSONResponse({"reason": found.reason}, 422)
    return JSONResponse({"bank": f"0x{found.bank.hex()}", "signature": f"0x{found.signature.hex()}"})


def _plain(told: Mapping[str, Any]) -> dict[str, Any]:
    hashes = ("payout_root", "bill_root", "journal_head")
    return {name: _bytes(value) if name in hashes else value for name, value in told.items()}


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text[2:])
