"""The page about the clearing house: its example runs as it stands, and prints what the page says."""

from __future__ import annotations

from pathlib import Path

from support.pages import check_page_alone


def test_the_example_of_the_page_prints_what_the_page_says(tmp_path: Path) -> None:
    check_page_alone("clearing-house.md", tmp_path)
