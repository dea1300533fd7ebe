"""`fenzhang devnet`: what it prints, its exit codes, and one line instead of a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fenzhang import __version__
from fenzhang.devnet import reset

HERE = Path(__file__).resolve().parents[3]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home folder whose node is gone after the test."""
    yield tmp_path / "home"
    reset(tmp_path / "home")


def fenzhang(*arguments: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "fenzhang.cli", *arguments],
        env=os.environ | {"FENZHANG_HOME": str(home), "COLUMNS": "200"} | environment,
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.node
def test_up_status_down_reset(home: Path) -> None:
    up = fenzhang("devnet", "up", "--port", "0", "--json", home=home)
    assert up.returncode == 0, up.stderr
    url = json.loads(up.stdout)["url"]

    again = fenzhang("devnet", "up", "--port", "0", home=home)
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr == f"fenzhang: a devnet on {home} is already running at {url}\n"

    shown = fenzhang("devnet", "status", home=home)
    assert shown.returncode == 0
    assert url in shown.stdout
    assert json.loads(fenzhang("devnet", "status", "--json", home=home).stdout)["node"]["url"] == url

    assert fenzhang("devnet", "down", home=home).stdout == "devnet stopped\n"
    assert fenzhang("devnet", "down", home=home).returncode == 0
    stopped = fenzhang("devnet", "status", "--json", home=home)
    assert stopped.returncode == 3
    assert json.loads(stopped.stdout)["running"] is False
    assert json.loads(stopped.stdout)["snapshot_bytes"] > 0

    assert fenzhang("devnet", "reset", home=home).stdout == "devnet deleted\n"
    assert json.loads(fenzhang("devnet", "status", "--json", home=home).stdout)["snapshot_bytes"] is None


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "said"),
    [
        (
            ["devnet", "up"],
            {"FENZHANG_ANVIL": "/nowhere/anvil"},
            1,
            "fenzhang: FENZHANG_ANVIL is '/nowhere/anvil'",
        ),
        (["devnet", "up", "--instant", "--block-time", "2"], {}, 2, "exclude each other"),
        (["devnet", "up", "--port", "70000"], {}, 2, "65535"),
        (["devnet", "sideways"], {}, 2, "sideways"),
        (
            ["devnet", "up", "--home", "/dev/null/home"],
            {},
            1,
            "fenzhang: /dev/null/home/devnet: Not a directory",
        ),
    ],
)
def test_what_cannot_be_done_is_said_without_a_traceback(
    home: Path, arguments: list[str], environment: dict[str, str], code: int, said: str
) -> None:
    answer = fenzhang(*arguments, home=home, **environment)

    assert answer.returncode == code
    assert said in answer.stderr
    assert "Traceback" not in answer.stderr
    assert answer.stdout == ""
    if code == 1:
        assert answer.stderr.count("\n") == 1


def test_the_version_is_the_packages(home: Path) -> None:
    assert fenzhang("--version", home=home).stdout == f"fenzhang {__version__}\n"
