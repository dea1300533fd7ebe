"""A draft tried on settled orders over HTTP and on the command line: sums, who may ask, and what is refused."""

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
from fenzhang.domain.errors import FenzhangError
from fenzhang.domain.identifiers import order_id
from fenzhang.domain.money import MAX_AMOUNT
from fenzhang.intake.actor import Scope
from fenzhang.store import payloads
from support.api import MALL, RETAIL, SHOP, Api
from support.settled import DAY, NET, settle_a_day

pytestmark = pytest.mark.either_database

WHAT_IF = "/v1/rules/retail-standard/what-if"
IN_PERIOD: dict[str, Any] = {"day": "2026-11-11"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def changed(shared_api: Api) -> Api:
    """An API with a day of settled orders and a second version of their rule."""
    await settle_a_day(shared_api)
    return shared_api


async def _tried(client: httpx.AsyncClient, path: str = WHAT_IF, **body: Any) -> dict[str, Any]:
    answer = await client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


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


async def test_an_approver_names_recipients_by_their_ids(changed: Api) -> None:
    path, legs = f"{WHAT_IF}?platform=mall", payloads.legs_to_json(NET)
    assert (await _tried(changed.approver, path, legs=legs, **IN_PERIOD))["splits_replayed"] == 2
    named = [{**legs[0], "recipient": "logistics-001"}, *legs[1:]]
    answer = await changed.approver.post(path, json={"legs": named, **IN_PERIOD})
    assert (answer.status_code, answer.json()["field"]) == (422, "legs[0].recipient")


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
    async with changed.client("app_shops_auditor", [Scope.PLATFORM, Scope.AUDITOR], SHOP) as client:
        answer = await client.post(f"{WHAT_IF}?platform=mall", json=body)
        assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")
        assert (await _tried(client, **body))["orders"] == 0
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
