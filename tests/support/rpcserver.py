"""A JSON-RPC server on a free port that answers what a test tells it to, byte by byte."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

Responder = Callable[[Any], bytes | None]
"""From the JSON of a request to the raw bytes of the whole HTTP response; None closes the connection."""


def http(body: bytes, status: str = "200 OK", *, length: int | None = None) -> bytes:
    """A whole HTTP response; `length` is what it announces, if that is not the truth."""
    size = len(body) if length is None else length
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n".encode()
        + body
    )


def answer(result: Any) -> Responder:
    """Always this result."""

    def respond(request: Any) -> bytes:
        return http(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}).encode())

    return respond


def always(response: bytes | None) -> Responder:
    """Always these bytes."""
    return lambda _: response


@asynccontextmanager
async def serving(respond: Responder) -> AsyncIterator[tuple[str, list[Any]]]:
    """A server on a free port; yields its URL and the requests it got."""
    requests: list[Any] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                request = json.loads(await reader.readexactly(size))
                requests.append(request)
                response = respond(request)
                if response is None:
                    break
                writer.write(response)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            await end(writer)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}", requests
    finally:
        server.close()
        await server.wait_closed()


async def end(writer: asyncio.StreamWriter) -> None:
    """Close a connection, whoever was first."""
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
