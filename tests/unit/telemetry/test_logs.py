"""Lines for people and for machines, and what never gets into them."""

from __future__ import annotations

import logging
import sys
from typing import Any

import orjson
import pytest

from fenzhang.telemetry import requestid
from fenzhang.telemetry.logs import JsonFormatter, TextFormatter, fields, scrub, some


def _record(message: str, *args: object, error: bool = False, **extra: Any) -> logging.LogRecord:
    caught = sys.exc_info() if error else None
    logger = logging.getLogger("fenzhang.test")
    return logger.makeRecord(
        "fenzhang.test", logging.INFO, __file__, 1, message, args, caught, extra=fields(**extra)
    )


def _fail() -> None:
    raise ValueError('line one\nline two of postgresql://me:hunter2@db/x, {"client_secret": "hunter2"}')


def test_a_json_line_has_its_fields_and_the_request() -> None:
    token = requestid.current.set("req-1")
    line = orjson.loads(JsonFormatter().format(_record("carries %d", 3, tx_hash="0xab", requests=["a", "b"])))
    requestid.current.reset(token)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "INFO",
        "logger": "fenzhang.test",
        "message": "carries 3",
        "request_id": "req-1",
        "tx_hash": "0xab",
        "requests": ["a", "b"],
    }


def test_a_text_line_shows_the_fields_and_shortens_lists() -> None:
    line = TextFormatter().format(_record("carries %d", 5, tx_hash="0xab", requests=list("abcde")))
    assert line.endswith("INFO fenzhang.test: carries 5 (tx_hash 0xab, requests a b c and 2 more)")


def test_an_error_is_one_line_of_json_with_its_traceback() -> None:
    shown = ""
    try:
        _fail()
    except ValueError:
        shown = JsonFormatter().format(_record("failed", error=True))
    assert "\n" not in shown
    assert "ValueError: line one" in orjson.loads(shown)["error"]
    assert "hunter2" not in shown


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("cannot reach postgresql://me:hunter2@db:5432/x", "hunter2"),
        ("cannot reach postgresql+asyncpg://me:hun%2Fter@db/x?ssl=1", "hun%2Fter"),
        ("Authorization: Bearer abc.def-ghi", "abc.def-ghi"),
        ("authorization: basic YWJjOmRlZg==", "YWJjOmRlZg"),
        ("token eyJhbGciOiJI.eyJzdWIiOi.SflKxwRJSM here", "SflKxwRJSM"),
        ("client_secret=hunter2&grant_type=client_credentials", "hunter2"),
        ('{"client_secret": "hunter 2", "x": 1}', "hunter 2"),
        ("{'password': 'hunter2'}", "hunter2"),
        ("FENZHANG_JWT_SECRET=hunter2", "hunter2"),
        ("private_key: 0xabcdef", "0xabcdef"),
    ],
)
def test_what_looks_like_a_secret_is_not_shown(text: str, secret: str) -> None:
    assert secret in text
    assert secret not in scrub(text)


@pytest.mark.parametrize(
    "text",
    [
        "block 7, transaction 0xabcdef: 3 settled and posted, 0 rejected",
        "the node http://127.0.0.1:8545 cannot be reached (ConnectError)",
        "postgresql://me@db/x",
        "the access token has expired",
    ],
)
def test_everything_else_is_left_alone(text: str) -> None:
    assert scrub(text) == text


def test_a_list_of_ids_is_distinct_in_order_and_bounded() -> None:
    assert some(["b", "a", "b"]) == ["b", "a"]
    listed = some(str(n) for n in range(700))
    assert listed[499:] == ["499", "and 200 more"]


@pytest.mark.parametrize("given", ["a", "A.b_c:d-9", "x" * 64])
def test_a_safe_request_id_is_kept(given: str) -> None:
    assert requestid.given_or_new(given) == given


@pytest.mark.parametrize("given", [None, "", "x" * 65, "a b", "a\nb", "ä", 'a"b', "a/b"])
def test_any_other_is_replaced_by_a_new_one(given: str | None) -> None:
    made = requestid.given_or_new(given)
    assert made != given
    assert requestid.given_or_new(made) == made
    assert made != requestid.given_or_new(given)
