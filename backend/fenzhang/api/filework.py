"""The background work of an API process: the rows of uploaded files, a chunk at a time, platform by platform.

It waits while requests would be told that the queue is full, and long before that: files fill half of the queue, so
that requests find room beside them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from fenzhang.health.monitor import QueueDepth
from fenzhang.intake.files.processing import CHUNK, FileProcessor, Waiting
from fenzhang.intake.files.receiving import sweep
from fenzhang.stageloop import wait
from fenzhang.store.errors import DatabaseUnavailable
from fenzhang.store.session import Database
from fenzhang.telemetry import metrics
from fenzhang.telemetry.logs import fields

_INTERVAL_S = 0.5
"""Between two looks for files, and for room in the queue."""
_LONGEST_PAUSE_S = 5.0
_SWEEP_INTERVAL_S = 600.0
_GRACE_S = 5.0
_SHARE_OF_QUEUE = 2
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Room:
    """How many rows may be accepted now. `queue` is what was last seen of it, which is a moment ago."""

    max_queue: int
    queue: Callable[[], QueueDepth]
    _seen: QueueDepth | None = field(default=None, init=False)
    _added: int = field(default=0, init=False)

    def rows(self) -> int:
        """Instructions that still fit into the files' share of the queue."""
        queue = self.queue()
        if queue is not self._seen:
            self._seen, self._added = queue, 0
        most = max(1, self.max_queue // _SHARE_OF_QUEUE)
        return max(0, most - queue.total - self._added)

    def take(self, rows: int) -> None:
        """Count what was accepted since the queue was last seen."""
        self._added += rows


class FileWork:
    """Works on files while `running`."""

    def __init__(self, database: Database, processor: FileProcessor, room: Room) -> None:
        self._database = database
        self._processor = processor
        self._room = room
        self._stop = asyncio.Event()
        self._last_platform = b""
        self._swept_at = 0.0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Work while the block runs; a chunk that is under way at its end is finished."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            self._stop.set()
            await asyncio.wait([task], timeout=_GRACE_S)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        # By then the queue has been looked at.
        pause_s = _INTERVAL_S
        await wait(self._stop, pause_s)
        while not self._stop.is_set():
            more = False
            try:
                more = await self.tick()
                pause_s = _INTERVAL_S
            except DatabaseUnavailable as error:
                _log.warning("files wait: %s", error.message)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            except Exception:  # noqa: BLE001 -- requests are still answered, and the next file may be another matter
                _log.exception("a file cannot be worked on")
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            await (asyncio.sleep(0) if more else wait(self._stop, pause_s))

    async def tick(self) -> bool:
        """Accept a chunk of the next platform's file. Whether it is worth coming back at once."""
        if time.monotonic() - self._swept_at > _SWEEP_INTERVAL_S or not self._swept_at:
            self._swept_at = time.monotonic()
            await sweep(self._database)
        rows = min(CHUNK, self._room.rows())
        waiting = await self._processor.waiting() if rows else []
        if not waiting:
            return False
        file = self._next(waiting)
        self._last_platform = file.platform_id
        progress = await self._processor.advance(file.file_id, rows)
        if progress is None:
            # Another process is at it; this one tries the other platforms before it waits.
            return file is not waiting[-1]
        self._room.take(len(progress.accepted))
        metrics.count_by_type(metrics.INSTRUCTIONS_ACCEPTED, progress.accepted)
        if progress.is_done:
            _log.info("file %d is done", file.file_id, extra=fields(file=file.file_id))
        return True

    def _next(self, waiting: list[Waiting]) -> Waiting:
        """The platform after the one that had its turn last; `waiting` is by platform."""
        return next((file for file in waiting if file.platform_id > self._last_platform), waiting[0])
