"""The loop around a stage: work, wait, and outlast a node or database that is away."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from fenzhang.chain.errors import NodeUnavailable, RpcError
from fenzhang.domain.errors import FenzhangError
from fenzhang.store.errors import DatabaseUnavailable, LeaseLost
from fenzhang.telemetry.traces import span

T = TypeVar("T")
OUTAGES: tuple[type[FenzhangError], ...] = (NodeUnavailable, RpcError, DatabaseUnavailable, LeaseLost)
"""Errors that pass by themselves. Any other ends the stage: acting on would be wrong."""
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0
"""Between two attempts while something is away."""


@dataclass(slots=True, eq=False)
class Pulse:
    """How a running stage does: when it last came round, what it waits for, whether it acts or stands by."""

    name: str
    active: Callable[[], bool]
    """Whether it has its leases."""
    away: str | None = None
    """Code of the outage that it waits for."""
    _at: float = field(default_factory=time.monotonic)

    def beat(self, away: str | None) -> None:
        """It came round, waiting for `away` or for nothing."""
        self.away = away
        self._at = time.monotonic()

    @property
    def silent_s(self) -> float:
        """Seconds since it last came round."""
        return time.monotonic() - self._at


PULSES: list[Pulse] = []
"""Of the stages that run in this process."""


async def run_stage(
    name: str,
    tick: Callable[[], Awaitable[bool]],
    stop: asyncio.Event,
    *,
    interval_s: float,
    outage: Callable[[FenzhangError], None] = lambda _error: None,
    active: Callable[[], bool] = lambda: True,
) -> None:
    """Call `tick` until `stop` is set: again at once while it returns True, else after `interval_s`.

    An outage doubles the pause up to LONGEST_PAUSE_S, and is logged when it begins, when it becomes another one and
    when it is over. `outage` hears of each failed attempt. `active` says whether the stage has its leases.
    """
    pulse = Pulse(name, active)
    PULSES.append(pulse)
    try:
        await _run(pulse, tick, stop, interval_s=interval_s, outage=outage)
    finally:
        PULSES.remove(pulse)


async def _run(
    pulse: Pulse,
    tick: Callable[[], Awaitable[bool]],
    stop: asyncio.Event,
    *,
    interval_s: float,
    outage: Callable[[FenzhangError], None],
) -> None:
    name = pulse.name
    log = logging.getLogger(f"fenzhang.{name}")
    pause_s = interval_s
    away: str | None = None
    while not stop.is_set():
        try:
            with span(f"{name} tick"):
                more = await tick()
        except OUTAGES as error:
            if error.code != away:
                log.warning("%s waits: %s", name, error.message)
            away = error.code
            outage(error)
            pulse.beat(away)
            retry_after_s = error.retry_after_s if isinstance(error, NodeUnavailable) else 0.0
            await wait(stop, retry_after_s or pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            continue
        if away is not None:
            log.info("%s goes on", name)
        away, pause_s = None, interval_s
        pulse.beat(None)
        # Even when there is more, others on this event loop get their turn.
        await (asyncio.sleep(0) if more else wait(stop, interval_s))


async def outlast(name: str, attempt: Callable[[], Awaitable[T]], stop: asyncio.Event) -> T | None:
    """Make an attempt, again and again while something is away, until it succeeds or `stop` is set.

    Returns what it returned; None when `stop` was first.
    """
    pause_s = FIRST_PAUSE_S
    while not stop.is_set():
        try:
            return await attempt()
        except OUTAGES as error:
            logging.getLogger(f"fenzhang.{name}").warning("%s waits: %s", name, error.message)
            await wait(stop, pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
    return None


async def wait(stop: asyncio.Event, seconds: float) -> None:
    """Sleep, but not longer than until `stop` is set."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
