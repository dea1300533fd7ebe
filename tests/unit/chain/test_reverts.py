"""Custom errors: the same thing on chain, in the database and in an answer."""

from __future__ import annotations

import pytest
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from fenzhang.chain.abitypes import canonical_type
from fenzhang.chain.artifacts import artifact
from fenzhang.chain.errors import ContractError
from fenzhang.chain.keccak import keccak
from fenzhang.chain.reverts import _TYPES, decode_revert, encode_rejection, signature_of
from fenzhang.domain import errors
from fenzhang.domain.errors import REJECTIONS, Rejection
from fenzhang.domain.records import RuleState
from unit.chain import values

OF_THE_TRANSACTION = {
    "SplitLedger_OrderChanged",
    "SplitLedger_IndexCount",
    "SplitLedger_IrregularCalldata",
    "SplitLedger_GasTooLow",
}
"""Errors that revert the whole call and therefore reject nothing."""
STRATEGIES: dict[str, st.SearchStrategy[object]] = {
    "bytes32": values.words,
    "uint256": values.uint256,
    "int256": st.integers(-(2**255), 2**255 - 1),
    "uint32": st.integers(0, 2**32 - 1),
    "uint64": values.uint64,
    "address": values.addresses,
    "bytes3": values.currencies,
    "role": values.roles,
    "RuleState": st.sampled_from(RuleState),
}


def _selector(signature: str) -> bytes:
    return keccak(signature.encode())[:4]


def test_every_rejecting_error_of_the_contract_has_its_class_and_its_types() -> None:
    declared = {
        entry["name"]: [item["type"] for item in entry["inputs"]]
        for entry in artifact("SplitLedger").abi
        if entry["type"] == "error" and entry["name"].startswith("SplitLedger_")
    }
    assert set(declared) - OF_THE_TRANSACTION == set(REJECTIONS) == set(_TYPES)
    for name, types in declared.items():
        if name not in OF_THE_TRANSACTION:
            assert signature_of(name) == f"{name}({','.join(types)})"
            assert len(REJECTIONS[name].fields) == len(types)


@pytest.mark.parametrize("name", sorted(REJECTIONS))
@given(data=st.data())
def test_a_rejection_survives_the_way_over_the_chain(name: str, data: st.DataObject) -> None:
    arguments = [data.draw(STRATEGIES[kind]) for kind in _TYPES[name]]
    rejection = _make(REJECTIONS[name], arguments)
    found = decode_revert(encode_rejection(rejection))
    assert found == rejection
    assert isinstance(found, Rejection)
    assert found.values == rejection.values
    assert hash(found) == hash(rejection)


def _make(kind: type[Rejection], arguments: list[object]) -> Rejection:
    return kind(*arguments)


def test_a_rejection_is_encoded_as_solidity_encodes_it() -> None:
    rejection = errors.RuleNotInForce(bytes(range(32)), 3, RuleState.RETIRED)
    arguments = encode(["bytes32", "uint32", "uint8"], [bytes(range(32)), 3, 5])
    assert (
        encode_rejection(rejection)
        == _selector("SplitLedger_RuleNotInForce(bytes32,uint32,uint8)") + arguments
    )
    named = errors.RoleNotBound("promoter")
    assert encode_rejection(named)[4:] == b"promoter".ljust(32, b"\0")
    currency = errors.CurrencyNotEnabled("CNY")
    assert encode_rejection(currency)[4:] == b"CNY".ljust(32, b"\0")
    attestor = errors.NotAttestor(bytes(range(20)))
    assert encode_rejection(attestor)[4:] == bytes(12) + bytes(range(20))


def test_a_rejection_without_an_error_of_the_contract_cannot_be_encoded() -> None:
    with pytest.raises(TypeError):
        encode_rejection(Rejection())


def test_other_contract_errors_carry_their_name_as_code_and_their_values() -> None:
    data = _selector("RuleBook_VersionNotNext(bytes32,uint32,uint32)") + encode(
        ["bytes32", "uint32", "uint32"], [bytes(32), 4, 3]
    )
    found = decode_revert(data)
    assert isinstance(found, ContractError)
    assert found.code == "version_not_next"
    assert found.contract_error == "RuleBook_VersionNotNext"
    assert found.values == {"ruleId": bytes(32), "version": 4, "expected": 3}


@pytest.mark.parametrize(
    ("signature", "types", "arguments", "code"),
    [
        ("ParticipantRegistry_UnknownParticipant(bytes32)", ["bytes32"], [bytes(32)], "unknown_participant"),
        ("RuleTree_RemainderNotLast(uint256)", ["uint256"], [2], "remainder_not_last"),
        (
            "AccessManagedUnauthorized(address)",
            ["address"],
            [bytes(20)],
            "access_managed_unauthorized",
        ),
        ("SplitLedger_IndexCount(uint256,uint256)", ["uint256"] * 2, [1, 2], "index_count"),
        ("Error(string)", ["string"], ["no"], "error"),
        ("Panic(uint256)", ["uint256"], [0x11], "panic"),
    ],
)
def test_codes_of_contract_errors(
    signature: str, types: list[str], arguments: list[object], code: str
) -> None:
    found = decode_revert(_selector(signature) + encode(types, arguments))
    assert isinstance(found, ContractError)
    assert found.code == code


def test_every_declared_error_has_a_code_of_its_own_among_its_contract() -> None:
    for contract in ("ParticipantRegistry", "RuleBook"):
        declared = [
            entry
            for entry in artifact(contract).abi
            if entry["type"] == "error" and entry["name"].startswith((contract, "RuleTree"))
        ]
        codes = set()
        for entry in declared:
            types = [canonical_type(item) for item in entry["inputs"]]
            zeros = [
                bytes(32) if kind == "bytes32" else bytes(20) if kind == "address" else 0 for kind in types
            ]
            found = decode_revert(_selector(f"{entry['name']}({','.join(types)})") + encode(types, zeros))
            codes.add(found.code)
        assert len(codes) == len(declared) > 0


@given(st.binary(max_size=100))
def test_any_bytes_are_some_error(data: bytes) -> None:
    assert isinstance(decode_revert(data), ContractError | Rejection)


@pytest.mark.parametrize("name", sorted(name for name in REJECTIONS if _TYPES[name]))
def test_a_rejection_cut_short_is_a_refusal_without_a_name(name: str) -> None:
    found = decode_revert(_selector(signature_of(name)) + bytes(31))
    assert type(found) is ContractError
    assert found.code == "reverted"


def test_a_revert_whose_text_is_no_text_is_still_an_error() -> None:
    data = encode(["string"], ["name"]).replace(b"name", b"na\xff\xfe")  # no UTF-8
    error = decode_revert(keccak(b"Error(string)")[:4] + data)
    assert isinstance(error, ContractError)
    assert error.code == "reverted"
