"""Legs as scenario folders and allocation cases write them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fenzhang.domain.errors import InvalidRule
from fenzhang.domain.rules import MAX_CHAIN_AMOUNT, ROOT, Leg, LegKind, validate
from fenzhang.replay.fields import Fields, Mistake, read_json

_LARGEST_PARENT = 127
"""A leg's parent is an int8 on chain."""
_SOMEBODY = b"\x01" * 32
"""Stands for a recipient whose id is not known yet when the shape of a rule is checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioLeg:
    """A leg whose fixed recipient is a name of the scenario instead of a participant id."""

    leg: Leg
    recipient: str | None = None

    def resolved(self, ids: Mapping[str, bytes]) -> Leg:
        """The leg with the id that stands for the name."""
        if self.recipient is None:
            return self.leg
        leg = self.leg
        return Leg(leg.parent, leg.kind, leg.value, leg.min, leg.max, recipient=ids[self.recipient])


def read_leg(fields: Fields) -> Leg:
    """The arithmetic of a leg: parent, kind, value, min, max (the last three may be left out). Raises Mistake."""
    kind = fields.get("kind")
    try:
        parsed = LegKind[kind.text()]
    except KeyError:
        raise kind.mistake(f"a kind is one of {', '.join(LegKind.__members__)}") from None
    parent = fields.get("parent").integer_within(ROOT, _LARGEST_PARENT)
    value, low, high = (
        fields.get(name).integer_within(0, MAX_CHAIN_AMOUNT) if name in fields else 0
        for name in ("value", "min", "max")
    )
    return Leg(parent, parsed, value, low, high)


def read_rules(path: Path, mistakes: list[Mistake]) -> dict[str, tuple[ScenarioLeg, ...]]:
    """The rules file: rule name to legs. What is wrong is added to `mistakes`, and that rule left out."""
    rules: dict[str, tuple[ScenarioLeg, ...]] = {}
    try:
        members = list(Fields(path.name, read_json(path)).members())
    except Mistake as mistake:
        mistakes.append(mistake)
        return rules
    for name, fields in members:
        try:
            legs = tuple(_read_scenario_leg(item) for item in fields.items())
            Fields(path.name, name, name).reference()
            _check_shape(fields, legs)
        except Mistake as mistake:
            mistakes.append(mistake)
        else:
            rules[name] = legs
    return rules


def _read_scenario_leg(fields: Fields) -> ScenarioLeg:
    leg = read_leg(fields)
    recipient = fields.get("recipient").reference() if "recipient" in fields else None
    role = fields.get("role").text() if "role" in fields else None
    with_role = Leg(leg.parent, leg.kind, leg.value, leg.min, leg.max, role=role)
    return ScenarioLeg(leg=with_role, recipient=recipient)


def _check_shape(fields: Fields, legs: tuple[ScenarioLeg, ...]) -> None:
    shape = [
        Leg(
            item.leg.parent,
            item.leg.kind,
            item.leg.value,
            item.leg.min,
            item.leg.max,
            recipient=None if item.recipient is None else _SOMEBODY,
            role=item.leg.role,
        )
        for item in legs
    ]
    try:
        validate(shape)
    except InvalidRule as error:
        raise fields.mistake(error.message) from None
