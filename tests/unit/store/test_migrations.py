"""Migrations make exactly the tables that the code declares, and refuse what they do not know."""

from __future__ import annotations

import asyncio

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from fenzhang.store import migration
from fenzhang.store.errors import DatabaseNewer, DatabaseNotMigrated
from fenzhang.store.session import Database
from fenzhang.store.tables import Base


def _differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(
        connection, opts={"compare_type": True, "compare_server_default": True}
    )
    return list(compare_metadata(context, Base.metadata))


async def test_migrated_database_has_the_tables_that_the_code_declares(empty_database_url: str) -> None:
    async with Database(empty_database_url) as database:
        await database.upgrade()
        async with database._reader.connect() as connection:
            assert await connection.run_sync(_differences) == []


async def test_partial_index_of_open_instructions_is_partial(database: Database) -> None:
    def where(connection: Connection) -> str:
        [index] = [
            index
            for index in inspect(connection).get_indexes("instructions")
            if index["name"] == "ix_instructions_open"
        ]
        return " ".join(map(str, index["dialect_options"].values()))

    async with database._reader.connect() as connection:
        assert "ACCEPTED" in await connection.run_sync(where)


async def test_empty_database_is_refused_until_it_is_upgraded(empty_database_url: str) -> None:
    async with Database(empty_database_url) as database:
        with pytest.raises(DatabaseNotMigrated):
            await database.check()
        await database.upgrade()
        await database.check()


async def test_upgrading_twice_and_at_the_same_time_changes_nothing(empty_database_url: str) -> None:
    async with (
        Database(empty_database_url) as one,
        Database(empty_database_url) as two,
    ):
        await asyncio.gather(one.upgrade(), two.upgrade())
        await one.upgrade()
        await two.check()


async def test_database_of_a_newer_version_is_refused_and_left_alone(database: Database) -> None:
    async with database.write() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseNewer) as refused:
        await database.check()
    assert refused.value.code == "database_newer"
    assert refused.value.values == {"found": "9999", "expected": migration.head()}
    with pytest.raises(DatabaseNewer):
        await database.upgrade()
