"""The feed of completions: state changes in the order in which they were committed.

Ids are taken from a counter whose row the transaction keeps locked until it commits. A reader that has seen
id n will therefore never be shown an id below n later: following the feed from a cursor misses nothing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Text, cast, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.store.bulk import insert_tuples
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
    await insert_tuples(
        session,
        Completion,
        ("id", "platform_id", "instruction_seq", "state", "at"),
        [
            (first + offset, change.platform_id, change.seq, change.state.value, now)
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


@dataclass(frozen=True, slots=True)
class Told:
    """An instruction as it is now. `content` and `payload` are the JSON texts that are stored."""

    type: str
    id: bytes
    order_id: bytes | None
    state: str
    reason: dict[str, Any] | None
    accepted_at: int
    block_number: int | None
    tx_hash: bytes | None
    request_id: str | None
    content: str
    payload: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A completion with its instruction."""

    id: int
    state: str
    at: int
    instruction: Told


_ENTRY = select(
    Completion.id,
    Completion.state,
    Completion.at,
    Instruction.type,
    Instruction.id,
    Instruction.order_id,
    Instruction.state,
    Instruction.reason,
    Instruction.accepted_at,
    Instruction.block_number,
    Instruction.tx_hash,
    Instruction.request_id,
    cast(Instruction.content, Text),
    cast(Instruction.payload, Text),
).join(Instruction, Instruction.seq == Completion.instruction_seq)


async def read(session: AsyncSession, platform_id: bytes, after: int, limit: int) -> list[Entry]:
    """Up to `limit` completions of one platform after `after`."""
    query = (
        _ENTRY.where(Completion.platform_id == platform_id, Completion.id > after)
        .order_by(Completion.id)
        .limit(limit)
    )
    return [
        Entry(number, state, at, Told(*told)) for number, state, at, *told in await session.execute(query)
    ]
