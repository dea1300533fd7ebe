"""What a scenario gets: the running system, traffic, chance, and how much of it to do."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from support.faults.oracle import settled
from support.faults.system import POSTGRES, SQLITE, FaultSystem
from support.faults.traffic import Traffic

BOTH = (SQLITE, POSTGRES)


@dataclass(slots=True)
class Rig:
    """One system with its traffic. `rounds` is how often a scenario does its worst."""

    system: FaultSystem
    traffic: Traffic
    chosen: random.Random
    rounds: int
    say: Callable[[str], None]
    figures: dict[str, float] = field(default_factory=dict)
    """What a scenario measured, by name."""

    @asynccontextmanager
    async def under_traffic(
        self, orders: int, pause_s: float = 0.05, workers: int = 6
    ) -> AsyncIterator[None]:
        """Orders come while the block runs; it ends when all of them have been answered."""
        sending = asyncio.create_task(self.traffic.send_orders(orders, workers, pause_s))
        try:
            yield
        except BaseException:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            raise
        await sending

    @asynccontextmanager
    async def endless_traffic(self, workers: int = 3, pause_s: float = 0.05) -> AsyncIterator[None]:
        """Orders come as long as the block runs. What is on its way at its end is still answered."""
        stop = asyncio.Event()

        async def work() -> None:
            while not stop.is_set():
                await self.traffic.send_orders(1, 1, pause_s)

        working = [asyncio.create_task(work()) for _ in range(workers)]
        try:
            yield
        finally:
            stop.set()
            await asyncio.gather(*working)

    async def settle(self) -> None:
        """Wait until everything so far has its outcome."""
        await settled(self.system)

    def measured(self, name: str, value: float) -> None:
        """Keep the largest of what was measured under a name."""
        self.figures[name] = max(value, self.figures.get(name, value))


@dataclass(frozen=True, slots=True)
class Scenario:
    """One way to break the system. `run` returns how many faults it caused.

    `short` and `full` are its rounds in the test suite and in the campaign.
    """

    name: str
    what: str
    run: Callable[[Rig], Awaitable[int]]
    short: int
    full: int
    databases: tuple[str, ...] = BOTH
