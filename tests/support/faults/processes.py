"""Processes of the system under test: killed, paused and started at will, and watched for ending by themselves."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fenzhang import crashpoints
from fenzhang.devnet.processes import die_with_parent
from fenzhang.local.children import last_lines

POLL_S = 0.02


async def until(true: Callable[[], bool], what: str, timeout_s: float = 60.0) -> float:
    """Wait for a condition. Returns how many seconds it took, and raises TimeoutError naming `what`."""
    began = time.monotonic()
    while not true():
        if time.monotonic() - began > timeout_s:
            raise TimeoutError(f"{what} did not happen within {timeout_s:g} s")
        await asyncio.sleep(POLL_S)
    return time.monotonic() - began


@dataclass(slots=True)
class Process:
    """One process. `wanted` is whether it should run: if it ends all the same, somebody or something ended it."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    wanted: bool = False
    killed: bool = False
    """The end that comes next was asked for."""
    crashes: list[str] = field(default_factory=list)
    """Crash points at which its next runs are to die, one each."""
    ended: list[str] = field(default_factory=list)
    """How it ended by itself, each time."""
    _crashing: bool = False
    _process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the run that was started last."""
        if self._process is None:
            raise LookupError(f"{self.name} was never started")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it runs; paused, it does."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Run it, until it dies at the first of `crashes` if there are any."""
        crash = self.crashes[0] if self.crashes else ""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment, crashpoints.VARIABLE: crash},
                start_new_session=True,
                preexec_fn=die_with_parent(),  # noqa: PLW1509 -- one call of prctl, and no lock is taken
            )
        self.wanted, self.killed, self._crashing = True, False, bool(crash)

    def note_end(self) -> bool:
        """Whether it has just ended although it is wanted; unless it was killed, how it ended is remembered."""
        if not self.wanted or self.running or self._process is None:
            return False
        self.wanted = False
        if self._crashing and not self.killed:
            self.crashes.pop(0)
        elif not self.killed:
            self.ended.append(f"{self.name} ended with {self._process.returncode}: {last_lines(self.log, 1)}")
        return True

    def kill(self) -> None:
        """`kill -9`."""
        if self.running and self._process is not None:
            self.killed = True
            self._process.kill()
            self._process.wait()

    def pause(self) -> None:
        """SIGSTOP: as a machine that hangs, or a virtual one that is moved."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    async def ends(self, timeout_s: float) -> float:
        """Wait until it has ended. Returns how many seconds it took."""
        return await until(lambda: not self.running, f"{self.name} ending", timeout_s)

    def stop(self, timeout_s: float = 20.0) -> None:
        """End it for good: in order, or else at once."""
        self.wanted = False
        if self._process is None or not self.running:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
