"""A short version of `make faults`: whatever breaks, nothing is lost, doubled or wrong."""

from __future__ import annotations

import pytest

from faults.conftest import Player
from support.faults.campaign import SHARED
from support.faults.rig import Scenario
from support.faults.system import POSTGRES, SQLITE

IN_THE_SUITE = {
    "kill": {SQLITE},
    "bad-answers": {SQLITE},
    "locked": {SQLITE},
    "other-chain": {SQLITE},
    "steps": {POSTGRES},
    "cut": {POSTGRES},
    "takeover": {POSTGRES},
}
"""Scenarios that nothing else in the suite plays, on one database each; the campaign plays all of them on both."""
pytestmark = [pytest.mark.node, pytest.mark.fault, pytest.mark.slow]


@pytest.mark.parametrize(
    "scenario",
    [scenario for scenario in SHARED if scenario.name in IN_THE_SUITE],
    ids=lambda scenario: scenario.name,
)
async def test_nothing_is_lost(player: Player, scenario: Scenario) -> None:
    if player.kind not in IN_THE_SUITE[scenario.name]:
        pytest.skip("played on the other database; `make faults` plays it on both")
    result = await player.play(scenario)
    assert result.problems == []
    assert result.faults > 0
    assert result.instructions > 0


def test_what_the_suite_plays_exists() -> None:
    assert {scenario.name for scenario in SHARED} >= IN_THE_SUITE.keys()
