"""The page about bills: its example runs as it stands, and prints what the page says."""

from __future__ import annotations

from pathlib import Path

import pytest

from fenzhang.local.spawned import spawned_system
from fenzhang.local.supervisor import UpOptions
from fenzhang.testing.system import LocalSystem
from support.pages import check_page

pytestmark = [pytest.mark.node, pytest.mark.slow]


def test_the_example_of_the_page_prints_what_the_page_says(tmp_path: Path) -> None:
    # A system of its own, whose clock may be put forward.
    options = UpOptions(home=tmp_path / "system", port=0, node_port=0, block_time_s=0.5)
    example = tmp_path / "example"
    example.mkdir()
    with spawned_system(options) as endpoints:
        check_page("bills.md", LocalSystem(endpoints), example)
