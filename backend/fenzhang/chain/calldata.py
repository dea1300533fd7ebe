"""Calldata as anybody may have written it, read the way the contracts read it.

Relaying needs no role, so what stands in a transaction is what its sender liked: offsets that overlap or lead
backwards, padding that is not zero, parts that no contract looks at. Everything here takes what the contracts take,
reads nothing that they leave unread, and raises Undecodable for the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

from fenzhang.chain.abi import WORD, Meter, Reader, currency_text, role_text
from fenzhang.chain.codec import EXPIRE_SELECTOR, SETTLE_SELECTOR, selector_of
from fenzhang.chain.errors import Undecodable
from fenzhang.domain.allocation import Allocation
from fenzhang.domain.records import (
    Attestation,
    Authorization,
    Capture,
    Instruction,
    InstructionKind,
    PastRecord,
    RecordKind,
)
from fenzhang.domain.rules import Leg, LegKind, RuleTerms

_SELECTOR = 4
_OVERLAP = 64
"""How many times over the words of calldata may be read. Nothing honest comes near, not even parts that are shared."""
_LEG_WORDS = 7


@dataclass(frozen=True, slots=True)
class SentWitness:
    """A witness as it was sent. Its past is anything at all: the contract opens it for a RETURN or REFUND only."""

    capture: Capture
    head: bytes
    _body: Reader

    def past(self) -> tuple[PastRecord, ...]:
        """The records given as the order's past. Raises Undecodable."""
        metered = Reader(self._body.data, self._body.base, _meter(self._body.data))
        return tuple(map(_past_record, metered.tails(2)))


@dataclass(frozen=True, slots=True)
class SentSettle:
    """The arguments of a `settle` as they were sent. The order index has one entry per instruction."""

    attestations: tuple[Attestation, ...]
    authorizations: tuple[Authorization, ...]
    witnesses: tuple[SentWitness, ...]
    order_index: tuple[int, ...]


def decode_settle(calldata: bytes) -> SentSettle:
    """The arguments of a `settle`. Raises Undecodable."""
    arguments = arguments_of(calldata, SETTLE_SELECTOR, "settle", _meter(calldata))
    authorizations = tuple(map(_authorization, arguments.tails(1)))
    index, instructions = arguments.blob(3), sum(len(each.instructions) for each in authorizations)
    if len(index) != 2 * instructions:
        raise Undecodable(
            f"an order index of {len(index)} bytes for {instructions} instructions, two for each"
        )
    return SentSettle(
        attestations=tuple(map(_attestation, arguments.tails(0))),
        authorizations=authorizations,
        witnesses=tuple(map(_witness, arguments.tails(2))),
        order_index=tuple(int.from_bytes(index[at : at + 2], "big") for at in range(0, len(index), 2)),
    )


def decode_expire(calldata: bytes) -> tuple[SentWitness, ...]:
    """The witnesses given to an `expire`. Raises Undecodable."""
    return tuple(map(_witness, arguments_of(calldata, EXPIRE_SELECTOR, "expire", _meter(calldata)).tails(0)))


def _meter(calldata: bytes) -> Meter:
    return Meter(_OVERLAP * (len(calldata) // WORD + 1))


def arguments_of(calldata: bytes, selector: bytes, function: str, meter: Meter | None = None) -> Reader:
    """The arguments of a call of `function`. Raises Undecodable for a call of another one."""
    if calldata[:_SELECTOR] != selector:
        raise Undecodable(f"0x{calldata[:_SELECTOR].hex()} is not the selector of {function}")
    return Reader(calldata, _SELECTOR, meter)


# ------------------------------------------------------------------------------ parts of settle


def _capture(reader: Reader) -> Capture:
    return Capture(
        order_id=reader.raw(0),
        platform=reader.raw(1),
        merchant=reader.raw(2),
        rule_id=reader.raw(3),
        rule_version=reader.uint(4, 32),
        currency=currency_text(reader.fixed(5, 3)),
        amount=reader.uint(6, 96),
        hold_until=reader.uint(7, 64),
        expires_at=reader.uint(8, 64),
        facts=reader.raw(9),
        condition=reader.raw(10),
        bindings=reader.words(11),
    )


def _attestation(reader: Reader) -> Attestation:
    return Attestation(
        attestor=reader.address(0),
        nonce=reader.uint(1),
        deadline=reader.uint(2, 64),
        captures=tuple(map(_capture, reader.tails(3))),
        signature=reader.blob(4),
    )


def _instruction(reader: Reader) -> Instruction:
    kind = reader.uint(0, 8)
    if kind >= len(InstructionKind):
        raise Undecodable(f"there is no instruction kind {kind}")
    # The contract hashes the words of `amounts` before it looks at them, and a RELEASE's never; so they are not
    # held to uint96 here: a signed nonsense value must stay what was signed.
    amounts = tuple(int.from_bytes(raw, "big") for raw in reader.words(6))
    return Instruction(
        kind=InstructionKind(kind),
        id=reader.raw(1),
        order_id=reader.raw(2),
        split_id=reader.raw(3),
        amount=reader.uint(4, 96),
        bindings=reader.words(5),
        amounts=amounts,
    )


def _authorization(reader: Reader) -> Authorization:
    return Authorization(
        platform=reader.raw(0),
        nonce=reader.uint(1),
        deadline=reader.uint(2, 64),
        instructions=tuple(map(_instruction, reader.tails(3))),
        signature=reader.blob(4),
    )


def _witness(reader: Reader) -> SentWitness:
    return SentWitness(_capture(reader.follow(0)), reader.raw(1), reader)


def _past_record(reader: Reader) -> PastRecord:
    kind = reader.uint(0, 8)
    if kind >= len(RecordKind):
        raise Undecodable(f"there is no record kind {kind}")
    return PastRecord(
        kind=RecordKind(kind),
        id=reader.raw(1),
        split_id=reader.raw(2),
        amount=reader.uint(3, 96),
        # The contract does not look at what stands there in a RELEASE.
        allocations=() if kind == RecordKind.RELEASE else read_allocations(reader, 4),
    )


_ALLOCATION = Struct("32s32s")
_AMOUNT_BITS = 96


def read_allocations(reader: Reader, slot: int) -> tuple[Allocation, ...]:
    """The Allocation[] at `slot`. Raises Undecodable."""
    length, body = reader.array(slot, element_words=2)
    end = body.base + length * _ALLOCATION.size
    found = []
    for recipient, word in _ALLOCATION.iter_unpack(body.data[body.base : end]):
        amount = int.from_bytes(word, "big")
        if amount >> _AMOUNT_BITS:
            raise Undecodable(f"{amount} does not fit uint{_AMOUNT_BITS}")
        found.append(Allocation(recipient, amount))
    return tuple(found)


# ------------------------------------------------------------------------------ rules


@dataclass(frozen=True, slots=True)
class SentProposal:
    """The arguments of RuleBook.propose."""

    platform: bytes
    rule_id: bytes
    version: int
    effective_from: int
    legs: tuple[Leg, ...]
    terms: RuleTerms
    signature: bytes


@dataclass(frozen=True, slots=True)
class SentRetirement:
    """The arguments of RuleBook.retire."""

    platform: bytes
    rule_id: bytes
    signature: bytes


def decode_proposal(calldata: bytes) -> SentProposal:
    """The arguments of a `propose`. Raises Undecodable."""
    arguments = arguments_of(calldata, selector_of("RuleBook", "propose"), "propose", _meter(calldata))
    proposal = arguments.follow(0)
    return SentProposal(
        platform=proposal.raw(0),
        rule_id=proposal.raw(1),
        version=proposal.uint(2, 32),
        effective_from=proposal.uint(3, 64),
        legs=read_legs(proposal, 4),
        terms=read_terms(proposal, 5),
        signature=arguments.blob(1),
    )


def decode_retirement(calldata: bytes) -> SentRetirement:
    """The arguments of a `retire`. Raises Undecodable."""
    arguments = arguments_of(calldata, selector_of("RuleBook", "retire"), "retire")
    return SentRetirement(arguments.raw(0), arguments.raw(1), arguments.blob(2))


@dataclass(frozen=True, slots=True)
class SentCondition:
    """A condition as it was sent to be opened: its fields in their order, and the platform's signature."""

    terms: tuple[bytes, bytes, int, int, bytes]
    signature: bytes


@dataclass(frozen=True, slots=True)
class SentConfirmation:
    """The confirmation of a condition as it was sent."""

    platform: bytes
    condition_id: bytes
    signature: bytes


def decode_condition(calldata: bytes) -> SentCondition:
    """The arguments of Conditions' `open`. Raises Undecodable."""
    sent = arguments_of(calldata, selector_of("Conditions", "open"), "open")
    terms = (sent.raw(0), sent.raw(1), sent.uint(2, 32), sent.uint(3, 64), sent.raw(4))
    return SentCondition(terms, sent.blob(5))


def decode_confirmation(calldata: bytes) -> SentConfirmation:
    """The arguments of Conditions' `confirm`. Raises Undecodable."""
    sent = arguments_of(calldata, selector_of("Conditions", "confirm"), "confirm")
    return SentConfirmation(sent.raw(0), sent.raw(1), sent.blob(2))


def read_legs(reader: Reader, slot: int) -> tuple[Leg, ...]:
    """The Leg[] at `slot`. Raises Undecodable."""
    length, body = reader.array(slot, element_words=_LEG_WORDS)
    return tuple(_leg(Reader(body.data, body.base + _LEG_WORDS * WORD * i)) for i in range(length))


def read_terms(reader: Reader, slot: int) -> RuleTerms:
    """The RuleTerms whose first word stands at `slot`. Raises Undecodable."""
    return RuleTerms(
        max_share_out=reader.uint(slot, 16), may_owe=reader.flag(slot + 1), park=reader.flag(slot + 2)
    )


def _leg(leg: Reader) -> Leg:
    kind, recipient = leg.uint(1, 8), leg.raw(5)
    if kind >= len(LegKind):
        raise Undecodable(f"there is no leg kind {kind}")
    return Leg(
        parent=leg.sint(0, 8),
        kind=LegKind(kind),
        value=leg.uint(2, 96),
        min=leg.uint(3, 96),
        max=leg.uint(4, 96),
        recipient=recipient if any(recipient) else None,
        role=role_text(leg.raw(6)) or None,
    )


# ------------------------------------------------------------------------------ administration


def decode_execution(calldata: bytes) -> tuple[bytes, bytes]:
    """Target (20 bytes) and calldata of an AccessManager.execute. Raises Undecodable."""
    arguments = arguments_of(calldata, selector_of("AccessManager", "execute"), "execute")
    return arguments.address(0), arguments.blob(1)


def decode_multicall(calldata: bytes) -> list[bytes]:
    """The calls of an AccessManager.multicall, in order. Raises Undecodable."""
    arguments = arguments_of(
        calldata, selector_of("AccessManager", "multicall"), "multicall", _meter(calldata)
    )
    count, calls = arguments.array(0)
    return [calls.blob(index) for index in range(count)]
