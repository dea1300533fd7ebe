"""Time lock, veto, consent and caps over HTTP: what is asked, what is shown, and what is refused early."""

from __future__ import annotations

import time
from typing import Any

import pytest
from sqlalchemy import select, update

from fenzhang.api.schemas.governance import CONTENT_HASH_EXAMPLE
from fenzhang.domain.identifiers import rule_id
from fenzhang.domain.rules import RuleTerms
from fenzhang.store import chainsettings, payloads
from fenzhang.store.tables import Instruction, Participant, RuleVersion
from support.api import MALL, SIMPLE, Api, order, participant, rule_row

pytestmark = pytest.mark.either_database

DAY = 86_400
VETO = "/v1/rules/draft/versions/1/veto"


def proposal(request: str = "p-1", rule: str = "new", **changes: Any) -> dict[str, Any]:
    return {
        "out_request_no": request,
        "out_rule_no": rule,
        "legs": payloads.legs_to_json(SIMPLE),
    } | changes


def veto(**changes: Any) -> dict[str, Any]:
    """A veto of the mall's draft."""
    return {
        "out_request_no": "v-1",
        "platform": "mall",
        "content_hash": CONTENT_HASH_EXAMPLE,
        "reason_code": "share_too_high",
    } | changes


async def _lock(api: Api, seconds: int) -> None:
    async with api.database.write() as session:
        await chainsettings.write(session, chainsettings.APPROVAL_LOCK, seconds)


async def _payload(api: Api, kind: str) -> dict[str, Any]:
    async with api.database.read() as session:
        query = select(Instruction.payload).where(Instruction.type == kind)
        found: dict[str, Any] = (await session.execute(query)).scalar_one()
    return found


# ------------------------------------------------------------------------------ lock


async def test_a_rule_shows_the_lock_and_when_what_is_approved_now_takes_effect(api: Api) -> None:
    free = (await api.mall.get("/v1/rules/versioned")).json()
    assert free["approval_lock"] == 0
    await _lock(api, DAY)
    before = int(time.time())
    locked = (await api.mall.get("/v1/rules/versioned")).json()
    assert locked["approval_lock"] == DAY
    assert before + DAY <= locked["earliest_effect"] <= int(time.time()) + DAY
    [listed] = [
        rule
        for rule in (await api.guardian.get("/v1/rules?platform=mall")).json()["rules"]
        if rule["out_rule_no"] == "versioned"
    ]
    assert listed["approval_lock"] == DAY


@pytest.mark.parametrize("effective", ["as soon as approved", "long ago", "in half the time"])
async def test_what_nobody_can_approve_in_time_is_not_proposed(api: Api, effective: str) -> None:
    await _lock(api, DAY)
    moments = {"long ago": 5, "in half the time": int(time.time()) + DAY // 2}
    body = proposal(effective_from=moments[effective]) if effective in moments else proposal()
    answer = await api.mall.post("/v1/rules", json=body)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (409, "effective_within_lock"), answer.text
    assert problem["field"] == "effective_from"
    assert problem["values"]["earliest"] >= int(time.time()) + DAY - 5
    assert await api.count() == 0
    late = await api.mall.post("/v1/rules", json=proposal(effective_from=problem["values"]["earliest"] + 60))
    assert late.status_code == 202


async def test_an_approval_that_comes_too_late_is_refused(api: Api) -> None:
    await _lock(api, DAY)
    body = {"out_request_no": "a-1", "platform": "mall", "content_hash": CONTENT_HASH_EXAMPLE}
    answer = await api.approver.post("/v1/rules/draft/versions/1/approve", json=body)
    assert (answer.status_code, answer.json()["code"]) == (409, "effective_within_lock")
    await _lock(api, 0)
    assert (await api.approver.post("/v1/rules/draft/versions/1/approve", json=body)).status_code == 202


# ------------------------------------------------------------------------------ veto


async def test_a_guardian_vetoes_what_it_read_and_follows_it(api: Api) -> None:
    answer = await api.guardian.post(VETO, json=veto())
    assert answer.status_code == 202, answer.text
    assert (await api.guardian.post(VETO, json=veto())).status_code == 200
    stored = payloads.veto_from(await _payload(api, "VETO"))
    assert (stored.platform, stored.rule_id, stored.version) == (MALL, rule_id(MALL, "draft"), 1)
    assert stored.reason == b"share_too_high".ljust(32, b"\0")
    followed = await api.guardian.get("/v1/instructions/VETO/v-1?platform=mall")
    assert followed.json() == answer.json()
    assert (await api.mall.get("/v1/instructions/VETO/v-1")).json() == answer.json()


async def test_a_vetoed_version_says_who_and_why_and_takes_no_order(api: Api) -> None:
    told = {"guardian": "0x" + "ab" * 20, "reason_code": "share_too_high", "block_number": 7}
    async with api.database.write() as session:
        change = update(RuleVersion).where(RuleVersion.reference == "future")
        await session.execute(change.values(vetoed=True, approved=False, veto=told))
    version = (await api.mall.get("/v1/rules/future/versions/1")).json()
    assert (version["state"], version["veto"]) == ("VETOED", told)
    assert (await api.mall.get("/v1/rules/draft/versions/1")).json()["veto"] is None
    captured = await api.mall.post("/v1/orders", json=order(out_rule_no="future", rule_version=1))
    assert (captured.status_code, captured.json()["code"]) == (409, "rule_vetoed"), captured.text
    hash_of = {"content_hash": version["content_hash"]}
    for path, client, body in (
        ("approve", api.approver, {"out_request_no": "a-1", "platform": "mall"}),
        ("veto", api.guardian, veto()),
    ):
        answer = await client.post(f"/v1/rules/future/versions/1/{path}", json=body | hash_of)
        assert (answer.status_code, answer.json()["code"]) == (409, "rule_vetoed")
    next_one = await api.mall.post("/v1/rules", json=proposal(rule="future", effective_from=1))
    assert (next_one.status_code, next_one.json()["version"]) == (202, 2)


@pytest.mark.parametrize(
    ("path", "changes", "status", "code"),
    [
        (VETO, {"content_hash": "0x" + "11" * 32}, 409, "content_mismatch"),
        (VETO, {"platform": "nobody"}, 404, "unknown_platform"),
        (VETO, {"reason_code": ""}, 422, "invalid_input"),
        (VETO, {"reason_code": "x" * 33}, 422, "invalid_input"),
        (VETO, {"reason_code": "Because!"}, 422, "invalid_input"),
        (VETO.replace("draft", "nothing"), {}, 404, "unknown_rule"),
        (VETO.replace("draft", "unmirrored"), {}, 409, "rule_not_proposed"),
    ],
)
async def test_a_veto_that_is_refused(
    api: Api, path: str, changes: dict[str, Any], status: int, code: str
) -> None:
    answer = await api.guardian.post(path, json=veto(**changes))
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert await api.count() == 0


async def test_what_took_effect_is_not_vetoed(api: Api) -> None:
    body = veto(content_hash="0x" + rule_row(MALL, "retail-standard").content_hash.hex())
    answer = await api.guardian.post("/v1/rules/retail-standard/versions/1/veto", json=body)
    assert (answer.status_code, answer.json()["code"]) == (409, "rule_in_effect")


async def test_guarding_is_the_guardians(api: Api) -> None:
    for client in (api.mall, api.operator, api.approver, api.auditor):
        assert (await client.post(VETO, json=veto())).status_code == 403
        capped = await client.post(
            "/v1/platforms/mall/cap", json={"out_request_no": "c-1", "max_share_out": 1}
        )
        assert capped.status_code == 403


# ------------------------------------------------------------------------------ consent


async def test_a_participant_is_recorded_as_agreeing_no_longer(api: Api) -> None:
    path, body = "/v1/participants/merchant-001/consent", {"out_request_no": "c-1", "granted": False}
    answer = await api.mall.post(path, json=body)
    assert answer.status_code == 202, answer.text
    assert (await api.mall.post(path, json=body)).status_code == 200
    conflict = await api.mall.post(path, json=body | {"granted": True})
    assert (conflict.status_code, conflict.json()["code"]) == (409, "reference_conflict")
    asked = payloads.consent_change_from(await _payload(api, "CONSENT"))
    assert asked == payloads.ConsentChange(participant("merchant-001"), MALL, granted=False)
    assert (await api.mall.get("/v1/participants/merchant-001")).json()["consents"] is True
    async with api.database.write() as session:
        (await session.get_one(Participant, participant("merchant-001"))).consents = False
    assert (await api.mall.get("/v1/participants/merchant-001")).json()["consents"] is False
    refused = await api.mall.post("/v1/orders", json=order())
    assert (refused.status_code, refused.json()["code"]) == (409, "recipient_not_consented")
    assert refused.json()["field"] == "merchant"


@pytest.mark.parametrize(
    ("name", "body", "status", "code"),
    [
        ("nobody", {"granted": True}, 404, "unknown_participant"),
        ("mall", {"granted": False}, 404, "unknown_participant"),
        ("pending-001", {"granted": False}, 409, "participant_not_active"),
        ("merchant-001", {}, 422, "invalid_input"),
        ("merchant-001", {"granted": "no"}, 422, "invalid_input"),
    ],
)
async def test_consent_that_is_refused(
    api: Api, name: str, body: dict[str, Any], status: int, code: str
) -> None:
    answer = await api.mall.post(f"/v1/participants/{name}/consent", json={"out_request_no": "c-1"} | body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


# ------------------------------------------------------------------------------ caps


async def test_a_guardian_caps_a_platform(api: Api) -> None:
    body = {"out_request_no": "c-1", "max_share_out": 3_000}
    answer = await api.guardian.post("/v1/platforms/mall/cap", json=body)
    assert answer.status_code == 202, answer.text
    assert (await api.guardian.post("/v1/platforms/mall/cap", json=body)).status_code == 200
    assert payloads.cap_from(await _payload(api, "CAP")) == payloads.Cap(MALL, 3_000)
    await _cap(api, platform=3_000)
    for client, path in ((api.guardian, "/v1/platforms/mall"), (api.mall, "/v1/participants/mall")):
        assert (await client.get(path)).json()["max_share_out"] == 3_000
    followed = await api.guardian.get("/v1/instructions/CAP/c-1?platform=mall")
    assert followed.json() == answer.json()
    for change in ({"max_share_out": 10_001}, {"max_share_out": -1}, {"max_share_out": None}):
        refused = await api.guardian.post("/v1/platforms/mall/cap", json=body | change)
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_input")
    unknown = await api.guardian.post("/v1/platforms/nobody/cap", json=body)
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_platform")


async def _cap(api: Api, *, rule: int = 0, platform: int = 0) -> None:
    terms = payloads.terms_to_json(RuleTerms(rule))
    async with api.database.write() as session:
        change = update(RuleVersion).where(RuleVersion.reference == "retail-standard")
        await session.execute(change.values(terms=terms))
        (await session.get_one(Participant, MALL)).max_share_out = platform


async def test_an_order_under_a_cap_says_what_may_leave(api: Api) -> None:
    assert (await api.mall.post("/v1/orders", json=order())).status_code == 202
    amount = order()["amount"]
    assert (await api.mall.get("/v1/orders/order-1")).json()["share_out"] is None
    for caps, cap in (({"rule": 2_000}, 2_000), ({"rule": 2_000, "platform": 999}, 999)):
        await _cap(api, **caps)
        most = amount * cap // 10_000
        found = (await api.mall.get("/v1/orders/order-1")).json()["share_out"]
        assert found == {"max_share_out": cap, "most": most, "shared_out": 0, "left": most}


async def test_a_split_that_is_too_much_by_itself_is_refused_early(api: Api) -> None:
    assert (await api.mall.post("/v1/orders", json=order())).status_code == 202
    await _cap(api, rule=1)
    body = {"out_split_no": "split-1", "out_order_no": "order-1", "amount": order()["amount"]}
    answer = await api.mall.post("/v1/splits", json=body)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "share_out_above_cap"), answer.text
    assert problem["field"] == "amount"
    assert problem["values"]["leaving"] > problem["values"]["most"] == order()["amount"] // 10_000
    await _cap(api, rule=10_000)
    assert (await api.mall.post("/v1/splits", json=body)).status_code == 202


@pytest.mark.parametrize("more", [{"out_rule_no": "retail-standard"}, {"version": 1}])
async def test_an_order_is_quoted_alone(api: Api, more: dict[str, Any]) -> None:
    body = {"out_order_no": "order-1", "amount": 1} | more
    answer = await api.mall.post("/v1/quote", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
