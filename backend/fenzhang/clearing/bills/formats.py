"""A line as bytes: CSV (RFC 4180) or JSON Lines, UTF-8; and gzip that depends on nothing but its content."""

from __future__ import annotations

import csv
import gzip
import shutil
from collections.abc import Callable, Iterable
from enum import StrEnum
from io import StringIO
from typing import Any, BinaryIO

import orjson

from fenzhang.clearing.bills.lines import Line
from fenzhang.domain.money import MAX_AMOUNT

COLUMNS = Line._fields
"""What is told in a line, in this order."""
_LEVEL = 6


class BillFormat(StrEnum):
    """How a bill is written."""

    JSONL = "jsonl"
    """An object per line; what does not apply is null."""
    CSV = "csv"
    """RFC 4180 with a header; what does not apply is empty."""


def writer(form: BillFormat) -> tuple[bytes, Callable[[Iterable[Line]], bytes]]:
    """What stands before all lines, and a function that writes lines."""
    return (b"", _json_lines) if form is BillFormat.JSONL else (_csv_rows([COLUMNS]), _csv_lines)


def compress(content: BinaryIO, out: BinaryIO) -> None:
    """Write `content` as gzip without name and time: the same bytes as long as zlib is the same."""
    with gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=out, mtime=0) as packed:
        shutil.copyfileobj(content, packed)


def _json_lines(lines: Iterable[Line]) -> bytes:
    return b"".join(
        orjson.dumps(
            dict(zip(COLUMNS, map(_json_value, line), strict=True)), option=orjson.OPT_APPEND_NEWLINE
        )
        for line in lines
    )


def _json_value(value: Any) -> Any:
    """Integers beyond 64 bits as decimal text, as everywhere in the API."""
    return str(value) if isinstance(value, int) and abs(value) > MAX_AMOUNT else value


def _csv_lines(lines: Iterable[Line]) -> bytes:
    return _csv_rows(map(_csv_value, line) for line in lines)


def _csv_rows(rows: Iterable[Iterable[Any]]) -> bytes:
    out = StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue().encode()


def _csv_value(value: Any) -> Any:
    """Truth values as JSON writes them."""
    return str(value).lower() if isinstance(value, bool) else value
