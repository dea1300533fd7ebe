"""`fenzhang devnet`: what it prints, its exit codes, and one line instead of a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fenzhang import __version__
from fenzhang.devnet import latest_time, reset

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
def test_the_clock_is_put_forward_and_never_back(home: Path) -> None:
    url = json.loads(
        fenzhang("devnet", "up", "--port", "0", "--block-time", "0.1", "--json", home=home).stdout
    )["url"]
    moment = datetime.fromtimestamp(latest_time(url) + 86_400, UTC)

    advanced = fenzhang("devnet", "advance", "--to", moment.isoformat(), "--json", home=home)

    assert 86_300 < json.loads(advanced.stdout)["advanced_s"] <= 86_400
    while latest_time(url) < moment.timestamp():  # the suite's timeout ends it
        time.sleep(0.02)
    back = fenzhang("devnet", "advance", "--to", "2020-01-01T00:00:00+00:00", home=home)
    assert back.stdout == "the chain is there already\n"
    assert latest_time(url) >= moment.timestamp()


@pytest.mark.parametrize("moment", ["tomorrow", "2026-11-24T11:00:00"])
def test_what_is_no_moment_is_refused(home: Path, moment: str) -> None:
    refused = fenzhang("devnet", "advance", "--to", moment, home=home)
    assert refused.returncode == 2
    assert "--to" in refused.stderr


def test_no_clock_without_a_chain(home: Path) -> None:
    refused = fenzhang("devnet", "advance", "--to", "2026-11-24T11:00:00+08:00", home=home)
    assert (refused.returncode, refused.stderr) == (3, "fenzhang: no devnet is running\n")


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
