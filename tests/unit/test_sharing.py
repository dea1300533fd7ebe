"""Tests that share something expensive are given to one worker."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.sharing import SHARED, share_of

TESTS = Path(__file__).parents[1]
USES_THE_SYSTEM = re.compile(r"\bfenzhang_system: LocalSystem|: Shop\b")


def test_all_tests_of_the_running_system_share_a_worker() -> None:
    users = {
        str(file.relative_to(TESTS.parent))
        for file in TESTS.rglob("test_*.py")
        if file != Path(__file__) and USES_THE_SYSTEM.search(file.read_text(encoding="utf-8"))
    }
    assert users == {file for file, shared in SHARED.items() if shared == "system"}


def test_every_file_that_is_named_exists() -> None:
    assert [file for file in SHARED if not (TESTS.parent / file).is_file()] == []


@pytest.mark.parametrize(
    ("test", "shared"),
    [
        ("tests/client/test_refunds.py::test_a[x]", "system"),
        ("tests/faults/test_faults.py::test_nothing_is_lost[sqlite-locked]", "faults"),
        ("tests/faults/test_faults.py::test_nothing_is_lost[postgres-locked]", "faults postgresql"),
        ("tests/unit/test_money.py::test_a[1]", "tests/unit/test_money.py::test_a[1]"),
    ],
)
def test_what_shares_nothing_goes_by_itself(test: str, shared: str) -> None:
    assert share_of(test) == shared
