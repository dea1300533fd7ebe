"""Bulk files: instructions written as CSV or JSON Lines, and the rows that come back rejected."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fenzhang.client import NewInstruction
from fenzhang.client.models import body_of

_CSV = ".csv"


@contextmanager
def written(name: str, items: Sequence[NewInstruction]) -> Iterator[Path]:
    """A file of this name with a row for each instruction, as long as the block runs."""
    rows = [{"type": item.type.value, **body_of(item)} for item in items]
    with TemporaryDirectory(prefix="fenzhang-") as folder:
        path = Path(folder) / name
        path.write_text(_as_csv(rows) if path.suffix == _CSV else _as_jsonl(rows), encoding="utf-8")
        yield path


def rejected_rows(name: str, content: bytes) -> dict[int, tuple[str, str]]:
    """Code and message of each rejected row, by its place among the rows."""
    text = content.decode()
    if name.endswith(_CSV):
        # The first line is the header.
        return {
            int(row["line"]) - 2: (row["code"], row["message"]) for row in csv.DictReader(io.StringIO(text))
        }
    rows = [json.loads(line) for line in text.splitlines() if line]
    return {row["line"] - 1: (row["code"], row["message"]) for row in rows}


def _as_jsonl(rows: Sequence[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    cells = [dict(_cells(row)) for row in rows]
    columns = dict.fromkeys(name for row in cells for name in row)
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(cells)
    return out.getvalue()


def _cells(row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """A column for each role, and several amounts in one cell."""
    for name, value in row.items():
        match value:
            case Mapping():
                yield from ((f"{name}.{role}", holder) for role, holder in value.items())
            case list():
                yield name, ";".join(map(str, value))
            case _:
                yield name, value
