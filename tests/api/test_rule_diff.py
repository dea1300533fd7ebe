"""Two versions of a rule compared over HTTP: what is told, who may ask, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

from fenzhang.domain.rulediff import ChangedLeg, FieldChange, MovedLeg, PlacedLeg, RuleDiff, apply
from fenzhang.domain.rules import LegKind
from fenzhang.store import payloads
from support.api import RETAIL, Api
from support.settled import DAY, NET, settle_a_day

pytestmark = pytest.mark.either_database

DIFF = "/v1/rules/retail-standard/diff?from=1&to=2"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def changed(shared_api: Api) -> Api:
    """An API with a day of settled orders and a second version of their rule."""
    await settle_a_day(shared_api)
    return shared_api


def _read_back(answer: dict[str, Any]) -> RuleDiff:
    """The diff that an answer tells."""

    def placed(items: list[dict[str, Any]]) -> tuple[PlacedLeg, ...]:
        return tuple(PlacedLeg(item["index"], payloads.legs_from_json([item["leg"]])[0]) for item in items)

    def value(field: str, shown: Any) -> Any:
        if field == "kind":
            return LegKind[shown]
        return bytes.fromhex(shown[2:]) if field == "recipient" and shown is not None else shown

    changed = tuple(
        ChangedLeg(
            item["before"],
            item["after"],
            tuple(
                FieldChange(f["field"], value(f["field"], f["before"]), value(f["field"], f["after"]))
                for f in item["fields"]
            ),
        )
        for item in answer["changed"]
    )
    moved = tuple(
        MovedLeg(item["before"], item["after"], item["parent_before"], item["parent_after"])
        for item in answer["moved"]
    )
    return RuleDiff(placed(answer["added"]), placed(answer["removed"]), changed, moved)


async def test_a_diff_tells_both_versions_and_all_that_makes_one_of_the_other(changed: Api) -> None:
    answer = await changed.mall.get(DIFF)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["before"]["version"], found["before"]["state"]) == (1, "IN_FORCE")
    assert (found["after"]["version"], found["after"]["state"]) == (2, "PROPOSED")
    assert (found["before"]["effective_from"], found["after"]["effective_from"]) == (0, DAY)
    read = (await changed.mall.get("/v1/rules/retail-standard/versions/2")).json()
    assert found["after"]["content_hash"] == read["content_hash"]
    assert not found["same_legs"]
    assert found["terms"] == [{"field": "max_share_out", "before": 0, "after": 4_000}]
    assert [(leg["index"], leg["leg"]["kind"]) for leg in found["added"]] == [(0, "FIXED"), (1, "REMAINDER")]
    assert [leg["leg"]["role"] for leg in found["removed"]] == ["logistics"]
    rates = {
        leg["role"]: {f["field"]: (f["before"], f["after"]) for f in leg["fields"]}
        for leg in found["changed"]
    }
    assert rates == {
        "platform": {"value": (500, 400), "max": (20_000, 30_000)},
        "promoter": {"value": (200, 100)},
    }
    assert {leg["role"]: leg["parent_after"] for leg in found["moved"]} == dict.fromkeys(
        ("platform", "promoter", "merchant"), 1
    )
    assert apply(RETAIL, _read_back(found)) == list(NET)


async def test_a_version_does_not_differ_from_itself_and_back_is_the_other_way(changed: Api) -> None:
    same = (await changed.mall.get(DIFF.replace("from=1", "from=2"))).json()
    assert same["same_legs"]
    assert same["before"] == same["after"]
    back = (await changed.mall.get("/v1/rules/retail-standard/diff?from=2&to=1")).json()
    assert apply(NET, _read_back(back)) == list(RETAIL)


async def test_whoever_reads_the_rule_reads_the_diff(changed: Api) -> None:
    own = (await changed.mall.get(DIFF)).json()
    for client in (changed.approver, changed.auditor):
        assert (await client.get(f"{DIFF}&platform=mall")).json() == own
    assert (await changed.operator.get(DIFF)).status_code == 403
    assert (await changed.shop.get(f"{DIFF}&platform=mall")).status_code == 404
    shops = await changed.shop.get(DIFF)
    assert (shops.status_code, shops.json()["field"]) == (404, "to")


@pytest.mark.parametrize(
    ("query", "status", "code", "field"),
    [
        ("from=1&to=3", 404, "unknown_rule", "to"),
        ("from=3&to=1", 404, "unknown_rule", "from"),
        ("from=1", 422, "invalid_input", "to"),
        ("to=1", 422, "invalid_input", "from"),
        ("from=0&to=1", 422, "invalid_input", "from"),
        ("from=1&to=x", 422, "invalid_input", "to"),
    ],
)
async def test_a_diff_that_is_refused(changed: Api, query: str, status: int, code: str, field: str) -> None:
    answer = await changed.mall.get(f"/v1/rules/retail-standard/diff?{query}")
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["field"]) == (status, code, field)


async def test_a_diff_writes_nothing(changed: Api) -> None:
    before = await changed.contents()
    assert (await changed.mall.get(DIFF)).status_code == 200
    assert await changed.contents() == before
