"""The stages as they run: side by side, killed and begun again, on a chain that turns and a node that dies."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.chain.node import NodeClient
from fenzhang.devnet import DevnetConfig, Mining, RunningNode, start, status, stop
from fenzhang.domain.records import Capture
from fenzhang.mirror.config import MirrorConfig
from fenzhang.store import tables
from fenzhang.store.session import Database
from fenzhang.submission.config import SubmissionConfig
from pipeline.harness import FAST, Pipeline, What
from support.node import HandNode
from support.world import World, build_world

KILLS = 3
QUICK = SubmissionConfig(
    poll_interval_s=0.02, rebroadcast_s=0.3, lost_after_s=1.0, max_orders=15, lease_s=1.0, first_backoff_s=0.1
)
QUICK_MIRROR = MirrorConfig(poll_interval_s=0.02, shrink_patience_s=0.3, lease_s=1.0)


class Killed(BaseException):
    """The process is gone. No `except` of the stages sees it coming."""


@dataclass(slots=True)
class Fuse:
    """Kills when it has burnt down; without a length it never does."""

    length: int | None = None

    def burn(self) -> None:
        """One step further. Raises Killed."""
        if self.length is None:
            return
        self.length -= 1
        if self.length < 0:
            raise Killed


class FragileDatabase(Database):
    """Kills before or after a commit."""

    def __init__(self, url: str, fuse: Fuse) -> None:
        super().__init__(url)
        self._fuse = fuse

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """As its base, with two places to die at."""
        async with super().write() as session:
            yield session
            self._fuse.burn()
        self._fuse.burn()


class FragileNode(NodeClient):
    """Kills before or after a request."""

    def __init__(self, url: str, fuse: Fuse) -> None:
        super().__init__(url)
        self._fuse = fuse

    async def _exchange(self, body: bytes, *, attempts: int) -> httpx.Response:
        self._fuse.burn()
        response = await super()._exchange(body, attempts=attempts)
        self._fuse.burn()
        return response


def _orders(world: World, count: int, chosen: random.Random) -> list[list[What]]:
    """Orders with their instructions in order; some of these will be rejected."""
    result: list[list[What]] = []
    for _ in range(count):
        capture = world.capture(chosen.randint(500, 5_000))
        split = world.split(capture.order_id, chosen.randint(100, 400))
        items: list[What] = [capture, split]
        for _ in range(chosen.randint(0, 3)):
            match chosen.randrange(4):
                case 0:
                    items.append(world.split(capture.order_id, chosen.randint(1, 3_000)))
                case 1:
                    items.append(world.give_back(capture.order_id, split.id, chosen.randint(1, 150)))
                case 2:
                    items.append(world.release(capture.order_id))
                case _:
                    items.append(world.give_back(capture.order_id, world.fresh("split"), 1))
        result.append(items)
    return result


async def _accept_all(pipeline: Pipeline, orders: list[list[What]], chosen: random.Random) -> None:
    """Accept in waves, some under the client's own signature."""
    for items in orders:
        for item in items:
            if isinstance(item, Capture) or chosen.random() < 0.5:
                await pipeline.accept(item)
            else:
                await pipeline.accept_signed(pipeline.world.authorize(item))
        await asyncio.sleep(0.005)


@asynccontextmanager
async def _running(pipeline: Pipeline) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Both stages, as processes would run them, until the block ends."""
    stop_all = asyncio.Event()
    tasks = [
        asyncio.create_task(pipeline.new_submitter(QUICK).run(stop_all)),
        asyncio.create_task(pipeline.new_mirror().run(stop_all)),
    ]
    try:
        yield tasks
    finally:
        stop_all.set()
        await asyncio.gather(*tasks)


async def _mine(pipeline: Pipeline, every_s: float) -> None:
    while True:
        pipeline.mine()
        await asyncio.sleep(every_s)


async def _until_settled(pipeline: Pipeline, timeout_s: float = 60.0) -> None:
    async with asyncio.timeout(timeout_s):
        while await pipeline.open_count():  # noqa: ASYNC110 -- what is awaited happens in the database
            await asyncio.sleep(0.05)


async def _check_outcomes(pipeline: Pipeline, orders: list[list[What]]) -> None:
    """Every instruction has one outcome, and every order the records that its instructions settled."""
    instructions = await pipeline.rows(tables.Instruction)
    assert len(instructions) == sum(map(len, orders))
    canonical = [r for r in await pipeline.rows(tables.Record) if r.canonical]
    settled = sorted(i.id for i in instructions if i.state == "SETTLED")
    assert sorted(r.instruction_id for r in canonical if r.kind != 4) == settled
    rejected = sorted(i.id for i in instructions if i.state == "REJECTED")
    assert sorted(r.instruction_id for r in canonical if r.kind == 4) == rejected
    assert len(settled) > len(orders)
    last = {c.instruction_seq: c.state for c in await pipeline.rows(tables.Completion)}
    assert last == {i.seq: i.state for i in instructions}
    await pipeline.check_reconciled()


@pytest.fixture
def chosen() -> random.Random:
    """Chance that repeats."""
    return random.Random(20_261)


async def test_stages_side_by_side_while_instructions_arrive(
    pipeline: Pipeline, chosen: random.Random
) -> None:
    pipeline.mirror_config = QUICK_MIRROR
    orders = _orders(pipeline.world, 60, chosen)
    miner = asyncio.create_task(_mine(pipeline, 0.1))
    async with _running(pipeline) as tasks:
        await _accept_all(pipeline, orders, chosen)
        await _until_settled(pipeline)
        assert not any(task.done() for task in tasks)
    miner.cancel()

    await _check_outcomes(pipeline, orders)


@pytest.mark.fault
async def test_killed_again_and_again_at_any_point(
    pipeline: Pipeline, database_url: str, chosen: random.Random
) -> None:
    """Before and after every commit and every request to the node, sooner or later."""
    pipeline.mirror_config = QUICK_MIRROR
    pipeline.config = replace(FAST, max_orders=2, max_in_flight=2)
    orders = _orders(pipeline.world, 12, chosen)
    await _accept_all(pipeline, orders, chosen)
    fuse = Fuse()
    whole = pipeline.database, pipeline.node
    deaths = 0
    async with (
        FragileDatabase(database_url, fuse) as database,
        FragileNode(pipeline.world.node.url, fuse) as node,
    ):
        while await pipeline.open_count():
            pipeline.database, pipeline.node = database, node
            await pipeline.take_over()
            fuse.length = chosen.randint(1, 70)
            try:
                for _ in range(3):
                    await pipeline.follow()
                    await pipeline.submit()
                    pipeline.mine()
            except Killed:
                deaths += 1
            fuse.length = None
            pipeline.database, pipeline.node = whole
            pipeline.mine()
            assert deaths < 200
    assert deaths > 10
    await pipeline.take_over()
    await pipeline.settle_all()

    await _check_outcomes(pipeline, orders)
    signed = [i.authorization_id for i in await pipeline.rows(tables.Instruction)]
    assert None not in signed
    assert len({(t.sender, t.nonce) for t in await pipeline.transactions()}) == len(
        await pipeline.transactions()
    )


async def _has_gone_back(pipeline: Pipeline) -> bool:
    """Whether the mirror has had to take back a record."""
    return not all(record.canonical for record in await pipeline.rows(tables.Record))


@pytest.mark.fault
async def test_on_a_chain_that_keeps_turning(pipeline: Pipeline, chosen: random.Random) -> None:
    pipeline.mirror_config = QUICK_MIRROR
    pipeline.mine(8)
    orders = _orders(pipeline.world, 40, chosen)
    accepting = asyncio.create_task(_accept_all(pipeline, orders, chosen))
    miner = asyncio.create_task(_mine(pipeline, 0.1))
    async with _running(pipeline) as tasks:
        for turn in range(100):
            await asyncio.sleep(chosen.uniform(0.2, 0.5))
            with contextlib.suppress(Exception):
                # anvil refuses when it no longer has the state of the block to go back to.
                pipeline.world.node.request("anvil_reorg", chosen.randint(1, 3), [])
            if turn >= 7 and await _has_gone_back(pipeline):
                break
            if accepting.done():
                orders += (more := _orders(pipeline.world, 5, chosen))
                await _accept_all(pipeline, more, chosen)
        await accepting
        await _until_settled(pipeline)
        assert not any(task.done() for task in tasks)
    miner.cancel()
    await pipeline.settle_all()

    await _check_outcomes(pipeline, orders)
    assert await _has_gone_back(pipeline)


@pytest.fixture
def persistent(tmp_path: Path) -> Iterator[tuple[DevnetConfig, RunningNode]]:
    """A node with a state on disk."""
    config = DevnetConfig(home=tmp_path, port=0, mining=Mining.MANUAL, snapshot_interval_s=0.2)
    yield config, start(config)
    stop(tmp_path)


@pytest.mark.fault
async def test_the_node_is_killed_and_comes_back_with_an_older_state(
    persistent: tuple[DevnetConfig, RunningNode], database: Database, chosen: random.Random
) -> None:
    config, running = persistent
    node = HandNode(running.url)
    world = build_world(node)
    await _until_saved(config, node)
    async with NodeClient(running.url) as client:
        pipeline = Pipeline(world, database, client, mirror_config=QUICK_MIRROR)
        await pipeline.prepare()
        orders = _orders(world, 40, chosen)
        accepting = asyncio.create_task(_accept_all(pipeline, orders, chosen))
        async with _running(pipeline) as tasks:
            for _ in range(KILLS):
                for _ in range(6):
                    pipeline.mine()
                    await asyncio.sleep(0.08)
                now = node.now
                node.close()
                running.keeper.send(signal.SIGKILL)
                running.anvil.send(signal.SIGKILL)
                await asyncio.sleep(0.5)
                running = await asyncio.to_thread(_start_again, config, running.port)
                # Its clock starts at ours again, which the hand-driven blocks were ahead of.
                await client.request("evm_setNextBlockTimestamp", now + 60)
                node = pipeline.world.node = HandNode(running.url)
                pipeline.world.system = type(world.system)(node, world.system.deployment)
            await accepting
            miner = asyncio.create_task(_mine(pipeline, 0.1))
            await _until_settled(pipeline)
            assert not any(task.done() for task in tasks)
            miner.cancel()
        await _check_outcomes(pipeline, orders)
    node.close()


async def _until_saved(config: DevnetConfig, node: HandNode) -> None:
    """Until there is a snapshot of the newest block, contracts and all."""
    made = time.time()
    node.mine()
    async with asyncio.timeout(20):
        while True:
            age = status(config.home).snapshot_age_s
            if age is not None and time.time() - age > made:
                return
            await asyncio.sleep(0.05)


def _start_again(config: DevnetConfig, port: int) -> RunningNode:
    return start(replace(config, port=port))
