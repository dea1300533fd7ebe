"""A small market to be compared with the chain, and what is found when its rows are changed."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import CursorResult

from fenzhang.ledger.differences import Difference
from fenzhang.ledger.reconcile import reconcile
from pipeline.harness import Pipeline
from pipeline.histories import eventful
from support.databases import drop_triggers

ON_SQLITE = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
"""What was changed is found by the same comparison whatever the database."""


async def play(pipeline: Pipeline) -> None:
    """Orders with all that can happen to one, in a database that lets itself be changed."""
    world = pipeline.world
    pipeline.mine()
    for n in range(3):
        currency = ("CNY", "USD", "CNY")[n]
        await pipeline.accept(*eventful(world, 1_000 + n, currency=currency, released=n == 2))
    await pipeline.settle_all()
    await drop_triggers(pipeline.database)


async def differences(pipeline: Pipeline) -> list[Difference]:
    """What a reconciliation finds."""
    return await reconcile(pipeline.database, pipeline.node, pipeline.world.system.deployment)


async def change(pipeline: Pipeline, statement: Any) -> None:
    """Change one row."""
    async with pipeline.database.write() as session:
        result = await session.execute(statement.execution_options(synchronize_session=False))
        assert isinstance(result, CursorResult)
        assert result.rowcount == 1
