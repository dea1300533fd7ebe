"""What a platform may read of its files."""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator, Sequence
from io import StringIO
from json import JSONDecodeError
from typing import Any

import orjson
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.intake import strictjson
from fenzhang.intake.files.cutting import FileFormat, cut
from fenzhang.intake.files.errors import FileNotDone, UnknownFile
from fenzhang.intake.files.receiving import file_of
from fenzhang.intake.files.rows import REASONS
from fenzhang.store.session import Database
from fenzhang.store.tables import File, FileRejection, FileState

_PAGE = 1_000


async def file_named(session: AsyncSession, platform_id: bytes, reference: str) -> File:
    """A file. Raises UnknownFile."""
    found = await file_of(session, platform_id, reference)
    if found is None:
        raise UnknownFile(reference)
    return found


async def list_files(session: AsyncSession, platform_id: bytes, after: str, limit: int) -> Sequence[File]:
    """Files of a platform by reference, those behind `after`."""
    query = (
        select(File)
        .where(File.platform_id == platform_id, File.reference.is_not(None), File.reference > after)
        .order_by(File.reference)
        .limit(limit)
    )
    return (await session.execute(query)).scalars().all()


def require_done(file: File) -> None:
    """Raises FileNotDone: a list of rejections that may still grow would be taken for the whole."""
    if file.state != FileState.DONE:
        raise FileNotDone(
            "the file is still being processed; its rejected rows are listed when it is DONE",
            reference=file.reference,
            state=file.state,
        )


async def rejections_of(database: Database, file: File) -> AsyncIterator[bytes]:
    """The rejected rows of a file that is DONE, in its own format, each with line, code, field and message.

    CSV has the reasons before the file's own columns. Text that could not be told apart stands in the first of those.
    JSON Lines has the row, or its text, as `row`.
    """
    write = _CsvRows(file.columns) if file.format == FileFormat.CSV else _json_row
    if isinstance(write, _CsvRows):
        yield write.header()
    line = 0
    while line >= 0:
        async with database.read() as session:
            query = (
                select(FileRejection)
                .where(FileRejection.file_id == file.id, FileRejection.line > line)
                .order_by(FileRejection.line)
                .limit(_PAGE)
            )
            page = (await session.execute(query)).scalars().all()
        if page:
            yield b"".join(map(write, page))
        line = page[-1].line if len(page) == _PAGE else -1


def _reasons(rejection: FileRejection) -> list[Any]:
    return [rejection.line, rejection.code, rejection.field, rejection.message]


def _json_row(rejection: FileRejection) -> bytes:
    row: Any
    try:
        row = strictjson.loads(rejection.row)
    except JSONDecodeError:
        row = rejection.row.decode("utf-8", "backslashreplace")
    told = dict(zip(REASONS, _reasons(rejection), strict=True))
    return orjson.dumps(told | {"row": row}) + b"\n"


class _CsvRows:
    """Writes the rejected rows of a file with these columns."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._own = [place for place, name in enumerate(columns) if name not in REASONS]
        self._columns = columns

    def header(self) -> bytes:
        """The first line."""
        return _csv_line([*REASONS, *(self._columns[place] for place in self._own)])

    def __call__(self, rejection: FileRejection) -> bytes:
        """A row. The reasons of an earlier upload are replaced by those of this one."""
        [record] = cut(rejection.row, FileFormat.CSV, first_line=1, most=1, is_end=True).records
        cells = record.cells
        if cells is None:
            cells = [rejection.row.decode("utf-8", "backslashreplace")]
        elif len(cells) == len(self._columns):
            cells = [_shown(cells[place]) for place in self._own]
        else:
            cells = [_shown(cell) for cell in cells]
        return _csv_line([*_reasons(rejection), *cells])


def _shown(cell: str) -> str:
    """Bytes that were not UTF-8, as escapes."""
    return cell.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _csv_line(cells: Sequence[Any]) -> bytes:
    out = StringIO()
    csv.writer(out).writerow(cells)
    return out.getvalue().encode()
