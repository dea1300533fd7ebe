"""What a schema says about several fields at once. Null is the same as left out."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict

_NULL = {"type": "null"}
_GIVEN = {"not": _NULL}


def examples(*shown: dict[str, Any], **constraints: Any) -> ConfigDict:
    """Examples of a model, and JSON Schema keywords for it."""
    return ConfigDict(json_schema_extra={"examples": list(shown), **constraints})


def exactly_one(one: str, other: str) -> dict[str, Any]:
    """Either field, and not both."""
    return {
        "oneOf": [
            {"required": [one], "properties": {one: _GIVEN, other: _NULL}},
            {"required": [other], "properties": {other: _GIVEN, one: _NULL}},
        ]
    }


def needs(field: str, *others: str) -> dict[str, Any]:
    """With `field`, the others are needed too."""
    return {
        "anyOf": [
            {"properties": {field: _NULL}},
            {"required": list(others), "properties": dict.fromkeys(others, _GIVEN)},
        ]
    }
