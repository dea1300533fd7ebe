"""The mirror reads what the contracts did, all of it, once, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from fenzhang.chain.node import NodeClient
from fenzhang.mirror.config import MirrorConfig
from fenzhang.mirror.errors import BatchRootMismatch, MirrorError
from fenzhang.mirror.mirror import Mirror
from fenzhang.store import tables
from fenzhang.store.bulk import table_of
from fenzhang.store.errors import DatabaseOfOtherChain
from fenzhang.store.session import Database
from pipeline.harness import Pipeline
from pipeline.histories import eventful
from support.parties import MALL

pytestmark = pytest.mark.either_database

MIRRORED = (
    tables.Record,
    tables.Allocation,
    tables.Order,
    tables.Account,
    tables.Posting,
    tables.Participant,
    tables.RuleVersion,
)


@pytest.fixture
async def fresh(tmp_path: Path) -> AsyncIterator[Database]:
    """Another database, with nothing in it."""
    async with Database(f"sqlite:///{tmp_path / 'fresh.db'}") as database:
        await database.upgrade()
        yield database


async def _content(database: Database, entity: type[Any]) -> list[Any]:
    table = table_of(entity)
    async with database.read() as session:
        return [tuple(row) for row in await session.execute(select(table).order_by(*table.primary_key))]


async def _market(pipeline: Pipeline) -> None:
    world = pipeline.world
    for n in range(4):
        await pipeline.accept(*eventful(world, 1_000 + n))
        await pipeline.round()
    await pipeline.settle_all()


async def test_catching_up_from_the_start_gives_what_the_live_mirror_has(
    pipeline: Pipeline, fresh: Database
) -> None:
    await _market(pipeline)
    pipeline.mine(300)
    await pipeline.follow()

    late = Pipeline(pipeline.world, fresh, pipeline.node, mirror_config=MirrorConfig(max_blocks=7))
    await late.prepare()
    await late.follow()

    for entity in MIRRORED:
        assert await _content(fresh, entity) == await _content(pipeline.database, entity), entity
    assert late.mirror.checkpoint == pipeline.mirror.checkpoint
    await late.check_reconciled()


async def test_blocks_are_forgotten_except_the_newest_and_those_with_records(pipeline: Pipeline) -> None:
    pipeline.mirror_config = MirrorConfig(kept_blocks=10)
    pipeline.restart()
    await _market(pipeline)
    for blocks in (3, 1, 25, 40, 1, 1):
        pipeline.mine(blocks)
        await pipeline.follow()

    numbers = {block.number for block in await pipeline.rows(tables.Block)}

    newest = pipeline.mirror.checkpoint
    assert newest is not None
    with_records = {record.block_number for record in await pipeline.rows(tables.Record)}
    assert numbers == with_records | set(range(newest - 9, newest + 1))


async def test_a_restarted_mirror_goes_on_at_its_checkpoint(pipeline: Pipeline) -> None:
    await pipeline.accept(pipeline.world.capture(1_000))
    await pipeline.round()
    pipeline.mirror = pipeline.new_mirror()
    assert await pipeline.mirror.tick() == 0  # the other one's lease
    await pipeline.take_over()
    await pipeline.accept(pipeline.world.capture(2_000))
    await pipeline.settle_all()

    assert len(await pipeline.rows(tables.Order)) == 2
    await pipeline.check_reconciled()


class _Liar(NodeClient):
    """A node whose logs are not what the contracts emitted."""

    change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]] = staticmethod(lambda logs: logs)

    async def logs(self, *args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        return type(self).change(await super().logs(*args, **kwargs))

    async def logs_of_blocks(self, *args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        return type(self).change(await super().logs_of_blocks(*args, **kwargs))


def _lie(
    pipeline: Pipeline, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]], database: Database
) -> Mirror:
    class Lying(_Liar):
        pass

    Lying.change = staticmethod(change)
    return Mirror(database, Lying(pipeline.world.node.url), pipeline.world.system.deployment)


async def _read_all(mirror: Mirror) -> None:
    await mirror.tick()
    while mirror.more:
        await mirror.tick()


async def test_a_changed_amount_does_not_have_the_sealed_root(pipeline: Pipeline, fresh: Database) -> None:
    await _market(pipeline)

    def change(logs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**log, "data": log["data"].replace(f"{1_001:064x}", f"{1_009:064x}")} for log in logs]

    mirror = _lie(pipeline, change, fresh)
    with pytest.raises(BatchRootMismatch, match="sealed over other records"):
        await _read_all(mirror)
    await mirror._node.close()
    async with fresh.read() as session:
        assert (await session.execute(select(tables.Record))).scalars().all() == []


async def test_missing_logs_are_noticed(pipeline: Pipeline, fresh: Database) -> None:
    await _market(pipeline)
    [first, *_] = await pipeline.transactions()

    def change(logs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [log for log in logs if log["transactionHash"] != "0x" + first.hash.hex()]

    mirror = _lie(pipeline, change, fresh)
    with pytest.raises(MirrorError):
        await _read_all(mirror)
    await mirror._node.close()


class _Behind(NodeClient):
    """One of several nodes behind an address: it has the headers, and of some blocks no logs yet."""

    async def logs(self, *args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        logs = await super().logs(*args, **kwargs)
        return [log for log in logs if int(log["blockNumber"], 16) % 2]


async def test_a_node_that_is_behind_with_its_logs_is_asked_for_each_block(
    pipeline: Pipeline, fresh: Database
) -> None:
    await _market(pipeline)
    async with _Behind(pipeline.world.node.url) as node:
        await _read_all(Mirror(fresh, node, pipeline.world.system.deployment))

    assert await _content(fresh, tables.Record) == await _content(pipeline.database, tables.Record)


async def test_a_database_of_another_deployment_is_refused(pipeline: Pipeline) -> None:
    await pipeline.follow()
    async with pipeline.database.write() as session:
        await session.execute(update(tables.ChainInfo).values(ledger_address=bytes(20)))
    await pipeline.take_over()

    with pytest.raises(DatabaseOfOtherChain):
        await pipeline.mirror.tick()
    with pytest.raises(DatabaseOfOtherChain):
        await pipeline.submitter.tick()


async def test_confirmations_keep_the_mirror_behind_the_head(pipeline: Pipeline) -> None:
    pipeline.mirror_config = MirrorConfig(confirmations=2)
    pipeline.restart()
    [seq] = await pipeline.accept(pipeline.world.capture(1_000))
    await pipeline.submit()
    pipeline.mine()
    await pipeline.follow()
    assert await pipeline.states(seq) == ["SUBMITTED"]
    pipeline.mine(2)
    await pipeline.follow()
    assert await pipeline.states(seq) == ["SETTLED"]


async def test_participants_unknown_to_the_database_are_no_trouble(
    pipeline: Pipeline, fresh: Database
) -> None:
    await _market(pipeline)
    late = Pipeline(pipeline.world, fresh, pipeline.node)
    await late.follow()
    assert await _content(fresh, tables.Participant) == []
    assert MALL.id in {row[3] for row in await _content(fresh, tables.Account)}
    await late.check_reconciled()
