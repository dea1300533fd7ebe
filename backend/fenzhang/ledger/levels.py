"""A platform's participants as a tree, with positions that add up from below to above."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.domain.places import TOP, Rung, roll_up
from fenzhang.ledger.balances import position
from fenzhang.store.tables import Participant


@dataclass(frozen=True, slots=True)
class LevelSums:
    """Everybody on a level: how many they are, and what they hold themselves by currency, minor units."""

    level: int
    participants: int
    positions: dict[str, int]


@dataclass(frozen=True, slots=True)
class Ladder:
    """All participants of a platform, each before those below it, and their references by id."""

    rungs: list[Rung]
    references: dict[bytes, str]

    def levels(self) -> list[LevelSums]:
        """The sums per level, from the top."""
        found: dict[int, LevelSums] = {}
        for rung in self.rungs:
            sums = found.get(rung.level, LevelSums(rung.level, 0, {}))
            for currency, amount in rung.own.items():
                sums.positions[currency] = sums.positions.get(currency, 0) + amount
            found[rung.level] = LevelSums(rung.level, sums.participants + 1, sums.positions)
        return [found[level] for level in sorted(found)]

    def directly_below(self, parent: bytes) -> list[Rung]:
        """Who stands directly below a participant, or with TOP at the top, by reference."""
        return sorted(
            (rung for rung in self.rungs if rung.parent == parent),
            key=lambda rung: self.references[rung.participant],
        )


async def ladder(session: AsyncSession, platform_id: bytes, block_number: int | None = None) -> Ladder:
    """The tree of a platform's participants as the chain has it now, with positions.

    With `block_number`, positions at the end of that block. The queries must see the same state (`freeze`).
    """
    query = select(Participant.id, Participant.parent_id, Participant.reference).where(
        Participant.platform_id == platform_id
    )
    rows = (await session.execute(query)).all()
    amounts = await position(session, [row.id for row in rows], block_number)
    parents = {row.id: row.parent_id or TOP for row in rows}
    return Ladder(roll_up(parents, amounts), {row.id: row.reference for row in rows})
