"""What a platform asks for, in its own names and already well formed; and the hash that tells two requests apart.

`participant` fields hold the platform's reference of a participant or its 0x id.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, ClassVar

import orjson

from fenzhang.domain.facts import NO_FACTS, Facts
from fenzhang.store.tables import InstructionType

REFERENCE_FIELDS = {
    InstructionType.CAPTURE: "out_order_no",
    InstructionType.SPLIT: "out_split_no",
    InstructionType.RELEASE: "out_release_no",
    InstructionType.RETURN: "out_return_no",
    InstructionType.REFUND: "out_refund_no",
    InstructionType.ENROLL: "out_participant_no",
    InstructionType.CONDITION: "out_condition_no",
}
"""Name of the client's reference per type; the other types have `out_request_no`."""


def reference_field(kind: str) -> str:
    """Name of the client's reference in a write of this type."""
    return REFERENCE_FIELDS.get(InstructionType(kind), "out_request_no")


def content_hash(content: Mapping[str, Any]) -> bytes:
    """SHA-256 of the canonical JSON of a request: sorted keys, no spaces, ASCII, integers and strings only."""
    return sha256(_canonical(content)).digest()


def _canonical(content: Mapping[str, Any]) -> bytes:
    # orjson writes the same bytes, where all is ASCII and no integer is above 64 bits, in a tenth of the time.
    try:
        canonical = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        canonical = b"\xff"
    if canonical.isascii():
        return canonical
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.encode("ascii")


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureRequest:
    """Capture an order of `amount` minor units. `rule` None takes the one that the platform's schedule selects.

    `rule_version` None takes the version in force. `facts` are what the schedule looks at. `hold_until` and
    `expires_at` are Unix seconds, 0 for none. `condition` is the reference of what it waits for.
    """

    type: ClassVar[InstructionType] = InstructionType.CAPTURE
    reference: str
    rule: str | None
    rule_version: int | None = None
    merchant: str
    currency: str
    amount: int
    channel: str
    bindings: Mapping[str, str] = field(default_factory=dict)
    hold_until: int = 0
    expires_at: int = 0
    condition: str | None = None
    facts: Facts = NO_FACTS

    @property
    def order(self) -> str:
        """Reference of the order: the capture's own."""
        return self.reference

    def content(self) -> dict[str, Any]:
        """The request in the client's names."""
        return _without_none(
            out_order_no=self.reference,
            out_rule_no=self.rule,
            rule_version=self.rule_version,
            merchant=self.merchant,
            currency=self.currency,
            amount=self.amount,
            channel=self.channel,
            bindings=dict(self.bindings) or None,
            hold_until=self.hold_until or None,
            expires_at=self.expires_at or None,
            condition_no=self.condition,
            facts=self.facts.stated() or None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRequest:
    """Split `amount` of an order by its rule version. `bindings` fill the roles that the order left open.

    `given` is what each GIVEN leg takes, in leg order.
    """

    type: ClassVar[InstructionType] = InstructionType.SPLIT
    reference: str
    order: str
    amount: int
    currency: str | None = None
    bindings: Mapping[str, str] = field(default_factory=dict)
    given: tuple[int, ...] = ()

    def content(self) -> dict[str, Any]:
        """The request in the client's names."""
        return _without_none(
            out_split_no=self.reference,
            out_order_no=self.order,
            amount=self.amount,
            currency=self.currency,
            bindings=dict(self.bindings) or None,
            given=list(self.given) or None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRequest:
    """Close an order: what it still holds goes to its merchant."""

    type: ClassVar[InstructionType] = InstructionType.RELEASE
    reference: str
    order: str

    def content(self) -> dict[str, Any]:
        """The request in the client's names."""
        return _without_none(out_release_no=self.reference, out_order_no=self.order)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnRequest:
    """Take `amount` back from a split; `amounts`, if given, says how much from each of its leaves."""

    type: ClassVar[InstructionType] = InstructionType.RETURN
    reference: str
    split: str
    amount: int
    currency: str | None = None
    amounts: tuple[int, ...] | None = None

    def content(self) -> dict[str, Any]:
        """The request in the client's names."""
        return _without_none(
            out_return_no=self.reference,
            out_split_no=self.split,
            amount=self.amount,
            currency=self.currency,
            amounts=None if self.amounts is None else list(self.amounts),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundRequest:
    """Give `amount` of an order back to its buyer."""

    type: ClassVar[InstructionType] = InstructionType.REFUND
    reference: str
    order: str
    amount: int
    currency: str | None = None

    def content(self) -> dict[str, Any]:
        """The request in the client's names."""
        return _without_none(
            out_refund_no=self.reference,
            out_order_no=self.order,
            amount=self.amount,
            currency=self.currency,
        )


SettlementRequest = CaptureRequest | SplitRequest | ReleaseRequest | ReturnRequest | RefundRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSignature:
    """A client's own signature over all of its request, in this field of it. `deadline` is Unix seconds.

    `attestor` (20 bytes) is given for captures; everything else is signed by the platform's authority.
    """

    nonce: int
    deadline: int
    signature: bytes
    attestor: bytes | None = None
    field: str = "authorization"


def _without_none(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
