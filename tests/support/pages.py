"""Pages of docs/ whose example runs as it stands: its blocks of shell and Python, and what they are said to print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from fenzhang.client import Credentials
from fenzhang.testing.system import LocalSystem

_DOCS = Path(__file__).parents[2] / "docs"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _joined(credentials: Credentials) -> str:
    return f"{credentials.client_id}:{credentials.client_secret}"


def check_page(name: str, system: LocalSystem, home: Path) -> None:
    """Run the example of a page as `my-shop` beside a system, and compare what it prints with what the page says."""
    (home / ".fenzhang").symlink_to(system.endpoints.apps.parent)
    _check(name, home, API=system.api, RPC=system.rpc, SHOP=_joined(system.new_app("my-shop")))


def check_page_alone(name: str, home: Path) -> None:
    """The same for a page whose example needs no system."""
    _check(name, home)


def _check(name: str, home: Path, **variables: str) -> None:
    page = (_DOCS / name).read_text(encoding="utf-8")
    blocks = {"sh": "", "python": "", "text": ""}
    for kind, text in _BLOCK.findall(page):
        blocks[kind] += text
    given = {"EXAMPLE": blocks["python"], "PYTHONPATH": os.pathsep.join(sys.path)}

    ended = subprocess.run(
        ["/bin/bash", "-euc", blocks["sh"] + f'exec {sys.executable} -c "$EXAMPLE"'],
        cwd=home,
        env=os.environ | variables | given,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert (ended.returncode, ended.stderr) == (0, ""), ended.stderr
    assert ended.stdout == blocks["text"], ended.stdout
