"""Which version a database has, and how it gets to the newest. The revisions are in `migrations/versions`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from fenzhang.store.errors import DatabaseNewer, DatabaseNotMigrated

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).parent / "migrations"
VERSIONS = MIGRATIONS / "versions"
_POSTGRES_LOCK = 0x66656E7A68616E67
"""Advisory lock ("fenzhang" in ASCII) that one upgrade at a time holds."""


def revisions() -> list[str]:
    """Names of all revisions that this version of fenzhang knows, in their order; their files begin with them."""
    return sorted(file.name.partition("_")[0] for file in VERSIONS.glob("[0-9]*_*.py"))


def head() -> str:
    """The newest revision that this version of fenzhang knows."""
    return revisions()[-1]


def current(connection: Connection) -> str | None:
    """The revision of the database, None when it is empty."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def configuration(connection: Connection | None = None) -> Config:
    """Alembic's configuration; `connection` is the one that the revisions run on."""
    from alembic.config import Config  # ten megabytes, which no process needs that only looks at the version

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def upgrade(connection: Connection) -> None:
    """Run the missing revisions in the caller's transaction. Raises DatabaseNewer."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _POSTGRES_LOCK})
    _refuse_newer(current(connection))
    from alembic import command  # see `configuration`

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
    if revision not in revisions():
        raise DatabaseNewer(
            "the database belongs to a newer version of fenzhang", found=revision, expected=head()
        )
