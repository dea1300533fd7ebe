"""What only the chain can refuse, asked for through HTTP: the answer says why, and nothing has moved."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from fenzhang.testing.system import LocalSystem
from support.shops import Shop, open_shop

pytestmark = [pytest.mark.node, pytest.mark.slow]
PATIENCE_S = 30


@pytest.fixture(scope="module")
def shop(fenzhang_system: LocalSystem) -> Shop:
    return open_shop(fenzhang_system, f"http-shop-{secrets.token_hex(4)}", None)


@pytest.fixture(scope="module")
def http(shop: Shop) -> Iterator[httpx.Client]:
    """The shop's app, with nothing between it and HTTP."""
    credentials = (shop.credentials.client_id, shop.credentials.client_secret)
    with httpx.Client(base_url=shop.system.api, timeout=PATIENCE_S + 10) as client:
        form = {"grant_type": "client_credentials"}
        token = client.post("/oauth/token", data=form, auth=credentials).json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        yield client


def _settle(http: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Write, and wait for what becomes of it."""
    assert http.post(path, json=body).status_code == 202
    [reference] = [body[name] for name in body if name.startswith("out_")][:1]
    found: dict[str, Any] = http.get(f"{path}/{reference}", params={"wait": PATIENCE_S}).json()
    assert found["state"] in {"SETTLED", "REJECTED"}
    return found


def _order(http: httpx.Client, shop: Shop) -> str:
    """An order of 1,000 of which 700 are split."""
    asked = shop.order(1_000)
    body = {
        "out_order_no": asked.out_order_no,
        "out_rule_no": asked.out_rule_no,
        "merchant": asked.merchant,
        "currency": asked.currency,
        "amount": asked.amount,
        "channel": asked.channel,
        "bindings": dict(asked.bindings),
    }
    assert _settle(http, "/v1/orders", body)["held"] == 1_000
    no = asked.out_order_no
    split = _settle(http, "/v1/splits", {"out_split_no": f"{no}-S", "out_order_no": no, "amount": 700})
    assert [leaf["amount"] for leaf in split["allocations"]] == [70, 140, 490]
    return no


def _standing(http: httpx.Client, no: str) -> tuple[object, ...]:
    order = http.get(f"/v1/orders/{no}").json()
    names = ("captured", "held", "split", "returned", "released")
    split = http.get(f"/v1/splits/{no}-S").json()["allocations"]
    return *(order[name] for name in names), split, http.get("/v1/positions").json()["positions"]


def test_what_the_order_or_split_does_not_have_is_rejected_and_moves_nothing(
    http: httpx.Client, shop: Shop
) -> None:
    no = _order(http, shop)
    before = _standing(http, no)
    asked: list[tuple[str, dict[str, Any], str, dict[str, Any]]] = [
        (
            "/v1/splits",
            {"out_split_no": f"{no}-T", "out_order_no": no, "amount": 301},
            "insufficient_held",
            {"amount": 301, "held": 300},
        ),
        (
            "/v1/returns",
            {"out_return_no": f"{no}-A", "out_split_no": f"{no}-S", "amount": 701},
            "insufficient_returnable",
            {"amount": 701, "returnable": 700},
        ),
        (
            "/v1/returns",
            {"out_return_no": f"{no}-B", "out_split_no": f"{no}-S", "amounts": [71, 0, 0]},
            "leaf_not_returnable",
            {"leaf": 0, "amount": 71, "returnable": 70},
        ),
    ]
    for path, body, code, values in asked:
        found = _settle(http, path, body)
        assert (found["state"], found["reason"]["code"]) == ("REJECTED", code), found
        assert values.items() <= found["reason"]["values"].items()
        assert "allocations" not in found
        assert _standing(http, no) == before


def test_an_order_is_released_once(http: httpx.Client, shop: Shop) -> None:
    no = _order(http, shop)
    first = _settle(http, "/v1/releases", {"out_release_no": f"{no}-R", "out_order_no": no})
    assert (first["state"], [leaf["amount"] for leaf in first["allocations"]]) == ("SETTLED", [300])
    before = _standing(http, no)
    second = _settle(http, "/v1/releases", {"out_release_no": f"{no}-Q", "out_order_no": no})
    assert (second["state"], second["reason"]["code"]) == ("REJECTED", "nothing_held")
    assert second["reason"]["values"] == {"order_id": second["order_id"]}
    assert _standing(http, no) == before


def test_party_that_was_suspended_since_the_order_receives_nothing(http: httpx.Client, shop: Shop) -> None:
    no = _order(http, shop)
    before = _standing(http, no)
    promoter = http.get("/v1/participants/promoter-1").json()["participant_id"]
    for change, standing in (("suspend", "SUSPENDED"), ("resume", "ACTIVE")):
        request = f"{change}-{no}"
        http.post(f"/v1/participants/promoter-1/{change}", json={"out_request_no": request})
        http.get(f"/v1/instructions/{change.upper()}/{request}", params={"wait": PATIENCE_S})
        assert http.get("/v1/participants/promoter-1").json()["status"] == standing
        if change == "suspend":
            found = _settle(
                http, "/v1/splits", {"out_split_no": f"{no}-T", "out_order_no": no, "amount": 100}
            )
            assert found["reason"]["code"] == "recipient_not_active"
            assert found["reason"]["values"] == {"recipient": promoter}
            assert _standing(http, no) == before
