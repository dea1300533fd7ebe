"""Given amounts at the API: who gives what, and what is refused before anything is stored."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import select

from fenzhang.devnet import ephemeral_node
from fenzhang.domain.rules import Leg, LegKind
from fenzhang.store import payloads
from fenzhang.store.session import Database
from fenzhang.store.tables import Instruction
from support.api import MALL, Api, order, populate, rule_row, running_api, split
from support.databases import SQLITE, fresh_database
from support.files import CSV, JSONL, as_csv, as_jsonl, done, upload
from support.node import HandNode
from support.system import deploy_system

pytestmark = pytest.mark.either_database

AGENCY = (
    Leg(-1, LegKind.GIVEN, 2_000, min=3, max=900, role="promoter"),
    Leg(-1, LegKind.FIXED, 100, role="platform"),
    Leg(-1, LegKind.GIVEN, 9_000, role="logistics"),
    Leg(-1, LegKind.REMAINDER, role="merchant"),
)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def agency(shared_api: Api) -> Api:
    """An API with a rule that has GIVEN legs, an order of it, and one of a rule that has none."""
    await shared_api.add(rule_row(MALL, "agency", legs=AGENCY))
    for body in (order("agency-1", out_rule_no="agency"), order()):
        assert (await shared_api.mall.post("/v1/orders", json=body)).status_code == 202
    return shared_api


async def test_given_amounts_are_answered_and_go_on_chain_in_leg_order(agency: Api) -> None:
    body = split("given-1", "agency-1", 6_600, given=[700, 2_000])
    answer = await agency.mall.post("/v1/splits", json=body)
    assert answer.status_code == 202, answer.text
    assert answer.json()["given"] == [700, 2_000]
    async with agency.database.read() as session:
        row = (
            await session.execute(select(Instruction).where(Instruction.reference == "given-1"))
        ).scalar_one()
    assert payloads.instruction_from(row.payload).amounts == (700, 2_000)
    assert (await agency.mall.post("/v1/splits", json=body)).status_code == 200
    other = await agency.mall.post("/v1/splits", json=body | {"given": [700, 2_001]})
    assert (other.status_code, other.json()["code"]) == (409, "reference_conflict")


@pytest.mark.parametrize("given", [[3, 0], [900, 0], [3, 5_940], [900, 5_600]])
async def test_whatever_is_within_the_bounds_is_accepted(agency: Api, given: list[int]) -> None:
    body = split(f"within-{given[0]}-{given[1]}", "agency-1", 6_600, given=given)
    answer = await agency.mall.post("/v1/splits", json=body)
    assert answer.status_code == 202, answer.text


def _bounds(leg: int, amount: int, least: int, most: int) -> dict[str, int]:
    return {"leg": leg, "amount": amount, "least": least, "most": most}


@pytest.mark.parametrize(
    ("given", "amount", "code", "field", "values"),
    [
        ([2, 0], 6_600, "given_out_of_bounds", "given[0]", _bounds(0, 2, 3, 900)),
        ([901, 0], 6_600, "given_out_of_bounds", "given[0]", _bounds(0, 901, 3, 900)),
        ([21, 0], 101, "given_out_of_bounds", "given[0]", _bounds(0, 21, 3, 20)),
        ([3, 5_941], 6_600, "given_out_of_bounds", "given[1]", _bounds(2, 5_941, 0, 5_940)),
        ([3, 2**63 - 1], 6_600, "given_out_of_bounds", "given[1]", _bounds(2, 2**63 - 1, 0, 5_940)),
        (
            [900, 5_601],
            6_600,
            "leg_exceeds_remaining",
            "given[1]",
            {"leg": 2, "taken": 5_601, "remaining": 5_600},
        ),
        ([3, 0], 99, "leg_exceeds_remaining", "amount", {"leg": 1, "taken": 100, "remaining": 96}),
        ([3], 6_600, "given_count", "given", {"count": 1, "expected": 2}),
        ([3, 0, 0], 6_600, "given_count", "given", {"count": 3, "expected": 2}),
        (None, 6_600, "given_count", "given", {"count": 0, "expected": 2}),
    ],
)
async def test_what_the_rule_does_not_allow_is_refused_with_the_chain_s_reason(  # noqa: PLR0917 -- a table
    agency: Api, given: list[int] | None, amount: int, code: str, field: str, values: dict[str, int]
) -> None:
    before = await agency.contents()
    more = {} if given is None else {"given": given}
    answer = await agency.mall.post("/v1/splits", json=split("refused", "agency-1", amount, **more))
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["field"]) == (422, code, field), answer.text
    assert problem["values"] == values
    assert await agency.contents() == before


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ([], "given"),
        ([1] * 33, "given"),
        ([-1, 0], "given[0]"),
        ([3, 0.5], "given[1]"),
        ([3, "4"], "given[1]"),
        ([3, True], "given[1]"),
        ([3, 2**63], "given[1]"),
        ({"promoter": 3}, "given"),
        (3, "given"),
    ],
)
async def test_what_is_no_list_of_amounts_is_refused(agency: Api, given: Any, field: str) -> None:
    before = await agency.contents()
    answer = await agency.mall.post("/v1/splits", json=split("refused", "agency-1", given=given))
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["field"]) == (422, "invalid_input", field)
    assert await agency.contents() == before


async def test_a_rule_without_given_legs_is_given_nothing(agency: Api) -> None:
    answer = await agency.mall.post("/v1/splits", json=split("refused", given=[5]))
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "given_count")
    assert problem["values"] == {"count": 1, "expected": 0}


async def test_an_item_of_a_batch_is_refused_alone(agency: Api) -> None:
    items = [
        split("batch-1", "agency-1", 1_000, given=[200, 700]),
        split("batch-2", "agency-1", 1_000, given=[201, 0]),
        split("batch-3", "agency-1", 1_000, given=[-1, 0]),
    ]
    answer = await agency.mall.post("/v1/splits/batch", json={"items": items})
    first, second, third = answer.json()["items"]
    assert (answer.status_code, first["state"]) == (202, "ACCEPTED")
    assert (second["code"], second["field"]) == ("given_out_of_bounds", "given[0]")
    assert (third["code"], third["field"]) == ("invalid_input", "items[2].given[0]")


@pytest.mark.parametrize(
    ("media_type", "written"), [(CSV, as_csv), (JSONL, as_jsonl)], ids=["CSV", "JSON Lines"]
)
async def test_rows_of_a_file_give_amounts(
    agency: Api, media_type: str, written: Callable[..., bytes]
) -> None:
    name = "csv" if written is as_csv else "jsonl"
    items = [
        {"type": "SPLIT", **split(f"{name}-1", "agency-1", 1_000, given=[200, 700])},
        {"type": "SPLIT", **split(f"{name}-2", "agency-1", 1_000, given=[201, 0])},
    ]
    assert (await upload(agency.mall, name, written(items), media_type)).status_code == 202
    found = await done(agency.mall, name)
    assert (found["accepted"], found["rejected"]) == (1, 1)
    answer = await agency.mall.get(f"/v1/instructions/SPLIT/{name}-1")
    assert answer.json()["given"] == [200, 700]


@pytest.mark.parametrize(
    ("leg", "said"),
    [
        ({"value": 0}, "needs a value"),
        ({"value": 10_001}, "more than the whole"),
        ({"value": 1, "min": 5, "max": 4}, "above max"),
    ],
)
async def test_a_rule_with_a_given_leg_that_is_none_is_refused(
    agency: Api, leg: dict[str, int], said: str
) -> None:
    given = {"parent": -1, "kind": "GIVEN", "role": "promoter", **leg}
    rest = {"parent": -1, "kind": "REMAINDER", "role": "merchant"}
    body = {"out_request_no": "p", "out_rule_no": "bad", "legs": [given, rest]}
    answer = await agency.mall.post("/v1/rules", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_rule")
    assert said in answer.json()["detail"]


async def test_a_rule_shows_its_given_legs(agency: Api) -> None:
    answer = await agency.mall.get("/v1/rules/agency")
    legs = answer.json()["versions"][0]["legs"]
    assert [leg["kind"] for leg in legs] == ["GIVEN", "FIXED", "GIVEN", "REMAINDER"]
    assert (legs[0]["value"], legs[0]["min"], legs[0]["max"]) == (2_000, 3, 900)


# ------------------------------------------------------------------------------ quotes


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def quoting(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Api]:
    """An API with a node that has the contracts."""
    home: Path = tmp_path_factory.mktemp("quoting-given")
    with ephemeral_node(automine=False) as running:
        node = HandNode(running.url)
        system = deploy_system(node)
        async with fresh_database(SQLITE, request, home) as url, Database(url) as database:
            await populate(database)
            async with running_api(database, home, node_url=node.url, deployment=system.deployment) as api:
                await api.add(rule_row(MALL, "agency", legs=AGENCY))
                yield api
        node.close()


async def _quote(api: Api, **body: Any) -> dict[str, Any]:
    answer = await api.mall.post("/v1/quote", json={"out_rule_no": "agency", **body})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert found["agree"]
    return found


@pytest.mark.node
async def test_a_quote_takes_given_amounts_and_says_what_each_leg_may_take(quoting: Api) -> None:
    found = await _quote(quoting, amount=6_600, given=[700, 2_000])
    assert found["python"]["leaves"] == found["chain"]["leaves"] == [700, 100, 2_000, 3_800]
    assert found["reason"] is None
    assert found["given"] == [
        {"leg": 0, "least": 3, "most": 900, "remaining": 6_600},
        {"leg": 2, "least": 0, "most": 5_940, "remaining": 5_800},
    ]
    assert [share["amount"] for share in found["allocations"]] == [700, 100, 2_000, 3_800]


@pytest.mark.node
async def test_a_quote_without_given_amounts_says_what_may_be_given(quoting: Api) -> None:
    found = await _quote(quoting, amount=6_600)
    assert found["python"] == found["chain"] == {"leaves": None, "error_leg": None}
    assert (found["reason"]["code"], found["reason"]["values"]) == (
        "given_count",
        {"count": 0, "expected": 2},
    )
    assert found["given"] == [
        {"leg": 0, "least": 3, "most": 900, "remaining": 6_600},
        {"leg": 2, "least": 0, "most": 5_940, "remaining": None},
    ]


@pytest.mark.node
async def test_a_quote_names_the_bounds_that_an_amount_is_out_of(quoting: Api) -> None:
    found = await _quote(quoting, amount=6_600, given=[901, 0])
    assert found["python"] == found["chain"] == {"leaves": None, "error_leg": 0}
    assert found["reason"]["code"] == "given_out_of_bounds"
    assert found["reason"]["values"] == _bounds(0, 901, 3, 900)
