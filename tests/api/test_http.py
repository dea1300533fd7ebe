"""HTTP itself: sizes, media types, JSON, methods, tokens; and in which order they are looked at."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import jwt
import pytest

from fenzhang.intake.actor import Scope
from support.api import JWT_KEY, MALL, Api, give_back, order, release, split

pytestmark = pytest.mark.either_database

MEBIBYTE = 1024 * 1024
JSON = {"Content-Type": "application/json"}


async def _problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    found: dict[str, Any] = answer.json()
    assert (answer.status_code, found["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return found


async def _chunks(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 65_536):
        yield b" " * 65_536


# ------------------------------------------------------------------------------ bodies


async def test_body_of_two_megabytes_is_413_with_or_without_its_length(api: Api) -> None:
    announced = await api.mall.post("/v1/splits", content=b" " * 2 * MEBIBYTE, headers=JSON)
    await _problem(announced, 413, "body_too_large")
    chunked = await api.mall.post("/v1/splits", content=_chunks(2 * MEBIBYTE), headers=JSON)
    await _problem(chunked, 413, "body_too_large")
    assert await api.count() == 0


async def test_body_that_is_announced_as_enormous_is_refused_unread(api: Api) -> None:
    place = urlsplit(api.url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    writer.write(b"POST /v1/splits HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
    await writer.drain()
    assert b" 413 " in await asyncio.wait_for(reader.readline(), 5)
    writer.close()


async def test_largest_body_that_is_allowed_is_read(api: Api) -> None:
    body = b'{"out_split_no":"s"' + b" " * (MEBIBYTE - 20) + b"}"
    assert len(body) == MEBIBYTE
    await _problem(await api.mall.post("/v1/splits", content=body, headers=JSON), 422, "invalid_input")


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"{'a': 1}",
        b'{"amount": NaN}',
        b'{"amount": Infinity}',
        b'{"a": "\xff"}',
        b'{"a": "\\ud800"}',
        b"[" * 100_000,
        b'{"a": 01}',
        b'{"a": 1' + b"0" * 5_000 + b"}",
        b'{"a": 1e999}',
        b"\xef\xbb\xbf{}",
        b'{"a": "\x00"}',
        b'{"a": 1, "a": 1}',
        b'{"items": [{"bindings": {"a": "x", "b": "y", "\\u0061": "z"}}]}',
    ],
)
async def test_malformed_json_is_400(shared_api: Api, body: bytes) -> None:
    before = await shared_api.contents()
    for path in ("/v1/splits", "/v1/splits/batch", "/v1/rules"):
        answer = await shared_api.mall.post(path, content=body, headers=JSON)
        await _problem(answer, 400, "malformed_json")
    assert await shared_api.contents() == before


async def test_name_that_stands_twice_is_named(shared_api: Api) -> None:
    body = b'{"out_split_no": "s", "out_order_no": "o", "amount": 1, "amount": 1000000}'
    answer = await shared_api.mall.post("/v1/splits", content=body, headers=JSON)
    problem = await _problem(answer, 400, "malformed_json")
    assert "'amount' twice" in problem["detail"]


def _nested(depth: int) -> Any:
    return [_nested(depth - 1)] if depth else {}


@pytest.mark.parametrize(
    "value",
    [
        2**64,
        -(2**63) - 1,
        10**300,
        1e308,
        "\0",
        "\U0010ffff",
        "x" * 500_000,
        _nested(200),
        {"\0": {}},
        [None],
    ],
    ids=lambda value: repr(value)[:20],
)
async def test_nonsense_in_any_place_is_4xx(shared_api: Api, value: Any) -> None:
    before = await shared_api.contents()
    for path, good in (
        ("/v1/orders", order()),
        ("/v1/splits", split()),
        ("/v1/returns", give_back()),
        ("/v1/releases", release()),
        ("/v1/rules", {"out_request_no": "p", "out_rule_no": "r", "legs": [], "version": 1}),
        ("/v1/quote", {"amount": 1, "legs": [], "bindings": {}}),
        ("/v1/participants", {"out_participant_no": "p"}),
    ):
        for bad in (*({**good, name: value} for name in good), {**good, "authorization": value}, value):
            answer = await shared_api.mall.post(path, json=bad)
            assert answer.status_code in {400, 422}, answer.text
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["code"].startswith(("invalid_", "malformed_", "unknown_currency"))
    for batch in ("/v1/orders/batch", "/v1/splits/batch", "/v1/instructions/batch"):
        answer = await shared_api.mall.post(batch, json={"items": [value, {"type": value}]})
        assert [item["status"] for item in answer.json()["items"]] == [422, 422], answer.text
    assert await shared_api.contents() == before


@pytest.mark.parametrize(
    "text", ["%00", "%ED%A0%80", "%FF", "a" * 8_000, "9" * 5_000, "-1", "null", "1e3", "%0A"]
)
async def test_nonsense_in_paths_and_queries_is_4xx(shared_api: Api, text: str) -> None:
    for path in (
        "/v1/splits/{}",
        "/v1/participants/{}",
        "/v1/rules/draft/versions/{}",
        "/v1/instructions/{}/x",
    ):
        answer = await shared_api.mall.get(path.format(text))
        assert answer.status_code in {404, 422}, answer.text
    for path in (
        "completions?after",
        "positions?limit",
        "positions?at_block",
        "splits/s?wait",
        "rules?platform",
    ):
        answer = await shared_api.mall.get(f"/v1/{path}={text}")
        assert answer.status_code in {404, 422}, answer.text


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/xml", "application/x-www-form-urlencoded", ""]
)
async def test_other_media_types_are_415(shared_api: Api, media_type: str) -> None:
    headers = {"Content-Type": media_type}
    answer = await shared_api.mall.post("/v1/splits", content=b"{}", headers=headers)
    problem = await _problem(answer, 415, "unsupported_media_type")
    assert problem["values"] == {"expected": "application/json"}


async def test_media_type_may_name_its_charset(api: Api) -> None:
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    answer = await api.mall.post("/v1/splits", json=split(order_no="none"), headers=headers)
    await _problem(answer, 404, "unknown_order")


async def test_client_that_goes_away_while_sending_leaves_nothing(api: Api) -> None:
    place = urlsplit(api.url)
    _, writer = await asyncio.open_connection(place.hostname, place.port)
    writer.write(
        b"POST /v1/orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
    )
    await writer.drain()
    writer.close()
    assert (await api.anybody.get("/healthz")).status_code == 200
    assert await api.count() == 0


# ------------------------------------------------------------------------------ paths and tokens


async def test_unknown_path_is_404(api: Api) -> None:
    await _problem(await api.mall.get("/v1/nothing"), 404, "unknown_endpoint")
    await _problem(await api.anybody.get("/v2"), 404, "unknown_endpoint")


async def test_path_parameter_with_forbidden_characters_is_422(api: Api) -> None:
    await _problem(await api.mall.get("/v1/splits/bad%20reference"), 422, "invalid_reference")


def _token(**changes: Any) -> str:
    claims: dict[str, Any] = {
        "iss": "fenzhang",
        "aud": "fenzhang-api",
        "sub": "app",
        "exp": int(time.time()) + 60,
        "scope": "platform",
        "platform": MALL.hex(),
    }
    key = changes.pop("key", JWT_KEY)
    merged = {name: value for name, value in (claims | changes).items() if value is not None}
    return jwt.encode(merged, key, algorithm=changes.pop("alg", "HS256"))


def _part(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _tampered(token: str) -> str:
    """The same signature under the scope of an operator."""
    head, _, signature = token.split(".")
    claims = jwt.decode(token, options={"verify_signature": False}) | {"scope": "operator platform"}
    return ".".join((head, _part(json.dumps(claims).encode()), signature))


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer nonsense",
        "Basic YTpi",
        "Bearer " + _token(key="x" * 32),
        "Bearer " + _token(exp=1),
        "Bearer " + _token(exp=None),
        "Bearer " + _token(aud="somebody-else"),
        "Bearer " + _token(iss="somebody-else"),
        "Bearer " + _token(scope="root"),
        "Bearer " + _token(scope=7),
        "Bearer " + _token(platform="nonsense"),
        "Bearer " + jwt.encode({"sub": "app", "scope": "platform"}, None, algorithm="none"),
        "Bearer " + _token().rpartition(".")[0] + ".",
        "Bearer " + _tampered(_token()),
        "Bearer " + _part(b"[" * 20_000) + ".e30.AAAA",
        "Bearer " + _part(b'{"alg": {"HS256": 1}}') + ".e30.AAAA",
        "Bearer \xff\xfe.\xff.\xff",
    ],
)
async def test_missing_or_invalid_token_is_401_whatever_is_in_the_body(
    shared_api: Api, authorization: str
) -> None:
    headers = {b"Authorization": authorization.encode("latin-1"), b"Content-Type": b"application/json"}
    answer = await shared_api.anybody.post("/v1/splits", content=b"{nonsense", headers=headers)
    await _problem(answer, 401, "invalid_token")
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_valid_token_made_by_hand_is_taken(api: Api) -> None:
    headers = {"Authorization": f"bearer {_token()}"}
    assert (await api.anybody.get("/v1/participants", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/apps"),
        ("POST", "/v1/platforms"),
        ("GET", "/v1/platforms/mall"),
        ("GET", "/v1/trial-balance"),
        ("GET", "/v1/statements?account=order_held&currency=CNY"),
        ("GET", "/v1/journal"),
        ("GET", "/v1/journal/head"),
        ("POST", "/v1/rules/draft/versions/1/approve"),
    ],
)
async def test_app_without_the_scope_is_403_before_its_body_is_looked_at(
    shared_api: Api, method: str, path: str
) -> None:
    answer = await shared_api.mall.request(method, path, json={} if method == "POST" else None)
    problem = await _problem(answer, 403, "insufficient_scope")
    assert "platform" not in problem["values"]["scopes"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/orders"),
        ("POST", "/v1/splits/batch"),
        ("GET", "/v1/orders/order-1"),
        ("GET", "/v1/participants"),
        ("GET", "/v1/positions"),
        ("GET", "/v1/statements/merchant-001?currency=CNY"),
        ("POST", "/v1/rules"),
    ],
)
async def test_operator_auditor_and_approver_do_not_act_for_platforms(
    shared_api: Api, method: str, path: str
) -> None:
    for client in (shared_api.operator, shared_api.auditor, shared_api.approver):
        answer = await client.request(method, path, json={} if method == "POST" else None)
        await _problem(answer, 403, "insufficient_scope")


async def test_precedence_of_problems(api: Api) -> None:
    operator_without_platform = api.client("app_x", [Scope.OPERATOR])
    async with operator_without_platform as client:
        # 413 before 401, 415 before 401, 401 before 400, 400 before 403, 403 before 422, 422 before 404.
        huge = b"{" * 2 * MEBIBYTE
        await _problem(await api.anybody.post("/v1/splits", content=huge), 413, "body_too_large")
        await _problem(await api.anybody.post("/v1/splits", content=b"{"), 415, "unsupported_media_type")
        await _problem(await api.anybody.post("/v1/splits", content=b"{", headers=JSON), 401, "invalid_token")
        await _problem(await client.post("/v1/splits", content=b"{", headers=JSON), 400, "malformed_json")
        await _problem(await client.post("/v1/splits", json={}), 403, "insufficient_scope")
    await _problem(await api.mall.post("/v1/splits", json=split("a b", "none")), 422, "invalid_reference")
    await _problem(await api.mall.post("/v1/splits", json=split(order_no="none")), 404, "unknown_order")


async def test_what_goes_wrong_inside_is_500_without_details(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def break_down(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("fenzhang.intake.settlement.load", break_down)
    answer = await api.mall.post("/v1/orders", json=order())
    problem = await _problem(answer, 500, "internal_error")
    assert "secret" not in str(problem)
    assert "secret detail" in caplog.text
