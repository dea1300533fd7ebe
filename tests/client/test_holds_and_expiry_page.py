"""Holds and expiry end to end, as their page shows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from fenzhang.testing.system import LocalSystem
from support.pages import check_page

pytestmark = [pytest.mark.node, pytest.mark.slow]


def test_the_example_of_the_page_prints_what_the_page_says(
    fenzhang_system: LocalSystem, tmp_path: Path
) -> None:
    check_page("holds-and-expiry.md", fenzhang_system, tmp_path)
