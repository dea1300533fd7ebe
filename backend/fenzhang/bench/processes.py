"""The processes of the system under load: how much memory they take, and how to make them stand still."""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fenzhang import devnet
from fenzhang.bench.figures import BACKEND, Memory
from fenzhang.devnet.processes import ProcessId
from fenzhang.local.home import Home

NODE = "anvil"
_INTERVAL_S = 0.5
_MEGABYTE = 1024 * 1024


def system_processes(home: Path) -> dict[str, ProcessId]:
    """API, submission, mirror and node of the system that runs in a home folder."""
    found = {name: process for name, process in Home(home).running().items() if name in BACKEND}
    node = devnet.status(home).node
    return found if node is None else {**found, NODE: node.anvil}


@contextmanager
def standing_still(processes: Mapping[str, ProcessId]) -> Iterator[None]:
    """Stop the backend while something else is measured on this machine."""
    backend = [process for name, process in processes.items() if name in BACKEND]
    for process in backend:
        process.send(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in backend:
            process.send(signal.SIGCONT)


def cpu_seconds(processes: Mapping[str, ProcessId]) -> dict[str, float]:
    """Processor time that each process has used so far, this one included as `client`."""
    used = {name: _used_s(process.pid) for name, process in processes.items()}
    return {name: seconds for name, seconds in used.items() if seconds is not None} | {
        "client": time.process_time()
    }


@dataclass(slots=True)
class MemorySamples:
    """Memory of processes over time: (moment, MB) by name.

    A page that several processes share (code of Python and its libraries) counts once, divided between them.
    """

    processes: Mapping[str, ProcessId]
    samples: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def take(self) -> None:
        """Look once. A process that is gone is left out."""
        now = time.perf_counter()
        for name, process in self.processes.items():
            used = _memory_mb(process.pid)
            if used is not None:
                self.samples.setdefault(name, []).append((now, used))

    def between(self, began: float, ended: float) -> list[Memory]:
        """What they took in a phase."""
        fifth = (ended - began) / 5
        return [
            Memory(
                name=name,
                first=_median(found, began + fifth, began + 2 * fifth),
                last=_median(found, ended - fifth, ended),
                peak=max(used for _, used in found),
            )
            for name, found in sorted(self.samples.items())
        ]


@asynccontextmanager
async def sampling(processes: Mapping[str, ProcessId]) -> AsyncIterator[MemorySamples]:
    """Sample while the block runs."""
    found = MemorySamples(processes)

    async def run() -> None:
        while True:
            found.take()
            await asyncio.sleep(_INTERVAL_S)

    task = asyncio.create_task(run())
    try:
        yield found
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        found.take()


def _median(samples: list[tuple[float, float]], began: float, ended: float) -> float:
    within = [used for at, used in samples if began <= at <= ended]
    return statistics.median(within or [used for _, used in samples])


def _memory_mb(pid: int) -> float | None:
    """From /proc; None where there is none, or no such process."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return None
    for line in rollup.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024 / _MEGABYTE
    return None


def _used_s(pid: int) -> float | None:
    """User and system time, from /proc; None where there is none, or no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
