"""Debts at the API: who owes, who may see it, now and at past moments."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

from fenzhang.domain.records import RecordKind
from fenzhang.store.tables import Account, AccountKind, Block, Posting, Record
from support.api import MALL, SHOP, Api, participant

pytestmark = pytest.mark.either_database

HELD, YUAN, YEN, THEIRS, STRANGE = range(1, 6)
STRANGER = b"\7" * 32
"""A participant that this database does not know."""


def _account(number: int, owner: bytes, currency: str = "CNY") -> Account:
    kind = AccountKind.RECIPIENT_PAYABLE if any(owner) else AccountKind.ORDER_HELD
    return Account(id=number, kind=kind, currency=currency, participant_id=owner)


def _record(number: int) -> Record:
    return Record(
        id=number,
        kind=int(RecordKind.RETURN),
        instruction_id=bytes([number]) * 32,
        order_id=bytes(32),
        amount=1,
        leaf=bytes(32),
        batch=number,
        leaf_index=0,
        block_number=10 * number,
        tx_hash=bytes(32),
        log_index=0,
    )


def _posting(number: int, debit: int, credit: int, amount: int, record: int) -> Posting:
    return Posting(
        id=number,
        debit_account_id=debit,
        credit_account_id=credit,
        amount=amount,
        record_id=record,
        block_number=10 * record,
    )


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def owing(shared_api: Api) -> Api:
    """In block 10 the merchant owes 70 CNY and the shop 5; in 20 the merchant 30, and somebody else 2 ** 62 thrice."""
    api = shared_api
    merchant = participant("merchant-001")
    await api.add(
        *(Block(number=n, hash=bytes([n]) * 32, parent_hash=b"", timestamp=1_000 + n) for n in (10, 20)),
        *(_record(number) for number in (1, 2)),
        _account(HELD, bytes(32)),
        _account(YUAN, merchant),
        _account(YEN, merchant, "JPY"),
        _account(THEIRS, SHOP),
        _account(STRANGE, STRANGER),
        _posting(1, HELD, YUAN, 30, 1),
        _posting(2, YUAN, HELD, 100, 1),
        _posting(3, THEIRS, HELD, 5, 1),
        _posting(4, YEN, HELD, 9, 1),
        _posting(5, HELD, YEN, 9, 2),
        _posting(6, HELD, YUAN, 40, 2),
        *(_posting(7 + n, STRANGE, HELD, 2**62, 2) for n in range(3)),
    )
    return api


def _debt(
    owner: bytes, name: str | None, amount: Any, platform: bytes | None = MALL, currency: str = "CNY"
) -> Any:
    return {
        "participant_id": "0x" + owner.hex(),
        "out_participant_no": name,
        "platform_id": None if platform is None else "0x" + platform.hex(),
        "currency": currency,
        "debt": amount,
    }


async def test_a_platform_sees_who_of_its_own_owes(owing: Api) -> None:
    found = (await owing.mall.get("/v1/debts")).json()
    assert found["debts"] == [_debt(participant("merchant-001"), "merchant-001", 30)]
    assert found["totals"] == [{"currency": "CNY", "participants": 1, "debt": 30}]
    assert (found["next"], found["block_number"]) == (None, 20)
    theirs = (await owing.shop.get("/v1/debts")).json()
    assert theirs["debts"] == [_debt(SHOP, "shop", 5, SHOP)]


async def test_auditors_and_operators_see_all_without_names(owing: Api) -> None:
    expected = sorted(
        [
            _debt(participant("merchant-001"), None, 30),
            _debt(SHOP, None, 5, SHOP),
            _debt(STRANGER, None, str(3 * 2**62), None),
        ],
        key=lambda debt: str(debt["participant_id"]),
    )
    for reader in (owing.auditor, owing.operator):
        found = (await reader.get("/v1/debts")).json()
        assert found["debts"] == expected
        assert found["totals"] == [{"currency": "CNY", "participants": 3, "debt": str(3 * 2**62 + 35)}]


async def test_debts_come_in_pages_with_the_totals_of_all(owing: Api) -> None:
    pages: list[dict[str, Any]] = []
    after: str | None = ""
    while after is not None:
        page = (await owing.auditor.get("/v1/debts", params={"limit": 1, "after": after})).json()
        pages.append(page)
        after = page["next"]
    assert [len(page["debts"]) for page in pages] == [1, 1, 1]
    assert len({page["debts"][0]["participant_id"] for page in pages}) == 3
    assert {page["totals"][0]["participants"] for page in pages} == {3}


async def test_debts_of_the_past_are_those_of_then(owing: Api) -> None:
    for moment in ({"at_block": 10}, {"at": 1_015}):
        found = (await owing.mall.get("/v1/debts", params=moment)).json()
        owed = [(debt["currency"], debt["debt"]) for debt in found["debts"]]
        assert owed == [("CNY", 70), ("JPY", 9)]
    assert (await owing.mall.get("/v1/debts", params={"at_block": 0})).json()["debts"] == []


async def test_a_position_shows_its_debt(owing: Api) -> None:
    found = (await owing.mall.get("/v1/positions/merchant-001")).json()["positions"]
    assert [(each["currency"], each["amount"], each["debt"]) for each in found] == [
        ("CNY", -30, 30),
        ("JPY", 0, 0),
    ]
    listed = (await owing.mall.get("/v1/positions")).json()["positions"]
    assert [each for each in listed if each["out_participant_no"] == "merchant-001"] == found


async def test_a_statement_goes_below_zero(owing: Api) -> None:
    found = (await owing.mall.get("/v1/statements/merchant-001?currency=CNY")).json()
    assert [line["balance"] for line in found["lines"]] == [30, -70, -30]
    assert (found["opening"], found["closing"]) == (0, -30)
    later = (await owing.mall.get("/v1/statements/merchant-001?currency=CNY&from_block=11")).json()
    assert (later["opening"], later["closing"]) == (-70, -30)


async def test_the_trial_balance_still_balances(owing: Api) -> None:
    found = (await owing.auditor.get("/v1/trial-balance")).json()
    assert all(total["debit"] == total["credit"] for total in found["totals"])
    [payable] = [
        kind for kind in found["kinds"] if (kind["kind"], kind["currency"]) == ("recipient_payable", "CNY")
    ]
    assert payable["balance"] == str(-(3 * 2**62) - 35)


@pytest.mark.parametrize(
    ("query", "field"),
    [("after=CNY", "after"), ("after=CNY-0x12", "after"), ("limit=0", "limit"), ("limit=1001", "limit")],
)
async def test_what_is_no_page_is_refused(owing: Api, query: str, field: str) -> None:
    answer = await owing.mall.get(f"/v1/debts?{query}")
    assert (answer.status_code, answer.json()["field"]) == (422, field)


async def test_approvers_do_not_see_debts(owing: Api) -> None:
    assert (await owing.approver.get("/v1/debts")).status_code == 403
