"""The one place where a database is opened and where transactions begin and commit.

Services get a session and never commit. The boundary (a request, a tick of a stage) wraps its work in
`Database.write()` or `Database.read()`. A write that returned is durable: SQLite runs with synchronous=FULL,
PostgreSQL with its default.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import orjson
from asyncpg import PostgresError  # type: ignore[import-untyped]  # asyncpg ships no types
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine

from fenzhang.store import migration
from fenzhang.store.errors import DatabaseError, DatabaseUnavailable
from fenzhang.store.turn import WriteTurn

BUSY_TIMEOUT_MS = 15_000
"""How long SQLite waits for another process's write transaction."""
PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    # Without it INSERT OR REPLACE deletes rows behind the back of the triggers that refuse to delete them.
    "recursive_triggers=ON",
    # In pages and KiB: the defaults (4 MB, 2 MB) have a full load write and read the same pages over and over.
    "wal_autocheckpoint=4000",
    "cache_size=-6144",
)
"""What every connection to SQLite is set to."""
CONNECT_TIMEOUT_S = 10
CLOSING_TIMEOUT_S = 10
_PERHAPS_TOO_LARGE = re.compile(r"[\[:,]\s*-?\d{19}")
"""Finds every integer above 64 bits, and some that are none: all have 19 digits or more."""
POSTGRES_RETRIABLE = frozenset(
    {
        "25P03",
        "28000",
        "28P01",
        "3D000",
        "40001",
        "40P01",
        "53100",
        "53200",
        "53300",
        "55P03",
        "57P01",
        "57P02",
        "57P03",
    }
)
"""Idle in a transaction, login refused, no such database, serialization failure, deadlock, disk full, out of memory,
too many connections, lock, shutdown."""


class Database:
    """A database with its sessions: SQLite (`sqlite:///file`) or PostgreSQL (`postgresql://…`).

    The drivers are aiosqlite and asyncpg, named or not. Raises DatabaseError for any other URL.
    """

    def __init__(self, url: str | URL) -> None:
        self.url = _with_driver(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._reader = _create_engine(self.url)
        self._writer = self._reader.execution_options(sqlite_begin="BEGIN IMMEDIATE")
        self._turn = _turn_of(self.url)
        self._sessions = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A session for reading. Nothing is committed. Raises DatabaseUnavailable."""
        with self._counted():
            async with _translating(), AsyncSession(self._reader, expire_on_commit=False) as session:
                await _connect(session)
                yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """A session in a write transaction: committed on leaving, rolled back on an exception.

        Raises DatabaseUnavailable when it could not be committed, or when the answer to the commit was lost: then it
        may have been done, and what is written must bear being found there.
        """
        async with AsyncExitStack() as stack:
            stack.enter_context(self._counted())
            await stack.enter_async_context(_translating())
            if self._turn is not None:
                await stack.enter_async_context(self._turn.taken())
            session = await stack.enter_async_context(AsyncSession(self._writer, expire_on_commit=False))
            async with session.begin():
                # SQLAlchemy begins on first use; a writer must hold SQLite's write lock before it reads.
                await _connect(session)
                yield session

    async def upgrade(self) -> None:
        """Bring the database to the newest version. Several processes may try. Raises DatabaseNewer.

        A new SQLite file is its owner's alone: it holds keys, although encrypted.
        """
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(_translating())
            if self._turn is not None:
                with suppress(OSError):  # that it exists is no fault, and what else is wrong SQLite will say
                    os.close(os.open(str(self.url.database), os.O_CREAT | os.O_EXCL, 0o600))
                # The first connection changes how the file is written, and SQLite lets nobody wait for that.
                await stack.enter_async_context(self._turn.taken())
            connection = await stack.enter_async_context(_connected(self._writer))
            await stack.enter_async_context(connection.begin())
            await connection.run_sync(migration.upgrade)

    async def check(self) -> None:
        """Raises DatabaseNotMigrated or DatabaseNewer unless the database is exactly of this version."""
        async with _translating(), _connected(self._reader) as connection:
            await connection.run_sync(migration.check)

    async def close(self) -> None:
        """Close all connections, when those who still have a session have ended, for which there is some time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSING_TIMEOUT_S):
                await self._idle.wait()
        await self._reader.dispose()
        if self._turn is not None:
            self._turn.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """For a session's life: a pool that is disposed of forgets the connections that are in use."""
        self._sessions += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._sessions -= 1
            if not self._sessions:
                self._idle.set()


async def _connect(session: AsyncSession) -> None:
    with _reaching():
        await session.connection()


@asynccontextmanager
async def _connected(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    async with AsyncExitStack() as stack:
        with _reaching():
            connection = await stack.enter_async_context(engine.connect())
        yield connection


@contextmanager
def _reaching() -> Iterator[None]:
    """For connecting alone, where whatever is wrong is the database's: no such database, no such user, no server."""
    try:
        yield
    except DBAPIError as error:
        raise DatabaseUnavailable(f"the database does not answer: {_describe(error)}") from error
    except (OSError, PostgresError) as error:
        raise DatabaseUnavailable(f"the database cannot be reached: {error}") from error


def _with_driver(url: str | URL) -> URL:
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except ArgumentError as error:
        raise DatabaseError("the database URL cannot be read") from error
    match backend:
        case "sqlite":
            return parsed.set(drivername="sqlite+aiosqlite")
        case "postgresql" | "postgres":
            return parsed.set(drivername="postgresql+asyncpg")
    raise DatabaseError(f"databases are sqlite or postgresql, not {backend}", backend=backend)


def _turn_of(url: URL) -> WriteTurn | None:
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        return None
    return WriteTurn(Path(f"{url.database}-turn"), BUSY_TIMEOUT_MS / 1000)


def _create_engine(url: URL) -> AsyncEngine:
    options: dict[str, Any] = {
        "json_serializer": _dump_json,
        "json_deserializer": _load_json,
        # What a statement failed with may be logged, what a client sent with it may not.
        "hide_parameters": True,
    }
    if url.get_backend_name() == "sqlite":
        if url.database and url.database != ":memory:":
            options |= {"pool_size": 4, "max_overflow": 12}
        connecting = {"timeout": BUSY_TIMEOUT_MS / 1000, "factory": _SqliteConnection}
        engine = create_async_engine(url, connect_args=connecting, **options)
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
        return engine
    return create_async_engine(
        url,
        # A statement that is kept keeps its plan, too: made when a table was small, it reads all of it, and goes on
        # doing so as it grows, until the server's next analysis.
        connect_args={"timeout": CONNECT_TIMEOUT_S, "prepared_statement_cache_size": 0},
        pool_size=10,
        max_overflow=10,
        pool_pre_ping=True,
        **options,
    )


def _dump_json(value: object) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # an integer above 64 bits
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _load_json(text: str) -> Any:
    # The standard library's JSON keeps integers of any size; orjson turns those above 64 bits into floats.
    return json.loads(text) if _PERHAPS_TOO_LARGE.search(text) else orjson.loads(text)


class _SqliteConnection(sqlite3.Connection):
    """A connection that is set up when it is open, and whose transaction is over when it is closed.

    By itself SQLite keeps a closed connection's transaction, and its lock, until the last cursor is gone. After a
    cancellation, that is whenever the garbage collector finds the traceback.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        # Python's sqlite3 would begin transactions too late and never IMMEDIATE; `_begin_sqlite` does instead.
        super().__init__(*arguments, **options | {"isolation_level": None})
        for pragma in PRAGMAS:
            self.execute(f"PRAGMA {pragma}").close()

    def close(self) -> None:
        """Roll back and close."""
        with suppress(sqlite3.Error):
            self.rollback()
        super().close()


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN"))


@asynccontextmanager
async def _translating() -> AsyncIterator[None]:
    """Turn what drivers raise about an unreachable, locked or full database into DatabaseUnavailable."""
    try:
        yield
    except IntegrityError:
        raise
    except DBAPIError as error:
        if _is_unavailable(error):
            raise DatabaseUnavailable(f"the database does not answer: {_describe(error)}") from error
        raise
    except PoolTimeout as error:
        raise DatabaseUnavailable("all database connections are in use") from error


def _is_unavailable(error: DBAPIError) -> bool:
    if error.connection_invalidated or isinstance(error, OperationalError):
        # For SQLite, OperationalError is also a missing table or a wrong statement.
        return not isinstance(error.orig, sqlite3.OperationalError) or _is_sqlite_outage(error.orig)
    sqlstate = str(getattr(error.orig, "sqlstate", "") or "")
    return isinstance(error, InterfaceError) or sqlstate.startswith("08") or sqlstate in POSTGRES_RETRIABLE


def _is_sqlite_outage(error: sqlite3.Error) -> bool:
    name = str(getattr(error, "sqlite_errorname", ""))
    return name.startswith(
        ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY")
    )


def _describe(error: DBAPIError) -> str:
    """The driver's words without statement and parameters, which may carry what a client sent."""
    return str(error.orig).splitlines()[0] if str(error.orig) else type(error.orig).__name__
