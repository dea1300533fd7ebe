"""Orders for the afternoon of a demo: some of the scenario's once more, under other names."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from fenzhang.replay.day import Expected
from fenzhang.replay.scenario import Operation, Scenario, ScenarioOrder

_MOST: Final = 200
_SUFFIX: Final = "-pm"


def afternoon_of(scenario: Scenario) -> Scenario | None:
    """Up to 200 plain orders. None for a day that has parts of its own, or no such order."""
    orders = [_again(order) for order in scenario.orders if _is_plain(order)][:_MOST]
    if len(scenario.parts) > 1 or not orders:
        return None
    return replace(scenario, orders=tuple(orders), expected=Expected())


def _is_plain(order: ScenarioOrder) -> bool:
    return order.file is None and all(step.operation is Operation.SPLIT for step in order.steps)


def _again(order: ScenarioOrder) -> ScenarioOrder:
    steps = tuple(replace(step, reference=step.reference + _SUFFIX, expect=None) for step in order.steps)
    return replace(order, reference=order.reference + _SUFFIX, steps=steps, expect=None, end={})
