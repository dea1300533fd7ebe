"""Answer of `/v1/levels`."""

from __future__ import annotations

from pydantic import BaseModel

from fenzhang.api.schemas.ledger import BLOCK_NUMBER, BLOCK_TIME, Sum


class LevelAnswer(BaseModel):
    """Everybody on a level of the tree: how many, and what they hold themselves by currency, minor units."""

    level: int
    participants: int
    positions: dict[str, Sum]


class RungAnswer(BaseModel):
    """A participant in the tree: what it holds itself, and together with all below it, by currency, minor units.

    `below` is how many those are, on all levels. `out_parent_no` is null at the top.
    """

    out_participant_no: str
    participant_id: str
    out_parent_no: str | None
    level: int
    below: int
    own: dict[str, Sum]
    together: dict[str, Sum]


class LevelsAnswer(BaseModel):
    """The platform's tree: sums per level, and a page of those directly below `above` (null: those at the top)."""

    levels: list[LevelAnswer]
    above: RungAnswer | None
    participants: list[RungAnswer]
    next: str | None
    block_number: int = BLOCK_NUMBER
    block_time: int | None = BLOCK_TIME
