"""A scenario folder, read and checked as a whole before anything is sent.

A mistake is something that can be seen in the folder alone: a line that is no JSON, a field that is missing or of the
wrong type, a name that the folder does not define. What depends on the state of the world or on what the system takes,
such as a split above what is left, is no mistake: it is played, and refused or rejected by whoever decides it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from fenzhang.domain.errors import FenzhangError
from fenzhang.domain.facts import NO_FACTS, Facts
from fenzhang.replay.day import (
    DAY,
    WHOLE_DAY,
    Act,
    Expectation,
    Expected,
    Moment,
    Part,
    read_day,
    read_expectation,
    read_expected,
    read_facts,
    read_moment,
)
from fenzhang.replay.fields import Fields, Mistake, parse_json, read_json
from fenzhang.replay.legs import ScenarioVersion, read_rules

PARTICIPANTS: Final = "participants.json"
RULES: Final = "rules.json"
ORDERS: Final = "orders.jsonl"
_PARTICIPANTS_OF_ACTS: Final = ("participant", "below", "heir")
_FILE_ENDINGS: Final = (".csv", ".jsonl")
_ENDS: Final = (
    *("held", "split", "returned", "released", "released_by_expiry", "refunded", "refunded_as_missed"),
    *("rule_version", "entry"),
)
"""What can be said of an order at the end; `entry` is that of the schedule."""
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

    `given` is what a split gives GIVEN legs, in leg order. `part` is the number of the part in which it is sent; if it
    `waits` for a condition, the parts after it do not wait for its end.
    """

    operation: Operation
    reference: str
    amount: int = 0
    split: str = ""
    amounts: tuple[int, ...] | None = None
    bindings: Mapping[str, str] = field(default_factory=dict)
    given: tuple[int, ...] = ()
    part: int = 0
    waits: bool = False
    expect: Expectation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioOrder:
    """One line of the orders file. Names are the scenario's own, `amount` is minor units.

    It is captured in the part number `part`, and what it does then is in the bulk file `file` if there is one. `expect`
    is of its capture, `end` how it stands when the day is over, by the names of the API. Without a `rule` ("") the
    platform's schedule selects it.
    """

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
    hold_until: Moment | None = None
    expires_at: Moment | None = None
    rule_version: int | None = None
    part: int = 0
    file: str | None = None
    facts: Facts = NO_FACTS
    condition: str | None = None
    expect: Expectation | None = None
    end: Mapping[str, int] = field(default_factory=dict)

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
    rules: Mapping[str, tuple[ScenarioVersion, ...]]
    orders: tuple[ScenarioOrder, ...]
    parts: tuple[Part, ...] = WHOLE_DAY
    expected: Expected = field(default_factory=Expected)

    @property
    def acts(self) -> tuple[Act, ...]:
        """All acts of the day."""
        return tuple(act for part in self.parts for act in part.acts)

    def orders_of(self, platform: str) -> list[ScenarioOrder]:
        """A platform's orders in the order of the file."""
        return [order for order in self.orders if order.platform == platform]

    def recipients_of(self, platform: str) -> list[str]:
        """Names that a platform's orders and rules use, other than its own, sorted."""
        used: set[str] = set()
        for order in self.orders_of(platform):
            used |= order.names()
        for rule in self.rules_of.get(platform, ()):
            legs = (leg for version in self.rules[rule] for leg in version.legs)
            used |= {leg.recipient for leg in legs if leg.recipient is not None}
        for act in self.acts:
            if act.platform == platform:
                used |= {name for name in map(act.values.get, _PARTICIPANTS_OF_ACTS) if name is not None}
        return sorted(used - {platform})


def load_scenario(folder: Path) -> Scenario:
    """Read a folder. Raises ScenarioInvalid with every mistake in it."""
    mistakes: list[Mistake] = []
    rules = read_rules(folder / RULES, mistakes)
    parties = _read_parties(folder / PARTICIPANTS, mistakes)
    if not mistakes:
        mistakes += _wrong_names(parties, rules)
    parts = read_day(folder, mistakes)
    expected = read_expected(folder, mistakes)
    if not mistakes:
        mistakes += _wrong_acts(parts, parties, rules)
    # Without sound rules, participants and parts every order would look wrong, so those come first.
    parties.parts.update({part.name: number for number, part in enumerate(parts)})
    orders = [] if mistakes else _read_orders(folder / ORDERS, parties, mistakes)
    if mistakes:
        raise ScenarioInvalid(mistakes)
    return Scenario(
        folder=folder,
        platforms=parties.platforms,
        rules_of=parties.rules_of,
        rules=rules,
        orders=tuple(orders),
        parts=parts,
        expected=expected,
    )


# ------------------------------------------------------------------------------ participants.json


@dataclass(frozen=True, slots=True)
class _Parties:
    platforms: tuple[str, ...] = ()
    rules_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    names: frozenset[str] = frozenset()
    parts: dict[str, int] = field(default_factory=dict)
    """Numbers of the parts of the day, by name."""


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


def _wrong_names(parties: _Parties, rules: Mapping[str, tuple[ScenarioVersion, ...]]) -> list[Mistake]:
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
    for rule, versions in rules.items():
        found += [
            Mistake(RULES, f"{rule}[{index}].recipient", f"there is no participant {leg.recipient!r}")
            for version in versions
            for index, leg in enumerate(version.legs)
            if leg.recipient is not None and leg.recipient not in parties.names
        ]
    return found


def _wrong_acts(
    parts: tuple[Part, ...], parties: _Parties, rules: Mapping[str, tuple[ScenarioVersion, ...]]
) -> list[Mistake]:
    """Names that acts use and no other file defines."""
    found = []
    for act in (act for part in parts for act in part.acts):
        if act.platform not in parties.platforms:
            found.append(Mistake(act.place, "platform", f"there is no platform {act.platform!r}"))
        rules_named = [entry.rule for entry in act.values.get("entries", ())]
        found += [
            Mistake(act.place, "entries", f"{act.platform} has no rule {name!r}")
            for name in rules_named
            if name not in parties.rules_of.get(act.platform, ())
        ]
        rule, version = str(act.values.get("rule", "")), act.values.get("version")
        if rule and rule not in parties.rules_of.get(act.platform, ()):
            found.append(Mistake(act.place, "rule", f"{act.platform} has no rule {rule!r}"))
        elif version is not None and not 1 <= version <= len(rules[rule]):
            found.append(Mistake(act.place, "version", f"{rule} has no version {version}"))
        found += [
            Mistake(act.place, field_name, f"there is no participant {name!r}")
            for field_name in _PARTICIPANTS_OF_ACTS
            if (name := act.values.get(field_name)) is not None and name not in parties.names
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
    rule = fields.get("rule").text() if "rule" in fields else ""
    if rule and rule not in parties.rules_of.get(platform, ()):
        raise fields.get("rule").mistake(f"{platform} has no rule {rule!r}")
    part = _part(fields, parties, 0)
    steps: list[Step] = []
    for item in fields.get("steps").items():
        steps.append(_read_step(item, parties, steps[-1].part if steps else part))
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
        steps=tuple(steps),
        hold_until=_time(fields, "hold_until"),
        expires_at=_time(fields, "expires_at"),
        rule_version=fields.get("rule_version").integer() if "rule_version" in fields else None,
        part=part,
        file=_file(fields),
        facts=read_facts(fields.get("facts")) if "facts" in fields else NO_FACTS,
        condition=fields.get("condition").reference() if "condition" in fields else None,
        expect=read_expectation(fields),
        end={name: _end(name, value) for name, value in fields.get("end").members()}
        if "end" in fields
        else {},
    )


def _read_step(fields: Fields, parties: _Parties, before: int) -> Step:
    part = _part(fields, parties, before)
    waits = "waits" in fields and fields.get("waits").boolean()
    step = _read_operation(fields, parties)
    return replace(step, part=part, waits=waits, expect=read_expectation(fields))


def _read_operation(fields: Fields, parties: _Parties) -> Step:
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


def _part(fields: Fields, parties: _Parties, before: int) -> int:
    """Number of the part that is named, else of the part before."""
    if "part" not in fields:
        return before
    name = fields.get("part")
    number = parties.parts.get(name.text())
    if number is None:
        raise name.mistake(f"{DAY} has no part {name.value!r}")
    if number < before:
        raise name.mistake(f"the part {name.value!r} is over when this comes")
    return number


def _file(fields: Fields) -> str | None:
    if "file" not in fields:
        return None
    name = fields.get("file")
    if not name.reference().endswith(_FILE_ENDINGS):
        raise name.mistake(f"the name of a bulk file ends in {' or '.join(_FILE_ENDINGS)}")
    return name.reference()


def _end(name: str, value: Fields) -> int:
    if name not in _ENDS:
        raise value.mistake(f"what stands at the end is one of {', '.join(_ENDS)}")
    return value.integer()


def _time(fields: Fields, name: str) -> Moment | None:
    return read_moment(fields.get(name)) if name in fields else None


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
