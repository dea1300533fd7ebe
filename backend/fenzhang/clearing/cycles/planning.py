"""A cycle is planned: what it pays is netted, and stored with everything that is to be signed.

What takes long is done while nothing is locked: what a cycle is netted from lies too deep to change.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
from fenzhang.store.bulk import insert_tuples
from fenzhang.store.cycletables import CyclePlan, PlannedPayout, PlanState

log = logging.getLogger("fenzhang.clearing")


@dataclass(frozen=True, slots=True)
class Draft:
    """A plan that is not stored yet, with everything that takes long to compute."""

    member: Membership
    number: int
    found: Ready
    deep: Deep
    netting: Netting
    journal_head: bytes
    deadline: int
    leaves: Sequence[bytes]
    """Ids of the payouts, in order of their indices, as are `proofs`: their siblings up to the root."""
    proofs: Sequence[bytes]


async def draft_next(session: AsyncSession, member: Membership, deep: Deep, life_s: int) -> Draft | None:
    """The scheme's next cycle, if one is ready and does anything. No other of its currency may be under way.

    `life_s` is how long it may be closed, chain time. Reads only; the queries must see the same state (`freeze`).
    """
    scheme = member.schemes.by_name[member.scheme]
    number, before = await facts.before(session, member)
    anchors = await anchoring.is_anything_to_anchor(session, member)
    async for found in ready(session, scheme.calendar, member, before.to_block, deep):
        netting = await _netted(session, member, before, found, deep)
        if netting.payouts or anchors:
            identity = cycle_id(member.currency, member.scheme, number + 1)
            # Of a hundred thousand payouts this takes seconds.
            leaves, proofs = await asyncio.to_thread(_proven, identity, netting)
            return Draft(
                member,
                number + 1,
                found,
                deep,
                netting,
                (await head_at(session, deep.number)).hash,
                await newest_time(session) + life_s,
                leaves,
                proofs,
            )
    return None


async def _netted(
    session: AsyncSession, member: Membership, before: facts.Before, found: Ready, deep: Deep
) -> Netting:
    scheme = member.schemes.by_name[member.scheme]
    dues = await facts.dues(session, member, before, found.to_block, deep.number)
    obstacles = await facts.obstacles(session, [each.participant for each in dues], member.currency)
    return net(dues, obstacles, min_payout=scheme.min_payout, net_debit_cap=scheme.net_debit_cap)


def _proven(identity: bytes, netting: Netting) -> tuple[list[bytes], list[bytes]]:
    leaves = [
        payout_id(identity, Payout(index, each.dues.participant, each.amount))
        for index, each in enumerate(netting.payouts)
    ]
    return leaves, [b"".join(path) for path in merkle_proofs(leaves, range(len(leaves)))]


async def store_plan(session: AsyncSession, draft: Draft) -> CyclePlan:
    """Store a draft, and anchor bills in it. Does not commit.

    Of two that store the same at once one gets an IntegrityError.
    """
    member, found, netting, leaves = draft.member, draft.found, draft.netting, draft.leaves
    plan = CyclePlan(
        cycle_id=cycle_id(member.currency, member.scheme, draft.number),
        currency=member.currency,
        scheme=member.scheme,
        number=draft.number,
        closes=found.cycle.closes,
        due=found.cycle.due.isoformat(),
        to_block=found.to_block,
        at_block=draft.deep.number,
        payouts=len(leaves),
        total=netting.total,
        payout_root=merkle_root(leaves) if leaves else NOTHING,
        bill_root=NOTHING,
        journal_head=draft.journal_head,
        deadline=draft.deadline,
        state=PlanState.PLANNED.value,
        planned_at=draft.deep.time,
    )
    session.add(plan)
    await session.flush()
    plan.bill_root = await anchoring.anchor(session, member, plan.id)
    paid = [*zip(range(len(leaves)), leaves, draft.proofs, strict=True)]
    paid.reverse()
    rows = [
        _row(plan.id, each, paid.pop() if each.amount else None)
        for each in netting.nets  # in which those that are paid have the order of their indices
    ]
    await insert_tuples(session, PlannedPayout, _COLUMNS, rows)
    _report(plan, netting)
    return plan


_COLUMNS = (
    "plan_id",
    "participant_id",
    "brought_forward",
    "credit",
    "debit",
    "due",
    "position",
    "amount",
    "left_out",
    "index",
    "payout_id",
    "end_to_end_id",
    "proof",
)


def _row(plan_id: int, each: Net, paid: tuple[int, bytes, bytes] | None) -> tuple[Any, ...]:
    dues = each.dues
    sums = (dues.brought_forward, dues.credit, dues.debit, dues.due, dues.position)
    index, leaf, proof = (None, None, None) if paid is None else paid
    return (
        plan_id,
        dues.participant,
        *map(str, sums),  # as store.cycletables.Sum has them
        each.amount,
        None if each.left_out is None else each.left_out.value,
        index,
        leaf,
        None if leaf is None else end_to_end_id(leaf),
        proof,
    )


def _report(plan: CyclePlan, netting: Netting) -> None:
    name = f"{plan.currency} {plan.scheme} {plan.number}"
    log.info("cycle %s: %d payouts, %d in total", name, plan.payouts, plan.total)
    for each in netting.breaches:
        told = {"participant_id": f"0x{each.dues.participant.hex()}", "debt": -each.dues.position}
        log.warning(
            "a debt in %s is above the net debit cap of %s", name, plan.scheme, extra={"fields": told}
        )
