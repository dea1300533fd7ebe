"""Quotes: the Python specification and the contract, side by side."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from fenzhang.devnet import ephemeral_node
from fenzhang.store.session import Database
from support.api import MALL, Api, participant, populate, running_api
from support.databases import SQLITE, fresh_database
from support.node import HandNode
from support.system import System, deploy_system

pytestmark = [pytest.mark.node, pytest.mark.either_database]


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """The contracts on a real node."""
    with ephemeral_node(automine=False) as running:
        node = HandNode(running.url)
        yield deploy_system(node)
        node.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def quoting(
    system: System, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Api]:
    """An API with a node. What it quotes does not depend on the database."""
    home = tmp_path_factory.mktemp("quoting")
    async with fresh_database(SQLITE, request, home) as url, Database(url) as database:
        await populate(database)
        async with running_api(database, home, node_url=system.node.url, deployment=system.deployment) as api:
            yield api


async def _quote(api: Api, **body: Any) -> dict[str, Any]:
    answer = await api.mall.post("/v1/quote", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_rule_is_quoted_by_both_and_they_agree(quoting: Api) -> None:
    bindings = {"platform": "mall", "merchant": "merchant-001"}
    found = await _quote(quoting, out_rule_no="retail-standard", amount=9_900, bindings=bindings)
    assert found["agree"]
    assert found["python"] == found["chain"] == {"leaves": [495, 300, 198, 8_907], "error_leg": None}
    assert [(leaf["role"], leaf["participant_id"]) for leaf in found["allocations"]] == [
        ("platform", "0x" + MALL.hex()),
        ("logistics", None),
        ("promoter", None),
        ("merchant", "0x" + participant("merchant-001").hex()),
    ]


async def test_amount_that_a_leg_exceeds_names_the_leg(quoting: Api) -> None:
    found = await _quote(quoting, out_rule_no="retail-standard", amount=100)
    assert found["python"] == found["chain"] == {"leaves": None, "error_leg": 1}
    assert found["allocations"] is None


async def test_legs_can_be_quoted_before_they_are_a_rule(quoting: Api) -> None:
    legs = [
        {"parent": -1, "kind": "FIXED", "value": 30, "recipient": "logistics-001"},
        {"parent": -1, "kind": "REMAINDER"},
        {"parent": 1, "kind": "SHARE", "value": 5_000},
        {"parent": 1, "kind": "REMAINDER"},
    ]
    found = await _quote(quoting, legs=legs, amount=99)
    assert found["python"]["leaves"] == found["chain"]["leaves"] == [30, 34, 35]


async def test_any_version_can_be_quoted_also_one_that_is_not_approved(quoting: Api) -> None:
    for rule, version in (("draft", None), ("future", 1), ("versioned", 1)):
        assert (await _quote(quoting, out_rule_no=rule, version=version, amount=10))["agree"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"out_rule_no": "nothing", "amount": 1}, 404, "unknown_rule"),
        ({"out_rule_no": "versioned", "version": 9, "amount": 1}, 404, "unknown_rule"),
        ({"out_rule_no": "vending", "amount": 1}, 404, "unknown_rule"),
        ({"amount": 1}, 422, "invalid_input"),
        ({"out_rule_no": "draft", "legs": [], "amount": 1}, 422, "invalid_input"),
        ({"out_rule_no": "draft", "amount": 0}, 422, "invalid_amount"),
        ({"legs": [{"parent": -1, "kind": "SHARE", "value": 1}], "amount": 1}, 422, "invalid_rule"),
        ({"out_rule_no": "draft", "amount": 1, "bindings": {"x": "mall"}}, 409, "role_not_in_rule"),
        ({"out_rule_no": "draft", "amount": 1, "bindings": {"merchant": "n"}}, 404, "unknown_participant"),
    ],
)
async def test_quote_that_is_refused(quoting: Api, body: dict[str, Any], status: int, code: str) -> None:
    answer = await quoting.mall.post("/v1/quote", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


async def test_without_a_node_there_is_no_quote_and_everything_else_works(shared_api: Api) -> None:
    body = {"out_rule_no": "retail-standard", "amount": 9_900}
    answer = await shared_api.mall.post("/v1/quote", json=body)
    assert (answer.status_code, answer.json()["code"]) == (503, "node_unavailable")
    assert answer.headers["retry-after"] == "1"
    assert (await shared_api.mall.get("/v1/rules/retail-standard")).status_code == 200
