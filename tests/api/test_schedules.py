"""Schedules over HTTP: what is asked, what is shown, which rule an order gets, and what is refused early."""

from __future__ import annotations

import time
from typing import Any

import pytest
from sqlalchemy import select, update

from fenzhang.chain.eip712 import retirement_digest, rule_book_domain
from fenzhang.chain.schedules import content_hash_of, schedule_digest
from fenzhang.domain.facts import Facts
from fenzhang.domain.identifiers import hex_id, rule_id
from fenzhang.domain.schedules import SCHEDULE, Entry
from fenzhang.store import payloads
from fenzhang.store.tables import Instruction, RuleVersion
from support.api import FAR_FUTURE, FOREIGN_KEY, MALL, MALL_KEY, Api, order, schedule_row

pytestmark = pytest.mark.either_database

TEA = Facts(category="tea")
ENTRIES = (
    Entry(rule_id(MALL, "versioned"), TEA.pack(), "CNY", 1_000, 10_000),
    Entry(rule_id(MALL, "retail-standard")),
)
"""Teas of 1,000 to 9,999 yuan-fen by `versioned`, everything else by `retail-standard`."""
BODY: list[dict[str, Any]] = [
    {
        "out_rule_no": "versioned",
        "facts": {"category": "tea"},
        "currency": "CNY",
        "amount_from": 1_000,
        "amount_below": 10_000,
    },
    {"out_rule_no": "retail-standard"},
]
SIMPLE_ROLES = {"platform": "mall", "merchant": "merchant-001"}


def proposal(request: str = "s-1", **changes: Any) -> dict[str, Any]:
    return {"out_request_no": request, "entries": BODY} | changes


def row(entries: tuple[Entry, ...] = ENTRIES, version: int = 1, **columns: Any) -> RuleVersion:
    return schedule_row(MALL, entries, version, **columns)


def tea(reference: str = "tea-1", **changes: Any) -> dict[str, Any]:
    """An order of tea that names no rule."""
    body = order(reference, facts={"category": "tea"}, bindings=SIMPLE_ROLES)
    del body["out_rule_no"]
    return body | changes


async def _payload(api: Api, kind: str) -> dict[str, Any]:
    async with api.database.read() as session:
        query = select(Instruction.payload).where(Instruction.type == kind)
        found: dict[str, Any] = (await session.execute(query)).scalar_one()
    return found


async def _refused(api: Api, body: dict[str, Any], status: int, code: str) -> dict[str, Any]:
    before = await api.count()
    answer = await api.mall.post("/v1/schedules", json=body)
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), answer.text
    assert await api.count() == before
    return problem


# ------------------------------------------------------------------------------ proposing


async def test_a_schedule_is_proposed_once_with_the_ids_of_its_rules(api: Api) -> None:
    first = await api.mall.post("/v1/schedules", json=proposal())
    again = await api.mall.post("/v1/schedules", json=proposal())
    assert (first.status_code, again.status_code) == (202, 200), first.text
    assert first.json() == again.json()
    assert (first.json()["type"], first.json()["version"]) == ("PROPOSE", 1)
    stored = payloads.proposal_from(await _payload(api, "PROPOSE"))
    assert (stored.platform, stored.rule_id, stored.version) == (MALL, SCHEDULE, 1)
    assert (stored.legs, stored.entries) == ((), ENTRIES)
    shown = (await api.mall.get("/v1/schedules")).json()
    assert (shown["in_force"], shown["latest"], shown["retired"]) == (None, 1, False)
    [version] = shown["versions"]
    assert version == (await api.mall.get("/v1/schedules/1")).json()
    assert (version["state"], version["content_hash"]) == ("UNKNOWN", hex_id(content_hash_of(stored)))
    [specific, rest] = version["entries"]
    assert specific["out_rule_no"] == "versioned"
    assert specific["criteria"] == ["category", "currency", "amount"]
    assert (specific["facts"], specific["amount_from"]) == ({"category": "tea"}, 1_000)
    assert (rest["criteria"], rest["facts"], rest["currency"]) == ([], {}, None)
    assert "(schedule)" not in {
        rule["out_rule_no"] for rule in (await api.mall.get("/v1/rules")).json()["rules"]
    }


async def test_a_platform_without_a_schedule_shows_none(api: Api) -> None:
    shown = (await api.mall.get("/v1/schedules")).json()
    assert (shown["versions"], shown["in_force"], shown["latest"]) == ([], None, None)
    missing = await api.mall.get("/v1/schedules/1")
    assert (missing.status_code, missing.json()["code"]) == (404, "unknown_rule")
    selected = (await api.mall.get("/v1/schedules/select?amount=1&currency=CNY")).json()
    assert {value for name, value in selected.items() if name != "platform_id"} == {None}


@pytest.mark.parametrize(
    ("entries", "index", "saying"),
    [
        ([*reversed(BODY)], 1, "less specific"),
        ([BODY[0], *BODY], 1, "could match it as well"),
        (BODY[:1], 0, "states nothing"),
        ([BODY[0] | {"amount_below": 1_000}, BODY[1]], 0, "no amount"),
        ([BODY[0] | {"valid_from": 9, "valid_until": 9}, BODY[1]], 0, "no time"),
    ],
)
async def test_entries_that_are_no_schedule_are_refused_by_place(
    api: Api, entries: list[Any], index: int, saying: str
) -> None:
    problem = await _refused(api, proposal(entries=entries), 422, "invalid_schedule")
    assert problem["values"]["entry"] == index
    assert saying in problem["detail"]


async def test_a_rule_that_nobody_proposed_is_named(api: Api) -> None:
    entries = [BODY[0], {"out_rule_no": "nowhere"}]
    problem = await _refused(api, proposal(entries=entries), 404, "unknown_rule")
    assert problem["field"] == "entries[1].out_rule_no"


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        ({"facts": {"category": "ninechars"}}, "entries[0].facts.category"),
        ({"facts": {"category": ""}}, "entries[0].facts.category"),
        ({"facts": {"colour": "red"}}, "entries[0].facts.colour"),
        ({"currency": 5}, "entries[0].currency"),
        ({"amount_from": -1}, "entries[0].amount_from"),
        ({"amount_below": "5"}, "entries[0].amount_below"),
        ({"rule": "x"}, "entries[0].rule"),
    ],
)
async def test_malformed_entries_are_refused_by_field(api: Api, entry: dict[str, Any], field: str) -> None:
    body = proposal(entries=[BODY[1] | entry])
    assert (await _refused(api, body, 422, "invalid_input"))["field"] == field


async def test_a_version_is_the_next_one_and_the_schedule_is_not_retired(api: Api) -> None:
    await api.add(row(effective_from=7))
    await _refused(api, proposal(version=1), 409, "version_not_next")
    await _refused(api, proposal(effective_from=6), 409, "effective_before_previous")
    assert (await api.mall.post("/v1/schedules", json=proposal(version=2))).status_code == 202
    async with api.database.write() as session:
        await session.execute(update(RuleVersion).where(RuleVersion.rule_id == SCHEDULE).values(retired=True))
    await _refused(api, proposal("s-2"), 409, "rule_retired")


async def test_a_platform_signs_its_schedule_itself(api: Api) -> None:
    domain = rule_book_domain(api.deployment.chain_id, api.deployment.rule_book)
    digest = schedule_digest(domain, MALL, 1, 9, ENTRIES)
    signed = {
        key: proposal(version=1, effective_from=9, signature=hex_id(key.sign_digest(digest)))
        for key in (FOREIGN_KEY, MALL_KEY)
    }
    await _refused(api, signed[FOREIGN_KEY], 403, "invalid_signature")
    assert (await api.mall.post("/v1/schedules", json=signed[MALL_KEY])).status_code == 202
    await _refused(api, signed[MALL_KEY] | {"version": None}, 422, "invalid_input")


# ------------------------------------------------------------------------------ deciding about it


async def test_approver_and_guardian_decide_about_what_they_read(api: Api) -> None:
    await api.add(row(approved=False))
    shown = (await api.approver.get("/v1/schedules?platform=mall")).json()["versions"][0]
    read = {"platform": "mall", "content_hash": shown["content_hash"]}
    approve = {"out_request_no": "a-1"} | read
    wrong = approve | {"content_hash": "0x" + "00" * 32}
    refused = await api.approver.post("/v1/schedules/1/approve", json=wrong)
    assert (refused.status_code, refused.json()["code"]) == (409, "content_mismatch")
    assert (await api.approver.post("/v1/schedules/1/approve", json=approve)).status_code == 202
    approval = payloads.approval_from(await _payload(api, "APPROVE"))
    assert (approval.rule_id, approval.version) == (SCHEDULE, 1)
    veto = {"out_request_no": "v-1", "reason_code": "unfair"} | read
    answer = await api.guardian.post("/v1/schedules/1/veto", json=veto)
    assert answer.status_code == 202, answer.text
    assert payloads.veto_from(await _payload(api, "VETO")).rule_id == SCHEDULE
    for client, path in ((api.mall, "approve"), (api.mall, "veto"), (api.approver, "veto")):
        body = veto if path == "veto" else approve
        assert (await client.post(f"/v1/schedules/1/{path}", json=body)).status_code == 403


async def test_the_app_that_proposed_does_not_approve(api: Api) -> None:
    await api.mall.post("/v1/schedules", json=proposal())
    async with api.database.write() as session:
        await session.execute(
            update(RuleVersion).where(RuleVersion.rule_id == SCHEDULE).values(proposed=True)
        )
        await session.execute(update(Instruction).values(app_id="app_approver"))
    shown = (await api.mall.get("/v1/schedules/1")).json()
    body = {"out_request_no": "a-1", "platform": "mall", "content_hash": shown["content_hash"]}
    answer = await api.approver.post("/v1/schedules/1/approve", json=body)
    assert (answer.status_code, answer.json()["code"]) == (409, "approver_is_proposer")


async def test_a_platform_retires_its_schedule(api: Api) -> None:
    none = await api.mall.post("/v1/schedules/retire", json={"out_request_no": "r-1"})
    assert none.status_code == 404
    await api.add(row())
    domain = rule_book_domain(api.deployment.chain_id, api.deployment.rule_book)
    signature = hex_id(MALL_KEY.sign_digest(retirement_digest(domain, MALL, SCHEDULE)))
    answer = await api.mall.post(
        "/v1/schedules/retire", json={"out_request_no": "r-1", "signature": signature}
    )
    assert answer.status_code == 202, answer.text
    assert payloads.retirement_from(await _payload(api, "RETIRE")).rule_id == SCHEDULE


# ------------------------------------------------------------------------------ orders


async def test_an_order_that_names_no_rule_gets_the_one_that_is_selected(api: Api) -> None:
    await api.add(row())
    first = await api.mall.post("/v1/orders", json=tea())
    again = await api.mall.post("/v1/orders", json=tea())
    assert (first.status_code, again.status_code) == (202, 200), first.text
    assert first.json() == again.json()
    answer = first.json()
    assert (answer["out_rule_no"], answer["rule_version"]) == ("versioned", 2)
    assert answer["schedule"] == {"version": 1, "entry": 0, "criteria": ["category", "currency", "amount"]}
    capture = payloads.capture_from(await _payload(api, "CAPTURE"))
    assert (capture.rule_id, capture.rule_version) == (ENTRIES[0].rule_id, 2)
    assert capture.facts == TEA.pack()
    shown = (await api.mall.get("/v1/orders/tea-1")).json()
    assert (shown["facts"], shown["schedule"]) == ({"category": "tea"}, answer["schedule"])
    followed = (await api.mall.get("/v1/completions")).json()
    assert followed["completions"] == []


async def test_an_order_that_names_another_rule_is_told_the_winning_entry(api: Api) -> None:
    await api.add(row())
    answer = await api.mall.post("/v1/orders", json=order(facts={"category": "tea"}))
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (409, "rule_not_selected"), answer.text
    assert problem["field"] == "out_rule_no"
    assert (problem["values"]["rule"], problem["values"]["selected"]) == ("retail-standard", "versioned")
    assert problem["values"]["schedule"]["entry"] == 0
    assert await api.count() == 0
    right = await api.mall.post("/v1/orders", json=order())
    assert right.status_code == 202, right.text
    assert right.json()["schedule"] == {"version": 1, "entry": 1, "criteria": []}


async def test_amount_and_currency_select_too(api: Api) -> None:
    await api.add(row())
    items = [
        tea("below", amount=999, bindings=order()["bindings"]),
        tea("from", amount=1_000),
        tea("last", amount=9_999),
        tea("above", amount=10_000, bindings=order()["bindings"]),
        tea("yen", amount=9_999, currency="JPY", bindings=order()["bindings"]),
    ]
    answers = (await api.mall.post("/v1/orders/batch", json={"items": items})).json()["items"]
    rules = [answer["out_rule_no"] for answer in answers]
    assert rules == ["retail-standard", "versioned", "versioned", "retail-standard", "retail-standard"]


@pytest.mark.parametrize(
    "columns",
    [{"approved": False}, {"retired": True}, {"effective_from": 2**40}, {"vetoed": True, "approved": False}],
)
async def test_without_a_schedule_in_force_an_order_names_its_rule(api: Api, columns: dict[str, Any]) -> None:
    await api.add(row(**columns))
    missing = await api.mall.post("/v1/orders", json=tea())
    assert missing.status_code == 409
    assert (missing.json()["code"], missing.json()["field"]) == ("no_schedule_in_force", "out_rule_no")
    named = await api.mall.post("/v1/orders", json=order(facts={"category": "tea", "channel": "app"}))
    assert named.status_code == 202, named.text
    assert "schedule" not in named.json()
    assert (
        payloads.capture_from(await _payload(api, "CAPTURE")).facts
        == Facts(category="tea", channel="app").pack()
    )


async def test_a_selected_rule_that_cannot_be_used_says_why(api: Api) -> None:
    await api.add(row((Entry(rule_id(MALL, "future"), TEA.pack()), Entry(rule_id(MALL, "retired")))))
    for body, code in ((tea(), "rule_not_effective"), (tea("x-1", facts={}), "rule_retired")):
        answer = await api.mall.post("/v1/orders", json=body)
        assert (answer.status_code, answer.json()["code"]) == (409, code), answer.text


async def test_a_version_is_named_with_its_rule(api: Api) -> None:
    answer = await api.mall.post("/v1/orders", json=tea(rule_version=1))
    assert answer.status_code == 422
    bad = await api.mall.post("/v1/orders", json=order(facts={"category": "ninechars"}))
    assert bad.json()["field"] == "facts.category"


async def test_a_time_of_capture_selects(api: Api) -> None:
    now = int(time.time())
    over = Entry(rule_id(MALL, "versioned"), valid_until=now - 60)
    soon = Entry(rule_id(MALL, "versioned"), valid_from=now + 3_600)
    running = Entry(rule_id(MALL, "retail-standard"), valid_from=now - 60, valid_until=now + 3_600)
    await api.add(row((over, soon, running, Entry(rule_id(MALL, "retired")))))
    answer = await api.mall.post("/v1/orders", json=order())
    assert answer.status_code == 202, answer.text
    assert answer.json()["schedule"] == {"version": 1, "entry": 2, "criteria": ["time"]}


# ------------------------------------------------------------------------------ reading before the order


async def test_whoever_may_read_rules_reads_which_one_would_bind(api: Api) -> None:
    await api.add(row())
    query = "amount=5000&currency=CNY&category=tea&channel=app"
    for client, named in (
        (api.mall, ""),
        (api.approver, "&platform=mall"),
        (api.guardian, "&platform=mall"),
        (api.auditor, "&platform=mall"),
    ):
        answer = await client.get(f"/v1/schedules/select?{query}{named}")
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert (found["version"], found["entry"], found["out_rule_no"]) == (1, 0, "versioned")
        assert found["criteria"] == ["category", "currency", "amount"]
        assert (found["rule"]["version"], found["rule"]["roles"]) == (2, ["platform", "merchant"])
    assert (await api.shop.get("/v1/schedules/select?amount=1&currency=CNY&platform=mall")).status_code == 404
    assert (await api.anybody.get(f"/v1/schedules/select?{query}")).status_code == 401


async def test_what_is_approved_already_can_be_asked_about_before_its_time(api: Api) -> None:
    await api.add(
        row((Entry(rule_id(MALL, "versioned"), valid_from=900, valid_until=1_000), ENTRIES[1])),
        row((Entry(rule_id(MALL, "future")),), version=2, effective_from=FAR_FUTURE),
    )
    expected = {899: "retail-standard", 900: "versioned", 999: "versioned", 1_000: "retail-standard"}
    for at, rule in (expected | {FAR_FUTURE - 1: "retail-standard", FAR_FUTURE: "future"}).items():
        answer = await api.mall.get(f"/v1/schedules/select?amount=5&currency=CNY&at={at}")
        assert (answer.json()["out_rule_no"], answer.json()["rule"] is not None) == (rule, True), at
    early = (await api.mall.get("/v1/schedules/select?amount=5&currency=CNY&at=0")).json()
    assert (early["version"], early["rule"]["state"]) == (1, "IN_FORCE")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("amount=5&currency=CNY&at=-1", "at"),
        ("currency=CNY", "amount"),
        ("amount=0&currency=CNY", "amount"),
        ("amount=5", "currency"),
        ("amount=5&currency=cny", "currency"),
        ("amount=5&currency=CNY&category=ninechars", "category"),
    ],
)
async def test_a_question_that_is_none_names_its_field(api: Api, query: str, field: str) -> None:
    answer = await api.mall.get(f"/v1/schedules/select?{query}")
    assert (answer.status_code, answer.json()["field"]) == (422, field), answer.text


async def test_a_quote_by_the_schedule_needs_one_and_names_no_rule(api: Api) -> None:
    none = await api.mall.post("/v1/quote", json={"amount": 5_000, "currency": "CNY"})
    assert (none.status_code, none.json()["code"]) == (409, "no_schedule_in_force"), none.text
    for body in (
        {"amount": 1, "currency": "CNY", "out_rule_no": "versioned"},
        {"amount": 1, "facts": {"category": "tea"}, "out_rule_no": "versioned"},
        {"amount": 1},
    ):
        answer = await api.mall.post("/v1/quote", json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input"), answer.text
