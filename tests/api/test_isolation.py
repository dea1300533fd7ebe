"""Each app sees only what is its own: to another platform's app nothing of it exists."""

from __future__ import annotations

import pytest
import pytest_asyncio

from fenzhang.store.tables import InstructionState
from support.api import Api, give_back, order, participant, release, split

pytestmark = pytest.mark.either_database


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def with_orders(shared_api: Api) -> Api:
    """An API on which the mall has an order and everything that can follow."""
    api = shared_api
    items = [
        {"type": "CAPTURE", **order()},
        {"type": "SPLIT", **split()},
        {"type": "RETURN", **give_back()},
        {"type": "RELEASE", **release()},
    ]
    assert (await api.mall.post("/v1/instructions/batch", json={"items": items})).status_code == 202
    await api.set_state("SPLIT", "split-1", InstructionState.SETTLED)
    return api


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v1/orders/order-1", "unknown_order"),
        ("/v1/splits/split-1", "unknown_split"),
        ("/v1/returns/return-1", "unknown_instruction"),
        ("/v1/releases/release-1", "unknown_instruction"),
        ("/v1/instructions/SPLIT/split-1", "unknown_instruction"),
        ("/v1/participants/merchant-001", "unknown_participant"),
        ("/v1/participants/0x" + participant("merchant-001").hex(), "unknown_participant"),
        ("/v1/positions/merchant-001", "unknown_participant"),
        ("/v1/statements/merchant-001?currency=CNY", "unknown_participant"),
        ("/v1/rules/retail-standard", "unknown_rule"),
        ("/v1/rules/retail-standard/versions/1", "unknown_rule"),
        ("/v1/rules/retail-standard/diff?from=1&to=1", "unknown_rule"),
    ],
)
async def test_what_belongs_to_another_platform_does_not_exist(
    with_orders: Api, path: str, code: str
) -> None:
    assert (await with_orders.mall.get(path)).status_code == 200
    answer = await with_orders.shop.get(path)
    assert answer.status_code == 404
    assert answer.json()["code"] in {code, "unknown_split"}


async def test_lists_and_feed_hold_only_what_is_the_platforms(with_orders: Api) -> None:
    participants = (await with_orders.shop.get("/v1/participants")).json()["participants"]
    assert {item["out_participant_no"] for item in participants} == {"shop", "vendor-001"}
    assert [rule["out_rule_no"] for rule in (await with_orders.shop.get("/v1/rules")).json()["rules"]] == [
        "vending"
    ]
    assert (await with_orders.shop.get("/v1/completions")).json()["completions"] == []
    assert len((await with_orders.mall.get("/v1/completions")).json()["completions"]) == 1


async def test_nothing_of_another_platform_can_be_acted_on(with_orders: Api) -> None:
    count = await with_orders.count()
    for path, body, code in (
        ("/v1/splits", split("theirs"), "unknown_order"),
        ("/v1/releases", release("theirs"), "unknown_order"),
        ("/v1/returns", give_back("theirs"), "unknown_split"),
        ("/v1/participants/merchant-001/suspend", {"out_request_no": "x"}, "unknown_participant"),
        ("/v1/rules/retail-standard/retire", {"out_request_no": "x"}, "unknown_rule"),
    ):
        answer = await with_orders.shop.post(path, json=body)
        assert (answer.status_code, answer.json()["code"]) == (404, code), answer.text
    assert await with_orders.count() == count


async def test_approver_reads_its_own_approvals_and_nothing_of_the_operators(with_orders: Api) -> None:
    body = {"out_participant_no": "haitao", "authority": "0x" + "ab" * 20}
    assert (await with_orders.operator.post("/v1/platforms", json=body)).status_code == 202
    path = "/v1/instructions/ENROLL/haitao"
    assert (await with_orders.operator.get(path)).status_code == 200
    answer = await with_orders.approver.get(path)
    assert (answer.status_code, answer.json()["field"]) == (422, "platform")
    for theirs in (f"{path}?platform=haitao", "/v1/instructions/SPLIT/split-1?platform=mall"):
        answer = await with_orders.approver.get(theirs)
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_instruction")


async def test_another_platforms_rules_are_read_by_approvers_and_auditors_alone(with_orders: Api) -> None:
    path = "/v1/rules/draft?platform=mall"
    for client in (with_orders.approver, with_orders.auditor, with_orders.mall):
        assert (await client.get(path)).status_code == 200
    assert (await with_orders.shop.get(path)).status_code == 404
    assert (await with_orders.approver.get("/v1/rules/draft")).status_code == 422
    assert (await with_orders.operator.get(path)).status_code == 403
