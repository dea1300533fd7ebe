"""A bank over HTTP that answers nonsense is a bank that has not answered."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fenzhang.clearing.banks.http import ASKED_AT_ONCE, HttpBank
from fenzhang.clearing.banks.interface import Accepted, Refused, Submission, Unknown
from fenzhang.clearing.errors import BankUnavailable
from fenzhang.clearing.formats import ISO20022
from fenzhang.clearing.model import PayoutState, PayoutStatus

Answer = Callable[[bytes], Response]


def bank_saying(answer: Answer) -> HttpBank:
    """A bank whose every answer is made of what it was sent."""

    async def say(request: Request) -> Response:
        return answer(await request.body())

    app = Starlette(routes=[Route("/{anything:path}", say, methods=["GET", "POST"])])
    return HttpBank("odd", "http://odd", ISO20022, customer="me/and you", transport=httpx.ASGITransport(app))


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [
        (JSONResponse({"message_id": "M1"}, 202), Accepted()),
        (JSONResponse({"message_id": "M1"}, 200), Unknown("HTTP 200")),
        (JSONResponse({"message_id": "M2"}, 202), Unknown("HTTP 202")),
        (JSONResponse([], 202), Unknown("HTTP 202")),
        (Response(b"\xff", 202), Unknown("HTTP 202")),
        (JSONResponse({"reason": "AC02"}, 422), Refused("AC02")),
        (JSONResponse({"reason": "AC02 and a story " * 9}, 422), Refused("NARR")),
        (JSONResponse({"reason": None}, 409), Refused("NARR")),
        (JSONResponse({"problem": "no such page"}, 404), Unknown("HTTP 404")),
        (JSONResponse({"reason": "AC02"}, 429), Unknown("HTTP 429")),
        (JSONResponse({"reason": "AC02"}, 500), Unknown("HTTP 500")),
    ],
)
async def test_only_what_says_so_is_an_answer_to_a_file(answer: Response, meaning: Submission) -> None:
    async with bank_saying(lambda _content: answer) as bank:
        assert await bank.submit("M1", b"<Document/>") == meaning


@pytest.mark.parametrize(
    "answer",
    [
        Response(b"{", 200),
        JSONResponse([1], 200),
        JSONResponse({}, 200),
        JSONResponse({"E1": "PAID"}, 200),
        JSONResponse({"E1": {"state": "PERHAPS"}}, 200),
        JSONResponse({"E1": {"state": ["PAID"]}}, 200),
        JSONResponse({"E1": {"state": "PAID"}}, 203),
        JSONResponse({"documents": [1]}, 200),
    ],
)
async def test_nonsense_is_no_answer(answer: Response) -> None:
    async with bank_saying(lambda _content: answer) as bank:
        with pytest.raises(BankUnavailable):
            await bank.statuses(["E1"])
        with pytest.raises(BankUnavailable):
            await bank.documents(date(2026, 11, 22))


async def test_many_payouts_are_asked_about_in_parts() -> None:
    asked: list[int] = []

    def answer(content: bytes) -> Response:
        ids = httpx.Response(200, content=content).json()["end_to_end_ids"]
        asked.append(len(ids))
        told: dict[str, Any] = {each: {"state": "FAILED", "reason": 7} for each in ids}
        return JSONResponse(told)

    async with bank_saying(answer) as bank:
        found = await bank.statuses([f"E{number}" for number in range(ASKED_AT_ONCE + 1)])

    assert asked == [ASKED_AT_ONCE, 1]
    assert set(found.values()) == {PayoutStatus(PayoutState.FAILED, "NARR")}


async def test_a_bank_that_is_not_there_has_not_answered() -> None:
    async with HttpBank("gone", "http://127.0.0.1:9", ISO20022, customer="x") as bank:
        assert await bank.submit("M1", b"") == Unknown("ConnectError")
        with pytest.raises(BankUnavailable):
            await bank.statuses(["E1"])
