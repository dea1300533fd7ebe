"""What a change of a rule is: versions compared, drafts tried on settled orders; who may ask, and what is refused."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from typer.testing import CliRunner

from fenzhang.api.services import REPLAYS
from fenzhang.cli import app as cli
from fenzhang.domain.allocation import Allocation, allocate
from fenzhang.domain.errors import FenzhangError
from fenzhang.domain.identifiers import order_id, rule_id
from fenzhang.domain.money import MAX_AMOUNT
from fenzhang.domain.records import RecordKind
from fenzhang.domain.rulediff import ChangedLeg, FieldChange, MovedLeg, PlacedLeg, RuleDiff, apply
from fenzhang.domain.rules import ROOT, Leg, LegKind, roles_of
from fenzhang.store import payloads, tables
from support.api import MALL, RETAIL, SHOP, SIMPLE, Api, order, participant, rule_row

NET = (
    Leg(ROOT, LegKind.FIXED, 250, recipient=participant("logistics-001")),
    Leg(ROOT, LegKind.REMAINDER),
    Leg(1, LegKind.SHARE, 100, role="promoter"),
    Leg(1, LegKind.SHARE, 400, 10, 30_000, role="platform"),
    Leg(1, LegKind.REMAINDER, role="merchant"),
)
"""The retail rule anew: a fixed carrier, and shares of what is left after it."""
HOLDERS = {
    "platform": MALL,
    "logistics": participant("logistics-001"),
    "promoter": participant("promoter-001"),
    "merchant": participant("merchant-001"),
}
DAY = 1_794_355_200
"""2026-11-11 in UTC."""
DIFF = "/v1/rules/retail-standard/diff?from=1&to=2"
WHAT_IF = "/v1/rules/retail-standard/what-if"
IN_PERIOD: dict[str, Any] = {"day": "2026-11-11"}


class _Chain:
    """Writes rows of settled records, as the mirror does."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.last = 0

    async def block(self, number: int, timestamp: int) -> None:
        block = tables.Block(number=number, hash=bytes([number] * 32), parent_hash=b"", timestamp=timestamp)
        await self.api.add(block)

    async def record(  # noqa: PLR0917 -- in the order of the columns
        self,
        block: int,
        kind: RecordKind,
        order_no: str,
        amount: int,
        name: str = "",
        split: str | None = None,
        leaves: tuple[Allocation, ...] = (),
    ) -> None:
        self.last += 1
        number = order_id(MALL, order_no)
        row = tables.Record(
            id=self.last,
            kind=int(kind),
            instruction_id=order_id(MALL, name) if name else number,
            order_id=number,
            split_id=None if split is None else order_id(MALL, split),
            amount=amount,
            leaf=bytes(32),
            batch=1,
            leaf_index=self.last,
            block_number=block,
            tx_hash=bytes(32),
            log_index=0,
        )
        shares = [
            tables.Allocation(record_id=self.last, leaf=place, recipient=leaf.recipient, amount=leaf.amount)
            for place, leaf in enumerate(leaves)
        ]
        await self.api.add(row, *shares)

    async def capture(
        self, block: int, order_no: str, amount: int, legs: tuple[Leg, ...] = RETAIL, **columns: Any
    ) -> None:
        values: dict[str, Any] = {
            "platform_id": MALL,
            "merchant": HOLDERS["merchant"],
            "rule_id": rule_id(MALL, "retail-standard"),
            "rule_version": 1,
            "currency": "CNY",
        }
        bound = b"".join(HOLDERS[role] for role in roles_of(legs))
        row = tables.Order(
            order_id=order_id(MALL, order_no),
            bindings=bound,
            captured=amount,
            held=0,
            head=bytes(32),
            **values | columns,
        )
        await self.api.add(row)
        await self.record(block, RecordKind.CAPTURE, order_no, amount)

    async def split(
        self, block: int, order_no: str, name: str, amount: int, legs: tuple[Leg, ...] = RETAIL
    ) -> None:
        leaves = tuple(allocate(legs, amount, HOLDERS))
        await self.record(block, RecordKind.SPLIT, order_no, amount, name, leaves=leaves)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def changed(shared_api: Api) -> Api:
    """The retail rule with a second version proposed, and orders of the day: two of the first version, one huge."""
    api, chain = shared_api, _Chain(shared_api)
    second = rule_row(MALL, "retail-standard", 2, NET, approved=False, effective_from=DAY)
    await api.add(second, rule_row(MALL, "big", legs=SIMPLE), rule_row(SHOP, "retail-standard"))
    for number, time in ((1, DAY - 1), (2, DAY), (3, DAY + 86_399), (4, DAY + 86_400)):
        await chain.block(number, time)
    for body in (order("order-1"), order("order-2")):
        assert (await api.mall.post("/v1/orders", json=body)).status_code == 202
    await chain.capture(1, "day-before", 10_000)
    await chain.capture(2, "order-1", 10_000)
    await chain.split(2, "order-1", "split-1", 10_000)
    await chain.capture(3, "order-2", 1_000)
    await chain.split(4, "order-2", "split-2", 1_000)
    takes = tuple(Allocation(leaf.recipient, 10) for leaf in allocate(RETAIL, 1_000, HOLDERS))
    await chain.record(4, RecordKind.RETURN, "order-2", 40, "return-2", "split-2", takes)
    await chain.split(4, "day-before", "split-0", 10_000)
    big: dict[str, Any] = {"rule_id": rule_id(MALL, "big"), "legs": SIMPLE}
    for name in ("huge-1", "huge-2"):
        await chain.capture(4, name, MAX_AMOUNT, **big)
        await chain.split(4, name, f"{name}-split", MAX_AMOUNT, SIMPLE)
    return api


async def _tried(client: httpx.AsyncClient, path: str = WHAT_IF, **body: Any) -> dict[str, Any]:
    answer = await client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


# ------------------------------------------------------------------------------ diff


def _read_back(answer: dict[str, Any]) -> RuleDiff:
    """The diff that an answer tells."""

    def placed(items: list[dict[str, Any]]) -> tuple[PlacedLeg, ...]:
        return tuple(PlacedLeg(item["index"], payloads.legs_from_json([item["leg"]])[0]) for item in items)

    def value(field: str, shown: Any) -> Any:
        if field == "kind":
            return LegKind[shown]
        return bytes.fromhex(shown[2:]) if field == "recipient" and shown is not None else shown

    changed = tuple(
        ChangedLeg(
            item["before"],
            item["after"],
            tuple(
                FieldChange(f["field"], value(f["field"], f["before"]), value(f["field"], f["after"]))
                for f in item["fields"]
            ),
        )
        for item in answer["changed"]
    )
    moved = tuple(
        MovedLeg(item["before"], item["after"], item["parent_before"], item["parent_after"])
        for item in answer["moved"]
    )
    return RuleDiff(placed(answer["added"]), placed(answer["removed"]), changed, moved)


async def test_a_diff_tells_both_versions_and_all_that_makes_one_of_the_other(changed: Api) -> None:
    answer = await changed.mall.get(DIFF)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["before"]["version"], found["before"]["state"]) == (1, "IN_FORCE")
    assert (found["after"]["version"], found["after"]["state"]) == (2, "PROPOSED")
    assert (found["before"]["effective_from"], found["after"]["effective_from"]) == (0, DAY)
    read = (await changed.mall.get("/v1/rules/retail-standard/versions/2")).json()
    assert found["after"]["content_hash"] == read["content_hash"]
    assert not found["same_legs"]
    assert [(leg["index"], leg["leg"]["kind"]) for leg in found["added"]] == [(0, "FIXED"), (1, "REMAINDER")]
    assert [leg["leg"]["role"] for leg in found["removed"]] == ["logistics"]
    rates = {
        leg["role"]: {f["field"]: (f["before"], f["after"]) for f in leg["fields"]}
        for leg in found["changed"]
    }
    assert rates == {
        "platform": {"value": (500, 400), "max": (20_000, 30_000)},
        "promoter": {"value": (200, 100)},
    }
    assert {leg["role"]: leg["parent_after"] for leg in found["moved"]} == dict.fromkeys(
        ("platform", "promoter", "merchant"), 1
    )
    assert apply(RETAIL, _read_back(found)) == list(NET)


async def test_a_version_does_not_differ_from_itself_and_back_is_the_other_way(changed: Api) -> None:
    same = (await changed.mall.get(DIFF.replace("from=1", "from=2"))).json()
    assert same["same_legs"]
    assert same["before"] == same["after"]
    back = (await changed.mall.get("/v1/rules/retail-standard/diff?from=2&to=1")).json()
    assert apply(NET, _read_back(back)) == list(RETAIL)


async def test_whoever_reads_the_rule_reads_the_diff(changed: Api) -> None:
    own = (await changed.mall.get(DIFF)).json()
    for client in (changed.approver, changed.auditor):
        assert (await client.get(f"{DIFF}&platform=mall")).json() == own
    assert (await changed.operator.get(DIFF)).status_code == 403
    assert (await changed.shop.get(f"{DIFF}&platform=mall")).status_code == 404
    shops = await changed.shop.get(DIFF)
    assert (shops.status_code, shops.json()["field"]) == (404, "to")


@pytest.mark.parametrize(
    ("query", "status", "code", "field"),
    [
        ("from=1&to=3", 404, "unknown_rule", "to"),
        ("from=3&to=1", 404, "unknown_rule", "from"),
        ("from=1", 422, "invalid_input", "to"),
        ("to=1", 422, "invalid_input", "from"),
        ("from=0&to=1", 422, "invalid_input", "from"),
        ("from=1&to=x", 422, "invalid_input", "to"),
    ],
)
async def test_a_diff_that_is_refused(changed: Api, query: str, status: int, code: str, field: str) -> None:
    answer = await changed.mall.get(f"/v1/rules/retail-standard/diff?{query}")
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["field"]) == (status, code, field)


# ------------------------------------------------------------------------------ what-if


async def test_the_version_in_force_changes_nothing(changed: Api) -> None:
    found = await _tried(changed.mall, version=1, **IN_PERIOD)
    assert (found["captured_from"], found["captured_before"]) == (DAY, DAY + 86_400)
    assert (found["orders"], found["complete"], found["splits_replayed"]) == (2, True, 2)
    assert {p["out_participant_no"]: (p["actual"], p["difference"]) for p in found["participants"]} == {
        "mall": (500 + 50 - 10, 0),
        "logistics-001": (300 + 300 - 10, 0),
        "promoter-001": (200 + 20 - 10, 0),
        "merchant-001": (9_000 + 630 - 10, 0),
    }
    [totals] = found["totals"]
    assert (totals["actual"], totals["hypothetical"], totals["redistributed"]) == (10_960, 10_960, 0)
    assert (totals["amount"], totals["returned"]) == (11_000, 40)


async def test_a_version_and_the_same_legs_say_the_same(changed: Api) -> None:
    by_version = await _tried(changed.mall, version=2, **IN_PERIOD)
    legs = payloads.legs_to_json(NET)
    period: dict[str, Any] = {"from": DAY, "to": DAY + 86_400}
    by_legs = await _tried(
        changed.mall, legs=[{**legs[0], "recipient": "logistics-001"}, *legs[1:]], **period
    )
    assert by_legs == by_version | {"version": None}
    differences = {p["out_participant_no"]: p["difference"] for p in by_version["participants"]}
    # 10,000 give 250, then of 9,750: 97 and 390; 1,000 give 250, then of 750: 7 and 30. The return of 40 takes, leaf
    # by leaf in proportion, 10, 0, 1, 29 from the latter.
    assert differences == {
        "mall": 390 + 29 - 540,
        "logistics-001": 250 + 240 - 590,
        "promoter-001": 97 + 7 - 210,
        "merchant-001": 9_263 + 684 - 9_620,
    }
    assert sum(differences.values()) == 0
    assert by_version["totals"][0]["redistributed"] == differences["merchant-001"]
    sizes = [abs(p["difference"]) for p in by_version["participants"]]
    assert sizes == sorted(sizes, reverse=True)
    assert by_version["returns_respread"] == 1


async def test_what_cannot_be_replayed_is_named_with_examples(changed: Api) -> None:
    fee = {"parent": -1, "kind": "FIXED", "value": 5_000, "role": "platform"}
    rest = {"parent": -1, "kind": "REMAINDER", "role": "merchant"}
    found = await _tried(changed.mall, legs=[fee, rest], **IN_PERIOD)
    example = {"order_id": "0x" + order_id(MALL, "order-2").hex(), "out_order_no": "order-2"}
    refusal = {"reason": "leg_exceeds_remaining", "role": None, "leg": 0, "splits": 1, "orders": 1}
    assert found["not_replayed"] == [{**refusal, "examples": [example]}]
    assert (found["splits_replayed"], found["splits_not_replayed"]) == (1, 1)
    assert found["totals"][0]["amount_not_replayed"] == 1_000
    insured = [{**fee, "role": "insurer"}, rest]
    [missing] = (await _tried(changed.mall, legs=insured, **IN_PERIOD))["not_replayed"]
    assert (missing["reason"], missing["role"], missing["orders"]) == ("role_not_bound", "insurer", 2)


async def test_sums_beyond_64_bits_are_exact_text(changed: Api) -> None:
    rest = [{"parent": -1, "kind": "REMAINDER", "role": "merchant"}]
    period: dict[str, Any] = {"from": DAY, "to": DAY + 31 * 86_400}
    found = await _tried(changed.mall, "/v1/rules/big/what-if", legs=rest, **period)
    assert (found["orders"], found["captured_before"]) == (2, DAY + 31 * 86_400)
    by_name = {p["out_participant_no"]: p for p in found["participants"]}
    fee = 2 * (MAX_AMOUNT // 10)
    assert by_name["merchant-001"]["hypothetical"] == str(2 * MAX_AMOUNT)
    assert int(by_name["merchant-001"]["actual"]) == 2 * MAX_AMOUNT - fee
    assert (by_name["mall"]["actual"], by_name["mall"]["difference"]) == (fee, -fee)
    assert found["totals"][0]["amount"] == str(2 * MAX_AMOUNT)


async def test_a_limit_takes_the_earliest_orders_and_says_so(changed: Api) -> None:
    found = await _tried(changed.mall, version=1, limit=1, **IN_PERIOD)
    assert (found["orders"], found["complete"], found["totals"][0]["amount"]) == (1, False, 10_000)


async def test_an_approver_tries_a_draft_and_sees_ids_alone(changed: Api) -> None:
    own = await _tried(changed.mall, version=2, **IN_PERIOD)
    seen = await _tried(changed.approver, f"{WHAT_IF}?platform=mall", version=2, **IN_PERIOD)
    assert {p["out_participant_no"] for p in seen["participants"]} == {None}
    assert [p | {"out_participant_no": None} for p in own["participants"]] == seen["participants"]
    assert seen["totals"] == own["totals"]


async def test_who_does_not_govern_the_rule_cannot_try_it(changed: Api) -> None:
    body = {"version": 1, **IN_PERIOD}
    for client, path, status, code in (
        (changed.anybody, WHAT_IF, 401, "invalid_token"),
        (changed.operator, WHAT_IF, 403, "insufficient_scope"),
        (changed.auditor, f"{WHAT_IF}?platform=mall", 403, "insufficient_scope"),
        (changed.shop, f"{WHAT_IF}?platform=mall", 404, "unknown_participant"),
        (changed.shop, "/v1/rules/big/what-if", 404, "unknown_rule"),
        (changed.approver, WHAT_IF, 422, "invalid_input"),
    ):
        answer = await client.post(path, json=body)
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    # A rule of the same name is another platform's own, and so are its orders.
    assert (await _tried(changed.shop, **body))["orders"] == 0


ONE_LEG = [{"parent": -1, "kind": "REMAINDER", "role": "merchant"}]


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        ({**IN_PERIOD}, 422, "invalid_input", "legs"),
        ({"legs": ONE_LEG, "version": 1, **IN_PERIOD}, 422, "invalid_input", "legs"),
        ({"version": 1}, 422, "invalid_input", "from"),
        ({"version": 1, "from": DAY}, 422, "invalid_input", "to"),
        ({"version": 1, "to": DAY}, 422, "invalid_input", "from"),
        ({"version": 1, "from": DAY, **IN_PERIOD}, 422, "invalid_input", "day"),
        ({"version": 1, "from": DAY, "to": DAY}, 422, "invalid_period", "to"),
        ({"version": 1, "from": DAY, "to": DAY + 31 * 86_400 + 1}, 422, "invalid_period", "to"),
        ({"version": 1, "from": -1, "to": DAY}, 422, "invalid_input", "from"),
        ({"version": 1, "from": 0.5, "to": DAY}, 422, "invalid_input", "from"),
        ({"version": 1, "from": DAY, "to": 2**53}, 422, "invalid_input", "to"),
        ({"version": 1, "day": "2026-02-30"}, 422, "invalid_period", "day"),
        ({"version": 1, "day": "20260211"}, 422, "invalid_period", "day"),
        ({"version": 1, "day": "2026-W01-1"}, 422, "invalid_period", "day"),
        ({"version": 1, "day": 20_260_211}, 422, "invalid_input", "day"),
        ({"version": 1, "limit": 0, **IN_PERIOD}, 422, "invalid_input", "limit"),
        ({"version": 1, "limit": 50_001, **IN_PERIOD}, 422, "invalid_input", "limit"),
        ({"version": 0, **IN_PERIOD}, 422, "invalid_input", "version"),
        ({"version": 9, **IN_PERIOD}, 404, "unknown_rule", "version"),
        ({"version": 1, "begin": DAY, **IN_PERIOD}, 422, "invalid_input", "begin"),
        ({"legs": [], **IN_PERIOD}, 422, "invalid_input", "legs"),
        ({"legs": [{**ONE_LEG[0], "parent": -2}], **IN_PERIOD}, 422, "invalid_input", "legs[0].parent"),
        ({"legs": ONE_LEG * 2, **IN_PERIOD}, 422, "invalid_rule", None),
        (
            {"legs": [{"parent": -1, "kind": "REMAINDER", "recipient": "nobody"}], **IN_PERIOD},
            404,
            "unknown_participant",
            "legs[0].recipient",
        ),
    ],
)
async def test_a_what_if_that_is_refused(
    changed: Api, body: dict[str, Any], status: int, code: str, field: str | None
) -> None:
    answer = await changed.mall.post(WHAT_IF, json=body)
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem.get("field")) == (status, code, field), answer.text


async def test_nothing_is_written(changed: Api) -> None:
    before = await changed.contents()
    await _tried(changed.mall, version=2, **IN_PERIOD)
    assert (await changed.mall.get(DIFF)).status_code == 200
    assert await changed.contents() == before


async def test_only_so_many_replays_at_a_time(changed: Api) -> None:
    replays = changed.server.services.replays
    for _ in range(REPLAYS):
        await replays.acquire()
    try:
        answer = await changed.mall.post(WHAT_IF, json={"version": 1, **IN_PERIOD})
    finally:
        for _ in range(REPLAYS):
            replays.release()
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_requests")
    assert answer.headers["retry-after"] == "1"
    many = [changed.mall.post(WHAT_IF, json={"version": 1, **IN_PERIOD}) for _ in range(REPLAYS)]
    assert {found.status_code for found in await asyncio.gather(*many)} == {200}


# ------------------------------------------------------------------------------ the command


def _command(api: Api, *arguments: str) -> tuple[int, str, str]:
    environment = {"FENZHANG_DATABASE_URL": api.database.url.render_as_string(hide_password=False)}
    result = CliRunner().invoke(cli, ["what-if", *arguments], env=environment)
    if isinstance(result.exception, FenzhangError):
        return 1, result.stdout, str(result.exception)
    return result.exit_code, result.stdout, result.stderr


async def test_the_command_prints_what_the_api_answers(changed: Api, tmp_path: Path) -> None:
    legs = tmp_path / "legs.json"
    legs.write_text(json.dumps(payloads.legs_to_json(RETAIL)))
    for arguments, body in (
        (["--version", "2", "--day", "2026-11-11"], {"version": 2, **IN_PERIOD}),
        (
            ["--legs", str(legs), "--day", "2026-11-11", "--limit", "1"],
            {"version": 1, "limit": 1, **IN_PERIOD},
        ),
        (
            ["--version", "2", "--from", str(DAY), "--to", str(DAY + 1)],
            {"version": 2, "from": DAY, "to": DAY + 1},
        ),
    ):
        answer = await _tried(changed.mall, **body)
        code, out, err = await asyncio.to_thread(_command, changed, "mall", "retail-standard", *arguments)
        assert (code, err) == (0, "")
        assert json.loads(out) == answer | {"version": None if "--legs" in arguments else body["version"]}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("mall", "retail-standard", "--version", "1"), 2, "from: give day, or from and to"),
        (("mall", "retail-standard", "--day", "2026-11-11"), 2, "legs: give either legs or version"),
        (("mall", "retail-standard", "--version", "1", "--day", "today"), 2, "day: a day is written"),
        (("mall", "retail-standard", "--version", "0", "--day", "2026-11-11"), 2, "version: "),
        (("mall", "retail-standard", "--legs", __file__, "--day", "2026-11-11"), 2, "is not JSON"),
        (
            ("mall", "retail-standard", "--version", "9", "--day", "2026-11-11"),
            1,
            "retail-standard version 9",
        ),
        (("mall", "nothing", "--version", "1", "--day", "2026-11-11"), 1, "no rule 'nothing'"),
        (("nobody", "retail-standard", "--version", "1", "--day", "2026-11-11"), 1, "no platform 'nobody'"),
    ],
)
async def test_a_mistake_of_the_command_is_one_line(
    changed: Api, arguments: tuple[str, ...], code: int, message: str
) -> None:
    found, out, err = await asyncio.to_thread(_command, changed, *arguments)
    assert (found, out) == (code, "")
    assert message in err
    assert err.count("\n") <= 1
