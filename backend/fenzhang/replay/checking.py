"""Whether what came about is what the scenario expects: of every write, every order, and in the end of all together."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from fenzhang.client import AsyncClient, Instruction, InstructionType, OrderView
from fenzhang.client.models import LeafAllocation
from fenzhang.domain.identifiers import parse_id
from fenzhang.domain.suspense import suspense_id
from fenzhang.replay.day import REFUSED, Amounts, outcome_text
from fenzhang.replay.player import Player, Tally
from fenzhang.replay.preparing import together
from fenzhang.replay.scenario import ORDERS, Scenario, ScenarioOrder
from fenzhang.replay.standing import CurrencyStanding

_AT_ONCE = 16
"""Questions under way at a time."""


@dataclass(slots=True)
class Findings:
    """How many things were compared, and what is not as expected, one line each."""

    compared: int = 0
    differences: list[str] = field(default_factory=list)

    def compare(self, what: str, expected: object, found: object) -> None:
        """Take note of one comparison."""
        self.compared += 1
        if expected != found:
            self.differences.append(f"{what}: expected {expected}, found {found}")


async def check_platform(player: Player, names: Mapping[bytes, str], findings: Findings) -> None:
    """Every write of a platform against its expectation, and its orders as they stand now.

    `names` is the scenario's name of each id.
    """
    outcomes = dict(_outcomes(player.tally))
    for item in player.tally.items:
        if item.expect is not None:
            findings.compare(_write(item.line, *item.key), str(item.expect), outcomes.get(item.key))
    gate = asyncio.Semaphore(_AT_ONCE)

    async def check(order: ScenarioOrder) -> None:
        async with gate:
            found = await player.platform.client.get_order(order.reference)
        _check_order(order, found, names, findings)

    orders = player.scenario.orders_of(player.platform.name)
    captured = (order for order in orders if (InstructionType.CAPTURE, order.reference) in player.tally.fates)
    await together(check(order) for order in captured if _says_amounts(order))


def _says_amounts(order: ScenarioOrder) -> bool:
    """Whether it says more than what becomes of its writes."""
    expectations = (step.expect for step in order.steps if step.expect is not None)
    return bool(order.end) or any(
        expect.allocations is not None or expect.from_held is not None for expect in expectations
    )


def _check_order(
    order: ScenarioOrder, found: OrderView, names: Mapping[bytes, str], findings: Findings
) -> None:
    """Amounts of an order's steps, and how it stands."""
    written = {(each.type, each.reference): each for each in found.instructions}
    for step in order.steps:
        key = (InstructionType(step.operation.upper()), step.reference)
        expect, here = step.expect, written.get(key)
        if expect is not None and expect.allocations is not None:
            what = f"{_write(order.line, *key)}, allocations"
            findings.compare(what, list(expect.allocations), here and _allocations(here, names))
        if expect is not None and expect.from_held is not None:
            what = f"{_write(order.line, *key)}, from held"
            findings.compare(what, expect.from_held, here and here.from_held)
    for name, value in order.end.items():
        what = f"{ORDERS} line {order.line}, order {order.reference}, {name} at the end"
        selected = found.schedule and found.schedule.entry
        findings.compare(what, value, selected if name == "entry" else getattr(found, name))


def _write(line: int, kind: InstructionType, reference: str) -> str:
    return f"{ORDERS} line {line}, {kind.value} {reference}"


async def check_levels(scenario: Scenario, clients: Mapping[str, AsyncClient], findings: Findings) -> None:
    """What participants hold together with those below them."""
    for platform, participants in scenario.expected.levels.items():
        for name, together_with in participants.items():
            above = (await clients[platform].get_levels(below=name)).above
            what = f"{platform}, {name} with all below"
            findings.compare(what, dict(together_with), above and dict(above.together))


def check_totals(
    scenario: Scenario,
    counts: Amounts,
    rejections: Amounts,
    standing: Mapping[str, CurrencyStanding] | None,
    findings: Findings,
) -> None:
    """Counts, reasons and positions at the end."""
    expected = scenario.expected
    for what, wanted, found in (
        ("counts", expected.counts, counts),
        ("rejections", expected.rejections, rejections),
    ):
        if wanted is not None:
            findings.compare(what, dict(wanted), dict(found))
    if standing is None or expected.positions is None:
        return
    for currency, amounts in expected.positions.items():
        here = standing[currency].to_json() if currency in standing else {}
        for name in sorted({*amounts, *here}):
            findings.compare(f"{currency} of {name}", amounts.get(name, 0), here.get(name, 0))


def _outcomes(tally: Tally) -> Iterator[tuple[tuple[InstructionType, str], str]]:
    for refusal in tally.refusals:
        yield refusal.key, outcome_text(REFUSED, refusal.code)
    for key, fate in tally.fates.items():
        yield key, outcome_text(fate.state.value, fate.reason)


def _allocations(found: Instruction, names: Mapping[bytes, str]) -> list[tuple[str, int]]:
    return [(_holder(leaf, names), leaf.amount) for leaf in found.allocations or ()]


def _holder(leaf: LeafAllocation, names: Mapping[bytes, str]) -> str:
    participant = parse_id("participant_id", leaf.participant_id)
    return names.get(suspense_id(participant) if leaf.parked else participant, leaf.participant_id)
