"""What is read: orders with what they hold, splits with what is returnable, positions, trial balance, network."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

from fenzhang.domain import identifiers
from fenzhang.domain.money import MAX_AMOUNT
from fenzhang.domain.records import RecordKind
from fenzhang.intake.reading import share_out_of
from fenzhang.store.tables import (
    Account,
    AccountKind,
    Allocation,
    Base,
    InstructionState,
    Order,
    Posting,
    Record,
)
from support.api import DEPLOYMENT, MALL, SHOP, Api, give_back, order, participant, release, split

pytestmark = pytest.mark.either_database

RECIPIENTS = (MALL, participant("logistics-001"), participant("promoter-001"), participant("merchant-001"))
NAMES = ("mall", "logistics-001", "promoter-001", "merchant-001")
ORDER_ID = identifiers.order_id(MALL, "order-1")


def record(number: int, kind: RecordKind, instruction_id: bytes, amount: int, **columns: Any) -> Record:
    """A record as the mirror writes it."""
    values: dict[str, Any] = {
        "id": number,
        "kind": int(kind),
        "instruction_id": instruction_id,
        "order_id": ORDER_ID,
        "amount": amount,
        "leaf": b"",
        "batch": 1,
        "leaf_index": number,
        "block_number": 7,
        "tx_hash": b"t" * 32,
        "log_index": number,
        "canonical": True,
    }
    return Record(**values | columns)


def allocations(number: int, *amounts: int) -> list[Allocation]:
    """Leaves of a record."""
    return [
        Allocation(record_id=number, leaf=leaf, recipient=recipient, amount=amount)
        for leaf, (recipient, amount) in enumerate(zip(RECIPIENTS, amounts, strict=False))
    ]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def settled(shared_api: Api) -> Api:
    """An order of 9,900 after a split of 6,600, two returns of which one was reorganised away, and a release."""
    api = shared_api
    items = [
        {"type": "CAPTURE", **order()},
        {"type": "SPLIT", **split()},
        {"type": "RETURN", **give_back()},
        {"type": "RELEASE", **release()},
        {"type": "SPLIT", **split("too-much", amount=10**6)},
    ]
    assert (await api.mall.post("/v1/instructions/batch", json={"items": items})).status_code == 202
    for kind, reference in (
        ("CAPTURE", "order-1"),
        ("SPLIT", "split-1"),
        ("RETURN", "return-1"),
        ("RELEASE", "release-1"),
    ):
        await api.set_state(kind, reference, InstructionState.SETTLED)
    reason = {"code": "insufficient_held", "message": "…", "values": {"held": 0, "nonce": 2**200}}
    await api.set_state("SPLIT", "too-much", InstructionState.REJECTED, reason)
    split_id, return_id = identifiers.split_id(MALL, "split-1"), identifiers.return_id(MALL, "return-1")
    await api.add(
        Order(
            order_id=ORDER_ID,
            platform_id=MALL,
            merchant=participant("merchant-001"),
            rule_id=identifiers.rule_id(MALL, "retail-standard"),
            rule_version=1,
            currency="CNY",
            bindings=b"".join(RECIPIENTS),
            captured=9_900,
            held=0,
            head=b"h" * 32,
        ),
        record(1, RecordKind.CAPTURE, ORDER_ID, 9_900),
        record(2, RecordKind.SPLIT, split_id, 6_600),
        *allocations(2, 330, 300, 132, 5_838),
        record(3, RecordKind.RETURN, return_id, 50, split_id=split_id, canonical=False),
        *allocations(3, 50, 0, 0, 0),
        record(4, RecordKind.RETURN, return_id, 100, split_id=split_id),
        *allocations(4, 5, 4, 2, 89),
        record(5, RecordKind.RELEASE, identifiers.release_id(MALL, "release-1"), 3_400),
        Allocation(record_id=5, leaf=0, recipient=participant("merchant-001"), amount=3_400),
        record(6, RecordKind.REJECTION, identifiers.split_id(MALL, "too-much"), 10**6),
    )
    return api


async def test_order_shows_what_it_holds_and_all_that_happened_to_it(settled: Api) -> None:
    found = (await settled.mall.get("/v1/orders/order-1")).json()
    assert found["state"] == "SETTLED"
    assert found["merchant"] == "merchant-001"
    assert found["bindings"] == dict(
        zip(("platform", "logistics", "promoter", "merchant"), NAMES, strict=True)
    )
    sums = {name: found[name] for name in ("captured", "held", "split", "returned", "released")}
    assert sums == {"captured": 9_900, "held": 0, "split": 6_600, "returned": 100, "released": 3_400}
    states = [(item["type"], item["state"]) for item in found["instructions"]]
    assert states == [
        ("CAPTURE", "SETTLED"),
        ("SPLIT", "SETTLED"),
        ("RETURN", "SETTLED"),
        ("RELEASE", "SETTLED"),
        ("SPLIT", "REJECTED"),
    ]


async def test_split_shows_per_leaf_what_is_still_returnable(settled: Api) -> None:
    found = (await settled.mall.get("/v1/splits/split-1")).json()
    leaves = found["allocations"]
    assert [leaf["out_participant_no"] for leaf in leaves] == list(NAMES)
    assert [leaf["amount"] for leaf in leaves] == [330, 300, 132, 5_838]
    assert [leaf["returned"] for leaf in leaves] == [5, 4, 2, 89]
    assert [leaf["returnable"] for leaf in leaves] == [325, 296, 130, 5_749]


async def test_return_and_release_show_what_moved(settled: Api) -> None:
    back = (await settled.mall.get("/v1/returns/return-1")).json()
    assert [leaf["amount"] for leaf in back["allocations"]] == [5, 4, 2, 89]
    assert {leaf["returnable"] for leaf in back["allocations"]} == {0}
    assert back["out_order_no"] == "order-1"
    [leaf] = (await settled.mall.get("/v1/releases/release-1")).json()["allocations"]
    assert (leaf["out_participant_no"], leaf["amount"]) == ("merchant-001", 3_400)


async def test_rejection_shows_the_chains_reason(settled: Api) -> None:
    found = (await settled.mall.get("/v1/splits/too-much")).json()
    assert found["state"] == "REJECTED"
    # Integers beyond 64 bits are text: no JSON reader would get them right.
    assert found["reason"] == {
        "code": "insufficient_held",
        "message": "…",
        "values": {"held": 0, "nonce": str(2**200)},
    }
    assert "allocations" not in found


async def test_order_that_only_the_chain_knows_is_found_by_its_reference_and_can_be_split(api: Api) -> None:
    for platform, reference in ((MALL, "elsewhere"), (SHOP, "somebody-elses")):
        await api.add(
            Order(
                # An id does not prove whose order it is: here another platform's bears the mall's id.
                order_id=identifiers.order_id(MALL, reference),
                platform_id=platform,
                merchant=participant("merchant-001"),
                rule_id=identifiers.rule_id(MALL, "retail-standard"),
                rule_version=1,
                currency="CNY",
                bindings=b"".join(RECIPIENTS),
                captured=500,
                held=400,
                head=b"h" * 32,
            )
        )
    found = (await api.mall.get("/v1/orders/elsewhere?wait=1")).json()
    assert (found["state"], found["captured"], found["held"]) == ("SETTLED", 500, 400)
    assert (await api.mall.post("/v1/splits", json=split(order_no="elsewhere"))).status_code == 202
    assert (await api.mall.get("/v1/orders/somebody-elses")).status_code == 404
    answer = await api.mall.post("/v1/splits", json=split("s-2", "somebody-elses"))
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_order")


async def test_sums_beyond_64_bits_are_text(api: Api) -> None:
    await api.mall.post("/v1/orders", json=order(amount=MAX_AMOUNT))
    await api.add(
        Order(
            order_id=ORDER_ID,
            platform_id=MALL,
            merchant=participant("merchant-001"),
            rule_id=identifiers.rule_id(MALL, "retail-standard"),
            rule_version=1,
            currency="CNY",
            bindings=b"".join(RECIPIENTS),
            captured=MAX_AMOUNT,
            held=0,
            head=b"h" * 32,
        )
    )
    # All of it split, returned, and split again.
    for number, kind in enumerate((RecordKind.SPLIT, RecordKind.RETURN, RecordKind.SPLIT), start=1):
        await api.add(record(number, kind, bytes([number]) * 32, MAX_AMOUNT))
    answer = await api.mall.get("/v1/orders/order-1")
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["captured"], found["split"], found["returned"]) == (
        MAX_AMOUNT,
        str(2 * MAX_AMOUNT),
        MAX_AMOUNT,
    )


async def test_order_that_is_not_mirrored_yet_holds_nothing(api: Api) -> None:
    bindings = order()["bindings"]
    del bindings["promoter"]
    await api.mall.post("/v1/orders", json=order(bindings=bindings))
    found = (await api.mall.get("/v1/orders/order-1")).json()
    assert (found["state"], found["captured"], found["held"]) == ("ACCEPTED", 0, 0)
    assert found["bindings"]["promoter"] is None


# ------------------------------------------------------------------------------ balances


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def posted(settled: Api) -> Api:
    """Postings in two currencies."""
    merchant = participant("merchant-001")
    rows: list[Base] = [
        Account(id=1, kind=AccountKind.BANK_CUSTODY, currency="CNY", participant_id=bytes(32)),
        Account(id=2, kind=AccountKind.ORDER_HELD, currency="CNY", participant_id=bytes(32)),
        Account(id=3, kind=AccountKind.RECIPIENT_PAYABLE, currency="CNY", participant_id=merchant),
        Account(id=4, kind=AccountKind.RECIPIENT_PAYABLE, currency="CNY", participant_id=MALL),
        Account(id=5, kind=AccountKind.BANK_CUSTODY, currency="JPY", participant_id=bytes(32)),
        Account(id=6, kind=AccountKind.RECIPIENT_PAYABLE, currency="JPY", participant_id=merchant),
        Account(
            id=7,
            kind=AccountKind.RECIPIENT_PAYABLE,
            currency="CNY",
            participant_id=participant("vendor-001"),
        ),
    ]
    for debit, credit, amount in (
        (1, 2, 9_900),
        (2, 3, 5_838),
        (2, 4, 330),
        (3, 2, 89),
        (5, 6, 7),
        (1, 7, 1),
    ):
        rows.append(
            Posting(
                debit_account_id=debit, credit_account_id=credit, amount=amount, record_id=1, block_number=7
            )
        )
    await settled.add(*rows)
    return settled


async def test_positions_are_those_of_the_platforms_own_participants(posted: Api) -> None:
    found = (await posted.mall.get("/v1/positions")).json()
    assert [(p["out_participant_no"], p["currency"], p["amount"]) for p in found["positions"]] == [
        ("mall", "CNY", 330),
        ("merchant-001", "CNY", 5_749),
        ("merchant-001", "JPY", 7),
    ]
    assert found["next"] is None
    theirs = (await posted.shop.get("/v1/positions")).json()["positions"]
    assert [(p["out_participant_no"], p["amount"]) for p in theirs] == [("vendor-001", 1)]


async def test_positions_of_one_participant(posted: Api) -> None:
    for name in ("merchant-001", "0x" + participant("merchant-001").hex()):
        found = (await posted.mall.get(f"/v1/positions/{name}")).json()["positions"]
        assert [(p["currency"], p["amount"]) for p in found] == [("CNY", 5_749), ("JPY", 7)]
    assert (await posted.mall.get("/v1/positions/promoter-001")).json()["positions"] == []


async def test_positions_come_page_by_page(posted: Api) -> None:
    first = (await posted.mall.get("/v1/positions?limit=3")).json()
    assert {p["out_participant_no"] for p in first["positions"]} == {"mall", "merchant-001"}
    second = (await posted.mall.get("/v1/positions", params={"after": first["next"]})).json()
    assert (second["positions"], second["next"]) == ([], None)


async def test_both_columns_of_the_trial_balance_are_equal_per_currency(posted: Api) -> None:
    for client in (posted.operator, posted.auditor):
        found = (await client.get("/v1/trial-balance")).json()
        assert found["totals"] == [
            {"currency": "CNY", "debit": 16_158, "credit": 16_158},
            {"currency": "JPY", "debit": 7, "credit": 7},
        ]
        custody = {
            "kind": "bank_custody",
            "currency": "CNY",
            "participant_id": None,
            "debit": 9_901,
            "credit": 0,
        }
        assert custody in found["accounts"]


# ------------------------------------------------------------------------------ network and health


async def test_network_says_what_a_client_needs_to_sign(shared_api: Api) -> None:
    found = (await shared_api.mall.get("/v1/network")).json()
    assert found["chain_id"] == DEPLOYMENT.chain_id
    assert found["contracts"]["RuleBook"] == "0x" + DEPLOYMENT.rule_book.hex()
    assert found["domains"]["SplitLedger"] == {
        "name": "fenzhang SplitLedger",
        "version": "1",
        "chainId": DEPLOYMENT.chain_id,
        "verifyingContract": "0x" + DEPLOYMENT.split_ledger.hex(),
    }
    assert found["domains"]["RuleBook"]["name"] == "fenzhang RuleBook"
    assert (await shared_api.anybody.get("/v1/network")).status_code == 401


async def test_health_and_readiness_need_no_token(api: Api) -> None:
    assert (await api.anybody.get("/healthz")).json() == {"status": "ok"}
    ready = (await api.anybody.get("/readyz")).json()
    assert (ready["status"], ready["mirror"], ready["open_instructions"]) == ("ready", None, 0)


@pytest.mark.parametrize("kind", ["REFUND", "split", ""])
async def test_unknown_type_of_instruction_is_no_instruction(shared_api: Api, kind: str) -> None:
    answer = await shared_api.mall.get(f"/v1/instructions/{kind}/r")
    assert answer.status_code in {404, 422}


async def test_what_came_back_is_no_longer_shared_out(api: Api) -> None:
    split_id = identifiers.split_id(MALL, "split-1")
    await api.add(
        record(1, RecordKind.SPLIT, split_id, 6_600),
        *allocations(1, 330, 300, 132, 5_838),
        record(2, RecordKind.RETURN, identifiers.return_id(MALL, "return-1"), 100, split_id=split_id),
        *allocations(2, 5, 4, 2, 89),
        record(3, RecordKind.REFUND, identifiers.refund_id(MALL, "refund-1"), 660),
        *allocations(3, 33, 30, 13, 584),
        record(4, RecordKind.RELEASE, identifiers.release_id(MALL, "release-1"), 3_400),
        Allocation(record_id=4, leaf=0, recipient=participant("merchant-001"), amount=3_400),
    )
    async with api.database.read() as session:
        found = await share_out_of(session, ORDER_ID, participant("merchant-001"))
    assert found == (330 + 300 + 132) - (5 + 4 + 2) - (33 + 30 + 13)
