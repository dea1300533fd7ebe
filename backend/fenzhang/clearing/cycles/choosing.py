"""Which cycle of a scheme is to be closed next, by the chain's time alone.

A cycle is ready when its cut-off has passed on the chain and its payouts are due, both told by a block that is deep
enough below the newest one. Cycles without members are passed over; only the newest ready one is looked at anyway, for
what was carried forward.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any

from sqlalchemy import and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.clearing.cycles.facts import Membership
from fenzhang.domain.calendar import FIRST_MOMENT, Cycle, SettlementCalendar, first_moment
from fenzhang.domain.records import RecordKind
from fenzhang.ledger.moments import first_block_from, newest_block
from fenzhang.store.clearingtables import CycleRow, PayoutRow
from fenzhang.store.cycletables import CyclePlan, PlanState
from fenzhang.store.tables import Account, AccountKind, Block, Order, Participant, Posting, Record


@dataclass(frozen=True, slots=True)
class Deep:
    """A block that no reorganisation reaches, and its Unix time."""

    number: int
    time: int


@dataclass(frozen=True, slots=True)
class Ready:
    """A cycle of the calendar that may be closed, and its last block."""

    cycle: Cycle
    to_block: int


async def deep_block(session: AsyncSession, depth: int) -> Deep | None:
    """The block `depth` below the newest mirrored one, or the last before it that is remembered."""
    newest = await newest_block(session)
    query = select(Block.number, Block.timestamp).where(Block.number <= newest.block_number - depth)
    found = (await session.execute(query.order_by(Block.number.desc()).limit(1))).first()
    return None if found is None else Deep(found.number, found.timestamp)


async def is_busy(session: AsyncSession, currency: str, deep: Deep) -> bool:
    """Whether a cycle of a currency is under way: ours, or one that somebody else planned and that is not all taken.

    Only `deep` counts: what was netted is not to change any more.
    """
    standing = select(CyclePlan.id).where(
        CyclePlan.currency == currency,
        CyclePlan.state.in_([PlanState.PLANNED.value, PlanState.SIGNED.value]),
    )
    if (await session.execute(standing.limit(1))).scalar() is not None:
        return True
    decided = select(func.count()).where(PayoutRow.cycle_id == CycleRow.cycle_id).scalar_subquery()
    last = select(CycleRow.cycle_id, CycleRow.block_number, CycleRow.payouts, decided.label("decided"))
    last = last.where(CycleRow.currency == currency).order_by(CycleRow.block_number.desc()).limit(1)
    found = (await session.execute(last)).first()
    return found is not None and (found.decided < found.payouts or found.block_number > deep.number)


async def ready(
    session: AsyncSession, calendar: SettlementCalendar, member: Membership, after: int, deep: Deep
) -> AsyncIterator[Ready]:
    """Cycles that may be closed: those with members in blocks behind `after`, the oldest first, then the newest one."""
    last = newest_ready(calendar, deep.time)
    if last is None:
        return
    block: int | None = after
    while block is not None and (found := await _next_member(session, member, block)) is not None:
        cycle = calendar.cycle_of(max(found.time, FIRST_MOMENT))
        if cycle.closes > last.closes:
            break
        block = await _last_block(session, cycle)
        if cycle.closes < last.closes:
            yield Ready(cycle, block)
    to_block = await _last_block(session, last)
    if to_block > after:
        yield Ready(last, to_block)


def newest_ready(calendar: SettlementCalendar, now: int) -> Cycle | None:
    """The newest cycle that has closed and is due at `now`, None if there is none."""

    def is_ready(moment: int) -> bool:
        cycle = calendar.cycle_of(moment)
        return cycle.closes <= now and (calendar.terms.lag == 0 or _beginning(calendar, cycle) <= now)

    # Cycles become due in their order, so there is one place where those that are ready end.
    back = 1
    while now - back > FIRST_MOMENT and not is_ready(now - back):
        back *= 2
    low, high = now - back, now
    if low <= FIRST_MOMENT:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if is_ready(middle) else (low, middle)
    return calendar.cycle_of(low)


def _beginning(calendar: SettlementCalendar, cycle: Cycle) -> int:
    """The first moment of the day on which a cycle is due."""
    return first_moment(datetime.combine(cycle.due, time.min), calendar.terms.zone)


async def _last_block(session: AsyncSession, cycle: Cycle) -> int:
    behind = await first_block_from(session, cycle.closes)
    if behind is None:
        raise AssertionError("a block at or after the cut-off was there a moment ago")
    return behind - 1


async def _next_member(session: AsyncSession, member: Membership, after: int) -> Deep | None:
    """The first block behind `after` in which something of the scheme was posted to a position."""
    platform = func.coalesce(Order.platform_id, Participant.platform_id)
    number: Any = (
        select(func.min(Posting.block_number))
        .select_from(Posting)
        .join(
            Account,
            or_(Account.id == Posting.credit_account_id, Account.id == Posting.debit_account_id),
        )
        .join(Record, Record.id == Posting.record_id)
        .outerjoin(Order, Order.order_id == Record.order_id)
        .outerjoin(
            Participant, and_(Participant.id == Record.instruction_id, Record.kind == RecordKind.RESOLUTION)
        )
        .where(
            Account.kind == AccountKind.RECIPIENT_PAYABLE.value,
            Account.currency == member.currency,
            Record.block_number > after,
            Record.canonical.is_(True),
            Record.cycle_id.is_(None),
            member.has(platform),
        )
    ).scalar_subquery()
    query = select(Block.number, Block.timestamp).where(Block.number == number)
    found = (await session.execute(query)).first()
    return None if found is None else Deep(found.number, found.timestamp)
