"""A platform's participants as a tree, with positions that add up from below to above."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """Everybody on a level: how many, and what they hold themselves by currency."""

    level: int
    participants: int
    positions: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """A participant in the tree: what it holds itself (`own`), and together with the `below` participants below it."""

    out_participant_no: str
    participant_id: str
    level: int
    below: int
    own: Mapping[str, int]
    together: Mapping[str, int]
    out_parent_no: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """Sums per level, and those directly below `above`, None for those at the top. `next` is the cursor of a page."""

    levels: tuple[Level, ...]
    participants: tuple[Rung, ...]
    block_number: int
    above: Rung | None = None
    block_time: int | None = None
    next: str | None = None
