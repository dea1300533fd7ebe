"""The second market day: all that it exercises comes out as its own arithmetic says, and every check is clean."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from fenzhang.replay.scenario import load_scenario
from scenarios.market_day_2.make_day import write_day
from support.replaying import demo
from support.scenarios import FOLDER

SECOND_DAY = FOLDER / "market_day_2"


def test_the_files_are_what_the_arithmetic_says(tmp_path: Path) -> None:
    write_day(tmp_path)

    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert written == {name: (SECOND_DAY / name).read_text() for name in written}
    assert set(written) == {"participants.json", "rules.json", "day.json", "orders.jsonl", "expected.json"}


def test_everything_of_the_day_says_what_must_come_of_it() -> None:
    scenario = load_scenario(SECOND_DAY)

    for order in scenario.orders:
        assert order.expect is not None
        assert all(step.expect is not None for step in order.steps)
        assert bool(order.end) == (order.expect.state == "SETTLED")
    assert {part.name for part in scenario.parts if part.acts} == {part.name for part in scenario.parts}


@pytest.mark.node
@pytest.mark.slow
def test_the_whole_day_comes_out_as_it_must(tmp_path: Path) -> None:
    expected = json.loads((SECOND_DAY / "expected.json").read_text())
    scenario = load_scenario(SECOND_DAY)
    report = tmp_path / "report.json"

    done = demo("--scenario", SECOND_DAY, "--report", report, "--home", tmp_path / "home")

    found = json.loads(report.read_text())
    assert found["expected"]["differences"] == []
    assert done.returncode == 0, done.stdout + done.stderr
    assert found["clean"]
    assert found["counts"] == expected["counts"]
    assert found["rejections"] == expected["rejections"]
    for currency, amounts in expected["positions"].items():
        shown = {name: amount for name, amount in found["positions"][currency].items() if amount}
        assert shown == {name: amount for name, amount in amounts.items() if amount}
    assert found["reconcile"]["clean"]
    assert found["verify"]["held"]
    # Every write, every end of an order, every act was compared, and more.
    ends = sum(len(order.end) for order in scenario.orders)
    writes = sum(1 + len(order.steps) for order in scenario.orders)
    assert found["expected"]["compared"] > ends + writes + len(scenario.acts)
    assert Counter(act["op"] for act in found["acts"]) == Counter(act.kind.value for act in scenario.acts)
    told = ("things came out so", "share_too_high", "refused guardian_is_freezer", "answered")
    assert [text for text in told if text not in done.stdout] == []
