"""What an auditor knows who sees nothing but the events: leaves, heads and slots of orders, totals, positions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import assert_never

from fenzhang.chain.clearing import payout_leaf
from fenzhang.chain.eip712 import capture_hash, cycle_hash
from fenzhang.chain.events import (
    BatchSealed,
    CycleClosed,
    Event,
    HeirNamed,
    InstructionRejected,
    OrderCaptured,
    OrderRefunded,
    OrderReleased,
    OrderSplit,
    PayoutEvent,
    PayoutFailed,
    PayoutPaid,
    PayoutRefused,
    PayoutReturned,
    PayoutTaken,
    SplitReturned,
    SuspenseResolved,
)
from fenzhang.chain.evidence import (
    ZERO_HEAD,
    capture_leaf,
    content_of_refund,
    content_of_rejection,
    content_of_release,
    content_of_resolution,
    content_of_return,
    content_of_split,
    merkle_root,
    next_head,
    order_slot,
    record_leaf,
)
from fenzhang.domain.allocation import Allocation
from fenzhang.domain.clearing import IN_TRANSIT, PAID
from fenzhang.domain.records import NOTHING, Capture, RecordKind
from fenzhang.domain.suspense import suspense_id

SettledEvent = OrderSplit | OrderReleased | SplitReturned | OrderRefunded
OrderRecordEvent = OrderCaptured | SettledEvent | InstructionRejected
RecordEvent = OrderRecordEvent | SuspenseResolved


def capture_of(event: OrderCaptured) -> Capture:
    """What the attestor signed about an order."""
    return Capture(
        order_id=event.order_id,
        platform=event.platform,
        merchant=event.merchant,
        rule_id=event.rule_id,
        rule_version=event.rule_version,
        currency=event.currency,
        amount=event.amount,
        bindings=event.bindings,
        hold_until=event.hold_until,
        expires_at=event.expires_at,
        facts=event.facts,
        condition=event.condition,
    )


def leaf_of(event: RecordEvent) -> bytes:
    """Leaf of the record that an event tells of."""
    match event:
        case OrderCaptured():
            leaf = capture_leaf(capture_of(event))
        case OrderSplit():
            leaf = _leaf(event, RecordKind.SPLIT, event.split_id, content_of_split(event.allocations))
        case OrderReleased():
            leaf = _leaf(event, RecordKind.RELEASE, event.release_id, content_of_release(event.merchant))
        case SplitReturned():
            content = content_of_return(event.split_id, event.allocations)
            leaf = _leaf(event, RecordKind.RETURN, event.return_id, content)
        case OrderRefunded():
            leaf = _leaf(event, RecordKind.REFUND, event.refund_id, content_of_refund(event.takes))
        case InstructionRejected():
            leaf = _leaf(event, RecordKind.REJECTION, event.id, content_of_rejection(event.reason))
        case SuspenseResolved():
            content = content_of_resolution(event.currency, event.heir)
            leaf = record_leaf(RecordKind.RESOLUTION, event.participant, NOTHING, event.amount, content)
        case _:
            assert_never(event)
    return leaf


def _leaf(event: OrderRecordEvent, kind: RecordKind, record_id: bytes, content: bytes) -> bytes:
    return record_leaf(kind, record_id, event.order_id, event.amount, content)


def leaves_of(events: Iterable[Event]) -> list[bytes]:
    """Leaves of the records among events of the ledger, in event order."""
    return [leaf_of(event) for event in events if isinstance(event, RecordEvent)]


@dataclass(slots=True)
class GhostOrder:
    """One order, summed up from its events (minor units)."""

    capture: Capture
    head: bytes = ZERO_HEAD
    split: int = 0
    released: int = 0
    returned: int = 0
    refunded: int = 0
    from_held: int = 0
    """Of `refunded`, what was held."""
    places: dict[bytes, int] = field(default_factory=dict)
    """Where the leaves of a split begin among those of the order, by split id."""
    taken_back: dict[bytes, list[int]] = field(default_factory=dict)
    """By split id, per leaf."""
    leaves: list[Allocation] = field(default_factory=list)
    """What each leaf got, in the order of records."""
    refunded_leaves: list[int] = field(default_factory=list)
    """What each of them gave to refunds."""

    @property
    def held(self) -> int:
        """What is left on the order."""
        return self.capture.amount - self.split - self.released + self.returned - self.from_held

    @property
    def to_others(self) -> int:
        """What left its merchant by splits and was neither returned nor refunded."""
        left = [leaf.amount - gone for leaf, gone in zip(self.leaves, self.refunded_leaves, strict=True)]
        for split_id, taken in self.taken_back.items():
            for place, amount in enumerate(taken, self.places[split_id]):
                left[place] -= amount
        return sum(
            amount
            for leaf, amount in zip(self.leaves, left, strict=True)
            if leaf.recipient != self.capture.merchant
        )

    @property
    def slot(self) -> int:
        """Its storage slot."""
        return order_slot(capture_hash(self.capture), self.head, self.held)


@dataclass(slots=True)
class Ghosts:
    """Totals that no contract keeps, for the invariants. Ids of records are counted to see what happened twice."""

    orders: dict[bytes, GhostOrder] = field(default_factory=dict)
    positions: defaultdict[tuple[str, bytes], int] = field(default_factory=lambda: defaultdict(int))
    captured: Counter[str] = field(default_factory=Counter)
    refunded: Counter[str] = field(default_factory=Counter)
    settled: Counter[bytes] = field(default_factory=Counter)
    """How often an instruction id settled, an order id was captured."""
    rejected: Counter[bytes] = field(default_factory=Counter)
    roots: list[bytes] = field(default_factory=list)
    heirs: dict[bytes, bytes] = field(default_factory=dict)
    """Of closed participants."""
    cycles: dict[bytes, str] = field(default_factory=dict)
    """Currencies of closed cycles."""
    stood_in: int = 0
    """How often somebody gave in the place of a suspense position."""

    def see(self, events: Iterable[Event]) -> None:
        """Take in the events of one transaction. Raises AssertionError for a batch that is not what it records."""
        events = list(events)
        for event in events:
            self._see(event)
        leaves = [leaf for event in events if (leaf := self._leaf(event)) is not None]
        sealed = [event for event in events if isinstance(event, BatchSealed)]
        assert len(sealed) == bool(leaves), "a transaction seals one batch if it records anything"
        for batch in sealed:
            self.roots.append(merkle_root(leaves))
            assert (batch.batch, batch.root, batch.records) == (len(self.roots), self.roots[-1], len(leaves))

    def _leaf(self, event: Event) -> bytes | None:
        """Leaf of the record that an event tells of, None if it tells of none."""
        match event:
            case CycleClosed():
                content = cycle_hash(event.cycle)
                return record_leaf(RecordKind.CYCLE, event.cycle_id, NOTHING, event.cycle.total, content)
            case PayoutTaken() | PayoutRefused() | PayoutPaid() | PayoutFailed() | PayoutReturned():
                return payout_leaf(event, self.cycles[event.cycle_id])
            case _:
                return leaf_of(event) if isinstance(event, RecordEvent) else None

    def _see(self, event: Event) -> None:
        match event:
            case OrderCaptured():
                self.settled[event.order_id] += 1
                self.captured[event.currency] += event.amount
                self.orders[event.order_id] = GhostOrder(capture_of(event))
            case OrderSplit():
                order = self._record(event, event.split_id)
                order.split += event.amount
                order.places.setdefault(event.split_id, len(order.leaves))
                order.taken_back.setdefault(event.split_id, [0] * len(event.allocations))
                self._pay(order, event.allocations, 1)
                self._grow(order, event.allocations)
            case OrderReleased():
                order = self._record(event, None if event.by_expiry else event.release_id)
                order.released += event.amount
                self._pay(order, [Allocation(event.merchant, event.amount)], 1)
                self._grow(order, [Allocation(event.merchant, event.amount)])
            case SplitReturned():
                order = self._record(event, event.return_id)
                order.returned += event.amount
                taken = order.taken_back[event.split_id]
                first = order.places[event.split_id]
                for leaf, allocation in enumerate(event.allocations):
                    self._check_giver(allocation, order.leaves[first + leaf])
                    taken[leaf] += allocation.amount
                self._pay(order, event.allocations, -1)
            case OrderRefunded():
                order = self._record(event, None if event.by_expiry else event.refund_id)
                assert event.amount == event.from_held + sum(take.amount for take in event.takes)
                order.refunded += event.amount
                order.from_held += event.from_held
                self.refunded[order.capture.currency] += event.amount
                for leaf, take in enumerate(event.takes):
                    self._check_giver(take, order.leaves[leaf])
                    order.refunded_leaves[leaf] += take.amount
                self._pay(order, event.takes, -1)
            case _:
                self._see_other(event)

    def _see_other(self, event: Event) -> None:
        match event:
            case InstructionRejected():
                self.rejected[event.id] += 1
            case SuspenseResolved():
                self.positions[event.currency, suspense_id(event.participant)] -= event.amount
                self.positions[event.currency, event.heir] += event.amount
            case HeirNamed():
                self.heirs[event.participant] = event.heir
            case _:
                self._see_payout(event)

    def _see_payout(self, event: Event) -> None:
        match event:
            case CycleClosed():
                assert event.cycle_id not in self.cycles
                self.cycles[event.cycle_id] = event.cycle.currency
            case PayoutTaken():
                self._send(event, event.participant, IN_TRANSIT)
            case PayoutPaid():
                self._send(event, IN_TRANSIT, PAID)
            case PayoutFailed():
                self._send(event, IN_TRANSIT, event.participant)
            case PayoutReturned():
                self._send(event, PAID, event.participant)
            case _:
                pass

    def _send(self, event: PayoutEvent, source: bytes, target: bytes) -> None:
        currency = self.cycles[event.cycle_id]
        self.positions[currency, source] -= event.amount
        self.positions[currency, target] += event.amount
        assert self.positions[currency, source] >= 0, "a payout makes no debt"

    def _record(self, event: SettledEvent, instruction: bytes | None) -> GhostOrder:
        """`instruction` is None for an expiry, which nobody instructed and which may happen again."""
        if instruction is not None:
            self.settled[instruction] += 1
        order = self.orders[event.order_id]
        order.head = next_head(order.head, leaf_of(event))
        return order

    def _check_giver(self, take: Allocation, leaf: Allocation) -> None:
        """A leaf gives itself, or the same participant's other position or its heir gives in its place."""
        other = suspense_id(leaf.recipient)
        assert take.recipient in {leaf.recipient, other, self.heirs.get(other)}
        self.stood_in += take.recipient != leaf.recipient

    @staticmethod
    def _grow(order: GhostOrder, leaves: Iterable[Allocation]) -> None:
        order.leaves += leaves
        order.refunded_leaves += [0] * (len(order.leaves) - len(order.refunded_leaves))

    def _pay(self, order: GhostOrder, allocations: Iterable[Allocation], sign: int) -> None:
        for allocation in allocations:
            self.positions[order.capture.currency, allocation.recipient] += sign * allocation.amount
