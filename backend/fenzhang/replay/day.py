"""A day in parts: what happens beside the orders, when, and what must come of it (`day.json`, `expected.json`).

A part begins when everything of the part before it is decided, and not before the time it names. First its acts are
carried out, all at the same time; then the orders and steps of the part are sent. A folder without `day.json` has one
part without acts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from fenzhang.domain.errors import InvalidInput
from fenzhang.domain.facts import FACTS, NO_FACTS, Facts
from fenzhang.replay.fields import Fields, Mistake, read_json

DAY: Final = "day.json"
EXPECTED: Final = "expected.json"
REFUSED: Final = "REFUSED"
"""Expected instead of a state: the API does not accept it."""
_STATES: Final = ("SETTLED", "REJECTED", REFUSED)
Amounts = Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What must become of a write: SETTLED, or REJECTED or REFUSED for a reason (its code).

    `allocations` are names and amounts in leaf order: what a split gave, or a return or refund took. `from_held` is
    what a refund found on its order.
    """

    state: str
    reason: str | None = None
    allocations: tuple[tuple[str, int], ...] | None = None
    from_held: int | None = None

    def __str__(self) -> str:
        return outcome_text(self.state, self.reason)


def outcome_text(state: str, reason: str | None) -> str:
    """A state, and the code of its reason if it has one."""
    return state if reason is None else f"{state} {reason}"


SETTLED: Final = Expectation(state="SETTLED")


@dataclass(frozen=True, slots=True)
class Moment:
    """A time: Unix seconds, or `relative` to the beginning of the part in which it is told."""

    seconds: int
    relative: bool = False

    def at(self, begin: int) -> int:
        """Unix seconds, for a part that began then."""
        return begin + self.seconds if self.relative else self.seconds


class ActKind(StrEnum):
    """What happens beside the orders."""

    CONSENT = "consent"
    CAP = "cap"
    PLACE = "place"
    SUSPEND = "suspend"
    RESUME = "resume"
    CLOSE = "close"
    HEIR = "heir"
    RESOLVE = "resolve"
    PROPOSE = "propose"
    APPROVE = "approve"
    VETO = "veto"
    RETIRE = "retire"
    FREEZE = "freeze"
    UNFREEZE = "unfreeze"
    APPROVAL_LOCK = "approval_lock"
    OPEN = "open"
    CONFIRM = "confirm"
    EXPIRY = "expiry"
    PROPOSE_SCHEDULE = "propose_schedule"
    APPROVE_SCHEDULE = "approve_schedule"
    VETO_SCHEDULE = "veto_schedule"
    RETIRE_SCHEDULE = "retire_schedule"
    SELECT = "select"
    DIFF = "diff"
    WHAT_IF = "what_if"

    @property
    def is_question(self) -> bool:
        """Whether it only asks, and has an `answer` instead of an outcome."""
        return self in {ActKind.SELECT, ActKind.DIFF, ActKind.WHAT_IF}

    @property
    def is_write(self) -> bool:
        """Whether it is written through the API, under a reference."""
        return not self.is_question and self not in {ActKind.EXPIRY, ActKind.APPROVAL_LOCK}


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One act of a part. `values` has the fields of its kind, None for those left out; `place` is where it stands."""

    place: str
    kind: ActKind
    platform: str
    reference: str
    values: Mapping[str, Any]
    expect: Expectation


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of the day. `after` is a part before it and seconds: it begins so long after that one at the earliest."""

    name: str
    after: tuple[str, int] | None = None
    acts: tuple[Act, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioEntry:
    """An entry of a schedule; `rule` is a name of the scenario, and the times may be relative to their part."""

    rule: str
    facts: Facts = NO_FACTS
    currency: str = ""
    amount_from: int = 0
    amount_below: int = 0
    valid_from: Moment = Moment(0)
    valid_until: Moment = Moment(0)


WHOLE_DAY: Final = (Part(name="day"),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the whole day must come to; what is None was not said.

    `counts`, `rejections` and `positions` are as a report has them. `levels` is by platform and participant: what it
    holds together with everybody below it, by currency.
    """

    counts: Amounts | None = None
    rejections: Amounts | None = None
    positions: Mapping[str, Amounts] | None = None
    levels: Mapping[str, Mapping[str, Amounts]] = field(default_factory=dict)


# ------------------------------------------------------------------------------ reading


def read_moment(fields: Fields) -> Moment:
    """Unix seconds as a number, or "+12": twelve seconds after the beginning of the part. Raises Mistake."""
    text = fields.value
    if isinstance(text, str) and text.startswith("+") and text[1:].isdecimal() and text.isascii():
        return Moment(int(text[1:]), relative=True)
    if isinstance(text, str):
        raise fields.mistake(f'"{text}" is neither Unix seconds nor seconds of the part like "+12"')
    return Moment(fields.integer())


def read_expectation(fields: Fields) -> Expectation | None:
    """The member `expect`: a state, or an object with more; None if it was left out. Raises Mistake."""
    if "expect" not in fields:
        return None
    told = fields.get("expect")
    if isinstance(told.value, str):
        return Expectation(state=_state(told))
    allocations = None
    if "allocations" in told:
        allocations = tuple(_allocation(pair) for pair in told.get("allocations").items())
    return Expectation(
        state=_state(told.get("state")),
        reason=told.get("reason").text() if "reason" in told else None,
        allocations=allocations,
        from_held=told.get("from_held").integer() if "from_held" in told else None,
    )


def _allocation(fields: Fields) -> tuple[str, int]:
    match fields.items():
        case [name, amount]:
            return name.text(), amount.integer()
    raise fields.mistake("an allocation is a name and an amount")


def _state(fields: Fields) -> str:
    if fields.value not in _STATES:
        raise fields.mistake(f"what is expected is one of {', '.join(_STATES)}")
    return str(fields.value)


def read_day(folder: Path, mistakes: list[Mistake]) -> tuple[Part, ...]:
    """The parts of the day. What is wrong is added to `mistakes`."""
    if not (folder / DAY).exists():
        return WHOLE_DAY
    parts: list[Part] = []
    try:
        listed = Fields(DAY, read_json(folder / DAY)).get("parts").items()
        for fields in listed:
            parts.append(_read_part(fields, [part.name for part in parts]))
    except Mistake as mistake:
        mistakes.append(mistake)
    return tuple(parts) or WHOLE_DAY


def _read_part(fields: Fields, before: list[str]) -> Part:
    name = fields.get("name")
    if name.reference() in before:
        raise name.mistake(f"there is a part {name.value!r} already")
    after = None
    if "after" in fields:
        match list(fields.get("after").members()):
            case [(earlier, seconds)] if earlier in before:
                after = (earlier, seconds.integer())
            case _:
                raise fields.get("after").mistake("it names one part before this one, and seconds")
    listed = fields.get("acts").items() if "acts" in fields else []
    acts = tuple(_read_act(item, f"{DAY} {name.value}, act {place}") for place, item in enumerate(listed, 1))
    return Part(name=name.reference(), after=after, acts=acts)


def _read_act(fields: Fields, place: str) -> Act:
    op = fields.get("op")
    try:
        kind = ActKind(op.text())
    except ValueError:
        raise op.mistake(f"an act is one of {', '.join(ActKind)}") from None
    values = {
        name: read(fields.get(name)) if required or name in fields else None
        for name, (read, required) in _FIELDS[kind].items()
    }
    return Act(
        place=place,
        kind=kind,
        platform=fields.get("platform").reference(),
        reference=fields.get("ref").reference() if kind.is_write else "",
        values=values,
        expect=read_expectation(fields) or SETTLED,
    )


def _references(fields: Fields) -> tuple[str, ...]:
    return tuple(item.reference() for item in fields.items())


def read_facts(fields: Fields) -> Facts:
    """Codes by name. Raises Mistake."""
    told = {name: code.text() for name, code in fields.members()}
    if not told.keys() <= set(FACTS):
        raise fields.mistake(f"facts are {', '.join(FACTS)}")
    facts = Facts(**told)
    try:
        facts.pack()
    except InvalidInput as error:
        raise fields.mistake(error.message) from None
    return facts


def _entries(fields: Fields) -> tuple[ScenarioEntry, ...]:
    return tuple(_entry(item) for item in fields.items())


def _entry(fields: Fields) -> ScenarioEntry:
    amounts = (
        fields.get(name).integer() if name in fields else 0 for name in ("amount_from", "amount_below")
    )
    times = (
        read_moment(fields.get(name)) if name in fields else Moment(0)
        for name in ("valid_from", "valid_until")
    )
    (amount_from, amount_below), (valid_from, valid_until) = amounts, times
    return ScenarioEntry(
        rule=fields.get("rule").reference(),
        facts=read_facts(fields.get("facts")) if "facts" in fields else NO_FACTS,
        currency=fields.get("currency").text() if "currency" in fields else "",
        amount_from=amount_from,
        amount_below=amount_below,
        valid_from=valid_from,
        valid_until=valid_until,
    )


def _anything(fields: Fields) -> Any:
    return fields.value


_Reader = tuple[Callable[[Fields], Any], bool]
_NEEDED, _OPTIONAL = True, False
_PARTICIPANT: Final[dict[str, _Reader]] = {"participant": (Fields.reference, _NEEDED)}
_VERSION: Final[dict[str, _Reader]] = {
    "rule": (Fields.reference, _NEEDED),
    "version": (Fields.integer, _NEEDED),
}
_SCHEDULE: Final[dict[str, _Reader]] = {"schedule": (Fields.integer, _NEEDED)}
_FREEZE: Final[dict[str, _Reader]] = {
    "reason": (Fields.text, _NEEDED),
    **dict.fromkeys(("order", "split", "participant", "by"), (Fields.reference, _OPTIONAL)),
}
_FIELDS: Final[dict[ActKind, dict[str, _Reader]]] = {
    ActKind.CONSENT: {**_PARTICIPANT, "granted": (Fields.boolean, _NEEDED)},
    ActKind.CAP: {"max_share_out": (Fields.integer, _NEEDED)},
    ActKind.PLACE: {**_PARTICIPANT, "below": (Fields.reference, _OPTIONAL)},
    ActKind.SUSPEND: _PARTICIPANT,
    ActKind.RESUME: _PARTICIPANT,
    ActKind.CLOSE: _PARTICIPANT,
    ActKind.HEIR: {**_PARTICIPANT, "heir": (Fields.reference, _NEEDED)},
    ActKind.RESOLVE: {**_PARTICIPANT, "currency": (Fields.text, _NEEDED)},
    ActKind.PROPOSE: _VERSION,
    ActKind.APPROVE: _VERSION,
    ActKind.VETO: {**_VERSION, "reason": (Fields.text, _NEEDED)},
    ActKind.RETIRE: {"rule": (Fields.reference, _NEEDED)},
    ActKind.FREEZE: _FREEZE,
    ActKind.UNFREEZE: _FREEZE,
    ActKind.APPROVAL_LOCK: {"rule": (Fields.reference, _NEEDED), "seconds": (Fields.integer, _NEEDED)},
    ActKind.OPEN: {
        "needed": (Fields.integer, _OPTIONAL),
        "confirmer": (Fields.reference, _OPTIONAL),
        "deadline": (read_moment, _NEEDED),
    },
    ActKind.CONFIRM: {"condition": (Fields.reference, _NEEDED), "by": (Fields.reference, _NEEDED)},
    ActKind.EXPIRY: {"orders": (_references, _NEEDED)},
    ActKind.PROPOSE_SCHEDULE: {"entries": (_entries, _NEEDED), **_SCHEDULE},
    ActKind.APPROVE_SCHEDULE: _SCHEDULE,
    ActKind.VETO_SCHEDULE: {**_SCHEDULE, "reason": (Fields.text, _NEEDED)},
    ActKind.RETIRE_SCHEDULE: {},
    ActKind.SELECT: {
        "amount": (Fields.integer, _NEEDED),
        "currency": (Fields.text, _NEEDED),
        "facts": (read_facts, _NEEDED),
        "answer": (_anything, _NEEDED),
    },
    ActKind.DIFF: {
        "rule": (Fields.reference, _NEEDED),
        "from": (Fields.integer, _NEEDED),
        "to": (Fields.integer, _NEEDED),
        "answer": (_anything, _NEEDED),
    },
    ActKind.WHAT_IF: {**_VERSION, "answer": (_anything, _NEEDED)},
}
"""What each kind of act says beside `op`, `platform`, `ref` and `expect`."""


def read_expected(folder: Path, mistakes: list[Mistake]) -> Expected:
    """What the day must come to; a folder need not say it. What is wrong is added to `mistakes`."""
    if not (folder / EXPECTED).exists():
        return Expected()
    try:
        fields = Fields(EXPECTED, read_json(folder / EXPECTED))
        return Expected(
            counts=_amounts(fields.get("counts")) if "counts" in fields else None,
            rejections=_amounts(fields.get("rejections")) if "rejections" in fields else None,
            positions=_by_name(fields.get("positions")) if "positions" in fields else None,
            levels={name: _by_name(found) for name, found in fields.get("levels").members()}
            if "levels" in fields
            else {},
        )
    except Mistake as mistake:
        mistakes.append(mistake)
        return Expected()


def _amounts(fields: Fields) -> Amounts:
    return {name: amount.integer() for name, amount in fields.members()}


def _by_name(fields: Fields) -> dict[str, Amounts]:
    return {name: _amounts(found) for name, found in fields.members()}
