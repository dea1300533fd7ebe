"""A file's way into the database, piece by piece, so that no transaction waits for a client.

Until the last piece is there the file has no reference: an upload that breaks off leaves nothing that anybody could
find, and what it did leave is swept away later.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterable
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.intake.actor import Actor
from fenzhang.intake.errors import ReferenceConflict
from fenzhang.intake.files.cutting import FileFormat
from fenzhang.intake.files.inspecting import Inspection
from fenzhang.store.errors import DatabaseUnavailable
from fenzhang.store.session import Database
from fenzhang.store.tables import File, FilePart, FileState

PART_BYTES = 256 * 1024
"""Of each part but the last one of a file."""
STALE_S = 3_600
"""An upload that has stood still for so long is given up."""
UNFINISHED = (FileState.RECEIVING, FileState.RECEIVED, FileState.PROCESSING)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Received:
    """A file that is durable; `created` if this upload brought it."""

    file: File
    created: bool


async def file_of(session: AsyncSession, platform_id: bytes, reference: str) -> File | None:
    """The file that a reference stands for."""
    query = select(File).where(File.platform_id == platform_id, File.reference == reference)
    return (await session.execute(query)).scalar_one_or_none()


async def count_unfinished(session: AsyncSession, platform_id: bytes) -> int:
    """How many files of a platform are arriving or not processed to their end."""
    query = (
        select(func.count())
        .select_from(File)
        .where(File.platform_id == platform_id, File.state.in_(UNFINISHED))
    )
    return (await session.execute(query)).scalar_one()


async def receive(
    database: Database, actor: Actor, reference: str, file_format: FileFormat, pieces: AsyncIterable[bytes]
) -> Received:
    """Store a file, durable when it returns. The same file under the same reference is stored once.

    Raises ReferenceConflict, DatabaseUnavailable, what Inspection raises, and what `pieces` raises; then nothing stays.
    """
    inspection = Inspection(file_format)
    async with database.read() as session:
        known = await file_of(session, actor.namespace, reference)
    if known is not None:
        # There is nothing to store: its hash tells whether it is the same.
        async for piece in pieces:
            inspection.feed(piece)
        return _same(known, inspection)
    receipt = _Receipt(database, actor, reference, inspection)
    try:
        async for piece in pieces:
            await receipt.add(piece)
        return await receipt.finish()
    except BaseException:
        await receipt.discard()
        raise


def _same(known: File, inspection: Inspection) -> Received:
    if known.sha256 != inspection.sha256 or known.format != inspection.format:
        raise ReferenceConflict("file", known.reference or "")
    return Received(known, created=False)


class _Receipt:
    """A file that is arriving."""

    def __init__(self, database: Database, actor: Actor, reference: str, inspection: Inspection) -> None:
        self._database = database
        self._actor = actor
        self._reference = reference
        self._inspection = inspection
        self._buffer = bytearray()
        self._stored = 0
        self._file_id: int | None = None

    async def add(self, piece: bytes) -> None:
        """Take up a piece; what fills a part is stored."""
        self._inspection.feed(piece)
        self._buffer += piece
        while len(self._buffer) >= PART_BYTES:
            async with self._database.write() as session:
                file = await self._store_part(session)
                file.received_at = int(time.time())

    async def finish(self) -> Received:
        """Store the rest, and make the file known under its reference. Raises ReferenceConflict."""
        self._inspection.end()
        inspection = self._inspection
        try:
            async with self._database.write() as session:
                file = await self._store_part(session)
                file.reference = self._reference
                file.state = FileState.RECEIVED.value
                file.columns = inspection.columns
                file.sha256 = inspection.sha256
                file.size = inspection.size
                file.lines = inspection.lines
                file.position = inspection.first_record
                file.line = 1 if inspection.columns else 0
                file.received_at = int(time.time())
            return Received(file, created=True)
        except IntegrityError:
            # Another upload of this reference was faster.
            async with self._database.read() as session:
                known = await file_of(session, self._actor.namespace, self._reference)
            if known is None:
                raise
            await self.discard()
            return _same(known, inspection)

    async def discard(self) -> None:
        """Forget what arrived. What cannot be forgotten now is swept away later."""
        if self._file_id is not None:
            with suppress(DatabaseUnavailable):
                async with self._database.write() as session:
                    await _forget(session, self._file_id)

    async def _store_part(self, session: AsyncSession) -> File:
        """Store up to PART_BYTES of the buffer; the file's row."""
        file = await self._row(session)
        content = bytes(self._buffer[:PART_BYTES])
        if content:
            session.add(FilePart(file_id=file.id, start=self._stored, content=content))
            await session.flush()
        self._stored += len(content)
        del self._buffer[:PART_BYTES]
        return file

    async def _row(self, session: AsyncSession) -> File:
        if self._file_id is not None:
            file = await session.get(File, self._file_id, with_for_update=True)
            if file is None or file.state != FileState.RECEIVING:
                raise DatabaseUnavailable("the upload stood still for too long; begin it again")
            return file
        actor = self._actor
        file = File(
            platform_id=actor.namespace,
            app_id=actor.client_id,
            request_id=actor.request_id,
            format=self._inspection.format.value,
            state=FileState.RECEIVING.value,
            columns=[],
            sha256=b"",
            size=0,
            lines=0,
            position=0,
            line=0,
            accepted=0,
            known=0,
            rejected=0,
            received_at=int(time.time()),
        )
        session.add(file)
        await session.flush()
        self._file_id = file.id
        return file


async def sweep(database: Database) -> int:
    """Forget uploads that broke off and stood still since; how many. Raises DatabaseUnavailable."""
    stale_since = int(time.time()) - STALE_S
    stale = select(File.id).where(File.state == FileState.RECEIVING, File.received_at < stale_since)
    async with database.read() as session:
        found = (await session.execute(stale)).scalars().all()
    for file_id in found:
        async with database.write() as session:
            await _forget(session, file_id, stale_since)
    if found:
        _log.info("forgot %d uploads that broke off", len(found))
    return len(found)


async def _forget(session: AsyncSession, file_id: int, stale_since: int | None = None) -> None:
    """Delete a file that is still arriving, if its newest bytes are older than `stale_since`."""
    # A commit whose answer was lost may have completed it, and an upload that stood still may have gone on.
    file = await session.get(File, file_id, with_for_update=True)
    if file is None or file.state != FileState.RECEIVING:
        return
    if stale_since is not None and file.received_at >= stale_since:
        return
    await session.execute(delete(FilePart).where(FilePart.file_id == file_id))
    await session.delete(file)
