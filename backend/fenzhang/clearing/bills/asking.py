"""Rejected instructions: what was asked, and what of it a bill tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from fenzhang.clearing.bills.lines import REJECTED, Happening, Key
from fenzhang.domain.records import RecordKind
from fenzhang.store.tables import Instruction, InstructionType, Record, Rejection

NO_LOG = 2**31
"""Stands for the log of what has none: after all logs of its block."""
_KIND_OF = {
    InstructionType.CAPTURE.value: RecordKind.CAPTURE,
    InstructionType.SPLIT.value: RecordKind.SPLIT,
    InstructionType.RELEASE.value: RecordKind.RELEASE,
    InstructionType.RETURN.value: RecordKind.RETURN,
    InstructionType.REFUND.value: RecordKind.REFUND,
    InstructionType.RESOLVE.value: RecordKind.RESOLUTION,
}
COLUMN_OF = {
    RecordKind.CAPTURE: "out_order_no",
    RecordKind.SPLIT: "out_split_no",
    RecordKind.RELEASE: "out_release_no",
    RecordKind.RETURN: "out_return_no",
    RecordKind.REFUND: "out_refund_no",
    RecordKind.RESOLUTION: "out_request_no",
}
"""Where a bill says what a platform calls its instruction."""
_NAMED_IN_CONTENT = ("out_order_no", "out_split_no")


class OrderFacts(NamedTuple):
    """What is known of a captured order."""

    since: Key
    """Place of the capture."""
    platform_id: bytes
    merchant: bytes
    currency: str
    parties: frozenset[bytes]
    """The merchant, who is bound to the roles, and whom the rule names."""
    name: str | None = None
    """What the platform calls it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """An instruction that was rejected."""

    key: Key
    kind: RecordKind | None
    """None for what moves no money, and is on no bill."""
    platform_id: bytes
    instruction_id: bytes
    order_id: bytes | None
    split_id: bytes | None
    amount: int
    """0 where the instruction names none."""
    currency: str | None
    merchant: bytes | None
    parties: frozenset[bytes]
    names: Mapping[str, str]
    rejection: Rejection


def asked_of(rejection: Rejection, instruction: Instruction) -> Asked:
    """What the instruction asked for, as it was accepted; where it stands now does not count."""
    payload, content = instruction.payload, instruction.content
    kind = _KIND_OF.get(instruction.type)
    names = {name: str(content[name]) for name in _NAMED_IN_CONTENT if content.get(name)}
    if kind is not None:
        names[COLUMN_OF[kind]] = instruction.reference
    merchant = _bytes(payload.get("merchant"))
    split_id = _bytes(payload.get("split_id"))
    key = (
        rejection.time,
        rejection.block_number or 0,
        NO_LOG if rejection.log_index is None else rejection.log_index,
        rejection.instruction_seq,
    )
    return Asked(
        key,
        kind,
        instruction.platform_id,
        instruction.id,
        instruction.order_id,
        split_id if kind is RecordKind.RETURN else None,
        int(payload.get("amount", 0)),
        payload.get("currency"),
        merchant,
        frozenset(_parties(payload, merchant)),
        names,
        rejection,
    )


def _parties(payload: Mapping[str, Any], merchant: bytes | None) -> set[bytes]:
    named = {_bytes(each) for each in payload.get("bindings", ())} | {merchant}
    # Whose position was to be resolved.
    named.add(_bytes(payload.get("participant")))
    return {each for each in named if each is not None and any(each)}


def happening_of_rejection(
    asked: Asked, key: Key, order: OrderFacts | None, record: Record | None
) -> Happening:
    """A rejection of an instruction that was accepted here, with the record if the chain made one.

    `order` is what was known of its order then, if it is one of the same platform.
    """
    if order is not None and order.platform_id != asked.platform_id:
        order = None
    names = dict(asked.names)
    if order is not None and order.name is not None:
        names["out_order_no"] = order.name
    rejection = asked.rejection
    return Happening(
        key,
        "" if asked.kind is None else asked.kind.name,
        REJECTED,
        asked.platform_id,
        asked.amount if record is None else _amount_of(record),
        order.currency if order is not None and asked.currency is None else asked.currency,
        key[0],
        rejection.block_number,
        rejection.log_index,
        rejection.tx_hash,
        reason=rejection.reason,
        names=names,
        order_id=asked.order_id,
        instruction_id=asked.instruction_id,
        split_id=asked.split_id,
        batch=None if record is None else record.batch,
        leaf_index=None if record is None else record.leaf_index,
        leaf=None if record is None else record.leaf,
        merchant=asked.merchant if order is None else order.merchant,
        concerns=asked.parties | (frozenset() if order is None else order.parties),
    )


def happening_of_stranger(record: Record, key: Key, order: OrderFacts | None) -> Happening:
    """A rejection of what somebody brought to the chain without this backend.

    It is the platform's that signed it. A capture is signed by a bank: it is the platform's whose order was captured
    before, if one was, for the chain does not say for whom it was to be.
    """
    reason = record.reason or {}
    kind = reason.get("kind", "")
    is_capture = kind == RecordKind.CAPTURE.name
    owner = None if order is None else order.platform_id
    platform_id = owner if is_capture else _bytes(reason.get("signer"))
    known = order if order is not None and owner == platform_id else None
    return Happening(
        key,
        kind,
        REJECTED,
        platform_id,
        _amount_of(record),
        None if known is None else known.currency,
        key[0],
        record.block_number,
        record.log_index,
        record.tx_hash,
        reason=reason,
        names={} if known is None or known.name is None else {"out_order_no": known.name},
        order_id=record.order_id,
        instruction_id=record.instruction_id,
        batch=record.batch,
        leaf_index=record.leaf_index,
        leaf=record.leaf,
        merchant=None if known is None else known.merchant,
        concerns=frozenset() if known is None else known.parties,
    )


def _amount_of(record: Record) -> int:
    return int((record.reason or {}).get("amount", record.amount))


def _bytes(value: Any) -> bytes | None:
    return bytes.fromhex(value[2:]) if isinstance(value, str) else None
