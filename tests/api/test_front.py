"""What every request gets: an id that stays with what it brought, and a place in the metrics."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from fenzhang.store.session import Database
from fenzhang.telemetry import metrics
from support.api import Api, give_back, order, populate, running_api, split

pytestmark = pytest.mark.either_database

GIVEN = {"X-Request-Id": "checkout-7:retry.1_a"}
ON_SQLITE = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


def _count(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0


async def test_the_clients_id_comes_back_and_stays_with_the_instruction(api: Api) -> None:
    answer = await api.mall.post("/v1/orders", json=order(), headers=GIVEN)
    assert answer.status_code == 202
    assert answer.headers["x-request-id"] == GIVEN["X-Request-Id"]
    assert answer.json()["request_id"] == GIVEN["X-Request-Id"]

    again = await api.mall.post("/v1/orders", json=order(), headers={"X-Request-Id": "another"})
    assert (again.status_code, again.headers["x-request-id"]) == (200, "another")
    assert again.json()["request_id"] == GIVEN["X-Request-Id"]

    shown = (await api.mall.get("/v1/instructions/CAPTURE/order-1")).json()
    assert shown["request_id"] == GIVEN["X-Request-Id"]


async def test_all_of_a_batch_and_governance_bear_the_id_of_their_request(api: Api) -> None:
    await api.mall.post("/v1/orders", json=order())
    batch = {"items": [split("s-1", amount=10), split("s-2", amount=20)]}
    answer = await api.mall.post("/v1/splits/batch", json=batch, headers=GIVEN)
    assert [item["request_id"] for item in answer.json()["items"]] == [GIVEN["X-Request-Id"]] * 2

    enrolled = await api.mall.post(
        "/v1/participants", json={"out_participant_no": "new-1"}, headers={"X-Request-Id": "enrol-1"}
    )
    assert enrolled.json()["enrolment"]["request_id"] == "enrol-1"


@ON_SQLITE
@pytest.mark.parametrize("unsafe", ["", "x" * 65, "a b", "a/b", '{"a":1}'])
async def test_an_unsafe_id_is_replaced(shared_api: Api, unsafe: str) -> None:
    answer = await shared_api.anybody.get("/healthz", headers={"X-Request-Id": unsafe})
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])


@ON_SQLITE
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("POST", "/v1/splits", 415), ("GET", "/v1/participants", 401)],
)
async def test_problems_name_the_request(shared_api: Api, method: str, path: str, status: int) -> None:
    answer = await shared_api.anybody.request(method, path, content=b"{}", headers=GIVEN)
    assert answer.status_code == status
    assert answer.json()["request_id"] == answer.headers["x-request-id"] == GIVEN["X-Request-Id"]


@ON_SQLITE
async def test_an_answer_to_what_breaks_inside_names_the_request_too(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("fenzhang.intake.settlement.load", break_down)
    answer = await api.mall.post("/v1/orders", json=order(), headers=GIVEN)
    assert answer.status_code == 500
    assert answer.json()["request_id"] == answer.headers["x-request-id"] == GIVEN["X-Request-Id"]


# ------------------------------------------------------------------------------ metrics


@ON_SQLITE
async def test_what_is_accepted_is_counted_once_by_type(api: Api) -> None:
    name = "fenzhang_instructions_accepted_total"
    before = {kind: _count(name, type=kind) for kind in ("CAPTURE", "SPLIT", "RETURN")}
    await api.mall.post("/v1/orders", json=order())
    for _ in range(2):
        items = [split("s-1", amount=10), split("s-2", amount=20), split("s-3", "none", 1)]
        await api.mall.post("/v1/splits/batch", json={"items": items})
    await api.mall.post("/v1/returns", json=give_back("r-1", "s-none"))
    after = {kind: _count(name, type=kind) - before[kind] for kind in before}
    assert after == {"CAPTURE": 1.0, "SPLIT": 2.0, "RETURN": 0.0}


@ON_SQLITE
async def test_requests_are_counted_by_template_and_never_by_what_the_client_wrote(api: Api) -> None:
    route = "/v1/splits/{reference}"
    labels = {"method": "GET", "route": route, "status": "404"}
    unmatched = {"method": "OTHER", "route": "unmatched", "status": "404"}
    before = _count("fenzhang_http_requests_total", **labels)
    before_unmatched = _count("fenzhang_http_requests_total", **unmatched)
    for number in range(5):
        await api.mall.get(f"/v1/splits/secret-ref-{number}")
        await api.mall.request("PROPFIND", f"/secret-path-{number}")
    assert _count("fenzhang_http_requests_total", **labels) - before == 5
    assert _count("fenzhang_http_requests_total", **unmatched) - before_unmatched == 5
    seconds = {"method": "GET", "route": route, "waited": "no"}
    assert _count("fenzhang_http_request_duration_seconds_count", **seconds) >= 5
    text = metrics.exposition().decode()
    assert "secret-" not in text
    assert "PROPFIND" not in text


@ON_SQLITE
async def test_the_api_serves_its_metrics_on_another_port_only(database: Database, tmp_path: Path) -> None:
    await populate(database)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    async with running_api(database, tmp_path, metrics_port=port) as api:
        await api.mall.post("/v1/orders", json=order())
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as inside:
            shown = await inside.get("/metrics")
            families = {family.name for family in text_string_to_metric_families(shown.text)}
            assert (await inside.get("/healthz")).json() == {"status": "ok"}
            ready = await inside.get("/readyz")
        assert (await api.anybody.get("/metrics")).status_code == 404
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    assert {
        "fenzhang_instructions_accepted",
        "fenzhang_http_requests",
        "fenzhang_http_request_duration_seconds",
        "fenzhang_transactions_sent",
        "fenzhang_transactions_reverted",
        "fenzhang_transactions_in_flight",
        "fenzhang_gas_used",
        "fenzhang_queue_instructions",
        "fenzhang_mirror_lag_blocks",
        "fenzhang_mirror_lag_seconds",
        "fenzhang_node_breaker_state",
        "process_resident_memory_bytes",
    } <= families
