"""What a range of events means: records with their batches, orders, postings, and outcomes of instructions.

Nothing is read or written here; `read_events` is a function of the events and of the orders as they stood before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from fenzhang.chain.eip712 import capture_hash
from fenzhang.chain.events import (
    ApprovalLockChanged,
    AuthorityRotated,
    AuthorizationRejected,
    BatchSealed,
    ClearingEvent,
    ConditionEvent,
    ConsentChanged,
    CycleClosed,
    Event,
    FreezeChanged,
    HeirNamed,
    InstructionRejected,
    LogPosition,
    MaxShareOutChanged,
    OrderCaptured,
    OrderRefunded,
    OrderReleased,
    OrderSplit,
    OrderTerms,
    ParticipantEnrolled,
    ParticipantFreezeChanged,
    ParticipantPlaced,
    ParticipantStatusChanged,
    PayoutEvent,
    RuleApproved,
    RuleProposed,
    RuleRetired,
    RuleVetoed,
    ScheduleProposed,
    SplitReturned,
    SuspenseResolved,
)
from fenzhang.chain.evidence import (
    ZERO_HEAD,
    content_of_refund,
    content_of_rejection,
    content_of_release,
    content_of_resolution,
    content_of_return,
    content_of_split,
    merkle_root,
    next_head,
    record_leaf,
)
from fenzhang.domain.allocation import Allocation
from fenzhang.domain.past import add_up, held_change
from fenzhang.domain.records import NOTHING, RecordKind
from fenzhang.domain.suspense import suspense_id
from fenzhang.ledger.posting import Draft, draft
from fenzhang.mirror.clearing import entry_of
from fenzhang.mirror.entries import Entry, OrderState, Outcome
from fenzhang.mirror.errors import BatchRootMismatch, MirrorError

SettledEvent = OrderCaptured | OrderSplit | OrderReleased | SplitReturned | OrderRefunded
"""Events that move the money of an order."""
GovernanceEvent = (
    ParticipantEnrolled
    | ParticipantStatusChanged
    | ParticipantPlaced
    | AuthorityRotated
    | ConsentChanged
    | MaxShareOutChanged
    | RuleProposed
    | ScheduleProposed
    | RuleApproved
    | RuleRetired
    | RuleVetoed
    | ApprovalLockChanged
    | FreezeChanged
    | ParticipantFreezeChanged
    | ConditionEvent
    | HeirNamed
    | SuspenseResolved
    | ClearingEvent
)
"""Events that change who and what takes part, what orders wait for, and what is paid out."""


@dataclass(slots=True)
class Reading:
    """What a range of events means. `orders` are those that it touches."""

    orders: dict[bytes, OrderState]
    next_record: int
    last_batch: int
    currencies: dict[bytes, str]
    """Of cycles that are closed."""
    entries: list[Entry] = field(default_factory=list)
    postings: list[Draft] = field(default_factory=list)
    outcomes: list[Outcome | AuthorizationRejected] = field(default_factory=list)
    governance: list[GovernanceEvent] = field(default_factory=list)
    cleared: list[tuple[CycleClosed | PayoutEvent, Entry]] = field(default_factory=list)
    """Closed cycles and what became of payouts, each with its record."""
    touched: dict[bytes, OrderState] = field(default_factory=dict)
    _open: list[Entry] = field(default_factory=list)
    """Records of the present transaction that are not sealed yet."""

    def finish(self) -> None:
        """Check that the last transaction sealed its records."""
        if self._open:
            at = self._open[0].at
            raise MirrorError(
                f"records in block {at.block_number} are in no batch: 0x{at.tx_hash.hex()}",
                block=at.block_number,
                transaction=at.tx_hash,
            )

    def take(self, event: Event) -> None:
        """Add one event."""
        if self._open and event.at.tx_hash != self._open[0].at.tx_hash:
            self.finish()
        match event:
            case OrderCaptured() | OrderTerms():
                self._captured(event)
            case OrderSplit() | OrderReleased():
                self._paid(event)
            case SplitReturned() | OrderRefunded():
                self._taken_back(event)
            case InstructionRejected():
                self._rejected(event)
            case AuthorizationRejected():
                self.outcomes.append(event)
            case SuspenseResolved():
                self._resolved(event)
            case BatchSealed():
                self._sealed(event)
            case _:
                self._other(event)

    def _other(self, event: Event) -> None:
        if isinstance(event, CycleClosed | PayoutEvent):
            self._cleared(event)
        elif isinstance(event, GovernanceEvent):
            self.governance.append(event)
        # A skipped authorization stays valid and an order that was not expired is as it was, which submission sees
        # from the transaction; currencies and roles have no row.

    def _captured(self, event: OrderCaptured | OrderTerms) -> None:
        if isinstance(event, OrderTerms):
            name = f"order 0x{event.order_id.hex()}"
            raise MirrorError(f"{name} has times and was not captured", order_id=event.order_id)
        if event.order_id in self.orders:
            raise MirrorError(f"order 0x{event.order_id.hex()} was captured twice", order_id=event.order_id)
        capture = event.capture
        order = OrderState(capture, 0, ZERO_HEAD, is_new=True)
        self.orders[event.order_id] = order
        self._settle(RecordKind.CAPTURE, event.order_id, order, event, content=capture_hash(capture))

    def _paid(self, event: OrderSplit | OrderReleased) -> None:
        order = self._order(event.order_id, event.at)
        if isinstance(event, OrderSplit):
            kind, number, allocations = RecordKind.SPLIT, event.split_id, event.allocations
            content = content_of_split(event.allocations)
        else:
            kind, number = RecordKind.RELEASE, event.release_id
            allocations = (Allocation(event.merchant, event.amount),)
            content = content_of_release(event.merchant)
        self._settle(kind, number, order, event, content=content, allocations=allocations)

    def _taken_back(self, event: SplitReturned | OrderRefunded) -> None:
        order = self._order(event.order_id, event.at)
        if isinstance(event, SplitReturned):
            kind, number, split_id = RecordKind.RETURN, event.return_id, event.split_id
            allocations, content = event.allocations, content_of_return(event.split_id, event.allocations)
        else:
            kind, number, split_id = RecordKind.REFUND, event.refund_id, None
            allocations, content = event.takes, content_of_refund(event.takes)
        self._settle(kind, number, order, event, content=content, allocations=allocations, split_id=split_id)

    def _rejected(self, event: InstructionRejected) -> None:
        content = content_of_rejection(event.reason)
        self._append(
            Entry(
                id=self.next_record,
                kind=RecordKind.REJECTION,
                instruction_id=event.id,
                order_id=event.order_id,
                split_id=None,
                amount=event.amount,
                leaf=record_leaf(RecordKind.REJECTION, event.id, event.order_id, event.amount, content),
                at=event.at,
                reason=event.reason,
                asked=event,
            )
        )
        self.outcomes.append(
            Outcome(event.at, event.kind, event.id, event.order_id, event.signer, event.amount, event.reason)
        )

    def _resolved(self, event: SuspenseResolved) -> None:
        """A record of no order. Its allocations are from where and to whom."""
        content = content_of_resolution(event.currency, event.heir)
        suspense = suspense_id(event.participant)
        allocations = (Allocation(suspense, event.amount), Allocation(event.heir, event.amount))
        self.postings += draft(
            RecordKind.RESOLUTION,
            currency=event.currency,
            amount=event.amount,
            allocations=allocations,
            record_id=self.next_record,
            block_number=event.at.block_number,
        )
        self._append(
            Entry(
                id=self.next_record,
                kind=RecordKind.RESOLUTION,
                instruction_id=event.participant,
                order_id=NOTHING,
                split_id=None,
                amount=event.amount,
                leaf=record_leaf(RecordKind.RESOLUTION, event.participant, NOTHING, event.amount, content),
                at=event.at,
                allocations=allocations,
            )
        )
        self.governance.append(event)

    def _cleared(self, event: CycleClosed | PayoutEvent) -> None:
        if isinstance(event, CycleClosed):
            self.currencies[event.cycle_id] = event.cycle.currency
        currency = self.currencies.get(event.cycle_id)
        if currency is None:
            raise MirrorError(
                f"block {event.at.block_number} pays out cycle 0x{event.cycle_id.hex()}, whose closing was not read",
                cycle_id=event.cycle_id,
                block=event.at.block_number,
            )
        entry = entry_of(event, currency, self.next_record)
        self.postings += draft(
            entry.kind,
            currency=currency,
            amount=entry.amount,
            allocations=entry.allocations,
            record_id=entry.id,
            block_number=event.at.block_number,
        )
        self._append(entry)
        self.cleared.append((event, entry))
        self.governance.append(event)

    def _order(self, order_id: bytes, at: LogPosition) -> OrderState:
        order = self.orders.get(order_id)
        if order is None:
            raise MirrorError(
                f"block {at.block_number} settles order 0x{order_id.hex()}, whose capture was not read",
                order_id=order_id,
                block=at.block_number,
            )
        return order

    def _settle(
        self,
        kind: RecordKind,
        instruction_id: bytes,
        order: OrderState,
        event: SettledEvent,
        *,
        content: bytes,
        allocations: tuple[Allocation, ...] = (),
        split_id: bytes | None = None,
    ) -> None:
        """Add a record that moved money: to its order, to the postings, to the batch."""
        at, amount, capture = event.at, event.amount, order.capture
        leaf = record_leaf(kind, instruction_id, capture.order_id, amount, content)
        if kind is not RecordKind.CAPTURE:
            order.head = next_head(order.head, leaf)
        order.held += held_change(kind, amount, sum(allocation.amount for allocation in allocations))
        if not 0 <= order.held <= capture.amount or not add_up(kind, amount, allocations):
            raise MirrorError(
                f"block {at.block_number} breaks the conservation of order 0x{capture.order_id.hex()}",
                order_id=capture.order_id,
                block=at.block_number,
            )
        self.touched[capture.order_id] = order
        self.postings += draft(
            kind,
            currency=capture.currency,
            amount=amount,
            allocations=allocations,
            record_id=self.next_record,
            block_number=at.block_number,
        )
        self.outcomes.append(
            Outcome(
                at,
                kind,
                instruction_id,
                capture.order_id,
                capture.platform,
                amount,
                capture=capture if kind is RecordKind.CAPTURE else None,
            )
        )
        self._append(
            Entry(
                id=self.next_record,
                kind=kind,
                instruction_id=instruction_id,
                order_id=capture.order_id,
                split_id=split_id,
                amount=amount,
                leaf=leaf,
                at=at,
                allocations=allocations,
            )
        )

    def _append(self, entry: Entry) -> None:
        self.next_record += 1
        self.entries.append(entry)
        self._open.append(entry)

    def _sealed(self, event: BatchSealed) -> None:
        if event.batch != self.last_batch + 1:
            raise MirrorError(
                f"batch {event.batch} came after batch {self.last_batch}: events are missing",
                batch=event.batch,
                block=event.at.block_number,
            )
        leaves = [entry.leaf for entry in self._open]
        if len(leaves) != event.records or merkle_root(leaves) != event.root:
            raise BatchRootMismatch(
                f"batch {event.batch} in block {event.at.block_number} was sealed over other records",
                batch=event.batch,
                block=event.at.block_number,
                transaction=event.at.tx_hash,
            )
        for place, entry in enumerate(self._open):
            entry.batch, entry.leaf_index = event.batch, place
        self._open = []
        self.last_batch = event.batch


def read_events(
    events: Iterable[Event],
    orders: dict[bytes, OrderState],
    currencies: dict[bytes, str],
    next_record: int,
    last_batch: int,
) -> Reading:
    """Read events in order. `orders` are those that the events settle and that were captured before.

    `currencies` are those of cycles that the events pay out and that were closed before. Raises MirrorError when the
    events cannot be all that the contracts emitted.
    """
    reading = Reading(orders, next_record, last_batch, currencies)
    for event in events:
        reading.take(event)
    reading.finish()
    return reading


def known_orders(events: Iterable[Event]) -> set[bytes]:
    """Orders that must be loaded before reading: those that the events touch."""
    return {event.order_id for event in events if isinstance(event, SettledEvent)}


def known_cycles(events: Iterable[Event]) -> set[bytes]:
    """Cycles whose currencies must be loaded before reading: those that the events pay out."""
    return {event.cycle_id for event in events if isinstance(event, PayoutEvent)}
