"""The description of the API is true: its examples work, its problems are documented, and it holds under fuzzing."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from support.api import Api

pytestmark = pytest.mark.either_database

_SETUP_OF = {
    "/v1/splits": ["/v1/orders"],
    "/v1/releases": ["/v1/orders"],
    "/v1/returns": ["/v1/orders", "/v1/splits"],
    "/v1/splits/batch": ["/v1/orders"],
    "/v1/schedules": ["/v1/rules"],
}
"""Which examples come first, for those that refer to others."""
_PARAMETERS: dict[str, dict[str, Any]] = {
    "/v1/participants/{reference}/place": {"reference": "logistics-001"},
    "/v1/participants/{reference}/suspend": {"reference": "merchant-001"},
    "/v1/participants/{reference}/close": {"reference": "merchant-001"},
    "/v1/participants/{reference}/resume": {"reference": "suspended-001"},
    "/v1/platforms/{reference}/suspend": {"reference": "shop"},
    "/v1/platforms/{reference}/resume": {"reference": "shop"},
    "/v1/rules/{reference}/versions/{version}/approve": {"reference": "draft", "version": 1},
    "/v1/rules/{reference}/versions/{version}/veto": {"reference": "draft", "version": 1},
    "/v1/participants/{reference}/consent": {"reference": "merchant-001"},
    "/v1/platforms/{reference}/cap": {"reference": "mall"},
    "/v1/rules/{reference}/retire": {"reference": "retail-standard"},
    "/v1/rules/{reference}/what-if": {"reference": "retail-standard"},
}
_NOTHING_THERE = {
    "/v1/platforms/{reference}/resume",
    "/v1/unfreezes",
    "/v1/heirs",
    "/v1/conditions/{reference}/confirmation",
    "/v1/breaks/{number}/explanations",
    "/v1/breaks/{number}/resolutions",
}
"""Nobody is suspended, frozen or closed, no condition is on the chain, and there are no breaks."""
_NEEDS_NODE = {"/v1/quote"}
_FILES = "/v1/files"


async def _schema(api: Api) -> dict[str, Any]:
    answer = await api.anybody.get("/openapi.json")
    assert answer.status_code == 200
    schema: dict[str, Any] = answer.json()
    return schema


def _body_of(schema: dict[str, Any], operation: dict[str, Any]) -> dict[str, Any]:
    body = operation["requestBody"]["content"]["application/json"]["schema"]
    if "$ref" in body:
        body = schema["components"]["schemas"][body["$ref"].rpartition("/")[2]]
    found: dict[str, Any] = body
    return found


def _client_for(api: Api, operation: dict[str, Any]) -> httpx.AsyncClient:
    scopes = {scope for item in operation["security"] for scopes in item.values() for scope in scopes}
    clients = {
        "platform": api.mall,
        "operator": api.operator,
        "guardian": api.guardian,
        "approver": api.approver,
    }
    return next(client for scope, client in clients.items() if scope in scopes)


async def test_every_example_of_a_request_is_accepted(api: Api) -> None:
    schema = await _schema(api)
    tried = []
    for path, item in schema["paths"].items():
        if "post" not in item or path in {"/oauth/token", _FILES} or path in _NEEDS_NODE:
            continue
        for example in _body_of(schema, item["post"])["examples"]:
            for before in _SETUP_OF.get(path, []):
                [first] = _body_of(schema, schema["paths"][before]["post"])["examples"]
                assert (await api.mall.post(before, json=first)).status_code in {200, 202}
            client = _client_for(api, item["post"])
            if path in _NOTHING_THERE:
                continue  # tested with the others of its kind
            if path.startswith("/v1/schedules/"):
                continue  # the same bodies as for rules, under the same references
            answer = await client.post(path.format(**_PARAMETERS.get(path, {})), json=example)
            assert answer.status_code in {200, 201, 202}, f"{path}: {answer.text}"
            for element in answer.json().get("items", []):
                assert "code" not in element, f"{path}: {element}"
            tried.append(path)
    assert len(tried) >= 15


async def test_every_example_of_a_file_is_accepted(api: Api) -> None:
    schema = await _schema(api)
    content = schema["paths"][_FILES]["post"]["requestBody"]["content"]
    assert set(content) == {"text/csv", "application/jsonl", "application/x-ndjson"}
    for number, (media_type, described) in enumerate(content.items()):
        [example] = described["schema"]["examples"]
        answer = await api.mall.post(
            _FILES,
            params={"out_file_no": f"file-{number}"},
            content=example,
            headers={"Content-Type": media_type},
        )
        assert answer.status_code == 202, answer.text
        found = (await api.mall.get(f"{_FILES}/file-{number}", params={"wait": 30})).json()
        assert (found["state"], found["rejected"]) == ("DONE", 0)
        assert found["rows"] == len(example.split()) - (media_type == "text/csv")


async def test_every_operation_documents_its_problems_and_scopes(api: Api) -> None:
    schema = await _schema(api)
    for path, item in schema["paths"].items():
        for method, operation in item.items():
            documented = set(operation["responses"])
            if path.startswith("/v1/"):
                assert operation["security"], path
                assert {"401", "403"} <= documented, path
            if method == "post":
                assert {"400", "413", "415", "503"} <= documented, path
            assert operation["summary"], path
            assert operation["description"], path


@pytest.mark.parametrize("method", ["get", "put", "delete", "patch"])
async def test_a_method_that_an_endpoint_lacks_is_405_and_names_those_it_has(api: Api, method: str) -> None:
    answer = await api.mall.request(method, "/v1/splits")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert answer.json()["code"] == "method_not_allowed"
