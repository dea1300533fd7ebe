"""What goes wrong at the sandbox bank, on demand."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=0, le=1_000_000)]
Seconds = Annotated[float, Field(ge=0, le=86_400)]


class Faults(BaseModel):
    """All off by default. Counters count down as they take effect."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lose_files: Count = 0
    """The next files never arrive: no answer, nothing taken."""
    lose_answers: Count = 0
    """The next files are taken, and no answer arrives."""
    answer_after_s: Seconds = 0
    """Files are taken at once and answered late."""
    take_after_s: Seconds = 0
    """Files are answered at once and looked at late: until then the bank does not know their payouts."""
    pay_after_s: Seconds = 0
    """Payouts stay pending for so long."""
    delay_statements_s: Seconds = 0
    """Movements show in statements and notifications so much later."""
    duplicate_lines: bool = False
    """Every line of a payout stands twice, and then once more as a reversal; notifications come twice."""
    split_lines: bool = False
    """The debit of a payout is shown as two lines."""
    merge_lines: bool = False
    """The debits of a file are shown as one line with a part each."""
    drop_references: bool = False
    """End-to-end ids are left out."""
    drop_details: bool = False
    """Lines do not say of which payments they are made. A merged line still names the message id of its file."""
