"""What clearing asks of the chain, as instructions that the submission stage sends like all others: once."""

from __future__ import annotations

from hashlib import sha256

import orjson
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.domain.records import NOTHING
from fenzhang.store import payloads
from fenzhang.store.blocks import newest_time
from fenzhang.store.cycletables import CyclePlan
from fenzhang.store.tables import Instruction, InstructionState, InstructionType

NAMESPACE = NOTHING
"""In place of a platform: that of the operator, who sees what became of these."""
_APP = "clearing"


async def queue(
    session: AsyncSession, kind: InstructionType, plan: CyclePlan, place: str, payload: payloads.Payload
) -> int:
    """Accept an instruction about a plan; its seq. `place` tells it from others of its kind about the same plan."""
    stored = payloads.to_json(payload)
    reference = f"{plan.id}.{place}"
    row = Instruction(
        id=plan.cycle_id,
        type=kind.value,
        platform_id=NAMESPACE,
        app_id=_APP,
        reference=reference,
        content={
            "out_request_no": reference,
            "currency": plan.currency,
            "scheme": plan.scheme,
            "number": plan.number,
        },
        content_hash=sha256(orjson.dumps(stored, option=orjson.OPT_SORT_KEYS)).digest(),
        payload=stored,
        state=InstructionState.ACCEPTED.value,
        accepted_at=await newest_time(session),
    )
    session.add(row)
    await session.flush()
    return row.seq


async def asked(session: AsyncSession, kind: InstructionType, cycle_id: bytes) -> list[Instruction]:
    """All instructions of a kind about a cycle, in order."""
    query = select(Instruction).where(Instruction.id == cycle_id, Instruction.type == kind.value)
    return list((await session.execute(query.order_by(Instruction.seq))).scalars())


def is_open(instruction: Instruction) -> bool:
    """Whether it has no outcome yet."""
    return instruction.state in {InstructionState.ACCEPTED, InstructionState.SUBMITTED}
