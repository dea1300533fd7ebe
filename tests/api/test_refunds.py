"""Refunds at the API: what is accepted, what is refused before anything is stored, and what is shown of them."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import select

from fenzhang.domain.allocation import Allocation, allocate
from fenzhang.domain.identifiers import order_id, refund_id
from fenzhang.domain.records import InstructionKind, RecordKind
from fenzhang.intake.limits import MAX_PAST_LEAVES
from fenzhang.store import payloads
from fenzhang.store.tables import Instruction
from support.api import MALL, RETAIL, Api, order, split
from support.files import CSV, as_csv, done, upload
from support.settled import DAY, HOLDERS, Mirror

pytestmark = pytest.mark.either_database


def refund(reference: str, amount: int = 500, out_order_no: str = "order-1", **fields: Any) -> dict[str, Any]:
    return {"out_refund_no": reference, "out_order_no": out_order_no, "amount": amount, **fields}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shop(shared_api: Api) -> Api:
    """An API with an order."""
    assert (await shared_api.mall.post("/v1/orders", json=order())).status_code == 202
    return shared_api


async def test_a_refund_is_stored_as_what_goes_on_chain(shop: Api) -> None:
    body = refund("refund-1", 500, currency="CNY")
    answer = await shop.mall.post("/v1/refunds", json=body)
    assert answer.status_code == 202, answer.text
    assert body.items() <= answer.json().items()
    assert (answer.json()["type"], answer.json()["state"]) == ("REFUND", "ACCEPTED")
    async with shop.database.read() as session:
        row = (
            await session.execute(select(Instruction).where(Instruction.reference == "refund-1"))
        ).scalar_one()
    stored = payloads.instruction_from(row.payload)
    assert (stored.kind, stored.amount, stored.order_id) == (
        InstructionKind.REFUND,
        500,
        order_id(MALL, "order-1"),
    )
    assert stored.id == refund_id(MALL, "refund-1")
    assert (await shop.mall.post("/v1/refunds", json=body)).status_code == 200
    other = await shop.mall.post("/v1/refunds", json=body | {"amount": 501})
    assert (other.status_code, other.json()["code"]) == (409, "reference_conflict")
    found = await shop.mall.get("/v1/refunds/refund-1")
    assert (found.status_code, found.json()["amount"]) == (200, 500)


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        (refund("refused", 0), 422, "invalid_amount", "amount"),
        (refund("refused", 2**63), 422, "invalid_amount", "amount"),
        (refund("refused", amounts=[5]), 422, "invalid_input", "amounts"),
        ({"out_refund_no": "refused", "amount": 5}, 422, "invalid_input", "out_order_no"),
        (refund("refused", out_order_no="nowhere"), 404, "unknown_order", "out_order_no"),
        (refund("refused", currency="USD"), 409, "currency_mismatch", "currency"),
    ],
)
async def test_what_cannot_be_a_refund_is_refused(
    shop: Api, body: dict[str, Any], status: int, code: str, field: str
) -> None:
    before = await shop.contents()
    answer = await shop.mall.post("/v1/refunds", json=body)
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["field"]) == (status, code, field), answer.text
    assert await shop.contents() == before


async def test_refunds_stand_in_batches_and_files(shop: Api) -> None:
    items = [
        {"type": "CAPTURE", **order("mixed-1")},
        {"type": "REFUND", **refund("mixed-1-F", 100, "mixed-1")},
        {"type": "REFUND", **refund("mixed-1-G", -1, "mixed-1")},
    ]
    answer = await shop.mall.post("/v1/instructions/batch", json={"items": items})
    captured, accepted, bad = answer.json()["items"]
    assert (captured["state"], accepted["state"], accepted["type"]) == ("ACCEPTED", "ACCEPTED", "REFUND")
    assert (bad["code"], bad["field"]) == ("invalid_amount", "items[2].REFUND.amount")
    rows = as_csv([{"type": "REFUND", **refund("file-1", 7, "mixed-1")}])
    assert (await upload(shop.mall, "refunds", rows, CSV)).status_code == 202
    assert (await done(shop.mall, "refunds"))["accepted"] == 1


async def test_an_order_cannot_have_more_refunds_than_its_past_can_tell_of(shop: Api) -> None:
    """Each refund tells of all leaves of its order, and the whole past goes into one transaction."""
    assert (await shop.mall.post("/v1/orders", json=order("long-1"))).status_code == 202
    splits = [split(f"long-1-S{n}", "long-1", 10) for n in range(30)]
    answer = await shop.mall.post("/v1/splits/batch", json={"items": splits})
    assert answer.status_code == 202
    leaves, accepted = 30 * len(RETAIL), 0
    while True:
        answer = await shop.mall.post("/v1/refunds", json=refund(f"long-1-F{accepted}", 1, "long-1"))
        if answer.status_code != 202:
            break
        accepted += 1
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_instructions")
    assert (accepted + 1) * leaves <= MAX_PAST_LEAVES < (accepted + 2) * leaves
    assert answer.json()["values"]["leaves"] == (accepted + 2) * leaves


async def test_what_was_refunded_is_shown_by_order_split_and_refund(api: Api) -> None:
    assert (await api.mall.post("/v1/orders", json=order())).status_code == 202
    assert (await api.mall.post("/v1/splits", json=split("split-1", amount=8_000))).status_code == 202
    assert (await api.mall.post("/v1/refunds", json=refund("refund-1", 3_000))).status_code == 202
    async with api.database.read() as session:
        ids = {row.reference: row.id for row in (await session.execute(select(Instruction))).scalars()}
    chain = Mirror(api)
    await chain.block(1, DAY)
    await chain.capture(1, "order-1", 9_900)
    leaves = tuple(allocate(RETAIL, 8_000, HOLDERS))
    takes = tuple(Allocation(leaf.recipient, leaf.amount // 10) for leaf in leaves)
    from_held = 3_000 - sum(take.amount for take in takes)
    await chain.record(1, RecordKind.SPLIT, "order-1", 8_000, leaves=leaves, instruction_id=ids["split-1"])
    await chain.record(1, RecordKind.REFUND, "order-1", 3_000, leaves=takes, instruction_id=ids["refund-1"])

    found = (await api.mall.get("/v1/orders/order-1")).json()
    assert (found["split"], found["refunded"], found["returned"]) == (8_000, 3_000, 0)
    shown = (await api.mall.get("/v1/refunds/refund-1")).json()
    assert shown["from_held"] == from_held
    assert [leaf["amount"] for leaf in shown["allocations"]] == [take.amount for take in takes]
    assert {leaf["returnable"] for leaf in shown["allocations"]} == {0}
    divided = (await api.mall.get("/v1/splits/split-1")).json()
    assert [leaf["refunded"] for leaf in divided["allocations"]] == [take.amount for take in takes]
    assert [leaf["returnable"] for leaf in divided["allocations"]] == [
        leaf.amount - take.amount for leaf, take in zip(leaves, takes, strict=True)
    ]
