"""Whose turn it is to write to a SQLite file, among the tasks of a process and among processes.

SQLite has one writer at a time, and whoever finds it busy sleeps up to a tenth of a second before looking again,
however soon it is free. Here writers stand in a queue of the operating system, on a file beside the database. It holds
nothing; SQLite's own lock still decides, also against programs that know nothing of this queue.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from fenzhang.store.errors import DatabaseUnavailable


class WriteTurn:
    """The queue of one database file; `path` is the file to queue at. Waiting ends after `timeout_s`."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._own = asyncio.Lock()
        """Among this process's tasks: a file's lock is held by all who share its handle."""
        self._handle: int | None = None

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """Hold the turn while the block runs. Raises DatabaseUnavailable."""
        async with self._own:
            handle = self._open()
            await self._wait_for(handle)
            try:
                yield
            finally:
                fcntl.flock(handle, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the file."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _open(self) -> int:
        if self._handle is None:
            try:
                self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise DatabaseUnavailable(f"{self._path} cannot be opened: {error.strerror}") from None
        return self._handle

    async def _wait_for(self, handle: int) -> None:
        with suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        waiting = asyncio.get_running_loop().run_in_executor(None, fcntl.flock, handle, fcntl.LOCK_EX)
        try:
            async with asyncio.timeout(self._timeout_s):
                await asyncio.shield(waiting)
        except TimeoutError:
            self._leave(waiting)
            raise DatabaseUnavailable("the database does not answer: others keep writing") from None
        except asyncio.CancelledError:
            self._leave(waiting)
            raise

    def _leave(self, waiting: asyncio.Future[None]) -> None:
        """Leave the queue: the thread in it ends when its turn comes, and the turn with the handle that it had."""
        handle, self._handle = self._handle, None

        def pass_on(_waited: asyncio.Future[None]) -> None:
            if handle is not None:
                os.close(handle)

        waiting.add_done_callback(pass_on)
