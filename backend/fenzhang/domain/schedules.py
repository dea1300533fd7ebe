"""A schedule: which of a platform's rules applies to which orders. The readable twin of libraries/Schedules.sol.

Precedence is total. An entry that states more criteria stands before one that states fewer; of two that state equally
many, the one with the weightier first criterion in which they differ (CRITERIA, the weightiest first). Two entries that
state the same criteria never match the same order, and the last entry states nothing: so exactly one is selected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fenzhang.domain.errors import InvalidSchedule
from fenzhang.domain.facts import FACTS, codes_of
from fenzhang.domain.records import NOTHING

SCHEDULE = b"schedule".ljust(32, b"\0")
"""The rule id under which versions of schedules stand on chain. No rule has it."""
MAX_ENTRIES = 64
CRITERIA = (*FACTS, "currency", "amount", "time")
"""What an entry may state, the weightiest first."""


@dataclass(frozen=True, slots=True)
class Entry:
    """The orders of which `rule_id` (32 bytes) is the rule. A criterion that is zero or empty states nothing.

    `facts` is a word of codes as Facts.pack makes it. Amounts are minor units, times Unix seconds of the capture; a
    range begins with its first value and ends before its last, and an end of 0 is none.
    """

    rule_id: bytes
    facts: bytes = NOTHING
    currency: str = ""
    amount_from: int = 0
    amount_below: int = 0
    valid_from: int = 0
    valid_until: int = 0

    @property
    def criteria(self) -> tuple[str, ...]:
        """Which criteria it states, in the order of CRITERIA."""
        stated = (
            *map(any, codes_of(self.facts)),
            self.currency,
            self.amount_from or self.amount_below,
            self.valid_from or self.valid_until,
        )
        return tuple(name for name, states in zip(CRITERIA, stated, strict=True) if states)

    def matches(self, facts: bytes, currency: str, amount: int, now: int) -> bool:
        """Whether an order meets all that it states."""
        pairs = zip(codes_of(self.facts), codes_of(facts), strict=True)
        return (
            all(code == stated for stated, code in pairs if any(stated))
            and self.currency in {"", currency}
            and _within(self.amount_from, self.amount_below, amount)
            and _within(self.valid_from, self.valid_until, now)
        )

    def may_meet(self, other: Entry) -> bool:
        """Whether one order could match both of two entries that state the same criteria."""
        return (
            (self.facts, self.currency) == (other.facts, other.currency)
            and _meet((self.amount_from, self.amount_below), (other.amount_from, other.amount_below))
            and _meet((self.valid_from, self.valid_until), (other.valid_from, other.valid_until))
        )


@dataclass(frozen=True, slots=True)
class Selection:
    """The entry that an order is of, and its place in the schedule. It won by what it states: `entry.criteria`."""

    index: int
    entry: Entry


def precedence(entry: Entry) -> tuple[int, ...]:
    """Sorts entries: the most specific first."""
    criteria = entry.criteria
    return (-len(criteria), *map(CRITERIA.index, criteria))


def validate(entries: Sequence[Entry]) -> None:
    """Check that `entries` is a schedule: in order of precedence, without ties, the last one stating nothing.

    Raises InvalidSchedule naming the first offending entry.
    """
    if not 1 <= len(entries) <= MAX_ENTRIES:
        raise InvalidSchedule(-1, f"a schedule has 1 to {MAX_ENTRIES} entries, not {len(entries)}")
    for index, entry in enumerate(entries):
        _validate_values(index, entry)
        rank = precedence(entry)
        if index and rank < precedence(entries[index - 1]):
            raise InvalidSchedule(index, "stands behind a less specific entry")
        for earlier in range(index - 1, -1, -1):
            if precedence(entries[earlier]) != rank:
                break
            if entry.may_meet(entries[earlier]):
                raise InvalidSchedule(index, f"an order could match it as well as entry {earlier}")
    if entries[-1].criteria:
        raise InvalidSchedule(
            len(entries) - 1, "the last entry states nothing, so that every order has a rule"
        )


def select(entries: Sequence[Entry], facts: bytes, currency: str, amount: int, now: int) -> Selection | None:
    """The entry of a schedule that an order captured at `now` is of: the first that matches.

    None only for what is no schedule, which no contract would have taken.
    """
    found = (
        Selection(index, entry)
        for index, entry in enumerate(entries)
        if entry.matches(facts, currency, amount, now)
    )
    return next(found, None)


def _within(start: int, end: int, value: int) -> bool:
    return start <= value and (not end or value < end)


def _meet(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two ranges have something in common: then the later start is in both."""
    start = max(one[0], other[0])
    return _within(*one, start) and _within(*other, start)


def _validate_values(index: int, entry: Entry) -> None:
    for code in codes_of(entry.facts):
        if not code.isascii() or 0 in code.rstrip(b"\0"):
            raise InvalidSchedule(index, "codes are ASCII, left aligned")
    if 0 < entry.amount_below <= entry.amount_from:
        raise InvalidSchedule(index, f"no amount is from {entry.amount_from} and below {entry.amount_below}")
    if 0 < entry.valid_until <= entry.valid_from:
        raise InvalidSchedule(index, f"no time is from {entry.valid_from} and before {entry.valid_until}")
    if not any(entry.rule_id) or entry.rule_id == SCHEDULE:
        raise InvalidSchedule(index, "an entry names a rule")
