"""Splits and releases that wait for the condition of their order, and when it is their turn.

The chain would skip them, which does no harm and costs a transaction each time. So they stay in the queue until the
mirror has read that the condition is reached or missed, or until captures that go out now are going to complete it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.domain.conditions import Condition
from fenzhang.domain.records import Capture
from fenzhang.store import tables
from fenzhang.store.blocks import newest_time
from fenzhang.store.bulk import chunks
from fenzhang.store.conditions import WAITING_TYPES, Key, condition_of
from fenzhang.store.tables import Instruction, Order

_ACCEPTED = text("instructions.state = 'ACCEPTED'")
_NOT_REACHED = text("NOT conditions.reached")


@dataclass(frozen=True, slots=True)
class OpenConditions:
    """Conditions that are open by the newest mirrored block, and captured orders whose instructions wait for them."""

    by_key: dict[Key, Condition] = field(default_factory=dict)
    orders: dict[bytes, Key] = field(default_factory=dict)

    def key_of(self, capture: Capture) -> Key | None:
        """The open condition of an order, None if nothing keeps it."""
        key = (capture.platform, capture.condition)
        return key if key in self.by_key else None

    def waits(self, kind: str, order_id: bytes | None) -> bool:
        """Whether an instruction of this type on a captured order waits."""
        return kind in WAITING_TYPES and order_id in self.orders

    def completed_by(self, captures: Collection[Capture]) -> set[Key]:
        """Conditions that these captures reach if all of them settle in time."""
        further: dict[Key, int] = {}
        for capture in captures:
            key = self.key_of(capture)
            if key is not None:
                further[key] = further.get(key, 0) + 1
        return {key for key, count in further.items() if self.by_key[key].may_reach(count)}


async def load_open(session: AsyncSession) -> OpenConditions:
    """Read what is open now."""
    now = await newest_time(session)
    query = select(tables.Condition).where(_NOT_REACHED, tables.Condition.deadline >= now)
    rows = (await session.execute(query)).scalars()
    by_key = {(row.platform_id, row.condition_id): condition_of(row) for row in rows}
    found = OpenConditions(by_key)
    for chunk in chunks(sorted({condition_id for _, condition_id in by_key})):
        waiting = (
            select(Order.order_id, Order.platform_id, Order.condition_id)
            .join(Instruction, Instruction.order_id == Order.order_id)
            .where(_ACCEPTED, Instruction.type.in_(WAITING_TYPES), Order.condition_id.in_(chunk))
        )
        for row in await session.execute(waiting):
            key = (row.platform_id, row.condition_id or b"")
            if key in by_key:
                found.orders[row.order_id] = key
    return found
