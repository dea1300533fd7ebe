"""Files of instructions for tests: rows, uploads, and what became of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any

import httpx
import orjson

from support.api import order, split

CSV = "text/csv"
JSONL = "application/jsonl"
COLUMNS = (
    "type",
    "out_order_no",
    "out_rule_no",
    "merchant",
    "currency",
    "amount",
    "channel",
    "bindings.platform",
    "bindings.logistics",
    "bindings.promoter",
    "bindings.merchant",
    "out_split_no",
    "out_return_no",
    "out_release_no",
    "out_refund_no",
    "amounts",
    "given",
)


def sold(number: int) -> list[dict[str, Any]]:
    """An order and a split of it."""
    return [
        {"type": "CAPTURE", **order(f"order-{number}")},
        {"type": "SPLIT", **split(f"split-{number}", f"order-{number}")},
    ]


def as_jsonl(items: Iterable[Any]) -> bytes:
    """A line per item."""
    return b"".join(orjson.dumps(item) + b"\n" for item in items)


def as_csv(items: Iterable[dict[str, Any]], columns: tuple[str, ...] = COLUMNS, end: str = "\r\n") -> bytes:
    """A header, and a line per item."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator=end)
    writer.writerow(columns)
    for item in items:
        cells = {**item, **{f"bindings.{role}": name for role, name in item.get("bindings", {}).items()}}
        cells |= {name: ";".join(map(str, item[name])) for name in ("amounts", "given") if name in item}
        writer.writerow([cells.get(name, "") for name in columns])
    return out.getvalue().encode()


async def upload(
    client: httpx.AsyncClient, out_file_no: str, content: Any, media_type: str = JSONL
) -> httpx.Response:
    """Upload a file."""
    return await client.post(
        "/v1/files",
        params={"out_file_no": out_file_no},
        content=content,
        headers={"Content-Type": media_type},
    )


async def done(client: httpx.AsyncClient, out_file_no: str) -> dict[str, Any]:
    """The file once it is DONE."""
    answer = await client.get(f"/v1/files/{out_file_no}", params={"wait": 60}, timeout=90)
    found: dict[str, Any] = answer.json()
    assert found["state"] == "DONE", found
    return found


async def rejections(client: httpx.AsyncClient, out_file_no: str) -> list[dict[str, Any]]:
    """The rejected rows of a JSON Lines file."""
    answer = await client.get(f"/v1/files/{out_file_no}/rejections")
    assert (answer.status_code, answer.headers["content-type"]) == (200, JSONL)
    return [orjson.loads(line) for line in answer.content.splitlines()]


def counts(found: dict[str, Any]) -> tuple[int, int, int]:
    """Accepted, known and rejected."""
    assert found["rows"] == found["accepted"] + found["known"] + found["rejected"]
    return found["accepted"], found["known"], found["rejected"]
