"""A mirror that starts with nothing: how long until it has the whole chain."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import func, select

from fenzhang.bench.http import LoadFailed
from fenzhang.domain.records import RecordKind
from fenzhang.local.supervisor import Endpoints
from fenzhang.store.session import Database
from fenzhang.store.tables import Block, Record

_LOOK_S = 0.05
_LONGEST_S = 900.0


async def catch_up(endpoints: Endpoints, head: int, url: str, log: Path) -> tuple[int, float]:
    """Run `fenzhang serve mirror` on a fresh database until it has block `head`.

    Returns how many splits it read, and the seconds from its first block (its start excluded) to that one.
    """
    async with Database(url) as database:
        await database.upgrade()
        environment = {
            **os.environ,
            "FENZHANG_HOME": str(endpoints.home),
            "FENZHANG_RPC_URL": endpoints.rpc,
            "FENZHANG_DEPLOYMENT": str(endpoints.deployment),
            "FENZHANG_DATABASE_URL": url,
        }
        process = _start(environment, log)
        try:
            await _until_block(database, process, 1)
            began = time.perf_counter()
            await _until_block(database, process, head)
            took = time.perf_counter() - began
        finally:
            process.terminate()
            process.wait()
        async with database.read() as session:
            query = select(func.count()).select_from(Record).where(Record.kind == int(RecordKind.SPLIT))
            return (await session.execute(query)).scalar_one(), took


def _start(environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "fenzhang", "serve", "mirror"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )


async def _until_block(database: Database, process: subprocess.Popen[bytes], number: int) -> None:
    deadline = time.monotonic() + _LONGEST_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise LoadFailed("the mirror that was to catch up ended")
        async with database.read() as session:
            newest = (await session.execute(select(func.max(Block.number)))).scalar()
        if newest is not None and newest >= number:
            return
        await asyncio.sleep(_LOOK_S)
    raise LoadFailed(f"the mirror did not reach block {number} within {_LONGEST_S:g} s")
