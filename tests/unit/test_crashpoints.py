"""Crash points do nothing unless a process was told to die, and then only on the devnet."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from fenzhang import crashpoints
from fenzhang.chain.keystore import DEVNET_CHAIN_ID

PROGRAM = """
from fenzhang import crashpoints
crashpoints.arm({chain_id})
for _ in range({times}):
    crashpoints.passed({point!r})
print("alive")
"""


def _run(told: str, *, chain_id: int = DEVNET_CHAIN_ID, point: str = "after-store", times: int = 1) -> int:
    program = PROGRAM.format(chain_id=chain_id, point=point, times=times)
    environment = {**os.environ, crashpoints.VARIABLE: told}
    return subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode


@pytest.mark.parametrize(
    ("told", "times", "died"),
    [
        ("", 5, False),
        ("after-store", 1, True),
        ("after-store:3", 2, False),
        ("after-store:3", 3, True),
        ("after-sign", 5, False),
    ],
)
def test_a_process_dies_where_and_when_it_was_told(told: str, times: int, *, died: bool) -> None:
    assert _run(told, times=times) == (-signal.SIGKILL if died else 0)


def test_nothing_happens_on_any_other_chain() -> None:
    assert _run("after-store", chain_id=1) == 0


def test_nothing_happens_at_a_place_that_does_not_exist() -> None:
    assert _run("anywhere", point="anywhere") == 0
