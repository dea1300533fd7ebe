"""What is written: accepted durably, once per reference, and answered the same way ever after."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from fenzhang.domain import identifiers
from fenzhang.store import payloads
from fenzhang.store.session import Database
from fenzhang.store.tables import Instruction, InstructionState
from support.api import MALL, SHOP, Api, give_back, order, participant, populate, release, running_api, split


async def accepted(api: Api, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = await api.mall.post(path, json=body)
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_order_split_return_and_release_are_accepted_with_their_on_chain_ids(api: Api) -> None:
    for path, body, kind, identifier in (
        ("/v1/orders", order(), "CAPTURE", identifiers.order_id(MALL, "order-1")),
        ("/v1/splits", split(), "SPLIT", identifiers.split_id(MALL, "split-1")),
        ("/v1/returns", give_back(), "RETURN", identifiers.return_id(MALL, "return-1")),
        ("/v1/releases", release(), "RELEASE", identifiers.release_id(MALL, "release-1")),
    ):
        answer = await accepted(api, path, body)
        assert answer["state"] == "ACCEPTED"
        assert answer["type"] == kind
        assert answer["id"] == identifiers.hex_id(identifier)
        assert answer["order_id"] == identifiers.hex_id(identifiers.order_id(MALL, "order-1"))
        assert body.items() <= answer.items()


async def test_what_goes_on_chain_has_ids_in_place_of_names(api: Api) -> None:
    await accepted(api, "/v1/orders", order(merchant="merchant-001"))
    await accepted(api, "/v1/splits", split())
    async with api.database.read() as session:
        rows = (await session.execute(select(Instruction).order_by(Instruction.seq))).scalars().all()
    capture = payloads.capture_from(rows[0].payload)
    assert capture.platform == MALL
    assert capture.merchant == participant("merchant-001")
    assert capture.rule_id == identifiers.rule_id(MALL, "retail-standard")
    assert capture.rule_version == 1
    # In the order of the rule's roles, whatever the order in the request.
    assert capture.bindings == (
        MALL,
        participant("logistics-001"),
        participant("promoter-001"),
        participant("merchant-001"),
    )
    assert payloads.instruction_from(rows[1].payload).bindings == ()


async def test_participants_may_be_named_by_id(api: Api) -> None:
    named = "0x" + participant("merchant-001").hex()
    await accepted(
        api, "/v1/orders", order(merchant=named, bindings={"merchant": named.upper().replace("0X", "0x")})
    )


async def test_a_split_binds_the_roles_that_the_order_left_open(api: Api) -> None:
    bindings = order()["bindings"]
    promoter = {"promoter": bindings.pop("promoter")}
    await accepted(api, "/v1/orders", order(bindings=bindings))
    await accepted(api, "/v1/splits", split(bindings=promoter))
    async with api.database.read() as session:
        rows = (await session.execute(select(Instruction).order_by(Instruction.seq))).scalars().all()
    capture, instruction = payloads.capture_from(rows[0].payload), payloads.instruction_from(rows[1].payload)
    nobody = bytes(32)
    assert capture.bindings[2] == nobody
    assert instruction.bindings == (nobody, nobody, participant("promoter-001"), nobody)


async def test_the_rule_version_in_force_is_taken_unless_one_is_named(api: Api) -> None:
    bindings = {"platform": "mall", "merchant": "merchant-001"}
    body = order(out_rule_no="versioned", bindings=bindings)
    assert (await accepted(api, "/v1/orders", body))["rule_version"] == 2


# ------------------------------------------------------------------------------ once per reference


@pytest.mark.parametrize(
    ("path", "body", "changed"),
    [
        ("/v1/orders", order("order-2"), {"amount": 9_901}),
        ("/v1/splits", split(), {"amount": 6_601}),
        ("/v1/returns", give_back(split_no="split-0"), {"amounts": [100, 0, 0, 0]}),
        ("/v1/releases", release(), {"out_order_no": "order-0"}),
    ],
)
async def test_same_reference_same_content_is_the_same_and_other_content_a_conflict(
    api: Api, path: str, body: dict[str, Any], changed: dict[str, Any]
) -> None:
    for number in ("0", "1"):
        await accepted(api, "/v1/orders", order(f"order-{number}"))
    await accepted(api, "/v1/splits", split("split-0"))
    first = await accepted(api, path, body)
    count = await api.count()
    again = await api.mall.post(path, json=body)
    assert again.status_code == 200
    assert again.json() == first
    conflict = await api.mall.post(path, json=body | changed)
    assert conflict.status_code == 409
    assert conflict.json()["code"] == "reference_conflict"
    assert await api.count() == count


async def test_a_repetition_shows_what_has_become_of_it(api: Api) -> None:
    await accepted(api, "/v1/orders", order())
    await api.set_state("CAPTURE", "order-1", InstructionState.SETTLED)
    again = await api.mall.post("/v1/orders", json=order())
    assert again.status_code == 200
    assert again.json()["state"] == "SETTLED"
    assert again.json()["block_number"] == 7


async def test_optional_fields_left_out_or_null_are_the_same_content(api: Api) -> None:
    await accepted(api, "/v1/orders", order())
    again = await api.mall.post("/v1/orders", json=order(rule_version=None, authorization=None))
    assert again.status_code == 200


async def test_references_of_different_types_and_platforms_are_independent(api: Api) -> None:
    await accepted(api, "/v1/orders", order("same"))
    await accepted(api, "/v1/splits", split("same", "same"))
    vending = order("same", out_rule_no="vending", merchant="vendor-001", bindings={"merchant": "vendor-001"})
    theirs = await api.shop.post("/v1/orders", json=vending)
    assert theirs.status_code == 202, theirs.text
    assert theirs.json()["id"] == identifiers.hex_id(identifiers.order_id(SHOP, "same"))


async def test_the_same_request_many_times_at_once_to_several_processes_is_one_instruction(
    database: Database, tmp_path: Path
) -> None:
    await populate(database)
    async with (
        Database(database.url) as other,
        running_api(database, tmp_path) as one,
        running_api(other, tmp_path) as two,
    ):
        answers = await asyncio.gather(
            *(api.mall.post("/v1/orders", json=order()) for _ in range(10) for api in (one, two))
        )
        assert sorted(answer.status_code for answer in answers) == [200] * 19 + [202]
        assert len({answer.json()["accepted_at"] for answer in answers}) == 1
        assert await one.count() == 1


async def test_of_different_requests_with_one_reference_at_once_one_wins_and_the_others_conflict(
    database: Database, tmp_path: Path
) -> None:
    await populate(database)
    async with (
        Database(database.url) as other,
        running_api(database, tmp_path) as one,
        running_api(other, tmp_path) as two,
    ):
        # Splits of different orders under one reference: only the unique key can tell them apart.
        batch = {"items": [order(f"order-{number}") for number in range(10)]}
        assert (await one.mall.post("/v1/orders/batch", json=batch)).status_code == 202
        answers = await asyncio.gather(
            *(
                (one, two)[number % 2].mall.post("/v1/splits", json=split("same", f"order-{number}"))
                for number in range(10)
            )
        )
        assert sorted(answer.status_code for answer in answers) == [202] + [409] * 9
        assert await one.count() == 11


# ------------------------------------------------------------------------------ batches


async def test_a_bad_item_of_a_batch_has_its_problem_in_its_place_and_its_neighbours_are_accepted(
    api: Api,
) -> None:
    await accepted(api, "/v1/orders", order())
    await accepted(api, "/v1/splits", split("known", amount=1))
    items: list[Any] = [
        split("good-1"),
        split("known", amount=1),
        split("known", amount=2),
        split("lost", "order-unknown"),
        split("zero", amount=0),
        split("bad reference"),
        {"nonsense": True},
        "nonsense",
        split("good-2"),
    ]
    answer = await api.mall.post("/v1/splits/batch", json={"items": items})
    assert answer.status_code == 202
    found = answer.json()["items"]
    assert [item.get("code", item.get("state")) for item in found] == [
        "ACCEPTED",
        "ACCEPTED",
        "reference_conflict",
        "unknown_order",
        "invalid_amount",
        "invalid_reference",
        "invalid_input",
        "invalid_input",
        "ACCEPTED",
    ]
    assert found[4]["field"] == "items[4].amount"
    assert [item.get("status") for item in found] == [None, None, 409, 404, 422, 422, 422, 422, None]
    again = await api.mall.post("/v1/splits/batch", json={"items": items})
    assert again.status_code == 200
    assert again.json() == answer.json()


async def test_items_of_a_mixed_batch_may_refer_to_those_before_them(api: Api) -> None:
    items = [
        {"type": "SPLIT", **split("early")},
        {"type": "CAPTURE", **order()},
        {"type": "SPLIT", **split()},
        {"type": "RETURN", **give_back()},
        {"type": "RELEASE", **release()},
        {"type": "SPLIT", **split()},
    ]
    answer = await api.mall.post("/v1/instructions/batch", json={"items": items})
    assert answer.status_code == 202
    states = [item.get("code", item.get("state")) for item in answer.json()["items"]]
    assert states == ["unknown_order", *["ACCEPTED"] * 5]
    async with api.database.read() as session:
        rows = (await session.execute(select(Instruction).order_by(Instruction.seq))).scalars().all()
    assert [row.type for row in rows] == ["CAPTURE", "SPLIT", "RETURN", "RELEASE"]


async def test_a_thousand_orders_and_splits_go_in_one_request_and_no_more(api: Api) -> None:
    orders = {"items": [order(f"o-{number}") for number in range(1_000)]}
    answer = await api.mall.post("/v1/orders/batch", json=orders)
    assert answer.status_code == 202
    assert {item["state"] for item in answer.json()["items"]} == {"ACCEPTED"}
    splits = {"items": [split(f"s-{number}", f"o-{number}") for number in range(1_000)]}
    assert (await api.mall.post("/v1/splits/batch", json=splits)).status_code == 202
    assert await api.count() == 2_000
    splits["items"].append(split("one-more", "o-1"))
    refused = await api.mall.post("/v1/splits/batch", json=splits)
    assert refused.status_code == 422
    assert refused.json()["field"] == "items"


async def test_an_order_has_at_most_64_instructions(api: Api) -> None:
    await accepted(api, "/v1/orders", order())
    items = [split(f"s-{number}", amount=1) for number in range(70)]
    answers = await asyncio.gather(
        *(
            api.mall.post("/v1/splits/batch", json={"items": items[start : start + 10]})
            for start in range(0, 70, 10)
        )
    )
    found = [item.get("code") for answer in answers for item in answer.json()["items"]]
    assert sorted(found, key=str) == [None] * 64 + ["too_many_instructions"] * 6
    assert await api.count() == 65
