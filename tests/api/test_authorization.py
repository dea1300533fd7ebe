"""Instructions that come signed: the signature is verified over exactly what is accepted, or nothing is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from fenzhang.chain.signer import LocalKey
from fenzhang.devnet import ephemeral_node
from fenzhang.domain import identifiers
from fenzhang.domain.records import Capture, Instruction, InstructionKind
from fenzhang.store import tables
from fenzhang.store.session import Database
from support.api import (
    BANK_KEY,
    DEPLOYMENT,
    FOREIGN_KEY,
    SHOP,
    SHOP_KEY,
    Api,
    participant,
    populate,
    running_api,
)
from support.databases import SQLITE
from support.node import HandNode
from support.system import System, deploy_system

pytestmark = pytest.mark.either_database

VENDOR = participant("vendor-001")


def sale(reference: str, **changes: Any) -> dict[str, Any]:
    """An order of the shop, which keeps its key to itself."""
    return {
        "out_order_no": reference,
        "out_rule_no": "vending",
        "merchant": "vendor-001",
        "currency": "CNY",
        "amount": 1_000,
        "channel": "sandbox",
        "bindings": {"platform": "shop", "merchant": "vendor-001"},
    } | changes


def capture(reference: str, amount: int = 1_000) -> Capture:
    """What the bank signs for `sale`."""
    return Capture(
        order_id=identifiers.order_id(SHOP, reference),
        platform=SHOP,
        merchant=VENDOR,
        rule_id=identifiers.rule_id(SHOP, "vending"),
        rule_version=1,
        currency="CNY",
        amount=amount,
        bindings=(SHOP, VENDOR),
    )


def split_of(reference: str, order_no: str, amount: int) -> Instruction:
    """What the shop signs for a split."""
    return Instruction(
        InstructionKind.SPLIT,
        identifiers.split_id(SHOP, reference),
        identifiers.order_id(SHOP, order_no),
        amount=amount,
    )


def return_of(reference: str, split_no: str, order_no: str, amount: int) -> Instruction:
    """What the shop signs for a return."""
    return Instruction(
        InstructionKind.RETURN,
        identifiers.return_id(SHOP, reference),
        identifiers.order_id(SHOP, order_no),
        identifiers.split_id(SHOP, split_no),
        amount,
    )


def body(reference: str, order_no: str = "o-1", amount: int = 100) -> dict[str, Any]:
    """A split as the API takes it."""
    return {"out_split_no": reference, "out_order_no": order_no, "amount": amount}


@pytest.fixture
async def shop(api: Api) -> Api:
    """The shop has the orders o-0 to o-9."""
    items = [sale(f"o-{number}") for number in range(10)]
    assert (await api.shop.post("/v1/orders/batch", json={"items": items})).status_code == 202
    return api


async def _rows(api: Api, entity: type[Any]) -> list[Any]:
    async with api.database.read() as session:
        return list((await session.execute(select(entity))).scalars())


async def _refused(api: Api, answer: httpx.Response, status: int, code: str, count: int) -> dict[str, Any]:
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), answer.text
    assert {"field", "type"} & (problem.keys() | problem.get("values", {}).keys()), problem
    assert await api.count() == count
    assert await _rows(api, tables.Authorization) == []
    return problem


# ------------------------------------------------------------------------------ accepted


async def test_signed_split_is_bound_to_its_authorization(shop: Api) -> None:
    signed = shop.authorize(SHOP_KEY, SHOP, split_of("s-1", "o-1", 100), nonce=2**256 - 1)
    answer = await shop.shop.post("/v1/splits", json=body("s-1") | {"authorization": signed})
    assert answer.status_code == 202, answer.text
    [authorization] = await _rows(shop, tables.Authorization)
    assert authorization.signer == SHOP
    assert not authorization.is_attestation
    assert authorization.nonce == b"\xff" * 32
    assert authorization.deadline == signed["deadline"]
    assert "0x" + authorization.signature.hex() == signed["signature"]
    [row] = [row for row in await _rows(shop, tables.Instruction) if row.type == "SPLIT"]
    assert (row.authorization_id, row.position) == (authorization.id, 0)


async def test_one_signature_covers_a_batch_in_its_order(shop: Api) -> None:
    numbers = (3, 1, 2)
    signed = shop.authorize(SHOP_KEY, SHOP, *(split_of(f"s-{n}", f"o-{n}", 100 + n) for n in numbers))
    items = [body(f"s-{n}", f"o-{n}", 100 + n) for n in numbers]
    answer = await shop.shop.post("/v1/splits/batch", json={"items": items, "authorization": signed})
    assert answer.status_code == 202, answer.text
    rows = [row for row in await _rows(shop, tables.Instruction) if row.type == "SPLIT"]
    assert [(row.reference, row.position) for row in rows] == [("s-3", 0), ("s-1", 1), ("s-2", 2)]
    assert len({row.authorization_id for row in rows}) == 1


async def test_bank_and_platform_sign_their_parts_of_a_mixed_batch(api: Api) -> None:
    items = [
        {"type": "CAPTURE", **sale("o-1")},
        {"type": "SPLIT", **body("s-1")},
        {"type": "CAPTURE", **sale("o-2")},
        {"type": "RELEASE", "out_release_no": "r-2", "out_order_no": "o-2"},
    ]
    release = Instruction(
        InstructionKind.RELEASE, identifiers.release_id(SHOP, "r-2"), identifiers.order_id(SHOP, "o-2")
    )
    signed = {
        "attestation": api.attest(BANK_KEY, capture("o-1"), capture("o-2")),
        "authorization": api.authorize(SHOP_KEY, SHOP, split_of("s-1", "o-1", 100), release),
    }
    answer = await api.shop.post("/v1/instructions/batch", json={"items": items, **signed})
    assert answer.status_code == 202, answer.text
    authorizations = {row.id: row for row in await _rows(api, tables.Authorization)}
    rows = await _rows(api, tables.Instruction)
    assert [(authorizations[row.authorization_id].is_attestation, row.position) for row in rows] == [
        (True, 0),
        (False, 0),
        (True, 1),
        (False, 1),
    ]
    [attestation] = [row for row in authorizations.values() if row.is_attestation]
    assert attestation.signer == BANK_KEY.address.rjust(32, b"\0")


async def test_repetition_of_a_signed_request_is_the_same_instruction_whatever_signs_it(shop: Api) -> None:
    signed = shop.authorize(SHOP_KEY, SHOP, split_of("s-1", "o-1", 100))
    first = await shop.shop.post("/v1/splits", json=body("s-1") | {"authorization": signed})
    for other in (signed, shop.authorize(SHOP_KEY, SHOP, split_of("s-1", "o-1", 100)), None):
        again = await shop.shop.post("/v1/splits", json=body("s-1") | {"authorization": other})
        assert again.status_code == 200
        assert again.json() == first.json()
    assert len(await _rows(shop, tables.Authorization)) == 1


async def test_unsigned_request_needs_a_key_in_the_keystore(shop: Api) -> None:
    problem = await _refused(
        shop, await shop.shop.post("/v1/splits", json=body("s-1")), 409, "no_signing_key", 10
    )
    assert "platform" in problem["detail"]
    # What is wrong with the request itself is said first.
    answer = await shop.shop.post("/v1/splits", json=body("s-1", "nothing"))
    await _refused(shop, answer, 404, "unknown_order", 10)


async def test_unsigned_order_needs_the_attestors_key(api: Api) -> None:
    async with api.database.write() as session:
        key = (
            await session.execute(select(tables.KeystoreKey).where(tables.KeystoreKey.label == "attestor"))
        ).scalar_one()
        await session.delete(key)
    await _refused(api, await api.shop.post("/v1/orders", json=sale("o-1")), 409, "no_signing_key", 0)
    signed = api.attest(BANK_KEY, capture("o-1"))
    answer = await api.shop.post("/v1/orders", json=sale("o-1", authorization=signed))
    assert answer.status_code == 202


# ------------------------------------------------------------------------------ refused


@pytest.mark.parametrize(
    "forgery",
    ["foreign key", "other amount", "other order", "other platform", "other chain", "high s", "truncated"],
)
async def test_signature_that_is_not_the_platforms_for_this_content_is_refused(
    shop: Api, forgery: str
) -> None:
    good = split_of("s-1", "o-1", 100)
    match forgery:
        case "foreign key":
            signed = shop.authorize(FOREIGN_KEY, SHOP, good)
        case "other amount":
            signed = shop.authorize(SHOP_KEY, SHOP, split_of("s-1", "o-1", 101))
        case "other order":
            signed = shop.authorize(SHOP_KEY, SHOP, split_of("s-1", "o-2", 100))
        case "other platform":
            signed = shop.authorize(SHOP_KEY, participant("mall"), good)
        case "other chain":
            signed = shop.authorize(SHOP_KEY, SHOP, good, chain_id=1)
        case "high s":
            signed = shop.authorize(SHOP_KEY, SHOP, good)
            signed["signature"] = _mirrored(signed["signature"])
        case _:
            signed = shop.authorize(SHOP_KEY, SHOP, good)
            signed["signature"] = signed["signature"][:-2]
    answer = await shop.shop.post("/v1/splits", json=body("s-1") | {"authorization": signed})
    problem = await _refused(shop, answer, 403, "invalid_signature", 10)
    assert problem["field"] == "authorization.signature"
    # What should have been signed for, so that a client sees that it took another chain or contract.
    assert problem["values"]["domain"] == {
        "name": "fenzhang SplitLedger",
        "version": "1",
        "chainId": DEPLOYMENT.chain_id,
        "verifyingContract": "0x" + DEPLOYMENT.split_ledger.hex(),
    }


def _mirrored(signature: str) -> str:
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    raw = bytes.fromhex(signature[2:])
    s = order - int.from_bytes(raw[32:64], "big")
    return "0x" + (raw[:32] + s.to_bytes(32, "big") + bytes([55 - raw[64]])).hex()


@pytest.mark.parametrize("ahead_s", [-3_600, 0, 30])
async def test_deadline_must_be_a_minute_ahead(shop: Api, ahead_s: int) -> None:
    deadline = int(time.time()) + ahead_s
    signed = shop.authorize(SHOP_KEY, SHOP, split_of("s-1", "o-1", 100), deadline=deadline)
    answer = await shop.shop.post("/v1/splits", json=body("s-1") | {"authorization": signed})
    await _refused(shop, answer, 409, "deadline_passed", 10)


async def test_problem_of_an_attestation_names_the_field_that_it_came_in(api: Api) -> None:
    late = api.attest(BANK_KEY, capture("o-1"), deadline=int(time.time()))
    answer = await api.shop.post("/v1/orders", json=sale("o-1", authorization=late))
    problem = await _refused(api, answer, 409, "deadline_passed", 0)
    assert problem["field"] == "authorization.deadline"
    body = {"items": [{"type": "CAPTURE", **sale("o-1")}], "attestation": late}
    answer = await api.shop.post("/v1/instructions/batch", json=body)
    problem = await _refused(api, answer, 409, "deadline_passed", 0)
    assert problem["field"] == "attestation.deadline"


async def test_deadline_is_judged_by_the_chains_time_when_that_is_ahead(shop: Api) -> None:
    await shop.add(tables.Block(number=1, hash=b"h", parent_hash=b"p", timestamp=int(time.time()) + 10_000))
    deadline = int(time.time()) + 5_000
    signed = shop.authorize(SHOP_KEY, SHOP, split_of("s-1", "o-1", 100), deadline=deadline)
    answer = await shop.shop.post("/v1/splits", json=body("s-1") | {"authorization": signed})
    await _refused(shop, answer, 409, "deadline_passed", 10)


async def test_a_nonce_belongs_to_one_authorization(shop: Api) -> None:
    answers = []
    for name in ("s-1", "s-2"):
        signed = shop.authorize(SHOP_KEY, SHOP, split_of(name, "o-1", 100), nonce=7)
        answers.append(await shop.shop.post("/v1/splits", json=body(name) | {"authorization": signed}))
    assert [answer.status_code for answer in answers] == [202, 409]
    assert answers[1].json()["code"] == "nonce_used"
    assert await shop.count() == 11


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"nonce": -1}, "authorization.nonce"),
        ({"nonce": 7}, "authorization.nonce"),
        ({"nonce": str(2**256)}, "authorization.nonce"),
        ({"nonce": "0x"}, "authorization.nonce"),
        ({"deadline": -1}, "authorization.deadline"),
        ({"deadline": "4000000000"}, "authorization.deadline"),
        ({"signature": "0x"}, "authorization.signature"),
        ({"signature": "nonsense"}, "authorization.signature"),
        ({"attestor": "0x" + "00" * 20}, "authorization.attestor"),
    ],
)
async def test_malformed_authorization_is_422(shop: Api, change: dict[str, Any], field: str) -> None:
    signed = shop.authorize(SHOP_KEY, SHOP, split_of("s-1", "o-1", 100)) | change
    answer = await shop.shop.post("/v1/splits", json=body("s-1") | {"authorization": signed})
    problem = await _refused(shop, answer, 422, "invalid_input", 10)
    assert problem["field"] == field


async def test_signed_batch_is_all_or_nothing(shop: Api) -> None:
    good, bad = body("s-1"), body("s-2", "nothing")
    signed = shop.authorize(SHOP_KEY, SHOP, split_of("s-1", "o-1", 100), split_of("s-2", "nothing", 100))
    answer = await shop.shop.post("/v1/splits/batch", json={"items": [good, bad], "authorization": signed})
    problem = await _refused(shop, answer, 404, "unknown_order", 10)
    assert problem["values"]["item"] == 1


async def test_signed_batch_of_known_and_new_instructions_is_refused(shop: Api) -> None:
    one, two = split_of("s-1", "o-1", 100), split_of("s-2", "o-1", 100)
    first = {"items": [body("s-1")], "authorization": shop.authorize(SHOP_KEY, SHOP, one)}
    assert (await shop.shop.post("/v1/splits/batch", json=first)).status_code == 202
    mixed = {
        "items": [body("s-1"), body("s-2")],
        "authorization": shop.authorize(SHOP_KEY, SHOP, one, two),
    }
    answer = await shop.shop.post("/v1/splits/batch", json=mixed)
    assert (answer.status_code, answer.json()["code"]) == (409, "authorization_mixed")
    assert answer.json()["values"] == {"accepted_items": [0]}
    assert await shop.count() == 11


async def test_return_cannot_stand_behind_another_instruction_of_its_order_under_one_signature(
    shop: Api,
) -> None:
    split, back = split_of("s-1", "o-1", 100), return_of("b-1", "s-1", "o-1", 10)
    items = [
        {"type": "SPLIT", **body("s-1")},
        {"type": "RETURN", "out_return_no": "b-1", "out_split_no": "s-1", "amount": 10},
    ]
    signed = shop.authorize(SHOP_KEY, SHOP, split, back)
    answer = await shop.shop.post("/v1/instructions/batch", json={"items": items, "authorization": signed})
    problem = await _refused(shop, answer, 422, "return_not_first", 10)
    assert problem["field"] == "items[1]"


async def test_refund_is_signed_like_a_return_and_stands_first_as_well(shop: Api) -> None:
    number, order_no = identifiers.refund_id(SHOP, "f-1"), identifiers.order_id(SHOP, "o-1")
    refund = Instruction(InstructionKind.REFUND, number, order_no, amount=10)
    item = {"type": "REFUND", "out_refund_no": "f-1", "out_order_no": "o-1", "amount": 10}
    behind = {
        "items": [{"type": "SPLIT", **body("s-1")}, item],
        "authorization": shop.authorize(SHOP_KEY, SHOP, split_of("s-1", "o-1", 100), refund),
    }
    answer = await shop.shop.post("/v1/instructions/batch", json=behind)
    problem = await _refused(shop, answer, 422, "return_not_first", 10)
    assert problem["field"] == "items[1]"
    alone = {"items": [item], "authorization": shop.authorize(SHOP_KEY, SHOP, refund)}
    answer = await shop.shop.post("/v1/instructions/batch", json=alone)
    assert (answer.status_code, answer.json()["items"][0]["type"]) == (202, "REFUND")
    other = shop.authorize(SHOP_KEY, SHOP, Instruction(InstructionKind.REFUND, number, order_no, amount=11))
    answer = await shop.shop.post(
        "/v1/refunds",
        json={"out_refund_no": "f-2", "out_order_no": "o-1", "amount": 10, "authorization": other},
    )
    assert (answer.status_code, answer.json()["code"]) == (403, "invalid_signature")


async def test_signature_must_cover_something(api: Api) -> None:
    items = [{"type": "CAPTURE", **sale("o-1")}]
    signed = api.authorize(SHOP_KEY, SHOP)
    answer = await api.shop.post("/v1/instructions/batch", json={"items": items, "authorization": signed})
    await _refused(api, answer, 422, "authorization_missing", 0)


async def test_what_fits_no_transaction_must_be_signed_in_parts(api: Api) -> None:
    captures = [capture(f"o-{number}") for number in range(250)]
    items = [sale(f"o-{number}") for number in range(250)]
    signed = api.attest(BANK_KEY, *captures)
    answer = await api.shop.post("/v1/orders/batch", json={"items": items, "authorization": signed})
    problem = await _refused(api, answer, 409, "authorization_too_large", 0)
    assert problem["values"]["orders"] == 250
    part = {"items": items[:50], "authorization": api.attest(BANK_KEY, *captures[:50])}
    assert (await api.shop.post("/v1/orders/batch", json=part)).status_code == 202


async def test_attestation_is_the_attestors_it_names(api: Api) -> None:
    forged = api.attest(FOREIGN_KEY, capture("o-1")) | {"attestor": "0x" + BANK_KEY.address.hex()}
    answer = await api.shop.post("/v1/orders", json=sale("o-1", authorization=forged))
    await _refused(api, answer, 403, "invalid_signature", 0)


# ------------------------------------------------------------------------------ contracts as authorities

ALWAYS_YES = "0x631626ba7e60e01b60005260206000f3"
"""Code of a wallet that answers isValidSignature with yes whatever it is asked."""
ALWAYS_NO = "0x60206000f3"
WALLET = LocalKey(b"w" * 32).address


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """The contracts on a real node."""
    with ephemeral_node(automine=False) as running:
        node = HandNode(running.url)
        yield deploy_system(node)
        node.close()


@pytest.mark.node
@pytest.mark.parametrize("database_kind", [SQLITE], indirect=True)
@pytest.mark.parametrize(("code", "status"), [(ALWAYS_YES, 202), (ALWAYS_NO, 403), ("0x", 403)])
async def test_authority_that_is_a_contract_is_asked_through_the_node(
    database: Database, system: System, tmp_path: Path, code: str, status: int
) -> None:
    system.node.request("anvil_setCode", "0x" + WALLET.hex(), code)
    await populate(database)
    async with database.write() as session:
        shop = await session.get_one(tables.Participant, SHOP)
        shop.authority = WALLET
    async with running_api(database, tmp_path, node_url=system.node.url, deployment=system.deployment) as api:
        await api.shop.post("/v1/orders", json=sale("o-1"))
        signed = api.authorize(FOREIGN_KEY, SHOP, split_of("s-1", "o-1", 100))
        answer = await api.shop.post("/v1/splits", json=body("s-1") | {"authorization": signed})
        assert answer.status_code == status, answer.text
        assert await api.count() == (2 if status == 202 else 1)
