"""A chain that turns, forgets, answers badly, or is another one."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from sqlalchemy import func, select

from fenzhang.chain.errors import RpcError
from fenzhang.chain.node import NodeClient
from fenzhang.devnet import CHAIN_ID, ephemeral_node
from fenzhang.local.children import last_lines
from fenzhang.store import tables
from support.faults.nodeproxy import Fault, NodeProxy
from support.faults.processes import until
from support.faults.rig import Rig, Scenario
from support.faults.system import BLOCK_TIME_S, MAX_DEPTH, STAGES, FaultSystem

_SECONDS_PER_BLOCK = 1
"""anvil's clock counts whole seconds once it has been stopped."""
_BAD_ANSWERS_S = 120.0
_BAD_SHARE, _BAD_ANSWERS = 0.15, 2
"""This part of all answers is bad, until each kind has been given so often."""
_SETTLE_EVERY = 5
_LOW_GAS_LIMIT = 4_000_000
_NORMAL_GAS_LIMIT = 1_000_000_000
_OTHER_CHAIN = 31_337


async def _request(system: FaultSystem, method: str, *params: Any) -> Any:
    async with system.node() as node:
        return await node.request(method, *params)


# ------------------------------------------------------------------------------ reorganisations


async def reorganisations(rig: Rig) -> int:
    """Depths 1 to 20; of what stood in the lost blocks, some comes again in other blocks, and some does not."""
    done = 0
    depths = list(range(1, MAX_DEPTH + 1))
    rig.chosen.shuffle(depths)
    async with _own_blocks(rig.system) as between_blocks:
        for number in range(rig.rounds):
            depth = depths[number % len(depths)]
            await rig.system.bury()
            async with rig.endless_traffic():
                await asyncio.sleep(rig.chosen.uniform(0.0, 1.0))
                async with between_blocks:
                    kept, lost = await _reorganise(rig, depth)
                done += 1
            rig.say(f"reorg of depth {depth}: {lost} transactions dropped, {kept} in other blocks")
            if done % _SETTLE_EVERY == 0:
                await rig.settle()
    return done


@asynccontextmanager
async def _own_blocks(system: FaultSystem) -> AsyncIterator[asyncio.Lock]:
    """Blocks are made from here, and none while somebody holds the lock.

    anvil's own clock also makes one in the middle of a reorganisation, and then anvil misses blocks of its chain.
    """
    await _request(system, "evm_setIntervalMining", 0)
    between_blocks = asyncio.Lock()

    async def make_blocks() -> None:
        while True:
            await asyncio.sleep(BLOCK_TIME_S)
            async with between_blocks:
                await _request(system, "evm_mine")

    making = asyncio.create_task(make_blocks())
    try:
        yield between_blocks
    finally:
        making.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await making
        await _request(system, "evm_setIntervalMining", _SECONDS_PER_BLOCK)


async def _reorganise(rig: Rig, depth: int) -> tuple[int, int]:
    """Replace the newest blocks. Returns how many of their transactions came again, and how many did not."""
    async with rig.system.node() as node:
        head = await node.block_number()
        first = max(rig.system.deployment.block_number + 1, head - depth + 1)
        raws = await _transactions(rig.system, node, first, head)
        keep = rig.chosen.choice((0, len(raws) // 2, len(raws)))
        places = sorted(rig.chosen.randrange(depth) for _ in range(keep))
        pairs = [["0x" + raw.hex(), place] for raw, place in zip(raws[:keep], places, strict=True)]
        try:
            await node.request("anvil_reorg", depth, pairs)
        except RpcError:
            # What one of them needs is gone: then they all go.
            keep = 0
            await node.request("anvil_reorg", depth, [])
        # anvil keeps what it had queued, even what is in the new blocks, and waits for ever for the nonces before that.
        await node.request("anvil_dropAllTransactions")
    return keep, len(raws) - keep


async def _transactions(system: FaultSystem, node: NodeClient, first: int, last: int) -> list[bytes]:
    """Raw bytes of the transactions in these blocks, in order. All of them are ours."""
    calls = [("eth_getBlockByNumber", (hex(number), False)) for number in range(first, last + 1)]
    blocks = [block for block in await node.batch(calls) if isinstance(block, dict)]
    hashes = [bytes.fromhex(each[2:]) for block in blocks for each in block["transactions"]]
    async with system.database() as database, database.read() as session:
        query = select(tables.Transaction.hash, tables.Transaction.raw)
        known = {row.hash: row.raw for row in await session.execute(query)}
    return [known[each] for each in hashes if each in known]


async def rollbacks(rig: Rig) -> int:
    """The chain is suddenly shorter, and goes on from there."""
    async with _own_blocks(rig.system) as between_blocks:
        for _ in range(rig.rounds):
            depth = rig.chosen.randint(1, MAX_DEPTH)
            await rig.system.bury()
            async with rig.endless_traffic():
                await asyncio.sleep(rig.chosen.uniform(1.0, 2.5))
                async with between_blocks:
                    await _request(rig.system, "anvil_rollback", depth)
            rig.say(f"rolled back by {depth} blocks")
    return rig.rounds


async def older_state(rig: Rig) -> int:
    """The node dies and is started from a snapshot that is some seconds older than what was mirrored."""
    for _ in range(rig.rounds):
        await rig.system.until_saved()
        old = rig.system.home.path / "older.json.gz"
        shutil.copy(rig.system.snapshot, old)
        began = await _request(rig.system, "eth_blockNumber")
        async with rig.under_traffic(orders=20, pause_s=0.1):
            await asyncio.sleep(rig.chosen.uniform(1.5, 4.0))
            head = await _request(rig.system, "eth_blockNumber")
            await rig.system.restart_node(old)
        rig.say(f"node restarted {int(head, 16) - int(began, 16)} blocks earlier")
        await rig.settle()
    return rig.rounds


# ------------------------------------------------------------------------------ a node that answers badly


async def bad_answers(rig: Rig) -> int:
    """All kinds of bad answers at once, until each has been given; in the campaign each kind by itself as well."""
    proxy = rig.system.node_proxy
    before = proxy.hits.total()
    for number in range(rig.rounds):
        await _answer_badly(rig, *Fault)
        if number:
            for fault in Fault:
                await _answer_badly(rig, fault)
    return proxy.hits.total() - before


async def _answer_badly(rig: Rig, *faults: Fault) -> None:
    proxy = rig.system.node_proxy
    before = proxy.hits.copy()
    async with rig.endless_traffic(pause_s=0.3):
        proxy.behave(*faults, share=_BAD_SHARE)
        try:
            for fault in faults:
                wanted = before[fault] + _BAD_ANSWERS
                await until(partial(_given, proxy, fault, wanted), fault.value, _BAD_ANSWERS_S)
        finally:
            proxy.behave()
    given = ", ".join(f"{proxy.hits[fault] - before[fault]} x {fault.value}" for fault in faults)
    rig.say(f"answered badly: {given}")
    await rig.settle()


def _given(proxy: NodeProxy, fault: Fault, wanted: int) -> bool:
    return proxy.hits[fault] >= wanted


async def low_gas_limit(rig: Rig) -> int:
    """Blocks hold less than a full transaction: what is signed from now on is smaller, nothing is lost."""
    for _ in range(rig.rounds):
        try:
            async with rig.under_traffic(orders=15):
                await _request(rig.system, "evm_setBlockGasLimit", hex(_LOW_GAS_LIMIT))
                await asyncio.sleep(1.0)
            await _backlog(rig)
            await rig.settle()
            rig.say(f"everything settled in blocks of {_LOW_GAS_LIMIT} gas")
        finally:
            await _request(rig.system, "evm_setBlockGasLimit", hex(_NORMAL_GAS_LIMIT))
    return rig.rounds


async def _backlog(rig: Rig) -> None:
    """More than one of the small blocks holds, so that whoever fills transactions by habit gets stuck."""
    [platform] = [each for each in rig.traffic.platforms if not each.signs]
    lives = [
        (order, rig.traffic.life(order)) for order in (rig.traffic.new_order(platform) for _ in range(60))
    ]
    await rig.traffic.send_batch(platform, lives)


async def another_chain(rig: Rig) -> int:
    """The node's address leads to another chain from now on: stages stop and say so, and nothing is written."""
    system = rig.system
    for _ in range(rig.rounds):
        for chain_id in (_OTHER_CHAIN, CHAIN_ID):
            await rig.settle()
            await _switch(rig, chain_id)
            system.node_proxy.target = system.rpc
            for name in STAGES:
                system.processes[name].start()
            system.restarts = True
            await rig.settle()
    return 2 * rig.rounds


async def _switch(rig: Rig, chain_id: int) -> None:
    """Lead everybody to a fresh chain with this id, and wait until both stages have stopped."""
    system = rig.system
    system.restarts = False
    before = await _counts(system)
    with ephemeral_node(0.2, chain_id=chain_id) as other:
        for name in STAGES:
            system.processes[name].killed = True  # it is to end by itself
        system.node_proxy.target = other.url
        platform = rig.traffic.platforms[0]
        order = rig.traffic.new_order(platform)
        await rig.traffic.send(platform, order, order.new)
        for name in STAGES:
            process = system.processes[name]
            took_s = await process.ends(60.0)
            rig.measured(f"seconds until {name} stops on another chain", took_s)
            said = last_lines(process.log, 1)
            if "fenzhang:" not in said or "chain" not in said:
                system.processes[name].ended.append(f"{name} does not say what is wrong: {said}")
    after = await _counts(system)
    if after != before:
        system.processes["mirror"].ended.append(f"something changed on another chain: {before} {after}")
    rig.say(f"chain {chain_id} under us: both stages stopped, nothing changed")


async def _counts(system: FaultSystem) -> list[int]:
    entities = (tables.Transaction, tables.Record, tables.Posting, tables.Authorization)
    async with system.database() as database, database.read() as session:
        return [
            (await session.execute(select(func.count()).select_from(entity))).scalar_one()
            for entity in entities
        ]


SCENARIOS = (
    Scenario(
        "reorg",
        "reorganisations of depth 1 to 20, transactions dropped or in other blocks",
        reorganisations,
        3,
        40,
    ),
    Scenario("rollback", "the chain gets shorter by 1 to 20 blocks", rollbacks, 1, 10),
    Scenario("older-state", "the node restarts from an older state", older_state, 1, 5),
    Scenario(
        "bad-answers", "a node that answers late, wrong, half, twice, or with errors", bad_answers, 1, 5
    ),
    Scenario("gas-limit", "block gas limit lowered", low_gas_limit, 1, 3),
    Scenario("other-chain", "another chain id, another genesis under us", another_chain, 1, 2),
)
