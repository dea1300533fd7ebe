"""JSON of the API into dataclasses, by their annotations. Fields that a dataclass does not have are ignored."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")
Reader = Callable[[Any], Any]


def reader(kind: type[T]) -> Callable[[Any], T]:
    """A function that reads a dataclass from JSON. It raises KeyError, TypeError or ValueError for other JSON."""
    hint: Any = kind
    return cast("Callable[[Any], T]", _reader(hint))


@cache
def _reader(kind: Any) -> Reader:
    if dataclasses.is_dataclass(kind):
        return _dataclass_reader(cast("type[Any]", kind))
    origin = get_origin(kind)
    if origin in {Union, types.UnionType}:
        [inner] = [option for option in get_args(kind) if option is not types.NoneType]
        return _optional_reader(_reader(inner))
    if origin is tuple:
        item = _reader(get_args(kind)[0])
        return lambda value: tuple(map(item, _checked(value, list)))
    if origin is Mapping:
        item = _reader(get_args(kind)[1])
        return lambda value: {str(name): item(found) for name, found in _checked(value, dict).items()}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind
    return _SIMPLE.get(kind) or (lambda value: _checked(value, kind))


def _dataclass_reader(kind: type[Any]) -> Reader:
    hints = get_type_hints(kind)
    fields = dataclasses.fields(kind)
    required = [(field.name, _reader(hints[field.name])) for field in fields if _is_required(field)]
    optional = [(field.name, _reader(hints[field.name])) for field in fields if not _is_required(field)]

    def read(value: Any) -> Any:
        found = _checked(value, dict)
        values = {name: inner(found[name]) for name, inner in required}
        values |= {name: inner(found[name]) for name, inner in optional if found.get(name) is not None}
        return kind(**values)

    return read


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _optional_reader(inner: Reader) -> Reader:
    return lambda value: None if value is None else inner(value)


def _as_is(value: Any) -> Any:
    return value


def _integer(value: Any) -> int:
    """Integers beyond 64 bits, such as sums, are decimal strings."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError(f"{type(value).__name__} in place of int")
    return int(value)


_SIMPLE: dict[Any, Reader] = {Any: _as_is, int: _integer}


def _checked(value: Any, kind: type[Any]) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{type(value).__name__} in place of {kind.__name__}")
    return value
