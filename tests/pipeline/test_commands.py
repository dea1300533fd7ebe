"""The commands as processes: `serve submission`, `serve mirror` and `reconcile`."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import update

from fenzhang.chain.deployments import save
from fenzhang.chain.keystore import encrypt_key
from fenzhang.chain.signer import LocalKey
from fenzhang.store import keys, tables
from pipeline.harness import Pipeline
from support.parties import MALL
from support.system import BANK, SUBMITTER

PASSWORD = "a password of the tests"
CHEAP = 1 << 4
"""scrypt's n for keys that need no guarding."""
pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


class Processes:
    """Starts commands of this project, and leaves none behind."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._running: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Run `fenzhang` with these arguments."""
        process = subprocess.Popen(
            [sys.executable, "-m", "fenzhang", *arguments],
            env={**os.environ, **self._environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._running.append(process)
        return process

    async def run(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, standard output and standard error of a command that ends by itself."""
        process = self.start(*arguments)
        out, err = await asyncio.to_thread(process.communicate, timeout=60)
        return process.returncode, out, err

    def end(self) -> None:
        """Kill what still runs."""
        for process in self._running:
            process.kill()
            process.communicate()


@pytest.fixture
def processes(pipeline: Pipeline, tmp_path: Path) -> Iterator[Processes]:
    """Commands that see the pipeline's database, node and deployment."""
    deployment = tmp_path / "deployment.json"
    save(deployment, pipeline.world.system.deployment)
    processes = Processes(
        {
            "FENZHANG_HOME": str(tmp_path),
            "FENZHANG_DATABASE_URL": pipeline.database.url.render_as_string(hide_password=False),
            "FENZHANG_RPC_URL": pipeline.world.node.url,
            "FENZHANG_DEPLOYMENT": str(deployment),
            "FENZHANG_KEYSTORE_PASSWORD": PASSWORD,
        }
    )
    yield processes
    processes.end()


async def _store_keys(pipeline: Pipeline) -> None:
    stored: dict[str, LocalKey] = {
        keys.SUBMITTER: SUBMITTER,
        keys.ATTESTOR: BANK,
        keys.platform_label(MALL.id): MALL.key,
    }
    async with pipeline.database.write() as session:
        for label, key in stored.items():
            keys.add(session, label, key.address, encrypt_key(key, PASSWORD, work_factor=CHEAP))


async def _mine_until_settled(pipeline: Pipeline, timeout_s: float = 60.0) -> None:
    async with asyncio.timeout(timeout_s):
        while await pipeline.open_count():
            pipeline.mine()
            await asyncio.sleep(0.1)


async def test_the_stages_settle_and_end_when_they_are_told_to(
    pipeline: Pipeline, processes: Processes
) -> None:
    await _store_keys(pipeline)
    capture = pipeline.world.capture(1_000)
    seqs = await pipeline.accept(capture, pipeline.world.split(capture.order_id, 600))
    stages = [processes.start("serve", name) for name in ("submission", "mirror")]

    await _mine_until_settled(pipeline)
    for stage in stages:
        stage.send_signal(signal.SIGTERM)
    said = [await asyncio.to_thread(stage.communicate, timeout=20) for stage in stages]

    assert [stage.returncode for stage in stages] == [0, 0], said
    assert await pipeline.states(*seqs) == ["SETTLED", "SETTLED"]
    # Their leases are given back: the next ones need not wait.
    assert all(lease.expires_at == 0 for lease in await pipeline.rows(tables.Lease))
    await pipeline.check_reconciled()


@pytest.mark.fault
@pytest.mark.slow
async def test_the_stages_are_killed_and_started_again(pipeline: Pipeline, processes: Processes) -> None:
    await _store_keys(pipeline)
    chosen = random.Random(11)
    world = pipeline.world
    captures = [world.capture(1_000 + n) for n in range(300)]
    seqs = await pipeline.accept(*captures)
    for capture in captures:
        seqs += await pipeline.accept(world.split(capture.order_id, 600), world.release(capture.order_id))

    for _ in range(4):
        stages = [processes.start("serve", name) for name in ("submission", "mirror")]
        for _ in range(chosen.randint(12, 25)):
            pipeline.mine()
            await asyncio.sleep(0.1)
        for stage in stages:
            stage.kill()
    # What was killed keeps its leases for a while; the next stages wait for them.
    stages = [processes.start("serve", name) for name in ("submission", "mirror")]
    await _mine_until_settled(pipeline)

    assert await pipeline.states(*seqs[:5]) == ["SETTLED"] * 5
    records = await pipeline.rows(tables.Record)
    assert len(records) == len({r.instruction_id for r in records}) == len(seqs)
    transactions = await pipeline.transactions()
    assert len({t.nonce for t in transactions}) == len(transactions)
    await pipeline.check_reconciled()


async def test_a_stage_without_its_key_says_so(processes: Processes) -> None:
    code, _, err = await processes.run("serve", "submission")

    assert code == 1
    assert "the keystore has no key 'submitter'" in err


async def test_a_stage_refuses_a_deployment_of_another_chain(
    pipeline: Pipeline, processes: Processes, tmp_path: Path
) -> None:
    await _store_keys(pipeline)
    other = replace(pipeline.world.system.deployment, chain_id=31_337)
    save(tmp_path / "deployment.json", other)

    for stage in ("submission", "mirror"):
        code, _, err = await processes.run("serve", stage)
        assert code == 1
        # The devnet's keys are refused for another chain before the chain itself is looked at.
        assert "31337" in err


async def _market(pipeline: Pipeline) -> None:
    capture = pipeline.world.capture(1_000)
    await pipeline.accept(capture, pipeline.world.split(capture.order_id, 600))
    await pipeline.settle_all()


async def test_reconcile_says_that_chain_and_ledger_agree(pipeline: Pipeline, processes: Processes) -> None:
    await _market(pipeline)

    code, out, err = await processes.run("reconcile")

    assert (code, err) == (0, "")
    assert "chain and ledger agree" in out
    code, out, _ = await processes.run("reconcile", "--json")
    found: dict[str, Any] = orjson.loads(out)
    assert (code, found["clean"], found["differences"]) == (0, True, [])
    assert (found["orders"], found["block"]) == (1, pipeline.mirror.checkpoint)


async def test_reconcile_names_a_difference_and_exits_with_one(
    pipeline: Pipeline, processes: Processes
) -> None:
    await _market(pipeline)
    async with pipeline.database.write() as session:
        await session.execute(update(tables.Order).values(held=7))
    [order] = await pipeline.rows(tables.Order)

    code, out, _ = await processes.run("reconcile")

    assert code == 1
    assert f"order CNY 0x{order.order_id.hex()}: chain 400, ledger 7" in out
    code, out, _ = await processes.run("reconcile", "--json")
    assert code == 1
    assert {
        "check": "order",
        "currency": "CNY",
        "subject": "0x" + order.order_id.hex(),
        "chain": 400,
        "ledger": 7,
    } in orjson.loads(out)["differences"]


async def test_reconcile_without_a_node_exits_with_two(pipeline: Pipeline, processes: Processes) -> None:
    await _market(pipeline)

    code, out, err = await processes.run("reconcile", "--rpc", "http://127.0.0.1:9")

    assert (code, out) == (2, "")
    assert "cannot be reached" in err
