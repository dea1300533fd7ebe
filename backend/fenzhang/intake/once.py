"""Writes that come one at a time: the same reference with the same content is the same write."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.domain.errors import FenzhangError
from fenzhang.intake.actor import Actor
from fenzhang.intake.errors import ReferenceConflict
from fenzhang.intake.requests import content_hash
from fenzhang.intake.settlement import Outcome
from fenzhang.intake.snapshot import chain_time
from fenzhang.store import payloads
from fenzhang.store.errors import DatabaseUnavailable
from fenzhang.store.tables import Instruction, InstructionState, InstructionType

_ATTEMPTS = 4


async def find(
    session: AsyncSession, namespace: bytes, kind: InstructionType, reference: str
) -> Instruction | None:
    """The instruction that a reference stands for."""
    query = select(Instruction).where(
        Instruction.platform_id == namespace, Instruction.type == kind, Instruction.reference == reference
    )
    return (await session.execute(query)).scalar_one_or_none()


Asked = tuple[bytes, payloads.Payload]
"""Id on the chain of what a request is about (a participant, rule, order), and the contract call that it asks for."""


async def once(
    session: AsyncSession,
    actor: Actor,
    namespace: bytes,
    kind: InstructionType,
    reference: str,
    *,
    content: Mapping[str, Any],
    ask: Callable[[], Awaitable[Asked]],
) -> Outcome:
    """Find what `reference` stands for, or accept what `ask` asks for.

    `ask` checks, and may add rows to the session; it runs in a savepoint and again if somebody else was faster.
    Raises ReferenceConflict, whatever `ask` raises, and DatabaseUnavailable.
    """
    for _ in range(_ATTEMPTS):
        known = await find(session, namespace, kind, reference)
        if known is not None:
            if known.content_hash != content_hash(content):
                raise ReferenceConflict(kind.value, reference)
            return Outcome(known, created=False)
        try:
            async with session.begin_nested():
                on_chain_id, payload = await ask()
                instruction = Instruction(
                    id=on_chain_id,
                    type=kind.value,
                    platform_id=namespace,
                    app_id=actor.client_id,
                    reference=reference,
                    content=dict(content),
                    content_hash=content_hash(content),
                    payload=payloads.to_json(payload),
                    state=InstructionState.ACCEPTED.value,
                    accepted_at=await chain_time(session),
                    request_id=actor.request_id,
                )
                session.add(instruction)
            return Outcome(instruction, created=True)
        except IntegrityError:
            continue
        except FenzhangError:
            # What stands in the way may be this very request, committed by another process a moment ago.
            if await find(session, namespace, kind, reference) is None:
                raise
    raise DatabaseUnavailable("others keep writing the same references; try again")
