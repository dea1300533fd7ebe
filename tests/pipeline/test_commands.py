"""The commands as processes: `serve submission`, `serve mirror` and `reconcile`."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from sqlalchemy import update

from fenzhang.chain.deployments import save
from fenzhang.chain.tls import tls
from fenzhang.devnet.processes import free_port
from fenzhang.store import tables
from pipeline.harness import Pipeline
from pipeline.processes import children_of, is_running, mine_until_settled, store_keys, until_alive
from support.processes import Processes

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


async def test_the_stages_settle_and_end_when_they_are_told_to(
    pipeline: Pipeline, processes: Processes
) -> None:
    await store_keys(pipeline)
    capture = pipeline.world.capture(1_000)
    seqs = await pipeline.accept(capture, pipeline.world.split(capture.order_id, 600))
    stages = [processes.start("serve", name) for name in ("submission", "mirror")]

    await mine_until_settled(pipeline)
    codes = await asyncio.gather(*(stage.stop() for stage in stages))

    assert codes == [0, 0], [stage.said for stage in stages]
    assert await pipeline.states(*seqs) == ["SETTLED", "SETTLED"]
    # Their leases are given back: the next ones need not wait.
    assert all(lease.expires_at == 0 for lease in await pipeline.rows(tables.Lease))
    await pipeline.check_reconciled()


@pytest.mark.fault
@pytest.mark.slow
async def test_the_stages_are_killed_and_started_again(pipeline: Pipeline, processes: Processes) -> None:
    await store_keys(pipeline)
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
    await mine_until_settled(pipeline)

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
    await store_keys(pipeline)
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
    pipeline.mine(2)
    await pipeline.follow()
    before = pipeline.mirror.checkpoint
    assert before is not None
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
    code, out, _ = await processes.run("reconcile", "--at", str(before))
    assert (code, out.rpartition(" ")[2]) == (0, f"{before}\n"), out
    code, out, err = await processes.run("reconcile", "--at", str(before + 100))
    assert (code, out) == (2, "")
    assert "is not mirrored yet" in err


async def test_reconcile_without_a_node_exits_with_two(pipeline: Pipeline, processes: Processes) -> None:
    await _market(pipeline)

    code, out, err = await processes.run("reconcile", "--rpc", "http://127.0.0.1:9")

    assert (code, out) == (2, "")
    assert "cannot be reached" in err


async def test_three_way_tells_the_sides_and_keeps_breaks_until_they_are_gone(
    pipeline: Pipeline, processes: Processes
) -> None:
    await _market(pipeline)

    code, out, err = await processes.run("reconcile", "--three-way")
    assert (code, err) == (0, ""), out
    assert out.startswith("CNY\n  orders: captured 10.00 CNY, held 4.00 CNY\n"), out
    assert out.endswith("no break is open\n")
    async with pipeline.database.write() as session:
        await session.execute(update(tables.Order).values(held=7))
    code, out, _ = await processes.run("reconcile", "--three-way", "--at", "close", "--json")
    found: dict[str, Any] = orjson.loads(out)
    assert code == 1
    assert {each["kind"] for each in found["breaks"]} == {
        "CHAIN_ORDER",
        "CHAIN_ORDER_RECORDS",
        "CUSTODY_DIFFERS",
    }
    assert all(run["at_close"] for run in found["runs"])
    assert found["currencies"]["CNY"]["chain"]["held"] == 400
    code, out, _ = await processes.run("breaks", "list", "--kind", "CHAIN_ORDER")
    number = out.partition(" ")[0]
    code, out, _ = await processes.run("breaks", "explain", number, "--note", "changed by hand")
    assert (code, " EXPLAINED CHAIN_ORDER 0x" in out) == (0, True)
    for arguments in (("--three-way", "--at", "5"), ("--at", "close"), ("--at", "-1")):
        assert (await processes.run("reconcile", *arguments))[0] == 2

    async with pipeline.database.write() as session:
        await session.execute(update(tables.Order).values(held=400))
    code, _, _ = await processes.run("reconcile", "--three-way", "--at", "close")
    code, out, _ = await processes.run("breaks", "show", number)
    assert out.endswith(": changed by hand\n  RESOLVED by run: no longer there\n"), out


async def test_serve_reconciliation_finds_what_breaks(
    pipeline: Pipeline, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _market(pipeline)
    port = free_port("127.0.0.1")
    monkeypatch.setenv("FENZHANG_METRICS_PORT", str(port))
    async with pipeline.database.write() as session:
        await session.execute(update(tables.Order).values(held=7))

    serving = processes.start("serve", "reconciliation")
    async with asyncio.timeout(60):
        while "a break was found: CHAIN_ORDER" not in serving.said:
            assert serving.popen.poll() is None, serving.said
            await asyncio.sleep(0.1)
    async with httpx.AsyncClient(verify=tls()) as client:
        while 'fenzhang_breaks_open{kind="CHAIN_ORDER"} 1.0' not in (
            shown := (await client.get(f"http://127.0.0.1:{port}/metrics")).text
        ):
            assert "fenzhang_breaks_oldest_age_seconds" in shown
            await asyncio.sleep(0.1)
    assert await serving.stop() == 0, serving.said


async def test_serve_all_keeps_the_three_running_and_ends_them(
    pipeline: Pipeline, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store_keys(pipeline)
    port = free_port("127.0.0.1")
    monkeypatch.setenv("FENZHANG_API_PORT", str(port))
    everything = processes.start("serve", "all")
    capture = pipeline.world.capture(1_000)
    seqs = await pipeline.accept(capture, pipeline.world.split(capture.order_id, 600))
    await mine_until_settled(pipeline)
    await until_alive(port)

    for child in children_of(everything.popen.pid):
        os.kill(child, signal.SIGKILL)
    seqs += await pipeline.accept(pipeline.world.release(capture.order_id))
    await mine_until_settled(pipeline)
    await until_alive(port)
    children = children_of(everything.popen.pid)

    assert await everything.stop(60) == 0, everything.said
    assert everything.said.count("it is started again") == 3
    assert len(children) == 3
    assert not any(is_running(child) for child in children)
    assert await pipeline.states(*seqs) == ["SETTLED"] * 3
