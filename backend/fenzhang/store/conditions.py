"""Conditions that are on the chain: their rows, and as what the specification decides by."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.domain.conditions import Condition
from fenzhang.domain.records import NOTHING, InstructionKind
from fenzhang.store import tables
from fenzhang.store.bulk import chunks

Key = tuple[bytes, bytes]
"""Platform and condition id."""
WAITING_TYPES = frozenset(kind.name for kind in InstructionKind if kind.needs_condition)
"""Types of instructions that wait for the condition of their order."""


def condition_of(row: tables.Condition) -> Condition:
    """A condition as the mirror has it."""
    confirmer = row.confirmer or NOTHING
    return Condition(row.needed, row.deadline, confirmer, row.count, row.confirmed)


async def conditions_of(
    session: AsyncSession, platform_id: bytes, ids: Iterable[bytes]
) -> dict[bytes, tables.Condition]:
    """Those of these conditions of a platform that are on the chain, by id."""
    found: dict[bytes, tables.Condition] = {}
    for chunk in chunks(sorted(set(ids))):
        # By the id alone: SQLite would walk all conditions of the platform.
        query = select(tables.Condition).where(tables.Condition.condition_id.in_(chunk))
        rows = (await session.execute(query)).scalars()
        found |= {row.condition_id: row for row in rows if row.platform_id == platform_id}
    return found
