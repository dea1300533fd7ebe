"""Ledger events into the model: the arithmetic that must hold for each one, its leaf, its order's chain, its batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from fenzhang.audit.differences import Code, Findings
from fenzhang.audit.model import Model, Trail
from fenzhang.audit.reading import Transaction
from fenzhang.audit.stories import RecordEvent, entry_of, entry_of_payout
from fenzhang.chain.eip712 import capture_hash
from fenzhang.chain.eventtypes import (
    BatchSealed,
    InstructionRejected,
    OrderCaptured,
    OrderRefunded,
    OrderReleased,
    OrderSplit,
    PayoutEvent,
    SplitReturned,
)
from fenzhang.chain.evidence import (
    HELD_BITS,
    content_of_refund,
    content_of_rejection,
    content_of_release,
    content_of_return,
    content_of_split,
    held_of_slot,
    merkle_root,
    next_head,
    record_leaf,
)
from fenzhang.domain.allocation import Allocation
from fenzhang.domain.errors import ShareOutAboveCap
from fenzhang.domain.past import held_change, order_leaves, returnable
from fenzhang.domain.records import PastRecord, RecordKind
from fenzhang.domain.sharing import check_share_out, count_share_out
from fenzhang.domain.suspense import suspense_id
from fenzhang.domain.world import Order

SettledEvent = OrderSplit | OrderReleased | SplitReturned | OrderRefunded


@dataclass(slots=True)
class Records:
    """Takes up what the ledger recorded, as the chain tells it, and reports what cannot be."""

    model: Model
    findings: Findings

    def apply(self, event: RecordEvent, at: Transaction) -> None:
        """Take up one record."""
        leaf = self._take_up(event, at)
        batch = self.model.open
        if event.order_id in self.model.focus.stories:
            entry = entry_of(event, at)
            self.model.focus.add(event.order_id, entry)
            batch.told.append((len(batch.leaves), entry))
        batch.leaves.append(leaf)
        self.findings.count("records")

    def _take_up(self, event: RecordEvent, at: Transaction) -> bytes:
        match event:
            case OrderCaptured():
                return self._capture(event, at)
            case OrderSplit():
                return self._split(event, at)
            case OrderReleased():
                return self._release(event, at)
            case SplitReturned():
                return self._return(event, at)
            case OrderRefunded():
                return self._refund(event, at)
            case InstructionRejected():
                return self._rejection(event)

    def add(self, leaf: bytes) -> None:
        """Add the leaf of a record that belongs to no order."""
        self.model.open.leaves.append(leaf)
        self.findings.count("records")

    def tell_payout(self, event: PayoutEvent, at: Transaction) -> None:
        """Add the record that comes next to the story of its payout, if that is told."""
        story = self.model.focus.payouts.get(event.payout_id)
        if story is not None:
            entry = entry_of_payout(event, at)
            story.entries.append(entry)
            self.model.open.told.append((len(self.model.open.leaves), entry))

    def seal(self, event: BatchSealed, at: Transaction) -> None:
        """Take up the batch of the records since the last one."""
        model, batch = self.model, self.model.open
        number = len(model.roots) + 1
        root = merkle_root(batch.leaves) if batch.leaves else bytes(32)
        expected = {"batch": number, "root": root, "records": len(batch.leaves)}
        found = {"batch": event.batch, "root": event.root, "records": event.records}
        if found != expected:
            self.findings.report(
                Code.BATCH_DIFFERS,
                f"batch {event.batch} is not the one that its records make",
                at,
                batch=number,
                expected=expected,
                found=found,
            )
        model.roots.append(root)
        model.focus.seal(number, batch.leaves, batch.told)
        batch.clear()
        self.findings.count("batches")

    def finish(self, at: Transaction) -> None:
        """The transaction is over: every record of it must be sealed."""
        batch = self.model.open
        if batch.leaves:
            self.findings.report(
                Code.BATCH_MISSING,
                f"{len(batch.leaves)} records were not sealed in a batch",
                at,
                expected={"root": merkle_root(batch.leaves), "records": len(batch.leaves)},
            )
            batch.clear()

    # -------------------------------------------------------------------------- one record

    def _capture(self, event: OrderCaptured, at: Transaction) -> bytes:
        capture = event.capture
        captured = capture_hash(capture)
        order, world = event.order_id, self.model.world
        if order in world.orders:
            self._broken(event, at, f"order 0x{order.hex()} was captured a second time")
        totals = world.totals[event.currency]
        totals.captured += event.amount
        totals.held += event.amount
        world.orders[order] = Order(capture, event.amount)
        self.model.trails[order] = Trail(captured, captured=event.amount)
        self.findings.count("captures")
        story = self.model.focus.stories.get(order)
        if story is not None:
            story.capture = capture
        return record_leaf(RecordKind.CAPTURE, order, order, event.amount, captured)

    def _split(self, event: OrderSplit, at: Transaction) -> bytes:
        content = content_of_split(event.allocations)
        leaf = record_leaf(RecordKind.SPLIT, event.split_id, event.order_id, event.amount, content)
        record = PastRecord(RecordKind.SPLIT, event.split_id, event.amount, allocations=event.allocations)
        self._check_sum(event, at)
        order = self._settle(event, record, leaf, at)
        if order is not None and order.held < 0:
            self._broken(event, at, "a split took more than its order held", found=order.held)
        self.findings.count("splits")
        return leaf

    def _release(self, event: OrderReleased, at: Transaction) -> bytes:
        content = content_of_release(event.merchant)
        leaf = record_leaf(RecordKind.RELEASE, event.release_id, event.order_id, event.amount, content)
        order = self._settle(event, PastRecord(RecordKind.RELEASE, event.release_id, event.amount), leaf, at)
        if order is not None and order.held != 0:
            self._broken(event, at, "a release did not give all that its order held", found=order.held)
        if order is not None and order.capture.merchant != event.merchant:
            self._broken(
                event,
                at,
                "a release went to another than the order's merchant",
                participant=event.merchant,
                expected=order.capture.merchant,
                found=event.merchant,
            )
        self.findings.count("releases")
        return leaf

    def _return(self, event: SplitReturned, at: Transaction) -> bytes:
        content = content_of_return(event.split_id, event.allocations)
        leaf = record_leaf(RecordKind.RETURN, event.return_id, event.order_id, event.amount, content)
        self._check_sum(event, at)
        known = self._check_returnable(event, at)
        # A return of a split that is not there must not come into the way of later ones.
        split_id = event.split_id if known else bytes(32)
        allocations = event.allocations if known else ()
        record = PastRecord(RecordKind.RETURN, event.return_id, event.amount, split_id, allocations)
        self._settle(event, record, leaf, at)
        self.findings.count("returns")
        return leaf

    def _refund(self, event: OrderRefunded, at: Transaction) -> bytes:
        content = content_of_refund(event.takes)
        leaf = record_leaf(RecordKind.REFUND, event.refund_id, event.order_id, event.amount, content)
        self._check_refundable(event, at)
        order = self.model.world.orders.get(event.order_id)
        # What it took from leaves that are not there must not come into the way of later ones.
        leaves = [] if order is None else order_leaves(order.past, order.capture.merchant)
        takes = event.takes[: len(leaves)]
        record = PastRecord(RecordKind.REFUND, event.refund_id, event.amount, allocations=takes)
        order = self._settle(event, record, leaf, at)
        if order is not None:
            self.model.world.totals[order.capture.currency].refunded += event.amount
            if order.held < 0:
                self._broken(event, at, "a refund took more than its order held", found=order.held)
        self.findings.count("refunds")
        return leaf

    def _rejection(self, event: InstructionRejected) -> bytes:
        if event.order_id not in self.model.world.orders:
            self.model.uncaptured.add(event.order_id)
        self.findings.count("rejections")
        content = content_of_rejection(event.reason)
        return record_leaf(RecordKind.REJECTION, event.id, event.order_id, event.amount, content)

    # -------------------------------------------------------------------------- what a settled record changes

    def _settle(self, event: SettledEvent, record: PastRecord, leaf: bytes, at: Transaction) -> Order | None:
        """Move the money in the model and lengthen the order's chain; None for an order that was never captured."""
        order = self.model.world.orders.get(event.order_id)
        if order is None:
            self._broken(event, at, f"order 0x{event.order_id.hex()} was never captured")
            return None
        trail = self.model.trails[event.order_id]
        trail.head = next_head(trail.head, leaf)
        order.past.append(record)
        taken = record.amount - event.from_held if isinstance(event, OrderRefunded) else record.amount
        change = held_change(record.kind, record.amount, taken)
        order.held += change
        currency = order.capture.currency
        self.model.world.totals[currency].held += change
        self._check_share_out(event, order, record, at)
        moved: Sequence[Allocation]
        sign = 1
        if isinstance(event, OrderReleased):
            trail.released += event.amount
            moved = (Allocation(event.merchant, event.amount),)
        elif isinstance(event, OrderSplit):
            trail.split += event.amount
            moved = event.allocations
        elif isinstance(event, OrderRefunded):
            trail.refunded += event.amount
            trail.from_held += event.from_held
            moved, sign = event.takes, -1
        else:
            trail.returned += event.amount
            moved, sign = event.allocations, -1
        self._move(event, moved, sign, currency, at)
        return order

    def _check_share_out(
        self, event: SettledEvent, order: Order, record: PastRecord, at: Transaction
    ) -> None:
        """Conservation under a cap, by the events alone: also where calldata does not show what was asked."""
        world, capture = self.model.world, order.capture
        rule = world.rules.get((capture.platform, capture.rule_id))
        if rule is None or capture.rule_version not in rule.versions:
            return  # such a capture was reported already
        if record.kind is RecordKind.SPLIT:
            try:
                check_share_out(world, order, record.allocations)
            except ShareOutAboveCap as above:
                self._broken(event, at, "a split gave more to others than the cap allows", found=above)
        count_share_out(world, order, record)

    def _move(
        self, event: SettledEvent, moved: Sequence[Allocation], sign: int, currency: str, at: Transaction
    ) -> None:
        positions = self.model.world.positions
        for allocation in moved:
            self.model.paid.add(allocation.recipient)
            if not allocation.amount:
                continue
            key = (currency, allocation.recipient)
            positions[key] += sign * allocation.amount
            if sign < 0 and positions[key] < 0 and not self._may_owe(event.order_id):
                self._broken(
                    event,
                    at,
                    "more was taken back than the recipient's position, by a rule that lets nobody owe",
                    participant=allocation.recipient,
                    currency=currency,
                    found=positions[key],
                )

    def _may_owe(self, order_id: bytes) -> bool:
        try:
            return self.model.world.version_of(self.model.world.orders[order_id].capture).terms.may_owe
        except KeyError:
            return False  # no such rule version; its capture is reported already

    # -------------------------------------------------------------------------- arithmetic of one event

    def _check_sum(self, event: OrderSplit | SplitReturned, at: Transaction) -> None:
        total = sum(allocation.amount for allocation in event.allocations)
        if total != event.amount:
            self._broken(
                event, at, "allocations do not sum to the amount", expected=event.amount, found=total
            )

    def _check_returnable(self, event: SplitReturned, at: Transaction) -> bool:
        """Whether the return is of a split of its order; what it takes from each leaf is checked on the way."""
        order = self.model.world.orders.get(event.order_id)
        leaves = None if order is None else returnable(order.past, event.split_id)
        if leaves is None or len(leaves) != len(event.allocations):
            self._broken(event, at, "a return names no split of its order", expected=leaves)
            return False
        self._check_leaves(event, at, leaves, event.allocations, "a return")
        return True

    def _check_refundable(self, event: OrderRefunded, at: Transaction) -> None:
        """Whether a refund is the sum of its parts, and each leaf gives no more than it has."""
        total = event.from_held + sum(take.amount for take in event.takes)
        if total != event.amount:
            self._broken(
                event, at, "a refund is not the sum of what it took", expected=event.amount, found=total
            )
        order = self.model.world.orders.get(event.order_id)
        leaves = [] if order is None else order_leaves(order.past, order.capture.merchant)
        if len(leaves) != len(event.takes):
            self._broken(
                event,
                at,
                "a refund took from other leaves than its order's",
                expected=leaves,
                found=event.takes,
            )
        self._check_leaves(event, at, leaves, event.takes, "a refund")

    def _check_leaves(
        self,
        event: RecordEvent,
        at: Transaction,
        leaves: Sequence[Allocation],
        takes: Sequence[Allocation],
        who: str,
    ) -> None:
        for leaf, taken in zip(leaves, takes, strict=False):
            other = suspense_id(leaf.recipient)
            givers = {leaf.recipient, other, self.model.world.heir_of(other)}
            if taken.recipient not in givers or taken.amount > leaf.amount:
                self._broken(
                    event,
                    at,
                    f"{who} took more from a leaf than it had",
                    participant=taken.recipient,
                    expected=leaf,
                    found=taken,
                )

    def _broken(self, event: RecordEvent, at: Transaction, message: str, **details: object) -> None:
        self.findings.report(Code.ORDER_NOT_CONSERVED, message, at, order=event.order_id, **details)


def check_orders(model: Model, findings: Findings) -> None:
    """Conservation of every order by the sums of its events: 0 <= captured - held <= captured."""
    for order_id, trail in model.trails.items():
        held = model.world.orders[order_id].held
        if not 0 <= trail.held <= trail.captured or trail.held != held:
            findings.report(
                Code.ORDER_NOT_CONSERVED,
                "split + released + refunded from held - returned is not what left the order",
                order=order_id,
                expected=held,
                found=trail.held,
            )
    findings.count("orders_conserved", len(model.trails))


def check_currencies(model: Model, findings: Findings) -> None:
    """Conservation of every currency by the events: positions + held + refunded = captured."""
    positions: Counter[str] = Counter()
    for (currency, _), amount in model.world.positions.items():
        positions[currency] += amount
    for currency in model.captured_currencies:
        orders = [model.trails[order.capture.order_id] for order in model.orders_of(currency)]
        captured, held = sum(trail.captured for trail in orders), sum(trail.held for trail in orders)
        found = positions[currency] + held + sum(trail.refunded for trail in orders)
        if found != captured:
            findings.report(
                Code.CURRENCY_NOT_CONSERVED,
                f"by the events, positions (with money in transit and paid), held and refunded money of {currency} "
                "are not what was captured",
                currency=currency,
                expected=captured,
                found=found,
            )
    findings.count("currencies_conserved", len(model.captured_currencies))


def slot_parts(slot: int) -> dict[str, object]:
    """An order's slot as it is shown: commitment and held amount."""
    return {"commitment": f"0x{slot >> HELD_BITS:040x}", "held": held_of_slot(slot)}
