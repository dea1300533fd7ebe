"""A TCP proxy in front of PostgreSQL that cuts connections, also at the very moment of a commit."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from enum import StrEnum

HOST = "127.0.0.1"
_COMMIT = b"COMMIT;\0"
"""How asyncpg ends a transaction, in the simple query protocol."""


class Cut(StrEnum):
    """When a connection that commits is cut."""

    BEFORE = "before"
    """The server never hears of the commit."""
    AFTER = "after"
    """The server commits; its answer is lost, so that the client cannot know."""


@dataclass(slots=True)
class DatabaseProxy:
    """Passes everything on. `cut_next` arms it for one commit at a time."""

    target_port: int
    port: int = 0
    cuts: int = 0
    """How many connections were cut in a commit."""
    _cut: Cut | None = None
    _skip: int = 0
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def start(self) -> None:
        """Listen on a free port, or on the one it had."""
        self._server = await asyncio.start_server(self._serve, HOST, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and cut everything."""
        if self._server is not None:
            self._server.close()
        self.cut_all()

    def cut_next(self, cut: Cut, skip: int = 0) -> None:
        """Cut the next commit but `skip`."""
        self._cut, self._skip = cut, skip

    def disarmed(self) -> bool:
        """Whether the cut that was asked for has been made."""
        return self._cut is None

    def cut_all(self) -> None:
        """Cut all connections."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection(HOST, self.target_port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, server_writer}
        try:
            lost = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._forward(reader, server_writer, lost))
                group.create_task(self._back(server_reader, writer, lost))
        finally:
            self._writers -= {writer, server_writer}
            for each in (writer, server_writer):
                each.transport.abort()

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: asyncio.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                if self._cut is not None and _COMMIT in data and self._is_due():
                    cut, self._cut = self._cut, None
                    self.cuts += 1
                    if cut is Cut.BEFORE:
                        break
                    lost.set()
                writer.write(data)
                await writer.drain()
        if not lost.is_set():
            writer.transport.abort()

    def _is_due(self) -> bool:
        self._skip -= 1
        return self._skip < 0

    async def _back(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: asyncio.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                if lost.is_set():
                    break
                writer.write(data)
                await writer.drain()
        writer.transport.abort()
