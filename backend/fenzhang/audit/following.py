"""Ledger events without calldata to decide them from: what can still be checked is checked, the rest is believed."""

from __future__ import annotations

from dataclasses import dataclass, field

from fenzhang.audit.conditions import ConditionKeeper
from fenzhang.audit.differences import Code, Findings
from fenzhang.audit.model import Model
from fenzhang.audit.reading import Transaction
from fenzhang.audit.records import Records
from fenzhang.audit.stories import RecordEvent
from fenzhang.chain.eventtypes import (
    AuthorizationRejected,
    AuthorizationSkipped,
    BatchSealed,
    ConditionJoined,
    ExpiryPassedOver,
    InstructionRejected,
    OrderCaptured,
    OrderRefunded,
    OrderReleased,
    OrderSplit,
    OrderTerms,
    SplitReturned,
)
from fenzhang.domain.allocation import given_of, leaf_amounts, spread_takes
from fenzhang.domain.errors import InvalidRule, Rejection
from fenzhang.domain.past import order_leaves
from fenzhang.domain.records import NOTHING, Capture, InstructionKind
from fenzhang.domain.rules import leaf_indices, roles_of
from fenzhang.domain.settlement import (
    NOBODY,
    attestor_signer,
    check_movable,
    check_not_frozen,
    decide_capture,
    decide_expiry,
    payee,
)
from fenzhang.domain.world import Order

SettlementEvent = (
    OrderCaptured
    | OrderSplit
    | OrderReleased
    | SplitReturned
    | OrderRefunded
    | InstructionRejected
    | AuthorizationRejected
    | AuthorizationSkipped
    | BatchSealed
    | OrderTerms
    | ConditionJoined
    | ExpiryPassedOver
)
"""Events of `settle` and `expire`."""


@dataclass(slots=True)
class Follower:
    """Takes up events of a `settle` that its calldata does not explain, or whose calldata does not show."""

    model: Model
    findings: Findings
    records: Records
    joined: dict[bytes, bytes] = field(default_factory=dict)
    """Condition of each order that has joined one in this transaction and was not captured yet."""

    def finish(self, at: Transaction) -> None:
        """The transaction is over: every order that joined a condition must have been captured."""
        for order_id, condition_id in self.joined.items():
            self.findings.report(
                Code.CONDITION_INVALID,
                f"condition 0x{condition_id.hex()} was joined by an order that was not captured then",
                at,
                order=order_id,
            )
        self.joined.clear()

    def apply(self, event: SettlementEvent, at: Transaction) -> None:
        """Check by arithmetic and by the rule version what an event tells, and follow it."""
        self._note_signers(event, at)
        match event:
            case BatchSealed():
                self.records.seal(event, at)
            case AuthorizationRejected() | AuthorizationSkipped():
                self.findings.count("authorizations_without_effect")
            case OrderCaptured():
                self._check_capture(event, at)
                self.records.apply(event, at)
            case OrderSplit():
                self._check_movable(event, InstructionKind.SPLIT, at)
                self._check_allocations(event, at)
                self.records.apply(event, at)
            case OrderRefunded():
                self._check_movable(event, InstructionKind.REFUND, at)
                self._check_refund(event, at)
                self.records.apply(event, at)
            case OrderReleased():
                self._check_movable(event, InstructionKind.RELEASE, at)
                self.records.apply(event, at)
            case SplitReturned():
                self._check_movable(event, InstructionKind.RETURN, at)
                self.records.apply(event, at)
            case InstructionRejected():
                self.records.apply(event, at)
            case ConditionJoined():
                self.joined[event.order_id] = event.condition_id
                ConditionKeeper(self.model, self.findings).follow(event, at)
            case _:
                pass  # terms are with their capture, and what was passed over is as it was

    def _note_signers(self, event: SettlementEvent, at: Transaction) -> None:
        """Whose nonces may have been used without being seen."""
        opaque = self.model.opaque_signers
        match event:
            case OrderCaptured():
                opaque |= {attestor_signer(each) for each in self.model.access.attestors(at.timestamp)}
            case OrderReleased(by_expiry=True) | OrderRefunded(by_expiry=True):
                pass
            case OrderSplit() | OrderReleased() | SplitReturned() | OrderRefunded():
                order = self.model.world.orders.get(event.order_id)
                if order is not None:
                    opaque.add(order.capture.platform)
            case InstructionRejected():
                opaque.add(event.signer)
            case _:
                pass

    def _check_capture(self, event: OrderCaptured, at: Transaction) -> None:
        try:
            decide_capture(self.model.world, event.capture, at.timestamp)
        except Rejection as rejection:
            self._undue(event, at, rejection, f"order 0x{event.order_id.hex()} should not have been captured")
        joined = self.joined.pop(event.order_id, NOTHING)
        condition = self.model.world.condition_of(event.capture)
        in_time = condition is not None and condition.is_in_time(at.timestamp)
        if joined != (event.condition if in_time else NOTHING):
            self.findings.report(
                Code.CONDITION_INVALID,
                f"order 0x{event.order_id.hex()} did not join its condition, or another one",
                at,
                order=event.order_id,
                expected=event.condition,
                found=joined,
            )

    def _check_movable(
        self,
        event: OrderSplit | OrderReleased | SplitReturned | OrderRefunded,
        kind: InstructionKind,
        at: Transaction,
    ) -> None:
        """Nothing frozen moves, nothing before a hold ends or a condition is reached; no order ends before its time."""
        order = self.model.world.orders.get(event.order_id)
        if order is None:
            return  # reported with the record
        try:
            if isinstance(event, OrderReleased | OrderRefunded) and event.by_expiry:
                self._check_end(event, kind, at)
            else:
                check_movable(self.model.world, order.capture, kind, at.timestamp)
            if isinstance(event, SplitReturned):
                check_not_frozen(self.model.world, order, event.split_id, event.allocations)
            if isinstance(event, OrderRefunded):
                check_not_frozen(self.model.world, order, NOBODY, event.takes)
        except Rejection as rejection:
            what = f"{kind.name} of order 0x{event.order_id.hex()}"
            self._undue(event, at, rejection, f"{what} should not have settled")

    def _check_end(
        self, event: OrderReleased | OrderRefunded, kind: InstructionKind, at: Transaction
    ) -> None:
        """Raises the Rejection of an order that does not end yet."""
        expected = decide_expiry(self.model.world, event.order_id, at.timestamp)
        if expected.kind is not kind.record:
            self.findings.report(
                Code.DECISION_DIFFERS,
                f"order 0x{event.order_id.hex()} should have ended by a {expected.kind.name}",
                at,
                order=event.order_id,
                expected=expected,
                found=event,
            )

    def _undue(self, event: RecordEvent, at: Transaction, rejection: Rejection, what: str) -> None:
        self.findings.report(
            Code.DECISION_DIFFERS,
            f"{what}: {rejection.message}",
            at,
            order=event.order_id,
            expected=rejection,
            found=event,
        )

    def _check_allocations(self, event: OrderSplit, at: Transaction) -> None:
        order = self.model.world.orders.get(event.order_id)
        if order is None:
            return  # reported with the record
        expected = self._allocations(order, event)
        found = [(allocation.recipient, allocation.amount) for allocation in event.allocations]
        if (
            expected is None
            or len(expected) != len(found)
            or any(
                amount != has or recipient not in {None, given}
                for (recipient, amount), (given, has) in zip(expected, found, strict=True)
            )
        ):
            self.findings.report(
                Code.ALLOCATION_DIFFERS,
                f"split 0x{event.split_id.hex()} does not follow the rule of its order",
                at,
                order=event.order_id,
                expected=expected,
                found=found,
            )

    def _check_refund(self, event: OrderRefunded, at: Transaction) -> None:
        order = self.model.world.orders.get(event.order_id)
        if order is None:
            return  # reported with the record
        leaves = order_leaves(order.past, order.capture.merchant)
        from_held = max(min(order.held, event.amount), 0)
        takes = spread_takes([leaf.amount for leaf in leaves], event.amount - from_held)
        expected = list(takes)
        found = [take.amount for take in event.takes]  # who gave them is checked with the record
        if (event.from_held, found) != (from_held, expected):
            self.findings.report(
                Code.ALLOCATION_DIFFERS,
                f"refund 0x{event.refund_id.hex()} does not take what its order makes it take",
                at,
                order=event.order_id,
                expected={"from_held": from_held, "takes": expected},
                found={"from_held": event.from_held, "takes": found},
            )

    def _allocations(self, order: Order, event: OrderSplit) -> list[tuple[bytes | None, int]] | None:
        """Recipient and amount per leaf, by the order's rule version; recipient None where the split bound the role.

        What GIVEN legs were given is not shown, so it is what the event says, if that is within their bounds.
        """
        capture = order.capture
        try:
            legs = self.model.world.legs_of(capture)
            if len(event.allocations) != len(leaf_indices(legs)):
                return None
            given = given_of(legs, [allocation.amount for allocation in event.allocations])
            amounts = leaf_amounts(legs, event.amount, given)
        except (KeyError, InvalidRule, Rejection):
            return None
        bound = dict(zip(roles_of(legs), capture.bindings, strict=False))
        leaves: list[tuple[bytes | None, int]] = []
        for index, share in zip(leaf_indices(legs), amounts, strict=True):
            recipient = legs[index].recipient or bound.get(legs[index].role or "", NOBODY)
            leaves.append((None if recipient == NOBODY else self._payee(recipient, capture), share))
        return leaves

    def _payee(self, recipient: bytes, capture: Capture) -> bytes:
        """Whose position a share is for now, by what the order's rule version says of inactive recipients."""
        try:
            return payee(self.model.world, recipient, self.model.world.version_of(capture).terms)
        except Rejection:
            return recipient
