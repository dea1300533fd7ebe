"""Every event that the contracts declare, decoded from a log that eth-abi made from the ABI."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from eth_abi.abi import encode

from fenzhang.chain import eventtypes
from fenzhang.chain.abitypes import canonical_type
from fenzhang.chain.artifacts import artifact
from fenzhang.chain.errors import Undecodable
from fenzhang.chain.events import (
    AdministrationChanged,
    BatchSealed,
    ConditionConfirmed,
    ConditionJoined,
    ConditionOpened,
    ConditionReached,
    CurrencyChanged,
    Event,
    InstructionRejected,
    LogPosition,
    OrderCaptured,
    OrderRefunded,
    OrderSplit,
    OrderTerms,
    RoleGranted,
    RuleProposed,
    ScheduleProposed,
    SplitReturned,
    decode_logs,
)
from fenzhang.chain.keccak import keccak
from fenzhang.domain.allocation import Allocation
from fenzhang.domain.records import RecordKind
from fenzhang.domain.rules import Leg, LegKind, RuleTerms
from fenzhang.domain.schedules import SCHEDULE, Entry

ADDRESSES = {
    name: bytes([number]) * 20
    for number, name in enumerate(
        ("AccessManager", "ParticipantRegistry", "RuleBook", "Conditions", "SplitLedger", "ClearingHouse")
    )
}
CONTRACTS = {address: name for name, address in ADDRESSES.items()}
A, B, C, D = (bytes([letter]) * 32 for letter in b"ABCD")
AT = LogPosition(7, A, B, 2, 5)


def _abi(contract: str, event: str) -> dict[str, Any]:
    return next(e for e in artifact(contract).abi if e["type"] == "event" and e["name"] == event)


def make_log(contract: str, event: str, **arguments: Any) -> dict[str, Any]:
    inputs = _abi(contract, event)["inputs"]
    signature = f"{event}({','.join(map(canonical_type, inputs))})"
    indexed = [item for item in inputs if item["indexed"]]
    plain = [item for item in inputs if not item["indexed"]]
    topics = [keccak(signature.encode())]
    topics += [encode([item["type"]], [arguments[item["name"]]]) for item in indexed]
    data = encode([canonical_type(item) for item in plain], [arguments[item["name"]] for item in plain])
    return {
        "address": "0x" + ADDRESSES[contract].hex(),
        "topics": ["0x" + topic.hex() for topic in topics],
        "data": "0x" + data.hex(),
        "blockNumber": "0x7",
        "blockHash": "0x" + A.hex(),
        "transactionHash": "0x" + B.hex(),
        "transactionIndex": "0x2",
        "logIndex": "0x5",
        "removed": False,
    }


def decode_one(contract: str, event: str, **arguments: Any) -> Event:
    [found] = decode_logs([make_log(contract, event, **arguments)], CONTRACTS)
    return found


def _sample(parameter: dict[str, Any]) -> Any:
    kind = parameter["type"]
    if kind.endswith("[]"):
        return [_sample({**parameter, "type": kind.removesuffix("[]")})] * 2
    if kind == "tuple":
        return tuple(map(_sample, parameter["components"]))
    samples = {"address": b"\x07" * 20, "bool": True, "bytes": b"abc", "string": "name", "int8": -1}
    if kind in samples:
        return samples[kind]
    if kind.startswith("bytes"):
        return b"CNY" if kind == "bytes3" else b"\x09" * int(kind.removeprefix("bytes"))
    return 1


ALL_EVENTS = [
    (contract, entry["name"])
    for contract in ADDRESSES
    for entry in artifact(contract).abi
    if entry["type"] == "event" and entry["name"] != "EIP712DomainChanged"
]
"""EIP712DomainChanged is declared by OpenZeppelin for upgradeable contracts; ours never emit it."""


@pytest.mark.parametrize(("contract", "event"), ALL_EVENTS)
def test_every_declared_event_is_known(contract: str, event: str) -> None:
    arguments = {item["name"]: _sample(item) for item in _abi(contract, event)["inputs"]}
    found = decode_one(contract, event, **arguments)
    assert found.at == AT
    if isinstance(found, AdministrationChanged):
        assert found.name == event
        assert len(found.values) == len(arguments)
    else:
        assert type(found).__name__ == event
        # The times of an order are told by the event before.
        joined = ("hold_until", "expires_at", "facts", "condition") if event == "OrderCaptured" else ()
        assert len(fields(found)) == len(arguments) + 1 + len(joined)


def test_a_label_of_a_role_may_be_no_text() -> None:
    """An administrator may give any bytes; who follows the chain must get past them."""
    log = make_log("AccessManager", "RoleLabel", roleId=1, label="name")
    log["data"] = log["data"].replace(b"name".hex(), b"na\xff\xfe".hex())
    [found] = decode_logs([log], CONTRACTS)
    assert found == AdministrationChanged(
        AT, "RoleLabel", (1, "na\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}")
    )


def test_the_events_of_settlement_have_their_values_in_place() -> None:
    captured = decode_one(
        "SplitLedger",
        "OrderCaptured",
        orderId=A,
        platform=B,
        merchant=C,
        ruleId=D,
        ruleVersion=2,
        currency=b"JPY",
        amount=5,
        bindings=[A, B],
    )
    assert captured == OrderCaptured(AT, A, B, C, D, 2, "JPY", 5, (A, B))
    split = decode_one(
        "SplitLedger", "OrderSplit", orderId=A, splitId=B, amount=9, allocations=[(C, 4), (D, 5)]
    )
    assert split == OrderSplit(AT, A, B, 9, (Allocation(C, 4), Allocation(D, 5)))
    returned = decode_one(
        "SplitLedger", "SplitReturned", orderId=A, returnId=B, splitId=C, amount=4, allocations=[(D, 4)]
    )
    assert returned == SplitReturned(AT, A, B, C, 4, (Allocation(D, 4),))
    refunded = decode_one(
        "SplitLedger", "OrderRefunded", orderId=A, refundId=B, amount=9, fromHeld=5, takes=[(C, 1), (D, 3)]
    )
    assert refunded == OrderRefunded(AT, A, B, 9, 5, (Allocation(C, 1), Allocation(D, 3)))
    rejected = decode_one(
        "SplitLedger", "InstructionRejected", signer=A, id=B, orderId=C, kind=2, amount=3, reason=b"why"
    )
    assert rejected == InstructionRejected(AT, A, B, C, RecordKind.RELEASE, 3, b"why")
    sealed = decode_one("SplitLedger", "BatchSealed", batch=8, root=D, records=3)
    assert sealed == BatchSealed(AT, 8, D, 3)
    assert decode_one("SplitLedger", "CurrencyChanged", currency=b"CNY", enabled=False) == CurrencyChanged(
        AT, "CNY", enabled=False
    )


TERMS = {"orderId": A, "holdUntil": 7, "expiresAt": 9, "facts": B, "condition": C}
CAPTURED = {
    "orderId": A,
    "platform": B,
    "merchant": C,
    "ruleId": D,
    "ruleVersion": 2,
    "currency": b"JPY",
    "amount": 5,
    "bindings": [A],
}


def behind(log: dict[str, Any], places: int = 1) -> dict[str, Any]:
    """The same log, so many places further."""
    return log | {"logIndex": hex(AT.log_index + places)}


def test_the_times_of_an_order_are_with_its_capture() -> None:
    terms = make_log("SplitLedger", "OrderTerms", **TERMS)
    captured = make_log("SplitLedger", "OrderCaptured", **CAPTURED)
    [found] = decode_logs([terms, behind(captured)], CONTRACTS)
    assert isinstance(found, OrderCaptured)
    assert (found.hold_until, found.expires_at) == (7, 9)
    assert (found.capture.hold_until, found.capture.expires_at) == (7, 9)
    assert (found.capture.facts, found.capture.condition) == (B, C)


@pytest.mark.parametrize(
    "changed",
    [
        behind(make_log("SplitLedger", "OrderCaptured", **CAPTURED), 2),
        behind(make_log("SplitLedger", "OrderCaptured", **CAPTURED | {"orderId": B})),
        behind(make_log("SplitLedger", "OrderCaptured", **CAPTURED)) | {"transactionHash": "0x" + C.hex()},
    ],
    ids=["not behind it", "of another order", "of another transaction"],
)
def test_times_that_belong_to_no_capture_stay_what_they_are(changed: dict[str, Any]) -> None:
    terms, captured = decode_logs([make_log("SplitLedger", "OrderTerms", **TERMS), changed], CONTRACTS)
    assert isinstance(terms, OrderTerms)
    assert isinstance(captured, OrderCaptured)
    assert (captured.hold_until, captured.expires_at) == (0, 0)


def test_a_proposed_rule_comes_with_its_legs_and_terms() -> None:
    legs = [
        (-1, 1, 500, 10, 20, bytes(32), b"platform".ljust(32, b"\0")),
        (-1, 2, 0, 0, 0, A, bytes(32)),
    ]
    found = decode_one(
        "RuleBook",
        "RuleProposed",
        platform=A,
        ruleId=B,
        version=1,
        effectiveFrom=99,
        contentHash=C,
        legs=legs,
        terms=(2_500, True, True),
    )
    expected = (
        Leg(-1, LegKind.SHARE, 500, 10, 20, None, "platform"),
        Leg(-1, LegKind.REMAINDER, recipient=A),
    )
    assert found == RuleProposed(AT, A, B, 1, 99, C, expected, RuleTerms(2_500, may_owe=True, park=True))


def test_conditions_tell_what_they_need_and_who_joined() -> None:
    key = {"platform": A, "conditionId": B}
    opened = decode_one("Conditions", "ConditionOpened", **key, needed=3, deadline=99, confirmer=C)
    assert opened == ConditionOpened(AT, A, B, 3, 99, C)
    joined = decode_one("Conditions", "ConditionJoined", **key, orderId=D, count=2)
    assert joined == ConditionJoined(AT, A, B, D, 2)
    assert decode_one("Conditions", "ConditionConfirmed", **key) == ConditionConfirmed(AT, A, B)
    assert decode_one("Conditions", "ConditionReached", **key) == ConditionReached(AT, A, B)


def test_a_proposed_schedule_comes_with_its_entries() -> None:
    found = decode_one(
        "RuleBook",
        "ScheduleProposed",
        platform=A,
        version=2,
        effectiveFrom=99,
        contentHash=C,
        entries=[(B, b"JPY", 1, 2, 3, 4, D), (bytes(32), bytes(3), 0, 0, 0, 0, A)],
    )
    assert found == ScheduleProposed(AT, A, 2, 99, C, (Entry(D, B, "JPY", 1, 2, 3, 4), Entry(A)))
    assert found.rule_id == SCHEDULE


def test_a_granted_role_has_account_and_time() -> None:
    found = decode_one(
        "AccessManager",
        "RoleGranted",
        roleId=3,
        account=b"\x07" * 20,
        delay=0,
        since=1_700_000_000,
        newMember=True,
    )
    assert found == RoleGranted(AT, 3, b"\x07" * 20, 0, 1_700_000_000, new_member=True)


def test_an_unknown_event_of_our_contracts_is_an_error() -> None:
    log = make_log("SplitLedger", "BatchSealed", batch=8, root=D, records=3)
    log["topics"][0] = "0x" + keccak(b"Surprise()").hex()
    with pytest.raises(Undecodable):
        decode_logs([log])


def test_an_event_from_the_wrong_contract_is_an_error() -> None:
    log = make_log("SplitLedger", "BatchSealed", batch=8, root=D, records=3)
    log["address"] = "0x" + ADDRESSES["RuleBook"].hex()
    assert decode_logs([log])
    with pytest.raises(Undecodable, match="does not come from"):
        decode_logs([log], CONTRACTS)
    log["address"] = "0x" + "ee" * 20
    with pytest.raises(Undecodable, match="does not come from"):
        decode_logs([log], CONTRACTS)


@pytest.mark.parametrize(
    "damage",
    [
        {"topics": []},
        {"topics": ["0x00"]},
        {"data": "0x"},
        {"data": "0x1"},
        {"blockNumber": None},
        {"logIndex": "x"},
        {"address": "0x12"},
        {"topics": None},
    ],
)
def test_a_malformed_log_is_an_error_that_says_which(damage: dict[str, Any]) -> None:
    log = make_log("SplitLedger", "OrderReleased", orderId=A, releaseId=B, merchant=C, amount=1) | damage
    with pytest.raises(Undecodable, match="log "):
        decode_logs([log], CONTRACTS)


def test_a_missing_topic_is_an_error() -> None:
    log = make_log("SplitLedger", "OrderReleased", orderId=A, releaseId=B, merchant=C, amount=1)
    log["topics"].pop()
    with pytest.raises(Undecodable):
        decode_logs([log])


def test_a_value_beyond_its_type_is_an_error() -> None:
    log = make_log("SplitLedger", "OrderReleased", orderId=A, releaseId=B, merchant=C, amount=1)
    log["data"] = "0x" + C.hex() + "ff" * 32
    with pytest.raises(Undecodable, match="uint96"):
        decode_logs([log])


def test_every_event_class_says_where_it_stands() -> None:
    classes = [
        found for found in vars(eventtypes).values() if isinstance(found, type) and found is not LogPosition
    ]
    for found in classes:
        if found.__module__ == eventtypes.__name__:
            assert fields(found)[0].name == "at"
