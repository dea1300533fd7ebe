"""Fixtures that every part of the suite may ask for."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from fenzhang.commands.settling import settle_in
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

# How long an example takes says nothing about what is tested, only about what else the machine is doing.
settings.register_profile("fenzhang", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fenzhang")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One worker has all tests of the running system: the system is started once, and idles for nobody."""
    for item in items:
        if isinstance(item, pytest.Function) and "fenzhang_system" in item.fixturenames:
            item.add_marker(pytest.mark.xdist_group("system"))


def pytest_collection_finish(session: pytest.Session) -> None:  # noqa: ARG001 -- the hook's signature
    """What was imported and collected stays: the garbage collector need not walk it again and again."""
    settle_in()
