"""The queue of SQLite's writers: one at a time, nobody forgotten, and the dead let go."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from fenzhang.store.errors import DatabaseUnavailable
from fenzhang.store.turn import WriteTurn

HOLD = """
import fcntl, os, sys, time
handle = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(handle, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fenzhang.db-turn"


def holder(path: Path) -> subprocess.Popen[str]:
    """A process that has the turn and keeps it."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


async def test_one_at_a_time_in_a_process_and_between_handles(path: Path) -> None:
    inside = most = 0

    async def write(turn: WriteTurn) -> None:
        nonlocal inside, most
        async with turn.taken():
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.002)
            inside -= 1

    first, second = WriteTurn(path, 30.0), WriteTurn(path, 30.0)
    await asyncio.gather(*(write(turn) for turn in (first, second) * 20))
    assert most == 1
    first.close()
    second.close()


async def test_the_turn_of_a_process_that_dies_is_free_at_once(path: Path) -> None:
    process = holder(path)
    turn = WriteTurn(path, 30.0)
    waiting = asyncio.create_task(_take(turn))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    process.kill()
    async with asyncio.timeout(5):
        await waiting
    process.communicate()
    turn.close()


async def test_who_waited_too_long_is_told_and_holds_nobody_up(path: Path) -> None:
    process = holder(path)
    turn = WriteTurn(path, 0.1)
    for _ in range(3):
        with pytest.raises(DatabaseUnavailable, match="others keep writing"):
            await _take(turn)
    process.kill()
    process.communicate()
    # Those who left are let through by the operating system all the same, and pass the turn on.
    async with asyncio.timeout(5):
        await _until_free(turn)
    turn.close()


async def test_who_is_cancelled_while_waiting_holds_nobody_up(path: Path) -> None:
    first, second = WriteTurn(path, 30.0), WriteTurn(path, 30.0)
    async with first.taken():
        waiting = asyncio.create_task(_take(second))
        await asyncio.sleep(0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    async with asyncio.timeout(5):
        await _take(first)
        await _take(second)
    first.close()
    second.close()


async def test_a_folder_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable, match="cannot be opened"):
        await _take(WriteTurn(tmp_path / "missing" / "turn", 1.0))


async def _take(turn: WriteTurn) -> None:
    async with turn.taken():
        pass


async def _until_free(turn: WriteTurn) -> None:
    while True:
        try:
            await _take(turn)
        except DatabaseUnavailable:
            continue
        return
