"""Conditions at the API: who may open and confirm them, what is refused, and where they show."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from fenzhang.chain.eip712 import condition_digest, conditions_domain, confirmation_digest
from fenzhang.chain.signer import LocalKey
from fenzhang.domain.identifiers import condition_id, hex_id
from fenzhang.domain.records import NOTHING
from fenzhang.store import keys, payloads, tables
from fenzhang.store.payloads import ConditionConfirmation, ConditionOpening
from support.api import DEPLOYMENT, FOREIGN_KEY, MALL, MALL_KEY, SHOP, SHOP_KEY, Api, order, split

pytestmark = pytest.mark.either_database

SOON = int(time.time()) + 86_400
"""Later than any run of the suite takes."""
GROUP, DELIVERY = condition_id(MALL, "group-1"), condition_id(MALL, "delivery-1")
DOMAIN = conditions_domain(DEPLOYMENT.chain_id, DEPLOYMENT.conditions)


def group(reference: str = "group-1", **changes: Any) -> dict[str, Any]:
    """A group buy of three orders."""
    return {"out_condition_no": reference, "needed": 3, "deadline": SOON} | changes


def mirrored(identifier: bytes = GROUP, **changes: Any) -> tables.Condition:
    """What the mirror makes of one."""
    values = {
        "condition_id": identifier,
        "platform_id": MALL,
        "needed": 3,
        "deadline": SOON,
        "confirmer": None,
        "count": 1,
        "confirmed": False,
        "reached": False,
        "block_number": 5,
    }
    return tables.Condition(**values | changes)


def captured(reference: str = "order-1", condition: bytes | None = GROUP) -> tables.Order:
    """What the mirror makes of an order."""
    from fenzhang.domain.identifiers import order_id

    return tables.Order(
        order_id=order_id(MALL, reference),
        platform_id=MALL,
        merchant=b"m" * 32,
        rule_id=b"r" * 32,
        rule_version=1,
        currency="CNY",
        bindings=b"",
        captured=9_900,
        held=9_900,
        head=b"h" * 32,
        hold_until=0,
        expires_at=0,
        condition_id=condition,
    )


def sign(key: LocalKey, digest: bytes) -> str:
    return "0x" + key.sign_digest(digest).hex()


async def payload_of(api: Api, reference: str) -> dict[str, Any]:
    async with api.database.read() as session:
        query = select(tables.Instruction).where(tables.Instruction.reference == reference)
        found: dict[str, Any] = (await session.execute(query)).scalar_one().payload
        return found


async def code_of(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> tuple[int, str, str | None]:
    answer = await client.post(path, json=body)
    problem = answer.json()
    return answer.status_code, problem["code"], problem.get("field")


async def test_a_condition_is_accepted_once(api: Api) -> None:
    answer = await api.mall.post("/v1/conditions", json=group())
    assert answer.status_code == 202, answer.text
    told = answer.json()
    assert (told["type"], told["state"], told["out_condition_no"]) == ("CONDITION", "ACCEPTED", "group-1")
    assert payloads.condition_opening_from(await payload_of(api, "group-1")) == ConditionOpening(
        MALL, GROUP, 3, SOON
    )
    again = await api.mall.post("/v1/conditions", json=group())
    assert (again.status_code, again.json()) == (200, told)
    assert await code_of(api.mall, "/v1/conditions", group(needed=4)) == (409, "reference_conflict", None)
    shown = (await api.mall.get("/v1/conditions/group-1")).json()
    assert (shown["state"], shown["count"], shown["needed"], shown["opening"]) == ("UNKNOWN", 0, 3, told)
    assert (await api.mall.get("/v1/conditions")).json() == {"conditions": [shown], "next": None}


async def test_a_signed_condition_with_a_confirmer(api: Api) -> None:
    terms = (MALL, DELIVERY, 0, SOON, SHOP)
    body: dict[str, Any] = {"out_condition_no": "delivery-1", "confirmer": "shop", "deadline": SOON}
    forged = body | {"signature": sign(FOREIGN_KEY, condition_digest(DOMAIN, *terms))}
    assert await code_of(api.mall, "/v1/conditions", forged) == (403, "invalid_signature", "signature")
    signed = body | {"signature": sign(MALL_KEY, condition_digest(DOMAIN, *terms))}
    answer = await api.mall.post("/v1/conditions", json=signed)
    assert answer.status_code == 202, answer.text
    stored = payloads.condition_opening_from(await payload_of(api, "delivery-1"))
    assert (stored.confirmer, stored.signature.hex()) == (SHOP, signed["signature"][2:])
    by_id = await api.mall.post("/v1/conditions", json=group("delivery-2", needed=0, confirmer=hex_id(SHOP)))
    assert by_id.status_code == 202, by_id.text


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"needed": 0}, (422, "invalid_input", "body")),
        ({"needed": -1}, (422, "invalid_input", "needed")),
        ({"needed": 2**32}, (422, "invalid_input", "needed")),
        ({"deadline": 1}, (422, "deadline_passed", "deadline")),
        ({"deadline": None}, (422, "invalid_input", "deadline")),
        ({"confirmer": "nobody"}, (404, "unknown_participant", "confirmer")),
        ({"confirmer": "vendor-001"}, (404, "unknown_participant", "confirmer")),
        ({"confirmer": "merchant-001"}, (409, "confirmer_cannot_sign", "confirmer")),
        ({"out_condition_no": "!"}, (422, "invalid_reference", "out_condition_no")),
    ],
)
async def test_what_is_refused_changes_nothing(
    api: Api, changes: dict[str, Any], expected: tuple[int, str, str]
) -> None:
    before = await api.contents()
    status, code, field = await code_of(api.mall, "/v1/conditions", group(**changes))
    assert (status, code, field or "") == expected
    assert await api.contents() == before


async def test_a_platform_without_a_key_here_signs_itself(api: Api) -> None:
    assert await code_of(api.shop, "/v1/conditions", group()) == (409, "no_signing_key", "signature")


async def test_orders_name_conditions_that_are_on_the_chain_and_not_missed(api: Api) -> None:
    wanted = order(condition_no="group-1")
    assert await code_of(api.mall, "/v1/orders", wanted) == (404, "unknown_condition", "condition_no")
    await api.add(mirrored(), mirrored(condition_id(MALL, "over"), deadline=5))
    await api.add(tables.Block(number=9, hash=b"b" * 32, parent_hash=b"", timestamp=10))
    answer = await api.mall.post("/v1/orders", json=wanted)
    assert answer.status_code == 202, answer.text
    assert payloads.capture_from(await payload_of(api, "order-1")).condition == GROUP
    over = order("order-2", condition_no="over")
    assert await code_of(api.mall, "/v1/orders", over) == (409, "condition_missed", "condition_no")
    # One that is reached takes further orders, also after its deadline.
    await api.add(mirrored(condition_id(MALL, "done"), deadline=5, count=3, reached=True))
    done = await api.mall.post("/v1/orders", json=order("order-3", condition_no="done"))
    assert done.status_code == 202
    plain = await api.mall.post("/v1/orders", json=order("order-4"))
    assert payloads.capture_from(await payload_of(api, "order-4")).condition == NOTHING
    assert plain.status_code == 202


async def test_what_waits_says_what_for(api: Api) -> None:
    await api.add(mirrored())
    assert (await api.mall.post("/v1/orders", json=order(condition_no="group-1"))).status_code == 202
    await api.add(captured())
    assert (await api.mall.post("/v1/splits", json=split())).status_code == 202
    waiting = (await api.mall.get("/v1/splits/split-1")).json()
    assert (waiting["state"], waiting["waits_for"]) == ("ACCEPTED", hex_id(GROUP))
    shown = (await api.mall.get("/v1/orders/order-1")).json()
    assert (shown["condition"]["state"], shown["condition"]["count"]) == ("OPEN", 1)
    assert shown["refunded_as_missed"] == 0
    assert [each.get("waits_for") for each in shown["instructions"]] == [None, hex_id(GROUP)]
    async with api.database.write() as session:
        row = await session.get(tables.Condition, (GROUP, MALL))
        assert row is not None
        row.count, row.reached = 3, True
    assert "waits_for" not in (await api.mall.get("/v1/splits/split-1")).json()


def confirmation(reference: str = "delivered-1", **more: Any) -> dict[str, Any]:
    return {"out_request_no": reference, "platform": "mall", **more}


PATH = "/v1/conditions/delivery-1/confirmation"


async def test_anybody_brings_the_confirmation_that_the_confirmer_signed(api: Api) -> None:
    assert await code_of(api.mall, PATH, confirmation()) == (404, "unknown_condition", "out_condition_no")
    await api.add(mirrored(DELIVERY, needed=0, confirmer=SHOP))
    digest = confirmation_digest(DOMAIN, MALL, DELIVERY)
    assert await code_of(api.mall, PATH, confirmation()) == (409, "no_signing_key", "signature")
    forged = confirmation(signature=sign(MALL_KEY, digest))
    assert await code_of(api.mall, PATH, forged) == (403, "invalid_signature", "signature")
    signature = sign(SHOP_KEY, digest)
    answer = await api.mall.post(PATH, json=confirmation(signature=signature))
    assert answer.status_code == 202, answer.text
    assert answer.json()["type"] == "CONFIRMATION"
    stored = payloads.condition_confirmation_from(await payload_of(api, "delivered-1"))
    assert stored == ConditionConfirmation(MALL, DELIVERY, SHOP, bytes.fromhex(signature[2:]))
    shown = await api.shop.get("/v1/conditions/delivery-1", params={"platform": "mall"})
    assert (shown.status_code, shown.json()["confirmer"]) == (200, hex_id(SHOP))


async def test_the_confirmer_s_own_app_lets_its_keystore_key_sign(api: Api) -> None:
    await api.add(mirrored(DELIVERY, needed=0, confirmer=SHOP))
    assert await code_of(api.shop, PATH, confirmation()) == (409, "no_signing_key", "signature")
    async with api.database.write() as session:
        keys.add(session, keys.platform_label(SHOP), SHOP_KEY.address, {"version": 3})
    answer = await api.shop.post(PATH, json=confirmation())
    assert answer.status_code == 202, answer.text


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"confirmer": None}, "no_confirmer"),
        ({"confirmed": True}, "already_confirmed"),
        ({"deadline": 5}, "condition_missed"),
    ],
)
async def test_why_nothing_is_confirmed(api: Api, changes: dict[str, Any], code: str) -> None:
    await api.add(mirrored(DELIVERY, **{"confirmer": SHOP, **changes}))
    signature = sign(SHOP_KEY, confirmation_digest(DOMAIN, MALL, DELIVERY))
    assert await code_of(api.mall, PATH, confirmation(signature=signature)) == (409, code, None)


async def test_a_condition_is_its_platform_s_and_its_confirmer_s_to_read(api: Api) -> None:
    await api.add(mirrored(), mirrored(DELIVERY, confirmer=SHOP))
    of_mall = {"platform": "mall"}
    assert (await api.shop.get("/v1/conditions/group-1")).status_code == 404
    assert (await api.shop.get("/v1/conditions/group-1", params=of_mall)).status_code == 404
    assert (await api.shop.get("/v1/conditions/delivery-1", params=of_mall)).status_code == 200
    assert (await api.auditor.get("/v1/conditions/group-1", params=of_mall)).status_code == 200
    assert (await api.operator.get("/v1/conditions/group-1", params=of_mall)).status_code == 403
    assert (await api.operator.post("/v1/conditions", json=group())).status_code == 403
