"""Migrations make exactly the tables that the code declares, and refuse what they do not know."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, select, text

from fenzhang.store import migration
from fenzhang.store.errors import DatabaseNewer, DatabaseNotMigrated
from fenzhang.store.session import Database
from fenzhang.store.tables import Base, Instruction


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


async def test_a_database_of_the_first_version_is_upgraded_with_its_rows(empty_database_url: str) -> None:
    def first_version(connection: Connection) -> None:
        command.upgrade(migration.configuration(connection), "0001")

    async with Database(empty_database_url) as database:
        async with database._writer.begin() as connection:
            await connection.run_sync(first_version)
        with pytest.raises(DatabaseNotMigrated):
            await database.check()
        async with database.write() as session:
            await session.execute(_OLD_ROW, {"bytes": b"\x01" * 32})

        await database.upgrade()

        await database.check()
        async with database.write() as session:
            [old] = (await session.execute(select(Instruction))).scalars()
            assert (old.reference, old.content, old.state) == ("old", {"amount": 7}, "ACCEPTED")
            assert old.request_id is None
            old.request_id = "x" * 64
        async with database.read() as session:
            assert (await session.execute(select(Instruction.request_id))).scalars().all() == ["x" * 64]


def test_the_revisions_are_those_that_alembic_finds() -> None:
    scripts = ScriptDirectory.from_config(migration.configuration())
    assert migration.revisions() == sorted(script.revision for script in scripts.walk_revisions())
    assert migration.head() == scripts.get_current_head()


def test_a_process_that_only_looks_at_the_version_does_without_alembic() -> None:
    script = "import sys, fenzhang.store.session, fenzhang.api.app; print('alembic' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "False\n"


_OLD_ROW = text(
    "INSERT INTO instructions (id, type, platform_id, app_id, reference, order_id, content, content_hash, payload, "
    "state, accepted_at) VALUES (:bytes, 'CAPTURE', :bytes, 'app', 'old', :bytes, '{\"amount\": 7}', :bytes, '{}', "
    "'ACCEPTED', 1)"
)


async def test_database_of_a_newer_version_is_refused_and_left_alone(database: Database) -> None:
    async with database.write() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseNewer) as refused:
        await database.check()
    assert refused.value.code == "database_newer"
    assert refused.value.values == {"found": "9999", "expected": migration.head()}
    with pytest.raises(DatabaseNewer):
        await database.upgrade()
