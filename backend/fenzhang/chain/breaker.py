"""A circuit breaker: after a row of failures nobody bothers the node for a while, then one request tries it.

closed --failures in a row--> open --pause over--> half open --answer--> closed
                                ^                      |
                                +---failure, longer----+
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from fenzhang.chain.errors import NodeUnavailable, RpcError


class BreakerState(StrEnum):
    """What a request would meet."""

    CLOSED = "closed"
    """Requests go to the node."""
    OPEN = "open"
    """Requests fail at once."""
    HALF_OPEN = "half_open"
    """One request is on its way to the node, or may go; the others fail at once."""


class CircuitOpen(NodeUnavailable):
    """The node has failed again and again and is left alone for `retry_after_s` seconds. It was not asked."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(
            "the node has failed again and again; it is tried again soon",
            retry_after_s=math.ceil(retry_after_s),
        )
        self.retry_after_s = retry_after_s


@dataclass(slots=True, kw_only=True)
class Breaker:
    """Guards one node, for all who use it within one event loop. NodeUnavailable is a failure, RpcError an answer."""

    failures_to_open: int = 5
    """In a row; any answer in between starts the count anew."""
    first_pause_s: float = 0.5
    """Doubles with each probe that fails; each pause is drawn from between half of it and all of it."""
    longest_pause_s: float = 5.0
    clock: Callable[[], float] = time.monotonic
    draw: Callable[[], float] = random.random
    failures: int = field(default=0, init=False)
    """Since this process began."""
    openings: int = field(default=0, init=False)
    """How often it opened, a failed probe not counted."""
    _row: int = field(default=0, init=False)
    _reopenings: int = field(default=0, init=False)
    _ends: float | None = field(default=None, init=False)
    """When an open breaker lets a probe through; None while it is closed."""
    _probing: bool = field(default=False, init=False)
    _epoch: int = field(default=0, init=False)
    """Grows with every change of state: what a request from before it met says nothing about now."""

    @property
    def state(self) -> BreakerState:
        """The state now."""
        if self._ends is None:
            return BreakerState.CLOSED
        return BreakerState.HALF_OPEN if self._probing or self.retry_after_s <= 0 else BreakerState.OPEN

    @property
    def retry_after_s(self) -> float:
        """Seconds until the node may be asked again; 0 when it may be now."""
        return 0.0 if self._ends is None else max(0.0, self._ends - self.clock())

    @asynccontextmanager
    async def guard(self) -> AsyncIterator[None]:
        """Let the block ask the node, and learn from how it ends. Raises CircuitOpen without entering it."""
        probe = self._enter()
        epoch = self._epoch
        try:
            yield
        except RpcError:
            self._answered(epoch)
            raise
        except NodeUnavailable:
            self._failed(epoch)
            raise
        else:
            self._answered(epoch)
        finally:
            # A probe that was cancelled has learnt nothing: the next request is one.
            if probe and epoch == self._epoch:
                self._probing = False

    def _enter(self) -> bool:
        """Whether this request is a probe. Raises CircuitOpen."""
        if self._ends is None:
            return False
        if self._probing or self.retry_after_s > 0:
            raise CircuitOpen(max(self.retry_after_s, self.first_pause_s))
        self._probing = True
        return True

    def _answered(self, epoch: int) -> None:
        if epoch != self._epoch:
            return
        self._row = 0
        if self._ends is not None:
            self._ends, self._probing, self._reopenings = None, False, 0
            self._epoch += 1

    def _failed(self, epoch: int) -> None:
        self.failures += 1
        if epoch != self._epoch:
            return
        self._row += 1
        if self._ends is None:
            if self._row < self.failures_to_open:
                return
            self.openings += 1
        longest = min(self.longest_pause_s, self.first_pause_s * 2 ** min(self._reopenings, 16))
        self._reopenings += 1
        self._ends = self.clock() + longest * (0.5 + self.draw() / 2)
        self._probing = False
        self._epoch += 1
