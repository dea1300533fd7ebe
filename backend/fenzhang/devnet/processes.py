"""Processes and ports. A pid alone proves nothing after a crash or a reboot, so it is kept with its start time."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

_PR_SET_PDEATHSIG = 1


class ProcessId(NamedTuple):
    """A process, not whatever else may have its number later."""

    pid: int
    started: str
    """The system's own record of the start: clock ticks since boot on Linux, a date elsewhere."""

    def alive(self) -> bool:
        """Whether this very process still runs (a zombie does not)."""
        return _started(self.pid) == self.started

    def send(self, number: signal.Signals) -> bool:
        """Send a signal if the process still is the one meant; says whether it was."""
        if not self.alive():
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
        return True


def identify(pid: int) -> ProcessId:
    """The process that has this number now."""
    return ProcessId(pid, _started(pid) or "")


def _started(pid: int) -> str | None:
    """Start of a running process, None if there is none."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            fields = stat.read_text().rpartition(")")[2].split()  # the name before it may contain anything
        except OSError:
            return None
        return None if fields[0] in {"Z", "X"} else fields[19]
    answer = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)],  # noqa: S607 - ps is where the system has it
        capture_output=True,
        text=True,
        check=False,
    )
    return answer.stdout.strip() or None


def die_with_parent() -> Callable[[], None] | None:
    """What a child runs before exec so that it cannot outlive its parent (Linux), None where there is no such thing."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl  # loaded here: after fork only the call itself is safe

    def arrange() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)

    return arrange


def port_is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket(_family(host)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port(host: str) -> int:
    """A port nobody listens on at this moment."""
    with socket.socket(_family(host)) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
