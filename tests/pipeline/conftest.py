"""A deployed world per session, brought back after each test, and stages between it and a fresh database."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from fenzhang.chain.node import NodeClient
from fenzhang.devnet import ephemeral_node
from fenzhang.store.session import Database
from pipeline.harness import Pipeline
from pipeline.histories import History, Play, settled
from pipeline.processes import processes
from support.node import HandNode
from support.world import World, build_world

__all__ = ["built_world", "continued", "history", "pipeline", "processes", "world"]

KEPT_STATES = 200
"""Enough for what one test asks of the past, although the blocks of tests before it count."""


@pytest.fixture(scope="session")
def built_world() -> Iterator[World]:
    """The world as it was built."""
    with ephemeral_node(automine=False, history_blocks=KEPT_STATES) as running:
        node = HandNode(running.url)
        yield build_world(node)
        node.close()


@pytest.fixture
def world(built_world: World) -> Iterator[World]:
    """The built world for one test, brought back afterwards."""
    saved = built_world.save()
    # Else empty blocks may be those of an earlier test, and anvil forgets the state of a block by its hash.
    built_world.node.request("anvil_setCoinbase", "0x" + secrets.token_hex(20))
    yield built_world
    built_world.restore(saved)


@pytest.fixture
async def pipeline(world: World, database: Database) -> AsyncIterator[Pipeline]:
    """Stages on the world and the database, which every test gets in both kinds."""
    async with NodeClient(world.node.url) as node:
        pipeline = Pipeline(world, database, node)
        await pipeline.prepare()
        yield pipeline


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def history(
    built_world: World,
    database_kind: str,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    played: Play,
) -> AsyncIterator[History]:
    """What comes of the module's `played`."""
    folder = tmp_path_factory.mktemp("history")
    async with settled(built_world, database_kind, request, folder, played) as found:
        yield found


@pytest.fixture
async def continued(
    history: History,
    world: World,  # noqa: ARG001 -- brings the chain back
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> AsyncIterator[Pipeline]:
    """The end of the history, for one test."""
    async with history.again(request, tmp_path) as pipeline:
        yield pipeline
