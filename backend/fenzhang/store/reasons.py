"""Why something was rejected, as the JSON of `instructions.reason` and `records.reason`."""

from __future__ import annotations

from enum import Enum
from typing import Any

from fenzhang.domain.errors import FenzhangError


def reason_to_json(error: FenzhangError) -> dict[str, Any]:
    """Code, message and values of an error: bytes as 0x hex, enums by name."""
    return {
        "code": error.code,
        "message": error.message,
        "values": {name: _plain(value) for name, value in error.values.items()},
    }


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
