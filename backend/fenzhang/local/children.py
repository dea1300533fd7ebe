"""Child processes that are kept running: started again when they crash, ended in order."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from fenzhang.devnet.processes import ProcessId, die_with_parent, identify

FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 15.0
STABLE_S = 20.0
"""A child that ran this long before it crashed is started again at once."""


@dataclass(slots=True)
class Backoff:
    """How long to wait before something that crashed is started again."""

    _pause_s: float = 0.0
    _started_at: float = field(default_factory=time.monotonic)

    def started(self) -> None:
        """It runs again."""
        self._started_at = time.monotonic()

    def next_s(self) -> float:
        """It crashed: seconds until the next attempt."""
        if time.monotonic() - self._started_at >= STABLE_S:
            self._pause_s = 0.0
        pause_s = self._pause_s
        self._pause_s = min(max(2 * pause_s, FIRST_BACKOFF_S), LONGEST_BACKOFF_S)
        return pause_s


@dataclass(slots=True)
class Child:
    """One process of the system. It has a session of its own, so a Ctrl-C reaches the supervisor alone."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path | None = None
    """Takes its output; without one it goes where the supervisor's own goes."""
    crashes: int = 0
    _process: subprocess.Popen[bytes] | None = None
    _backoff: Backoff = field(default_factory=Backoff)
    _due: float | None = None

    @property
    def identity(self) -> ProcessId | None:
        """The process that runs now, None if none does."""
        return identify(self._process.pid) if self._process is not None else None

    @property
    def running(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Run it, its output appended to its log."""
        with ExitStack() as stack:
            output = None
            if self.log is not None:
                self.log.parent.mkdir(parents=True, exist_ok=True)
                output = stack.enter_context(self.log.open("ab"))
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **self.environment},
                start_new_session=True,
                preexec_fn=die_with_parent(),  # noqa: PLW1509 -- the supervisor has no threads
            )
        self._due = None
        self._backoff.started()

    def look_after(self, say: Callable[[str], None]) -> bool:
        """Start it again if it has ended and its backoff is over. Returns whether another process runs now."""
        if self._process is None or self.running:
            return False
        if self._due is None:
            pause_s = self._backoff.next_s()
            self._due = time.monotonic() + pause_s
            self.crashes += 1
            when = f"in {pause_s:g} s" if pause_s else "now"
            see = f", see {self.log}" if self.log else ""
            say(f"{self.name} ended with code {self._process.returncode}{see}; it is started again {when}")
        if time.monotonic() < self._due:
            return False
        self.start()
        return True

    def end(self, timeout_s: float) -> None:
        """Ask it to end, and kill it when it does not."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def last_lines(log: Path | None, lines: int = 5) -> str:
    """The end of a log as one line, for a message about what does not come up."""
    if log is None:
        return ""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return " ".join(" ".join(text.splitlines()[-lines:]).split())
