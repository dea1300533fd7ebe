"""A short version of every scenario of `make faults`: whatever breaks, nothing is lost, doubled or wrong."""

from __future__ import annotations

import pytest

from faults.conftest import SEED, Player
from support.faults.campaign import SHARED, play, prepared_rig
from support.faults.database_faults import DISK_FULL
from support.faults.rig import Scenario
from support.faults.system import POSTGRES, SQLITE

pytestmark = [pytest.mark.node, pytest.mark.fault, pytest.mark.slow]


@pytest.mark.parametrize("scenario", SHARED, ids=lambda scenario: scenario.name)
async def test_nothing_is_lost(player: Player, scenario: Scenario) -> None:
    if player.kind not in scenario.databases:
        pytest.skip(f"{scenario.name} is nothing that can happen to {player.kind}")
    result = await player.play(scenario)
    assert result.problems == []
    assert result.faults > 0
    assert result.instructions > 0


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(SQLITE, marks=pytest.mark.xdist_group("faults-sqlite")),
        pytest.param(POSTGRES, marks=[pytest.mark.xdist_group("faults-postgres"), pytest.mark.postgres]),
    ],
)
async def test_nothing_is_lost_on_a_full_disk(kind: str) -> None:
    try:
        async with prepared_rig(kind, SEED, print, DISK_FULL) as rig:
            result = await play(rig, DISK_FULL, DISK_FULL.short, SEED)
    except PermissionError as error:
        pytest.skip(f"a small file system cannot be mounted here: {error}")
    assert result.problems == []
    assert result.faults > 0
