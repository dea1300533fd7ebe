"""/readyz tells the truth: with the database gone, the node gone, the mirror stopped, and another chain."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from fenzhang.chain.keccak import keccak
from fenzhang.devnet.processes import free_port
from fenzhang.store.session import Database
from pipeline.harness import Pipeline
from pipeline.processes import store_keys
from support.api import DEPLOYMENT, order, populate, running_api
from support.databases import drop_postgres
from support.processes import Processes
from support.proxy import proxy_to
from support.rpcserver import http, serving

ON_SQLITE = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
PATIENCE_S = 60.0
"""The machine may be busy; nothing here depends on how fast it is."""


async def _until(
    client: httpx.AsyncClient, true: Callable[[httpx.Response], bool], path: str = "/readyz"
) -> dict[str, Any]:
    """The first answer that is as expected."""
    answer = None
    try:
        async with asyncio.timeout(PATIENCE_S):
            while answer is None or not true(answer):
                await asyncio.sleep(0.05)
                answer = await client.get(path)
    except TimeoutError:
        raise AssertionError(f"it stays at {'nothing' if answer is None else answer.text}") from None
    found: dict[str, Any] = answer.json()
    return found


def _degraded(*names: str) -> Callable[[httpx.Response], bool]:
    return lambda answer: answer.status_code == 200 and answer.json()["degraded"] == list(names)


# ------------------------------------------------------------------------------ the API


def _take_away(file: Path) -> None:
    for path in file.parent.glob(file.name + "*"):
        path.rename(path.with_name("away-" + path.name))
    file.mkdir()


def _bring_back(file: Path) -> None:
    file.rmdir()
    for path in file.parent.glob("away-*"):
        path.rename(path.with_name(path.name.removeprefix("away-")))


# aiosqlite warns about a connection that it could not open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_without_its_database_the_api_is_alive_and_not_ready(
    database: Database, database_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    await populate(database)
    async with running_api(database, tmp_path) as api:
        assert (await api.anybody.get("/readyz")).status_code == 200

        await database.close()
        if database.is_sqlite:
            _take_away(Path(str(database.url.database)))
        else:
            await drop_postgres(request.getfixturevalue("postgres_server"), database_url)

        answer = await api.anybody.get("/readyz")
        assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
        assert int(answer.headers["retry-after"]) >= 1
        assert (await api.mall.post("/v1/orders", json=order())).status_code == 503
        assert (await api.anybody.get("/healthz")).json() == {"status": "ok"}
        gc.collect()

        if database.is_sqlite:
            _bring_back(Path(str(database.url.database)))
            assert (await api.anybody.get("/readyz")).status_code == 200
            assert (await api.mall.post("/v1/orders", json=order())).status_code == 202


@ON_SQLITE
async def test_without_a_node_the_api_accepts_and_says_what_is_missing(
    database: Database, tmp_path: Path
) -> None:
    await populate(database)
    async with running_api(database, tmp_path) as api:
        found = await _until(
            api.anybody, lambda answer: answer.json()["node"]["breaker"] in {"open", "half_open"}
        )
        assert (found["status"], found["degraded"]) == ("ready", ["node", "mirror"])
        assert (found["node"]["reachable"], found["node"]["head"], found["mirror"]) == (False, None, None)
        assert "cannot be reached" in found["node"]["error"] or "failed again" in found["node"]["error"]
        assert (await api.mall.post("/v1/orders", json=order())).status_code == 202


@ON_SQLITE
async def test_a_mirror_that_stands_still_is_shown_and_one_that_catches_up_as_well(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    world, deployment = pipeline.world, pipeline.world.system.deployment
    await pipeline.follow()
    async with running_api(
        pipeline.database, tmp_path, node_url=world.node.url, deployment=deployment, ready_lag_s=0.3
    ) as api:
        await _until(api.anybody, _degraded())
        pipeline.mine(3)
        found = await _until(api.anybody, _degraded("mirror"))
        assert found["mirror"]["lag_blocks"] == 3
        assert found["mirror"]["lag_s"] >= 0.3
        assert found["mirror"]["block"] == pipeline.mirror.checkpoint
        await pipeline.follow()
        found = await _until(api.anybody, _degraded())
        assert (found["mirror"]["lag_blocks"], found["mirror"]["lag_s"]) == (0, 0.0)


@dataclass(slots=True)
class Chain:
    """Answers what is asked about a chain."""

    chain_id: int = DEPLOYMENT.chain_id
    genesis: bytes = DEPLOYMENT.genesis_hash
    code: bytes = b"code"

    def respond(self, request: Any) -> bytes:
        """One request, or an array of them."""
        answers = (
            [self._answer(one) for one in request] if isinstance(request, list) else self._answer(request)
        )
        return http(json.dumps(answers).encode())

    def _answer(self, request: Any) -> dict[str, Any]:
        block = {
            "number": "0x7",
            "hash": "0x" + self.genesis.hex(),
            "parentHash": "0x" + bytes(32).hex(),
            "timestamp": "0x1",
            "gasLimit": "0x1",
        }
        result = {
            "eth_chainId": hex(self.chain_id),
            "eth_blockNumber": "0x7",
            "eth_getBlockByNumber": block,
            "eth_getCode": "0x" + self.code.hex(),
        }[request["method"]]
        return {"jsonrpc": "2.0", "id": request["id"], "result": result}


CODE_HASHES = dict.fromkeys(DEPLOYMENT.addresses, keccak(b"code"))


@ON_SQLITE
async def test_another_chain_behind_the_same_address_is_not_ready(database: Database, tmp_path: Path) -> None:
    await populate(database)
    chain = Chain()
    deployment = replace(DEPLOYMENT, code_hashes=CODE_HASHES)
    async with (
        serving(chain.respond) as (url, _),
        running_api(database, tmp_path, node_url=url, deployment=deployment) as api,
    ):
        await _until(api.anybody, _degraded("mirror"))
        chain.chain_id = 31_337
        found = await _until(api.anybody, lambda answer: answer.status_code == 503)
        assert found["code"] == "deployment_mismatch"
        assert "31337" in found["detail"]
        chain.chain_id = DEPLOYMENT.chain_id
        await _until(api.anybody, _degraded("mirror"))


@ON_SQLITE
@pytest.mark.parametrize("other", [Chain(genesis=b"o" * 32), Chain(code=b"other")], ids=["genesis", "code"])
async def test_another_chain_of_the_same_number_is_found_when_it_comes_back(
    database: Database, tmp_path: Path, other: Chain
) -> None:
    await populate(database)
    now: list[Chain | None] = [Chain()]

    def respond(request: Any) -> bytes | None:
        return None if now[0] is None else now[0].respond(request)

    deployment = replace(DEPLOYMENT, code_hashes=CODE_HASHES)
    async with (
        serving(respond) as (url, _),
        running_api(database, tmp_path, node_url=url, deployment=deployment) as api,
    ):
        await _until(api.anybody, _degraded("mirror"))
        now[0] = None
        await _until(api.anybody, _degraded("node", "mirror"))
        now[0] = other
        found = await _until(api.anybody, lambda answer: answer.status_code == 503)
        assert found["code"] == "deployment_mismatch"


# ------------------------------------------------------------------------------ stages, as processes


def _active(answer: httpx.Response) -> bool:
    return [stage["active"] for stage in answer.json()["stages"]] == [True]


def _sample(text: str, name: str, **labels: str) -> float | None:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return sample.value
    return None


@ON_SQLITE
@pytest.mark.slow
async def test_stages_say_what_they_wait_for_and_go_on_when_it_is_back(
    pipeline: Pipeline, processes: Processes
) -> None:
    await store_keys(pipeline)
    capture = pipeline.world.capture(1_000)
    seqs = await pipeline.accept(capture)
    ports = {name: free_port("127.0.0.1") for name in ("submission", "mirror")}
    async with proxy_to(urlsplit(pipeline.world.node.url).port or 0) as proxy:
        stages = {
            name: processes.start("serve", name, metrics_port=str(port), rpc_url=proxy.url)
            for name, port in ports.items()
        }
        clients = {
            name: httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") for name, port in ports.items()
        }
        async with clients["submission"] as submission, clients["mirror"] as mirror:
            for name, port in ports.items():
                await stages[name].answers(f"http://127.0.0.1:{port}/healthz")
            for client in (submission, mirror):
                await _until(client, lambda answer: answer.status_code == 200 and _active(answer))

            proxy.cut()
            for client in (submission, mirror):
                found = await _until(
                    client,
                    lambda answer: answer.status_code == 503 and answer.json()["node"]["breaker"] != "closed",
                )
                assert "node_unavailable" in found["reasons"]
                assert (await client.get("/healthz")).status_code == 200
            text = (await mirror.get("/metrics")).text
            assert _sample(text, "fenzhang_node_breaker_state", state="closed") == 0.0
            assert (_sample(text, "fenzhang_node_breaker_openings_total") or 0) >= 1

            proxy.open = True
            for client in (submission, mirror):
                await _until(client, lambda answer: answer.status_code == 200)
            async with asyncio.timeout(PATIENCE_S):
                while await pipeline.open_count():
                    pipeline.mine()
                    await asyncio.sleep(0.2)
            assert await pipeline.states(*seqs) == ["SETTLED"]
            text = (await mirror.get("/metrics")).text
            assert _sample(text, "fenzhang_instructions_settled_total", type="CAPTURE") == 1.0
            assert _sample(text, "fenzhang_node_breaker_state", state="closed") == 1.0
            text = (await submission.get("/metrics")).text
            assert _sample(text, "fenzhang_transactions_sent_total") == 1.0
        for stage in stages.values():
            assert await stage.stop() == 0, stage.said


@ON_SQLITE
async def test_a_second_mirror_stands_by_and_is_ready_to_take_over(processes: Processes) -> None:
    ports = [free_port("127.0.0.1") for _ in range(2)]
    first, second = (processes.start("serve", "mirror", metrics_port=str(port)) for port in ports)
    for process, port in ((first, ports[0]), (second, ports[1])):
        await process.answers(f"http://127.0.0.1:{port}/healthz")

    async def active() -> list[bool]:
        async with httpx.AsyncClient() as client:
            return [_active(await client.get(f"http://127.0.0.1:{port}/readyz")) for port in ports]

    async with asyncio.timeout(PATIENCE_S):
        while sorted(await active()) != [False, True]:  # noqa: ASYNC110 -- it happens in other processes
            await asyncio.sleep(0.1)
    holder = [first, second][(await active()).index(True)]
    holder.popen.kill()
    standby, port = (second, ports[1]) if holder is first else (first, ports[0])
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        await _until(client, _active)
    assert await standby.stop() == 0, standby.said


@ON_SQLITE
async def test_a_port_that_is_taken_is_one_clear_line(pipeline: Pipeline, processes: Processes) -> None:
    port = urlsplit(pipeline.world.node.url).port
    process = processes.start("serve", "mirror", metrics_port=str(port))
    assert await process.ended() == 1
    assert f"127.0.0.1:{port} cannot be listened on" in process.said.splitlines()[-1]
