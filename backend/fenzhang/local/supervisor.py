"""`fenzhang up`: brings the system up in order, keeps it running, and ends it in order."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType

import httpx
from sqlalchemy.engine import make_url

from fenzhang import devnet
from fenzhang.chain.deploy import deploy
from fenzhang.chain.deployments import Deployment
from fenzhang.chain.errors import DeploymentMismatch
from fenzhang.chain.node import NodeClient
from fenzhang.chain.signer import LocalKey
from fenzhang.commands.deploy import devnet_plan
from fenzhang.devnet.processes import ProcessId, free_port, port_is_free
from fenzhang.domain.errors import FenzhangError
from fenzhang.health.endpoint import child_port
from fenzhang.local.bootstrap import DEVNET_WORK_FACTOR, bootstrap
from fenzhang.local.chainkeeper import ChainKeeper
from fenzhang.local.children import Child, last_lines
from fenzhang.local.home import NODE, Home
from fenzhang.settings import Settings
from fenzhang.store.chain_binding import check_chain
from fenzhang.store.errors import DatabaseOfOtherChain
from fenzhang.store.session import Database

HOST = "127.0.0.1"
API_PORT = 8700
ANVIL_CALLDATA_BYTES = 170_000
"""anvil takes transactions of any size; so many bytes hold 200 orders with their splits."""
STAGES = ("mirror", "submission")
"""Stages that run as processes of their own, in the order in which they are started; they end in the opposite one."""
BANK_STAGES = ("clearing", "payouts", "reconciliation")
"""Those that follow if a bank is configured."""
READY_TIMEOUT_S = 60.0
_API_GRACE_S = 15.0
_STAGE_GRACE_S = 15.0
_LOOK_S = 0.1
_INTERRUPTED = 130


class UpFailed(FenzhangError):
    """The system did not come up; nothing of it is left running."""

    code = "up_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpOptions:
    """What a local system is started with. A port of 0 takes a free one; `database_url` "" is SQLite under `home`."""

    home: Path
    port: int = API_PORT
    node_port: int = devnet.DEFAULT_PORT
    block_time_s: float = 1.0
    database_url: str = ""
    fresh: bool = False
    snapshots: bool = True
    """Keep the chain when the node ends. Writing a large one down takes anvil a core for many seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Where a running system is, and where its credentials are."""

    api: str
    rpc: str
    deployment: Path
    apps: Path
    home: Path

    def to_json(self) -> dict[str, str]:
        """Plain values."""
        return {
            "api": self.api,
            "rpc": self.rpc,
            "deployment": str(self.deployment),
            "apps": str(self.apps),
            "home": str(self.home),
        }


@dataclass(slots=True)
class Supervisor:
    """One run of the system. `say` gets a line for what a person should know."""

    options: UpOptions
    say: Callable[[str], None]
    _home: Home = field(init=False)
    _chain: ChainKeeper = field(init=False)
    _children: list[Child] = field(default_factory=list)
    _starting: bool = True
    _stopping: bool = False

    def __post_init__(self) -> None:
        self.options = replace(self.options, home=self.options.home.absolute())
        self._home = Home(self.options.home)
        self._chain = ChainKeeper(
            devnet.DevnetConfig(
                home=self.options.home,
                port=self.options.node_port,
                block_time_s=self.options.block_time_s,
                persist=self.options.snapshots,
            )
        )

    def run(self, ready: Callable[[Endpoints], None]) -> int:
        """Bring everything up, call `ready`, keep it running until SIGINT or SIGTERM, end it. Returns the exit code.

        Raises AlreadyUp, UpFailed, and what its parts raise when they cannot start.
        """
        with self._home.held(), self._signals():
            try:
                ready(self._start())
                self._starting = False
                while not self._stopping:
                    self._look_after()
                    time.sleep(_LOOK_S)
            except KeyboardInterrupt:
                if not self._stopping:
                    raise
            finally:
                self._end()
        return 0

    # -------------------------------------------------------------------------- start

    def _start(self) -> Endpoints:
        self._home.stop_leftovers()
        settings = self._settings("")
        if self.options.fresh:
            self._home.wipe(_sqlite_file(settings))
        port = self.options.port or free_port(HOST)
        if not port_is_free(HOST, port):
            raise UpFailed(f"port {port} on {HOST} is taken; choose another with --port", port=port)
        node = self._chain.start()
        self._record()
        asyncio.run(self._prepare(node.url))
        self._spawn(node.url, port)
        self._await_ready(f"http://{HOST}:{port}")
        return Endpoints(
            api=f"http://{HOST}:{port}",
            rpc=node.url,
            deployment=self._home.deployment,
            apps=self._home.apps,
            home=self._home.path,
        )

    def _settings(self, rpc_url: str) -> Settings:
        return Settings(
            home=self._home.path,
            database_url=self.options.database_url,
            rpc_url=rpc_url,
            deployment=self._home.deployment,
        )

    async def _prepare(self, rpc_url: str) -> None:
        """Contracts, tables, keys and apps."""
        admin = devnet.dev_account("admin").private_key
        settings = self._settings(rpc_url)
        async with NodeClient(rpc_url) as node:
            try:
                deployment = await deploy(node, _key(admin), devnet_plan(), self._home.deployment)
            except DeploymentMismatch as error:
                raise self._of_another_chain(error) from error
        await bootstrap(settings, self._home.apps)
        await self._check_database(settings, deployment)

    async def _check_database(self, settings: Settings, deployment: Deployment) -> None:
        async with Database(settings.database) as database, database.read() as session:
            try:
                await check_chain(
                    session, deployment.chain_id, deployment.split_ledger, deployment.genesis_hash
                )
            except DatabaseOfOtherChain as error:
                raise self._of_another_chain(error) from error

    def _of_another_chain(self, error: FenzhangError) -> UpFailed:
        return UpFailed(
            f"{error.message}: what is in {self._home.path} does not belong together any more; "
            "`fenzhang up --fresh` begins anew"
        )

    def _spawn(self, rpc_url: str, port: int) -> None:
        environment = {
            "FENZHANG_HOME": str(self._home.path),
            "FENZHANG_RPC_URL": rpc_url,
            "FENZHANG_DEPLOYMENT": str(self._home.deployment),
            "FENZHANG_DATABASE_URL": self.options.database_url,
            "FENZHANG_MAX_CALLDATA_BYTES": str(ANVIL_CALLDATA_BYTES),
            "FENZHANG_KEYSTORE_WORK_FACTOR": str(DEVNET_WORK_FACTOR),
            "FENZHANG_API_HOST": HOST,
            "FENZHANG_API_PORT": str(port),
            "PYTHONUNBUFFERED": "1",
        }
        bank_stages = BANK_STAGES if self._settings(rpc_url).has_bank else ()
        for name in (*STAGES, *bank_stages, "api"):
            command = [sys.executable, "-m", "fenzhang", "serve", name]
            own = {**environment, "FENZHANG_METRICS_PORT": child_port(name)}
            child = Child(name, command, own, self._home.logs / f"{name}.log")
            self._children.append(child)
            child.start()
        self._record()

    def _await_ready(self, api: str) -> None:
        """Until the API accepts writes and the mirror follows the chain. Raises UpFailed when a child ends."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not _is_ready(api):
            for child in self._children:
                if not child.running:
                    raise UpFailed(f"{child.name} ended at once: {last_lines(child.log)}", log=str(child.log))
            if time.monotonic() > deadline:
                raise UpFailed(f"not ready within {READY_TIMEOUT_S:g} s, see {self._home.logs}")
            time.sleep(_LOOK_S)

    # -------------------------------------------------------------------------- keep running

    def _look_after(self) -> None:
        changed = self._chain.look_after(self.say)
        for child in self._children:
            changed = child.look_after(self.say) or changed
        if changed:
            self._record()

    def _record(self) -> None:
        running: dict[str, ProcessId] = {}
        for child in self._children:
            identity = child.identity
            if identity is not None:
                running[child.name] = identity
        keeper = self._chain.identity
        if keeper is not None:
            running[NODE] = keeper
        self._home.write_running(running)

    # -------------------------------------------------------------------------- end

    def _end(self) -> None:
        """First nothing new comes in, then nothing new goes out, then nothing new is read, then the chain stops."""
        self._stopping = True
        self._starting = False
        for child in reversed(self._children):
            child.end(_API_GRACE_S if child.name == "api" else _STAGE_GRACE_S)
        self._chain.end()
        self._home.forget_running()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        previous = {number: signal.signal(number, self._on_signal) for number in numbers}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self._stopping:
            self.say("killed")
            for child in self._children:
                child.kill()
            self._chain.kill()
            os._exit(_INTERRUPTED)
        self._stopping = True
        self.say("stopping; once more to kill")
        if self._starting:
            raise KeyboardInterrupt


def _is_ready(api: str) -> bool:
    try:
        answer = httpx.get(f"{api}/readyz", timeout=5.0)
        return answer.status_code == httpx.codes.OK and answer.json().get("mirror") is not None
    except (httpx.HTTPError, ValueError):
        return False


def _sqlite_file(settings: Settings) -> Path | None:
    """The database's file. Raises UpFailed for a server, which this command does not empty."""
    url = make_url(settings.database)
    if url.get_backend_name() != "sqlite":
        raise UpFailed("--fresh deletes a SQLite file, not a server's database: give it an empty one")
    return Path(url.database) if url.database else None


def _key(private_key: str) -> LocalKey:
    return LocalKey(bytes.fromhex(private_key.removeprefix("0x")))
