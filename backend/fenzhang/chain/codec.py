"""Calldata as we write it: `settle` by hand, because it carries hundreds of structs; every other call from the ABI.

What others wrote is read by `fenzhang.chain.calldata`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError

from fenzhang.chain.abi import (
    currency_bytes,
    encode_bytes,
    encode_tails,
    encode_words,
    role_bytes,
    role_text,
    word,
)
from fenzhang.chain.abitypes import canonical_type, plain_value
from fenzhang.chain.artifacts import artifact
from fenzhang.chain.errors import Undecodable
from fenzhang.chain.keccak import keccak
from fenzhang.chain.reverts import decode_revert, encode_rejection
from fenzhang.domain.records import (
    Attestation,
    Authorization,
    Capture,
    Instruction,
    OrderWitness,
    PastRecord,
)
from fenzhang.domain.rules import Leg, LegKind, RuleTerms

__all__ = [
    "EXPIRE_SELECTOR",
    "SETTLE_SELECTOR",
    "UNKNOWN_ORDER_INDEX",
    "SettleCall",
    "decode_arguments",
    "decode_result",
    "decode_revert",
    "encode_call",
    "encode_deployment",
    "encode_expire",
    "encode_rejection",
    "encode_settle",
    "leg_values",
    "legs_from_values",
    "selector_of",
    "terms_values",
]

_CAPTURE = "(bytes32,bytes32,bytes32,bytes32,uint32,bytes3,uint96,uint64,uint64,bytes32,bytes32,bytes32[])"
_INSTRUCTION = "(uint8,bytes32,bytes32,bytes32,uint96,bytes32[],uint96[])"
_PAST = "(uint8,bytes32,bytes32,uint96,(bytes32,uint96)[])"
SETTLE_SIGNATURE = (
    f"settle((address,uint256,uint64,{_CAPTURE}[],bytes)[],"
    f"(bytes32,uint256,uint64,{_INSTRUCTION}[],bytes)[],"
    f"({_CAPTURE},bytes32,{_PAST}[])[],bytes)"
)
SETTLE_SELECTOR = keccak(SETTLE_SIGNATURE.encode())[:4]
EXPIRE_SELECTOR = keccak(f"expire(({_CAPTURE},bytes32,{_PAST}[])[])".encode())[:4]
UNKNOWN_ORDER_INDEX = 0xFFFF
"""Order index of an instruction whose order the chain does not know."""


@dataclass(frozen=True, slots=True)
class SettleCall:
    """The arguments of one `settle`."""

    attestations: tuple[Attestation, ...]
    authorizations: tuple[Authorization, ...]
    witnesses: tuple[OrderWitness, ...]
    order_index: tuple[int, ...]


# ------------------------------------------------------------------------------ settle, written


def encode_settle(
    attestations: Sequence[Attestation],
    authorizations: Sequence[Authorization],
    witnesses: Sequence[OrderWitness],
    order_index: Iterable[int],
) -> bytes:
    """Calldata of SplitLedger.settle.

    `order_index` has one entry per instruction over all authorizations: the place of its order among the
    captures of this call followed by `witnesses`, or UNKNOWN_ORDER_INDEX.
    """
    parts = (
        encode_tails([_attestation(item) for item in attestations]),
        encode_tails([_authorization(item) for item in authorizations]),
        encode_tails([_witness(item) for item in witnesses]),
        encode_bytes(b"".join(index.to_bytes(2, "big") for index in order_index)),
    )
    return SETTLE_SELECTOR + _heads_and_tails(parts)


def encode_expire(witnesses: Sequence[OrderWitness]) -> bytes:
    """Calldata of SplitLedger.expire. It needs no past."""
    return EXPIRE_SELECTOR + _heads_and_tails((encode_tails([_witness(item) for item in witnesses]),))


def _heads_and_tails(parts: Sequence[bytes]) -> bytes:
    offset = len(parts) * 32
    heads = []
    for part in parts:
        heads.append(word(offset))
        offset += len(part)
    return b"".join((*heads, *parts))


_CAPTURE_TAIL = word(12 * 32)
_LIST_TAIL = word(5 * 32)
_BINDINGS_TAIL = word(7 * 32)


def _capture(capture: Capture) -> bytes:
    return b"".join(
        (
            capture.order_id,
            capture.platform,
            capture.merchant,
            capture.rule_id,
            word(capture.rule_version),
            currency_bytes(capture.currency).ljust(32, b"\0"),
            word(capture.amount),
            word(capture.hold_until),
            word(capture.expires_at),
            capture.facts,
            capture.condition,
            _CAPTURE_TAIL,
            encode_words(capture.bindings),
        )
    )


def _signed_list(signer: bytes, nonce: int, deadline: int, items: bytes, signature: bytes) -> bytes:
    return b"".join(
        (
            signer.rjust(32, b"\0"),
            word(nonce),
            word(deadline),
            _LIST_TAIL,
            word(5 * 32 + len(items)),
            items,
            encode_bytes(signature),
        )
    )


def _attestation(attestation: Attestation) -> bytes:
    captures = encode_tails([_capture(capture) for capture in attestation.captures])
    return _signed_list(
        attestation.attestor, attestation.nonce, attestation.deadline, captures, attestation.signature
    )


def _instruction(instruction: Instruction) -> bytes:
    return b"".join(
        (
            word(instruction.kind),
            instruction.id,
            instruction.order_id,
            instruction.split_id,
            word(instruction.amount),
            _BINDINGS_TAIL,
            word(8 * 32 + 32 * len(instruction.bindings)),
            encode_words(instruction.bindings),
            encode_words([word(amount) for amount in instruction.amounts]),
        )
    )


def _authorization(authorization: Authorization) -> bytes:
    instructions = encode_tails([_instruction(instruction) for instruction in authorization.instructions])
    return _signed_list(
        authorization.platform,
        authorization.nonce,
        authorization.deadline,
        instructions,
        authorization.signature,
    )


def _past_record(record: PastRecord) -> bytes:
    return b"".join(
        (
            word(record.kind),
            record.id,
            record.split_id,
            word(record.amount),
            _LIST_TAIL,
            word(len(record.allocations)),
            *(allocation.recipient + word(allocation.amount) for allocation in record.allocations),
        )
    )


def _witness(witness: OrderWitness) -> bytes:
    capture = _capture(witness.capture)
    past = encode_tails([_past_record(record) for record in witness.past])
    return b"".join((word(3 * 32), witness.head, word(3 * 32 + len(capture)), capture, past))


# ------------------------------------------------------------------------------ any other call


@cache
def _function(contract: str, function: str) -> tuple[bytes, list[dict[str, Any]], list[dict[str, Any]]]:
    found = [entry for entry in artifact(contract).functions() if entry["name"] == function]
    if len(found) != 1:
        raise KeyError(f"{contract} has {len(found)} functions named {function}")
    inputs, outputs = found[0]["inputs"], found[0]["outputs"]
    signature = f"{function}({','.join(map(canonical_type, inputs))})"
    return keccak(signature.encode())[:4], inputs, outputs


def encode_call(contract: str, function: str, *args: Any) -> bytes:
    """Calldata of `function` of `contract` (an artifact's name). Addresses are 20 bytes, structs tuples."""
    selector, inputs, _ = _function(contract, function)
    return selector + encode([canonical_type(item) for item in inputs], args)


def selector_of(contract: str, function: str) -> bytes:
    """The four bytes that name a function."""
    return _function(contract, function)[0]


def decode_arguments(contract: str, function: str, calldata: bytes) -> tuple[Any, ...]:
    """The arguments of a call from its calldata. Raises Undecodable."""
    selector, inputs, _ = _function(contract, function)
    if calldata[:4] != selector:
        raise Undecodable(f"0x{calldata[:4].hex()} is not the selector of {contract}.{function}")
    return _decode_values(inputs, calldata[4:])


def decode_result(contract: str, function: str, data: bytes) -> tuple[Any, ...]:
    """What `function` returned, one value per output. Raises Undecodable, also for no data (no contract)."""
    return _decode_values(_function(contract, function)[2], data)


def _decode_values(parameters: list[dict[str, Any]], data: bytes) -> tuple[Any, ...]:
    try:
        values = decode([canonical_type(item) for item in parameters], data)
    except (DecodingError, OverflowError) as error:
        raise Undecodable(f"{len(data)} bytes do not decode: {error}") from None
    return tuple(plain_value(item, value) for item, value in zip(parameters, values, strict=True))


def encode_deployment(contract: str, *args: Any) -> bytes:
    """Creation code of `contract` with its constructor's arguments."""
    constructors = [entry for entry in artifact(contract).abi if entry["type"] == "constructor"]
    inputs = constructors[0]["inputs"] if constructors else []
    return artifact(contract).bytecode + encode([canonical_type(item) for item in inputs], args)


def leg_values(leg: Leg) -> tuple[int, int, int, int, int, bytes, bytes]:
    """A leg as the tuple that `encode_call` takes."""
    return (
        leg.parent,
        int(leg.kind),
        leg.value,
        leg.min,
        leg.max,
        leg.recipient or bytes(32),
        role_bytes(leg.role),
    )


def terms_values(terms: RuleTerms) -> tuple[int, bool, bool]:
    """Terms as the tuple that `encode_call` takes; RuleTerms(*values) is the inverse."""
    return terms.max_share_out, terms.may_owe, terms.park


def legs_from_values(values: Iterable[Sequence[Any]]) -> tuple[Leg, ...]:
    """Legs from decoded tuples; the inverse of `leg_values`."""
    return tuple(
        Leg(
            parent=parent,
            kind=LegKind(kind),
            value=value,
            min=lower,
            max=upper,
            recipient=recipient if any(recipient) else None,
            role=role_text(role) or None,
        )
        for parent, kind, value, lower, upper, recipient, role in values
    )
