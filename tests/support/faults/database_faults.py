"""A database that is locked, cut off in the middle of a commit, full, or cannot serialise."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]  # asyncpg ships no types

from support.faults.dbproxy import Cut
from support.faults.postgres import Postgres
from support.faults.processes import until
from support.faults.rig import Rig, Scenario
from support.faults.system import POSTGRES, PROCESSES, SQLITE

_MEGABYTE = 2**20


def _server(rig: Rig) -> Postgres:
    if rig.system.postgres is None:
        raise LookupError("this needs PostgreSQL")
    return rig.system.postgres


# ------------------------------------------------------------------------------ locked


async def locked(rig: Rig) -> int:
    """Another program holds a lock: SQLite's write lock, or PostgreSQL's on the table of instructions.

    The second and later times it holds it longer than SQLite's users wait (15 s).
    """
    for number in range(rig.rounds):
        hold_s = 4.0 if number == 0 else 17.0
        async with rig.under_traffic(orders=10):
            await asyncio.sleep(0.3)
            if rig.system.kind == SQLITE:
                with rig.system.write_lock():
                    await asyncio.sleep(hold_s)
            else:
                await _lock_table(rig, hold_s)
        rig.say(f"locked for {hold_s:g} s")
    return rig.rounds


async def _lock_table(rig: Rig, hold_s: float) -> None:
    connection = await asyncpg.connect(_server(rig).url(), timeout=10)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE instructions IN ACCESS EXCLUSIVE MODE")
            await asyncio.sleep(hold_s)
    finally:
        await connection.close()


# ------------------------------------------------------------------------------ cut off


async def cut_in_commit(rig: Rig) -> int:
    """The connection breaks while COMMIT is on its way, before or after the server has done it."""
    cuts = [(name, cut) for name in PROCESSES for cut in Cut]
    for number in range(rig.rounds):
        name, cut = cuts[number % len(cuts)]
        proxy = rig.system.database_proxies[name]
        proxy.cut_next(cut, skip=rig.chosen.randrange(4))
        async with rig.endless_traffic():
            await until(proxy.disarmed, "a commit being cut")
        rig.say(f"{name}: a commit cut {cut.value} the server had it")
    return rig.rounds


async def terminated(rig: Rig) -> int:
    """The server ends all connections (pg_terminate_backend), whatever is going on in them."""
    for _ in range(rig.rounds):
        async with rig.under_traffic(orders=8):
            for _ in range(3):
                await asyncio.sleep(rig.chosen.uniform(0.1, 0.6))
                await _terminate(rig)
    return 3 * rig.rounds


async def _terminate(rig: Rig) -> None:
    await _server(rig).execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )


# ------------------------------------------------------------------------------ serialization failures


async def serialization(rig: Rig) -> int:
    """Every transaction is SERIALIZABLE from now on, so that concurrent ones really fail with 40001."""
    server = _server(rig)
    before = _failures(server)
    await server.execute("ALTER DATABASE fenzhang SET default_transaction_isolation = 'serializable'")
    await _terminate(rig)
    try:
        for _ in range(rig.rounds):
            async with rig.under_traffic(orders=40, pause_s=0.0, workers=12):
                pass
        await rig.settle()
    finally:
        await server.execute("ALTER DATABASE fenzhang RESET default_transaction_isolation")
        await _terminate(rig)
    rig.say(f"{_failures(server) - before} serialization failures")
    return _failures(server) - before


def _failures(server: Postgres) -> int:
    return (server.folder / "server.log").read_text(errors="replace").count("could not serialize access")


# ------------------------------------------------------------------------------ full


async def disk_full(rig: Rig) -> int:
    """The file system of the database fills up to the last byte, and later has room again."""
    folder = database_folder(rig)
    for _ in range(rig.rounds):
        async with rig.endless_traffic(workers=6, pause_s=0.0):
            await asyncio.sleep(1.0)
            filler = folder / "filler"
            _fill(filler)
            began = time.monotonic()
            await _until_refused(rig)
            rig.say(f"no room any more, {time.monotonic() - began:.1f} s later nothing is accepted")
            filler.unlink()
            if rig.system.postgres is not None:
                # A server whose log of changes has no room ends itself; somebody has to start it again.
                await rig.system.postgres.start()
        await rig.settle()
    return rig.rounds


def database_folder(rig: Rig) -> Path:
    """Where the database's files are."""
    return rig.system.postgres.folder if rig.system.postgres else rig.system.sqlite_file.parent


def _fill(file: Path) -> None:
    """Use up all the room that there is."""
    with file.open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        for size in (_MEGABYTE, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    filler.write(bytes(size))


async def _until_refused(rig: Rig) -> None:
    """Until no write has been accepted for a second."""
    sent = rig.traffic.sent
    still = 0
    while still < 20:
        await asyncio.sleep(0.05)
        still = still + 1 if rig.traffic.sent == sent else 0
        sent = rig.traffic.sent


@contextmanager
def small_file_system(megabytes: int) -> Iterator[Path]:
    """A tmpfs of this size. Raises PermissionError where mounting is not allowed."""
    folder = Path(tempfile.mkdtemp(prefix="fenzhang-faults-small-"))
    if os.geteuid() != 0:
        folder.rmdir()
        raise PermissionError("only root may mount a small file system")
    options = f"size={megabytes}m,mode=755"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)],  # noqa: S607 -- wherever the system has it
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        folder.rmdir()
        raise PermissionError(mounted.stderr.decode(errors="replace").strip())
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)  # noqa: S607 -- same
        folder.rmdir()


SCENARIOS = (
    Scenario("locked", "the database is locked by somebody else", locked, 1, 3),
    Scenario("cut", "connection cut in the middle of a commit", cut_in_commit, 6, 60, (POSTGRES,)),
    Scenario("terminated", "all connections ended by the server", terminated, 1, 10, (POSTGRES,)),
    Scenario("serialization", "serialization failures", serialization, 1, 5, (POSTGRES,)),
)
DISK_FULL = Scenario("disk-full", "the disk is full, and later is not", disk_full, 1, 3)
"""Needs a database on a small file system of its own."""
