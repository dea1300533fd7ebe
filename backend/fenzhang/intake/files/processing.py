"""A file's rows, accepted as batch requests are: a chunk of them and the file's progress in one transaction.

So progress is exact whenever a process dies, and every process that looks finds where to go on. Several may work side
by side: whoever has locked a file's row works on it, and the others leave it alone. Files of a platform are taken in
the order in which they came, because rows of a later one may refer to an earlier one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.domain.errors import FenzhangError
from fenzhang.intake.actor import Actor
from fenzhang.intake.files.cutting import Cut, FileFormat, Record, cut
from fenzhang.intake.files.receiving import PART_BYTES
from fenzhang.intake.files.rows import value_of
from fenzhang.intake.requests import SettlementRequest
from fenzhang.intake.settlement import Answer, Outcome, accept
from fenzhang.intake.signatures import Verifier
from fenzhang.store.bulk import insert_rows
from fenzhang.store.errors import DatabaseError
from fenzhang.store.session import Database
from fenzhang.store.tables import File, FilePart, FileRejection, FileState

CHUNK = 500
"""Rows of one transaction. Requests that come at the same time wait for no more than these."""
_WINDOW_BYTES = 512 * 1024
"""Read for a chunk: always more than the two records that the cutter needs to see."""
_OPEN = (FileState.RECEIVED, FileState.PROCESSING)
_LONGEST = {"code": 64, "field": 128, "message": 1_000}
_log = logging.getLogger(__name__)

ReadItem = Callable[[Any], SettlementRequest]
"""What an item of a batch asks for. Raises InvalidInput."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A file with rows to be looked at."""

    file_id: int
    platform_id: bytes


@dataclass(frozen=True, slots=True)
class Progress:
    """What a chunk came to. `accepted` has the types of the new instructions."""

    accepted: Sequence[str]
    is_done: bool


class RowFailed(FenzhangError):
    """The row could not be dealt with, for a reason that is in the server's log."""

    code = "internal_error"


class FileProcessor:
    """Accepts the rows of files. `read_item` reads an item of a batch; `verifier` is not asked for anything."""

    def __init__(self, database: Database, verifier: Verifier, read_item: ReadItem) -> None:
        self._database = database
        self._verifier = verifier
        self._read_item = read_item

    async def waiting(self) -> list[Waiting]:
        """The file of each platform that is to be worked on next, by platform."""
        query = (
            select(File.platform_id, File.id)
            .where(File.state.in_(_OPEN))
            # One that was begun goes on first, and its state comes first in the alphabet as well.
            .order_by(File.platform_id, File.state, File.received_at, File.id)
        )
        async with self._database.read() as session:
            rows = (await session.execute(query)).all()
        return [
            Waiting(next(found)[1], platform_id)
            for platform_id, found in groupby(rows, key=lambda row: row[0])
        ]

    async def advance(self, file_id: int, most: int = CHUNK) -> Progress | None:
        """Accept up to `most` further rows of a file. None when another process is at it, or nothing is left.

        Raises DatabaseUnavailable. A row that makes a transaction fail is rejected, and its neighbours are not.
        """
        async with self._database.read() as session:
            file = await session.get(File, file_id)
            if file is None or file.state not in _OPEN:
                return None
            data, is_end = await _window(session, file)
        file_format = FileFormat(file.format)
        done = cut(data, file_format, first_line=file.line + 1, most=most, is_end=is_end)
        asked = [self._asked(record, file_format, file.columns) for record in done.records]
        try:
            return await self._commit(file, done, asked)
        except DatabaseError:
            raise
        except Exception:  # noqa: BLE001 -- whatever is wrong with one row, the others are not to suffer
            _log.exception("rows of file %d cannot be accepted together", file_id)
            if most > 1:
                return await self._one_by_one(file_id, len(done.records))
            failed = RowFailed("the row could not be dealt with; the server's log says why")
            return await self._commit(file, done, [failed] * len(asked))

    async def _one_by_one(self, file_id: int, count: int) -> Progress | None:
        progress = None
        accepted: list[str] = []
        for _ in range(count):
            progress = await self.advance(file_id, 1)
            if progress is None:
                break
            accepted += progress.accepted
        return Progress(accepted, is_done=progress is not None and progress.is_done)

    def _asked(
        self, record: Record, file_format: FileFormat, columns: Sequence[str]
    ) -> SettlementRequest | FenzhangError:
        try:
            return self._read_item(value_of(record, file_format, columns))
        except FenzhangError as refusal:
            return refusal

    async def _commit(
        self, seen: File, done: Cut, asked: Sequence[SettlementRequest | FenzhangError]
    ) -> Progress | None:
        """Accept a chunk, unless the file has been moved on since it was `seen`."""
        actor = Actor(seen.app_id, frozenset(), seen.platform_id, seen.request_id)
        unmoved = (
            select(File)
            .where(File.id == seen.id, File.position == seen.position, File.state.in_(_OPEN))
            .with_for_update(skip_locked=True)
        )
        async with self._database.write() as session:
            file = (await session.execute(unmoved)).scalar_one_or_none()
            if file is None:
                return None
            answers = await accept(session, actor, asked, self._verifier) if asked else []
            rejections = [
                _rejection(file.id, record, answer)
                for record, answer in zip(done.records, answers, strict=True)
                if isinstance(answer, FenzhangError)
            ]
            await insert_rows(session, FileRejection, rejections)
            return await _move_on(session, file, done, answers)


async def _window(session: AsyncSession, file: File) -> tuple[bytes, bool]:
    """Bytes of the file from its position on, and whether they are all that is left."""
    query = (
        select(FilePart.start, FilePart.content)
        .where(
            FilePart.file_id == file.id,
            FilePart.start > file.position - PART_BYTES,
            FilePart.start < file.position + _WINDOW_BYTES,
        )
        .order_by(FilePart.start)
    )
    parts = (await session.execute(query)).all()
    joined = b"".join(content for _, content in parts)
    first = parts[0][0] if parts else file.position
    return joined[file.position - first :], first + len(joined) >= file.size


async def _move_on(session: AsyncSession, file: File, done: Cut, answers: Sequence[Answer]) -> Progress:
    now = int(time.time())
    outcomes = [answer for answer in answers if isinstance(answer, Outcome)]
    accepted = [outcome.instruction.type for outcome in outcomes if outcome.created]
    file.accepted += len(accepted)
    file.known += len(outcomes) - len(accepted)
    file.rejected += len(answers) - len(outcomes)
    file.position += done.size
    file.line += done.lines
    file.started_at = file.started_at or now
    is_done = file.position >= file.size
    file.state = (FileState.DONE if is_done else FileState.PROCESSING).value
    file.finished_at = now if is_done else None
    processed = file.size if is_done else file.position - PART_BYTES
    await session.execute(delete(FilePart).where(FilePart.file_id == file.id, FilePart.start <= processed))
    return Progress(accepted, is_done)


def _rejection(file_id: int, record: Record, refusal: FenzhangError) -> dict[str, Any]:
    reason = {
        "code": refusal.code,
        "field": str(refusal.values.get("field", "")),
        "message": refusal.message,
    }
    return {
        "file_id": file_id,
        "line": record.line,
        **{name: _text(value)[: _LONGEST[name]] for name, value in reason.items()},
        "row": record.raw,
    }


def _text(value: str) -> str:
    """As every database holds it and every reader shows it: PostgreSQL's text has no NUL."""
    return "".join(character if character.isprintable() else "\ufffd" for character in value)
