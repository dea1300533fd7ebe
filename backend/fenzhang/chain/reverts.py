"""Custom errors of the contracts as Python errors, and rejections as the bytes that the chain records."""

from __future__ import annotations

from functools import cache
from typing import Any

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError

from fenzhang.chain.abi import (
    Reader,
    currency_bytes,
    currency_text,
    role_bytes,
    role_text,
    signed_word,
    word,
)
from fenzhang.chain.abitypes import canonical_type, plain_value
from fenzhang.chain.artifacts import artifact
from fenzhang.chain.errors import ContractError, Undecodable, contract_error_class
from fenzhang.chain.keccak import keccak
from fenzhang.domain.errors import REJECTIONS, FenzhangError, Rejection
from fenzhang.domain.records import RuleState

CONTRACTS = (
    "AccessManager",
    "ParticipantRegistry",
    "RuleBook",
    "Conditions",
    "SplitLedger",
    "LedgerView",
    "ClearingHouse",
)
"""The deployed contracts, in order of deployment."""

_TYPES: dict[str, tuple[str, ...]] = {
    "SplitLedger_InvalidSignature": ("bytes32",),
    "SplitLedger_DeadlinePassed": ("uint256", "uint256"),
    "SplitLedger_NonceUsed": ("uint256",),
    "SplitLedger_NotAttestor": ("address",),
    "SplitLedger_PlatformNotActive": ("bytes32",),
    "SplitLedger_EmptyAuthorization": ("uint256",),
    "SplitLedger_ZeroAmount": (),
    "SplitLedger_AmountAboveLimit": ("uint256", "uint256"),
    "SplitLedger_CurrencyNotEnabled": ("bytes3",),
    "SplitLedger_OrderAlreadyCaptured": ("bytes32",),
    "SplitLedger_RuleNotInForce": ("bytes32", "uint32", "RuleState"),
    "SplitLedger_RuleNotSelected": ("bytes32", "bytes32"),
    "SplitLedger_BindingCount": ("uint256", "uint256"),
    "SplitLedger_RecipientNotActive": ("bytes32",),
    "SplitLedger_RecipientNotConsented": ("bytes32", "bytes32"),
    "SplitLedger_HoldBeyondExpiry": ("uint64", "uint64"),
    "SplitLedger_UnknownOrder": ("bytes32",),
    "SplitLedger_NotOrderPlatform": ("bytes32", "bytes32"),
    "SplitLedger_MalformedInstruction": ("bytes32",),
    "SplitLedger_InsufficientHeld": ("bytes32", "uint256", "uint256"),
    "SplitLedger_ShareOutAboveCap": ("bytes32", "uint256", "uint256"),
    "SplitLedger_RoleNotBound": ("role",),
    "SplitLedger_RoleAlreadyBound": ("role", "bytes32"),
    "SplitLedger_LegExceedsRemaining": ("uint256", "uint256", "uint256"),
    "SplitLedger_GivenCount": ("uint256", "uint256"),
    "SplitLedger_GivenOutOfBounds": ("uint256", "uint256", "uint256", "uint256"),
    "SplitLedger_NothingHeld": ("bytes32",),
    "SplitLedger_OnHold": ("bytes32", "uint64"),
    "SplitLedger_OrderExpired": ("bytes32", "uint64"),
    "SplitLedger_UnknownCondition": ("bytes32",),
    "SplitLedger_ConditionOpen": ("bytes32", "bytes32"),
    "SplitLedger_ConditionMissed": ("bytes32", "bytes32"),
    "SplitLedger_OrderFrozen": ("bytes32",),
    "SplitLedger_SplitFrozen": ("bytes32", "bytes32"),
    "SplitLedger_ParticipantFrozen": ("bytes32",),
    "SplitLedger_OrderNotExpired": ("bytes32", "uint64"),
    "SplitLedger_OutdatedWitness": ("bytes32",),
    "SplitLedger_ReturnNotFirst": ("bytes32",),
    "SplitLedger_UnknownSplit": ("bytes32", "bytes32"),
    "SplitLedger_InsufficientReturnable": ("bytes32", "uint256", "uint256"),
    "SplitLedger_LeafNotReturnable": ("bytes32", "uint256", "uint256", "uint256"),
    "SplitLedger_InsufficientRefundable": ("bytes32", "uint256", "uint256"),
    "SplitLedger_InsufficientPosition": ("bytes32", "uint256", "int256"),
    "SplitLedger_NothingParked": ("bytes3", "bytes32"),
}
"""Argument types of the errors that reject; `role` is a bytes32 name and RuleState a uint8."""
_SOLIDITY = {"role": "bytes32", "RuleState": "uint8"}


def signature_of(error: str) -> str:
    """Solidity signature of a rejecting error, such as SplitLedger_NonceUsed(uint256)."""
    return f"{error}({','.join(_SOLIDITY.get(kind, kind) for kind in _TYPES[error])})"


_SELECTORS = {name: keccak(signature_of(name).encode())[:4] for name in _TYPES}
_BY_SELECTOR = {selector: name for name, selector in _SELECTORS.items()}


def encode_rejection(rejection: Rejection) -> bytes:
    """The reason as the chain records it: selector and arguments of the custom error."""
    name = rejection.contract_error
    if name not in _TYPES:
        raise TypeError(f"{type(rejection).__name__} is no error of the contracts")
    values = rejection.values.values()
    words = (_encode(kind, value) for kind, value in zip(_TYPES[name], values, strict=True))
    return _SELECTORS[name] + b"".join(words)


def decode_revert(data: bytes) -> FenzhangError:
    """What a custom error says: a Rejection for those of SplitLedger that reject, otherwise a ContractError.

    Unknown errors and calls that failed without data are ContractErrors with the code `reverted`.
    """
    name = _BY_SELECTOR.get(data[:4])
    if name is None:
        return _decode_contract_error(data)
    reader = Reader(data[4:])
    try:
        args = [_decode(kind, reader, slot) for slot, kind in enumerate(_TYPES[name])]
    except Undecodable:
        return _unknown(data)
    return REJECTIONS[name](*args)


def _encode(kind: str, value: Any) -> bytes:
    match kind:
        case "bytes32":
            return bytes(value)
        case "role":
            return role_bytes(value)
        case "address":
            return bytes(value).rjust(32, b"\0")
        case "bytes3":
            return currency_bytes(value).ljust(32, b"\0")
        case "int256":
            return signed_word(value)
        case _:
            return word(value)


def _decode(kind: str, reader: Reader, slot: int) -> object:
    match kind:
        case "bytes32":
            return reader.raw(slot)
        case "role":
            return role_text(reader.raw(slot))
        case "address":
            return reader.address(slot)
        case "bytes3":
            return currency_text(reader.fixed(slot, 3))
        case "RuleState":
            try:
                return RuleState(reader.uint(slot, 8))
            except ValueError as error:
                raise Undecodable(str(error)) from None
        case _:
            read = reader.sint if kind.startswith("int") else reader.uint
            return read(slot, int(kind.lstrip("uint")))


@cache
def _contract_errors() -> dict[bytes, dict[str, Any]]:
    builtin = [
        {"name": "Error", "inputs": [{"name": "text", "type": "string"}]},
        {"name": "Panic", "inputs": [{"name": "code", "type": "uint256"}]},
    ]
    declared = [
        entry for contract in CONTRACTS for entry in artifact(contract).abi if entry["type"] == "error"
    ]
    return {
        keccak(f"{e['name']}({','.join(map(canonical_type, e['inputs']))})".encode())[:4]: e
        for e in builtin + declared
    }


def _decode_contract_error(data: bytes) -> ContractError:
    found = _contract_errors().get(data[:4])
    if found is None:
        return _unknown(data)
    inputs = found["inputs"]
    try:
        decoded = decode([canonical_type(item) for item in inputs], data[4:])
    except (DecodingError, OverflowError, ValueError):  # the last for a text that is not UTF-8
        return _unknown(data)
    values = {item["name"]: plain_value(item, value) for item, value in zip(inputs, decoded, strict=True)}
    shown = ", ".join(f"{key} {'0x' + v.hex() if isinstance(v, bytes) else v}" for key, v in values.items())
    return contract_error_class(found["name"])(
        f"{found['name']} ({shown})" if shown else found["name"], **values
    )


def _unknown(data: bytes) -> ContractError:
    return ContractError(f"the contract refused the call (0x{data.hex()})", data=data)
