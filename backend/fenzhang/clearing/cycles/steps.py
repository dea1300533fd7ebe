"""From a plan to payouts in transit: it is signed, the cycle is closed, its payouts are taken. Or it is void.

Each step reads how far the cycle has come and does what comes next, in one transaction; done twice it does nothing.
Functions with a session do not commit.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from sqlalchemy import and_, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.clearing.banks.interface import Refused
from fenzhang.clearing.banks.signatory import Signed
from fenzhang.clearing.cycles import anchoring
from fenzhang.clearing.cycles.choosing import Deep
from fenzhang.clearing.cycles.queueing import asked, is_open, queue
from fenzhang.domain.clearing import Payout
from fenzhang.domain.records import RecordKind
from fenzhang.store import payloads
from fenzhang.store.clearingtables import CycleRow, PayoutRow, PayoutRowState
from fenzhang.store.cycletables import CyclePlan, PlannedPayout, PlanState
from fenzhang.store.tables import InstructionType, Record

log = logging.getLogger("fenzhang.clearing")
_STANDING = (PlanState.PLANNED.value, PlanState.SIGNED.value)


async def standing(session: AsyncSession) -> bool:
    """Whether any plan is on its way."""
    query = select(CyclePlan.id).where(CyclePlan.state.in_(_STANDING)).limit(1)
    return (await session.execute(query)).scalar() is not None


async def unsigned(session: AsyncSession) -> Sequence[CyclePlan]:
    """Plans that wait for the bank's signature."""
    query = select(CyclePlan).where(CyclePlan.state == PlanState.PLANNED.value).order_by(CyclePlan.id)
    return (await session.execute(query)).scalars().all()


async def payouts_of(session: AsyncSession, plan_id: int) -> list[Payout]:
    """What a plan pays, in order of indices."""
    query = (
        select(PlannedPayout.index, PlannedPayout.participant_id, PlannedPayout.amount)
        .where(PlannedPayout.plan_id == plan_id, PlannedPayout.index.is_not(None))
        .order_by(PlannedPayout.index)
    )
    return [Payout(index or 0, owner, amount) for index, owner, amount in await session.execute(query)]


async def keep_answer(session: AsyncSession, plan_id: int, answer: Signed | Refused) -> None:
    """Store what the bank said of a plan; with a signature the cycle is to be closed."""
    planned = (CyclePlan.id == plan_id, CyclePlan.state == PlanState.PLANNED.value)
    query = select(CyclePlan).where(*planned).with_for_update()
    plan = (await session.execute(query)).scalar_one_or_none()
    if plan is None:
        return  # somebody else kept an answer, or it is void
    if isinstance(answer, Refused):
        plan.refusal = answer.reason
        log.error("the clearing bank does not sign %s: %s", _name(plan), answer.reason)
        return
    plan.state, plan.refusal = PlanState.SIGNED.value, None
    plan.bank, plan.signature = answer.bank, answer.signature
    closing = payloads.CycleClosing(plan.id, plan.cycle_id)
    await queue(session, InstructionType.CLOSE_CYCLE, plan, "close", closing)


async def give_up(session: AsyncSession, deep: Deep) -> int:
    """Plans that can never be closed are void; how many: the deadline passed on the chain, or it has another cycle."""
    query = (
        select(CyclePlan, CycleRow.payout_root)
        .outerjoin(CycleRow, CycleRow.cycle_id == CyclePlan.cycle_id)
        .where(
            CyclePlan.state.in_(_STANDING),
            or_(
                and_(CycleRow.cycle_id.is_(None), CyclePlan.deadline < deep.time),
                and_(CycleRow.block_number <= deep.number, CycleRow.payout_root != CyclePlan.payout_root),
            ),
        )
    )
    found: Any = (await session.execute(query)).all()
    for plan, other in found:
        why = "was not closed before its deadline" if other is None else "was closed with other payouts"
        log.error("%s %s; what it was to do is planned anew", _name(plan), why)
        await anchoring.release(session, plan.id)
        plan.state = PlanState.VOID.value
    await session.flush()
    return len(found)


async def closed(session: AsyncSession) -> Sequence[CyclePlan]:
    """Plans whose cycle is closed on the chain, and whose payouts are not known to have all been taken for good."""
    query = (
        select(CyclePlan)
        .join(
            CycleRow,
            and_(CycleRow.cycle_id == CyclePlan.cycle_id, CycleRow.payout_root == CyclePlan.payout_root),
        )
        .where(CyclePlan.state == PlanState.SIGNED.value)
    )
    return (await session.execute(query.order_by(CyclePlan.id))).scalars().all()


async def go_on(session: AsyncSession, plan: CyclePlan, deep: Deep, chunk: int) -> bool:
    """Ask for the payouts of a closed cycle that nobody has taken, or see that all were. Whether anything changed."""
    undecided = await _undecided(session, plan)
    if undecided:
        return await _queue_takes(session, plan, undecided, chunk)
    taken = select(func.max(Record.block_number)).where(
        Record.cycle_id == plan.cycle_id, Record.kind == RecordKind.PAYOUT, Record.canonical.is_(True)
    )
    refused = select(func.max(PayoutRow.block_number)).where(
        PayoutRow.cycle_id == plan.cycle_id, PayoutRow.state == PayoutRowState.REFUSED.value
    )
    closing = select(CycleRow.block_number).where(CycleRow.cycle_id == plan.cycle_id)
    blocks = [(await session.execute(query)).scalar() or 0 for query in (taken, refused, closing)]
    if max(blocks) > deep.number:
        return False
    await session.execute(
        update(CyclePlan).where(CyclePlan.id == plan.id).values(state=PlanState.TAKEN.value)
    )
    return True


async def _undecided(session: AsyncSession, plan: CyclePlan) -> list[int]:
    """Indices of payouts that were neither taken nor refused."""
    query = (
        select(PlannedPayout.index)
        .outerjoin(PayoutRow, PayoutRow.payout_id == PlannedPayout.payout_id)
        .where(
            PlannedPayout.plan_id == plan.id,
            PlannedPayout.index.is_not(None),
            PayoutRow.payout_id.is_(None),
        )
    )
    return [index or 0 for index in (await session.execute(query)).scalars()]


async def _queue_takes(session: AsyncSession, plan: CyclePlan, undecided: Sequence[int], chunk: int) -> bool:
    before = await asked(session, InstructionType.TAKE, plan.cycle_id)
    if any(is_open(each) for each in before):
        return False
    for number in sorted({index // chunk for index in undecided}):
        first = number * chunk
        taking = payloads.Taking(plan.id, plan.cycle_id, first, min(first + chunk, plan.payouts))
        # Those that failed before keep their references.
        await queue(session, InstructionType.TAKE, plan, f"take.{len(before)}.{first}", taking)
    return True


def _name(plan: CyclePlan) -> str:
    return f"cycle {plan.currency} {plan.scheme} {plan.number}"
