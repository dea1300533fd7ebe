"""Commands of this project as processes on a pipeline's database and node."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from fenzhang.chain.deployments import save
from fenzhang.chain.keystore import encrypt_key
from fenzhang.chain.signer import LocalKey
from fenzhang.store import keys
from pipeline.harness import Pipeline
from support.api import JWT_KEY
from support.parties import MALL, SHOP
from support.processes import Processes
from support.system import BANK, SUBMITTER

PASSWORD = "a password of the tests"
CHEAP = 1 << 4
"""scrypt's n for keys that need no guarding."""


@pytest.fixture
def processes(pipeline: Pipeline, tmp_path: Path) -> Iterator[Processes]:
    """Commands that see the pipeline's database, node and deployment."""
    deployment = tmp_path / "deployment.json"
    save(deployment, pipeline.world.system.deployment)
    processes = Processes(
        {
            "FENZHANG_HOME": str(tmp_path),
            "FENZHANG_DATABASE_URL": pipeline.database.url.render_as_string(hide_password=False),
            "FENZHANG_RPC_URL": pipeline.world.node.url,
            "FENZHANG_DEPLOYMENT": str(deployment),
            "FENZHANG_KEYSTORE_PASSWORD": PASSWORD,
            "FENZHANG_JWT_SECRET": JWT_KEY,
            "FENZHANG_LOG": "json",
        },
        tmp_path,
    )
    yield processes
    processes.end()


async def store_keys(pipeline: Pipeline, more: Mapping[str, LocalKey] | None = None) -> None:
    """Put the keys of the stages, and some more by label, into the database."""
    stored: dict[str, LocalKey] = {
        keys.SUBMITTER: SUBMITTER,
        keys.ATTESTOR: BANK,
        keys.platform_label(MALL.id): MALL.key,
        keys.platform_label(SHOP.id): SHOP.key,
        **(more or {}),
    }
    async with pipeline.database.write() as session:
        for label, key in stored.items():
            keys.add(session, label, key.address, encrypt_key(key, PASSWORD, work_factor=CHEAP))


async def mine_until_settled(pipeline: Pipeline, timeout_s: float = 120.0) -> None:
    """A block every tenth of a second, until every instruction has its outcome."""
    async with asyncio.timeout(timeout_s):
        while await pipeline.open_count():
            pipeline.mine()
            await asyncio.sleep(0.1)


def children_of(pid: int) -> list[int]:
    """Processes that `pid` has started and that still run."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid: int) -> bool:
    """Whether there is such a process."""
    return Path(f"/proc/{pid}").exists()


async def until_alive(port: int) -> None:
    """Until the API on this port answers."""
    async with asyncio.timeout(120), httpx.AsyncClient() as client:
        while True:
            with contextlib.suppress(httpx.TransportError):
                if (await client.get(f"http://127.0.0.1:{port}/healthz")).is_success:
                    return
            await asyncio.sleep(0.1)
