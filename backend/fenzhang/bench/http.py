"""A lean HTTP/1.1 client for load: on a machine of two cores the one who measures must not be what is measured."""

from __future__ import annotations

import asyncio
from typing import Any, cast
from urllib.parse import urlsplit

import httptools
import orjson

from fenzhang.domain.errors import FenzhangError


class LoadFailed(FenzhangError):
    """A request of the benchmark was not answered as it has to be; the figures would be worth nothing."""

    code = "load_failed"


class Connection(asyncio.Protocol):
    """One kept-alive connection; one request at a time."""

    def __init__(self, base: str, token: str = "") -> None:
        self._url = urlsplit(base)
        self._authorization = f"Authorization: Bearer {token}\r\n" if token else ""
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._parser: Any = None
        self._body: list[bytes] = []

    @classmethod
    async def open(cls, base: str, token: str = "") -> Connection:
        """Connect."""
        parts = urlsplit(base)
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(
            lambda: cls(base, token), parts.hostname or "", parts.port or 0
        )
        return protocol

    async def _connect(self) -> asyncio.Transport:
        loop = asyncio.get_running_loop()
        host, port = self._url.hostname or "", self._url.port or 0
        transport, _ = await loop.create_connection(lambda: self, host, port)
        return transport

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of a POST."""
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self._url.netloc}\r\n{self._authorization}"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return await self._exchange(head.encode("ascii") + body)

    async def get(self, path: str) -> Any:
        """JSON of a GET. Raises LoadFailed."""
        head = f"GET {path} HTTP/1.1\r\nHost: {self._url.netloc}\r\n{self._authorization}\r\n"
        status, body = await self._exchange(head.encode("ascii"))
        if status != 200:  # noqa: PLR2004 -- OK
            raise LoadFailed(f"GET {path} was answered {status}: {body[:200].decode(errors='replace')}")
        return orjson.loads(body)

    async def accept(self, path: str, body: bytes) -> bytes:
        """Body of a POST that must be answered 202. Raises LoadFailed."""
        status, answer = await self.post(path, body)
        if status != 202:  # noqa: PLR2004 -- accepted
            raise LoadFailed(f"POST {path} was answered {status}: {answer[:300].decode(errors='replace')}")
        return answer

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()

    async def _exchange(self, request: bytes) -> tuple[int, bytes]:
        # The server closes connections that were idle for some seconds.
        transport = self._transport or await self._connect()
        self._parser = httptools.HttpResponseParser(self)
        self._body = []
        self._answer = asyncio.get_running_loop().create_future()
        transport.write(request)
        return await self._answer

    # -------------------------------------------------------------------------- asyncio's and httptools' calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """A piece of an answer."""
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The server closed it."""
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(LoadFailed(f"the connection was lost: {exc}"))

    def on_body(self, body: bytes) -> None:
        """A piece of a body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """The answer is whole."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((self._parser.get_status_code(), b"".join(self._body)))
