"""A whole system on this machine, every part of which can be broken: processes, node, database, and what lies between.

The processes are those of `fenzhang serve`, the node is anvil, the database SQLite or PostgreSQL. Stages and API reach
the node through a proxy, and PostgreSQL through another one. What is killed is started again, as a supervisor would.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from fenzhang.chain.deploy import deploy
from fenzhang.chain.deployments import Deployment
from fenzhang.chain.node import NodeClient
from fenzhang.commands.deploy import devnet_plan
from fenzhang.devnet import DevnetConfig, DevnetError
from fenzhang.devnet.processes import free_port
from fenzhang.local.bootstrap import DEVNET_WORK_FACTOR, bootstrap
from fenzhang.local.chainkeeper import ChainKeeper
from fenzhang.local.home import Home
from fenzhang.local.supervisor import Endpoints
from fenzhang.settings import Settings
from fenzhang.store.session import Database
from support.faults.dbproxy import DatabaseProxy
from support.faults.nodeproxy import NodeProxy
from support.faults.postgres import Postgres
from support.faults.processes import POLL_S, Process, until
from support.system import ADMIN

HOST = "127.0.0.1"
SQLITE, POSTGRES = "sqlite", "postgres"
STAGES = ("mirror", "submission")
PROCESSES = (*STAGES, "api")
NODE, DATABASE = "node", "database"
BLOCK_TIME_S = 0.4
HISTORY_BLOCKS = 64
"""anvil can reorganise this far back; enough for MAX_DEPTH while new blocks come."""
MAX_DEPTH = 20
"""Blocks that a fault takes back at most."""
READY_S = 180.0
MAX_REQUESTS = 48
"""Writes that the API takes on at a time: few, so that a test's flood is one."""
_FRESH_S, _SAVED_S = 20.0, 120.0


@dataclass(slots=True)
class FaultSystem:
    """One running system. `kind` is of its database; `chosen` is where all chance comes from."""

    kind: str
    chosen: random.Random
    home: Home
    database_file: Path | None = None
    node_proxy: NodeProxy = field(init=False)
    postgres: Postgres | None = None
    database_proxies: dict[str, DatabaseProxy] = field(default_factory=dict)
    """In front of PostgreSQL, one for each process."""
    deployment: Deployment = field(init=False)
    chain: ChainKeeper = field(init=False)
    processes: dict[str, Process] = field(default_factory=dict)
    restarts: bool = True
    """Whether what ends is started again."""
    final_block: int = 0
    """No fault takes this block back: it holds what administers the platforms. See `make_final`."""
    _port: int = 0
    _final_saved: bool = False

    # -------------------------------------------------------------------------- where it is

    @property
    def api(self) -> str:
        """URL of the API."""
        return f"http://{HOST}:{self._port}"

    @property
    def rpc(self) -> str:
        """URL of the node itself, past the proxy."""
        return self.chain.node.url

    @property
    def database_url(self) -> str:
        """URL of the database itself, past the proxy."""
        return self.postgres.url() if self.postgres else f"sqlite:///{self.sqlite_file}"

    @property
    def sqlite_file(self) -> Path:
        """The database's file."""
        return self.database_file or self.home.path / "fenzhang.db"

    @property
    def endpoints(self) -> Endpoints:
        """For the clients that tests of other parts use."""
        return Endpoints(
            api=self.api,
            rpc=self.rpc,
            deployment=self.home.deployment,
            apps=self.home.apps,
            home=self.home.path,
        )

    def settings(self) -> Settings:
        """As its processes have them, but past the proxies."""
        return Settings(
            home=self.home.path,
            database_url=self.database_url,
            rpc_url=self.rpc,
            deployment=self.home.deployment,
        )

    # -------------------------------------------------------------------------- start

    async def start(self) -> None:
        """Bring everything up and wait until it works."""
        config = DevnetConfig(
            home=self.home.path, port=0, block_time_s=BLOCK_TIME_S, history_blocks=HISTORY_BLOCKS
        )
        self.chain = ChainKeeper(config)
        node = await asyncio.to_thread(self.chain.start)
        self.node_proxy = NodeProxy(node.url, self.chosen)
        await self.node_proxy.start()
        if self.kind == POSTGRES:
            self.postgres = self.postgres or Postgres()
            await self.postgres.create()
        async with NodeClient(node.url) as client:
            self.deployment = await deploy(client, ADMIN, devnet_plan(), self.home.deployment)
        await bootstrap(self.settings(), self.home.apps)
        self._port = free_port(HOST)
        environment = {
            "FENZHANG_HOME": str(self.home.path),
            "FENZHANG_RPC_URL": self.node_proxy.url,
            "FENZHANG_DEPLOYMENT": str(self.home.deployment),
            "FENZHANG_KEYSTORE_WORK_FACTOR": str(DEVNET_WORK_FACTOR),
            "FENZHANG_API_HOST": HOST,
            "FENZHANG_API_PORT": str(self._port),
            "FENZHANG_MAX_REQUESTS": str(MAX_REQUESTS),
            "PYTHONUNBUFFERED": "1",
        }
        for name in PROCESSES:
            own = {**environment, "FENZHANG_DATABASE_URL": await self._database_url_of(name)}
            self.processes[name] = self._process(name, name, own)
            self.processes[name].start()
        await self.ready()

    async def _database_url_of(self, name: str) -> str:
        if self.postgres is None:
            return self.database_url
        self.database_proxies[name] = DatabaseProxy(self.postgres.port)
        await self.database_proxies[name].start()
        return self.postgres.url(self.database_proxies[name].port)

    def _process(self, name: str, stage: str, environment: dict[str, str]) -> Process:
        command = [sys.executable, "-m", "fenzhang", "serve", stage]
        return Process(name, command, environment, self.home.logs / f"{name}.log")

    def another(self, stage: str) -> Process:
        """A second process of a stage, started by mistake. It is looked after like the others until it is dropped."""
        name = f"{stage} 2"
        self.processes[name] = self._process(name, stage, dict(self.processes[stage].environment))
        self.processes[name].log.unlink(missing_ok=True)
        self.processes[name].start()
        return self.processes[name]

    def drop(self, process: Process) -> None:
        """End a second process for good."""
        process.stop()
        self.processes.pop(process.name, None)

    async def ready(self) -> None:
        """Until the API accepts writes and the mirror follows. Raises TimeoutError."""
        async with asyncio.timeout(READY_S), httpx.AsyncClient(timeout=5.0, trust_env=False) as client:
            while True:
                with contextlib.suppress(httpx.HTTPError, ValueError):
                    answer = await client.get(f"{self.api}/readyz")
                    if answer.status_code == httpx.codes.OK and answer.json().get("mirror") is not None:
                        return
                await asyncio.sleep(POLL_S)

    async def look_after(self) -> None:
        """Start again what has ended, until cancelled."""
        while True:
            for process in list(self.processes.values()):
                if process.note_end() and self.restarts:
                    process.start()
            await asyncio.sleep(POLL_S)

    # -------------------------------------------------------------------------- faults

    async def make_final(self) -> None:
        """See to it that no fault takes back what is on the chain now.

        Enrolments and approvals have senders of their own. Taken back together with orders, nothing makes the node
        mine them first again, and an order that comes before its platform or rule is rejected for good.
        """
        async with self.node() as node:
            self.final_block = await node.block_number()
        self._final_saved = False
        await self.bury()

    async def bury(self) -> None:
        """Mine, if it takes that, until there are MAX_DEPTH blocks above the final one."""
        async with self.node() as node:
            missing = self.final_block + MAX_DEPTH - await node.block_number()
            if missing > 0:
                await node.request("anvil_mine", hex(missing))

    async def kill(self, name: str) -> None:
        """`kill -9` of a process by its name, or of node or database, which are started again at once."""
        if name == NODE:
            await self.restart_node()
        elif name == DATABASE:
            await self.restart_database()
        else:
            self.processes[name].kill()

    async def restart_node(self, snapshot: Path | None = None) -> None:
        """Kill the node and start it from its last snapshot, or from `snapshot`."""
        await self.until_saved()
        self.kill_node()
        if snapshot is not None:
            shutil.copy(snapshot, self.snapshot)
        await self.start_node()

    def kill_node(self) -> None:
        """`kill -9` of the node and of what keeps it."""
        self.chain.kill()

    async def until_saved(self) -> None:
        """Wait for a snapshot of the last seconds. What a node forgets must be within what the mirror remembers."""
        await until(self._is_saved, "a snapshot of the chain", _SAVED_S)

    def _is_saved(self) -> bool:
        if not self._final_saved:
            state = json.loads(gzip.decompress(self.snapshot.read_bytes()))
            self._final_saved = state["best_block_number"] >= self.final_block
        return self._final_saved and time.time() - self.snapshot.stat().st_mtime < _FRESH_S

    @property
    def snapshot(self) -> Path:
        """The node's state on disk."""
        return self.home.path / "devnet" / "state.json.gz"

    async def start_node(self) -> None:
        """Start the node again, once what was killed is gone."""
        for attempt in range(100):
            try:
                await asyncio.to_thread(self.chain.start)
            except DevnetError:
                if attempt == 99:
                    raise
                await asyncio.sleep(0.05)
            else:
                return

    async def restart_database(self) -> None:
        """Kill PostgreSQL and start it again. SQLite is no process: it dies with those that use it."""
        if self.postgres is not None:
            self.postgres.kill()
            await self.postgres.start()

    @contextmanager
    def write_lock(self) -> Iterator[None]:
        """Hold SQLite's write lock, as another program would."""
        with contextlib.closing(sqlite3.connect(self.sqlite_file, timeout=30, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
            other.execute("ROLLBACK")

    # -------------------------------------------------------------------------- what is there

    def database(self) -> Database:
        """The database, past the proxy. An async context manager."""
        return Database(self.database_url)

    def node(self) -> NodeClient:
        """The node, past the proxy. An async context manager."""
        return NodeClient(self.rpc)

    def ended(self) -> list[str]:
        """Processes that ended although nobody had killed them."""
        return [line for process in self.processes.values() for line in process.ended]

    # -------------------------------------------------------------------------- end

    async def stop(self) -> None:
        """End everything and delete it."""
        for process in reversed(self.processes.values()):
            await asyncio.to_thread(process.stop)
        await self.node_proxy.stop()
        for proxy in self.database_proxies.values():
            await proxy.stop()
        if self.postgres is not None:
            await asyncio.to_thread(self.postgres.remove)
        await asyncio.to_thread(self.chain.end)


@asynccontextmanager
async def running_system(
    kind: str, seed: int, *, database_file: Path | None = None, postgres: Postgres | None = None
) -> AsyncIterator[FaultSystem]:
    """A system that is gone with the block, with someone who starts again what ends."""
    folder = Path(tempfile.mkdtemp(prefix="fenzhang-faults-"))
    system = FaultSystem(kind, random.Random(seed), Home(folder), database_file, postgres=postgres)
    keeping: asyncio.Task[None] | None = None
    try:
        await system.start()
        keeping = asyncio.create_task(system.look_after())
        yield system
    finally:
        if keeping is not None:
            keeping.cancel()
        await system.stop()
        if not os.environ.get("FENZHANG_KEEP"):
            shutil.rmtree(folder, ignore_errors=True)


__all__ = ["FaultSystem", "running_system", "until"]
