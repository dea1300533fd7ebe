"""Waiting for a state change: nobody sleeps and retries, nobody misses one, and many wait as one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import event

from fenzhang.intake.watcher import Watcher
from fenzhang.store.session import Database
from fenzhang.store.tables import InstructionState
from support.api import Api, order, populate, running_api, split

PATIENCE_S = 20


async def _timed(request: asyncio.Task[object]) -> float:
    started = time.monotonic()
    await request
    return time.monotonic() - started


@pytest.fixture
async def ordered(api: Api) -> Api:
    assert (await api.mall.post("/v1/orders", json=order())).status_code == 202
    assert (await api.mall.post("/v1/splits", json=split())).status_code == 202
    return api


async def test_wait_ends_when_the_state_is_terminal(ordered: Api) -> None:
    waiting = [
        asyncio.create_task(ordered.mall.get(path, params={"wait": PATIENCE_S}))
        for path in ("/v1/splits/split-1", "/v1/instructions/SPLIT/split-1")
    ]
    await asyncio.sleep(0.3)
    assert not any(task.done() for task in waiting)
    await ordered.set_state("SPLIT", "split-1", InstructionState.SETTLED)
    for task in waiting:
        answer = await asyncio.wait_for(task, 5)
        assert answer.json()["state"] == "SETTLED"


async def test_wait_does_not_end_for_a_state_that_is_not_terminal(ordered: Api) -> None:
    waiting = asyncio.create_task(ordered.mall.get("/v1/splits/split-1", params={"wait": 1}))
    await asyncio.sleep(0.2)
    await ordered.set_state("SPLIT", "split-1", InstructionState.SUBMITTED)
    assert (await waiting).json()["state"] == "SUBMITTED"
    assert waiting.done()


async def test_wait_with_a_known_state_ends_when_it_is_another(ordered: Api) -> None:
    params: dict[str, str | int] = {"wait": PATIENCE_S, "state": "ACCEPTED"}
    waiting = asyncio.create_task(ordered.mall.get("/v1/splits/split-1", params=params))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    await ordered.set_state("SPLIT", "split-1", InstructionState.SUBMITTED)
    assert (await asyncio.wait_for(waiting, 5)).json()["state"] == "SUBMITTED"
    params["state"] = "SETTLED"
    assert (await ordered.mall.get("/v1/splits/split-1", params=params)).json()["state"] == "SUBMITTED"


async def test_wait_for_what_is_known_already_or_unknown_does_not_wait(ordered: Api) -> None:
    await ordered.set_state(
        "CAPTURE", "order-1", InstructionState.REJECTED, {"code": "x", "message": "", "values": {}}
    )
    for path, status in (
        ("/v1/orders/order-1", 200),
        ("/v1/orders/unknown", 404),
        ("/v1/splits/unknown", 404),
    ):
        request = asyncio.create_task(ordered.mall.get(path, params={"wait": PATIENCE_S}))
        assert await _timed(request) < 5
        assert request.result().status_code == status


async def test_wait_ends_when_patience_does(ordered: Api) -> None:
    request = asyncio.create_task(ordered.mall.get("/v1/splits/split-1", params={"wait": 0.5}))
    assert 0.4 < await _timed(request) < 5
    assert request.result().json()["state"] == "ACCEPTED"


@pytest.mark.parametrize("wait", ["61", "-1", "nan", "inf", "x"])
async def test_patience_is_at_most_a_minute(shared_api: Api, wait: str) -> None:
    answer = await shared_api.mall.get("/v1/splits/s", params={"wait": wait})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")


# ------------------------------------------------------------------------------ the feed


async def test_feed_goes_on_from_its_cursor_and_waits_for_the_first(ordered: Api) -> None:
    await ordered.set_state("CAPTURE", "order-1", InstructionState.SETTLED)
    first = (await ordered.mall.get("/v1/completions")).json()
    [completion] = first["completions"]
    assert (completion["state"], completion["instruction"]["out_order_no"]) == ("SETTLED", "order-1")
    assert first["next"] == completion["id"]
    waiting = asyncio.create_task(
        ordered.mall.get("/v1/completions", params={"after": first["next"], "wait": PATIENCE_S})
    )
    await asyncio.sleep(0.3)
    assert not waiting.done()
    await ordered.set_state("SPLIT", "split-1", InstructionState.SETTLED)
    second = (await asyncio.wait_for(waiting, 5)).json()
    assert [item["instruction"]["out_split_no"] for item in second["completions"]] == ["split-1"]
    empty = (await ordered.mall.get("/v1/completions", params={"after": second["next"], "wait": 0.2})).json()
    assert empty == {"completions": [], "next": second["next"]}


async def test_feed_comes_in_pages(ordered: Api) -> None:
    for kind, reference in (("CAPTURE", "order-1"), ("SPLIT", "split-1")):
        await ordered.set_state(kind, reference, InstructionState.SETTLED)
    first = (await ordered.mall.get("/v1/completions?limit=1")).json()
    second = (await ordered.mall.get("/v1/completions", params={"limit": 1, "after": first["next"]})).json()
    kinds = [page["completions"][0]["instruction"]["type"] for page in (first, second)]
    assert kinds == ["CAPTURE", "SPLIT"]


# ------------------------------------------------------------------------------ many waiters, one reader


async def test_a_hundred_waiters_are_woken_by_one_reader(api: Api) -> None:
    items = [order(f"o-{number}") for number in range(100)]
    await api.mall.post("/v1/orders/batch", json={"items": items})
    waiting = [
        asyncio.create_task(api.mall.get(f"/v1/orders/o-{number}", params={"wait": PATIENCE_S}))
        for number in range(100)
    ]
    # Ten looks a second, each a statement or two, however many wait; once all are there and have looked themselves.
    seen = [await _statements_of_a_second(api)]
    while len(api.server.services.watcher._instructions) < 100 or (seen[-1] >= 40 and len(seen) < 10):
        seen.append(await _statements_of_a_second(api))
    assert seen[-1] < 40, seen
    for number in range(100):
        await api.set_state("CAPTURE", f"o-{number}", InstructionState.SETTLED)
    answers = await asyncio.wait_for(asyncio.gather(*waiting), PATIENCE_S)
    assert {answer.json()["state"] for answer in answers} == {"SETTLED"}


async def _statements_of_a_second(api: Api) -> int:
    statements = 0

    def count(*_: object) -> None:
        nonlocal statements
        statements += 1

    engine = api.database._reader.sync_engine
    event.listen(engine, "before_cursor_execute", count)
    await asyncio.sleep(1.0)
    event.remove(engine, "before_cursor_execute", count)
    return statements


@asynccontextmanager
async def _watching(database: Database) -> AsyncIterator[Watcher]:
    watcher = Watcher(database, interval_s=0.01)
    running = asyncio.create_task(watcher.run())
    yield watcher
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_change_right_after_registering_is_not_missed(api: Api) -> None:
    items = [order(f"o-{number}") for number in range(20)]
    await api.mall.post("/v1/orders/batch", json={"items": items})
    async with _watching(api.database) as watcher:
        for seq in range(1, 21):
            with watcher.instruction(seq) as wait:
                await api.set_state("CAPTURE", f"o-{seq - 1}", InstructionState.SETTLED)
                assert await wait.wait(PATIENCE_S)
            # Every other time, nobody waits for long enough that the watcher forgets how far it was.
            await asyncio.sleep(0.1 * (seq % 2))


async def test_who_waits_for_the_end_is_not_woken_for_who_waits_for_any_change(ordered: Api) -> None:
    async with _watching(ordered.database) as watcher:
        with watcher.instruction(1) as end, watcher.instruction(1, "ACCEPTED") as change:
            # The first look after nobody waited wakes everybody once.
            assert await end.wait(PATIENCE_S)
            assert await change.wait(PATIENCE_S)
            await ordered.set_state("CAPTURE", "order-1", InstructionState.SUBMITTED)
            assert await change.wait(PATIENCE_S)
            assert not await end.wait(0.3)


async def test_server_that_is_told_to_end_lets_those_who_wait_go(database: Database, tmp_path: Path) -> None:
    await populate(database)
    async with running_api(database, tmp_path) as api:
        await api.mall.post("/v1/orders", json=order())
        waiting = asyncio.create_task(api.mall.get("/v1/orders/order-1", params={"wait": 60}))
        await asyncio.sleep(0.3)
        started = time.monotonic()
        api.server.handle_exit(15, None)
        assert (await asyncio.wait_for(waiting, 5)).json()["state"] == "ACCEPTED"
        assert time.monotonic() - started < 5
