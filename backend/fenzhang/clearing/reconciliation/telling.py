"""Breaks as people ask for them: which there are, how old they are, and all that is known about one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.clearing.reconciliation import breaks, corrections
from fenzhang.clearing.reconciliation.model import KINDS
from fenzhang.domain.errors import InvalidInput
from fenzhang.store.reconciliationtables import (
    Break,
    BreakEvent,
    BreakState,
    Comparison,
    Correction,
    Owner,
    StatementLineRow,
)

_LINES = 100


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which breaks are asked for. Without a state, those that are not resolved."""

    state: BreakState | None = None
    kind: str | None = None
    comparison: Comparison | None = None
    owner: Owner | None = None
    currency: str | None = None

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in KINDS:
            raise InvalidInput("kind", f"one of {', '.join(KINDS)}")


@dataclass(frozen=True, slots=True)
class Page:
    """Some breaks, the oldest first; `next` is where the next page begins, None on the last."""

    breaks: Sequence[Break]
    next: int | None


@dataclass(frozen=True, slots=True)
class Told:
    """A break with what happened to it, what makes up for it, and the first of the statement lines in it."""

    row: Break
    events: Sequence[BreakEvent]
    corrections: Sequence[Correction]
    lines: Sequence[StatementLineRow]


@dataclass(frozen=True, slots=True)
class Count:
    """Breaks of a kind that are not resolved. Ages are Unix seconds of when the oldest was first seen."""

    kind: str
    owner: str
    currency: str | None
    count: int
    amount: int | None
    """Sum of the amounts, None where there are none."""
    oldest: int


async def page(session: AsyncSession, wanted: Wanted, after: int = 0, limit: int = 100) -> Page:
    """Breaks behind the number `after`."""
    query = select(Break).where(Break.id > after)
    if wanted.state is None:
        query = query.where(Break.state != BreakState.RESOLVED)
    for column, value in (
        (Break.state, wanted.state),
        (Break.kind, wanted.kind),
        (Break.comparison, wanted.comparison),
        (Break.owner, wanted.owner),
        (Break.currency, wanted.currency),
    ):
        if value is not None:
            query = query.where(column == value)
    rows = (await session.execute(query.order_by(Break.id).limit(limit + 1))).scalars().all()
    return Page(rows[:limit], rows[limit - 1].id if len(rows) > limit else None)


async def told(session: AsyncSession, number: int) -> Told:
    """All about a break. Raises UnknownBreak."""
    row = await breaks.get(session, number)
    events = select(BreakEvent).where(BreakEvent.break_id == number).order_by(BreakEvent.id)
    lines = select(StatementLineRow).where(StatementLineRow.break_id == number)
    return Told(
        row,
        (await session.execute(events)).scalars().all(),
        await corrections.of(session, number),
        (await session.execute(lines.order_by(StatementLineRow.id).limit(_LINES))).scalars().all(),
    )


async def counts(session: AsyncSession) -> list[Count]:
    """Breaks that are not resolved, by kind, owner and currency."""
    query = select(Break.kind, Break.owner, Break.currency, Break.amount, Break.first_seen).where(
        Break.state != BreakState.RESOLVED
    )
    found: dict[tuple[str, str, str | None], Count] = {}
    for kind, owner, currency, amount, first in await session.execute(query):
        key = (kind, owner, currency)
        known = found.get(key, Count(*key, 0, None, first))
        total = known.amount if amount is None else (known.amount or 0) + amount
        found[key] = Count(*key, known.count + 1, total, min(known.oldest, first))
    return sorted(found.values(), key=lambda each: (each.kind, each.owner, each.currency or ""))


async def open_count(session: AsyncSession) -> int:
    """How many breaks are OPEN: nobody said what they are."""
    query = select(func.count()).select_from(Break).where(Break.state == BreakState.OPEN)
    return (await session.execute(query)).scalar_one()
