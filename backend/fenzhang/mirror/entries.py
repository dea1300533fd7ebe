"""What is to be written of a range of events: records, the orders that they settled, and outcomes of instructions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fenzhang.chain.events import InstructionRejected, LogPosition
from fenzhang.domain.allocation import Allocation
from fenzhang.domain.records import Capture, RecordKind


@dataclass(slots=True)
class OrderState:
    """An order as its events leave it. Amounts are minor units."""

    capture: Capture
    held: int
    head: bytes
    is_new: bool = False


@dataclass(slots=True)
class Entry:
    """A record to be written."""

    id: int
    kind: RecordKind
    instruction_id: bytes
    order_id: bytes
    split_id: bytes | None
    amount: int
    leaf: bytes
    at: LogPosition
    cycle_id: bytes | None = None
    reason: bytes | None = None
    asked: InstructionRejected | None = None
    """Of a rejected instruction: the event, which says what was asked and by whom."""
    told: dict[str, Any] | None = None
    """Of a payout that failed or came back: the bank's reason, as the record keeps it."""
    allocations: tuple[Allocation, ...] = ()
    batch: int = 0
    leaf_index: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one instruction or capture on chain. `signer` is the platform, or whose signature was rejected.

    `reason` is None when it settled; `capture` is set for a settled capture.
    """

    at: LogPosition
    kind: RecordKind
    id: bytes
    order_id: bytes
    signer: bytes
    amount: int
    reason: bytes | None = None
    capture: Capture | None = None
