"""What a local system keeps in its folder, who may use it, and what an earlier run may have left running there."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fenzhang import devnet
from fenzhang.chain.deployments import deployment_path
from fenzhang.devnet.processes import ProcessId, identify
from fenzhang.domain.errors import FenzhangError

_GRACE_S = 20.0
"""How long something left over from an earlier run may take to end before it is killed."""
_POLL_S = 0.05
SUPERVISOR = "supervisor"
NODE = "node"
_DATABASE_SUFFIXES = ("", "-wal", "-shm", "-journal")


class AlreadyUp(FenzhangError):
    """A system runs in this folder already."""

    code = "already_up"


@dataclass(frozen=True, slots=True)
class Home:
    """The folder of one local system."""

    path: Path

    @property
    def deployment(self) -> Path:
        """Deployment file of the devnet in this folder."""
        return deployment_path(devnet.CHAIN_ID, self.path / "deployments")

    @property
    def apps(self) -> Path:
        """Credentials of the operator's, the approver's and the guardian's app, mode 0600."""
        return self.path / "apps.json"

    @property
    def logs(self) -> Path:
        """A log file per process."""
        return self.path / "logs"

    @property
    def _record(self) -> Path:
        return self.path / "up.json"

    # -------------------------------------------------------------------------- one at a time

    @contextlib.contextmanager
    def held(self, name: str = "up") -> Iterator[None]:
        """Keep others out while the block runs. Raises AlreadyUp."""
        self.path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AlreadyUp(
                    f"another `fenzhang {name}` uses {self.path}; end it first, or choose another --home",
                    home=str(self.path),
                ) from None
            yield
        finally:
            os.close(descriptor)

    # -------------------------------------------------------------------------- leftovers

    def write_running(self, running: Mapping[str, ProcessId]) -> None:
        """Say what this run has started, for a later run to find if this one is killed."""
        draft = self._record.with_suffix(".new")
        known = {SUPERVISOR: identify(os.getpid())} | dict(running)
        draft.write_text(json.dumps({name: list(process) for name, process in known.items()}))
        draft.replace(self._record)

    def forget_running(self) -> None:
        """Nothing of this run is left."""
        self._record.unlink(missing_ok=True)

    def running(self) -> dict[str, ProcessId]:
        """What a run that was killed, or one that still runs, has started here and is alive."""
        try:
            plain = json.loads(self._record.read_text())
            known = {name: ProcessId(int(pid), str(started)) for name, (pid, started) in plain.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}
        return {name: process for name, process in known.items() if process.alive()}

    def stop_leftovers(self, *, supervisor: bool = False) -> None:
        """End what a killed run has left, its chain included; `supervisor` ends that one as well, first of all."""
        left = self.running()
        if supervisor and SUPERVISOR in left:
            _end([left[SUPERVISOR]])
            left = self.running()
        keeper = left.pop(NODE, None)
        left.pop(SUPERVISOR, None)
        _end(list(left.values()))
        if keeper is not None:
            devnet.stop(self.path)
        self.forget_running()

    # -------------------------------------------------------------------------- beginning anew

    def wipe(self, database: Path | None) -> None:
        """Delete the chain and everything that belongs to it: deployment, credentials, logs, `database` (SQLite)."""
        devnet.reset(self.path)
        for file in (self.deployment, self.apps, *self.path.glob("replay-*.json"), *self.logs.glob("*.log")):
            file.unlink(missing_ok=True)
        if database is not None:
            for suffix in _DATABASE_SUFFIXES:
                database.with_name(database.name + suffix).unlink(missing_ok=True)


def _end(processes: list[ProcessId]) -> None:
    """Ask processes to end, and kill those that do not."""
    for process in processes:
        process.send(signal.SIGTERM)
    deadline = time.monotonic() + _GRACE_S
    while any(process.alive() for process in processes) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    for process in processes:
        process.send(signal.SIGKILL)
