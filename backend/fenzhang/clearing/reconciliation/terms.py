"""What a reconciliation takes for late, and what it expects on statements."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Terms:
    """By the settings of the environment."""

    overdue_blocks: int = 100
    """An instruction without an outcome is overdue when so many blocks have come after it was accepted."""
    payout_line_days: int = 3
    """A payout that the bank paid is on its statements after so many days."""
    statements_show_captures: bool = True
    """Whether captured money comes in on the accounts that there are statements of."""
