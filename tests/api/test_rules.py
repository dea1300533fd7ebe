"""Rules: proposed as the next version, approved by another party, read by who must, retired for ever."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from fenzhang.api.schemas.governance import CONTENT_HASH_EXAMPLE
from fenzhang.chain.eip712 import proposal_digest, proposal_hash, retirement_digest, rule_book_domain
from fenzhang.chain.signer import LocalKey
from fenzhang.domain.identifiers import rule_id
from fenzhang.domain.rules import Leg, LegKind, RuleTerms
from fenzhang.intake.actor import Scope
from fenzhang.store import payloads
from fenzhang.store.session import Database
from fenzhang.store.tables import Instruction, InstructionState, RuleVersion
from support.api import (
    DEPLOYMENT,
    FOREIGN_KEY,
    MALL,
    SHOP,
    SHOP_KEY,
    SIMPLE,
    Api,
    participant,
    populate,
    rule_row,
    running_api,
)

pytestmark = pytest.mark.either_database

LEGS = payloads.legs_to_json(SIMPLE)
DOMAIN = rule_book_domain(DEPLOYMENT.chain_id, DEPLOYMENT.rule_book)


def proposal(request: str = "p-1", rule: str = "new", **changes: Any) -> dict[str, Any]:
    """A proposal of the mall."""
    return {"out_request_no": request, "out_rule_no": rule, "legs": LEGS} | changes


async def _stored(api: Api, request: str) -> payloads.Proposal:
    async with api.database.read() as session:
        query = select(Instruction.payload).where(
            Instruction.type == "PROPOSE", Instruction.reference == request
        )
        return payloads.proposal_from((await session.execute(query)).scalar_one())


# ------------------------------------------------------------------------------ proposing


async def test_proposal_is_the_next_version_with_the_hash_that_its_approver_names(api: Api) -> None:
    answer = await api.mall.post("/v1/rules", json=proposal())
    assert answer.status_code == 202, answer.text
    assert (answer.json()["version"], answer.json()["effective_from"]) == (1, 0)
    version = (await api.mall.get("/v1/rules/new/versions/1")).json()
    assert version["state"] == "UNKNOWN"
    assert version["roles"] == ["platform", "merchant"]
    content = proposal_hash(MALL, rule_id(MALL, "new"), 1, 0, SIMPLE)
    assert version["content_hash"] == "0x" + content.hex()
    again = await api.mall.post("/v1/rules", json=proposal())
    assert (again.status_code, again.json()) == (200, answer.json())
    conflict = await api.mall.post("/v1/rules", json=proposal(legs=LEGS[1:]))
    assert (conflict.status_code, conflict.json()["code"]) == (409, "reference_conflict")


async def test_terms_are_proposed_shown_and_part_of_the_hash(api: Api) -> None:
    terms = {"max_share_out": 3_000, "may_owe": True, "park": True}
    answer = await api.mall.post("/v1/rules", json=proposal(terms=terms))
    assert answer.status_code == 202, answer.text
    version = (await api.mall.get("/v1/rules/new/versions/1")).json()
    assert version["terms"] == terms
    content = proposal_hash(
        MALL, rule_id(MALL, "new"), 1, 0, SIMPLE, RuleTerms(3_000, may_owe=True, park=True)
    )
    assert version["content_hash"] == "0x" + content.hex()
    assert (await _stored(api, "p-1")).terms == RuleTerms(3_000, may_owe=True, park=True)
    conflict = await api.mall.post("/v1/rules", json=proposal(terms=terms | {"may_owe": False}))
    assert (conflict.status_code, conflict.json()["code"]) == (409, "reference_conflict")


@pytest.mark.parametrize(
    ("terms", "field"),
    [
        ({"max_share_out": 10_001}, "terms.max_share_out"),
        ({"max_share_out": -1}, "terms.max_share_out"),
        ({"may_owe": 1}, "terms.may_owe"),
        ({"else": True}, "terms.else"),
    ],
)
async def test_bad_terms_are_named(api: Api, terms: dict[str, Any], field: str) -> None:
    answer = await api.mall.post("/v1/rules", json=proposal(terms=terms))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    assert field in answer.text


async def test_versions_count_up_and_do_not_come_into_force_before_the_one_they_follow(api: Api) -> None:
    first = await api.mall.post("/v1/rules", json=proposal("p-1", effective_from=1_000))
    second = await api.mall.post("/v1/rules", json=proposal("p-2"))
    assert [answer.json()["version"] for answer in (first, second)] == [1, 2]
    assert second.json()["effective_from"] == 1_000
    refused: list[tuple[dict[str, Any], str]] = [
        ({"effective_from": 999}, "effective_before_previous"),
        ({"version": 2}, "version_not_next"),
        ({"version": 4}, "version_not_next"),
    ]
    for changes, code in refused:
        answer = await api.mall.post("/v1/rules", json=proposal("p-3", **changes))
        assert (answer.status_code, answer.json()["code"]) == (409, code), answer.text
    assert (await api.mall.post("/v1/rules", json=proposal("p-3", version=3))).status_code == 202


async def test_version_that_the_chain_refused_is_proposed_anew(api: Api) -> None:
    assert (await api.mall.post("/v1/rules", json=proposal("p-1"))).status_code == 202
    await api.set_state(
        "PROPOSE", "p-1", InstructionState.REJECTED, {"code": "x", "message": "", "values": {}}
    )
    other = [LEGS[1]]
    answer = await api.mall.post("/v1/rules", json=proposal("p-2", legs=other))
    assert (answer.status_code, answer.json()["version"]) == (202, 1)
    version = (await api.mall.get("/v1/rules/new/versions/1")).json()
    assert version["legs"] == other


async def test_proposals_of_one_rule_at_once_get_versions_of_their_own(
    database: Database, tmp_path: Path
) -> None:
    await populate(database)
    async with (
        Database(database.url) as other,
        running_api(database, tmp_path) as one,
        running_api(other, tmp_path) as two,
    ):
        answers = await asyncio.gather(
            *((one, two)[n % 2].mall.post("/v1/rules", json=proposal(f"p-{n}")) for n in range(6))
        )
        accepted = [answer for answer in answers if answer.status_code == 202]
        # Who was beaten to it too often is told to try again, and can.
        for number, answer in enumerate(answers):
            if answer.status_code == 503:
                accepted.append(await one.mall.post("/v1/rules", json=proposal(f"p-{number}")))
    assert sorted(answer.json()["version"] for answer in accepted) == [1, 2, 3, 4, 5, 6]


async def test_fixed_recipients_are_named_by_reference(api: Api) -> None:
    legs = [{**LEGS[0], "role": None, "recipient": "logistics-001"}, LEGS[1]]
    assert (await api.mall.post("/v1/rules", json=proposal(legs=legs))).status_code == 202
    assert (await _stored(api, "p-1")).legs[0].recipient == participant("logistics-001")


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"legs": []}, 422, "invalid_input"),
        ({"legs": LEGS[:1]}, 422, "invalid_rule"),
        ({"legs": [LEGS[1], LEGS[0]]}, 422, "invalid_rule"),
        ({"legs": [{**LEGS[1], "role": None}]}, 422, "invalid_rule"),
        ({"legs": [{**LEGS[1], "role": "Not A Role"}]}, 422, "invalid_input"),
        ({"legs": [{**LEGS[1], "kind": "ALL"}]}, 422, "invalid_input"),
        ({"legs": [{**LEGS[0], "value": 10_001}, LEGS[1]]}, 422, "invalid_rule"),
        ({"legs": [{**LEGS[1], "parent": 7}]}, 422, "invalid_rule"),
        ({"legs": [LEGS[1]] * 33}, 422, "invalid_input"),
        ({"legs": [{**LEGS[1], "role": None, "recipient": "nobody"}]}, 404, "unknown_participant"),
        ({"legs": [{**LEGS[1], "role": None, "recipient": "vendor-001"}]}, 404, "unknown_participant"),
        ({"legs": [{**LEGS[1], "role": None, "recipient": "suspended-001"}]}, 409, "participant_not_active"),
        ({"out_rule_no": "retired"}, 409, "rule_retired"),
        ({"effective_from": -1}, 422, "invalid_input"),
        ({"signature": "0x00"}, 422, "invalid_input"),
    ],
)
async def test_proposal_that_is_refused(api: Api, changes: dict[str, Any], status: int, code: str) -> None:
    answer = await api.mall.post("/v1/rules", json=proposal(**changes))
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    problem = answer.json()
    assert {"field", "rule", "leg"} & (problem.keys() | problem.get("values", {}).keys()), problem
    assert await api.count() == 0


# ------------------------------------------------------------------------------ signed by the platform


def _signed(key: LocalKey, version: int = 1, effective_from: int = 5) -> dict[str, Any]:
    legs = (Leg(-1, LegKind.REMAINDER, role="merchant"),)
    digest = proposal_digest(DOMAIN, SHOP, rule_id(SHOP, "new"), version, effective_from, legs)
    return proposal(
        legs=payloads.legs_to_json(legs),
        version=1,
        effective_from=5,
        signature="0x" + key.sign_digest(digest).hex(),
    )


async def test_platform_without_a_key_here_signs_its_proposal(api: Api) -> None:
    unsigned = await api.shop.post("/v1/rules", json=proposal())
    assert (unsigned.status_code, unsigned.json()["code"]) == (409, "no_signing_key")
    assert (await api.shop.post("/v1/rules", json=_signed(SHOP_KEY))).status_code == 202
    assert len((await _stored(api, "p-1")).signature) == 65


@pytest.mark.parametrize(
    "body", [_signed(FOREIGN_KEY), _signed(SHOP_KEY, version=2), _signed(SHOP_KEY, effective_from=6)]
)
async def test_signature_over_another_proposal_is_refused(api: Api, body: dict[str, Any]) -> None:
    answer = await api.shop.post("/v1/rules", json=body)
    assert (answer.status_code, answer.json()["code"]) == (403, "invalid_signature")
    assert answer.json()["values"]["domain"]["name"] == "fenzhang RuleBook"
    assert await api.count() == 0


async def test_platform_without_a_key_here_signs_the_retirement(api: Api) -> None:
    digest = retirement_digest(DOMAIN, SHOP, rule_id(SHOP, "vending"))
    path = "/v1/rules/vending/retire"
    for key, status in ((None, 409), (FOREIGN_KEY, 403), (SHOP_KEY, 202)):
        signature = None if key is None else "0x" + key.sign_digest(digest).hex()
        answer = await api.shop.post(path, json={"out_request_no": "r-1", "signature": signature})
        assert answer.status_code == status, answer.text


# ------------------------------------------------------------------------------ approving

APPROVE = "/v1/rules/draft/versions/1/approve"


def approval(**changes: Any) -> dict[str, Any]:
    """An approval of the mall's draft."""
    return {"out_request_no": "a-1", "platform": "mall", "content_hash": CONTENT_HASH_EXAMPLE} | changes


async def test_approver_approves_the_content_it_read_and_both_sides_can_follow_it(api: Api) -> None:
    read = (await api.approver.get("/v1/rules/draft/versions/1?platform=mall")).json()
    assert read["state"] == "PROPOSED"
    answer = await api.approver.post(APPROVE, json=approval(content_hash=read["content_hash"]))
    assert answer.status_code == 202, answer.text
    assert (await api.approver.post(APPROVE, json=approval())).status_code == 200
    followed = await api.approver.get("/v1/instructions/APPROVE/a-1?platform=mall")
    assert followed.json() == answer.json()
    assert (await api.mall.get("/v1/instructions/APPROVE/a-1")).json() == answer.json()
    other = api.client("app_other_approver", [Scope.APPROVER])
    async with other:
        assert (await other.get("/v1/instructions/APPROVE/a-1?platform=mall")).status_code == 404


@pytest.mark.parametrize(
    ("path", "changes", "status", "code"),
    [
        (APPROVE, {"content_hash": "0x" + "11" * 32}, 409, "content_mismatch"),
        (APPROVE, {"content_hash": "0x11"}, 422, "invalid_input"),
        (APPROVE, {"platform": "nobody"}, 404, "unknown_platform"),
        (APPROVE, {"platform": "shop"}, 404, "unknown_rule"),
        (APPROVE.replace("/1/", "/2/"), {}, 404, "unknown_rule"),
        (APPROVE.replace("draft", "nothing"), {}, 404, "unknown_rule"),
        (APPROVE.replace("draft", "unmirrored"), {}, 409, "rule_not_proposed"),
        (APPROVE.replace("/1/", "/0/"), {}, 422, "invalid_input"),
    ],
)
async def test_approval_that_is_refused(
    api: Api, path: str, changes: dict[str, Any], status: int, code: str
) -> None:
    answer = await api.approver.post(path, json=approval(**changes))
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert await api.count() == 0


async def test_version_is_approved_once(api: Api) -> None:
    row = rule_row(MALL, "retail-standard")
    body = approval(content_hash="0x" + row.content_hash.hex())
    answer = await api.approver.post("/v1/rules/retail-standard/versions/1/approve", json=body)
    assert (answer.status_code, answer.json()["code"]) == (409, "rule_already_approved")


async def test_nobody_approves_what_it_proposed(api: Api) -> None:
    both = [Scope.PLATFORM, Scope.APPROVER]
    proposer, colleague = api.client("app_both", both, MALL), api.client("app_colleague", both, MALL)
    async with proposer, colleague:
        assert (await proposer.post("/v1/rules", json=proposal())).status_code == 202
        async with api.database.write() as session:
            change = update(RuleVersion).where(RuleVersion.reference == "new").values(proposed=True)
            await session.execute(change)
        version = (await proposer.get("/v1/rules/new/versions/1")).json()
        body = approval(content_hash=version["content_hash"])
        for client in (proposer, colleague):
            answer = await client.post("/v1/rules/new/versions/1/approve", json=body)
            assert (answer.status_code, answer.json()["code"]) == (409, "approver_is_proposer")


# ------------------------------------------------------------------------------ reading and retiring


async def test_rule_shows_which_version_is_in_force(api: Api) -> None:
    rule = (await api.mall.get("/v1/rules/versioned")).json()
    assert (rule["in_force"], rule["latest"], rule["retired"]) == (2, 2, False)
    assert [version["state"] for version in rule["versions"]] == ["SUPERSEDED", "IN_FORCE"]
    again = (await api.mall.get("/v1/rules/versioned/versions")).json()
    moving = {"earliest_effect"}  # goes with the clock
    assert {name: again[name] for name in again.keys() - moving} == {
        name: rule[name] for name in rule.keys() - moving
    }
    states = {
        rule["out_rule_no"]: rule["versions"][-1]["state"]
        for rule in (await api.mall.get("/v1/rules")).json()["rules"]
    }
    assert states == {
        "retail-standard": "IN_FORCE",
        "draft": "PROPOSED",
        "unmirrored": "UNKNOWN",
        "future": "NOT_EFFECTIVE",
        "retired": "RETIRED",
        "versioned": "IN_FORCE",
    }


async def test_rule_is_retired_once(api: Api) -> None:
    body = {"out_request_no": "r-1"}
    assert (await api.mall.post("/v1/rules/versioned/retire", json=body)).status_code == 202
    assert (await api.mall.post("/v1/rules/versioned/retire", json=body)).status_code == 200
    other = await api.mall.post("/v1/rules/draft/retire", json=body)
    assert (other.status_code, other.json()["code"]) == (409, "reference_conflict")
    for rule, status, code in (
        ("retired", 409, "rule_retired"),
        ("nothing", 404, "unknown_rule"),
        ("unmirrored", 404, "unknown_rule"),
    ):
        answer = await api.mall.post(f"/v1/rules/{rule}/retire", json={"out_request_no": "r-2"})
        assert (answer.status_code, answer.json()["code"]) == (status, code)
