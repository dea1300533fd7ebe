"""How a request is sent until it is answered: tokens, repetition, patience. No socket is needed to say so."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx
import pytest

from fenzhang.client.errors import (
    ApiUnreachable,
    Conflict,
    Forbidden,
    InvalidRequest,
    NotFound,
    ServerFailed,
    Unauthenticated,
    UnexpectedAnswer,
)
from fenzhang.client.flow import Flow, Pause, Send
from fenzhang.client.session import Call, Credentials, Repeat, RetryPolicy, Session
from fenzhang.domain.errors import InvalidInput

T = TypeVar("T")
Reply = Callable[[httpx.Request], httpx.Response] | httpx.TransportError
APP = Credentials("app_1", "secret")


def answer(status: int, content: Any = None, **headers: str) -> Reply:
    """A reply with JSON; header names have - for _."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: httpx.Response(status, json=content, headers=named, request=request)


TOKEN = answer(200, {"access_token": "token-1", "expires_in": 3600})
OK = answer(200, {"fine": True})
BUSY = answer(503, {"detail": "the database does not answer"}, Retry_After="1")


@dataclass(slots=True)
class Line:
    """Plays the other side of a session: replies in order, and a clock that only pauses move."""

    replies: Sequence[Reply]
    now: float = 0.0
    requests: list[httpx.Request] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)

    def session(self, credentials: Credentials | None = APP, **policy: float) -> Session:
        """A session on this line, whose jitter always draws the middle."""
        return Session(
            "http://api/", credentials, RetryPolicy(**policy), clock=lambda: self.now, draw=lambda: 0.5
        )

    def run(self, flow: Flow[T]) -> T:
        """Carry out a flow."""
        outcome: Any = None
        try:
            while True:
                match flow.send(outcome):
                    case Pause(seconds):
                        self.pauses.append(seconds)
                        self.now += seconds
                        outcome = None
                    case Send(request):
                        reply = self.replies[len(self.requests)]
                        self.requests.append(request)
                        outcome = reply if isinstance(reply, httpx.TransportError) else reply(request)
        except StopIteration as end:
            result: T = end.value
            return result

    @property
    def paths(self) -> list[str]:
        """Paths that were asked for."""
        return [request.url.path for request in self.requests]


def call(**given: Any) -> Call[Any]:
    values: dict[str, Any] = {"method": "POST", "path": "/v1/splits", "read": _as_is, "body": {"a": 1}}
    return Call(**values | given)


def _as_is(found: Any) -> Any:
    return found


# ------------------------------------------------------------------------------ tokens


def test_a_token_is_asked_for_once_and_used_until_it_ends() -> None:
    line = Line([TOKEN, OK, OK, TOKEN, OK])
    session = line.session()

    line.run(session.perform(call()))
    line.now = 3_500
    line.run(session.perform(call()))
    line.now = 3_590
    line.run(session.perform(call()))

    assert line.paths == ["/oauth/token", "/v1/splits", "/v1/splits", "/oauth/token", "/v1/splits"]
    assert line.requests[0].content == b"grant_type=client_credentials&client_id=app_1&client_secret=secret"
    assert line.requests[1].headers["Authorization"] == "Bearer token-1"


def test_a_token_that_is_not_taken_is_renewed_once() -> None:
    refused = answer(401, {"code": "invalid_token", "detail": "not valid"})
    line = Line([TOKEN, refused, TOKEN, OK])

    assert line.run(line.session().perform(call())) == {"fine": True}

    line = Line([TOKEN, refused, TOKEN, refused])
    with pytest.raises(Unauthenticated) as error:
        line.run(line.session().perform(call()))
    assert error.value.code == "invalid_token"


def test_a_wrong_secret_is_not_tried_again() -> None:
    line = Line([answer(401, {"code": "invalid_client", "detail": "the client id or secret is wrong"})])

    with pytest.raises(Unauthenticated, match="the client id or secret is wrong"):
        line.run(line.session().perform(call()))

    assert line.pauses == []


def test_what_is_public_needs_no_token() -> None:
    line = Line([OK])

    line.run(line.session().perform(call(method="GET", path="/readyz", body=None, public=True)))

    assert "Authorization" not in line.requests[0].headers


def test_a_secret_does_not_show() -> None:
    assert "secret" not in repr(APP)


# ------------------------------------------------------------------------------ repetition


@pytest.mark.parametrize(
    "trouble",
    [
        httpx.ConnectError("refused"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("closed"),
        httpx.ReadTimeout("slow"),
        answer(429, {}),
        answer(502, {}),
        answer(503, {}),
        answer(504, None),
    ],
)
def test_what_got_no_proper_answer_is_sent_again_as_it_was(trouble: Reply) -> None:
    line = Line([TOKEN, trouble, trouble, OK])

    assert line.run(line.session().perform(call())) == {"fine": True}

    assert len({(request.method, request.url, request.content) for request in line.requests[1:]}) == 1
    assert line.pauses == pytest.approx([0.075, 0.15])


def test_pauses_double_up_to_a_limit_and_heed_retry_after() -> None:
    trouble = httpx.ConnectError("refused")
    line = Line([TOKEN, *[trouble] * 9, BUSY, OK])

    line.run(line.session(patience_s=100.0).perform(call()))

    assert line.pauses == pytest.approx([0.075, 0.15, 0.3, 0.6, 1.2, 2.4, 3.75, 3.75, 3.75, 3.75])
    line = Line([TOKEN, BUSY, OK])
    line.run(line.session().perform(call()))
    assert line.pauses == [1.0]


def test_patience_ends() -> None:
    line = Line([TOKEN, *[BUSY] * 100])

    with pytest.raises(ApiUnreachable, match=r"http://api answers HTTP 503 \(the database does not answer\)"):
        line.run(line.session(patience_s=10.0).perform(call()))

    assert 5.0 < line.now <= 10.0


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequest),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (413, InvalidRequest),
        (422, InvalidRequest),
        (500, ServerFailed),
    ],
)
def test_a_refusal_is_final_and_says_what_the_api_said(status: int, kind: type[Exception]) -> None:
    problem = {"code": "some_reason", "detail": "in words", "field": "amount", "values": {"held": 5}}
    line = Line([TOKEN, answer(status, problem)])

    with pytest.raises(kind) as error:
        line.run(line.session().perform(call()))

    assert isinstance(error.value, InvalidRequest | Forbidden | NotFound | Conflict | ServerFailed)
    assert (error.value.status, error.value.code, error.value.message) == (status, "some_reason", "in words")
    assert error.value.values == {"held": 5, "field": "amount"}
    assert len(line.requests) == 2


def test_a_write_without_a_reference_is_only_repeated_if_it_was_never_sent() -> None:
    once = call(repeat=Repeat.IF_NEVER_SENT)
    line = Line([TOKEN, httpx.ConnectError("refused"), OK])
    assert line.run(line.session().perform(once)) == {"fine": True}

    for trouble in (httpx.ReadError("reset"), BUSY):
        line = Line([TOKEN, trouble, OK])
        with pytest.raises(ApiUnreachable):
            line.run(line.session().perform(once))


def test_a_wait_that_the_api_was_asked_for_is_added_to_the_timeout() -> None:
    line = Line([TOKEN, OK])

    line.run(line.session(timeout_s=10.0).perform(call(wait_s=60.0)))

    assert line.requests[1].extensions["timeout"] == {
        "connect": 10.0,
        "read": 70.0,
        "write": 10.0,
        "pool": 10.0,
    }


# ------------------------------------------------------------------------------ answers


@pytest.mark.parametrize("status", [200, 202])
def test_something_else_that_answers_is_not_taken_for_the_api(status: int) -> None:
    line = Line([TOKEN, lambda request: httpx.Response(status, text="<html>", request=request)])

    with pytest.raises(UnexpectedAnswer):
        line.run(line.session().perform(call()))


def test_an_error_page_is_shown_as_it_is() -> None:
    line = Line([TOKEN, lambda request: httpx.Response(404, text="nginx", request=request)])

    with pytest.raises(NotFound, match="HTTP 404: nginx") as error:
        line.run(line.session().perform(call()))

    assert error.value.code == "http_404"


def test_an_answer_of_another_version_is_named() -> None:
    line = Line([TOKEN, answer(200, {"other": 1})])

    with pytest.raises(UnexpectedAnswer, match="KeyError"):
        line.run(line.session().perform(call(read=lambda found: found["expected"])))


def test_the_body_is_json_with_integers_as_they_are() -> None:
    line = Line([TOKEN, OK])

    line.run(line.session().perform(call(body={"amount": 2**63 - 1})))

    assert json.loads(line.requests[1].content) == {"amount": 2**63 - 1}
    assert line.requests[1].headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("url", ["", "localhost:8700", "ftp://api", "http://", "/v1"])
def test_a_url_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(InvalidInput, match="base_url"):
        Session(url, APP, RetryPolicy())
