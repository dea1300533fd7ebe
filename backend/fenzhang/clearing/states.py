"""What follows from what a bank says: the states of a payout, and when a file may be sent again.

Nothing else decides it.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum, auto
from typing import Final

from fenzhang.clearing.model import PayoutState
from fenzhang.store.banktables import BankPaymentState as State

OPEN: Final = frozenset({State.PREPARED, State.UNKNOWN, State.SENT})
"""Nobody knows yet what becomes of the money."""
FOLLOWED: Final = frozenset({State.SENT, State.DISPUTED})
"""The bank is asked about these."""
SENDABLE: Final = frozenset({State.PREPARED, State.UNKNOWN})
"""A file may be sent again only while all of its payouts are in these."""


def after(state: State, said: PayoutState) -> State:
    """The state of a payout after the bank said `said`. What is older than what is known changes nothing."""
    match said:
        case PayoutState.NOT_KNOWN:
            return state
        case PayoutState.PENDING:
            return State.SENT if state in OPEN else state
        case PayoutState.PAID:
            if state in OPEN:
                return State.PAID
            return State.DISPUTED if state is State.FAILED else state
        case PayoutState.FAILED:
            if state in OPEN:
                return State.FAILED
            return State.RETURNED if state in {State.PAID, State.DISPUTED} else state


DUPLICATE: Final = frozenset({"AM05", "DU01", "DU02", "DU03", "DU04", "DU05"})
"""ISO 20022's reasons for refusing what the bank has already."""


class Arrival(Enum):
    """Whether a bank has a file."""

    THERE = auto()
    NOT_THERE = auto()
    """It knows none of the payouts, now. What is on its way may still arrive."""
    NOT_SAID = auto()


def arrival(answers: Collection[PayoutState], payouts: int) -> Arrival:
    """By what the bank says of a file's payouts, of which there are so many. One that it knows is enough."""
    if any(answer is not PayoutState.NOT_KNOWN for answer in answers):
        return Arrival.THERE
    return Arrival.NOT_THERE if len(answers) == payouts else Arrival.NOT_SAID
