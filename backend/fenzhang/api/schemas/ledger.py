"""What the clearing ledger answers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

Sum = int | Annotated[str, Field(pattern="^-?[0-9]{19,}$")]
"""A sum of amounts: beyond 64 bits it is decimal text, which every JSON reader gets right."""
BLOCK_NUMBER: Any = Field(description="The answer is as of the end of this block; 0: before the first.")
BLOCK_TIME: Any = Field(description="Unix time of that block; null where it is not kept.")
_Account = Literal["bank_custody", "order_held", "recipient_payable", "buyer_refund_payable", "in_transit"]


class TrialBalanceLine(BaseModel):
    """An account and the sums of everything posted to it, minor units."""

    kind: str
    currency: str
    participant_id: str | None
    debit: Sum
    credit: Sum


class TrialBalanceKind(BaseModel):
    """All accounts of a kind in a currency, minor units. `balance` is what they hold together."""

    kind: _Account
    currency: str
    accounts: int
    debit: Sum
    credit: Sum
    balance: Sum


class TrialBalanceTotal(BaseModel):
    """Both columns of a currency; they are equal."""

    currency: str
    debit: Sum
    credit: Sum


class TrialBalanceAnswer(BaseModel):
    """Every account of the clearing ledger, all of a kind together, and both columns of each currency."""

    block_number: int = BLOCK_NUMBER
    block_time: int | None = BLOCK_TIME
    accounts: list[TrialBalanceLine]
    kinds: list[TrialBalanceKind]
    totals: list[TrialBalanceTotal]


class StatementLine(BaseModel):
    """A posting as the account sees it, minor units; `balance` is what the account held after it.

    `reversed_by` names the posting that takes it back because a reorganisation took its block off the chain, and
    `reverses` the posting that it takes back itself.
    """

    posting: int
    side: Literal["DEBIT", "CREDIT"]
    amount: int
    balance: Sum
    counter_account: _Account
    counter_participant_id: str | None
    kind: Literal[
        "CAPTURE",
        "SPLIT",
        "RELEASE",
        "RETURN",
        "REFUND",
        "RESOLUTION",
        "PAYOUT",
        "PAYOUT_PAID",
        "PAYOUT_FAILED",
        "PAYOUT_RETURNED",
    ]
    record: int
    block_number: int
    time: int | None = Field(description="Unix time of the block; null if it is not on the chain any more.")
    batch: int
    tx_hash: str
    order_id: str | None = Field(
        description="Null for an order of another platform, and where there is none."
    )
    instruction_id: str | None = Field(description="Null for an instruction of another platform.")
    reverses: int | None
    reversed_by: int | None
    cycle_id: str | None = Field(description="Of what became of a payout: its cycle.")
    payout_id: str | None = Field(
        description="Of what became of a payout: its id, which is also the record's."
    )
    reason: str | None = Field(description="Of a payout that failed or came back: the bank's code.")
    out_order_no: str | None = None
    out_split_no: str | None = None
    out_release_no: str | None = None
    out_return_no: str | None = None
    out_refund_no: str | None = None


class StatementAnswer(BaseModel):
    """A page of an account's statement; `next` is the cursor of the next one, null on the last.

    `opening`, `debit`, `credit` and `closing` are those of all blocks from `from_block` to `to_block`, on every page.
    """

    account: _Account
    currency: str
    participant_id: str | None
    out_participant_no: str | None
    from_block: int
    to_block: int
    opening: Sum
    debit: Sum
    credit: Sum
    closing: Sum
    lines: list[StatementLine]
    next: str | None


class AnchorAnswer(BaseModel):
    """The head of the journal at the end of block `at_block`, as the last closed cycle anchored it on the chain."""

    cycle_id: str
    currency: str
    scheme: str
    number: int
    at_block: int
    journal_head: str
    link: int = Field(description="Link of this journal there.")
    agrees: bool = Field(
        description="Whether its hash is the one that was anchored. If not: `journal verify`."
    )


class JournalHeadAnswer(BaseModel):
    """The newest link of the journal's hash chain. Before the first posting all is 0."""

    link: int = Field(description="Links are counted from 1.")
    hash: str = Field(
        description="SHA-256 over the link before and the postings of this one; see docs/ledger.md."
    )
    last_posting: int = Field(description="Number of the newest posting that the link covers.")
    block_number: int = Field(description="Block of the records that its postings were made for.")
    anchor: AnchorAnswer | None = Field(description="Null before the first cycle.")
