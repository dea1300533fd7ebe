"""What follows from what a bank says: the states of a payout, and when a file may be sent again.

Nothing else decides it.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum, auto
from typing import Final

from fenzhang.clearing.model import PayoutState
from fenzhang.store.tables import BankPaymentState as State

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


class Next(Enum):
    """What to do about a file that is not known to have arrived."""

    IT_IS_THERE = auto()
    SEND = auto()
    WAIT = auto()


def decide(answers: Collection[PayoutState], *, quiet: bool) -> Next:
    """By what the bank says of all payouts of the file, and whether all is `quiet`: the last attempt long enough ago.

    Until then the file may still be on its way, whatever the bank says.
    """
    if any(answer is not PayoutState.NOT_KNOWN for answer in answers):
        return Next.IT_IS_THERE
    return Next.SEND if quiet else Next.WAIT
