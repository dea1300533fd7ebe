"""Statements, past balances and the journal over HTTP: who may see what, and what is refused."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio
from typer.testing import CliRunner

from fenzhang.cli import app as cli
from fenzhang.domain import identifiers
from fenzhang.domain.money import MAX_AMOUNT
from fenzhang.domain.records import RecordKind
from fenzhang.intake.actor import Scope
from fenzhang.ledger.journal import COLUMNS
from fenzhang.store.clearingtables import CycleRow
from fenzhang.store.tables import Account, AccountKind, Base, Block, JournalLink, Order, Posting, Record
from support.api import MALL, SHOP, Api, order, participant, split

MERCHANT = participant("merchant-001")
ORDER_ID, SHOP_ORDER = identifiers.order_id(MALL, "order-1"), identifiers.order_id(SHOP, "theirs")
SPLIT_ID = identifiers.split_id(MALL, "split-1")
CUSTODY, HELD, PAYABLE = 1, 2, 3


def _order(order_id: bytes, platform: bytes) -> Order:
    return Order(
        order_id=order_id,
        platform_id=platform,
        merchant=MERCHANT,
        rule_id=bytes(32),
        rule_version=1,
        currency="CNY",
        bindings=b"",
        captured=9_900,
        held=0,
        head=bytes(32),
    )


def _record(number: int, kind: RecordKind, order_id: bytes, instruction_id: bytes, **more: Any) -> Record:
    values: dict[str, Any] = {
        "id": number,
        "kind": int(kind),
        "instruction_id": instruction_id,
        "order_id": order_id,
        "amount": 1,
        "leaf": bytes(32),
        "batch": number,
        "leaf_index": 0,
        "block_number": 10 * number,
        "tx_hash": bytes([number]) * 32,
        "log_index": 0,
    }
    return Record(**values | more)


def _posting(number: int, debit: int, credit: int, amount: int, record: int, **more: Any) -> Posting:
    values = {"record_id": record, "block_number": 10 * record, "debit_account_id": debit}
    return Posting(id=number, credit_account_id=credit, amount=amount, **values | more)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def posted(shared_api: Api) -> Api:
    """A merchant gets 600 in block 20, 50 from a split that was reorganised away in 30, and 7 of a shop's in 40."""
    api = shared_api
    body = {"items": [{"type": "CAPTURE", **order()}, {"type": "SPLIT", **split()}]}
    assert (await api.mall.post("/v1/instructions/batch", json=body)).status_code == 202
    blocks = [
        Block(number=n, hash=bytes([n]) * 32, parent_hash=b"", timestamp=1_000 + n)
        for n in (10, 20, 30, 40, 50)
    ]
    records = [
        _record(1, RecordKind.CAPTURE, ORDER_ID, ORDER_ID),
        _record(2, RecordKind.SPLIT, ORDER_ID, SPLIT_ID),
        _record(3, RecordKind.SPLIT, ORDER_ID, b"\3" * 32, canonical=False),
        _record(4, RecordKind.SPLIT, SHOP_ORDER, b"\4" * 32),
    ]
    accounts = [
        Account(id=CUSTODY, kind=AccountKind.BANK_CUSTODY, currency="CNY", participant_id=bytes(32)),
        Account(id=HELD, kind=AccountKind.ORDER_HELD, currency="CNY", participant_id=bytes(32)),
        Account(id=PAYABLE, kind=AccountKind.RECIPIENT_PAYABLE, currency="CNY", participant_id=MERCHANT),
    ]
    postings = [
        _posting(1, CUSTODY, HELD, 9_900, 1),
        _posting(2, HELD, PAYABLE, 600, 2),
        _posting(3, HELD, PAYABLE, 50, 3),
        _posting(4, PAYABLE, HELD, 50, 3, reverses_id=3),
        _posting(5, HELD, PAYABLE, 7, 4),
    ]
    rows: list[Base] = [
        *blocks,
        _order(ORDER_ID, MALL),
        _order(SHOP_ORDER, SHOP),
        *records,
        *accounts,
        *postings,
    ]
    await api.add(*rows)
    return api


STATEMENT = "/v1/statements/merchant-001?currency=CNY"


async def test_a_platform_reads_its_participants_statement(posted: Api) -> None:
    found = (await posted.mall.get(STATEMENT)).json()
    assert {name: found[name] for name in ("opening", "debit", "credit", "closing")} == {
        "opening": 0,
        "debit": 50,
        "credit": 657,
        "closing": 607,
    }
    assert (found["account"], found["out_participant_no"]) == ("recipient_payable", "merchant-001")
    assert (found["from_block"], found["to_block"], found["next"]) == (0, 50, None)
    own, undone, reversing, foreign = found["lines"]
    assert (
        own
        | {
            "posting": 2,
            "side": "CREDIT",
            "amount": 600,
            "balance": 600,
            "counter_account": "order_held",
            "kind": "SPLIT",
            "out_order_no": "order-1",
            "out_split_no": "split-1",
            "order_id": "0x" + ORDER_ID.hex(),
            "time": 1_020,
            "tx_hash": "0x" + "02" * 32,
        }
        == own
    )
    assert (undone["reversed_by"], undone["balance"], undone["time"]) == (4, 650, None)
    assert (reversing["reverses"], reversing["side"], reversing["balance"]) == (3, "DEBIT", 600)
    assert (foreign["amount"], foreign["balance"]) == (7, 607)


async def test_what_other_platforms_call_their_orders_is_not_told(posted: Api) -> None:
    *_, foreign = (await posted.mall.get(STATEMENT)).json()["lines"]
    assert (foreign["order_id"], foreign["instruction_id"]) == (None, None)
    assert not any(foreign.get(name) for name in foreign if name.startswith("out_"))
    everything = (await posted.operator.get("/v1/statements?account=order_held&currency=CNY")).json()
    assert "0x" + SHOP_ORDER.hex() in {line["order_id"] for line in everything["lines"]}
    assert not any(name.startswith("out_order") for line in everything["lines"] for name in line)


async def test_periods_by_blocks_and_times_come_to_the_same(posted: Api) -> None:
    by_block = (await posted.mall.get(STATEMENT + "&from_block=30&to_block=40")).json()
    assert (by_block["opening"], by_block["closing"], len(by_block["lines"])) == (600, 607, 3)
    by_time = (await posted.mall.get(STATEMENT + "&from=1021&to=1041")).json()
    assert by_time["lines"] == by_block["lines"]
    assert (by_time["opening"], by_time["closing"]) == (600, 607)
    quiet = (await posted.mall.get(STATEMENT + "&from_block=41")).json()
    assert (quiet["opening"], quiet["closing"], quiet["lines"]) == (607, 607, [])


async def test_every_page_has_the_totals_of_all(posted: Api) -> None:
    whole = (await posted.mall.get(STATEMENT)).json()
    lines: list[dict[str, Any]] = []
    path = STATEMENT + "&limit=1"
    while True:
        page = (await posted.mall.get(path)).json()
        lines += page["lines"]
        assert [page[k] for k in ("opening", "debit", "credit", "closing")] == [0, 50, 657, 607]
        if page["next"] is None:
            break
        path = f"{STATEMENT}&limit=1&after={page['next']}"
    assert lines == whole["lines"]


async def test_operator_and_auditor_read_any_account(posted: Api) -> None:
    payable = f"/v1/statements?account=recipient_payable&currency=CNY&participant_id=0x{MERCHANT.hex()}"
    for client in (posted.operator, posted.auditor):
        found = (await client.get(payable)).json()
        assert (found["closing"], len(found["lines"])) == (607, 4)
        held = (await client.get("/v1/statements?account=order_held&currency=CNY&to_block=20")).json()
        assert (held["closing"], [line["counter_account"] for line in held["lines"]]) == (
            9_300,
            ["bank_custody", "recipient_payable"],
        )
        assert held["lines"][1]["counter_participant_id"] == "0x" + MERCHANT.hex()


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (STATEMENT.replace("merchant-001", "vendor-001"), 404, "unknown_participant"),
        (STATEMENT + "&to_block=51", 404, "block_not_mirrored"),
        (STATEMENT + "&from_block=51", 404, "block_not_mirrored"),
        (STATEMENT + "&from_block=40&to_block=30", 422, "invalid_period"),
        (STATEMENT + "&from_block=40&to=30", 422, "invalid_period"),
        (STATEMENT + "&after=nonsense", 422, "invalid_input"),
        ("/v1/statements/merchant-001", 422, "invalid_input"),
        ("/v1/positions?at_block=51", 404, "block_not_mirrored"),
        ("/v1/positions?at_block=1&at=1", 422, "invalid_moment"),
    ],
)
async def test_what_cannot_be_told_is_refused(posted: Api, path: str, status: int, code: str) -> None:
    answer = await posted.mall.get(path)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


async def test_accounts_of_participants_need_one_and_others_do_not(posted: Api) -> None:
    for query in ("account=recipient_payable", f"account=order_held&participant_id=0x{MERCHANT.hex()}"):
        answer = await posted.operator.get(f"/v1/statements?currency=CNY&{query}")
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_account")


async def test_scopes_keep_platforms_and_auditors_apart(posted: Api) -> None:
    for path in ("/v1/statements?account=order_held&currency=CNY", "/v1/journal"):
        assert (await posted.mall.get(path)).status_code == 403
    for client in (posted.operator, posted.auditor):
        assert (await client.get(STATEMENT)).status_code == 403


async def test_positions_and_trial_balance_of_a_past_moment(posted: Api) -> None:
    for query, block, time, amount in (
        ("", 50, 1_050, 607),
        ("?at_block=40", 40, 1_040, 607),
        ("?at_block=39", 39, None, 600),
        ("?at=1039", 30, 1_030, 600),
        ("?at_block=19", 19, None, 0),
        ("?at=0", 0, None, 0),
    ):
        found = (await posted.mall.get(f"/v1/positions/merchant-001{query}")).json()
        assert [p["amount"] for p in found["positions"]] == [amount], query
        assert (found["block_number"], found["block_time"]) == (block, time)
        assert (await posted.mall.get(f"/v1/positions{query}")).json()["positions"] == found["positions"]
        balance = (await posted.operator.get(f"/v1/trial-balance{query}")).json()
        payable = next(kind for kind in balance["kinds"] if kind["kind"] == "recipient_payable")
        assert (payable["balance"], payable["accounts"], balance["block_number"]) == (amount, 1, block)
        assert all(total["debit"] == total["credit"] for total in balance["totals"])


async def test_the_journal_in_both_formats_and_by_the_command(posted: Api, tmp_path: Path) -> None:
    lines = await posted.auditor.get("/v1/journal?from_block=20&to_block=40")
    assert lines.headers["content-type"] == "application/jsonl"
    assert "journal-20-40.jsonl" in lines.headers["content-disposition"]
    told = [orjson.loads(line) for line in lines.content.splitlines()]
    assert [(line["posting"], line["reverses"], line["reversed_by"]) for line in told] == [
        (2, None, None),
        (3, None, 4),
        (4, 3, None),
        (5, None, None),
    ]
    rows = await posted.operator.get("/v1/journal?from_block=20&to_block=40&format=csv")
    assert rows.text.partition("\r\n")[0].split(",") == list(COLUMNS)
    assert len(rows.text.splitlines()) == 5
    environment = {
        "FENZHANG_HOME": str(tmp_path),
        "FENZHANG_DATABASE_URL": posted.database.url.render_as_string(hide_password=False),
    }
    for form, expected in (("jsonl", lines.content), ("csv", rows.content)):
        out = tmp_path / f"journal.{form}"
        asked = ["journal", "export", "--format", form, "--output", str(out)]
        result = await _invoke([*asked, "--from-block", "20", "--to-block", "40"], environment)
        assert result == (0, "blocks 20 to 40\n")
        assert out.read_bytes() == expected
    assert (await _invoke(["journal", "export", "--format", "xml"], environment))[0] == 2
    unmirrored = await posted.auditor.get("/v1/journal?to_block=51")
    assert (unmirrored.status_code, unmirrored.json()["code"]) == (404, "block_not_mirrored")


async def _invoke(arguments: list[str], environment: dict[str, str]) -> tuple[int, str]:
    result = await asyncio.to_thread(CliRunner().invoke, cli, arguments, env=environment)
    return result.exit_code, result.output


async def test_sums_beyond_64_bits_stay_exact(api: Api) -> None:
    await api.add(
        Account(id=CUSTODY, kind=AccountKind.BANK_CUSTODY, currency="CNY", participant_id=bytes(32)),
        Account(id=HELD, kind=AccountKind.ORDER_HELD, currency="CNY", participant_id=bytes(32)),
        Block(number=30, hash=bytes(32), parent_hash=b"", timestamp=1),
        *(_record(n, RecordKind.CAPTURE, bytes([n]) * 32, bytes([n]) * 32) for n in (1, 2, 3)),
        *(_posting(n, CUSTODY, HELD, MAX_AMOUNT, n) for n in (1, 2, 3)),
    )
    asked = "/v1/statements?account=order_held&currency=CNY"
    found = (await api.operator.get(asked + "&from_block=30")).json()
    assert (found["opening"], found["closing"]) == (str(2 * MAX_AMOUNT), str(3 * MAX_AMOUNT))
    assert [line["balance"] for line in found["lines"]] == [str(3 * MAX_AMOUNT)]
    past = (await api.operator.get("/v1/trial-balance?at_block=20")).json()
    assert past["totals"] == [
        {"currency": "CNY", "debit": str(2 * MAX_AMOUNT), "credit": str(2 * MAX_AMOUNT)}
    ]


async def test_an_app_with_both_scopes_reads_both(posted: Api) -> None:
    async with posted.client("app_both", [Scope.PLATFORM, Scope.AUDITOR], MALL) as both:
        assert (await both.get(STATEMENT)).status_code == 200
        assert (await both.get("/v1/journal")).status_code == 200


async def test_the_head_of_the_journal_is_its_newest_link(api: Api) -> None:
    empty = (await api.operator.get("/v1/journal/head")).json()
    assert empty == {
        "link": 0,
        "hash": "0x" + "00" * 32,
        "last_posting": 0,
        "block_number": 0,
        "anchor": None,
    }
    links = [
        JournalLink(number=n, last_posting=2 * n, block_number=10 * n, hash=bytes([n]) * 32) for n in (1, 2)
    ]
    await api.add(*links)
    async with api.client("app_auditor", [Scope.AUDITOR]) as auditor:
        found = (await auditor.get("/v1/journal/head")).json()
    assert found == {
        "link": 2,
        "hash": "0x" + "02" * 32,
        "last_posting": 4,
        "block_number": 20,
        "anchor": None,
    }


# ------------------------------------------------------------------------------ cycles


def _cycle(number: int, to_block: int, journal_head: bytes) -> CycleRow:
    return CycleRow(
        cycle_id=bytes([number]) * 32,
        currency="CNY",
        scheme="standard",
        number=number,
        to_block=to_block,
        at_block=to_block + 5,
        payouts=1,
        total=600,
        payout_root=b"\1" * 32,
        bill_root=bytes(32),
        journal_head=journal_head,
        encoded=bytes(352),
        bank=bytes(20),
        batch=number,
        block_number=to_block + 9,
    )


async def test_the_head_of_the_journal_is_compared_with_what_the_last_cycle_anchored(api: Api) -> None:
    links = [
        JournalLink(number=n, last_posting=2 * n, block_number=10 * n, hash=bytes([n]) * 32)
        for n in (1, 2, 3)
    ]
    await api.add(*links, _cycle(1, 10, b"\1" * 32), _cycle(2, 20, b"\2" * 32))
    async with api.client("app_auditor", [Scope.AUDITOR]) as auditor:
        good = (await auditor.get("/v1/journal/head")).json()
        await api.add(_cycle(3, 30, b"\2" * 32))
        other = (await auditor.get("/v1/journal/head")).json()
    assert good["anchor"] == {
        "cycle_id": "0x" + "02" * 32,
        "currency": "CNY",
        "scheme": "standard",
        "number": 2,
        "at_block": 25,
        "journal_head": "0x" + "02" * 32,
        "link": 2,
        "agrees": True,
    }
    assert (other["anchor"]["number"], other["anchor"]["link"], other["anchor"]["agrees"]) == (3, 3, False)


async def test_a_trial_balance_at_a_cycle_ends_with_its_last_member(posted: Api) -> None:
    await posted.add(_cycle(1, 20, bytes(32)))
    at_cycle = (await posted.operator.get("/v1/trial-balance?at_cycle=CNY/standard/1")).json()
    assert at_cycle == (await posted.operator.get("/v1/trial-balance?at_block=20")).json()
    assert at_cycle != (await posted.operator.get("/v1/trial-balance")).json()
    for query, status, code in (
        ("at_cycle=CNY/standard/2", 404, "cycle_not_closed"),
        ("at_cycle=CNY/late/1", 404, "cycle_not_closed"),
        ("at_cycle=CNY", 422, "invalid_input"),
        ("at_cycle=CNY/standard/1&at_block=3", 422, "invalid_moment"),
    ):
        answer = await posted.operator.get(f"/v1/trial-balance?{query}")
        assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_statement_tells_of_payouts_with_their_cycle(api: Api) -> None:
    body = {"items": [{"type": "CAPTURE", **order()}]}
    assert (await api.mall.post("/v1/instructions/batch", json=body)).status_code == 202
    payout = {"cycle_id": b"\x09" * 32, "instruction_id": b"\x07" * 32, "order_id": bytes(32)}
    back = {"code": "AC04", "message": "the bank says AC04", "values": {}, "data": "0x"}
    await api.add(
        *(Block(number=10 * n, hash=bytes([n]) * 32, parent_hash=b"", timestamp=n) for n in (1, 2)),
        _record(1, RecordKind.PAYOUT, **payout),
        _record(2, RecordKind.PAYOUT_FAILED, **payout, reason=back),
        Account(id=PAYABLE, kind=AccountKind.RECIPIENT_PAYABLE, currency="CNY", participant_id=MERCHANT),
        Account(id=CUSTODY, kind=AccountKind.IN_TRANSIT, currency="CNY", participant_id=bytes(32)),
        _posting(1, PAYABLE, CUSTODY, 600, 1),
        _posting(2, CUSTODY, PAYABLE, 600, 2),
    )
    taken, failed = (await api.mall.get(STATEMENT)).json()["lines"]
    named = {"cycle_id": "0x" + "09" * 32, "payout_id": "0x" + "07" * 32, "order_id": None}
    assert taken | named | {"kind": "PAYOUT", "side": "DEBIT", "reason": None} == taken
    assert failed | named | {"kind": "PAYOUT_FAILED", "side": "CREDIT", "reason": "AC04"} == failed
    assert {line["counter_account"] for line in (taken, failed)} == {"in_transit"}
    transit = (await api.operator.get("/v1/statements?account=in_transit&currency=CNY")).json()
    assert (transit["closing"], [line["payout_id"] for line in transit["lines"]]) == (
        0,
        [named["payout_id"]] * 2,
    )
