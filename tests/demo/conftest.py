"""Fixtures of replay, demo and `fenzhang up`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fenzhang.replay.scenario import Scenario, load_scenario
from support.scenarios import MARKET_DAY, cut, one_of_each


@pytest.fixture(scope="session")
def market_day() -> Scenario:
    return load_scenario(MARKET_DAY)


@pytest.fixture
def slice_of_day(market_day: Scenario, tmp_path: Path) -> Callable[[str], Scenario]:
    """One order of each kind of the market day, its platforms named with a prefix."""

    def make(prefix: str) -> Scenario:
        return cut(MARKET_DAY, tmp_path / f"{prefix}slice", one_of_each(market_day), prefix)

    return make
