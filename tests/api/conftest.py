"""An API on each kind of database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from fenzhang.store.session import Database
from support.api import Api, populate, running_api
from support.databases import fresh_database


@pytest.fixture
async def api(database: Database, tmp_path: Path) -> AsyncIterator[Api]:
    """A running API with the consortium of support.api, and no node."""
    await populate(database)
    async with running_api(database, tmp_path) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared_api(
    database_kind: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Api]:
    """The same, one for all tests of a module that leave it as it is."""
    home = tmp_path_factory.mktemp("shared")
    async with fresh_database(database_kind, request, home) as url, Database(url) as database:
        await populate(database)
        async with running_api(database, home) as running:
            yield running
