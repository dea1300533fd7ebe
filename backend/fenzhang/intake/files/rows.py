"""Rows as the objects that a batch request would hold: of a CSV file by its columns, of JSON Lines as they are.

An empty cell is a field left out. What is in `amounts` or `given` is separated by semicolons, a role is bound in a
column `bindings.ROLE`, and a fact is stated in a column `facts.NAME`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from fenzhang.domain.facts import FACTS
from fenzhang.intake import strictjson
from fenzhang.intake.files.cutting import FileFormat, Record
from fenzhang.intake.files.errors import ColumnCount, InvalidHeader, NotCsv, NotJson, NotUtf8

TYPE = "type"
TEXTS = frozenset(
    {
        TYPE,
        "out_order_no",
        "out_rule_no",
        "out_split_no",
        "out_release_no",
        "out_return_no",
        "out_refund_no",
        "merchant",
        "currency",
        "channel",
        "condition_no",
    }
)
NUMBERS = frozenset({"amount", "rule_version", "hold_until", "expires_at"})
LISTS = frozenset({"amounts", "given"})
OBJECTS = frozenset({"bindings", "facts"})
"""Of these, each member has a column."""
REASONS = ("line", "code", "field", "message")
"""Columns that a file of rejected rows has before its own. They are passed over, so that it can be uploaded again."""
_NESTED = re.compile(rf"(bindings\.[a-z0-9_-]{{1,32}}|facts\.({'|'.join(FACTS)}))\Z")
_NUMBER = re.compile(r"(0|-?[1-9][0-9]{0,20})\Z")
_MOST_COLUMNS = 64
_SHOWN = 64
_ROW = "row"


def checked_columns(cells: Sequence[str] | None) -> list[str]:
    """The columns of a CSV file, from its header. Raises InvalidHeader naming the first column that cannot be."""
    if cells is None:
        raise InvalidHeader("header", "its quotes do not fit together")
    if len(cells) > _MOST_COLUMNS:
        raise InvalidHeader("header", f"a file has at most {_MOST_COLUMNS} columns")
    seen: set[str] = set()
    for name in cells:
        shown = name[:_SHOWN] or "header"
        if not (name in TEXTS or name in NUMBERS or name in LISTS or name in REASONS or _NESTED.match(name)):
            raise InvalidHeader(shown, "no instruction has such a column; commas separate columns")
        if name in seen:
            raise InvalidHeader(shown, "the column stands there twice")
        seen.add(name)
    if TYPE not in seen:
        raise InvalidHeader(TYPE, "the column is missing")
    return list(cells)


def value_of(record: Record, file_format: FileFormat, columns: Sequence[str]) -> Any:
    """What the record says. Raises NotUtf8, NotJson, NotCsv or ColumnCount."""
    try:
        record.raw.decode()
    except UnicodeDecodeError:
        raise NotUtf8(_ROW, "it is not UTF-8 text") from None
    if file_format is FileFormat.JSONL:
        try:
            return strictjson.loads(record.raw)
        except json.JSONDecodeError as error:
            raise NotJson(_ROW, f"it is not JSON: {error.msg}") from None
    if record.cells is None:
        raise NotCsv(_ROW, "its quotes do not fit together")
    if len(record.cells) != len(columns):
        raise ColumnCount(
            _ROW, f"it has {len(record.cells)} values, and the header has {len(columns)} columns"
        )
    return _item(columns, record.cells)


def _item(columns: Sequence[str], cells: Sequence[str]) -> dict[str, Any]:
    item: dict[str, Any] = {}
    for name, cell in zip(columns, cells, strict=True):
        if not cell or name in REASONS:
            continue
        if name in NUMBERS:
            item[name] = _number(cell)
        elif name in LISTS:
            item[name] = [_number(part) for part in cell.split(";")]
        elif name in TEXTS:
            item[name] = cell
        else:
            outer, _, inner = name.partition(".")
            item.setdefault(outer, {})[inner] = cell
    return item


def _number(cell: str) -> int | str:
    """A whole number; whatever else it is stays text, for the schema to refuse."""
    return int(cell) if _NUMBER.match(cell) else cell
