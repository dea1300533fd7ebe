"""Cycles, payouts and bank accounts: what is asked and answered."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from fenzhang.api.schemas.ledger import Sum
from fenzhang.api.types import Model
from fenzhang.clearing.cycles.showing import CycleState
from fenzhang.domain.netting import LeftOut

_STATE: Any = Field(
    description="On the chain: IN_TRANSIT, PAID, REFUSED, FAILED or RETURNED; null while it is not taken."
)


class BankAccountBody(Model):
    """Where a participant is paid in a currency."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"scheme": "OTHER", "number": "6222000000000002", "holder": "商户甲", "bank": "102100099996"}
            ]
        }
    )
    scheme: Literal["IBAN", "OTHER"] = Field(description="IBAN, or the bank's own number.")
    number: str = Field(min_length=1, max_length=34)
    holder: str = Field(min_length=1, max_length=140, description="The name that the bank compares.")
    bank: str = Field(default="", max_length=12, description="BIC, or CNAPS code of 12 digits.")


class BankAccountAnswer(BaseModel):
    """Where a participant is paid. Of the number the last four characters, of the holder the first one."""

    out_participant_no: str
    participant_id: str
    currency: str
    scheme: Literal["IBAN", "OTHER"]
    number: str
    holder: str
    bank: str


class CycleAnswer(BaseModel):
    """A cycle. Amounts are minor units; what a plan alone knows is null for a cycle that was planned elsewhere."""

    currency: str
    scheme: str
    number: int
    cycle_id: str
    state: CycleState
    closes: int | None = Field(description="The cut-off, Unix seconds: members came in before it.")
    due: str | None = Field(description="The day on which its payouts are due.")
    to_block: int = Field(description="Last block whose records are members.")
    at_block: int = Field(description="The block as of whose end positions were netted.")
    payouts: int
    total: int
    payout_root: str
    bill_root: str
    journal_head: str
    bank: str | None = Field(description="Account whose signature closes it.")
    refusal: str | None = Field(description="Why the bank has not signed it so far.")
    block_number: int | None = Field(description="Where it was closed.")
    left_out: dict[LeftOut, int] | None = Field(description="How many participants are not paid, and why.")


class CycleList(BaseModel):
    """Cycles by currency, scheme and number; `next` is the cursor of the next page, null on the last."""

    cycles: list[CycleAnswer]
    next: str | None = None


class PayoutAnswer(BaseModel):
    """What a cycle does for a participant, minor units. Either `amount` is paid, or `left_out` says why not."""

    currency: str
    scheme: str
    number: int
    participant_id: str
    out_participant_no: str | None = Field(description="Its platform's name for it.")
    brought_forward: Sum
    credit: Sum
    debit: Sum
    due: Sum
    position: Sum
    amount: int
    left_out: LeftOut | None
    state: str | None = _STATE
    reason: str | None
    index: int | None
    payout_id: str | None
    end_to_end_id: str | None


class ProvenPayoutAnswer(PayoutAnswer):
    """The same, with the path from `payout_id` to the payout root of its cycle."""

    cycle_id: str
    payout_root: str
    proof: list[str] | None


class PayoutList(BaseModel):
    """Payouts; `next` is the cursor of the next page, null on the last."""

    payouts: list[PayoutAnswer]
    next: str | None = None
