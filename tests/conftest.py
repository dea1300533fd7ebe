"""Fixtures that every part of the suite may ask for."""

from __future__ import annotations

from support.databases import (
    database,
    database_kind,
    database_url,
    empty_database_url,
    migrated_postgres,
    migrated_sqlite,
    postgres_server,
)

__all__ = [
    "database",
    "database_kind",
    "database_url",
    "empty_database_url",
    "migrated_postgres",
    "migrated_sqlite",
    "postgres_server",
]
