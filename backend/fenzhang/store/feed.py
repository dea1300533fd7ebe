"""The feed of completions: state changes in the order in which they were committed.

Ids are taken from a counter whose row the transaction keeps locked until it commits. A reader that has seen
id n will therefore never be shown an id below n later: following the feed from a cursor misses nothing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.store.tables import Completion, Instruction, InstructionState

_COUNTER = "completions"
_TAKE_IDS = text(
    "INSERT INTO counters (name, value) VALUES (:name, :count) "
    "ON CONFLICT (name) DO UPDATE SET value = counters.value + excluded.value RETURNING value"
)


@dataclass(frozen=True, slots=True)
class Change:
    """The instruction `seq` of a platform reached `state`."""

    platform_id: bytes
    seq: int
    state: InstructionState


async def append(session: AsyncSession, changes: Sequence[Change]) -> None:
    """Append `changes` in order. Locks the counter until the transaction ends, so call it late in it."""
    if not changes:
        return
    last: int = (await session.execute(_TAKE_IDS, {"name": _COUNTER, "count": len(changes)})).scalar_one()
    first = last - len(changes) + 1
    now = int(time.time())
    await session.execute(
        insert(Completion),
        [
            {
                "id": first + offset,
                "platform_id": change.platform_id,
                "instruction_seq": change.seq,
                "state": change.state,
                "at": now,
            }
            for offset, change in enumerate(changes)
        ],
    )


async def last_id(session: AsyncSession) -> int:
    """Id of the newest completion, 0 when there is none."""
    return (await session.execute(select(func.max(Completion.id)))).scalar() or 0


async def read_ids(session: AsyncSession, after: int, limit: int) -> Sequence[tuple[int, bytes, int]]:
    """(id, platform id, instruction seq) of up to `limit` completions of all platforms after `after`."""
    query = (
        select(Completion.id, Completion.platform_id, Completion.instruction_seq)
        .where(Completion.id > after)
        .order_by(Completion.id)
        .limit(limit)
    )
    return [(row[0], row[1], row[2]) for row in await session.execute(query)]


async def read(
    session: AsyncSession, platform_id: bytes, after: int, limit: int
) -> Sequence[tuple[Completion, Instruction]]:
    """Up to `limit` completions of one platform after `after`, each with its instruction as it is now."""
    query = (
        select(Completion, Instruction)
        .join(Instruction, Instruction.seq == Completion.instruction_seq)
        .where(Completion.platform_id == platform_id, Completion.id > after)
        .order_by(Completion.id)
        .limit(limit)
    )
    return [(row[0], row[1]) for row in await session.execute(query)]
