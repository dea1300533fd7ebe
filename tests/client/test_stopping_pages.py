"""Holds, expiry, freezes and conditions end to end, as their pages show them."""

from __future__ import annotations

from pathlib import Path

import pytest

from fenzhang.testing.system import LocalSystem
from support.pages import check_page

pytestmark = [pytest.mark.node, pytest.mark.slow]


@pytest.mark.parametrize("page", ["holds-and-expiry.md", "freeze-and-dispute.md", "conditions.md"])
def test_the_example_of_the_page_prints_what_the_page_says(
    fenzhang_system: LocalSystem, tmp_path: Path, page: str
) -> None:
    check_page(page, fenzhang_system, tmp_path)
