"""A scenario folder is read whole, and every mistake in it is named by file and line before anything is sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fenzhang.domain.rules import LegKind
from fenzhang.replay.day import Moment
from fenzhang.replay.scenario import Operation, Scenario, ScenarioInvalid, load_scenario
from support.scenarios import MARKET_DAY, cut

Change = Callable[[dict[str, Any]], None]


def test_the_market_day_has_no_mistakes(market_day: Scenario) -> None:
    assert len(market_day.orders) == 5_000
    assert sum(len(order.steps) for order in market_day.orders) == 6_309
    assert market_day.platforms == ("mall", "pintuan", "b2b", "haitao")


def test_a_platform_pays_those_whom_its_orders_name_and_not_itself(market_day: Scenario) -> None:
    recipients = market_day.recipients_of("haitao")

    assert "haitao" not in recipients
    assert {"customs-001", "logistics-001", "merchant-011"} <= set(recipients)
    assert "supplier-001" not in recipients


def test_blank_lines_do_not_count(tmp_path: Path) -> None:
    cut(MARKET_DAY, tmp_path, range(2))
    orders = tmp_path / "orders.jsonl"
    orders.write_text("\n" + orders.read_text() + "\n\n")

    assert [order.line for order in load_scenario(tmp_path).orders] == [2, 3]


def _set(*path: str | int, to: Any) -> Change:
    def change(order: dict[str, Any]) -> None:
        target: Any = order
        for part in path[:-1]:
            target = target[part]
        target[path[-1]] = to

    return change


def _drop(name: str) -> Change:
    def change(order: dict[str, Any]) -> None:
        del order[name]

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_set("amount", to=12.5), "amount: 12.5 is not a whole number"),
        (_set("amount", to="100"), 'amount: "100" is not a whole number'),
        (_set("amount", to=True), "amount: true is not a whole number"),
        (_drop("merchant"), "'merchant' is missing"),
        (_set("rule", to="no-such-rule"), "rule: haitao has no rule 'no-such-rule'"),
        (_set("rule", to="promo-618"), "rule: haitao has no rule 'promo-618'"),
        (_set("platform", to="nobody"), "platform: there is no platform 'nobody' in participants.json"),
        (_set("merchant", to="nobody"), "merchant: there is no participant 'nobody' in participants.json"),
        (_set("bindings", "logistics", to="nobody"), "bindings.logistics: there is no participant 'nobody'"),
        (_set("order_ref", to="with space"), 'order_ref: "with space" is no reference'),
        (_set("steps", 0, "op", to="payout"), "steps[0].op: a step is one of split, return, release, refund"),
        (_set("steps", 0, "amount", to=None), "steps[0].amount: null is not a whole number"),
        (_set("steps", 0, "given", to=[1, "2"]), 'steps[0].given[1]: "2" is not a whole number'),
        (_set("steps", to={}), "steps: {} is not an array"),
        (_set("expires_at", to="tomorrow"), 'expires_at: "tomorrow" is neither Unix seconds nor'),
        (_set("expires_at", to=1.5), "expires_at: 1.5 is not a whole number"),
    ],
)
def test_a_mistake_in_an_order_is_named_with_its_line(tmp_path: Path, change: Change, said: str) -> None:
    cut(MARKET_DAY, tmp_path, [1, 0])
    lines = (tmp_path / "orders.jsonl").read_text().splitlines()
    order = json.loads(lines[1])
    change(order)
    (tmp_path / "orders.jsonl").write_text(lines[0] + "\n" + json.dumps(order) + "\n")

    with pytest.raises(ScenarioInvalid) as invalid:
        load_scenario(tmp_path)

    [line] = invalid.value.lines
    assert line.startswith(f"orders.jsonl line 2: {said}")


def test_an_order_may_have_times(tmp_path: Path) -> None:
    cut(MARKET_DAY, tmp_path, [1, 0])
    lines = (tmp_path / "orders.jsonl").read_text().splitlines()
    timed = json.loads(lines[1]) | {"hold_until": 7, "expires_at": "+9"}
    (tmp_path / "orders.jsonl").write_text(lines[0] + "\n" + json.dumps(timed) + "\n")

    plain, order = load_scenario(tmp_path).orders

    assert (plain.hold_until, plain.expires_at) == (None, None)
    assert (order.hold_until, order.expires_at) == (Moment(7), Moment(9, relative=True))
    assert order.expires_at is not None
    assert order.expires_at.at(100) == 109


def test_a_line_that_is_no_json_is_named(tmp_path: Path) -> None:
    cut(MARKET_DAY, tmp_path, range(3))
    with (tmp_path / "orders.jsonl").open("a") as file:
        file.write('{"order_ref": "cut off\n')

    with pytest.raises(ScenarioInvalid) as invalid:
        load_scenario(tmp_path)

    [line] = invalid.value.lines
    assert line.startswith("orders.jsonl line 4: is no JSON")


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    cut(MARKET_DAY, tmp_path, range(30))
    orders = tmp_path / "orders.jsonl"
    orders.write_text(orders.read_text().replace('"op": "split"', '"op": "spilt"'))

    with pytest.raises(ScenarioInvalid) as invalid:
        load_scenario(tmp_path)

    assert len(invalid.value.values["mistakes"]) == 30  # type: ignore[arg-type]  # values are objects
    assert invalid.value.lines[0].startswith("orders.jsonl line 1: ")
    assert invalid.value.lines[-1] == "and 10 more"


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("rules.json", "{", "rules.json: is no JSON"),
        ("rules.json", '{\n"a": [\n}', "rules.json line 3: is no JSON"),
        (
            "rules.json",
            '{"r": [{"parent": -1, "kind": "SHARE", "value": 5, "role": "a"}]}',
            "rules.json: r: the pool has no REMAINDER",
        ),
        (
            "rules.json",
            '{"r": [{"parent": -1, "kind": "MOST", "role": "a"}]}',
            "rules.json: r[0].kind: a kind is one of FIXED, SHARE, REMAINDER",
        ),
        (
            "rules.json",
            '{"r": [{"parent": -1, "kind": "REMAINDER", "recipient": "nobody"}]}',
            "rules.json: r[0].recipient: there is no participant 'nobody'",
        ),
        ("participants.json", "[]", "participants.json: [] is not an object"),
        (
            "participants.json",
            '{"platforms": ["a"], "rules_of": {"a": ["unheard-of"]}, "participants": {}}',
            "participants.json: rules_of.a: rules.json has no rule 'unheard-of'",
        ),
    ],
)
def test_a_mistake_in_the_other_files_is_named(tmp_path: Path, file: str, content: str, said: str) -> None:
    cut(MARKET_DAY, tmp_path, range(2))
    (tmp_path / file).write_text(content)

    with pytest.raises(ScenarioInvalid) as invalid:
        load_scenario(tmp_path)

    assert said in {line[: len(said)] for line in invalid.value.lines}


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    cut(MARKET_DAY, tmp_path, range(2))
    (tmp_path / "orders.jsonl").unlink()

    with pytest.raises(ScenarioInvalid, match=r"orders\.jsonl: cannot be read: No such file"):
        load_scenario(tmp_path)


def test_a_split_may_give_amounts_to_given_legs(tmp_path: Path) -> None:
    cut(MARKET_DAY, tmp_path, [0])
    order = json.loads((tmp_path / "orders.jsonl").read_text())
    rules = json.loads((tmp_path / "rules.json").read_text())
    rules[order["rule"]][0] = {"parent": -1, "kind": "GIVEN", "value": 100, "max": 9, "role": "platform"}
    order["steps"] = [{"op": "split", "ref": "s", "amount": 900, "given": [7]}]
    (tmp_path / "orders.jsonl").write_text(json.dumps(order))
    (tmp_path / "rules.json").write_text(json.dumps(rules))

    scenario = load_scenario(tmp_path)

    assert scenario.rules[order["rule"]][0].legs[0].leg.kind is LegKind.GIVEN
    assert scenario.orders[0].steps[0].given == (7,)


def test_an_amount_that_the_system_will_refuse_is_no_mistake_of_the_folder(tmp_path: Path) -> None:
    cut(MARKET_DAY, tmp_path, [0])
    order = json.loads((tmp_path / "orders.jsonl").read_text())
    order["steps"].append({"op": "split", "ref": "of-nothing", "amount": 0})
    (tmp_path / "orders.jsonl").write_text(json.dumps(order))

    [played] = load_scenario(tmp_path).orders

    assert [(step.operation, step.amount) for step in played.steps][-1] == (Operation.SPLIT, 0)
