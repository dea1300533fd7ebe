"""Freezes at the API: who may ask for them, what is refused before anything is stored, and where they show."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import select, update

from fenzhang.domain.identifiers import hex_id, order_id, split_id
from fenzhang.domain.world import WHOLE_ORDER
from fenzhang.intake.actor import Scope
from fenzhang.store import payloads, tables
from fenzhang.store.payloads import FreezeChange
from fenzhang.store.tables import InstructionState
from support.api import FAR_FUTURE, MALL, Api, give_back, order, participant, release, split

pytestmark = pytest.mark.either_database

ORDER, SPLIT = order_id(MALL, "order-1"), split_id(MALL, "split-1")
GUARDIAN_ADDRESS = b"\x07" * 20


def asked(reference: str, **what: Any) -> dict[str, Any]:
    """A freeze of something of the mall."""
    return {"out_request_no": reference, "platform": "mall", "reason": "buyer-dispute", **what}


def frozen(target: bytes, order: bytes | None) -> tables.Freeze:
    """What the mirror makes of a freeze."""
    return tables.Freeze(
        target_id=target,
        order_id=order,
        guardian=GUARDIAN_ADDRESS,
        reason="buyer-dispute",
        block_number=9,
        tx_hash=b"t" * 32,
    )


SHOWN = {
    "guardian": "0x" + GUARDIAN_ADDRESS.hex(),
    "reason": "buyer-dispute",
    "block_number": 9,
    "tx_hash": "0x" + (b"t" * 32).hex(),
}


@pytest_asyncio.fixture
async def guardians(api: Api) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    """Two guardians; an order of the mall is captured, and a split of it settled."""
    assert (await api.mall.post("/v1/orders", json=order())).status_code == 202
    assert (await api.mall.post("/v1/splits", json=split())).status_code == 202
    mirrored = tables.Order(
        order_id=ORDER,
        platform_id=MALL,
        merchant=participant("merchant-001"),
        rule_id=b"r" * 32,
        rule_version=1,
        currency="CNY",
        bindings=b"",
        captured=9_900,
        held=3_300,
        head=b"h" * 32,
        hold_until=0,
        expires_at=0,
    )
    record = tables.Record(
        kind=1,
        instruction_id=SPLIT,
        order_id=ORDER,
        split_id=None,
        amount=6_600,
        leaf=b"l" * 32,
        batch=1,
        leaf_index=0,
        block_number=7,
        tx_hash=b"t" * 32,
        log_index=0,
        reason=None,
    )
    await api.add(mirrored, record)
    one, two = (api.client(f"guardian-{number}", [Scope.GUARDIAN]) for number in (1, 2))
    async with one, two:
        yield one, two


Guardians = tuple[httpx.AsyncClient, httpx.AsyncClient]
WHAT = {
    "order": (
        {"out_order_no": "order-1"},
        FreezeChange(frozen=True, reason="buyer-dispute", order_id=ORDER, split_id=WHOLE_ORDER),
    ),
    "split": (
        {"out_order_no": "order-1", "out_split_no": "split-1"},
        FreezeChange(frozen=True, reason="buyer-dispute", order_id=ORDER, split_id=SPLIT),
    ),
    "participant": (
        {"out_participant_no": "promoter-001"},
        FreezeChange(frozen=True, reason="buyer-dispute", participant=participant("promoter-001")),
    ),
    "platform": (
        {"out_participant_no": "mall"},
        FreezeChange(frozen=True, reason="buyer-dispute", participant=MALL),
    ),
    "participant by id": (
        {"out_participant_no": hex_id(participant("promoter-001"))},
        FreezeChange(frozen=True, reason="buyer-dispute", participant=participant("promoter-001")),
    ),
}


@pytest.mark.parametrize("what", WHAT)
async def test_a_freeze_is_accepted_once(api: Api, guardians: Guardians, what: str) -> None:
    named, payload = WHAT[what]
    answer = await guardians[0].post("/v1/freezes", json=asked("case-1", **named))
    assert answer.status_code == 202, answer.text
    assert (answer.json()["type"], answer.json()["state"]) == ("FREEZE", "ACCEPTED")
    async with api.database.read() as session:
        query = select(tables.Instruction).where(tables.Instruction.reference == "case-1")
        row = (await session.execute(query)).scalar_one()
    assert payloads.freeze_change_from(row.payload) == payload
    again = await guardians[0].post("/v1/freezes", json=asked("case-1", **named))
    assert (again.status_code, again.json()) == (200, answer.json())
    other = await guardians[0].post("/v1/freezes", json=asked("case-1", **named) | {"reason": "fraud"})
    assert (other.status_code, other.json()["code"]) == (409, "reference_conflict")
    found = await guardians[1].get("/v1/freezes/case-1", params={"platform": "mall"})
    assert (found.status_code, found.json()) == (200, answer.json())


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ({"out_order_no": "order-9"}, "unknown_order"),
        ({"out_order_no": "order-1", "out_split_no": "split-9"}, "unknown_split"),
        ({"out_participant_no": "nobody"}, "unknown_participant"),
        ({"out_participant_no": "vendor-001"}, "unknown_participant"),
        ({"out_participant_no": hex_id(participant("vendor-001"))}, "unknown_participant"),
        ({"platform": "nowhere", "out_order_no": "order-1"}, "unknown_platform"),
        ({"platform": "shop", "out_order_no": "order-1"}, "unknown_order"),
    ],
)
async def test_what_is_not_there_cannot_be_frozen(
    api: Api, guardians: Guardians, what: dict[str, Any], code: str
) -> None:
    before = await api.contents()
    answer = await guardians[0].post("/v1/freezes", json=asked("case-1") | what)
    assert (answer.status_code, answer.json()["code"]) == (404, code)
    assert await api.contents() == before


@pytest.mark.parametrize(
    "what",
    [
        {},
        {"out_order_no": "order-1", "out_participant_no": "promoter-001"},
        {"out_split_no": "split-1"},
        {"out_order_no": "order-1", "reason": ""},
        {"out_order_no": "order-1", "reason": "Because!"},
        {"out_order_no": "order-1", "reason": "x" * 33},
    ],
)
async def test_a_malformed_freeze_is_refused(api: Api, guardians: Guardians, what: dict[str, Any]) -> None:
    before = await api.contents()
    answer = await guardians[0].post("/v1/freezes", json=asked("case-1") | what)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    assert await api.contents() == before


async def test_only_guardians_freeze(api: Api, guardians: Guardians) -> None:
    for client in (api.mall, api.operator, api.approver, api.auditor):
        for path in ("/v1/freezes", "/v1/unfreezes"):
            answer = await client.post(path, json=asked("case-1", out_order_no="order-1"))
            assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")
    for client in (api.operator, api.auditor, guardians[0]):
        assert (await client.get("/v1/freezes")).status_code == 200
    assert (await api.mall.get("/v1/freezes")).status_code == 403


async def test_what_one_guardian_froze_another_one_thaws(api: Api, guardians: Guardians) -> None:
    one, two = guardians
    body = asked("thaw-1", out_order_no="order-1")
    answer = await two.post("/v1/unfreezes", json=body)
    assert (answer.status_code, answer.json()["code"]) == (409, "not_frozen")
    assert (await one.post("/v1/freezes", json=asked("case-1", out_order_no="order-1"))).status_code == 202
    await api.set_state("FREEZE", "case-1", InstructionState.SETTLED)
    await api.add(frozen(ORDER, ORDER))

    twice = await two.post("/v1/freezes", json=asked("case-2", out_order_no="order-1"))
    assert (twice.status_code, twice.json()["code"]) == (409, "already_frozen")
    own = await one.post("/v1/unfreezes", json=body)
    assert (own.status_code, own.json()["code"]) == (409, "guardian_is_freezer")
    answer = await two.post("/v1/unfreezes", json=body)
    assert answer.status_code == 202, answer.text
    found = await one.get("/v1/unfreezes/thaw-1", params={"platform": "mall"})
    assert found.json() == answer.json()
    repeated = await one.post("/v1/freezes", json=asked("case-1", out_order_no="order-1"))
    assert repeated.status_code == 200, "what is known is answered, whatever happened since"


async def test_what_is_frozen_shows_where_it_is_read(api: Api, guardians: Guardians) -> None:
    promoter = participant("promoter-001")
    await api.add(
        frozen(ORDER, ORDER), frozen(SPLIT, ORDER), frozen(SPLIT, b"o" * 32), frozen(promoter, None)
    )
    shown = (await api.mall.get("/v1/orders/order-1")).json()
    assert shown["frozen"] == SHOWN
    assert [i.get("frozen") for i in shown["instructions"]] == [None, SHOWN]
    assert (await api.mall.get("/v1/splits/split-1")).json()["frozen"] == SHOWN
    assert (await api.mall.get("/v1/participants/promoter-001")).json()["frozen"] == SHOWN
    assert (await api.mall.get("/v1/participants/merchant-001")).json()["frozen"] is None
    listed = (await api.mall.get("/v1/participants")).json()["participants"]
    assert [each["out_participant_no"] for each in listed if each["frozen"]] == ["promoter-001"]

    page = (await guardians[0].get("/v1/freezes", params={"limit": 3})).json()
    assert [(each["kind"], each["id"], each["order_id"]) for each in page["freezes"]] == [
        ("ORDER", hex_id(ORDER), hex_id(ORDER)),
        ("SPLIT", hex_id(SPLIT), hex_id(ORDER)),
        ("SPLIT", hex_id(SPLIT), hex_id(b"o" * 32)),
    ]
    rest = (await guardians[0].get("/v1/freezes", params={"after": page["next"]})).json()
    assert [each["kind"] for each in rest["freezes"]] == ["PARTICIPANT"]
    assert rest["next"] is None

    async with api.database.write() as session:
        await session.execute(update(tables.Freeze).values(ended_block=10))
    assert (await api.mall.get("/v1/orders/order-1")).json()["frozen"] is None
    assert (await guardians[0].get("/v1/freezes")).json()["freezes"] == []


REFUND = {"out_refund_no": "refund-1", "out_order_no": "order-1", "amount": 5}
OF_THE_ORDER = {
    "/v1/splits": split("split-2", "order-1", 10),
    "/v1/releases": release("release-1", "order-1"),
    "/v1/returns": give_back("return-1", "split-1", 10),
    "/v1/refunds": REFUND,
}


@pytest.mark.usefixtures("guardians")
@pytest.mark.parametrize("path", OF_THE_ORDER)
async def test_nothing_is_accepted_for_a_frozen_order(api: Api, path: str) -> None:
    await api.add(frozen(ORDER, ORDER))
    before = await api.contents()
    answer = await api.mall.post(path, json=OF_THE_ORDER[path])
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["field"]) == (409, "order_frozen", "out_order_no")
    assert problem["values"] == {"reference": "order-1", "reason": "buyer-dispute"}
    assert await api.contents() == before
    known = await api.mall.post("/v1/splits", json=split())
    assert known.status_code == 200, "what was accepted before is answered as ever"

    async with api.database.write() as session:
        await session.execute(update(tables.Freeze).values(ended_block=10))
    assert (await api.mall.post(path, json=OF_THE_ORDER[path])).status_code == 202


@pytest.mark.usefixtures("guardians")
async def test_returns_of_a_frozen_split_are_refused_and_all_else_goes_on(api: Api) -> None:
    await api.add(frozen(SPLIT, ORDER))
    paths = ("/v1/returns", "/v1/splits", "/v1/refunds", "/v1/releases")
    answers = [await api.mall.post(path, json=OF_THE_ORDER[path]) for path in paths]
    assert [answer.status_code for answer in answers] == [409, 202, 202, 202]
    problem = answers[0].json()
    assert (problem["code"], problem["field"]) == ("split_frozen", "out_split_no")
    assert problem["values"] == {"reference": "split-1", "reason": "buyer-dispute"}


@pytest.mark.usefixtures("guardians")
async def test_a_freeze_of_something_else_stops_nothing_here(api: Api) -> None:
    other = order_id(MALL, "order-2")
    await api.add(frozen(SPLIT, other), frozen(other, other), frozen(participant("promoter-001"), None))
    for path, body in OF_THE_ORDER.items():
        answer = await api.mall.post(path, json=body)
        assert answer.status_code == 202, answer.text


async def test_a_refund_is_accepted_on_hold_and_not_when_frozen(api: Api) -> None:
    held = order("held-1", hold_until=FAR_FUTURE)
    refund = REFUND | {"out_order_no": "held-1"}
    assert (await api.mall.post("/v1/orders", json=held)).status_code == 202
    frozen_id = order_id(MALL, "held-1")
    await api.add(frozen(frozen_id, frozen_id))
    items = [
        {"type": "SPLIT", **split("held-1-S", "held-1", 5)},
        {"type": "REFUND", **refund},
        {"type": "CAPTURE", **order("other-1")},
    ]
    answer = await api.mall.post("/v1/instructions/batch", json={"items": items})
    assert [item.get("code") for item in answer.json()["items"]] == ["order_frozen", "order_frozen", None]
    async with api.database.write() as session:
        await session.execute(update(tables.Freeze).values(ended_block=10))
    assert (await api.mall.post("/v1/refunds", json=refund)).status_code == 202
