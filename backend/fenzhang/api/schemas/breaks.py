"""Breaks of the reconciliation, and what people say about them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from fenzhang.api.schemas.constraints import examples
from fenzhang.api.schemas.ledger import Sum
from fenzhang.api.types import Model, Reference

Note = Annotated[str, Field(min_length=1, max_length=1_000, description="For whoever looks at it later.")]


class ExplanationBody(Model):
    """What a break is."""

    model_config = examples({"out_request_no": "explain-1", "explanation": "a fee of the bank"})
    out_request_no: Reference
    explanation: Note


class CorrectionBody(Model):
    """What makes up for a break: it exists, and is about the same amount."""

    kind: Literal["posting", "record", "payout", "break"]
    id: Annotated[
        str,
        Field(
            pattern="^[A-Za-z0-9.-]{1,35}$",
            description="Number of a posting, record or break; end-to-end id of a payout.",
        ),
    ]


class BreakResolutionBody(Model):
    """Why nothing more is to be done about a break."""

    model_config = examples(
        {
            "out_request_no": "resolve-1",
            "note": "the bank gave it back",
            "correction": {"kind": "break", "id": "2"},
        }
    )
    out_request_no: Reference
    note: Note
    correction: CorrectionBody | None = None


class BreakAnswer(BaseModel):
    """Something on which two sides do not agree. `details` say what either side says."""

    break_id: int
    comparison: Literal["INSTRUCTIONS", "CHAIN", "BANK"]
    kind: str
    subject: str = Field(description="What it is about: an instruction, account, payout, line or statement.")
    currency: str | None
    amount: Sum | None = Field(description="Minor units; below zero, money is missing.")
    details: dict[str, Any]
    owner: Literal["platform", "clearing bank", "operator"]
    state: Literal["OPEN", "EXPLAINED", "RESOLVED"]
    present: bool = Field(description="Whether the last run that looked still saw it.")
    first_seen: int
    last_seen: int
    explanation: str | None
    explained_by: str | None
    previous_break_id: int | None = Field(description="The break that came back as this one.")


class BreakList(BaseModel):
    """A page of breaks, the oldest first; `next` is the cursor of the next one, null on the last."""

    breaks: list[BreakAnswer]
    next: int | None


class BreakEventAnswer(BaseModel):
    """What happened to a break."""

    kind: Literal["OPENED", "CHANGED", "EXPLAINED", "RESOLVED"]
    at: int
    who: str
    run: int | None
    note: str | None
    amount: Sum | None


class CorrectionAnswer(BaseModel):
    """What makes up for a break."""

    kind: Literal["posting", "record", "payout", "break"]
    id: str
    currency: str | None
    amount: Sum | None


class BreakLineAnswer(BaseModel):
    """A line of a bank's statement."""

    line: int
    booked_on: str
    amount: int
    end_to_end_id: str | None
    reference: str | None


class BreakStoryAnswer(BreakAnswer):
    """All about a break."""

    events: list[BreakEventAnswer]
    corrections: list[CorrectionAnswer]
    lines: list[BreakLineAnswer]
