"""How much one API process takes on at a time. What is beyond it gets 429 at once, before its body is read.

Three bounds: settlement writes stop while too many instructions wait for their outcome; writes stop when too many, or
too many bytes of them, are under way; and so does everything when clients hold too many requests open. Reads have room
of their own beyond the writes, and health is always answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.types import Scope

from fenzhang.api.errors import QueueFull, TooManyRequests
from fenzhang.api.guard import MAX_BODY_BYTES
from fenzhang.telemetry import metrics

REQUESTS_PER_WRITE = 8
"""Requests of all kinds that may be under way for each write that may be; most of them wait for a state change."""
MAX_BYTES = 32 * MAX_BODY_BYTES
"""Bodies of writes under way; parsed, they take several times as much memory."""
_LEAST_BYTES = 4_096
_FREE = frozenset({"/healthz", "/readyz"})
_QUEUED = frozenset(
    {
        "/v1/orders",
        "/v1/orders/batch",
        "/v1/splits",
        "/v1/splits/batch",
        "/v1/releases",
        "/v1/returns",
        "/v1/refunds",
        "/v1/instructions/batch",
    }
)
"""Settlement writes. The others stay possible when the queue is full: a suspension cannot wait."""


@dataclass(slots=True)
class Admission:
    """Counts what is under way. `waiting` is how many instructions have no outcome yet."""

    max_queue: int
    max_writes: int
    waiting: Callable[[], int]
    _requests: int = field(default=0, init=False)
    _writes: int = field(default=0, init=False)
    _bytes: int = field(default=0, init=False)

    @contextmanager
    def admitted(self, scope: Scope) -> Iterator[None]:
        """Let the block handle a request. Raises TooManyRequests or QueueFull without entering it."""
        if scope["path"] in _FREE:
            yield
            return
        writes, size = (1, _size(scope)) if scope["method"] == "POST" else (0, 0)
        self._require_room(scope["path"], writes, size)
        self._requests += 1
        self._writes += writes
        self._bytes += size
        metrics.HTTP_IN_FLIGHT.inc()
        try:
            yield
        finally:
            self._requests -= 1
            self._writes -= writes
            self._bytes -= size
            metrics.HTTP_IN_FLIGHT.dec()

    def _require_room(self, path: str, writes: int, size: int) -> None:
        most = self.max_writes * REQUESTS_PER_WRITE
        if self._requests >= most:
            raise TooManyRequests("too many requests are under way here", limit=most)
        if not writes:
            return
        if self._writes >= self.max_writes or self._bytes + size > MAX_BYTES:
            raise TooManyRequests("too many writes are under way here", limit=self.max_writes)
        if path in _QUEUED and self.waiting() >= self.max_queue:
            raise QueueFull(
                "too many instructions wait for their outcome; nothing of this request was stored",
                limit=self.max_queue,
            )


def _size(scope: Scope) -> int:
    """Bytes of the body, as announced; a body of unknown size may be the largest.

    A file has more, and never more of it in memory.
    """
    announced = Headers(scope=scope).get("content-length", "")
    return min(max(int(announced), _LEAST_BYTES), MAX_BODY_BYTES) if announced.isdecimal() else MAX_BODY_BYTES
