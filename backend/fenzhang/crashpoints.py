"""Named places at which a process dies when it is told to, as `kill -9` at that moment would end it.

The fault campaign starts a process with FENZHANG_CRASH_AT=after-store (or after-store:3, to pass it twice first).
Without that variable, or on any chain but the devnet, `passed` does nothing at all.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import Final

from fenzhang.chain.keystore import DEVNET_CHAIN_ID

VARIABLE: Final = "FENZHANG_CRASH_AT"
AFTER_ACCEPT: Final = "after-accept"
"""API: the instruction is committed, the client has no answer yet."""
AFTER_SIGN: Final = "after-sign"
"""Submission: a transaction is signed and stored nowhere."""
AFTER_STORE: Final = "after-store"
"""Submission: the transaction is stored, and no node has heard of it."""
AFTER_BROADCAST: Final = "after-broadcast"
"""Submission: the node has it, and the database does not know."""
AFTER_MINE: Final = "after-mine"
"""Submission: its receipt is here, its end not stored."""
IN_MIRROR: Final = "in-mirror"
"""Mirror: records and postings are written, states and checkpoint are not, nothing is committed."""
BEFORE_BANK: Final = "before-bank"
"""Clearing: a file is marked as perhaps sent, and no byte has left."""
AFTER_BANK: Final = "after-bank"
"""Clearing: the bank has answered, and the database does not know."""
BANK_POINTS: Final = (BEFORE_BANK, AFTER_BANK)
"""Of the sender of payouts, which the fault campaign's system does not run."""
BEFORE_PLAN: Final = "before-plan"
"""Clearing: a cycle is netted, and not stored."""
AFTER_PLAN: Final = "after-plan"
"""Clearing: a cycle is planned, and nobody was asked to sign it."""
AFTER_SIGNATURE: Final = "after-signature"
"""Clearing: the bank has signed a cycle, and the database does not know."""
AFTER_CLOSE_QUEUED: Final = "after-close-queued"
"""Clearing: the closing of a cycle waits for submission."""
AFTER_TAKE_QUEUED: Final = "after-take-queued"
"""Clearing: the payouts of a closed cycle are asked for."""
BEFORE_FILE: Final = "before-file"
"""Clearing: files of payouts are written, and not committed."""
AFTER_FILE: Final = "after-file"
"""Clearing: files of payouts are stored."""
AFTER_REPORT_SIGNED: Final = "after-report-signed"
"""Clearing: the bank has signed a report, and the database does not know."""
AFTER_REPORT_QUEUED: Final = "after-report-queued"
"""Clearing: a report waits for submission."""
CLOSING_POINTS: Final = (
    BEFORE_PLAN,
    AFTER_PLAN,
    AFTER_SIGNATURE,
    AFTER_CLOSE_QUEUED,
    AFTER_TAKE_QUEUED,
    BEFORE_FILE,
    AFTER_FILE,
    AFTER_REPORT_SIGNED,
    AFTER_REPORT_QUEUED,
)
"""Of the closer of cycles, which the fault campaign's system does not run either."""
POINTS: Final = (AFTER_ACCEPT, AFTER_SIGN, AFTER_STORE, AFTER_BROADCAST, AFTER_MINE, IN_MIRROR)


@dataclass(slots=True)
class _Armed:
    point: str = ""
    left: int = 0


_armed = _Armed()


def arm(chain_id: int) -> None:
    """Read the variable. Called once by a process that knows which chain it works on."""
    point, _, number = os.environ.get(VARIABLE, "").partition(":")
    if chain_id == DEVNET_CHAIN_ID and point in (*POINTS, *BANK_POINTS, *CLOSING_POINTS):
        _armed.point, _armed.left = point, int(number or 1)


def passed(point: str) -> None:
    """Die here, if this is the place and the time."""
    if _armed.point != point:
        return
    _armed.left -= 1
    if _armed.left <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
