"""Conditions as rows: opened by an event, and with each later one brought to what it says.

Events carry the count of orders as a whole. So after a reorganisation the rows are read anew from the contracts, as
those of participants are, and reading on from the common ancestor sets the same values again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.chain.events import (
    ConditionConfirmed,
    ConditionEvent,
    ConditionJoined,
    ConditionOpened,
    ConditionReached,
)
from fenzhang.chain.views import ChainView
from fenzhang.domain.conditions import Condition
from fenzhang.domain.records import NOTHING
from fenzhang.store import tables
from fenzhang.store.conditions import Key

_LATEST = 2**63 - 1
"""Deadlines beyond it are stored as it; the chain's clock reaches neither."""


async def follow_conditions(session: AsyncSession, events: Sequence[object]) -> None:
    """Write what the events about conditions changed."""
    changes: defaultdict[Key, dict[str, Any]] = defaultdict(dict)
    for event in events:
        if not isinstance(event, ConditionEvent):
            continue
        key = (event.platform, event.condition_id)
        match event:
            case ConditionOpened():
                session.add(_row(event))
            case ConditionJoined():
                changes[key]["count"] = event.count
            case ConditionConfirmed():
                changes[key]["confirmed"] = True
            case ConditionReached():
                changes[key]["reached"] = True
    await session.flush()
    for key, values in changes.items():
        await _write(session, key, values)


def _row(event: ConditionOpened) -> tables.Condition:
    return tables.Condition(
        condition_id=event.condition_id,
        platform_id=event.platform,
        needed=event.needed,
        deadline=min(event.deadline, _LATEST),
        confirmer=None if event.confirmer == NOTHING else event.confirmer,
        count=0,
        confirmed=False,
        reached=False,
        block_number=event.at.block_number,
    )


async def look_up_conditions(session: AsyncSession, view: ChainView) -> dict[Key, Condition]:
    """What the contracts say of every condition of the database. Raises NodeUnavailable, RpcError."""
    query = select(tables.Condition.platform_id, tables.Condition.condition_id)
    keys = [(row.platform_id, row.condition_id) for row in await session.execute(query)]
    return dict(zip(keys, await view.conditions_of(keys), strict=True))


async def rewind_conditions(session: AsyncSession, ancestor: int, standing: dict[Key, Condition]) -> None:
    """Undo what blocks above `ancestor` opened; the others become what `standing` says."""
    await session.execute(delete(tables.Condition).where(tables.Condition.block_number > ancestor))
    for key, found in standing.items():
        values = {"count": found.count, "confirmed": found.confirmed, "reached": found.is_reached}
        await _write(session, key, values)


async def _write(session: AsyncSession, key: Key, values: dict[str, Any]) -> None:
    platform, condition_id = key
    await session.execute(
        update(tables.Condition)
        .where(tables.Condition.condition_id == condition_id, tables.Condition.platform_id == platform)
        .values(values)
    )
