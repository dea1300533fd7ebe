"""`fenzhang demo`: from nothing to a report that is true, and nothing left running."""

from __future__ import annotations

import json
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import Any

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
    _check_end_of_day(found["end_of_day"], home)
    assert "CNY: positions" in done.stdout
    assert "conserved" in done.stdout
    assert home.running() == {}
    assert not devnet.status(home.path).running


def _check_end_of_day(ended: dict[str, Any], home: Home) -> None:
    """Noon, evening and T+1 were closed and paid, once; what left the bank is what the ledger says left it."""
    assert len({cycle["closes"] for cycle in ended["cycles"]}) == 3
    assert {cycle["scheme"] for cycle in ended["cycles"]} == {"standard", "late"}
    states = Counter[str]()
    for cycle in ended["cycles"]:
        states.update(cycle["states"])
        assert sum(cycle["states"].values()) == cycle["payouts"]
    assert states.keys() == {"PAID", "FAILED"}
    assert ended["paid_twice"] == 0
    assert ended["repaired_accounts"] > 0
    for sides in ended["sides"].values():
        assert sides["ledger"]["in_transit"] == 0
        assert sides["ledger"]["bank_custody"] == sides["orders"]["captured"] - sides["bank"].get("paid", 0)
        assert sides["chain"]["captured"] == sides["orders"]["captured"]
    assert Counter(each["state"] for each in ended["breaks"]) == {"RESOLVED": 1, "EXPLAINED": 1}
    for name, digest in ended["bills"].items():
        assert sha256((home.path / "bills" / name).read_bytes()).hexdigest() == digest


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
