"""The page about suspense positions: its example runs as it stands, and prints what the page says."""

from __future__ import annotations

from pathlib import Path

import pytest

from fenzhang.testing.system import LocalSystem
from support.pages import check_page
from support.shops import verified

pytestmark = [pytest.mark.node, pytest.mark.slow]


def test_the_example_of_the_page_prints_what_the_page_says(
    fenzhang_system: LocalSystem, tmp_path: Path
) -> None:
    check_page("suspense.md", fenzhang_system, tmp_path)

    assert verified(fenzhang_system).differences == ()
