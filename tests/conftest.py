"""Fixtures that every part of the suite may ask for."""

from __future__ import annotations

from typing import Any

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
from support.either import chosen
from support.sharing import SharingScheduler, end_what_is_over

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


def pytest_addoption(parser: pytest.Parser) -> None:
    """What the whole suite leaves out."""
    parser.addoption(
        "--both-databases", action="store_true", help="run tests marked either_database on both kinds"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of tests that may run on either database, one kind."""
    if config.getoption("both_databases"):
        return
    items[:], left_out = chosen(items)
    config.hook.pytest_deselected(items=left_out)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> SharingScheduler | None:
    """With `--dist loadgroup`, in place of xdist's."""
    return SharingScheduler(config, log) if config.getoption("dist") == "loadgroup" else None


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """After the test's own fixtures. Without workers, tests of the running system are not all in one row."""
    if hasattr(item.config, "workerinput"):
        end_what_is_over(item, nextitem)


def pytest_collection_finish(session: pytest.Session) -> None:  # noqa: ARG001 -- the hook's signature
    """What was imported and collected stays: the garbage collector need not walk it again and again."""
    settle_in()
