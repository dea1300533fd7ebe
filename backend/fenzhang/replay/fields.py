"""Fields of JSON that a person wrote, read with an error that says where the mistake is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fenzhang.domain.errors import FenzhangError, InvalidReference
from fenzhang.domain.identifiers import check_reference

_SHOWN = 60
"""Characters of an offending value that a message repeats."""


class Mistake(FenzhangError):
    """Something in a file is not what its format says. `place` names file and line, `field` the way to the value."""

    code = "malformed"

    def __init__(self, place: str, field: str, message: str) -> None:
        super().__init__(
            ": ".join(part for part in (place, field, message) if part), place=place, field=field
        )


class Fields:
    """A JSON value at a place of a file, and typed ways into it. Every method raises Mistake."""

    __slots__ = ("_field", "_place", "value")

    value: Any
    """The JSON value itself."""

    def __init__(self, place: str, value: Any, field: str = "") -> None:
        self._place = place
        self._field = field
        self.value = value

    def mistake(self, message: str) -> Mistake:
        """A mistake in this very value."""
        return Mistake(self._place, self._field, message)

    # -------------------------------------------------------------------------- ways in

    def __contains__(self, name: str) -> bool:
        return self._object().get(name) is not None

    def get(self, name: str) -> Fields:
        """A member of an object that must be there."""
        members = self._object()
        if name not in members:
            raise self.mistake(f"{name!r} is missing")
        return Fields(self._place, members[name], f"{self._field}.{name}" if self._field else name)

    def members(self) -> Iterator[tuple[str, Fields]]:
        """Members of an object with their names."""
        for name in self._object():
            yield name, self.get(name)

    def items(self) -> list[Fields]:
        """Items of an array."""
        if not isinstance(self.value, list):
            raise self._wrong("an array")
        return [Fields(self._place, item, f"{self._field}[{index}]") for index, item in enumerate(self.value)]

    # -------------------------------------------------------------------------- values

    def integer(self) -> int:
        """A whole number, written as one."""
        if not isinstance(self.value, int) or isinstance(self.value, bool):
            raise self._wrong("a whole number")
        return self.value

    def integer_within(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`."""
        value = self.integer()
        if not low <= value <= high:
            raise self.mistake(f"{value} is not within {low} to {high}")
        return value

    def boolean(self) -> bool:
        """True or false."""
        if not isinstance(self.value, bool):
            raise self._wrong("true or false")
        return self.value

    def text(self) -> str:
        """A string that is not empty."""
        if not isinstance(self.value, str) or not self.value:
            raise self._wrong("a string that is not empty")
        return self.value

    def reference(self) -> str:
        """A reference, as clients give them to what they write."""
        try:
            return check_reference("reference", self.text())
        except InvalidReference as error:
            raise self.mistake(f"{self._shown()} is no reference ({error.message})") from None

    def _object(self) -> dict[str, Any]:
        if not isinstance(self.value, dict):
            raise self._wrong("an object")
        return self.value

    def _wrong(self, wanted: str) -> Mistake:
        return self.mistake(f"{self._shown()} is not {wanted}")

    def _shown(self) -> str:
        text = json.dumps(self.value, ensure_ascii=False)
        return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def parse_json(place: str, text: str | bytes) -> Any:
    """JSON text; `place` goes into the Mistake, which names the line within the text if there are several."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        where = f"{place} line {error.lineno}" if error.doc.count("\n") else place
        raise Mistake(where, "", f"is no JSON: {error.msg} (column {error.colno})") from None
    except UnicodeDecodeError:
        raise Mistake(place, "", "is no UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise Mistake(place, "", f"is no JSON: {error}") from None


def read_json(path: Path) -> Any:
    """The JSON of a whole file. Raises Mistake, also for a file that cannot be read."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Mistake(path.name, "", f"cannot be read: {error.strerror}") from None
    return parse_json(path.name, content)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")
