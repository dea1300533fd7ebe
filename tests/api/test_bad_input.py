"""Bad input is answered with a stable code, and changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

from fenzhang.store.tables import InstructionState, Participant
from support.api import MALL, Api, give_back, order, participant, release, split

pytestmark = pytest.mark.either_database

SIMPLE_BINDINGS = {"platform": "mall", "merchant": "merchant-001"}


def _simple(rule: str, **changes: Any) -> dict[str, Any]:
    return order("o", out_rule_no=rule, bindings=SIMPLE_BINDINGS) | changes


def _bound(**changes: str) -> dict[str, Any]:
    return order("o", bindings=order()["bindings"] | changes)


async def _refused(  # noqa: PLR0917 -- what is asked, and what is expected, in the order of the tables below
    api: Api, path: str, body: Any, status: int, code: str, field: str | None = None
) -> dict[str, Any]:
    before = await api.contents()
    answer = await api.mall.post(path, json=body)
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["status"] == status
    assert problem["type"] == f"urn:fenzhang:problem:{code}"
    if field is not None:
        assert problem["field"] == field
    # Whoever reads it knows what it is about: a field, or a record by its reference.
    assert {"field", "reference", "rule"} & (problem.keys() | problem.get("values", {}).keys()), problem
    assert await api.contents() == before
    return problem


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def with_orders(shared_api: Api) -> Api:
    """An API with an order, one with an open role and a rejected one; a split and a rejected one."""
    api = shared_api
    bindings = order()["bindings"]
    del bindings["promoter"]
    for item in (order(), order("open", bindings=bindings), order("rejected")):
        assert (await api.mall.post("/v1/orders", json=item)).status_code == 202
    await api.set_state("CAPTURE", "rejected", InstructionState.REJECTED, {"code": "currency_not_enabled"})
    for item in (split(), split("rejected")):
        assert (await api.mall.post("/v1/splits", json=item)).status_code == 202
    await api.set_state("SPLIT", "rejected", InstructionState.REJECTED, {"code": "insufficient_held"})
    return api


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        (_simple("nothing"), 404, "unknown_rule", "out_rule_no"),
        (_simple("versioned", rule_version=9), 404, "unknown_rule", "rule_version"),
        (_simple("draft"), 409, "rule_not_approved", None),
        (_simple("unmirrored"), 409, "rule_not_approved", None),
        (_simple("future"), 409, "rule_not_effective", None),
        (_simple("future", rule_version=1), 409, "rule_not_effective", None),
        (_simple("retired"), 409, "rule_retired", None),
        (_simple("versioned", rule_version=1), 409, "rule_superseded", None),
        (_simple("vending"), 404, "unknown_rule", "out_rule_no"),
        (order("o", merchant="nobody"), 404, "unknown_participant", "merchant"),
        (order("o", merchant="0x" + "00" * 32), 404, "unknown_participant", "merchant"),
        (order("o", merchant="vendor-001"), 404, "unknown_participant", "merchant"),
        (order("o", merchant="0x" + participant("vendor-001").hex()), 404, "unknown_participant", "merchant"),
        (order("o", merchant="suspended-001"), 409, "participant_not_active", "merchant"),
        (_bound(promoter="nobody"), 404, "unknown_participant", "bindings.promoter"),
        (_bound(promoter="suspended-001"), 409, "participant_not_active", "bindings.promoter"),
        (_bound(promoter="pending-001"), 409, "participant_not_active", "bindings.promoter"),
        (_bound(courier="logistics-001"), 409, "role_not_in_rule", "bindings.courier"),
        (order("o", currency="XXX"), 422, "unknown_currency", "currency"),
        (order("o", currency="cny"), 422, "unknown_currency", "currency"),
        (order("o", channel="cash"), 422, "invalid_input", "channel"),
        (order("o", amount=0), 422, "invalid_amount", "amount"),
        (order("o", amount=-1), 422, "invalid_amount", "amount"),
        (order("o", amount=1.5), 422, "invalid_amount", "amount"),
        (order("o", amount=1.0), 422, "invalid_amount", "amount"),
        (order("o", amount="1"), 422, "invalid_amount", "amount"),
        (order("o", amount=True), 422, "invalid_amount", "amount"),
        (order("o", amount=None), 422, "invalid_amount", "amount"),
        (order("o", amount=2**63), 422, "invalid_amount", "amount"),
        (order("o", amount=2**64), 422, "invalid_amount", "amount"),
        (order("o", amount=10**30), 422, "invalid_amount", "amount"),
        (order("o" * 65), 422, "invalid_reference", "out_order_no"),
        (order(""), 422, "invalid_reference", "out_order_no"),
        (order("o 1"), 422, "invalid_reference", "out_order_no"),
        (order("订单"), 422, "invalid_reference", "out_order_no"),
        (order("o\n"), 422, "invalid_reference", "out_order_no"),
        (order("../o"), 422, "invalid_reference", "out_order_no"),
        (order("o\0"), 422, "invalid_reference", "out_order_no"),
        (order(7), 422, "invalid_input", "out_order_no"),  # type: ignore[arg-type]  # on purpose
        (order("o", surprise=1), 422, "invalid_input", "surprise"),
        ({}, 422, "invalid_input", "out_order_no"),
        ([], 422, "invalid_input", "body"),
        (None, 422, "invalid_input", "body"),
    ],
)
async def test_order_that_cannot_be_captured(
    shared_api: Api, body: Any, status: int, code: str, field: str | None
) -> None:
    await _refused(shared_api, "/v1/orders", body, status, code, field)


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        (split(order_no="unknown"), 404, "unknown_order", "out_order_no"),
        (split(order_no="rejected"), 409, "order_not_captured", None),
        (split(order_no="open"), 409, "role_not_bound", "bindings"),
        (split(order_no="open", bindings={"promoter": "suspended-001"}), 409, "participant_not_active", None),
        (split(bindings={"promoter": "logistics-001"}), 409, "role_already_bound", "bindings.promoter"),
        (split(bindings={"courier": "logistics-001"}), 409, "role_not_in_rule", "bindings.courier"),
        (split(currency="USD"), 409, "currency_mismatch", "currency"),
        (split(currency="XYZ"), 422, "unknown_currency", "currency"),
        (split(amount=0), 422, "invalid_amount", "amount"),
        (split(amount=-5), 422, "invalid_amount", "amount"),
        (split(amount=0.5), 422, "invalid_amount", "amount"),
        (split(amount=2**63), 422, "invalid_amount", "amount"),
    ],
)
async def test_split_that_cannot_be_accepted(
    with_orders: Api, body: Any, status: int, code: str, field: str | None
) -> None:
    await _refused(with_orders, "/v1/splits", body | {"out_split_no": "new"}, status, code, field)


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/v1/returns", give_back(split_no="unknown"), 404, "unknown_split"),
        ("/v1/returns", give_back(split_no="rejected"), 409, "split_rejected"),
        ("/v1/returns", give_back(currency="USD"), 409, "currency_mismatch"),
        ("/v1/returns", give_back(amounts=[100]), 409, "leaf_count"),
        ("/v1/returns", give_back(amounts=[1, 1, 1, 1]), 422, "invalid_amount"),
        ("/v1/returns", give_back(amounts=[-1, 101, 0, 0]), 422, "invalid_input"),
        ("/v1/returns", give_back(amounts=[]), 422, "invalid_input"),
        ("/v1/returns", give_back(amount=0), 422, "invalid_amount"),
        ("/v1/returns", {"out_return_no": "r", "out_split_no": "split-1"}, 422, "invalid_amount"),
        ("/v1/releases", release(order_no="unknown"), 404, "unknown_order"),
        ("/v1/releases", release("bad reference"), 422, "invalid_reference"),
    ],
)
async def test_return_or_release_that_cannot_be_accepted(
    with_orders: Api, path: str, body: Any, status: int, code: str
) -> None:
    await _refused(with_orders, path, body, status, code)


async def test_what_depends_on_money_is_accepted_for_the_chain_to_decide(api: Api) -> None:
    assert (await api.mall.post("/v1/orders", json=order())).status_code == 202
    for path, body in (
        ("/v1/splits", split("more-than-there-is", amount=10**12)),
        ("/v1/splits", split()),
        ("/v1/returns", give_back(amount=10**12)),
        ("/v1/releases", release("release-1")),
        ("/v1/releases", release("release-2")),
    ):
        assert (await api.mall.post(path, json=body)).status_code == 202


async def test_suspended_platform_cannot_write_and_still_reads_what_it_wrote(api: Api) -> None:
    assert (await api.mall.post("/v1/orders", json=order())).status_code == 202
    async with api.database.write() as session:
        mall = await session.get_one(Participant, MALL)
        mall.status = 2
    await _refused(api, "/v1/splits", split(), 409, "platform_not_active")
    await _refused(api, "/v1/participants", {"out_participant_no": "m"}, 409, "platform_not_active")
    assert (await api.mall.post("/v1/orders", json=order())).status_code == 200
    assert (await api.mall.get("/v1/orders/order-1")).status_code == 200


async def test_a_problem_never_shows_a_trace_or_what_a_field_contained(api: Api) -> None:
    problem = await _refused(
        api, "/v1/orders", order("secret reference"), 422, "invalid_reference", "out_order_no"
    )
    assert "secret" not in str(problem)
    assert "Traceback" not in str(problem)
    assert problem["errors"] == [
        {
            "field": "out_order_no",
            "code": "invalid_reference",
            "message": "1 to 64 characters of A-Z a-z 0-9 _ . : @ -, the first a letter or digit",
        }
    ]


async def test_a_request_with_several_faults_names_all_of_them(api: Api) -> None:
    problem = await _refused(
        api, "/v1/orders", order("bad reference", amount=0, surprise=1), 422, "invalid_reference"
    )
    assert {error["field"] for error in problem["errors"]} == {"out_order_no", "amount", "surprise"}
