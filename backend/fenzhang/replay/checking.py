"""Whether what came about is what the scenario expects: of every write, every order, and in the end of all together."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from fenzhang.client import AsyncClient, Instruction, InstructionType, NotFound
from fenzhang.replay.day import REFUSED, Amounts, Expectation, outcome_text
from fenzhang.replay.player import Item, Player, Tally
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


async def check_platform(player: Player, findings: Findings) -> None:
    """Every write of a platform against its expectation, and its orders as they stand now."""
    client, gate = player.platform.client, asyncio.Semaphore(_AT_ONCE)
    outcomes = dict(_outcomes(player.tally))

    async def write(item: Item, expect: Expectation) -> None:
        what = f"{ORDERS} line {item.line}, {item.key[0].value} {item.key[1]}"
        findings.compare(what, str(expect), outcomes.get(item.key))
        if expect.allocations is None and expect.from_held is None:
            return
        async with gate:
            found = await _found(client, *item.key)
        if expect.allocations is not None:
            findings.compare(f"{what}, allocations", list(expect.allocations), _allocations(found))
        if expect.from_held is not None:
            findings.compare(f"{what}, from held", expect.from_held, found and found.from_held)

    async def order(each: ScenarioOrder) -> None:
        async with gate:
            found = await client.get_order(each.reference)
        for name, value in each.end.items():
            what = f"{ORDERS} line {each.line}, order {each.reference}, {name} at the end"
            findings.compare(what, value, getattr(found, name))

    await together(write(item, item.expect) for item in player.tally.items if item.expect is not None)
    orders = player.scenario.orders_of(player.platform.name)
    await together(order(each) for each in orders if each.end)


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


async def _found(client: AsyncClient, kind: InstructionType, reference: str) -> Instruction | None:
    try:
        return await client.get_instruction(kind, reference)
    except NotFound:
        return None


def _allocations(found: Instruction | None) -> list[tuple[str, int]] | None:
    if found is None or found.allocations is None:
        return None
    return [(leaf.out_participant_no or leaf.participant_id, leaf.amount) for leaf in found.allocations]
