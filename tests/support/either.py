"""Tests of which the database is not the subject run on one kind of it, half of them on each."""

from __future__ import annotations

import zlib
from collections import defaultdict

import pytest

MARK = "either_database"


def chosen(items: list[pytest.Item]) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """Those to run and those to leave out: of a marked test that is there for several kinds, one, by its name."""
    kinds: dict[str, set[str]] = defaultdict(set)
    for item in items:
        if (kind := _kind(item)) is not None:
            kinds[_function(item)].add(kind)
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        kind, name = _kind(item), _function(item)
        # Parity of a checksum: the same in every process, and for a test whatever is added beside it.
        wanted = sorted(kinds[name])[zlib.crc32(name.encode()) % len(kinds[name])] if kind else None
        (kept if kind == wanted else left_out).append(item)
    return kept, left_out


def _kind(item: pytest.Item) -> str | None:
    """The database that a marked test is to run on."""
    if item.get_closest_marker(MARK) is None or not isinstance(item, pytest.Function):
        return None
    callspec = getattr(item, "callspec", None)
    return None if callspec is None else callspec.params.get("database_kind")


def _function(item: pytest.Item) -> str:
    return item.nodeid.partition("[")[0]
