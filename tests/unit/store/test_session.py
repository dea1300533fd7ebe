"""Transactions: committed or not at all, one writer at a time on SQLite, and outages that have a name."""

from __future__ import annotations

import asyncio
import gc
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError

from fenzhang.store.errors import DatabaseError, DatabaseUnavailable
from fenzhang.store.session import Database, _SqliteConnection
from fenzhang.store.tables import Counter, Instruction
from support.databases import create_postgres, drop_postgres


async def _value(database: Database) -> int | None:
    async with database.read() as session:
        return (await session.execute(select(Counter.value))).scalar_one_or_none()


async def test_a_write_is_committed_when_its_block_is_left(database: Database) -> None:
    async with database.write() as session:
        session.add(Counter(name="n", value=1))
    assert await _value(database) == 1


async def test_a_write_that_raises_leaves_nothing(database: Database) -> None:
    async def write() -> None:
        async with database.write() as session:
            session.add(Counter(name="n", value=1))
            await session.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await write()
    assert await _value(database) is None


async def test_reading_commits_nothing(database: Database) -> None:
    async with database.read() as session:
        session.add(Counter(name="n", value=1))
        await session.flush()
    assert await _value(database) is None


async def test_concurrent_writes_of_several_processes_lose_nothing(database_url: str) -> None:
    async with Database(database_url) as one, Database(database_url) as two:
        async with one.write() as session:
            session.add(Counter(name="n", value=0))

        async def add(database: Database) -> None:
            async with database.write() as session:
                await session.execute(text("UPDATE counters SET value = value + 1"))

        await asyncio.gather(*(add(database) for _ in range(20) for database in (one, two)))
        assert await _value(one) == 40


async def test_unique_violation_is_not_an_outage(database: Database) -> None:
    async with database.write() as session:
        session.add(Counter(name="n", value=1))
    with pytest.raises(IntegrityError):
        async with database.write() as session:
            session.add(Counter(name="n", value=2))


async def test_integers_beyond_64_bits_survive_in_json(database: Database) -> None:
    async with database.write() as session:
        session.add(
            Instruction(
                id=b"i",
                type="SPLIT",
                platform_id=b"p",
                app_id="a",
                reference="r",
                content={"nonce": 2**256 - 1},
                content_hash=b"",
                payload={},
                accepted_at=0,
            )
        )
    async with database.read() as session:
        content = (await session.execute(select(Instruction.content))).scalar_one()
    assert content == {"nonce": 2**256 - 1}


async def test_sqlite_is_durable_checks_foreign_keys_and_does_not_block_readers(
    migrated_sqlite: Path,
) -> None:
    async with Database(f"sqlite:///{migrated_sqlite}") as database, database.read() as session:
        for pragma, expected in (
            ("journal_mode", "wal"),
            ("synchronous", 2),
            ("foreign_keys", 1),
            ("busy_timeout", 15_000),
        ):
            assert (await session.execute(text(f"PRAGMA {pragma}"))).scalar_one() == expected


async def test_a_new_sqlite_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "fenzhang.db"
    async with Database(f"sqlite:///{path}") as database:
        await database.upgrade()
        async with database.write() as session:
            session.add(Counter(name="a", value=1))
        modes = _modes(tmp_path)
    assert modes.keys() >= {"fenzhang.db", "fenzhang.db-wal", "fenzhang.db-turn"}
    assert set(modes.values()) == {0o600}


def _modes(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()}


async def test_locked_sqlite_is_unavailable(
    migrated_sqlite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fenzhang.store.session.BUSY_TIMEOUT_MS", 50)
    path = shutil.copy(migrated_sqlite, tmp_path / "locked.db")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    async with Database(f"sqlite:///{path}") as database:
        with pytest.raises(DatabaseUnavailable) as refused:
            async with database.write():
                pass
        assert "locked" in refused.value.message
        other.execute("ROLLBACK")
        async with database.write() as session:
            session.add(Counter(name="n", value=1))
    other.close()


async def test_full_disk_is_unavailable_and_nothing_is_written(migrated_sqlite: Path, tmp_path: Path) -> None:
    path = shutil.copy(migrated_sqlite, tmp_path / "full.db")

    async def fill(database: Database) -> None:
        async with database.write() as session:
            pages = (await session.execute(text("PRAGMA page_count"))).scalar_one()
            await session.execute(text(f"PRAGMA max_page_count = {pages}"))
            session.add_all(Counter(name=f"n{i:030}", value=i) for i in range(5_000))

    async with Database(f"sqlite:///{path}") as database:
        with pytest.raises(DatabaseUnavailable) as refused:
            await fill(database)
        assert "full" in refused.value.message
        async with database.read() as session:
            assert (await session.execute(select(func.count()).select_from(Counter))).scalar_one() == 0


async def test_unreachable_server_is_unavailable_without_showing_the_password() -> None:
    async with Database("postgresql://user:secret@127.0.0.1:1/name") as database:
        for attempt in (database.check, database.upgrade):
            with pytest.raises(DatabaseUnavailable) as refused:
                await attempt()
            assert "secret" not in str(refused.value)
        with pytest.raises(DatabaseUnavailable):
            async with database.read():
                pass


@pytest.mark.postgres
async def test_server_that_goes_away_under_a_transaction_is_unavailable(
    postgres_server: str, migrated_postgres: str
) -> None:
    url = await create_postgres(postgres_server, migrated_postgres)

    async def write(database: Database) -> None:
        async with database.write() as session:
            await drop_postgres(postgres_server, url)
            await session.execute(text("SELECT 1"))

    async with Database(url) as database:
        with pytest.raises(DatabaseUnavailable):
            await write(database)


# ------------------------------------------------------------------------------ cancelled in the middle


@pytest.fixture
def no_collection() -> Iterator[None]:
    """Nothing is freed but by counting references, as it may well happen for a while in a real process."""
    gc.disable()
    yield
    gc.enable()
    gc.collect()


_WRITE = text(
    "INSERT INTO counters VALUES ('n', 1) ON CONFLICT (name) DO UPDATE SET value = counters.value + 1 RETURNING value"
)


async def _write_some(database: Database) -> None:
    async with database.write() as session:
        await session.execute(_WRITE)
        async with session.begin_nested():
            await session.execute(_WRITE)
        await session.execute(text("SELECT * FROM counters"))


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("cancellations", [1, 2])
async def test_a_write_that_is_cancelled_anywhere_is_all_or_nothing_and_holds_nobody_up(
    database: Database, cancellations: int
) -> None:
    await _write_some(database)
    raised: list[object] = []
    for steps in range(60):
        before = await _value(database) or 0
        writing = asyncio.create_task(_write_some(database))
        for _ in range(steps):
            await asyncio.sleep(0.0002)
        for _ in range(cancellations):
            writing.cancel()
            await asyncio.sleep(0)
        # Whoever keeps the exception keeps its traceback, and with it the cursor of the statement under way.
        raised += await asyncio.gather(writing, return_exceptions=True)
        started = time.monotonic()
        await _write_some(database)
        assert time.monotonic() - started < 5
        assert (await _value(database) or 0) - before in {2, 4}
    assert any(isinstance(error, asyncio.CancelledError) for error in raised)


async def test_closing_waits_for_those_who_still_have_a_session(database_url: str) -> None:
    reading, closing = Database(database_url), Database(database_url)
    entered, leave = asyncio.Event(), asyncio.Event()

    async def read() -> int | None:
        async with closing.read() as session:
            entered.set()
            await leave.wait()
            return (await session.execute(select(Counter.value))).scalar_one_or_none()

    async with reading:
        task = asyncio.create_task(read())
        await entered.wait()
        closed = asyncio.create_task(closing.close())
        await _value(reading)
        assert not closed.done()
        leave.set()
        assert await task is None
        await closed
    gc.collect()  # a connection that nobody closed would say so


def test_connection_that_is_closed_with_rows_unread_gives_its_lock_up(
    migrated_sqlite: Path, tmp_path: Path
) -> None:
    path = shutil.copy(migrated_sqlite, tmp_path / "closed.db")
    closed = _SqliteConnection(path)
    closed.execute("BEGIN IMMEDIATE")
    unread = closed.execute("INSERT INTO counters VALUES ('n', 1) RETURNING value")
    closed.close()
    with sqlite3.connect(path, timeout=0, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        assert other.execute("SELECT count(*) FROM counters").fetchone() == (0,)
    other.close()
    del unread


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
async def test_a_plan_is_made_for_the_tables_as_they_are(database: Database) -> None:
    """PostgreSQL would keep one after five executions, and tables grow."""
    async with database.read() as session:
        for place in range(20):
            await session.execute(select(Counter.value).where(Counter.name.in_(["n", str(place)])))
        kept = text("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'SELECT counters%'")
        assert (await session.execute(kept)).scalar_one() == 0


@pytest.mark.parametrize("url", ["mysql://host/name", "nonsense", ""])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(DatabaseError):
        Database(url)
