"""`fenzhang bench` runs every phase and writes every figure. How large the figures are is not a test's business."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fenzhang.bench.figures import (
    Answer,
    Books,
    Ceilings,
    Figures,
    Growth,
    Latency,
    Load,
    Memory,
    latency_of,
    targets,
)
from fenzhang.local.home import Home

LOADS = ("batches", "batches_half", "singles", "singles_half", "baseline")


@pytest.mark.node
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_tiny_run_has_all_figures(tmp_path: Path) -> None:
    report = tmp_path / "bench.json"
    sizes = [
        "--orders",
        "200",
        "--growth",
        "200",
        "--baseline",
        "3",
        "--postings",
        "6000",
        "--block-time",
        "0.2",
    ]
    command = [sys.executable, "-m", "fenzhang", "bench", *sizes, "--home", str(tmp_path / "home")]

    done = subprocess.run(
        [*command, "--json", str(report)], capture_output=True, text=True, check=False, timeout=550
    )

    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(report.read_text())
    assert found["database"] == "sqlite"
    for name in LOADS:
        assert found[name]["rate"] > 0
        latency = found[name]["latency"]
        assert 0 <= latency["p50"] <= latency["p95"] <= latency["p99"]
    assert found["batches"]["splits"] == found["singles"]["splits"] == found["growth"]["splits"] == 200
    assert found["baseline"]["splits"] == 3
    assert found["singles"]["requests"] == 400
    assert set(found["batches"]["cpu_us"]) == {"api", "submission", "mirror", "anvil", "client"}
    assert all(rate > 0 for rate in found["ceilings"].values())
    assert {memory["name"] for memory in found["growth"]["memory"]} == {
        "api",
        "submission",
        "mirror",
        "anvil",
    }
    # Everything of the chain: three full phases of 200 orders, two of half the size, and the baseline's.
    assert found["growth"]["catch_up_splits"] == 200 * 5 + 3
    assert found["growth"]["catch_up_rate"] > 0
    assert found["books"]["postings"] == 6_000
    assert len(found["books"]["answers"]) == 8
    assert all(0 < answer["median"] <= answer["longest"] for answer in found["books"]["answers"])
    assert 20_000 < found["gas_per_split"] < 200_000
    assert len(found["targets"]) == 13
    assert "Targets" in done.stdout
    assert Home(tmp_path / "home" / "system").running() == {}


def _load(rate: float, p99: float = 1.0) -> Load:
    return Load(
        splits=1_000, requests=2_000, seconds=1_000 / rate, accept_seconds=1.0, latency=Latency(0.5, 0.8, p99)
    )


def test_targets_are_ratios_of_one_run() -> None:
    memory = [Memory(name=name, first=100, last=105, peak=120) for name in ("api", "mirror", "submission")]
    node = Memory(name="anvil", first=500, last=5_000, peak=5_000)
    figures = Figures(
        batches=_load(2_500),
        batches_half=_load(1_250, p99=2.2),
        singles=_load(900),
        singles_half=_load(450, p99=2.4),
        baseline=_load(240),
        ceilings=Ceilings(node=6_000, database=4_900, http_batches=90_000, http_requests=4_000),
        growth=Growth(
            splits=100_000,
            rate=2_400,
            first_fifth=2_500,
            last_fifth=2_000,
            memory=[*memory, node],
            catch_up_splits=110_000,
            catch_up_seconds=10,
        ),
        books=Books(postings=1_000_000, fill_seconds=30, answers=[Answer("trial balance", 0.4, 1.2)]),
        gas_per_split=49_000,
        block_time_s=1.0,
    )

    held = {target.name: target.held for target in targets(figures)}

    missed = {name for name, is_held in held.items() if not is_held}
    assert missed == {
        "p99 of singles at half load, s",
        "last fifth / first fifth",
        "catch-up / live rate",
        "slowest answer of a ledger with 1,000,000 postings, s",
    }


def test_percentiles_are_measured_values() -> None:
    assert latency_of([float(n) for n in range(1, 101)]) == Latency(51.0, 96.0, 100.0)
    assert latency_of([0.25]) == Latency(0.25, 0.25, 0.25)
