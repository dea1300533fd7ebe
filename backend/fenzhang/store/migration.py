"""Which version a database has, and how it gets to the newest. The revisions are in `migrations/versions`."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from fenzhang.store.errors import DatabaseNewer, DatabaseNotMigrated

MIGRATIONS = Path(__file__).parent / "migrations"
_POSTGRES_LOCK = 0x66656E7A68616E67
"""Advisory lock ("fenzhang" in ASCII) that one upgrade at a time holds."""


def configuration(connection: Connection | None = None) -> Config:
    """Alembic's configuration; `connection` is the one that the revisions run on."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def head() -> str:
    """The newest revision that this version of fenzhang knows."""
    revision = ScriptDirectory.from_config(configuration()).get_current_head()
    if revision is None:
        raise DatabaseNotMigrated("no migrations are installed")
    return revision


def current(connection: Connection) -> str | None:
    """The revision of the database, None when it is empty."""
    # As in `migrations/env.py`; otherwise every start would log that SQLite has no transactional DDL.
    return MigrationContext.configure(connection, opts={"transactional_ddl": True}).get_current_revision()


def upgrade(connection: Connection) -> None:
    """Run the missing revisions in the caller's transaction. Raises DatabaseNewer."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _POSTGRES_LOCK})
    _refuse_newer(current(connection))
    command.upgrade(configuration(connection), "head")


def check(connection: Connection) -> None:
    """Raises DatabaseNotMigrated or DatabaseNewer unless the database has the newest revision."""
    revision = current(connection)
    _refuse_newer(revision)
    if revision != head():
        raise DatabaseNotMigrated(
            "the database is not up to date; run `fenzhang db upgrade`", found=revision, expected=head()
        )


def _refuse_newer(revision: str | None) -> None:
    if revision is None:
        return
    known = {script.revision for script in ScriptDirectory.from_config(configuration()).walk_revisions()}
    if revision not in known:
        raise DatabaseNewer(
            "the database belongs to a newer version of fenzhang", found=revision, expected=head()
        )
