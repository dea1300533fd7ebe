"""The page about diffs and what-ifs: its example runs as it stands, and prints what the page says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fenzhang.client import Credentials
from fenzhang.testing.system import LocalSystem

pytestmark = [pytest.mark.node, pytest.mark.slow]
PAGE = Path(__file__).parents[2] / "docs" / "rule-governance.md"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _joined(credentials: Credentials) -> str:
    return f"{credentials.client_id}:{credentials.client_secret}"


def _blocks(kind: str) -> str:
    """All blocks of a kind that the page has, one after the other."""
    return "".join(text for found, text in _BLOCK.findall(PAGE.read_text(encoding="utf-8")) if found == kind)


def test_the_example_of_the_page_prints_what_the_page_says(
    fenzhang_system: LocalSystem, tmp_path: Path
) -> None:
    (tmp_path / ".fenzhang").symlink_to(fenzhang_system.endpoints.apps.parent)
    environment = os.environ | {
        "API": fenzhang_system.api,
        "SHOP": _joined(fenzhang_system.new_app("my-shop")),
        "EXAMPLE": _blocks("python"),
    }

    ended = subprocess.run(
        ["/bin/bash", "-euc", _blocks("sh") + f'exec {sys.executable} -c "$EXAMPLE"'],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == _blocks("text")
