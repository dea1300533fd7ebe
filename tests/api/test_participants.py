"""Participants: enrolled under the platform's reference and a random id, suspended and resumed."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from sqlalchemy import select

from fenzhang.chain.keystore import decrypt_key, encrypt_key
from fenzhang.domain.places import TOP
from fenzhang.store import keys, payloads, tables
from fenzhang.store.tables import Instruction, InstructionState, KeystoreKey, Participant
from support.api import MALL, SHOP, Api, participant

pytestmark = pytest.mark.either_database


async def _payload(api: Api, kind: str, reference: str) -> dict[str, Any]:
    async with api.database.read() as session:
        query = select(Instruction.payload).where(
            Instruction.type == kind, Instruction.reference == reference
        )
        found: dict[str, Any] = (await session.execute(query)).scalar_one()
        return found


# ------------------------------------------------------------------------------ recipients


async def test_recipient_is_enrolled_under_a_random_id_and_consents_to_its_platform(api: Api) -> None:
    answer = await api.mall.post("/v1/participants", json={"out_participant_no": "supplier-001"})
    assert answer.status_code == 202
    found = answer.json()
    assert found["status"] == "UNKNOWN"
    assert found["enrolment"]["state"] == "ACCEPTED"
    enrollment = payloads.enrollment_from(await _payload(api, "ENROLL", "supplier-001"))
    assert "0x" + enrollment.participant.hex() == found["participant_id"]
    assert (enrollment.platform, enrollment.authority) == (MALL, None)
    again = await api.mall.post("/v1/participants", json={"out_participant_no": "supplier-001"})
    assert (again.status_code, again.json()) == (200, found)


async def test_two_platforms_may_use_one_reference_for_different_participants(api: Api) -> None:
    ids = set()
    for client in (api.mall, api.shop):
        answer = await client.post("/v1/participants", json={"out_participant_no": "same"})
        assert answer.status_code == 202
        ids.add(answer.json()["participant_id"])
    assert len(ids) == 2


async def test_the_platforms_own_name_is_taken(api: Api) -> None:
    answer = await api.mall.post("/v1/participants", json={"out_participant_no": "mall"})
    assert (answer.status_code, answer.json()["code"]) == (409, "already_enrolled")


async def test_participant_is_found_by_reference_and_by_id(api: Api) -> None:
    identifier = "0x" + participant("merchant-001").hex()
    by_reference = (await api.mall.get("/v1/participants/merchant-001")).json()
    by_id = (await api.mall.get(f"/v1/participants/{identifier}")).json()
    assert by_reference == by_id
    assert by_id["participant_id"] == identifier
    assert by_id["status"] == "ACTIVE"
    for unknown in ("nobody", "0x" + "00" * 32):
        answer = await api.mall.get(f"/v1/participants/{unknown}")
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_participant")


async def test_participants_are_listed_page_by_page_in_one_order(api: Api) -> None:
    for name in ("Z-1", "a-1", "z-1"):
        await api.mall.post("/v1/participants", json={"out_participant_no": name})
    found: list[str] = []
    after = ""
    for _ in range(10):
        page = (await api.mall.get("/v1/participants", params={"after": after, "limit": 2})).json()
        found += [item["out_participant_no"] for item in page["participants"]]
        after = page["next"]
        if after is None:
            break
    assert found == sorted(found)
    assert {"Z-1", "a-1", "mall", "merchant-001", "suspended-001"} <= set(found)
    assert len(found) == len(set(found)) == 9


@pytest.mark.parametrize(
    ("name", "action", "status", "code"),
    [
        ("merchant-001", "suspend", 202, None),
        ("suspended-001", "resume", 202, None),
        ("suspended-001", "suspend", 409, "participant_not_active"),
        ("pending-001", "suspend", 409, "participant_not_active"),
        ("merchant-001", "resume", 409, "participant_not_suspended"),
        ("nobody", "suspend", 404, "unknown_participant"),
        ("mall", "suspend", 404, "unknown_participant"),
    ],
)
async def test_standing_changes_only_from_the_standing_before(
    api: Api, name: str, action: str, status: int, code: str | None
) -> None:
    answer = await api.mall.post(f"/v1/participants/{name}/{action}", json={"out_request_no": "q-1"})
    assert (answer.status_code, answer.json().get("code")) == (status, code), answer.text
    if status == 202:
        payload = await _payload(api, action.upper(), "q-1")
        assert payloads.standing_change_from(payload).participant == participant(name)


async def test_request_to_suspend_is_repeated_safely_and_followed_by_its_number(api: Api) -> None:
    path, body = "/v1/participants/merchant-001/suspend", {"out_request_no": "q-1"}
    assert (await api.mall.post(path, json=body)).status_code == 202
    # Also after it has taken effect, when it could not be asked for anew.
    async with api.database.write() as session:
        (await session.get_one(Participant, participant("merchant-001"))).status = 2
    await api.set_state("SUSPEND", "q-1", InstructionState.SETTLED)
    again = await api.mall.post(path, json=body)
    assert (again.status_code, again.json()["state"]) == (200, "SETTLED")
    followed = await api.mall.get("/v1/instructions/SUSPEND/q-1")
    assert followed.json() == again.json()
    other = await api.mall.post("/v1/participants/logistics-001/suspend", json=body)
    assert (other.status_code, other.json()["code"]) == (409, "reference_conflict")


# ------------------------------------------------------------------------------ places


async def test_a_participant_is_placed_and_taken_to_the_top(api: Api) -> None:
    path = "/v1/participants/merchant-001/place"
    for number, parent in (("q-1", "logistics-001"), ("q-2", None)):
        body = {"out_request_no": number, "out_parent_no": parent}
        first, again = [await api.mall.post(path, json=body) for _ in range(2)]
        assert (first.status_code, again.status_code) == (202, 200), first.text
        placement = payloads.placement_from(await _payload(api, "PLACE", number))
        above = TOP if parent is None else participant(parent)
        assert (placement.participant, placement.parent) == (participant("merchant-001"), above)
    other = await api.mall.post(path, json={"out_request_no": "q-2", "out_parent_no": "mall"})
    assert (other.status_code, other.json()["code"]) == (409, "reference_conflict")


@pytest.mark.parametrize(
    ("name", "parent", "status", "code"),
    [
        ("nobody", "mall", 404, "unknown_participant"),
        ("merchant-001", "nobody", 404, "unknown_participant"),
        ("pending-001", "mall", 409, "participant_not_active"),
        ("merchant-001", "pending-001", 409, "participant_not_active"),
        ("merchant-001", "merchant-001", 409, "place_not_possible"),
        ("merchant-001", "logistics-001", 409, "place_not_possible"),
        ("logistics-001", None, 409, "place_not_possible"),
    ],
)
async def test_places_that_the_chain_would_refuse(
    api: Api, name: str, parent: str | None, status: int, code: str
) -> None:
    async with api.database.write() as session:
        courier = await session.get_one(Participant, participant("logistics-001"))
        courier.level = 4
        (await session.get_one(Participant, participant("suspended-001"))).parent_id = courier.id
    body = {"out_request_no": "q-1", "out_parent_no": parent}
    answer = await api.mall.post(f"/v1/participants/{name}/place", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


async def test_levels_page_by_page(api: Api) -> None:
    async with api.database.write() as session:
        for name in ("merchant-001", "logistics-001", "suspended-001"):
            found = await session.get_one(Participant, participant(name))
            found.parent_id, found.level = MALL, 2
    pages = [(await api.mall.get("/v1/levels", params={"below": "mall", "limit": 2})).json()]
    pages.append(
        (await api.mall.get("/v1/levels", params={"below": "mall", "after": pages[0]["next"]})).json()
    )
    names = [rung["out_participant_no"] for page in pages for rung in page["participants"]]
    assert names == ["logistics-001", "merchant-001", "suspended-001"]
    assert [page["next"] for page in pages] == ["merchant-001", None]
    assert pages[0]["above"]["below"] == 3
    assert [level["participants"] for level in pages[0]["levels"]][1] == 3
    unknown = await api.mall.get("/v1/levels", params={"below": "nobody"})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_participant")
    assert (await api.operator.get("/v1/levels")).status_code == 403


# ------------------------------------------------------------------------------ platforms


async def test_platform_with_its_own_authority(api: Api) -> None:
    body = {"out_participant_no": "haitao", "authority": "0x" + "aB" * 20}
    answer = await api.operator.post("/v1/platforms", json=body)
    assert answer.status_code == 202, answer.text
    found = answer.json()
    assert found["authority"] == "0x" + "ab" * 20
    enrollment = payloads.enrollment_from(await _payload(api, "ENROLL", "haitao"))
    assert (enrollment.authority, enrollment.platform) == (b"\xab" * 20, None)
    assert (await api.operator.post("/v1/platforms", json=body)).status_code == 200
    other = body | {"authority": "0x" + "00" * 19 + "01"}
    conflict = await api.operator.post("/v1/platforms", json=other)
    assert (conflict.status_code, conflict.json()["code"]) == (409, "reference_conflict")
    assert (await api.operator.get("/v1/platforms/haitao")).json() == found
    # The operator's writes are the operator's to follow.
    followed = await api.operator.get("/v1/instructions/ENROLL/haitao")
    assert followed.json()["state"] == "ACCEPTED"
    assert (await api.mall.get("/v1/instructions/ENROLL/haitao")).status_code == 404


async def test_platform_whose_key_is_made_into_the_keystore(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fenzhang.intake.participants.encrypt_key", partial(encrypt_key, work_factor=2))
    body = {"out_participant_no": "haitao", "generate_key": True}
    first, again = [await api.operator.post("/v1/platforms", json=body) for _ in range(2)]
    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json() == again.json()
    platform = bytes.fromhex(first.json()["participant_id"][2:])
    async with api.database.read() as session:
        labels = (await session.execute(select(KeystoreKey.label))).scalars().all()
        key = await keys.by_label(session, keys.platform_label(platform))
    assert len(labels) == 3
    assert key is not None
    assert first.json()["authority"] == "0x" + key.address.hex()
    assert decrypt_key(key.keyfile, "test").address == key.address


@pytest.mark.parametrize(
    "body",
    [
        {"out_participant_no": "haitao"},
        {"out_participant_no": "haitao", "authority": "0x" + "ab" * 20, "generate_key": True},
        {"out_participant_no": "haitao", "authority": "0x12"},
    ],
)
async def test_platform_signs_in_one_way(api: Api, body: dict[str, Any]) -> None:
    answer = await api.operator.post("/v1/platforms", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")


async def test_operator_suspends_and_resumes_platforms(api: Api) -> None:
    suspended = await api.operator.post("/v1/platforms/shop/suspend", json={"out_request_no": "q-1"})
    assert suspended.status_code == 202
    async with api.database.write() as session:
        (await session.get_one(Participant, SHOP)).status = 2
    resumed = await api.operator.post("/v1/platforms/shop/resume", json={"out_request_no": "q-1"})
    assert resumed.status_code == 202
    rows = await _rows(api)
    assert [(row.type, row.platform_id) for row in rows] == [("SUSPEND", bytes(32)), ("RESUME", bytes(32))]
    unknown = await api.operator.post("/v1/platforms/merchant-001/suspend", json={"out_request_no": "q-2"})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_platform")


async def _rows(api: Api) -> list[tables.Instruction]:
    async with api.database.read() as session:
        return list((await session.execute(select(Instruction).order_by(Instruction.seq))).scalars())
