"""What a scenario must come to, computed from its files with the specification alone."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from fenzhang.domain.allocation import Allocation, allocate, spread_takes, take_back
from fenzhang.domain.errors import Rejection
from fenzhang.replay.scenario import Operation, Scenario, ScenarioOrder, Step, load_scenario

FOLDER = Path(__file__).parents[1] / "scenarios"
MARKET_DAY = FOLDER / "market_day"
ALLOCATION_CASES = FOLDER / "allocation.json"


@dataclass(slots=True)
class Expected:
    """Counts and positions, as a report has them."""

    counts: Counter[str] = field(default_factory=Counter)
    positions: defaultdict[str, defaultdict[str, int]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(int))
    )

    def plain_positions(self) -> dict[str, dict[str, int]]:
        """Positions as plain dictionaries."""
        return {currency: dict(amounts) for currency, amounts in self.positions.items()}


def expected_of(scenario: Scenario) -> Expected:
    """Play a scenario on paper."""
    expected = Expected()
    for order in scenario.orders:
        _play(scenario, order, expected)
    return expected


_REFUNDED = 3
_COUNTED = {
    Operation.SPLIT: "settled",
    Operation.RETURN: "returned",
    Operation.RELEASE: "released",
    Operation.REFUND: "refunded",
}


def _play(scenario: Scenario, order: ScenarioOrder, expected: Expected) -> None:
    money = expected.positions[order.currency]
    money["(captured)"] += order.amount
    money["(refunded)"] += 0
    money["(held)"] += order.amount
    expected.counts["captured"] += 1
    expected.counts["refunded"] += 0
    held = order.amount
    splits: dict[str, list[Allocation]] = {}
    for step in order.steps:
        try:
            taken, allocations = _step(scenario, order, step, held, splits)
        except Rejection:
            expected.counts["rejected"] += 1
            continue
        held -= taken
        money["(held)"] -= taken
        for allocation in allocations:
            money[allocation.recipient.decode()] += allocation.amount
        expected.counts[_COUNTED[step.operation]] += 1
        if step.operation is Operation.REFUND:
            money["(refunded)"] += step.amount


class _Refused(Rejection):
    """A step that cannot be carried out."""


def _step(
    scenario: Scenario, order: ScenarioOrder, step: Step, held: int, splits: dict[str, list[Allocation]]
) -> tuple[int, list[Allocation]]:
    """What a step takes from the held money, and what it adds to (or, returned, takes from) positions."""
    match step.operation:
        case Operation.SPLIT:
            if step.amount > held:
                raise _Refused
            legs = [leg.leg for leg in scenario.rules[order.rule][0].legs]
            bindings = {role: name.encode() for role, name in {**order.bindings, **step.bindings}.items()}
            splits[step.reference] = allocate(legs, step.amount, bindings, step.given)
            return step.amount, splits[step.reference]
        case Operation.RELEASE:
            if held == 0:
                raise _Refused
            splits[step.reference] = [Allocation(order.merchant.encode(), held)]
            return held, splits[step.reference]
        case Operation.REFUND:
            return _refund(step, held, splits)
        case Operation.RETURN:
            if step.split not in splits:
                raise _Refused
            left = splits[step.split]
            takes = take_back(b"", [leaf.amount for leaf in left], step.amount)
            splits[step.split] = [
                Allocation(leaf.recipient, leaf.amount - take) for leaf, take in zip(left, takes, strict=True)
            ]
            return -step.amount, [
                Allocation(leaf.recipient, -take) for leaf, take in zip(left, takes, strict=True)
            ]


def _refund(step: Step, held: int, splits: dict[str, list[Allocation]]) -> tuple[int, list[Allocation]]:
    leaves = [leaf for split in splits.values() for leaf in split]
    from_held = min(held, step.amount)
    if step.amount > held + sum(leaf.amount for leaf in leaves):
        raise _Refused
    takes = spread_takes([leaf.amount for leaf in leaves], step.amount - from_held)
    given = iter(takes)
    for name, split in splits.items():
        splits[name] = [Allocation(leaf.recipient, leaf.amount - next(given)) for leaf in split]
    return from_held, [Allocation(leaf.recipient, -take) for leaf, take in zip(leaves, takes, strict=True)]


def cut(source: Path, target: Path, lines: Iterable[int], prefix: str = "") -> Scenario:
    """A smaller scenario: some orders (indices into the file) of another one, with three participants of each kind.

    Half of every third order is refunded in the end.
    With a prefix its platforms have names of their own, so that several can be played on one system.
    """
    target.mkdir(parents=True, exist_ok=True)
    parties = json.loads((source / "participants.json").read_text())
    platforms = {name: prefix + name for name in parties["platforms"]}
    parties["platforms"] = list(platforms.values())
    parties["rules_of"] = {platforms[name]: rules for name, rules in parties["rules_of"].items()}
    (target / "participants.json").write_text(json.dumps(parties))
    (target / "rules.json").write_bytes((source / "rules.json").read_bytes())
    orders = (source / "orders.jsonl").read_text().splitlines()
    with (target / "orders.jsonl").open("w") as file:
        for index in lines:
            order = json.loads(orders[index])
            order["platform"] = platforms[order["platform"]]
            order["bindings"] = {
                role: platforms.get(name) or _one_of_three(name) for role, name in order["bindings"].items()
            }
            order["merchant"] = _one_of_three(order["merchant"])
            if index % _REFUNDED == 0:
                name, amount = f"{order['order_ref']}-F", order["amount"] // 2
                order["steps"].append({"op": "refund", "ref": name, "amount": amount})
            file.write(json.dumps(order) + "\n")
    return load_scenario(target)


def _one_of_three(name: str) -> str:
    kind, _, number = name.rpartition("-")
    return f"{kind}-{int(number) % 3 + 1:03}"


def one_of_each(scenario: Scenario) -> list[int]:
    """Indices of orders such that every platform, currency, list of steps, and way to fail is there once."""
    found: dict[tuple[object, ...], int] = {}
    for index, order in enumerate(scenario.orders):
        alone = Expected()
        _play(scenario, order, alone)
        steps = tuple(step.operation for step in order.steps)
        found.setdefault((order.platform, order.currency, steps, alone.counts["rejected"]), index)
    return sorted(found.values())
