"""Cycles on their way to the chain: the calls that close one, take its payouts, and report what became of them.

And suspense positions, which the same contract resolves.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.chain import clearing as calls
from fenzhang.chain.governance import resolve_call
from fenzhang.store import payloads, plans
from fenzhang.store.tables import InstructionType


async def clearing_call(session: AsyncSession, kind: InstructionType, payload: dict[str, Any]) -> bytes:
    """Calldata for ClearingHouse."""
    match kind:
        case InstructionType.RESOLVE:
            wanted = payloads.resolution_from(payload)
            return resolve_call(wanted.currency, wanted.participant)
        case InstructionType.CLOSE_CYCLE:
            return await _close(session, payloads.cycle_closing_from(payload))
        case InstructionType.TAKE:
            return await _take(session, payloads.taking_from(payload))
        case _:
            return await _report(session, payloads.reporting_from(payload))


def payouts_in(kind: InstructionType, payload: dict[str, Any]) -> int:
    """How many payouts the call of an instruction is about."""
    match kind:
        case InstructionType.TAKE:
            return int(payload["end"]) - int(payload["first"])
        case InstructionType.REPORT:
            return len(payload["outcomes"])
        case _:
            return 0


async def _close(session: AsyncSession, wanted: payloads.CycleClosing) -> bytes:
    plan = await plans.plan_with(session, wanted.plan)
    return calls.close_cycle_call(plans.cycle_of(plan), plan.bank or b"", plan.signature or b"")


async def _take(session: AsyncSession, wanted: payloads.Taking) -> bytes:
    found = await plans.payouts_between(session, wanted.plan, wanted.first, wanted.end)
    return calls.take_call(wanted.cycle_id, [each.payout for each in found], [each.proof for each in found])


async def _report(session: AsyncSession, wanted: payloads.Reporting) -> bytes:
    ids = sorted({outcome.payout_id for outcome in wanted.outcomes})
    known = await plans.payouts_with(session, wanted.plan, ids)
    found = [known[outcome.payout_id] for outcome in wanted.outcomes]
    return calls.report_call(
        wanted.cycle_id,
        wanted.outcomes,
        [each.payout for each in found],
        [each.proof for each in found],
        wanted.bank,
        wanted.signature,
    )
