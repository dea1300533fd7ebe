"""A cycle is planned: what it pays is netted, and stored with everything that is to be signed, in one transaction."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.chain.clearing import cycle_id, payout_id
from fenzhang.chain.evidence import merkle_proofs, merkle_root
from fenzhang.clearing.cycles import anchoring, facts
from fenzhang.clearing.cycles.choosing import Deep, Ready, ready
from fenzhang.clearing.cycles.facts import Membership
from fenzhang.domain.clearing import Payout, end_to_end_id
from fenzhang.domain.netting import Net, Netting, net
from fenzhang.domain.records import NOTHING
from fenzhang.ledger.links import head_at
from fenzhang.store.blocks import newest_time
from fenzhang.store.bulk import chunks
from fenzhang.store.cycletables import CyclePlan, PlannedPayout, PlanState

log = logging.getLogger("fenzhang.clearing")


async def plan_next(session: AsyncSession, member: Membership, deep: Deep, life_s: int) -> CyclePlan | None:
    """Plan the scheme's next cycle if one is ready and does anything. No other of its currency may be under way.

    `life_s` is how long it may be closed, chain time. Does not commit; of two that plan at once one gets an
    IntegrityError.
    """
    scheme = member.schemes.by_name[member.scheme]
    number, before = await facts.before(session, member)
    anchors = await anchoring.is_anything_to_anchor(session, member)
    async for found in ready(session, scheme.calendar, member, before.to_block, deep):
        netting = await _netted(session, member, before, found, deep)
        if netting.payouts or anchors:
            draft = _Draft(number + 1, found, deep, netting, await newest_time(session) + life_s)
            return await _stored(session, member, draft)
    return None


async def _netted(
    session: AsyncSession, member: Membership, before: facts.Before, found: Ready, deep: Deep
) -> Netting:
    scheme = member.schemes.by_name[member.scheme]
    dues = await facts.dues(session, member, before, found.to_block, deep.number)
    obstacles = await facts.obstacles(session, [each.participant for each in dues], member.currency)
    return net(dues, obstacles, min_payout=scheme.min_payout, net_debit_cap=scheme.net_debit_cap)


@dataclass(frozen=True, slots=True)
class _Draft:
    """What is to be stored of a plan."""

    number: int
    found: Ready
    deep: Deep
    netting: Netting
    deadline: int


async def _stored(session: AsyncSession, member: Membership, draft: _Draft) -> CyclePlan:
    found, netting = draft.found, draft.netting
    identity = cycle_id(member.currency, member.scheme, draft.number)
    payouts = [
        Payout(index, each.dues.participant, each.amount) for index, each in enumerate(netting.payouts)
    ]
    leaves = [payout_id(identity, payout) for payout in payouts]
    plan = CyclePlan(
        cycle_id=identity,
        currency=member.currency,
        scheme=member.scheme,
        number=draft.number,
        closes=found.cycle.closes,
        due=found.cycle.due.isoformat(),
        to_block=found.to_block,
        at_block=draft.deep.number,
        payouts=len(payouts),
        total=netting.total,
        payout_root=merkle_root(leaves) if leaves else NOTHING,
        bill_root=NOTHING,
        journal_head=(await head_at(session, draft.deep.number)).hash,
        deadline=draft.deadline,
        state=PlanState.PLANNED.value,
        planned_at=draft.deep.time,
    )
    session.add(plan)
    await session.flush()
    plan.bill_root = await anchoring.anchor(session, member, plan.id)
    await _store_payouts(session, plan.id, netting, leaves)
    _report(plan, netting)
    return plan


async def _store_payouts(
    session: AsyncSession, plan_id: int, netting: Netting, leaves: Sequence[bytes]
) -> None:
    proofs = merkle_proofs(leaves, range(len(leaves)))
    index = 0
    rows: list[dict[str, Any]] = []
    for each in netting.nets:
        row = _row(plan_id, each)
        if each.amount:
            row |= {
                "index": index,
                "payout_id": leaves[index],
                "end_to_end_id": end_to_end_id(leaves[index]),
                "proof": b"".join(proofs[index]),
            }
            index += 1
        rows.append(row)
    for chunk in chunks(rows):
        await session.execute(insert(PlannedPayout), list(chunk))


def _row(plan_id: int, each: Net) -> dict[str, Any]:
    dues = each.dues
    return {
        "plan_id": plan_id,
        "participant_id": dues.participant,
        "brought_forward": dues.brought_forward,
        "credit": dues.credit,
        "debit": dues.debit,
        "due": dues.due,
        "position": dues.position,
        "amount": each.amount,
        "left_out": None if each.left_out is None else each.left_out.value,
        "index": None,
        "payout_id": None,
        "end_to_end_id": None,
        "proof": None,
    }


def _report(plan: CyclePlan, netting: Netting) -> None:
    name = f"{plan.currency} {plan.scheme} {plan.number}"
    log.info("cycle %s: %d payouts, %d in total", name, plan.payouts, plan.total)
    for each in netting.breaches:
        told = {"participant_id": f"0x{each.dues.participant.hex()}", "debt": -each.dues.position}
        log.warning(
            "a debt in %s is above the net debit cap of %s", name, plan.scheme, extra={"fields": told}
        )
