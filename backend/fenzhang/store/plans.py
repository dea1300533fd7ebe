"""Plans of cycles as what goes to the chain: the cycle that was signed, and payouts with their proofs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.domain.clearing import Cycle, Payout
from fenzhang.store.bulk import chunks
from fenzhang.store.cycletables import CyclePlan, PlannedPayout

_WORD = 32


@dataclass(frozen=True, slots=True)
class ProvenPayout:
    """A payout, its id, and its path to the cycle's payout root."""

    id: bytes
    payout: Payout
    proof: tuple[bytes, ...]


def cycle_of(plan: CyclePlan) -> Cycle:
    """What the bank signs of a plan."""
    return Cycle(
        currency=plan.currency,
        scheme=plan.scheme,
        number=plan.number,
        to_block=plan.to_block,
        at_block=plan.at_block,
        payouts=plan.payouts,
        total=plan.total,
        payout_root=plan.payout_root,
        bill_root=plan.bill_root,
        journal_head=plan.journal_head,
        deadline=plan.deadline,
    )


async def plan_with(session: AsyncSession, plan_id: int) -> CyclePlan:
    """The plan with this number, which is there."""
    return (await session.execute(select(CyclePlan).where(CyclePlan.id == plan_id))).scalar_one()


async def payouts_between(session: AsyncSession, plan_id: int, first: int, end: int) -> list[ProvenPayout]:
    """Payouts of a plan with the indices from `first` to before `end`, in their order."""
    query = _payouts(plan_id).where(PlannedPayout.index >= first, PlannedPayout.index < end)
    return [_proven(*row) for row in await session.execute(query.order_by(PlannedPayout.index))]


async def payouts_with(
    session: AsyncSession, plan_id: int, payout_ids: Sequence[bytes]
) -> dict[bytes, ProvenPayout]:
    """Those of a plan with these ids."""
    found: dict[bytes, ProvenPayout] = {}
    for chunk in chunks(payout_ids):
        query = _payouts(plan_id).where(PlannedPayout.payout_id.in_(chunk))
        found |= {row.payout_id: _proven(*row) for row in await session.execute(query)}
    return found


def split_proof(joined: bytes) -> tuple[bytes, ...]:
    """A stored proof as its siblings."""
    return tuple(joined[start : start + _WORD] for start in range(0, len(joined), _WORD))


def _payouts(plan_id: int) -> Select[bytes | None, int | None, bytes, int, bytes | None]:
    return select(
        PlannedPayout.payout_id,
        PlannedPayout.index,
        PlannedPayout.participant_id,
        PlannedPayout.amount,
        PlannedPayout.proof,
    ).where(PlannedPayout.plan_id == plan_id, PlannedPayout.index.is_not(None))


def _proven(
    payout_id: bytes | None, index: int | None, participant: bytes, amount: int, proof: bytes | None
) -> ProvenPayout:
    if payout_id is None or index is None or proof is None:
        raise ValueError("a planned payout has an index, an id and a proof")
    return ProvenPayout(payout_id, Payout(index, participant, amount), split_proof(proof))
