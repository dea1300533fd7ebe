"""Who stands above whom: a tree of at most four levels, whose positions add up from below to above."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

MAX_LEVEL = 4
"""Levels from the top (1) to the lowest, as in ParticipantRegistry."""
TOP = bytes(32)
"""The parent of whoever stands at the top."""


@dataclass(slots=True)
class Places:
    """The tree as ParticipantRegistry keeps it: whoever was never placed stands at the top."""

    parents: dict[bytes, bytes] = field(default_factory=dict)
    """Of everybody who was ever placed; TOP for nobody."""
    below: Counter[bytes] = field(default_factory=Counter)
    """How many stand directly below whom."""

    def parent_of(self, participant: bytes) -> bytes:
        """Who stands directly above, TOP for nobody."""
        return self.parents.get(participant, TOP)

    def level_of(self, participant: bytes) -> int:
        """The level from the top, 1 to MAX_LEVEL."""
        level = 1
        while (participant := self.parent_of(participant)) != TOP:
            level += 1
        return level

    def problem_of(self, participant: bytes, parent: bytes) -> str | None:
        """Why the registry would not put one below the other, None when it would. Both are enrolled."""
        if self.below[participant]:
            return "has others below it"
        if participant == parent:
            return "would stand below itself"
        if parent != TOP and self.level_of(parent) >= MAX_LEVEL:
            return f"would stand deeper than level {MAX_LEVEL}"
        return None

    def put(self, participant: bytes, parent: bytes) -> None:
        """Place `participant` directly below `parent`, or at the TOP. Ask `problem_of` before."""
        self.below[self.parent_of(participant)] -= 1
        self.below[parent] += 1
        self.parents[participant] = parent


@dataclass(slots=True)
class Rung:
    """One participant in the tree, with what it holds itself and together with all below it."""

    participant: bytes
    parent: bytes
    level: int
    below: int = 0
    """Participants below it, on all levels."""
    own: dict[str, int] = field(default_factory=dict)
    """Position by currency, minor units."""
    together: dict[str, int] = field(default_factory=dict)
    """Its position and those of all below it, by currency."""


def roll_up(parents: Mapping[bytes, bytes], positions: Mapping[tuple[bytes, str], int]) -> list[Rung]:
    """The tree with positions added up from below, each participant before those below it.

    Args:
        parents: who stands directly above each participant, TOP for nobody. A parent that is not among the
            participants counts as nobody.
        positions: by participant and currency, minor units; of participants only.
    """
    children: dict[bytes, list[bytes]] = {}
    for participant, parent in parents.items():
        children.setdefault(parent if parent in parents else TOP, []).append(participant)
    rungs = {rung.participant: rung for rung in _walk(children, TOP, 1)}
    for (participant, currency), amount in positions.items():
        rungs[participant].own[currency] = amount
    for rung in reversed(rungs.values()):
        _add(rung.together, rung.own.items())
        above = rungs.get(rung.parent)
        if above is not None:
            above.below += 1 + rung.below
            _add(above.together, rung.together.items())
    return list(rungs.values())


def _walk(children: Mapping[bytes, Iterable[bytes]], parent: bytes, level: int) -> Iterator[Rung]:
    for participant in children.get(parent, ()):
        yield Rung(participant, parent, level)
        yield from _walk(children, participant, level + 1)


def _add(sums: dict[str, int], amounts: Iterable[tuple[str, int]]) -> None:
    for currency, amount in amounts:
        sums[currency] = sums.get(currency, 0) + amount
