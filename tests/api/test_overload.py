"""Too much at once: 429 with Retry-After, nothing stored, room for reads, and business as usual afterwards."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import update

from fenzhang.api.admission import MAX_BYTES, REQUESTS_PER_WRITE
from fenzhang.api.guard import MAX_BODY_BYTES
from fenzhang.client import AsyncClient, Credentials, NewRelease, RetryPolicy
from fenzhang.intake.actor import Scope
from fenzhang.intake.apps import create_app
from fenzhang.store import tables
from fenzhang.store.session import Database
from fenzhang.telemetry import metrics
from support.api import Api, order, populate, running_api, split

ON_SQLITE = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


@asynccontextmanager
async def _limited(database: Database, home: Path, **limits: Any) -> AsyncIterator[Api]:
    await populate(database)
    async with running_api(database, home, **limits) as api:
        yield api


async def _until(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await true():  # noqa: ASYNC110 -- what is awaited happens in the server
            await asyncio.sleep(0.05)


def _refused(answer: httpx.Response, code: str) -> None:
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["code"]) == (429, code), answer.text
    assert int(answer.headers["retry-after"]) >= 1
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert answer.headers["content-type"] == "application/problem+json"


def _refusals() -> float:
    labels = {"code": "queue_full"}
    return metrics.REGISTRY.get_sample_value("fenzhang_http_requests_refused_total", labels) or 0.0


async def _set_all(database: Database, state: str) -> None:
    async with database.write() as session:
        await session.execute(update(tables.Instruction).values(state=state))


async def _fill(api: Api, count: int) -> None:
    """Orders until the queue is full, as the next answer tells."""
    for number in range(count):
        assert (await api.mall.post("/v1/orders", json=order(f"o-{number}"))).status_code == 202

    async def full() -> bool:
        shown = (await api.anybody.get("/readyz")).json()
        return bool(shown["queue"]["accepted"] >= count)

    await _until(full)


async def test_a_full_queue_refuses_settlement_writes_and_nothing_else(
    database: Database, tmp_path: Path
) -> None:
    async with _limited(database, tmp_path, max_queue=3) as api:
        await _fill(api, 3)
        before = _refusals()
        for path, body in (
            ("/v1/orders", order("late")),
            ("/v1/splits", split("late", "o-1")),
            ("/v1/splits/batch", {"items": [split("late", "o-1")]}),
            ("/v1/releases", {"out_release_no": "late", "out_order_no": "o-1"}),
        ):
            _refused(await api.mall.post(path, json=body), "queue_full")
        after = _refusals()
        assert after - before == 4
        assert await api.count() == 3
        # Reads and governance: a suspension cannot wait for the market to calm down.
        assert (await api.mall.get("/v1/orders/o-1")).status_code == 200
        suspension = {"out_request_no": "s-1"}
        answer = await api.mall.post("/v1/participants/merchant-001/suspend", json=suspension)
        assert answer.status_code == 202
        ready = await api.anybody.get("/readyz")
        assert (ready.status_code, "queue" in ready.json()["degraded"]) == (200, True)

        await _set_all(database, "SETTLED")

        async def accepted() -> bool:
            return (await api.mall.post("/v1/orders", json=order("late"))).status_code == 202

        await _until(accepted)


async def test_instructions_in_transactions_count_as_well(database: Database, tmp_path: Path) -> None:
    async with _limited(database, tmp_path, max_queue=2) as api:
        async with database.write() as session:
            carrier = tables.Transaction(
                sender=b"s" * 20,
                nonce=0,
                hash=b"h" * 32,
                raw=b"",
                gas_limit=1,
                state="SENT",
                created_at=1,
            )
            session.add(carrier)
            await session.flush()
            carrier_id = carrier.id
        await _fill(api, 2)
        async with database.write() as session:
            await session.execute(
                update(tables.Instruction).values(state="SUBMITTED", transaction_id=carrier_id)
            )

        async def moved() -> bool:
            queue = (await api.anybody.get("/readyz")).json()["queue"]
            return (queue["accepted"], queue["submitted"]) == (0, 2)

        await _until(moved)
        _refused(await api.mall.post("/v1/orders", json=order("late")), "queue_full")


@ON_SQLITE
async def test_the_client_library_waits_as_long_as_it_is_told(database: Database, tmp_path: Path) -> None:
    async with _limited(database, tmp_path, max_queue=1) as api:
        await _fill(api, 1)
        async with database.write() as session:
            app = await create_app(session, "patient", [Scope.PLATFORM], "mall")
        credentials = Credentials(app.client_id, app.secret)
        policy = RetryPolicy(patience_s=30.0, first_pause_s=0.01)
        before = _refusals()
        async with AsyncClient(api.url, credentials, policy=policy) as client:
            writing = asyncio.create_task(
                client.release(NewRelease(out_release_no="patient", out_order_no="o-0"))
            )

            async def refused() -> bool:
                return _refusals() > before

            await _until(refused)
            began = time.monotonic()
            await asyncio.sleep(1.0)
            assert not writing.done()
            await _set_all(database, "SETTLED")
            released = await asyncio.wait_for(writing, 20)
        # It is told to wait for 2 seconds each time; with pauses of its own it would have come back many times.
        assert _refusals() - before <= 2 + (time.monotonic() - began) / 2
        assert (released.out_release_no, released.state) == ("patient", "ACCEPTED")


# ------------------------------------------------------------------------------ requests under way


@asynccontextmanager
async def _unfinished_write(api: Api, size: int) -> AsyncIterator[asyncio.StreamWriter]:
    """A write whose body does not arrive; only its first byte does."""
    place = urlsplit(api.url)
    _, writer = await asyncio.open_connection(place.hostname, place.port)
    head = f"POST /v1/splits HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
    writer.write(head.encode() + b"{")
    await writer.drain()
    try:
        yield writer
    finally:
        writer.close()


def _under_way() -> int:
    return int(metrics.REGISTRY.get_sample_value("fenzhang_http_requests_in_flight") or 0)


async def _until_under_way(count: int) -> None:
    async def reached() -> bool:
        return _under_way() == count

    await _until(reached)


@ON_SQLITE
async def test_too_many_writes_at_once_leave_room_for_reads(database: Database, tmp_path: Path) -> None:
    async with _limited(database, tmp_path, max_requests=3) as api:
        async with AsyncExitStack() as stack:
            for _ in range(3):
                await stack.enter_async_context(_unfinished_write(api, 100))
            await _until_under_way(3)
            _refused(await api.mall.post("/v1/orders", json=order()), "too_many_requests")
            assert (await api.mall.get("/v1/participants")).status_code == 200
            assert await api.count() == 0
        await _until_under_way(0)
        assert (await api.mall.post("/v1/orders", json=order())).status_code == 202


@ON_SQLITE
async def test_too_many_bytes_at_once_are_too_many_writes(database: Database, tmp_path: Path) -> None:
    async with _limited(database, tmp_path, max_requests=1_000) as api:
        async with AsyncExitStack() as stack:
            for _ in range(MAX_BYTES // MAX_BODY_BYTES):
                await stack.enter_async_context(_unfinished_write(api, MAX_BODY_BYTES))
            await _until_under_way(MAX_BYTES // MAX_BODY_BYTES)
            _refused(await api.mall.post("/v1/orders", json=order()), "too_many_requests")
        await _until_under_way(0)
        assert (await api.mall.post("/v1/orders", json=order())).status_code == 202


@ON_SQLITE
async def test_waiting_readers_are_bounded_too_and_health_always_answers(
    database: Database, tmp_path: Path
) -> None:
    async with _limited(database, tmp_path, max_requests=1) as api:
        waits = [
            asyncio.create_task(api.mall.get("/v1/completions", params={"wait": 30}))
            for _ in range(REQUESTS_PER_WRITE)
        ]
        await _until_under_way(REQUESTS_PER_WRITE)
        _refused(await api.mall.get("/v1/completions", params={"wait": 30}), "too_many_requests")
        assert (await api.anybody.get("/healthz")).status_code == 200
        assert (await api.anybody.get("/readyz")).status_code == 200
        api.server.services.watcher.close()
        assert [answer.status_code for answer in await asyncio.gather(*waits)] == [200] * len(waits)
        assert (await api.mall.get("/v1/participants")).status_code == 200
