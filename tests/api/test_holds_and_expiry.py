"""Holds and expiry at the API: what an order may carry and tells, and what is refused before anything is stored."""

from __future__ import annotations

import time
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import select

from fenzhang.domain.identifiers import order_id
from fenzhang.store import payloads, tables
from support.api import FAR_FUTURE, MALL, Api, give_back, order, release, split
from support.files import COLUMNS, CSV, JSONL, as_csv, as_jsonl, done, upload

pytestmark = pytest.mark.either_database

PAST = 1_000_000_000


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def timed(shared_api: Api) -> Api:
    """An API with an order on hold, one whose hold is over, and one that the chain's time has gone past."""
    bodies = (
        order("held", hold_until=FAR_FUTURE),
        order("was-held", hold_until=PAST, expires_at=FAR_FUTURE),
        order("expired", expires_at=PAST),
    )
    for body in bodies:
        assert (await shared_api.mall.post("/v1/orders", json=body)).status_code == 202
    assert (await shared_api.mall.post("/v1/splits", json=split("before", "expired", 100))).status_code == 202
    block = tables.Block(number=77, hash=b"h" * 32, parent_hash=b"p" * 32, timestamp=int(time.time()) - 9)
    await shared_api.add(block)
    return shared_api


async def test_times_are_answered_and_go_on_chain(timed: Api) -> None:
    body = order("times-1", hold_until=FAR_FUTURE, expires_at=FAR_FUTURE + 1)
    answer = await timed.mall.post("/v1/orders", json=body)
    assert answer.status_code == 202, answer.text
    assert (answer.json()["hold_until"], answer.json()["expires_at"]) == (FAR_FUTURE, FAR_FUTURE + 1)
    async with timed.database.read() as session:
        query = select(tables.Instruction.payload).where(tables.Instruction.reference == "times-1")
        payload = (await session.execute(query)).scalar_one()
    capture = payloads.capture_from(payload)
    assert (capture.hold_until, capture.expires_at) == (FAR_FUTURE, FAR_FUTURE + 1)
    shown = (await timed.mall.get("/v1/orders/times-1")).json()
    assert (shown["hold_until"], shown["expires_at"]) == (FAR_FUTURE, FAR_FUTURE + 1)
    other = await timed.mall.post("/v1/orders", json=body | {"expires_at": FAR_FUTURE + 2})
    assert (other.status_code, other.json()["code"]) == (409, "reference_conflict")


async def test_zero_is_the_same_as_no_time(timed: Api) -> None:
    assert (await timed.mall.post("/v1/orders", json=order("plain-1"))).status_code == 202
    again = await timed.mall.post("/v1/orders", json=order("plain-1", hold_until=0, expires_at=0))
    assert again.status_code == 200
    shown = (await timed.mall.get("/v1/orders/plain-1")).json()
    assert (shown["hold_until"], shown["expires_at"], shown["released_by_expiry"]) == (None, None, 0)


@pytest.mark.parametrize(
    ("times", "code", "field"),
    [
        ({"hold_until": 7, "expires_at": 7}, "hold_beyond_expiry", "hold_until"),
        ({"hold_until": 8, "expires_at": 7}, "hold_beyond_expiry", "hold_until"),
        ({"hold_until": -1}, "invalid_input", "hold_until"),
        ({"expires_at": "soon"}, "invalid_input", "expires_at"),
        ({"expires_at": 1.5}, "invalid_input", "expires_at"),
        ({"expires_at": 2**64}, "invalid_input", "expires_at"),
        ({"hold_until": None}, "invalid_input", "hold_until"),
    ],
)
async def test_times_that_cannot_be_are_refused(
    timed: Api, times: dict[str, Any], code: str, field: str
) -> None:
    before = await timed.contents()
    answer = await timed.mall.post("/v1/orders", json=order("bad-times", **times))
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, code), problem
    assert problem.get("field") == field or problem["errors"][0]["field"] == field
    assert await timed.contents() == before


async def test_nothing_is_accepted_for_an_order_on_hold(timed: Api) -> None:
    before = await timed.contents()
    for path, body in (
        ("/v1/splits", split("too-early", "held", 100)),
        ("/v1/releases", release("too-early", "held")),
    ):
        answer = await timed.mall.post(path, json=body)
        problem = answer.json()
        assert (answer.status_code, problem["code"], problem["field"]) == (409, "on_hold", "out_order_no")
        assert problem["values"] == {"reference": "held", "hold_until": FAR_FUTURE}
    assert await timed.contents() == before


async def test_a_hold_counts_within_the_request_that_captures_the_order(timed: Api) -> None:
    items = [
        {"type": "CAPTURE", **order("held-2", hold_until=FAR_FUTURE)},
        {"type": "SPLIT", **split("held-2-S", "held-2", 100)},
    ]
    answer = await timed.mall.post("/v1/instructions/batch", json={"items": items})
    assert [item.get("code") for item in answer.json()["items"]] == [None, "on_hold"]


async def test_an_order_whose_hold_is_over_is_like_any_other(timed: Api) -> None:
    answer = await timed.mall.post("/v1/splits", json=split("in-time", "was-held", 100))
    assert answer.status_code == 202, answer.text


async def test_an_expired_order_is_not_split_and_may_be_returned_from(timed: Api) -> None:
    answer = await timed.mall.post("/v1/splits", json=split("too-late", "expired", 100))
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["field"]) == (409, "order_expired", "out_order_no")
    assert problem["values"] == {"reference": "expired", "expires_at": PAST}
    back = await timed.mall.post("/v1/returns", json=give_back("back", "before", 10))
    assert back.status_code == 202, back.text
    assert (await timed.mall.post("/v1/releases", json=release("rest", "expired"))).status_code == 202


async def test_what_was_released_by_expiry_is_told(timed: Api) -> None:
    number = order_id(MALL, "was-released")
    await timed.mall.post("/v1/orders", json=order("was-released", expires_at=FAR_FUTURE))
    rows = [
        tables.Record(
            kind=kind,
            instruction_id=record,
            order_id=number,
            split_id=None,
            amount=amount,
            leaf=b"l" * 32,
            batch=1,
            leaf_index=0,
            block_number=77,
            tx_hash=b"t" * 32,
            log_index=0,
            reason=None,
        )
        for kind, record, amount in ((0, number, 9_900), (2, b"r" * 32, 900), (2, number, 9_000))
    ]
    await timed.add(*rows)
    shown = (await timed.mall.get("/v1/orders/was-released")).json()
    assert (shown["released"], shown["released_by_expiry"]) == (9_900, 9_000)


@pytest.mark.parametrize("form", [CSV, JSONL])
async def test_rows_of_files_have_times(timed: Api, form: str) -> None:
    kind = form.rpartition("/")[2]
    rows = [
        {"type": "CAPTURE", **order(f"file-{kind}-1", hold_until=FAR_FUTURE, expires_at=FAR_FUTURE + 9)},
        {"type": "SPLIT", **split(f"file-{kind}-S", f"file-{kind}-1", 100)},
    ]
    columns = (*COLUMNS, "hold_until", "expires_at")
    content = as_csv(rows, columns) if form == CSV else as_jsonl(rows)
    await upload(timed.mall, f"times-{kind}", content, form)
    found = await done(timed.mall, f"times-{kind}")
    assert (found["accepted"], found["rejected"]) == (1, 1)
    shown = (await timed.mall.get(f"/v1/orders/file-{kind}-1")).json()
    assert (shown["hold_until"], shown["expires_at"]) == (FAR_FUTURE, FAR_FUTURE + 9)
