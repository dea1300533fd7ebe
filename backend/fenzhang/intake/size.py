"""How large a transaction the instructions under one client signature need, from above.

They can only be sent together, so what fits no transaction must not be accepted. A test holds this above what the
submission stage counts with.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fenzhang.domain.records import Capture, Instruction, InstructionKind
from fenzhang.intake.errors import AuthorizationTooLarge
from fenzhang.intake.limits import MAX_SIGNED_BYTES, MAX_SIGNED_GAS, MAX_SIGNED_ORDERS
from fenzhang.intake.snapshot import OrderFacts, RuleShape

_NOBODY = bytes(32)
_REFUNDED = b""
"""Stands for the total of refunds, which costs what a recipient's first position does."""
_BASE_GAS = 430_000
"""The transaction itself, its batch, and the signature, which may be a contract account's."""
_BASE_BYTES = 1_200
_ITEM_GAS = 60_000
"""An instruction, or a capture, with the witness of its order."""
_LEAF_GAS = 8_500
_BINDING_GAS = 4_000
_RECIPIENT_GAS = 36_000
"""A recipient's first position in a currency."""
_RULE_GAS = 26_000
_LEG_GAS = 3_600
_PAST_RECORD_GAS = 8_000
_PAST_LEAF_GAS = 4_800
_WORD = 32
_ITEM_WORDS = 15
_WITNESS_WORDS = 18
_PAST_RECORD_WORDS = 7
_PAST_LEAF_WORDS = 2


@dataclass(slots=True)
class TransactionSize:
    """What the instructions added so far need together: gas and bytes of calldata."""

    gas: int = _BASE_GAS
    calldata: int = _BASE_BYTES
    _orders: set[bytes] = field(default_factory=set)
    _recipients: set[tuple[str, bytes]] = field(default_factory=set)
    _rules: set[tuple[bytes, int]] = field(default_factory=set)

    def add_capture(self, capture: Capture, shape: RuleShape) -> None:
        """Count a capture."""
        self._add(len(capture.bindings), 0)
        self._orders.add(capture.order_id)
        self._add_rule(capture.rule_id, capture.rule_version, shape)
        self._add_recipients(capture.currency, (capture.merchant, *capture.bindings))

    def add(self, instruction: Instruction, order: OrderFacts, shape: RuleShape) -> None:
        """Count an instruction with the witness of its order, and the past that a return or refund opens."""
        bindings = len(order.bindings) + len(instruction.bindings)
        self._add(bindings, len(instruction.amounts) + _WITNESS_WORDS)
        self._orders.add(instruction.order_id)
        self._add_rule(order.rule_id, order.rule_version, shape)
        is_refund = instruction.kind is InstructionKind.REFUND
        self.gas += _LEAF_GAS * (order.leaves(shape.leaves) if is_refund else shape.leaves)
        self._add_recipients(order.currency, (*order.bindings, *instruction.bindings, *shape.recipients))
        if is_refund:
            self._add_recipients(order.currency, (_REFUNDED,))
        if instruction.kind.opens_past:
            leaves = order.past_leaves(shape.leaves)
            self.gas += order.instructions * _PAST_RECORD_GAS + leaves * _PAST_LEAF_GAS
            words = order.instructions * _PAST_RECORD_WORDS + leaves * _PAST_LEAF_WORDS
            self.calldata += words * _WORD

    def check(self, name: str) -> None:
        """Raises AuthorizationTooLarge naming the signature's field."""
        counted = {"gas": self.gas, "calldata": self.calldata, "orders": len(self._orders)}
        limits = {"gas": MAX_SIGNED_GAS, "calldata": MAX_SIGNED_BYTES, "orders": MAX_SIGNED_ORDERS}
        if any(counted[what] > limit for what, limit in limits.items()):
            raise AuthorizationTooLarge(
                "one signature covers what fits one transaction; sign these instructions in parts",
                field=name,
                **counted,
                limits=limits,
            )

    def _add(self, bindings: int, words: int) -> None:
        self.gas += _ITEM_GAS + _BINDING_GAS * bindings
        self.calldata += _WORD * (_ITEM_WORDS + bindings + words)

    def _add_rule(self, rule_id: bytes, version: int, shape: RuleShape) -> None:
        if (rule_id, version) not in self._rules:
            self._rules.add((rule_id, version))
            self.gas += _RULE_GAS + _LEG_GAS * shape.legs

    def _add_recipients(self, currency: str, recipients: tuple[bytes, ...]) -> None:
        fresh = {(currency, recipient) for recipient in recipients if recipient != _NOBODY} - self._recipients
        self._recipients |= fresh
        self.gas += _RECIPIENT_GAS * len(fresh)
