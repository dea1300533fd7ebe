"""A history that is settled once for all tests of a module; each test goes on from its end, with all to itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from fenzhang.chain.node import NodeClient
from fenzhang.store.session import Database
from pipeline.harness import Pipeline, What
from support.databases import copied_database, fresh_database
from support.world import World

Play = Callable[[Pipeline], Awaitable[None]]
"""What happens in a history."""


def eventful(world: World, amount: int, *, currency: str = "CNY", released: bool = True) -> list[What]:
    """An order with all that can happen to one: a capture, a split, one that is too large, a return, a release."""
    capture = world.capture(amount, currency=currency)
    split = world.split(capture.order_id, 600)
    return [
        capture,
        split,
        world.split(capture.order_id, 5_000),
        world.give_back(capture.order_id, split.id, 100),
        *([world.release(capture.order_id)] if released else []),
    ]


@dataclass(frozen=True, slots=True)
class History:
    """Its end: on the chain, to which `world` brings every test back, and in a database, to be copied."""

    world: World
    kind: str
    url: str
    references: int
    """So many instructions have been accepted."""

    @asynccontextmanager
    async def again(self, request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[Pipeline]:
        """New stages on the chain and a copy of the database. The test must ask for `world` before."""
        async with (
            copied_database(self.kind, request, self.url, folder) as url,
            Database(url) as database,
            NodeClient(self.world.node.url) as node,
        ):
            numbers = count(self.references + 1)
            pipeline = Pipeline(self.world, database, node, _numbers=numbers)
            await pipeline.follow()
            yield pipeline


@asynccontextmanager
async def settled(
    world: World,
    kind: str,
    request: pytest.FixtureRequest,
    folder: Path,
    play: Play,
) -> AsyncIterator[History]:
    """What comes of `play`. The world is brought back in the end."""
    saved = world.save()
    async with fresh_database(kind, request, folder) as url:
        async with Database(url) as database, NodeClient(world.node.url) as node:
            pipeline = Pipeline(world, database, node)
            await pipeline.prepare()
            await play(pipeline)
            # Stages of the tests are others.
            await pipeline.take_over()
            references = next(pipeline._numbers) - 1
        yield History(world, kind, url, references)
    world.restore(saved)
