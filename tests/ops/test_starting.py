"""Stages that start while something goes away wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.api.app import check_start, create_app
from fenzhang.commands import serve_clearing, serve_stages
from fenzhang.settings import Settings
from fenzhang.store.errors import DatabaseUnavailable
from fenzhang.store.session import Database
from fenzhang.submission.errors import SigningKeyMissing
from pipeline.harness import Pipeline

pytestmark = pytest.mark.either_database


class GoesAway(Database):
    """There when the process looked whether it is, and then not for a moment."""

    away = 0
    """So many times."""

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """Raises DatabaseUnavailable the first times."""
        self._perhaps_refuse()
        async with super().read() as session:
            yield session

    async def check(self) -> None:
        """Raises DatabaseUnavailable the first times."""
        self._perhaps_refuse()
        await super().check()

    def _perhaps_refuse(self) -> None:
        if self.away:
            self.away -= 1
            raise DatabaseUnavailable("the database does not answer: it is starting up")


@pytest.mark.parametrize(
    "make",
    [partial(serve_stages._submission, ()), serve_clearing._clearing],
    ids=["submission", "clearing"],
)
async def test_a_database_that_goes_away_while_a_stage_starts_is_waited_for(
    pipeline: Pipeline, database_url: str, tmp_path: Path, make: serve_stages.Make
) -> None:
    settings = Settings(home=tmp_path, keystore_password=SecretStr("of the tests"))
    async with GoesAway(database_url) as database:
        database.away = 2
        run = make(settings, database, pipeline.node, pipeline.world.system.deployment)
        # It comes as far as the keys, of which this database has none.
        with pytest.raises(SigningKeyMissing):
            await asyncio.wait_for(run(asyncio.Event()), 20)
        assert database.away == 0


async def test_a_database_that_goes_away_after_the_api_looked_for_it_does_not_end_the_api(
    pipeline: Pipeline, database_url: str, tmp_path: Path
) -> None:
    async with GoesAway(database_url) as database:
        app = create_app(
            Settings(home=tmp_path),
            database=database,
            node=pipeline.node,
            deployment=pipeline.world.system.deployment,
        )
        await check_start(app.state.services)
        database.away = 2
        async with app.router.lifespan_context(app):
            assert app.state.services.database is database
