"""A scenario folder, read and checked as a whole before anything is sent.

A mistake is something that can be seen in the folder alone: a line that is no JSON, a field that is missing or of the
wrong type, a name that the folder does not define. What depends on the state of the world or on what the system takes,
such as a split above what is left, is no mistake: it is played, and refused or rejected by whoever decides it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from fenzhang.domain.errors import FenzhangError
from fenzhang.replay.fields import Fields, Mistake, parse_json, read_json
from fenzhang.replay.legs import ScenarioLeg, read_rules

PARTICIPANTS: Final = "participants.json"
RULES: Final = "rules.json"
ORDERS: Final = "orders.jsonl"
SHOWN_MISTAKES: Final = 20


class ScenarioInvalid(FenzhangError):
    """A scenario folder has mistakes; nothing of it was played. `lines` says which, one each."""

    code = "scenario_invalid"

    def __init__(self, mistakes: list[Mistake]) -> None:
        shown = [mistake.message for mistake in mistakes[:SHOWN_MISTAKES]]
        if len(mistakes) > SHOWN_MISTAKES:
            shown.append(f"and {len(mistakes) - SHOWN_MISTAKES} more")
        super().__init__("; ".join(shown), mistakes=[mistake.message for mistake in mistakes])
        self.lines = tuple(shown)


class Operation(StrEnum):
    """What a step does."""

    SPLIT = "split"
    RETURN = "return"
    RELEASE = "release"
    REFUND = "refund"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of an order. `amount` is minor units, 0 for a release; `split` names the split a return is from.

    `given` is what a split gives GIVEN legs, in leg order.
    """

    operation: Operation
    reference: str
    amount: int = 0
    split: str = ""
    amounts: tuple[int, ...] | None = None
    bindings: Mapping[str, str] = field(default_factory=dict)
    given: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioOrder:
    """One line of the orders file. Names are the scenario's own, `amount` is minor units, times are Unix seconds."""

    line: int
    reference: str
    platform: str
    currency: str
    amount: int
    channel: str
    rule: str
    merchant: str
    bindings: Mapping[str, str]
    steps: tuple[Step, ...]
    hold_until: int | None = None
    expires_at: int | None = None

    def names(self) -> set[str]:
        """Every participant that the order names."""
        bound = {name for step in self.steps for name in step.bindings.values()}
        return {self.merchant, *self.bindings.values(), *bound}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A folder without mistakes."""

    folder: Path
    platforms: tuple[str, ...]
    rules_of: Mapping[str, tuple[str, ...]]
    rules: Mapping[str, tuple[ScenarioLeg, ...]]
    orders: tuple[ScenarioOrder, ...]

    def orders_of(self, platform: str) -> list[ScenarioOrder]:
        """A platform's orders in the order of the file."""
        return [order for order in self.orders if order.platform == platform]

    def recipients_of(self, platform: str) -> list[str]:
        """Names that a platform's orders and rules use, other than its own, sorted."""
        used: set[str] = set()
        for order in self.orders_of(platform):
            used |= order.names()
        for rule in self.rules_of.get(platform, ()):
            used |= {leg.recipient for leg in self.rules[rule] if leg.recipient is not None}
        return sorted(used - {platform})


def load_scenario(folder: Path) -> Scenario:
    """Read a folder. Raises ScenarioInvalid with every mistake in it."""
    mistakes: list[Mistake] = []
    rules = read_rules(folder / RULES, mistakes)
    parties = _read_parties(folder / PARTICIPANTS, mistakes)
    if not mistakes:
        mistakes += _wrong_names(parties, rules)
    # Without sound rules and participants every order would look wrong, so those come first.
    orders = [] if mistakes else _read_orders(folder / ORDERS, parties, mistakes)
    if mistakes:
        raise ScenarioInvalid(mistakes)
    return Scenario(
        folder=folder,
        platforms=parties.platforms,
        rules_of=parties.rules_of,
        rules=rules,
        orders=tuple(orders),
    )


# ------------------------------------------------------------------------------ participants.json


@dataclass(frozen=True, slots=True)
class _Parties:
    platforms: tuple[str, ...] = ()
    rules_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    names: frozenset[str] = frozenset()


def _read_parties(path: Path, mistakes: list[Mistake]) -> _Parties:
    try:
        content = Fields(path.name, read_json(path))
        platforms = _references(content.get("platforms"))
        owned = {platform: _references(rules) for platform, rules in content.get("rules_of").members()}
        by_role = [_references(names) for _, names in content.get("participants").members()]
    except Mistake as mistake:
        mistakes.append(mistake)
        return _Parties()
    listed = (name for names in by_role for name in names)
    return _Parties(platforms, owned, frozenset((*platforms, *listed)))


def _references(fields: Fields) -> tuple[str, ...]:
    return tuple(dict.fromkeys(item.reference() for item in fields.items()))


def _wrong_names(parties: _Parties, rules: Mapping[str, tuple[ScenarioLeg, ...]]) -> list[Mistake]:
    """Names that the participants and rules files use and do not define."""
    found = []
    for platform, owned in parties.rules_of.items():
        if platform not in parties.platforms:
            found.append(Mistake(PARTICIPANTS, "rules_of", f"there is no platform {platform!r}"))
        found += [
            Mistake(PARTICIPANTS, f"rules_of.{platform}", f"{RULES} has no rule {rule!r}")
            for rule in owned
            if rule not in rules
        ]
    for rule, legs in rules.items():
        found += [
            Mistake(RULES, f"{rule}[{index}].recipient", f"there is no participant {leg.recipient!r}")
            for index, leg in enumerate(legs)
            if leg.recipient is not None and leg.recipient not in parties.names
        ]
    return found


# ------------------------------------------------------------------------------ orders.jsonl


def _read_orders(path: Path, parties: _Parties, mistakes: list[Mistake]) -> list[ScenarioOrder]:
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        mistakes.append(Mistake(path.name, "", f"cannot be read: {error.strerror}"))
        return []
    orders = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place = f"{path.name} line {number}"
        try:
            orders.append(_read_order(number, Fields(place, parse_json(place, line)), parties))
        except Mistake as mistake:
            mistakes.append(mistake)
    return orders


def _read_order(line: int, fields: Fields, parties: _Parties) -> ScenarioOrder:
    platform = fields.get("platform").text()
    if platform not in parties.platforms:
        raise fields.get("platform").mistake(f"there is no platform {platform!r} in {PARTICIPANTS}")
    rule = fields.get("rule").text()
    if rule not in parties.rules_of.get(platform, ()):
        raise fields.get("rule").mistake(f"{platform} has no rule {rule!r}")
    return ScenarioOrder(
        line=line,
        reference=fields.get("order_ref").reference(),
        platform=platform,
        currency=fields.get("currency").text(),
        amount=fields.get("amount").integer(),
        channel=fields.get("channel").text(),
        rule=rule,
        merchant=_participant(fields.get("merchant"), parties),
        bindings=_bindings(fields, parties),
        steps=tuple(_read_step(item, parties) for item in fields.get("steps").items()),
        hold_until=_time(fields, "hold_until"),
        expires_at=_time(fields, "expires_at"),
    )


def _read_step(fields: Fields, parties: _Parties) -> Step:
    operation = fields.get("op")
    try:
        kind = Operation(operation.text())
    except ValueError:
        raise operation.mistake(f"a step is one of {', '.join(Operation)}") from None
    reference = fields.get("ref").reference()
    match kind:
        case Operation.SPLIT:
            amount = fields.get("amount").integer()
            return Step(
                operation=kind,
                reference=reference,
                amount=amount,
                bindings=_bindings(fields, parties),
                given=_amounts(fields, "given") or (),
            )
        case Operation.RETURN:
            return Step(
                operation=kind,
                reference=reference,
                amount=fields.get("amount").integer(),
                split=fields.get("split_ref").reference(),
                amounts=_amounts(fields, "amounts"),
            )
        case Operation.RELEASE:
            return Step(operation=kind, reference=reference)
        case Operation.REFUND:
            return Step(operation=kind, reference=reference, amount=fields.get("amount").integer())


def _time(fields: Fields, name: str) -> int | None:
    return fields.get(name).integer() if name in fields else None


def _amounts(fields: Fields, name: str) -> tuple[int, ...] | None:
    if name not in fields:
        return None
    return tuple(item.integer() for item in fields.get(name).items())


def _bindings(fields: Fields, parties: _Parties) -> dict[str, str]:
    """Role to participant; a role without one (null) is left open."""
    if "bindings" not in fields:
        return {}
    return {
        role: _participant(name, parties)
        for role, name in fields.get("bindings").members()
        if name.value is not None
    }


def _participant(fields: Fields, parties: _Parties) -> str:
    name = fields.text()
    if name not in parties.names:
        raise fields.mistake(f"there is no participant {name!r} in {PARTICIPANTS}")
    return name
