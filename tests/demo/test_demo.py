"""`fenzhang demo`: from nothing to a report that is true, and nothing left running."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fenzhang import devnet
from fenzhang.local.home import Home
from support.replaying import demo
from support.scenarios import MARKET_DAY, cut, expected_of

pytestmark = [pytest.mark.node, pytest.mark.slow]


def test_a_demo_reports_what_the_specification_says(tmp_path: Path) -> None:
    scenario = cut(MARKET_DAY, tmp_path / "scenario", range(40))
    expected = expected_of(scenario)
    home = Home(tmp_path / "home")
    report = tmp_path / "report.json"

    done = demo("--scenario", scenario.folder, "--report", report, "--home", home.path)

    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(report.read_text())
    assert found["clean"]
    assert found["counts"] == expected.counts
    assert found["positions"] == expected.plain_positions()
    assert found["reconcile"]["clean"]
    assert found["verify"]["held"]
    assert found["undecided"] == []
    assert "CNY: positions" in done.stdout
    assert "conserved" in done.stdout
    assert home.running() == {}
    assert not devnet.status(home.path).running


def test_a_scenario_with_mistakes_starts_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "scenario"
    cut(MARKET_DAY, folder, range(2))
    with (folder / "orders.jsonl").open("a") as orders:
        orders.write("{}\n")

    done = demo("--scenario", folder, "--home", tmp_path / "home")

    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"fenzhang: {folder}: orders.jsonl line 3: 'platform' is missing",
        "fenzhang: nothing was played",
    ]
    assert not (tmp_path / "home").exists()
