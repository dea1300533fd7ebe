"""What a comparison finds, and what may become of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final

from fenzhang.ledger.differences import Check, Difference
from fenzhang.store.reconciliationtables import BreakState, Comparison, Owner


class BreakKind(StrEnum):
    """What does not agree. What ledger and chain differ on is named after its check (`kind_of`)."""

    INSTRUCTION_OVERDUE = "INSTRUCTION_OVERDUE"
    """Accepted long ago, and without an outcome."""
    OUTCOME_DIFFERS = "OUTCOME_DIFFERS"
    """An outcome without the record or rejection that it must have, or with another one."""
    AMOUNT_DIFFERS = "AMOUNT_DIFFERS"
    """A record has another amount than was asked for, or statement lines another one than their payout."""
    CURRENCY_DIFFERS = "CURRENCY_DIFFERS"
    LINE_WITHOUT_PAYOUT = "LINE_WITHOUT_PAYOUT"
    """Money moved at the bank for nothing that this system knows."""
    PAYOUT_WITHOUT_LINE = "PAYOUT_WITHOUT_LINE"
    """The bank said days ago that it paid, and its statements do not."""
    PAID_TWICE = "PAID_TWICE"
    """A payout was paid, and then more was paid for it. The amount is what was too much."""
    RETURN_UNKNOWN = "RETURN_UNKNOWN"
    """Money came back that nobody is known to have been paid."""
    AMBIGUOUS = "AMBIGUOUS"
    """Several payouts would explain a line, and nothing says which."""
    BALANCE_GAP = "BALANCE_GAP"
    """A statement does not begin with the balance that the one before ended with."""
    STATEMENT_OVERLAP = "STATEMENT_OVERLAP"
    """A statement is about days that another one is about too."""
    CUSTODY_DIFFERS = "CUSTODY_DIFFERS"
    """Captured money is not what came in at the bank without a reference."""
    DISPUTED_PAYOUT = "DISPUTED_PAYOUT"
    """The bank paid a payout after it had said that it failed."""
    DOCUMENT_UNREADABLE = "DOCUMENT_UNREADABLE"
    """A document of the bank is not what it claims to be."""


def kind_of(check: Check) -> str:
    """Kind of a break for a difference of this check."""
    return f"CHAIN_{check.name}"


MAX_SUBJECT: Final = 200
"""Characters."""
KINDS: Final = (*(kind.value for kind in BreakKind), *map(kind_of, Check))
"""All of them."""

_OF_THE_BANK: Final = frozenset(
    {
        BreakKind.AMOUNT_DIFFERS,
        BreakKind.LINE_WITHOUT_PAYOUT,
        BreakKind.PAYOUT_WITHOUT_LINE,
        BreakKind.PAID_TWICE,
        BreakKind.RETURN_UNKNOWN,
        BreakKind.BALANCE_GAP,
        BreakKind.STATEMENT_OVERLAP,
        BreakKind.DISPUTED_PAYOUT,
        BreakKind.DOCUMENT_UNREADABLE,
    }
)


@dataclass(frozen=True, slots=True)
class Sighting:
    """Something on which two sides do not agree, as one run saw it. `amount` in minor units of `currency`.

    `details` say what either side says, in JSON, without accounts and names. `lines` are the statement lines that
    belong to it. What the settings say is not expected to agree has an `explanation` at once.
    """

    comparison: Comparison
    kind: str
    subject: str
    currency: str | None = None
    amount: int | None = None
    details: dict[str, Any] = field(default_factory=dict, hash=False)
    lines: tuple[int, ...] = ()
    explanation: str | None = None

    @property
    def key(self) -> bytes:
        """The same in each run that sees the same break."""
        parts = (self.comparison, self.kind, self.subject, self.currency or "")
        return sha256("\0".join(parts).encode()).digest()

    @property
    def owner(self) -> Owner:
        """Who has to look at it."""
        if self.comparison is Comparison.BANK and self.kind in _OF_THE_BANK:
            return Owner.BANK
        if self.comparison is Comparison.INSTRUCTIONS and self.kind == BreakKind.AMOUNT_DIFFERS:
            return Owner.PLATFORM
        return Owner.OPERATOR


def sighting_of(difference: Difference) -> Sighting:
    """The break that a difference between ledger and chain is. Its amount is the ledger's less the chain's."""
    chain, ledger = difference.chain, difference.ledger
    amount = ledger - chain if isinstance(chain, int) and isinstance(ledger, int) else None
    return Sighting(
        Comparison.CHAIN,
        kind_of(difference.check),
        (difference.subject or "")[:MAX_SUBJECT],
        difference.currency,
        amount if difference.currency else None,
        {"chain": str(chain), "ledger": str(ledger)},
    )


class Sign(StrEnum):
    """What may happen to a break."""

    SEEN = "SEEN"
    """A run saw it again, the same."""
    SEEN_CHANGED = "SEEN_CHANGED"
    """A run saw it again with another amount."""
    GONE = "GONE"
    """A run looked and it was not there any more."""
    EXPLAIN = "EXPLAIN"
    RESOLVE = "RESOLVE"


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a break stands, and whether it is still there."""

    state: BreakState = BreakState.OPEN
    present: bool = True


def after(standing: Standing, sign: Sign) -> Standing | None:
    """Where a break stands after `sign`. None: this break is over, or does not allow it.

    A break that is gone never comes back as itself, and neither does one that was resolved and becomes another amount:
    what is seen then is a new break.
    """
    state, present = standing.state, standing.present
    resolved = state is BreakState.RESOLVED
    match sign:
        case Sign.SEEN:
            return standing if present else None
        case Sign.SEEN_CHANGED:
            return standing if present and not resolved else None
        case Sign.GONE:
            return Standing(BreakState.RESOLVED, present=False) if present else None
        case Sign.EXPLAIN:
            return None if resolved else Standing(BreakState.EXPLAINED, present)
        case Sign.RESOLVE:
            return Standing(BreakState.RESOLVED, present) if state is BreakState.EXPLAINED else None
