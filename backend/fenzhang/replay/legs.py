"""Rules and their legs as scenario folders and allocation cases write them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fenzhang.domain.errors import InvalidRule
from fenzhang.domain.rules import (
    BASIS_POINTS,
    MAX_CHAIN_AMOUNT,
    NO_TERMS,
    ROOT,
    Leg,
    LegKind,
    RuleTerms,
    validate,
)
from fenzhang.replay.day import Moment, read_moment
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioVersion:
    """A version of a rule: legs, terms, and when it takes effect (as soon as it is approved, if that is None)."""

    legs: tuple[ScenarioLeg, ...]
    terms: RuleTerms = NO_TERMS
    effective_from: Moment | None = None


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


def read_rules(path: Path, mistakes: list[Mistake]) -> dict[str, tuple[ScenarioVersion, ...]]:
    """The rules file: rule name to versions. What is wrong is added to `mistakes`, and that rule left out."""
    rules: dict[str, tuple[ScenarioVersion, ...]] = {}
    try:
        members = list(Fields(path.name, read_json(path)).members())
    except Mistake as mistake:
        mistakes.append(mistake)
        return rules
    for name, fields in members:
        try:
            versions = _read_versions(fields)
            Fields(path.name, name, name).reference()
        except Mistake as mistake:
            mistakes.append(mistake)
        else:
            rules[name] = versions
    return rules


def _read_versions(fields: Fields) -> tuple[ScenarioVersion, ...]:
    """A list of legs is a rule of one version without terms."""
    if not isinstance(fields.value, dict):
        return (ScenarioVersion(legs=_read_legs(fields)),)
    versions = tuple(_read_version(item) for item in fields.get("versions").items())
    if not versions:
        raise fields.get("versions").mistake("a rule has at least one version")
    if versions[0].effective_from is not None:
        raise fields.get("versions").mistake("the first version is in force before the day begins")
    return versions


def _read_version(fields: Fields) -> ScenarioVersion:
    terms = _read_terms(fields.get("terms")) if "terms" in fields else NO_TERMS
    effective = read_moment(fields.get("effective_from")) if "effective_from" in fields else None
    return ScenarioVersion(legs=_read_legs(fields.get("legs")), terms=terms, effective_from=effective)


def _read_terms(fields: Fields) -> RuleTerms:
    cap = fields.get("max_share_out").integer_within(0, BASIS_POINTS) if "max_share_out" in fields else 0
    may_owe, park = (name in fields and fields.get(name).boolean() for name in ("may_owe", "park"))
    return RuleTerms(max_share_out=cap, may_owe=may_owe, park=park)


def _read_legs(fields: Fields) -> tuple[ScenarioLeg, ...]:
    legs = tuple(_read_scenario_leg(item) for item in fields.items())
    _check_shape(fields, legs)
    return legs


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
