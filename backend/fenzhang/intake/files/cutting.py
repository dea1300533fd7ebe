"""A file's bytes cut into records: where each one begins, and what it consists of.

A record of JSON Lines is a line. A record of CSV is a line too, unless quotes hold line breaks. Where quotes do not
fit together, nobody knows where the record ends: then it is its first line alone, and the next line is looked at by
itself, so that one bad row does not swallow its neighbours.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

BOM = b"\xef\xbb\xbf"
MAX_RECORD_BYTES = 64 * 1024
"""Bytes of a line, and of all lines of a record. The longest row that could be accepted has a tenth of it."""


class FileFormat(StrEnum):
    """How rows are written."""

    CSV = "csv"
    """RFC 4180 with a header."""
    JSONL = "jsonl"
    """A JSON object per line."""


@dataclass(frozen=True, slots=True)
class Record:
    """A row as it came. `line` counts physical lines from 1; `raw` is without the line end.

    `cells` are a CSV row's values, None where its quotes do not fit together; bytes that are not UTF-8 are surrogates
    in them.
    """

    line: int
    raw: bytes
    cells: list[str] | None = None


@dataclass(slots=True)
class Cut:
    """Records, and how many bytes and lines of the data they and the blank lines between them took."""

    records: list[Record] = field(default_factory=list)
    size: int = 0
    lines: int = 0


def cut(data: bytes, file_format: FileFormat, *, first_line: int, most: int, is_end: bool) -> Cut:
    """Cut at most `most` records off `data`, which begins with line `first_line` of its file.

    Without `is_end` more data may follow: what may be an incomplete record is left for the next time. Data of two
    MAX_RECORD_BYTES always has a record, or it is blank.
    """
    done = Cut()
    while done.size < len(data) and len(done.records) < most:
        end = data.find(b"\n", done.size)
        if end < 0 and not is_end:
            break
        after = len(data) if end < 0 else end + 1
        raw = data[done.size : after].rstrip(b"\r\n")
        lines = 1
        if raw.strip():
            cells: list[str] | None = None
            if file_format is FileFormat.CSV:
                found = _csv_record(data, done.size, is_end=is_end)
                if found is None:
                    break
                cells, size, lines = found
                if cells is not None:
                    after = done.size + size
                    raw = data[done.size : after].rstrip(b"\r\n")
            done.records.append(Record(first_line + done.lines, raw, cells))
        done.size = after
        done.lines += lines
    return done


def header_cells(line: bytes) -> list[str] | None:
    """The values of a CSV file's first line, None where its quotes do not fit together."""
    reader = csv.reader([line.removeprefix(BOM).decode("utf-8", "replace")], strict=True)
    try:
        return next(reader, [])
    except csv.Error:
        return None


@dataclass(slots=True)
class _Lines:
    """Whole lines of `data` from `start` on, as far as a record may reach, for the csv module to ask for one by one."""

    data: bytes
    start: int
    is_end: bool
    size: int = 0
    """Bytes of the lines that were asked for."""
    ran_out: bool = False

    def __iter__(self) -> Iterator[str]:
        limit = min(len(self.data), self.start + MAX_RECORD_BYTES)
        while (begin := self.start + self.size) < limit:
            end = self.data.find(b"\n", begin, limit)
            if end < 0 and not (self.is_end and limit == len(self.data)):
                break
            after = limit if end < 0 else end + 1
            self.size += after - begin
            yield self.data[begin:after].decode("utf-8", "surrogateescape")
        self.ran_out = True


def _csv_record(data: bytes, start: int, *, is_end: bool) -> tuple[list[str] | None, int, int] | None:
    """Values, bytes and lines of the record at `start`; (None, …) for broken quotes, None where data is missing."""
    lines = _Lines(data, start, is_end)
    reader = csv.reader(lines, strict=True)
    try:
        cells = next(reader)
    except csv.Error:
        if lines.ran_out and not is_end and len(data) - start < MAX_RECORD_BYTES:
            return None
        return None, 0, 1
    return cells, lines.size, reader.line_num
