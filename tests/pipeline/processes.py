"""Commands of this project as processes on a pipeline's database and node."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from fenzhang.chain.deployments import save
from fenzhang.chain.keystore import encrypt_key
from fenzhang.chain.signer import LocalKey
from fenzhang.store import keys
from pipeline.harness import Pipeline
from support.parties import MALL
from support.system import BANK, SUBMITTER

PASSWORD = "a password of the tests"
CHEAP = 1 << 4
"""scrypt's n for keys that need no guarding."""


class Processes:
    """Starts commands of this project, and leaves none behind."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._running: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Run `fenzhang` with these arguments."""
        process = subprocess.Popen(
            [sys.executable, "-m", "fenzhang", *arguments],
            env={**os.environ, **self._environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._running.append(process)
        return process

    async def run(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, standard output and standard error of a command that ends by itself."""
        process = self.start(*arguments)
        out, err = await asyncio.to_thread(process.communicate, timeout=60)
        return process.returncode, out, err

    def end(self) -> None:
        """Kill what still runs."""
        for process in self._running:
            process.kill()
            process.communicate()


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
        }
    )
    yield processes
    processes.end()


async def store_keys(pipeline: Pipeline, more: Mapping[str, LocalKey] | None = None) -> None:
    """Put the keys of the stages, and some more by label, into the database."""
    stored: dict[str, LocalKey] = {
        keys.SUBMITTER: SUBMITTER,
        keys.ATTESTOR: BANK,
        keys.platform_label(MALL.id): MALL.key,
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
