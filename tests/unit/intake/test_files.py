"""Files of rows: cut into records in whatever pieces they are read, and one bad row never costs its neighbours."""

from __future__ import annotations

import csv
import io
import json
from contextlib import suppress
from hashlib import sha256
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fenzhang.api.schemas.files import request_of
from fenzhang.api.schemas.settlement import TypedItem
from fenzhang.domain.errors import InvalidInput
from fenzhang.intake.files import cutting, inspecting
from fenzhang.intake.files.cutting import BOM, FileFormat, Record, cut
from fenzhang.intake.files.errors import EmptyFile, FileTooLarge, InvalidHeader, LineTooLong
from fenzhang.intake.files.inspecting import Inspection
from fenzhang.intake.files.rows import LISTS, NUMBERS, OBJECTS, TEXTS, checked_columns, value_of

CSV, JSONL = FileFormat.CSV, FileFormat.JSONL
_SMALL_RECORD = 24
_lines = st.lists(st.sampled_from(list(b'ab,"\r \xff\xc3')), max_size=_SMALL_RECORD - 2).map(bytes)
_files = st.lists(_lines, max_size=12).map(b"\n".join)
_cells = st.text(st.sampled_from('ab,"\n\r 价'), max_size=6)


def _all(data: bytes, file_format: FileFormat = CSV) -> list[Record]:
    return cut(data, file_format, first_line=1, most=10**6, is_end=True).records


# ------------------------------------------------------------------------------ cutting


@given(data=_files, file_format=st.sampled_from(FileFormat), steps=st.data())
def test_records_are_the_same_in_whatever_pieces_a_file_is_read(
    data: bytes, file_format: FileFormat, steps: st.DataObject
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cutting, "MAX_RECORD_BYTES", _SMALL_RECORD)
        found: list[Record] = []
        position = lines = 0
        while position < len(data):
            end = position + steps.draw(st.integers(2 * _SMALL_RECORD, 4 * _SMALL_RECORD))
            most = steps.draw(st.integers(1, 4))
            done = cut(
                data[position:end], file_format, first_line=lines + 1, most=most, is_end=end >= len(data)
            )
            assert done.size > 0
            found += done.records
            position += done.size
            lines += done.lines
        assert found == _all(data, file_format)
        assert lines == data.count(b"\n") + (not data.endswith(b"\n") and bool(data))


@given(rows=st.lists(st.lists(_cells, min_size=2, max_size=4), max_size=8), unix=st.booleans())
def test_what_the_csv_module_writes_is_read_with_its_first_lines(
    rows: list[list[str]], *, unix: bool
) -> None:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n" if unix else "\r\n", quoting=csv.QUOTE_ALL)
    expected = []
    for row in rows:
        expected.append((out.getvalue().count("\n") + 1, row))
        writer.writerow(row)
    assert [(record.line, record.cells) for record in _all(out.getvalue().encode())] == expected


@given(
    bad=st.sampled_from([b'x,"y', b'"', b'a,"b"c', b"a\rb", b'"a\nb"c', b'""",']),
    places=st.sets(st.integers(0, 9)),
)
def test_a_row_with_broken_quotes_costs_no_other_row(bad: bytes, places: set[int]) -> None:
    lines = []
    for number in range(10):
        lines += [bad] if number in places else []
        lines.append(b'good,"%d"' % number)
    found = [record.cells for record in _all(b"\n".join(lines))]
    assert [cells for cells in found if cells and cells[0] == "good"] == [["good", str(n)] for n in range(10)]


def test_a_record_begins_at_its_first_line_and_blank_lines_are_passed_over() -> None:
    data = b'\r\na,b\r\n\n"x\ny","z"\n  \nlast,1'
    assert [(r.line, r.raw, r.cells) for r in _all(data)] == [
        (2, b"a,b", ["a", "b"]),
        (4, b'"x\ny","z"', ["x\ny", "z"]),
        (7, b"last,1", ["last", "1"]),
    ]
    assert [r.line for r in _all(b'{}\n\n{"a":\n1}', JSONL)] == [1, 3, 4]


# ------------------------------------------------------------------------------ inspecting


@given(data=_files, sizes=st.lists(st.integers(1, 9), max_size=40))
def test_a_file_is_inspected_the_same_in_whatever_pieces_it_arrives(data: bytes, sizes: list[int]) -> None:
    inspection = Inspection(JSONL)
    rest = data
    for size in sizes:
        inspection.feed(rest[:size])
        rest = rest[size:]
    inspection.feed(rest)
    assert inspection.size == len(data)
    assert inspection.sha256 == sha256(data).digest()
    assert inspection.lines == data.count(b"\n") + (not data.endswith(b"\n") and bool(data))


@pytest.mark.parametrize("mark", [b"", BOM])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_the_header_is_read_behind_a_byte_order_mark(mark: bytes, end: bytes) -> None:
    inspection = Inspection(CSV)
    for byte in mark + b'type,"amount"' + end:
        inspection.feed(bytes([byte]))
    inspection.end()
    assert inspection.columns == ["type", "amount"]
    assert inspection.first_record == inspection.size


def test_a_byte_order_mark_before_json_lines_is_passed_over() -> None:
    inspection = Inspection(JSONL)
    inspection.feed(BOM + b"{}\n")
    assert inspection.first_record == 3


def test_what_is_no_file_of_rows_is_refused_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EmptyFile):
        Inspection(JSONL).end()
    with pytest.raises(LineTooLong, match="line 2 "):
        Inspection(JSONL).feed(b"{}\n" + b"[" * cutting.MAX_RECORD_BYTES)
    monkeypatch.setattr(inspecting, "MAX_LINES", 3)
    monkeypatch.setattr(inspecting, "MAX_FILE_BYTES", 20)
    Inspection(JSONL).feed(b"1\n2\n3\n")
    with pytest.raises(FileTooLarge, match="rows"):
        Inspection(JSONL).feed(b"1\n2\n3\n4")
    with pytest.raises(FileTooLarge, match="bytes"):
        Inspection(JSONL).feed(b"1" * 21)


# ------------------------------------------------------------------------------ rows


def test_the_columns_are_the_fields_of_the_items() -> None:
    fields = {name for model in get_args(get_args(TypedItem)[0]) for name in model.model_fields}
    assert fields == TEXTS | NUMBERS | LISTS | OBJECTS


@pytest.mark.parametrize(
    ("header", "field"),
    [
        ("", "type"),
        ("type,,amount", "header"),
        ("type,Amount", "Amount"),
        ("type, amount", " amount"),
        ("type;amount", "type;amount"),
        ("type,amount,amount", "amount"),
        ("type,bindings", "bindings"),
        ("type,bindings.", "bindings."),
        ("type,bindings.Promoter", "bindings.Promoter"),
        ("type,facts", "facts"),
        ("type,facts.colour", "facts.colour"),
        ("amount,out_order_no", "type"),
        ("type," + ",".join(f"bindings.r{n}" for n in range(80)), "header"),
        ('type,"amount', "header"),
        ("type,é", "é"),
        ("type," + "x" * 200, "x" * 64),
    ],
)
def test_a_header_that_names_no_columns_names_the_column(header: str, field: str) -> None:
    with pytest.raises(InvalidHeader) as refused:
        checked_columns(cutting.header_cells(header.encode()))
    assert refused.value.field == field


def _item(columns: list[str], line: str) -> Any:
    [record] = _all(line.encode())
    return value_of(record, CSV, columns)


def test_a_csv_row_is_the_item_of_a_batch() -> None:
    columns = [
        "line",
        "type",
        "amount",
        "amounts",
        "bindings.promoter",
        "bindings.merchant",
        "currency",
        "given",
        "facts.category",
        "facts.member_tier",
    ]
    assert _item(columns, "7,CAPTURE,990,,p-1,m-1,CNY,,tea,") == {
        "type": "CAPTURE",
        "amount": 990,
        "bindings": {"promoter": "p-1", "merchant": "m-1"},
        "currency": "CNY",
        "facts": {"category": "tea"},
    }
    assert _item(columns, ",RETURN,,1;0;20,,,,,,") == {"type": "RETURN", "amounts": [1, 0, 20]}
    assert _item(columns, ",SPLIT,99,,,,,7;0,,") == {"type": "SPLIT", "amount": 99, "given": [7, 0]}
    assert _item(columns, ",SPLIT,99,,,,,7,,") == {"type": "SPLIT", "amount": 99, "given": [7]}


@pytest.mark.parametrize(
    "cell", ["1.0", "1e3", " 1", "1 ", "+1", "01", "１", "1_000", "0x1", "-", "9" * 40, '"1,000"', "¥1"]
)
def test_an_amount_that_is_no_plain_integer_is_not_taken_for_one(cell: str) -> None:
    item = _item(["type", "out_split_no", "out_order_no", "amount"], f"SPLIT,s,o,{cell}")
    with pytest.raises(InvalidInput) as refused:
        request_of(item)
    assert (refused.value.code, refused.value.field) == ("invalid_amount", "amount")


@pytest.mark.parametrize(
    ("line", "code", "field"),
    [
        (b"{", "malformed_json", "row"),
        (b'{"type": "SPLIT", "type": "SPLIT"}', "malformed_json", "row"),
        (b'{"amount": NaN}', "malformed_json", "row"),
        (b"[" * 5_000, "malformed_json", "row"),
        (b'{"a": "\xff"}', "not_utf8", "row"),
        (b"[]", "invalid_input", "row"),
        (b"null", "invalid_input", "row"),
        (b"{}", "invalid_input", "type"),
        (b'{"type": ["SPLIT"]}', "invalid_input", "type"),
        (b'{"type": "ENROLL"}', "invalid_input", "type"),
        (b'{"type": "SPLIT", "out_split_no": "s", "out_order_no": "o"}', "invalid_input", "amount"),
        (b'{"type": "RELEASE", "out_release_no": "r", "out_order_no": "o", "x": 1}', "invalid_input", "x"),
        (
            b'{"type": "SPLIT", "out_split_no": "s s", "out_order_no": "o"}',
            "invalid_reference",
            "out_split_no",
        ),
    ],
)
def test_a_json_row_is_refused_with_its_reason(line: bytes, code: str, field: str) -> None:
    [record] = _all(line, JSONL)
    with pytest.raises(InvalidInput) as refused:
        request_of(value_of(record, JSONL, []))
    assert (refused.value.code, refused.value.field) == (code, field)


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_fields = st.sampled_from(sorted(TEXTS | NUMBERS | LISTS | OBJECTS | {"x\0"}))
_kinds = st.sampled_from(["CAPTURE", "SPLIT", "RELEASE", "RETURN"])
_items = st.builds(lambda kind, more: {**more, "type": kind}, _kinds, st.dictionaries(_fields, _values))


def _request_or_reason(record: Record, file_format: FileFormat, columns: list[str]) -> None:
    with suppress(InvalidInput):
        request_of(value_of(record, file_format, columns))


@given(lines=st.lists(st.one_of(st.binary(max_size=60), _items.map(lambda item: json.dumps(item).encode()))))
def test_whatever_stands_in_a_line_comes_to_a_request_or_a_reason(lines: list[bytes]) -> None:
    for record in _all(b"\n".join(lines), JSONL):
        _request_or_reason(record, JSONL, [])


@given(line=st.text(st.sampled_from('SPLIT,"; 0123\u4e00'), max_size=60), kind=_kinds)
def test_whatever_stands_in_a_csv_row_comes_to_a_request_or_a_reason(line: str, kind: str) -> None:
    columns = ["type", "out_split_no", "out_order_no", "amount", "amounts", "bindings.promoter"]
    for record in _all(f"{kind},{line}".encode()):
        _request_or_reason(record, CSV, columns)
