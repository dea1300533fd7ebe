"""Files and processes that die or work side by side: every row is accepted exactly once, and progress never lies."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from fenzhang.api.auth import Tokens
from fenzhang.chain.deployments import save
from fenzhang.devnet.processes import free_port
from fenzhang.intake.actor import Scope
from fenzhang.store import tables
from fenzhang.store.session import Database
from support.api import DEAD_NODE, DEPLOYMENT, JWT_KEY, MALL, populate
from support.files import as_jsonl, counts, done, rejections, sold, upload
from support.processes import Process, Processes

pytestmark = [pytest.mark.slow, pytest.mark.fault]
ORDERS = 4_000


@pytest.fixture
def processes(database: Database, tmp_path: Path) -> Iterator[Processes]:
    """Commands on the test's database."""
    save(
        tmp_path / "deployment.json",
        replace(DEPLOYMENT, code_hashes=dict.fromkeys(DEPLOYMENT.addresses, b"c" * 32)),
    )
    processes = Processes(
        {
            "FENZHANG_HOME": str(tmp_path),
            "FENZHANG_DATABASE_URL": database.url.render_as_string(hide_password=False),
            "FENZHANG_RPC_URL": DEAD_NODE,
            "FENZHANG_DEPLOYMENT": str(tmp_path / "deployment.json"),
            "FENZHANG_JWT_SECRET": JWT_KEY,
        },
        tmp_path,
    )
    yield processes
    processes.end()


@asynccontextmanager
async def _api(processes: Processes) -> AsyncIterator[tuple[Process, httpx.AsyncClient]]:
    """An API process, and the mall's client of it."""
    url = f"http://127.0.0.1:{(port := free_port('127.0.0.1'))}"
    process = processes.start("serve", "api", "--port", str(port))
    await process.answers(f"{url}/healthz")
    token = Tokens(JWT_KEY, 3_600).issue(tables.App(client_id="app_mall", platform_id=MALL), [Scope.PLATFORM])
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30.0) as client:
        yield process, client


def _rows() -> list[Any]:
    """Orders and their splits, with a bad row after every hundred orders."""
    items: list[Any] = []
    for number in range(ORDERS):
        items += sold(number)
        if number % 100 == 0:
            items.append({"type": "SPLIT", "out_split_no": f"bad-{number}"})
    return items


async def _progress(database: Database, at_least: int) -> tables.File:
    """The one file, once so many rows are decided."""
    # One statement sees one moment, in PostgreSQL too.
    stored = (
        select(func.count()).select_from(table).scalar_subquery()
        for table in (tables.Instruction, tables.FileRejection)
    )
    query = select(tables.File, *stored)
    async with asyncio.timeout(60):
        while True:
            async with database.read() as session:
                row = (await session.execute(query)).one_or_none()
            if row is not None:
                file: tables.File = row[0]
                assert (file.accepted, file.rejected) == tuple(row[1:])
                if file.accepted >= at_least:
                    return file
            await asyncio.sleep(0.01)


async def _check_whole(client: httpx.AsyncClient, database: Database) -> None:
    bad = ORDERS // 100
    assert counts(await done(client, "day")) == (2 * ORDERS, 0, bad)
    found = await rejections(client, "day")
    assert [row["line"] for row in found] == [200 * number + 3 + number for number in range(bad)]
    async with database.read() as session:
        reference = select(tables.Instruction.type, tables.Instruction.reference)
        rows = (await session.execute(reference.order_by(tables.Instruction.seq))).all()
    # Nothing missed, nothing twice, and in the order of the file.
    expected = [each for n in range(ORDERS) for each in (("CAPTURE", f"order-{n}"), ("SPLIT", f"split-{n}"))]
    assert [tuple(row) for row in rows] == expected


async def test_a_process_that_is_killed_again_and_again_finishes_each_row_once(
    database: Database, processes: Processes
) -> None:
    await populate(database)
    content = as_jsonl(_rows())
    async with _api(processes) as (process, client):
        assert (await upload(client, "day", content)).status_code == 202
        process.popen.send_signal(signal.SIGKILL)
        await process.ended()
    for accepted in (1_000, 3_000, 5_500):
        async with _api(processes) as (process, client):
            file = await _progress(database, accepted)
            process.popen.send_signal(signal.SIGKILL)
            await process.ended()
            assert file.state == "PROCESSING"
    async with _api(processes) as (process, client):
        again = await upload(client, "day", content)
        assert (again.status_code, again.json()["state"]) == (200, "PROCESSING")
        await _check_whole(client, database)
        await upload(client, "day-again", content)
        assert counts(await done(client, "day-again")) == (0, 2 * ORDERS, ORDERS // 100)
        assert await process.stop() == 0, process.said


async def test_two_processes_side_by_side_accept_each_row_once(
    database: Database, processes: Processes
) -> None:
    await populate(database)
    async with _api(processes) as (one, first), _api(processes) as (two, second):
        assert (await upload(first, "day", as_jsonl(_rows()))).status_code == 202
        await _progress(database, 2_000)
        await _check_whole(second, database)
        for process in (one, two):
            assert await process.stop() == 0, process.said
            assert "Traceback" not in process.said


async def test_a_process_that_is_told_to_end_ends_between_two_chunks(
    database: Database, processes: Processes
) -> None:
    await populate(database)
    async with _api(processes) as (process, client):
        await upload(client, "day", as_jsonl(_rows()))
        await _progress(database, 500)
        assert await process.stop() == 0, process.said
        assert "Traceback" not in process.said
    assert (await _progress(database, 500)).state == "PROCESSING"
    async with _api(processes) as (_, client):
        await _check_whole(client, database)
