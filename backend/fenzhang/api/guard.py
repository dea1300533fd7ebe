"""In front of the application: bodies are read whole, within the limit, and are of a media type that endpoints take.

Files are the exception: they have a limit of their own, and their endpoint reads them piece by piece.
"""

from __future__ import annotations

from email.message import Message

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.types import Message as AsgiMessage

from fenzhang.api.errors import BodyTooLarge, UnsupportedMediaType
from fenzhang.api.problems import response_of
from fenzhang.domain.errors import FenzhangError
from fenzhang.intake.files.cutting import FileFormat
from fenzhang.intake.files.inspecting import MAX_FILE_BYTES

MAX_BODY_BYTES = 1024 * 1024
_DRAIN_BYTES = 8 * 1024 * 1024
"""How much of too large a body is read and dropped: a client that is still sending would not read our answer."""
_FORM_PATHS = frozenset({"/oauth/token"})
FILE_PATH = "/v1/files"
"""The one endpoint whose body is larger, and is read piece by piece by itself."""
FILE_TYPES = {
    "text/csv": FileFormat.CSV,
    "application/jsonl": FileFormat.JSONL,
    "application/x-ndjson": FileFormat.JSONL,
}
"""Media types of files."""
_METHODS_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


class BodyGuard:
    """ASGI middleware: 413 for a body above MAX_BODY_BYTES, announced or not, and 415 for another media type."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"] == FILE_PATH and scope["method"] == "POST":
            await self._stream(scope, receive, send)
            return
        try:
            body = await _read(Headers(scope=scope), receive)
            _check_media_type(scope, body)
        except _Disconnected:
            return
        except FenzhangError as error:
            await response_of(error)(scope, receive, send)
            return
        pending = True

        async def replay() -> AsgiMessage:
            nonlocal pending
            if pending:
                pending = False
                return {"type": "http.request", "body": body, "more_body": False}
            return await receive()

        await self._app(scope, replay, send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the endpoint read a body of its own, after what can be told from the headers."""
        announced = Headers(scope=scope).get("content-length", "")
        try:
            if announced.isdecimal() and int(announced) > MAX_FILE_BYTES:
                raise BodyTooLarge(f"a file has at most {MAX_FILE_BYTES} bytes", limit=MAX_FILE_BYTES)
            if media_type_of(scope) not in FILE_TYPES:
                expected = ", ".join(FILE_TYPES)
                raise UnsupportedMediaType(f"this endpoint takes {expected}", expected=expected)
        except FenzhangError as error:
            await response_of(error)(scope, receive, send)
            return
        await self._app(scope, receive, send)


class _Disconnected(Exception):
    """The client went away while it was sending."""


async def _read(headers: Headers, receive: Receive) -> bytes:
    announced = headers.get("content-length", "")
    # A body that is announced as far too large is not read at all.
    if announced.isdecimal() and int(announced) > _DRAIN_BYTES:
        raise _too_large()
    chunks: list[bytes] = []
    size = 0
    more = True
    while more and size <= _DRAIN_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Disconnected
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size <= MAX_BODY_BYTES:
            chunks.append(chunk)
        more = message.get("more_body", False)
    if size > MAX_BODY_BYTES:
        raise _too_large()
    return b"".join(chunks)


def _too_large() -> BodyTooLarge:
    return BodyTooLarge(f"a body has at most {MAX_BODY_BYTES} bytes", limit=MAX_BODY_BYTES)


def _check_media_type(scope: Scope, body: bytes) -> None:
    if not body or scope["method"] in _METHODS_WITHOUT_BODY:
        return
    expected = "application/x-www-form-urlencoded" if scope["path"] in _FORM_PATHS else "application/json"
    if media_type_of(scope) != expected:
        raise UnsupportedMediaType(f"this endpoint takes {expected}", expected=expected)


def media_type_of(scope: Scope) -> str:
    """The media type that a request names for its body, without parameters."""
    header = Message()
    header["content-type"] = Headers(scope=scope).get("content-type", "")
    return header.get_content_type()
