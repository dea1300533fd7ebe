"""What a reconciliation finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Check(StrEnum):
    """What was compared."""

    BANK_CUSTODY = "bank_custody"
    """Captured and not paid out on chain; balance of the bank's account."""
    IN_TRANSIT = "in_transit"
    """Payouts in transit on chain; balance of their account."""
    ORDER_HELD = "order_held"
    """Held on chain; balance of the order held account."""
    BUYER_REFUND_PAYABLE = "buyer_refund_payable"
    """Refunded on chain; balance of the account of what is owed to buyers."""
    RECIPIENT_PAYABLE = "recipient_payable"
    """A participant's position; balance of its account."""
    POSITIONS = "positions"
    """Captured less held, refunded, in transit and paid; all known positions. Less known: somebody unknown has one."""
    ORDER = "order"
    """Held amount of an order's slot; of its row."""
    ORDER_COMMITMENT = "order_commitment"
    """The slot's commitment; what row and records hash to."""
    ORDER_RECORDS = "order_records"
    """Held amount that an order's records come to; of its row."""
    CONDITION = "condition"
    """What the contracts say of a condition; what its row says. Of the past: its terms alone."""
    CYCLE = "cycle"
    """What is kept of a cycle on chain; what its row says, and what its payouts come to."""
    CYCLES = "cycles"
    """Last cycle of a currency and scheme; number of its rows."""
    PAYOUT = "payout"
    """State of a payout on chain; of its row, and by its records."""
    BATCH = "batch"
    """Root of a sealed batch; root of its records."""
    BATCHES = "batches"
    """Number of sealed batches."""
    RECORD = "record"
    """Leaf under which a record was sealed; leaf of what the row says now."""
    POSTING = "posting"
    """What a record must post; what was posted for it."""
    JOURNAL = "journal"
    """What the hash chain of the journal vouches for; what is posted. The first posting or link that does not fit."""
    TRIAL_BALANCE = "trial_balance"
    """All debits of a currency; all credits."""


ACCOUNT_CHECKS: Final = frozenset(
    {
        Check.BANK_CUSTODY,
        Check.IN_TRANSIT,
        Check.ORDER_HELD,
        Check.BUYER_REFUND_PAYABLE,
        Check.RECIPIENT_PAYABLE,
        Check.POSITIONS,
        Check.TRIAL_BALANCE,
    }
)
"""Those that need balances and positions alone."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing on which chain and ledger disagree.

    `subject` names a participant, order, condition, cycle, payout, batch, record or posting. Amounts are minor units
    of `currency`. `chain` is what the chain says or demands, `ledger` what the tables say.
    """

    check: Check
    chain: int | str
    ledger: int | str
    currency: str | None = None
    subject: str | None = None

    def __str__(self) -> str:
        where = " ".join(part for part in (self.currency, self.subject) if part)
        return f"{self.check}{' ' + where if where else ''}: chain {self.chain}, ledger {self.ledger}"
