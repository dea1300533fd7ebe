"""Waiting for state changes: one reader of the completions feed per process, however many clients wait.

Somebody who waits registers first and looks at the database second, so that no change can fall between the two.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.store import feed
from fenzhang.store.bulk import chunks
from fenzhang.store.errors import DatabaseUnavailable
from fenzhang.store.session import Database
from fenzhang.store.tables import Instruction

INTERVAL_S = 0.1
"""Between two looks at the feed while anybody waits."""
_PAGE = 1_000
_log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class Wait:
    """One client that waits. `changed` is set when it is worth looking again.

    `state` is the one that an instruction is to leave; without it, completions alone are of interest.
    """

    state: str | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self, timeout_s: float) -> bool:
        """Whether something changed within `timeout_s`. Ready for the next wait afterwards."""
        try:
            async with asyncio.timeout(timeout_s):
                await self.changed.wait()
        except TimeoutError:
            return False
        self.changed.clear()
        return True


class Watcher:
    """Wakes those who wait for an instruction or a platform. `run` does the reading and must be running."""

    def __init__(self, database: Database, interval_s: float = INTERVAL_S) -> None:
        self._database = database
        self._interval_s = interval_s
        self._instructions: dict[int, set[Wait]] = defaultdict(set)
        self._platforms: dict[bytes, set[Wait]] = defaultdict(set)
        self._wanted = asyncio.Event()
        self.closing = False
        """Set by `close`: waiting ends early, because the process is about to."""

    @contextmanager
    def instruction(self, seq: int, state: str | None = None) -> Iterator[Wait]:
        """Wait for instruction `seq` to become terminal, or, given `state`, to leave that state."""
        with self._registered(self._instructions, seq, Wait(state)) as wait:
            yield wait

    @contextmanager
    def platform(self, platform_id: bytes) -> Iterator[Wait]:
        """Wait for a completion of any instruction of a platform."""
        with self._registered(self._platforms, platform_id, Wait()) as wait:
            yield wait

    @contextmanager
    def _registered(self, waits: dict[Any, set[Wait]], key: Any, wait: Wait) -> Iterator[Wait]:
        waits[key].add(wait)
        self._wanted.set()
        if self.closing:
            wait.changed.set()
        try:
            yield wait
        finally:
            waits[key].discard(wait)
            if not waits[key]:
                del waits[key]

    async def run(self) -> None:
        """Read the feed while anybody waits. An outage of the database only delays."""
        cursor: int | None = None
        while True:
            if not self._instructions and not self._platforms:
                self._wanted.clear()
                cursor = None
                await self._wanted.wait()
            try:
                cursor = await self._look(cursor)
            except DatabaseUnavailable as error:
                _log.warning("waiting for the database: %s", error.message)
            await asyncio.sleep(self._interval_s)

    async def _look(self, cursor: int | None) -> int:
        async with self._database.read() as session:
            if cursor is None:
                # Nobody waited for a while: begin at the end, and let those who came meanwhile look once more.
                cursor = await feed.last_id(session)
                self._wake_all()
            page = await feed.read_ids(session, cursor, _PAGE)
            while page:
                for completion_id, platform_id, seq in page:
                    _wake(self._instructions.get(seq, ()))
                    _wake(self._platforms.get(platform_id, ()))
                    cursor = completion_id
                page = await feed.read_ids(session, cursor, _PAGE) if len(page) == _PAGE else []
            await self._look_at_states(session)
        return cursor

    async def _look_at_states(self, session: AsyncSession) -> None:
        """Changes that are not terminal are in no feed."""
        wanted = [
            seq for seq, waits in self._instructions.items() if any(wait.state is not None for wait in waits)
        ]
        for seqs in chunks(wanted):
            query = select(Instruction.seq, Instruction.state).where(Instruction.seq.in_(seqs))
            for seq, state in await session.execute(query):
                waits = self._instructions.get(seq, ())
                _wake(wait for wait in waits if wait.state not in {None, state})

    def close(self) -> None:
        """Let everybody who waits, now or later, answer at once."""
        self.closing = True
        self._wake_all()

    def _wake_all(self) -> None:
        for waits in (*self._instructions.values(), *self._platforms.values()):
            _wake(waits)


def _wake(waits: Iterable[Wait]) -> None:
    for wait in waits:
        wait.changed.set()
