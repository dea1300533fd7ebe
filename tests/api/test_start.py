"""Starting, and outages: what cannot work is refused at once, what may come back is waited for."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from fenzhang.chain.deployments import save
from fenzhang.chain.errors import DeploymentInvalid, DeploymentMismatch
from fenzhang.cli import app as cli
from fenzhang.commands.serve_api import check_and_serve, server
from fenzhang.devnet import ephemeral_node
from fenzhang.settings import SecretUnreadable, Settings
from fenzhang.store.errors import (
    DatabaseError,
    DatabaseNewer,
    DatabaseNotMigrated,
    DatabaseOfOtherChain,
)
from fenzhang.store.session import Database
from support.api import DEAD_NODE, DEPLOYMENT, JWT_KEY, Api, order, populate, running_api
from support.databases import SQLITE, drop_postgres
from support.node import HandNode
from support.system import System, deploy_system


def _settings(tmp_path: Path, **changes: Any) -> Settings:
    values: dict[str, Any] = {
        "home": tmp_path,
        "jwt_secret": JWT_KEY,
        "rpc_url": DEAD_NODE,
        "api_port": 0,
        "deployment": tmp_path / "deployment.json",
    }
    return Settings(**values | changes)


async def _start(settings: Settings) -> None:
    await check_and_serve(server(settings))


# ------------------------------------------------------------------------------ refused at the start


async def test_database_of_another_version_is_refused(database: Database, tmp_path: Path) -> None:
    save(tmp_path / "deployment.json", replace(DEPLOYMENT, code_hashes=_hashes()))
    settings = _settings(tmp_path, database_url=database.url.render_as_string(hide_password=False))
    for version, error in (("9999", DatabaseNewer), (None, DatabaseNotMigrated)):
        async with database.write() as session:
            if version is None:
                await session.execute(text("DELETE FROM alembic_version"))
            else:
                await session.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": version})
        with pytest.raises(error):
            await _start(settings)


async def test_database_of_another_chain_is_refused(database: Database, tmp_path: Path) -> None:
    async with running_api(database, tmp_path):
        pass
    async with running_api(database, tmp_path):
        pass
    other = replace(DEPLOYMENT, chain_id=1, code_hashes=_hashes())
    save(tmp_path / "deployment.json", other)
    with pytest.raises(DatabaseOfOtherChain) as refused:
        await _start(_settings(tmp_path, database_url=database.url.render_as_string(hide_password=False)))
    assert refused.value.values["found_chain_id"] == DEPLOYMENT.chain_id


def _hashes() -> dict[str, bytes]:
    return dict.fromkeys(DEPLOYMENT.addresses, b"c" * 32)


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """The contracts on a real node."""
    with ephemeral_node(automine=False) as running:
        node = HandNode(running.url)
        yield deploy_system(node)
        node.close()


@pytest.mark.node
@pytest.mark.parametrize("database_kind", [SQLITE], indirect=True)
@pytest.mark.parametrize(
    "changes", [{"chain_id": 1}, {"split_ledger": b"x" * 20}, {"genesis_hash": b"x" * 32}]
)
async def test_deployment_of_another_chain_is_refused(
    database_url: str, tmp_path: Path, system: System, changes: dict[str, Any]
) -> None:
    save(tmp_path / "deployment.json", replace(system.deployment, **changes))
    with pytest.raises(DeploymentMismatch):
        await _start(_settings(tmp_path, database_url=database_url, rpc_url=system.node.url))


@pytest.mark.parametrize("content", [None, b"", b"{}", b'{"format": 3}'])
def test_deployment_file_that_is_none_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "deployment.json").write_bytes(content)
    with pytest.raises(DeploymentInvalid):
        server(_settings(tmp_path))


async def test_an_unreachable_database_is_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path / "deployment.json", replace(DEPLOYMENT, code_hashes=_hashes()))
    starting = asyncio.create_task(_start(_settings(tmp_path, database_url="postgresql://u:p@127.0.0.1:1/x")))
    async with asyncio.timeout(30):
        while "api waits: the database cannot be reached" not in caplog.text:
            assert not starting.done()
            await asyncio.sleep(0.05)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting


def test_a_nonsensical_database_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "deployment.json", replace(DEPLOYMENT, code_hashes=_hashes()))
    with pytest.raises(DatabaseError):
        server(_settings(tmp_path, database_url="mysql://x/y"))


def test_command_says_in_one_line_why_it_cannot_start(tmp_path: Path) -> None:
    environment = {"FENZHANG_HOME": str(tmp_path), "FENZHANG_DEPLOYMENT": str(tmp_path / "none.json")}
    result = CliRunner().invoke(cli, ["serve", "api"], env=environment)
    assert isinstance(result.exception, DeploymentInvalid)
    assert "none.json" in str(result.exception)


# ------------------------------------------------------------------------------ outages


async def test_node_that_is_away_does_not_stop_intake(api: Api) -> None:
    assert (await api.mall.post("/v1/orders", json=order())).status_code == 202
    assert (await api.anybody.get("/readyz")).status_code == 200


@pytest.mark.parametrize("database_kind", [SQLITE], indirect=True)
async def test_locked_database_is_503_and_what_was_asked_can_be_asked_again(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fenzhang.store.session.BUSY_TIMEOUT_MS", 50)
    async with Database(database_url) as database:
        await populate(database)
        async with running_api(database, tmp_path) as api:
            other = sqlite3.connect(database_url.removeprefix("sqlite:///"), isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            answer = await api.mall.post("/v1/orders", json=order())
            assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
            assert answer.headers["retry-after"] == "1"
            # Readers are not held up.
            assert (await api.mall.get("/v1/participants")).status_code == 200
            other.execute("ROLLBACK")
            other.close()
            assert (await api.mall.post("/v1/orders", json=order())).status_code == 202


@pytest.mark.postgres
async def test_database_that_goes_away_is_503_everywhere(
    postgres_server: str, migrated_postgres: str, tmp_path: Path
) -> None:
    from support.databases import create_postgres

    url = await create_postgres(postgres_server, migrated_postgres)
    async with Database(url) as database:
        await populate(database)
        async with running_api(database, tmp_path) as api:
            await drop_postgres(postgres_server, url)
            for answer in (
                await api.mall.post("/v1/orders", json=order()),
                await api.mall.get("/v1/orders/order-1"),
                await api.anybody.get("/readyz"),
            ):
                assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
                assert "retry-after" in answer.headers
            assert (await api.anybody.get("/healthz")).status_code == 200


async def test_migration_by_a_newer_version_during_work_makes_the_process_unready(api: Api) -> None:
    async with api.database.write() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    answer = await api.anybody.get("/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "database_newer")


# ------------------------------------------------------------------------------ settings


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FENZHANG_HOME", str(tmp_path))
    monkeypatch.setenv("FENZHANG_DATABASE_URL", "postgresql://u@h/n")
    monkeypatch.setenv("FENZHANG_API_PORT", "9000")
    monkeypatch.setenv("FENZHANG_JWT_SECRET", "s" * 40)
    settings = Settings()
    assert (settings.home, settings.database, settings.api_port) == (tmp_path, "postgresql://u@h/n", 9_000)
    assert settings.jwt_key() == "s" * 40
    assert "s" * 40 not in repr(settings)
    monkeypatch.setenv("FENZHANG_HOME", "")
    with pytest.raises(ValueError, match="empty"):
        Settings()


async def test_secrets_are_made_once_for_all_processes_and_for_nobody_else(tmp_path: Path) -> None:
    settings = [Settings(home=tmp_path / "home") for _ in range(8)]
    made = await asyncio.gather(*(asyncio.to_thread(one.jwt_key) for one in settings))
    assert len(set(made)) == 1
    assert len(made[0]) == 64
    assert settings[0].keystore_secret() != made[0]
    files = sorted((tmp_path / "home").iterdir())
    assert [file.name for file in files] == ["jwt_secret", "keystore_password"]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert settings[0].database == f"sqlite:///{tmp_path / 'home' / 'fenzhang.db'}"


def test_secret_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "jwt_secret").write_text("")
    with pytest.raises(SecretUnreadable):
        Settings(home=tmp_path).jwt_key()
    (tmp_path / "file").write_text("")
    with pytest.raises(SecretUnreadable):
        Settings(home=tmp_path / "file").jwt_key()
