"""JSON of one meaning only: no NaN, no lone surrogates, no endless nesting, no name twice in an object."""

from __future__ import annotations

import json
from typing import Any

import orjson

_MAX_NAME = 64


def loads(text: bytes) -> Any:
    """The value that UTF-8 JSON stands for. Raises json.JSONDecodeError, which orjson's error is."""
    found = orjson.loads(text)
    try:
        # orjson takes the last of two values for a name; whoever signed or logged the text may take the first.
        _DECODER.decode(text.decode())
    except RecursionError:
        raise json.JSONDecodeError("nested too deeply", "", 0) from None
    return found


def _unique(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise json.JSONDecodeError(f"the name {name[:_MAX_NAME]!r} twice in one object", "", 0)
        seen.add(name)


_DECODER = json.JSONDecoder(object_pairs_hook=_unique)
