"""Calldata of `settle` held against eth-abi, read back, and read from encodings no honest encoder writes."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from eth_abi.abi import encode
from hypothesis import given, settings
from hypothesis import strategies as st

from fenzhang.chain.abi import Reader, word
from fenzhang.chain.abitypes import canonical_type
from fenzhang.chain.artifacts import artifact
from fenzhang.chain.calldata import (
    SentProposal,
    SentSettle,
    decode_expire,
    decode_proposal,
    decode_retirement,
    decode_settle,
)
from fenzhang.chain.codec import (
    SETTLE_SELECTOR,
    SETTLE_SIGNATURE,
    SettleCall,
    decode_arguments,
    decode_result,
    encode_call,
    encode_expire,
    encode_settle,
    leg_values,
    legs_from_values,
    terms_values,
)
from fenzhang.chain.errors import Undecodable
from fenzhang.chain.governance import propose_call, retire_call
from fenzhang.chain.schedules import (
    SentSchedule,
    decode_schedule,
    entries_from_values,
    entry_values,
    propose_schedule_call,
)
from fenzhang.domain.allocation import Allocation
from fenzhang.domain.records import (
    Attestation,
    Authorization,
    Capture,
    Instruction,
    InstructionKind,
    OrderWitness,
    PastRecord,
    RecordKind,
)
from fenzhang.domain.rules import Leg, LegKind, RuleTerms
from fenzhang.domain.schedules import Entry
from unit.chain import values

calls = st.builds(
    SettleCall,
    values.tuples(values.attestations, 3),
    values.tuples(values.authorizations, 3),
    values.tuples(values.witnesses, 3),
    values.tuples(st.integers(0, 0xFFFF)),
)


def _encoded(call: SettleCall) -> bytes:
    return encode_settle(call.attestations, call.authorizations, call.witnesses, call.order_index)


def _capture(c: Capture) -> tuple[Any, ...]:
    return (
        c.order_id,
        c.platform,
        c.merchant,
        c.rule_id,
        c.rule_version,
        c.currency.encode(),
        c.amount,
        c.hold_until,
        c.expires_at,
        c.facts,
        c.condition,
        c.bindings,
    )


def _attestation(a: Attestation) -> tuple[Any, ...]:
    return (a.attestor, a.nonce, a.deadline, tuple(map(_capture, a.captures)), a.signature)


def _instruction(i: Instruction) -> tuple[Any, ...]:
    return (int(i.kind), i.id, i.order_id, i.split_id, i.amount, i.bindings, i.amounts)


def _authorization(a: Authorization) -> tuple[Any, ...]:
    return (a.platform, a.nonce, a.deadline, tuple(map(_instruction, a.instructions)), a.signature)


def _past(p: PastRecord) -> tuple[Any, ...]:
    return (int(p.kind), p.id, p.split_id, p.amount, tuple((a.recipient, a.amount) for a in p.allocations))


def _witness(w: OrderWitness) -> tuple[Any, ...]:
    return (_capture(w.capture), w.head, tuple(map(_past, w.past)))


@given(values.tuples(values.witnesses, 3))
def test_expire_is_encoded_as_eth_abi_encodes_it_and_read_again(witnesses: tuple[OrderWitness, ...]) -> None:
    data = encode_expire(witnesses)
    assert data == encode_call("SplitLedger", "expire", tuple(map(_witness, witnesses)))
    sent = decode_expire(data)
    assert [(each.capture, each.head) for each in sent] == [(each.capture, each.head) for each in witnesses]


@given(calls)
def test_settle_is_encoded_as_eth_abi_encodes_it(call: SettleCall) -> None:
    types = SETTLE_SIGNATURE.removeprefix("settle(").removesuffix(")")
    [inputs] = [entry["inputs"] for entry in artifact("SplitLedger").functions() if entry["name"] == "settle"]
    assert ",".join(map(canonical_type, inputs)) == types
    arguments = (
        tuple(map(_attestation, call.attestations)),
        tuple(map(_authorization, call.authorizations)),
        tuple(map(_witness, call.witnesses)),
        b"".join(index.to_bytes(2, "big") for index in call.order_index),
    )
    expected = encode([canonical_type(item) for item in inputs], arguments)
    assert _encoded(call) == SETTLE_SELECTOR + expected


def _same(found: SentSettle, call: SettleCall) -> bool:
    witnesses = tuple(OrderWitness(each.capture, each.head, each.past()) for each in found.witnesses)
    return SettleCall(found.attestations, found.authorizations, witnesses, found.order_index) == call


def _with_true_index(call: SettleCall) -> SettleCall:
    """The contract takes no other than one index per instruction."""
    count = sum(len(each.instructions) for each in call.authorizations)
    return replace(call, order_index=tuple(range(count)))


def _as_read(record: PastRecord) -> PastRecord:
    return replace(record, allocations=()) if record.kind is RecordKind.RELEASE else record


@given(calls)
def test_settle_reads_back(call: SettleCall) -> None:
    call = _with_true_index(call)
    read = [replace(each, past=tuple(map(_as_read, each.past))) for each in call.witnesses]
    assert _same(decode_settle(_encoded(call)), replace(call, witnesses=tuple(read)))


@settings(max_examples=300)
@given(calls, st.data())
def test_damaged_calldata_reads_as_something_or_is_undecodable(call: SettleCall, data: st.DataObject) -> None:
    calldata = bytearray(_encoded(_with_true_index(call)))
    at = data.draw(st.integers(4, len(calldata) - 1))
    calldata[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(4, len(calldata)))
    with suppress(Undecodable):
        for witness in decode_settle(bytes(calldata[:cut])).witnesses:
            witness.past()


def test_an_offset_may_point_backwards_as_the_evm_allows() -> None:
    # One attestation whose captures and signature share the words that stand before it.
    shared = word(0)
    attestation = word(0) + word(7) + word(9) + word(2**256 - 32) + word(2**256 - 32)
    body = word(1) + word(64) + shared + attestation
    calldata = (
        SETTLE_SELECTOR + word(128) + word(128 + len(body)) * 2 + word(128 + len(body)) + body + word(0)
    )
    assert decode_settle(calldata).attestations == (Attestation(bytes(20), 7, 9, (), b""),)


def test_padding_of_a_signature_is_nobodys_business() -> None:
    call = SettleCall((Attestation(bytes(20), 1, 2, (), b"\xab"),), (), (), ())
    calldata = _encoded(call)
    dirty = calldata.replace(b"\xab" + bytes(31), b"\xab" + b"\xff" * 31)
    assert dirty != calldata
    assert _same(decode_settle(dirty), call)


def test_a_signed_amount_of_more_than_96_bits_stays_what_was_signed() -> None:
    instruction = Instruction(InstructionKind.SPLIT, bytes(32), bytes(32), amounts=(2**200,))
    call = SettleCall((), (Authorization(bytes(32), 0, 0, (instruction,)),), (), (0,))
    assert _same(decode_settle(_encoded(call)), call)


@pytest.mark.parametrize(
    ("slot", "value"),
    [(0, 2**160), (2, 2**64)],
    ids=["attestor of more than 20 bytes", "deadline of more than 64 bits"],
)
def test_values_that_do_not_fit_their_type_are_undecodable(slot: int, value: int) -> None:
    calldata = _encoded(SettleCall((Attestation(bytes(20), 0, 0, (), b""),), (), (), ()))
    start = 4 + 4 * 32 + 2 * 32 + slot * 32
    with pytest.raises(Undecodable):
        decode_settle(calldata[:start] + word(value) + calldata[start + 32 :])


def test_kinds_beyond_the_known_ones_are_undecodable() -> None:
    instruction = Instruction(InstructionKind.RETURN, b"\xee" * 32, bytes(32))
    calldata = _encoded(SettleCall((), (Authorization(bytes(32), 0, 0, (instruction,)),), (), (0,)))
    with pytest.raises(Undecodable, match="instruction kind 4"):
        decode_settle(calldata.replace(word(2) + b"\xee" * 32, word(4) + b"\xee" * 32))
    past = PastRecord(RecordKind.REFUND, b"\xee" * 32, 0)
    capture = Capture(bytes(32), bytes(32), bytes(32), bytes(32), 1, "CNY", 1, ())
    calldata = _encoded(SettleCall((), (), (OrderWitness(capture, bytes(32), (past,)),), ()))
    [witness] = decode_settle(calldata.replace(word(5) + b"\xee" * 32, word(12) + b"\xee" * 32)).witnesses
    with pytest.raises(Undecodable, match="record kind 12"):
        witness.past()


def test_other_calls_are_not_settle() -> None:
    with pytest.raises(Undecodable, match="selector"):
        decode_settle(b"\x00" * 200)
    with pytest.raises(Undecodable):
        decode_settle(SETTLE_SELECTOR)


@pytest.mark.parametrize("size", [1, 2, 6])
def test_an_order_index_has_two_bytes_for_each_instruction(size: int) -> None:
    instructions = (Instruction(InstructionKind.SPLIT, bytes(32), bytes(32)),) * 2
    call = SettleCall((), (Authorization(bytes(32), 0, 0, instructions),), (), (0, 1))
    calldata = _encoded(call)
    index = word(4) + (1).to_bytes(4, "big").ljust(32, b"\0")
    assert calldata.endswith(index)
    with pytest.raises(Undecodable, match=f"{size} bytes for 2 instructions"):
        decode_settle(calldata[: -len(index)] + word(size) + bytes(32))


def test_a_huge_length_is_undecodable_at_once() -> None:
    calldata = SETTLE_SELECTOR + word(128) * 3 + word(160) + word(2**200) + word(0)
    with pytest.raises(Undecodable):
        decode_settle(calldata)


def test_arrays_that_overlap_are_not_blown_up() -> None:
    """Four hundred pointers to one record of four hundred allocations, in few bytes and never looked at on chain."""
    count = 400
    capture = Capture(bytes(32), bytes(32), bytes(32), bytes(32), 1, "CNY", 1, ())
    empty = PastRecord(RecordKind.SPLIT, bytes(32), 1)
    large = replace(empty, allocations=(Allocation(bytes(32), 1),) * count)
    honest = _encoded(
        SettleCall((), (), (OrderWitness(capture, bytes(32), (large, *[empty] * (count - 1))),), ())
    )
    offsets = honest.index(word(count) + word(32 * count)) + 32
    calldata = honest[:offsets] + word(32 * count) * count + honest[offsets + 32 * count :]
    assert len(decode_settle(honest).witnesses[0].past()) == count
    [witness] = decode_settle(calldata).witnesses
    with pytest.raises(Undecodable, match="overlap"):
        witness.past()


@given(st.lists(values.legs, max_size=6))
def test_legs_survive_the_way_to_the_chain_and_back(legs: list[Leg]) -> None:
    assert legs_from_values(map(leg_values, legs)) == tuple(legs)


@given(
    values.words,
    st.integers(0, 2**32 - 1),
    values.uint64,
    values.tuples(values.entries),
    values.signatures,
)
def test_a_schedule_reads_back_from_its_calldata(
    platform: bytes, version: int, effective_from: int, entries: tuple[Entry, ...], signature: bytes
) -> None:
    sent = SentSchedule(platform, version, effective_from, entries, signature)
    calldata = propose_schedule_call(
        platform=platform,
        version=version,
        effective_from=effective_from,
        entries=entries,
        signature=signature,
    )
    assert decode_schedule(calldata) == sent
    assert entries_from_values(map(entry_values, entries)) == entries


@given(st.lists(values.legs, max_size=3), values.terms, values.words, values.signatures)
def test_a_proposal_reads_back_from_its_calldata(
    legs: list[Leg], terms: RuleTerms, platform: bytes, signature: bytes
) -> None:
    calldata = propose_call(
        platform=platform,
        rule_id=platform,
        version=2,
        effective_from=3,
        legs=legs,
        signature=signature,
        terms=terms,
    )
    sent = SentProposal(platform, platform, 2, 3, tuple(legs), terms, signature)
    assert decode_proposal(calldata) == sent
    assert RuleTerms(*terms_values(terms)) == terms


def test_padding_of_a_signature_for_a_rule_is_nobodys_business() -> None:
    calldata = retire_call(b"P" * 32, b"R" * 32, b"\xab" * 65)
    dirty = calldata[:-31] + b"\xff" * 31
    assert decode_retirement(dirty) == decode_retirement(calldata)
    assert decode_retirement(calldata).signature == b"\xab" * 65


def test_addresses_are_twenty_bytes_on_both_sides() -> None:
    authority = bytes(range(20))
    calldata = encode_call("ParticipantRegistry", "enroll", bytes(32), authority)
    assert decode_arguments("ParticipantRegistry", "enroll", calldata) == (bytes(32), authority)
    result = encode(["uint8", "address"], [1, authority])
    assert decode_result("ParticipantRegistry", "participantOf", result) == (1, authority)


def test_no_answer_is_no_result() -> None:
    with pytest.raises(Undecodable):
        decode_result("LedgerView", "batchCount", b"")


def test_a_function_that_is_not_there_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(KeyError):
        encode_call("SplitLedger", "split")


def test_arguments_of_another_function_are_undecodable() -> None:
    with pytest.raises(Undecodable, match="selector"):
        decode_arguments("LedgerView", "batchRoot", encode_call("LedgerView", "batchCount"))


@given(st.integers(-(2**7), 2**7 - 1))
def test_signed_integers_read_back(value: int) -> None:
    assert Reader(value.to_bytes(32, "big", signed=True)).sint(0, 8) == value


def test_a_leg_kind_beyond_the_known_ones_is_no_leg() -> None:
    values_of_leg = (*leg_values(Leg(-1, LegKind.REMAINDER))[:1], len(LegKind), 0, 0, 0, bytes(32), bytes(32))
    with pytest.raises(ValueError, match=str(len(LegKind))):
        legs_from_values([values_of_leg])
