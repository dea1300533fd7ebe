"""Why something was rejected, as the JSON of `instructions.reason` and `records.reason`."""

from __future__ import annotations

from enum import Enum
from typing import Any

from fenzhang.domain.errors import FenzhangError
from fenzhang.store.clearingtables import storable


def reason_to_json(error: FenzhangError) -> dict[str, Any]:
    """Code, message and values of an error: bytes as 0x hex, enums by name."""
    return {
        "code": error.code,
        "message": error.message,
        "values": {name: _plain(value) for name, value in error.values.items()},
    }


def bank_reason_to_json(reason: str, data: bytes) -> dict[str, Any]:
    """Why a payout failed or came back, in the same form: the bank's `reason`, and the bytes that it is on chain."""
    code = storable(reason)
    message = f"the bank says {code}" if code else "the bank says no reason"
    return {"code": code, "message": message, "values": {}, "data": "0x" + data.hex()}


def _plain(value: object) -> Any:
    match value:
        case bytes():
            return "0x" + value.hex()
        case Enum():
            return value.name
        case tuple() | list():
            return [_plain(item) for item in value]
        case int() | str() | None:
            return value
        case _:
            return str(value)
