"""Files of instructions: stored whole, accepted row by row, rejected rows told apart, safe to upload again."""

from __future__ import annotations

import asyncio
import csv
import io
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson
import pytest
from sqlalchemy import func, select, update

from fenzhang.api.routes import files as files_route
from fenzhang.client import AsyncClient, Conflict, Credentials, FileState, NotFound
from fenzhang.domain.errors import InvalidInput
from fenzhang.intake.actor import Scope
from fenzhang.intake.apps import create_app
from fenzhang.intake.files import receiving
from fenzhang.store import tables
from fenzhang.store.session import Database
from support.api import Api, give_back, order, populate, release, running_api, split
from support.files import CSV, JSONL, as_csv, as_jsonl, counts, done, rejections, sold, upload

ON_SQLITE = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


_MANY = 8_000
"""Rows that take a file some seconds."""


def _day(orders: int) -> list[dict[str, Any]]:
    return [item for number in range(orders) for item in sold(number)]


async def _count(api: Api, table: type[tables.Base]) -> int:
    async with api.database.read() as session:
        return (await session.execute(select(func.count()).select_from(table))).scalar_one()


def _problem(answer: httpx.Response, status: int, code: str, field: str | None = None) -> dict[str, Any]:
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["code"], problem.get("field")) == (status, code, field), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return problem


# ------------------------------------------------------------------------------ the usual


@pytest.mark.parametrize(
    "media_type", [CSV, JSONL, "application/x-ndjson", "text/csv; charset=utf-8; header=present"]
)
async def test_a_file_of_all_types_is_accepted_in_order(api: Api, media_type: str) -> None:
    items = [
        *_day(700),
        {"type": "RETURN", **give_back("return-1", "split-3")},
        {"type": "RETURN", "out_return_no": "return-2", "out_split_no": "split-3", "amounts": [1, 0, 0, 5]},
        {"type": "RELEASE", **release("release-1", "order-3")},
    ]
    content = as_csv(items) if CSV in media_type else as_jsonl(items)

    answer = await upload(api.mall, "2026-11-11:day", content, media_type)

    assert answer.status_code == 202
    assert answer.json()["sha256"] == sha256(content).hexdigest()
    found = await done(api.mall, "2026-11-11:day")
    assert counts(found) == (len(items), 0, 0)
    assert found["bytes"] == found["bytes_processed"] == len(content)
    assert found["lines"] == len(items) + (CSV in media_type)
    assert found["received_at"] <= found["started_at"] <= found["finished_at"]
    assert await api.count() == len(items)
    known = (await api.mall.get("/v1/splits/split-699")).json()
    assert (known["state"], known["amount"]) == ("ACCEPTED", 6_600)
    assert known["request_id"] == found["request_id"] == answer.headers["x-request-id"]
    assert (await api.mall.get("/v1/instructions/RETURN/return-2")).json()["amounts"] == [1, 0, 0, 5]
    # Its bytes are not kept, once each row is decided.
    assert await _count(api, tables.FilePart) == 0


async def test_the_same_rows_by_single_requests_are_the_same_instructions(api: Api) -> None:
    assert (await api.mall.post("/v1/orders", json=order("order-0"))).status_code == 202
    await upload(api.mall, "f", as_csv(_day(2)), CSV)
    assert counts(await done(api.mall, "f")) == (3, 1, 0)
    for item in _day(2):
        path = "/v1/orders" if item.pop("type") == "CAPTURE" else "/v1/splits"
        assert (await api.mall.post(path, json=item)).status_code == 200


async def test_the_same_file_again_is_the_same_file_and_other_content_is_a_conflict(api: Api) -> None:
    content = as_jsonl(_day(3))
    first = await upload(api.mall, "f", content)
    again = await upload(api.mall, "f", content)
    assert (first.status_code, again.status_code) == (202, 200)
    await done(api.mall, "f")
    again = await upload(api.mall, "f", content)
    assert (again.status_code, again.json()["state"]) == (200, "DONE")
    _problem(await upload(api.mall, "f", content + b"\n"), 409, "reference_conflict")
    _problem(await upload(api.mall, "f", as_csv(_day(3)), CSV), 409, "reference_conflict")
    # Under another reference its rows are known.
    await upload(api.mall, "g", content)
    assert counts(await done(api.mall, "g")) == (0, 6, 0)
    assert await api.count() == 6


async def test_one_reference_uploaded_at_the_same_time_is_stored_once(api: Api) -> None:
    content = as_jsonl(_day(2_000))
    answers = await asyncio.gather(
        *(upload(api.mall, "f", content) for _ in range(4)), upload(api.mall, "f", b"{}")
    )
    codes = sorted(answer.status_code for answer in answers)
    assert codes in ([200, 200, 200, 202, 409], [202, 409, 409, 409, 409])
    found = await done(api.mall, "f")
    assert found["rows"] in {1, 4_000}
    assert (await _count(api, tables.File), await _count(api, tables.FilePart)) == (1, 0)


async def test_platforms_see_only_their_own_files(api: Api) -> None:
    await upload(api.mall, "f", as_jsonl(_day(1)))
    await done(api.mall, "f")
    for path in ("/v1/files/f", "/v1/files/f/rejections"):
        _problem(await api.shop.get(path), 404, "unknown_file")
    assert (await api.shop.get("/v1/files")).json() == {"files": [], "next": None}
    # The reference is free there; what the rows name is not theirs.
    assert (await upload(api.shop, "f", as_jsonl(_day(1)))).status_code == 202
    assert counts(await done(api.shop, "f")) == (0, 0, 2)


async def test_files_are_listed_by_reference_in_pages(api: Api) -> None:
    for name in ("c", "a", "d", "b"):
        await upload(api.mall, name, b"{}")
    first = (await api.mall.get("/v1/files", params={"limit": 3})).json()
    rest = (await api.mall.get("/v1/files", params={"limit": 3, "after": first["next"]})).json()
    assert [file["out_file_no"] for file in first["files"] + rest["files"]] == ["a", "b", "c", "d"]
    assert rest["next"] is None


# ------------------------------------------------------------------------------ rejected rows


async def test_rejected_rows_of_json_lines_come_back_with_line_reason_and_row(api: Api) -> None:
    bad: list[Any] = [
        {"type": "SPLIT", **split("s", "nowhere")},
        {"type": "SPLIT", **split("split-0", "order-0", 1)},
        {"type": "CAPTURE", **order("o", merchant="suspended-001")},
        {"type": "SPLIT", **split("s", "order-0", 0)},
        [1],
    ]
    good = as_jsonl(_day(1))
    content = (
        b"\xef\xbb\xbf"
        + good
        + as_jsonl(bad)
        + b'\r\n{"a": 1, "a": 2}\n{"x\\u0000": "\xff"}\n'
        + as_jsonl(sold(7))
    )

    assert (await upload(api.mall, "f", content)).status_code == 202

    assert counts(await done(api.mall, "f")) == (4, 0, 7)
    found = await rejections(api.mall, "f")
    assert [(row["line"], row["code"], row["field"]) for row in found] == [
        (3, "unknown_order", "out_order_no"),
        (4, "reference_conflict", ""),
        (5, "participant_not_active", "merchant"),
        (6, "invalid_amount", "amount"),
        (7, "invalid_input", "row"),
        (9, "malformed_json", "row"),
        (10, "not_utf8", "row"),
    ]
    assert [row["row"] for row in found[:5]] == bad
    assert [row["row"] for row in found[5:]] == ['{"a": 1, "a": 2}', '{"x\\u0000": "\\xff"}']
    assert "suspended" in found[2]["message"]


async def test_rejected_rows_of_csv_come_back_and_can_be_corrected_and_uploaded(api: Api) -> None:
    columns = ("type", "out_split_no", "out_order_no", "amount", "bindings.promoter")
    lines = [
        ",".join(columns),
        "SPLIT,s-1,order-0,12.50,",
        "SPLIT,s-2,order-0,100,",
        'SPLIT,"s\n3",order-0,100,',
        "SPLIT,s-4,order-0,100",
        'SPLIT,"s-5,order-0,100,',
        "SPLIT,s-6,order-0,100,,",
        "SPLIT,s-7,order-0,100,logistics-001",
        "RELEASE,,order-0,100,",
        'SPLIT,s-9,"=1+1, ""quoted""",100,',
        "SPLIT,s-10,\xff,100,",
        "SPLIT,s-11,order-0,300,",
    ]
    content = "\r\n".join(lines).encode("latin-1")
    await upload(api.mall, "orders", as_jsonl([{"type": "CAPTURE", **order("order-0")}]))
    assert (await upload(api.mall, "f", content, CSV)).status_code == 202
    assert counts(await done(api.mall, "f")) == (2, 0, 9)

    answer = await api.mall.get("/v1/files/f/rejections")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="f-rejections.csv"'
    header, *rows = csv.reader(io.StringIO(answer.text, newline=""), strict=True)
    assert header == ["line", "code", "field", "message", *columns]
    assert [row[:3] + row[4:] for row in rows] == [
        ["2", "invalid_amount", "amount", "SPLIT", "s-1", "order-0", "12.50", ""],
        ["4", "invalid_reference", "out_split_no", "SPLIT", "s\n3", "order-0", "100", ""],
        ["6", "column_count", "row", "SPLIT", "s-4", "order-0", "100"],
        ["7", "malformed_csv", "row", 'SPLIT,"s-5,order-0,100,'],
        ["8", "column_count", "row", "SPLIT", "s-6", "order-0", "100", "", ""],
        ["9", "role_already_bound", "bindings.promoter", "SPLIT", "s-7", "order-0", "100", "logistics-001"],
        ["10", "invalid_input", "out_release_no", "RELEASE", "", "order-0", "100", ""],
        ["11", "invalid_reference", "out_order_no", "SPLIT", "s-9", '=1+1, "quoted"', "100", ""],
        ["12", "not_utf8", "row", "SPLIT", "s-10", "\\xff", "100", ""],
    ]
    assert "amount" in rows[6][3]

    corrected = io.StringIO()
    csv.writer(corrected).writerows([header, [*rows[0][:7], "1250", ""]])
    await upload(api.mall, "g", corrected.getvalue().encode(), CSV)
    assert counts(await done(api.mall, "g")) == (1, 0, 0)
    assert (await api.mall.get("/v1/splits/s-1")).json()["amount"] == 1_250


async def test_more_rejections_than_fit_a_page_all_come(api: Api) -> None:
    await upload(api.mall, "f", b"?\n" * 2_500)
    assert counts(await done(api.mall, "f")) == (0, 0, 2_500)
    assert [row["line"] for row in await rejections(api.mall, "f")] == list(range(1, 2_501))


async def test_a_row_that_makes_a_transaction_fail_is_rejected_alone(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fenzhang.intake import build

    sound = build._split

    def failing(snapshot: Any, request: Any) -> Any:
        if request.reference == "split-1":
            raise ZeroDivisionError
        return sound(snapshot, request)

    monkeypatch.setattr(build, "_split", failing)
    await upload(api.mall, "f", as_jsonl(_day(3)))
    assert counts(await done(api.mall, "f")) == (5, 0, 1)
    [rejected] = await rejections(api.mall, "f")
    assert (rejected["line"], rejected["code"]) == (4, "internal_error")


# ------------------------------------------------------------------------------ refused as a whole


async def test_a_file_that_cannot_be_one_is_refused_and_leaves_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await api.contents()
    _problem(await upload(api.mall, "f", b"type,out_order,amount\n", CSV), 422, "invalid_header", "out_order")
    _problem(await upload(api.mall, "f", b"out_order_no\n", CSV), 422, "invalid_header", "type")
    _problem(await upload(api.mall, "f", b"", CSV), 422, "empty_file", "body")
    _problem(await upload(api.mall, "f", b"", JSONL), 422, "empty_file", "body")
    _problem(await upload(api.mall, "f", b"{}", "application/json"), 415, "unsupported_media_type")
    _problem(await upload(api.mall, "f", b"{}", ""), 415, "unsupported_media_type")
    _problem(await upload(api.mall, "bad reference", b"{}"), 422, "invalid_reference", "out_file_no")
    answer = await api.mall.post("/v1/files", content=b"{}", headers={"Content-Type": JSONL})
    _problem(answer, 422, "invalid_input", "out_file_no")
    # Discovered when parts of it are stored already.
    rows = as_jsonl(_day(3_000))
    _problem(await upload(api.mall, "f", rows + b"[" * 70_000), 422, "line_too_long", "body")
    _problem(await upload(api.mall, "f", rows + b"\n" * 200_000), 413, "file_too_large")
    monkeypatch.setattr("fenzhang.intake.files.inspecting.MAX_FILE_BYTES", 500_000)
    _problem(await upload(api.mall, "f", _chunks(rows)), 413, "file_too_large")
    assert await api.contents() == before
    assert (await upload(api.mall, "f", b"{}")).status_code == 202


async def _chunks(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 65_536):
        yield content[start : start + 65_536]


async def test_a_file_that_is_announced_as_enormous_is_refused_unread(api: Api) -> None:
    place = urlsplit(api.url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    writer.write(b"POST /v1/files?out_file_no=f HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n")
    writer.write(b"Content-Length: 999999999\r\n\r\n")
    await writer.drain()
    assert b" 413 " in await asyncio.wait_for(reader.readline(), 5)
    writer.close()


async def test_files_are_for_platforms(api: Api) -> None:
    assert (await upload(api.anybody, "f", b"{}")).status_code == 401
    assert (await upload(api.operator, "f", b"{}")).status_code == 403
    assert (await api.operator.get("/v1/files")).status_code == 403


async def test_rejections_are_told_when_they_are_complete(database: Database, tmp_path: Path) -> None:
    await populate(database)
    async with running_api(database, tmp_path, max_queue=2) as api:
        await upload(api.mall, "f", as_jsonl(_day(5)))
        problem = _problem(await api.mall.get("/v1/files/f/rejections"), 409, "file_not_done")
        assert problem["values"]["reference"] == "f"


# ------------------------------------------------------------------------------ uploads that break off


@ON_SQLITE
async def test_an_upload_that_breaks_off_leaves_nothing(api: Api) -> None:
    place = urlsplit(api.url)
    _, writer = await asyncio.open_connection(place.hostname, place.port)
    head = (
        "POST /v1/files?out_file_no=f HTTP/1.1\r\nHost: x\r\nContent-Type: application/jsonl\r\n"
        f"Authorization: {api.mall.headers['authorization']}\r\nContent-Length: 9000000\r\n\r\n"
    )
    writer.write(head.encode() + as_jsonl(_day(3_000)))
    await writer.drain()
    await _until_files(api, 1)
    assert (await api.mall.get("/v1/files")).json()["files"] == []
    writer.close()
    await _until_files(api, 0)
    assert await _count(api, tables.FilePart) == 0


async def _until_files(api: Api, count: int) -> None:
    async def reached() -> bool:
        return await _count(api, tables.File) == count

    await _until(reached)


async def _until(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await true():  # noqa: ASYNC110 -- what is awaited happens in the server
            await asyncio.sleep(0.02)


@ON_SQLITE
async def test_what_a_dead_process_had_received_is_swept_away_in_time(database: Database) -> None:
    def row(state: str, age_s: int) -> tables.File:
        return tables.File(
            platform_id=b"p", app_id="a", format="csv", state=state, columns=[], sha256=b"", size=0, lines=0,
            position=0, line=0, accepted=0, known=0, rejected=0, received_at=int(time.time()) - age_s,
        )  # fmt: skip

    async with database.write() as session:
        files = [row("RECEIVING", 10), row("RECEIVING", receiving.STALE_S + 10), row("RECEIVED", 10**6)]
        session.add_all(files)
        await session.flush()
        session.add_all(tables.FilePart(file_id=file.id, start=0, content=b"x") for file in files)
    assert await receiving.sweep(database) == 1
    async with database.read() as session:
        left = (await session.execute(select(tables.FilePart.file_id))).scalars().all()
    assert left == [files[0].id, files[2].id]


# ------------------------------------------------------------------------------ overload


async def test_rows_wait_while_half_of_the_queue_is_theirs_and_go_on_later(
    database: Database, tmp_path: Path
) -> None:
    await populate(database)
    async with running_api(database, tmp_path, max_queue=20) as api:
        assert (await upload(api.mall, "f", as_jsonl(_day(15)))).status_code == 202
        await _until_accepted(api, 10)
        await asyncio.sleep(1.5)
        found = (await api.mall.get("/v1/files/f")).json()
        assert (found["state"], counts(found)) == ("PROCESSING", (10, 0, 0))
        # Requests find room beside the file.
        assert (await api.mall.post("/v1/orders", json=order("live"))).status_code == 202
        settling = asyncio.create_task(_settle_again_and_again(database))
        assert counts(await done(api.mall, "f")) == (30, 0, 0)
        settling.cancel()


async def _until_accepted(api: Api, count: int) -> None:
    async def reached() -> bool:
        return bool((await api.mall.get("/v1/files/f")).json()["accepted"] >= count)

    await _until(reached)


async def _settle_again_and_again(database: Database) -> None:
    while True:
        async with database.write() as session:
            await session.execute(update(tables.Instruction).values(state="SETTLED"))
        await asyncio.sleep(0.2)


async def test_platforms_take_turns_and_a_platforms_files_keep_their_order(
    database: Database, tmp_path: Path
) -> None:
    await populate(database)
    async with running_api(database, tmp_path, max_queue=2) as api:
        # Nothing goes on while the queue is full, so all are there when it does.
        assert (await api.mall.post("/v1/orders", json=order("live"))).status_code == 202
        await asyncio.sleep(1.0)
        items = _day(_MANY)
        await upload(api.mall, "z-captures", as_jsonl(item for item in items if item["type"] == "CAPTURE"))
        await upload(api.mall, "a-splits", as_jsonl(item for item in items if item["type"] == "SPLIT"))
        await upload(api.shop, "small", as_jsonl(_day(1)))
        assert (await api.shop.get("/v1/files/small")).json()["state"] == "RECEIVED"
    async with running_api(database, tmp_path) as api:
        small = await done(api.shop, "small")
        assert small["state"] == "DONE"
        # The mall's captures are so many that they are not all read by now.
        assert (await api.mall.get("/v1/files/a-splits")).json()["state"] == "RECEIVED"
        # Splits came after the captures that they name.
        assert counts(await done(api.mall, "a-splits")) == (_MANY, 0, 0)


@ON_SQLITE
async def test_too_many_files_that_wait_are_429(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_route, "MAX_UNFINISHED", 0)
    answer = await upload(api.mall, "f", b"{}")
    _problem(answer, 429, "too_many_files")
    assert int(answer.headers["retry-after"]) >= 1


# ------------------------------------------------------------------------------ the client library


@ON_SQLITE
async def test_the_client_library_uploads_waits_and_fetches_rejections(api: Api, tmp_path: Path) -> None:
    async with api.database.write() as session:
        app = await create_app(session, "files", [Scope.PLATFORM], "mall")
    path = tmp_path / "day.jsonl"
    path.write_bytes(as_jsonl([*_day(2_000), {}]))
    async with AsyncClient(api.url, Credentials(app.client_id, app.secret)) as client:
        received = await client.upload_file(path, "day")
        assert received.bytes == path.stat().st_size
        found = await client.wait_for_file("day")
        assert (found.state, found.accepted, found.rejected) == (FileState.DONE, 4_000, 1)
        assert (await client.upload_file(str(path), "day")).state is FileState.DONE
        assert orjson.loads(await client.get_rejections("day"))["line"] == 4_001
        assert await client.list_files() == [found]
        with pytest.raises(InvalidInput):
            await client.upload_file(tmp_path / "day.xlsx", "other")
        with pytest.raises(NotFound):
            await client.get_rejections("other")
        path.write_bytes(b"{}")
        with pytest.raises(Conflict):
            await client.upload_file(path, "day")
