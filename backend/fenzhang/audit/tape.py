"""The events of one transaction, taken up one after the other beside what its calldata leads to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from fenzhang.audit.access import AccessEvent
from fenzhang.audit.differences import Code, Findings
from fenzhang.audit.reading import Transaction
from fenzhang.chain.eventtypes import (
    AdministrationChanged,
    AuthorizationRejected,
    AuthorizationSkipped,
    Event,
    ExpiryPassedOver,
    InstructionRejected,
    LogPosition,
    OrderCaptured,
    OrderRefunded,
    OrderReleased,
    OrderSplit,
    OutcomePassedOver,
    PayoutFailed,
    PayoutPaid,
    PayoutRefused,
    PayoutReturned,
    PayoutTaken,
    RoleGranted,
    RoleRevoked,
    SplitReturned,
)

NOWHERE = LogPosition(0, b"", b"", 0, 0)
"""Place of an event that is only expected."""
E = TypeVar("E", bound=Event)


class OutOfStep(Exception):
    """The events no longer tell of what the calldata asks for; the rest of the transaction is followed by them alone.

    The difference is reported already.
    """


@dataclass(slots=True)
class Tape:
    """The events that were not taken up yet. AccessManager's own go to `administer` as they come."""

    transaction: Transaction
    findings: Findings
    administer: Callable[[AccessEvent], None]
    _next: int = field(default=0, init=False)

    def peek(self) -> Event | None:
        """The next event that is not AccessManager's, None at the end."""
        events = self.transaction.events
        while self._next < len(events):
            event = events[self._next]
            if not isinstance(event, RoleGranted | RoleRevoked | AdministrationChanged):
                return event
            self._next += 1
            self.administer(event)
        return None

    def take(self) -> Event | None:
        """The next event, which is then taken up; None at the end."""
        event = self.peek()
        if event is not None:
            self._next += 1
        return event

    def expect(self, expected: E, code: Code, message: str, **details: object) -> Event:
        """Take up the next event, which must be `expected` but for its place.

        One that tells otherwise of the same thing is reported under `code` and returned: the chain is followed in
        what it did. Raises OutOfStep when the next event tells of something else, or there is none.
        """
        event = self.peek()
        if event is not None and replace(event, at=NOWHERE) == expected:
            self._next += 1
            return event
        if event is None:
            self.findings.report(
                Code.EVENT_MISSING,
                f"{type(expected).__name__} was not emitted",
                self.transaction,
                expected=expected,
                **details,
            )
            raise OutOfStep
        self.findings.report(code, message, self.transaction, expected=expected, found=event, **details)
        if _subject(event) != _subject(expected):
            raise OutOfStep
        self._next += 1
        return event


def _subject(event: Event) -> tuple[object, ...]:
    """What an event tells of: two events of the same subject are two answers to the same question."""
    match event:
        case InstructionRejected():
            return ("instruction", event.id, event.order_id)
        case ExpiryPassedOver():
            return ("instruction", event.order_id, event.order_id)
        case AuthorizationRejected() | AuthorizationSkipped():
            return ("authorization", event.signer, event.nonce)
        case OrderCaptured() | OrderSplit() | OrderReleased() | SplitReturned() | OrderRefunded():
            return ("instruction", _settled_id(event), event.order_id)
        case (
            PayoutTaken()
            | PayoutRefused()
            | PayoutPaid()
            | PayoutFailed()
            | PayoutReturned()
            | OutcomePassedOver()
        ):
            return ("payout", event.payout_id)
        case _:
            return (type(event),)


def _settled_id(
    event: OrderCaptured | OrderSplit | OrderReleased | SplitReturned | OrderRefunded,
) -> bytes:
    match event:
        case OrderCaptured():
            return event.order_id
        case OrderSplit():
            return event.split_id
        case OrderReleased():
            return event.release_id
        case SplitReturned():
            return event.return_id
        case OrderRefunded():
            return event.refund_id
