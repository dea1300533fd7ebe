"""Many processes on one PostgreSQL: submission for two keys with one process too many, two mirrors, two APIs."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import orjson
import pytest

from fenzhang.chain.signer import LocalKey
from fenzhang.devnet.processes import free_port
from fenzhang.store import keys, tables
from fenzhang.submission.lanes import Lane
from pipeline.harness import Pipeline
from pipeline.processes import mine_until_settled, store_keys, until_alive
from support.parties import MALL, SHOP, VENDING
from support.processes import Processes
from support.system import SUBMITTER

SECOND = LocalKey(b"\x02" * 32)
KEYS = {keys.submitter_label(1): SECOND}
pytestmark = [
    pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True),
    pytest.mark.postgres,
    pytest.mark.slow,
]


async def _accept_orders(pipeline: Pipeline, count: int) -> list[int]:
    seqs = []
    for n in range(count):
        mall = pipeline.world.capture(1_000 + n)
        shop = pipeline.world.capture(500 + n, rule=VENDING)
        pipeline.owners[shop.order_id] = SHOP.id
        for capture in (mall, shop):
            seqs += await pipeline.accept(capture, pipeline.world.split(capture.order_id, 300))
            seqs += await pipeline.accept(pipeline.world.release(capture.order_id))
    return seqs


async def test_two_keys_are_at_work_at_once_and_a_spare_process_takes_over(
    pipeline: Pipeline, processes: Processes
) -> None:
    assert SHOP.id < Lane(1, 2)._bound(1) <= MALL.id, "the platforms must fall into different lanes"
    await store_keys(pipeline, KEYS)
    seqs = await _accept_orders(pipeline, 20)
    first = processes.start("serve", "submission", "--lane", "0")
    second = processes.start("serve", "submission", "--lane", "1")
    mirrors = [processes.start("serve", "mirror") for _ in range(2)]
    spare = processes.start("serve", "submission")
    await mine_until_settled(pipeline)

    for process in (first, mirrors[0]):
        process.kill()
    seqs += await _accept_orders(pipeline, 20)
    await mine_until_settled(pipeline)

    assert await pipeline.states(*seqs) == ["SETTLED"] * len(seqs)
    senders = {row.id: row.sender for row in await pipeline.transactions()}
    assert set(senders.values()) == {SUBMITTER.address, SECOND.address}
    records = await pipeline.rows(tables.Record)
    assert len(records) == len({record.instruction_id for record in records}) == len(seqs)
    await pipeline.check_reconciled()
    for process in (second, mirrors[1], spare):
        assert await process.stop() == 0, process.said


async def test_two_apis_answer_as_one(pipeline: Pipeline, processes: Processes) -> None:
    await store_keys(pipeline)
    code, out, err = await processes.run(
        "app", "create", "--name", "mall", "--scopes", "platform", "--platform", "mall"
    )
    assert code == 0, err
    app: dict[str, Any] = orjson.loads(out)
    ports = [free_port("127.0.0.1") for _ in range(2)]
    for port in ports:
        processes.start("serve", "api", "--port", str(port))
    await asyncio.gather(*map(until_alive, ports))
    async with httpx.AsyncClient(timeout=30.0) as client:
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        credentials = (app["client_id"], app["client_secret"])
        answer = await client.post(
            f"{urls[0]}/oauth/token", data={"grant_type": "client_credentials"}, auth=credentials
        )
        # The token of one is good for the other.
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

        async def post(url: str, number: int) -> httpx.Response:
            return await client.post(f"{url}/v1/participants", json={"out_participant_no": f"p-{number}"})

        twice = await asyncio.gather(*(post(url, number) for number in range(20) for url in urls))

        assert {response.status_code for response in twice} <= {200, 202}, [
            r.text for r in twice if r.status_code > 202
        ]
        for first, second in zip(twice[::2], twice[1::2], strict=True):
            assert first.json()["participant_id"] == second.json()["participant_id"]
        assert len(await pipeline.rows(tables.Instruction)) == 20
