"""SIGTERM to real processes: what is under way is finished, leases are given back, and the exit code is 0."""

from __future__ import annotations

import asyncio
import random
import time
from urllib.parse import urlsplit

import httpx
import orjson
import pytest

from fenzhang.api.auth import Tokens
from fenzhang.devnet.processes import free_port
from fenzhang.domain.identifiers import hex_id
from fenzhang.intake.actor import Scope
from fenzhang.store import tables
from pipeline.harness import Pipeline
from pipeline.processes import store_keys
from support.api import JWT_KEY
from support.parties import MALL
from support.processes import Process, Processes

pytestmark = [
    pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True),
    pytest.mark.slow,
]


def _client(url: str) -> httpx.AsyncClient:
    token = Tokens(JWT_KEY, 3_600).issue(tables.App(client_id="app", platform_id=MALL.id), [Scope.PLATFORM])
    return httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60.0)


async def _api(processes: Processes, **settings: str) -> tuple[Process, str]:
    url = f"http://127.0.0.1:{(port := free_port('127.0.0.1'))}"
    process = processes.start("serve", "api", "--port", str(port), **settings)
    await process.answers(f"{url}/healthz")
    return process, url


async def test_the_api_answers_what_is_under_way_and_ends(pipeline: Pipeline, processes: Processes) -> None:
    process, url = await _api(processes)
    async with _client(url) as client:
        waiting = asyncio.create_task(client.get("/v1/completions", params={"wait": 50}))
        place = urlsplit(url)
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        body = orjson.dumps({"out_participant_no": "arrives-late"})
        head = (
            f"POST /v1/participants HTTP/1.1\r\nHost: x\r\nAuthorization: {client.headers['Authorization']}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body[:5])
        await writer.drain()
        await asyncio.sleep(1.0)
        assert not waiting.done()

        began = time.monotonic()
        stopping = asyncio.create_task(process.stop())
        answer = await waiting
        assert (answer.status_code, answer.json()["completions"]) == (200, [])
        assert time.monotonic() - began < 20  # and not the 50 seconds that it asked for
        writer.write(body[5:])
        await writer.drain()
        status = await asyncio.wait_for(reader.readline(), 20)
        writer.close()
        assert b" 202 " in status
        assert await stopping == 0, process.said
    [row] = await pipeline.rows(tables.Instruction, tables.Instruction.reference == "arrives-late")
    assert row.state == "ACCEPTED"


async def _stages(processes: Processes) -> list[Process]:
    """Submission and mirror, at work."""
    ports = [free_port("127.0.0.1") for _ in range(2)]
    stages = [
        processes.start("serve", name, metrics_port=str(port))
        for name, port in zip(("submission", "mirror"), ports, strict=True)
    ]
    for stage, port in zip(stages, ports, strict=True):
        await stage.answers(f"http://127.0.0.1:{port}/healthz")
    return stages


async def test_stages_that_are_stopped_in_the_middle_leave_everything_in_order(
    pipeline: Pipeline, processes: Processes
) -> None:
    await store_keys(pipeline)
    chosen = random.Random(7)
    world = pipeline.world
    captures = [world.capture(1_000 + number) for number in range(150)]
    seqs = await pipeline.accept(*captures)
    for capture in captures:
        seqs += await pipeline.accept(world.split(capture.order_id, 600))

    for _ in range(3):
        stages = await _stages(processes)
        for _ in range(chosen.randint(3, 15)):
            pipeline.mine()
            await asyncio.sleep(0.1)
        codes = await asyncio.gather(*(stage.stop() for stage in stages))
        assert codes == [0, 0], [stage.said for stage in stages]
        assert all(lease.expires_at == 0 for lease in await pipeline.rows(tables.Lease))
    await _stages(processes)
    async with asyncio.timeout(120):
        while await pipeline.open_count():
            pipeline.mine()
            await asyncio.sleep(0.1)

    assert await pipeline.states(*seqs[:3], *seqs[-3:]) == ["SETTLED"] * 6
    own = {instruction.id for instruction in await pipeline.rows(tables.Instruction)}
    records = [record.instruction_id for record in await pipeline.rows(tables.Record)]
    assert sorted(found for found in records if found in own) == sorted(own)
    await pipeline.check_reconciled()


# ------------------------------------------------------------------------------ logs of processes


async def test_logs_are_json_and_hold_no_secrets(pipeline: Pipeline, processes: Processes) -> None:
    process, url = await _api(processes, log_level="DEBUG")
    async with _client(url) as client:
        await client.post(
            "/oauth/token",
            data={
                "grant_type": "client_credentials",
                "client_id": "app_x",
                "client_secret": "hunter2-secret",
            },
        )
        given = {"X-Request-Id": "follow-me"}
        enrolled = await client.post("/v1/participants", json={"out_participant_no": "quiet"}, headers=given)
        assert enrolled.status_code == 202
        token = client.headers["Authorization"].removeprefix("Bearer ")
    assert await process.stop() == 0
    lines = [orjson.loads(line) for line in process.said.splitlines()]
    assert any(line.get("request_id") == "follow-me" and "accepted" in line["message"] for line in lines), (
        process.said
    )
    for secret in ("hunter2-secret", token, JWT_KEY, processes.environment["FENZHANG_KEYSTORE_PASSWORD"]):
        assert secret not in process.said
    assert hex_id(MALL.id) not in process.said
    assert await pipeline.open_count() == 1


async def test_a_database_url_is_never_shown_with_its_password(processes: Processes) -> None:
    url = "postgresql://me:hunter2@127.0.0.1:1/nothing"
    for command in ("api", "mirror"):
        process = processes.start("serve", command, database_url=url)
        # It may end, or wait for the database: either way it says what is wrong.
        async with asyncio.timeout(60):
            while "database cannot be reached" not in process.said:  # noqa: ASYNC110 -- another process says it
                await asyncio.sleep(0.1)
        process.popen.kill()
        await process.ended()
        assert "hunter2" not in process.said


# ------------------------------------------------------------------------------ overload


async def test_ten_times_too_much_gets_429_in_bounded_memory_and_full_speed_returns(
    pipeline: Pipeline, processes: Processes
) -> None:
    process, url = await _api(processes, max_requests="4")
    content = [{"out_participant_no": f"p-{number}"} for number in range(10_000)]
    statuses: dict[int, int] = {}
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=200)

    async def hammer(client: httpx.AsyncClient, until: float) -> None:
        while time.monotonic() < until and content:
            answer = await client.post("/v1/participants", json=content.pop())
            statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
            if answer.status_code == 429:
                assert int(answer.headers["retry-after"]) >= 1
                assert answer.json()["code"] == "too_many_requests"

    async with _client(url) as client:
        client._transport = httpx.AsyncHTTPTransport(limits=limits)
        await client.post("/v1/participants", json={"out_participant_no": "warm"})
        before = process.rss
        until = time.monotonic() + 5.0
        # Forty clients where four are taken.
        hammering = asyncio.gather(*(hammer(client, until) for _ in range(40)))
        assert (await client.get("/readyz")).status_code == 200
        assert (await client.get("/v1/participants")).status_code == 200
        await hammering
        grown = process.rss - before

        assert set(statuses) == {202, 429}, statuses
        assert grown < 100 * 1024 * 1024
        for number in range(20):
            answer = await client.post("/v1/participants", json={"out_participant_no": f"after-{number}"})
            assert answer.status_code == 202
    assert await process.stop() == 0
    rows = await pipeline.rows(tables.Instruction)
    assert len(rows) == statuses[202] + 21
