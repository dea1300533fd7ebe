"""An API on each kind of database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fenzhang.store.session import Database
from support.api import Api, populate, running_api


@pytest.fixture
async def api(database: Database, tmp_path: Path) -> AsyncIterator[Api]:
    """A running API with the consortium of support.api, and no node."""
    await populate(database)
    async with running_api(database, tmp_path) as running:
        yield running
