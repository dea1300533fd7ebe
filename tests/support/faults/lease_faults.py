"""Two processes for one key or one mirror, and clocks that jump."""

from __future__ import annotations

import asyncio
import fcntl
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from functools import partial
from pathlib import Path

from sqlalchemy import text

from support.faults.processes import Process, until
from support.faults.rig import Rig, Scenario
from support.faults.system import SQLITE, STAGES

TAKEOVER_LIMIT_S = 5.0
_HOUR_S = 3_600
_POLL_S = 0.02
_STOP_ATTEMPTS = 20
_LEASES = {"submission": "submitter:%", "mirror": "mirror"}


async def holder(rig: Rig, stage: str) -> int | None:
    """Process id of the stage's lease holder, None while the lease is free."""
    async with rig.system.database() as database, database.read() as session:
        query = text("SELECT holder FROM leases WHERE name LIKE :name AND expires_at > 0")
        found = (await session.execute(query, {"name": _LEASES[stage]})).scalars().first()
    return None if found is None else int(found.split(":")[1])


async def _until_held_by_other(rig: Rig, stage: str, pid: int) -> float:
    began = time.monotonic()
    while (await holder(rig, stage)) in {pid, None}:
        if time.monotonic() - began > 60:
            raise TimeoutError(f"nobody took over {stage}")
        await asyncio.sleep(_POLL_S)
    return time.monotonic() - began


def _process(rig: Rig, pid: int) -> Process:
    [found] = [process for process in rig.system.processes.values() if process.pid == pid]
    return found


async def _working(rig: Rig, stage: str) -> Process:
    """The process that has the lease."""
    pid = await holder(rig, stage)
    while pid not in {process.pid for process in rig.system.processes.values()}:
        await asyncio.sleep(_POLL_S)
        pid = await holder(rig, stage)
    return _process(rig, pid or 0)


async def takeovers(rig: Rig) -> int:
    """Two of each stage by mistake: one works, and when it is killed the other goes on within 5 seconds."""
    return await _with_seconds(rig, _take_over)


async def pauses(rig: Rig) -> int:
    """The one that works is stopped in its tracks, replaced, and let go again: it must not act any more."""
    return await _with_seconds(rig, _pause)


async def _with_seconds(rig: Rig, *actions: Callable[[Rig, str], Awaitable[None]]) -> int:
    seconds = [rig.system.another(stage) for stage in STAGES]
    try:
        for second in seconds:
            await until(partial(_says_that_it_waits, second), f"{second.name} waiting", 180)
        for _ in range(rig.rounds):
            for action in actions:
                await asyncio.gather(*(action(rig, stage) for stage in STAGES))
                await rig.settle()
    finally:
        for second in seconds:
            rig.system.drop(second)
    return rig.rounds * len(actions) * len(STAGES)


def _says_that_it_waits(process: Process) -> bool:
    return process.log.exists() and "this one waits" in process.log.read_text(errors="replace")


async def _take_over(rig: Rig, stage: str) -> None:
    working = await _working(rig, stage)
    async with rig.under_traffic(orders=4):
        await asyncio.sleep(rig.chosen.uniform(0.0, 1.0))
        pid = working.pid
        working.kill()
        took_s = await _until_held_by_other(rig, stage, pid)
    rig.measured(f"seconds to take over {stage}", took_s)
    rig.say(f"{stage} was taken over after {took_s:.2f} s")
    if took_s > TAKEOVER_LIMIT_S:
        working.ended.append(f"{stage} was taken over only after {took_s:.2f} s")


async def _pause(rig: Rig, stage: str) -> None:
    working = await _working(rig, stage)
    async with rig.endless_traffic(workers=1):
        await asyncio.sleep(rig.chosen.uniform(0.2, 1.0))
        pid = working.pid
        for attempt in range(_STOP_ATTEMPTS):
            if _stop_outside_of_writing(rig, working):
                break
            await asyncio.sleep(0.05 * attempt)
        took_s = await _until_held_by_other(rig, stage, pid)
        await asyncio.sleep(1.0)
        working.resume()
        await asyncio.sleep(1.0)
        if await holder(rig, stage) == pid:
            working.ended.append(f"{working.name} took its lease back from a process that works")
    rig.measured(f"seconds to replace a paused {stage}", took_s)
    rig.say(f"{stage} was paused and replaced after {took_s:.2f} s")


def _stop_outside_of_writing(rig: Rig, process: Process) -> bool:
    """Stop a process. On SQLite not with the write lock in its hands, which nobody could take from it."""
    process.pause()
    if rig.system.kind != SQLITE:
        return True
    if _has_turn(rig.system.sqlite_file):
        process.resume()
        return False
    with closing(sqlite3.connect(rig.system.sqlite_file, timeout=1.0, isolation_level=None)) as other:
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            process.resume()
            return False
        other.execute("ROLLBACK")
    return True


def _has_turn(database: Path) -> bool:
    """Whether somebody writes, or is about to; those who work have finished within the time that this waits."""
    with database.with_name(f"{database.name}-turn").open("ab") as file:
        for _ in range(_STOP_ATTEMPTS):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_POLL_S)
            else:
                return False
    return True


# ------------------------------------------------------------------------------ clocks


async def clock_jumps(rig: Rig) -> int:
    """The clocks by which leases and deadlines are reckoned jump by an hour, back and forth.

    The database's clock cannot be set here, but all that it is used for is to be compared with `leases.expires_at`:
    when the clock jumps forward by an hour, every lease ends an hour earlier. The chain's clock is set by the node.
    """
    for _ in range(rig.rounds):
        for jump_s in (_HOUR_S, -_HOUR_S):
            async with rig.under_traffic(orders=6):
                await _jump(rig, jump_s)
                # The worst moment: those who hold the leases never get to renew them by the new clock.
                for stage in STAGES:
                    rig.system.processes[stage].kill()
            async with rig.system.node() as node:
                await node.request("evm_increaseTime", _HOUR_S)
            began = time.monotonic()
            await rig.settle()
            rig.measured("seconds until settled after a clock jump", time.monotonic() - began)
            rig.say(f"jumped by {jump_s} s")
    return 3 * rig.rounds


async def _jump(rig: Rig, jump_s: int) -> None:
    async with rig.system.database() as database, database.write() as session:
        await session.execute(
            text("UPDATE leases SET expires_at = expires_at - :jump_s WHERE expires_at > 0"),
            {"jump_s": jump_s},
        )


SCENARIOS = (
    Scenario("takeover", "two processes for one lease, the working one killed", takeovers, 1, 10),
    Scenario("paused", "the working one of two paused (SIGSTOP), replaced, and resumed", pauses, 1, 5),
    Scenario("clock", "clocks jump by an hour, forward and back", clock_jumps, 1, 5),
)
