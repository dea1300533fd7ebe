"""Files of instructions: upload one, see how far it is, fetch the rows that were rejected."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import httpx

from fenzhang.client.errors import WaitTimeout
from fenzhang.client.flow import Flow
from fenzhang.client.reading import reader
from fenzhang.client.session import Call, Session
from fenzhang.domain.errors import InvalidInput

_PATH = "/v1/files"
_MEDIA_TYPES = {".csv": "text/csv", ".jsonl": "application/jsonl", ".ndjson": "application/jsonl"}
_PIECE_BYTES = 64 * 1024
_PAGE = 1_000
LONGEST_WAIT_S = 60.0
"""The API's own limit for one long poll."""


class FileState(StrEnum):
    """Where a file stands."""

    RECEIVED = "RECEIVED"
    """Durably stored, no row looked at yet."""
    PROCESSING = "PROCESSING"
    """Some of its rows are decided."""
    DONE = "DONE"
    """Each row is accepted, known or rejected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileView:
    """A file and how far it is. `rows` are decided: `accepted`, `known` (accepted before) or `rejected`."""

    out_file_no: str
    format: str
    state: FileState
    sha256: str
    bytes: int
    bytes_processed: int
    lines: int
    rows: int
    accepted: int
    known: int
    rejected: int
    received_at: int
    started_at: int | None = None
    finished_at: int | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePage:
    """A page of files; `next` is the cursor of the next one, None on the last."""

    files: tuple[FileView, ...]
    next: str | None = None


class FileBody(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A file on its way out, read in pieces as often as it is sent."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.size = path.stat().st_size

    def __iter__(self) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                yield piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece


class FileOperations:
    """The part of the API that is about files, as flows over one session."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def upload_file(self, path: str | Path, out_file_no: str) -> Flow[FileView]:
        """Upload a .csv or .jsonl file under the client's own reference; it is durable when this returns.

        The keystore's keys sign its instructions. Raises OSError for a file that cannot be read, InvalidInput for
        another kind of file, and Conflict when the reference stands for other content.
        """
        path = Path(path)
        media_type = _MEDIA_TYPES.get(path.suffix.lower())
        if media_type is None:
            raise InvalidInput(
                "path", f"the name of a file of instructions ends in {', '.join(_MEDIA_TYPES)}"
            )
        body = FileBody(path)
        headers = {"Content-Type": media_type, "Content-Length": str(body.size)}
        call = Call(
            method="POST",
            path=_PATH,
            read=reader(FileView),
            query={"out_file_no": out_file_no},
            stream=body,
            headers=headers,
        )
        return (yield from self._session.perform(call))

    def get_file(self, out_file_no: str, *, wait_s: float = 0.0) -> Flow[FileView]:
        """A file as it stands, or once it is DONE."""
        query = {"wait": wait_s} if wait_s > 0 else {}
        call = Call(
            method="GET", path=f"{_PATH}/{out_file_no}", read=reader(FileView), query=query, wait_s=wait_s
        )
        return (yield from self._session.perform(call))

    def wait_for_file(self, out_file_no: str, *, timeout_s: float = 600.0) -> Flow[FileView]:
        """A file once each of its rows is decided. Raises WaitTimeout."""
        deadline = self._session.clock() + timeout_s
        while True:
            wait_s = min(LONGEST_WAIT_S, max(0.0, deadline - self._session.clock()))
            found = yield from self.get_file(out_file_no, wait_s=wait_s)
            if found.state is FileState.DONE:
                return found
            if self._session.clock() >= deadline:
                raise WaitTimeout(
                    f"{found.rows} rows of the file {out_file_no} are decided after {timeout_s:g} s",
                    rows=found.rows,
                )

    def get_rejections(self, out_file_no: str) -> Flow[bytes]:
        """The rejected rows of a file that is DONE, with reasons, in its own format. Raises Conflict before that."""
        call = Call(method="GET", path=f"{_PATH}/{out_file_no}/rejections", read=bytes, is_json=False)
        return (yield from self._session.perform(call))

    def list_files(self) -> Flow[list[FileView]]:
        """All files of the platform."""
        found: list[FileView] = []
        after: str | None = ""
        while after is not None:
            query: dict[str, str | int] = {"limit": _PAGE, **({"after": after} if after else {})}
            call = Call(method="GET", path=_PATH, read=reader(FilePage), query=query)
            page = yield from self._session.perform(call)
            found += page.files
            after = page.next
        return found
