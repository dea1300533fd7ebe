"""Freezes: what a guardian asks for, and what is frozen now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.domain import identifiers
from fenzhang.domain.world import WHOLE_ORDER
from fenzhang.intake.actor import Actor
from fenzhang.intake.errors import (
    AlreadyFrozen,
    GuardianIsFreezer,
    NotFrozen,
    UnknownOrderReference,
    UnknownSplitReference,
)
from fenzhang.intake.once import Asked, once
from fenzhang.intake.participants import participant_named
from fenzhang.intake.settlement import Outcome
from fenzhang.store.bulk import chunks
from fenzhang.store.payloads import FreezeChange
from fenzhang.store.tables import (
    Freeze,
    Instruction,
    InstructionState,
    InstructionType,
    Order,
    Participant,
    Record,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeRequest:
    """Freeze or unfreeze an order, a split of one, or a participant of a platform. `reason` is an ASCII name."""

    reference: str
    frozen: bool
    reason: str
    order: str | None = None
    split: str | None = None
    participant: str | None = None

    @property
    def type(self) -> InstructionType:
        """Type of the instruction."""
        return InstructionType.FREEZE if self.frozen else InstructionType.UNFREEZE

    def content(self, platform: str) -> dict[str, Any]:
        """The request in the client's names."""
        named = {
            "out_order_no": self.order,
            "out_split_no": self.split,
            "out_participant_no": self.participant,
        }
        return {
            "out_request_no": self.reference,
            "platform": platform,
            "reason": self.reason,
            **{name: value for name, value in named.items() if value is not None},
        }


async def change_freeze(
    session: AsyncSession, actor: Actor, platform: Participant, request: FreezeRequest
) -> Outcome:
    """Accept a freeze or its end under the guardian's own reference.

    Raises UnknownOrderReference, UnknownSplitReference, UnknownParticipant, AlreadyFrozen, NotFrozen,
    GuardianIsFreezer, ReferenceConflict.
    """
    content = request.content(platform.reference)

    async def ask() -> Asked:
        target, payload = await _find(session, platform.id, request)
        found = [
            freeze
            for freeze in (await freezes_of(session, [target])).get(target, [])
            if freeze.order_id == payload.order_id
        ]
        if request.frozen and found:
            raise AlreadyFrozen("it is frozen already", reason=found[0].reason)
        if not request.frozen:
            await _check_other_guardian(session, actor, target, found)
        return target, payload

    return await once(session, actor, platform.id, request.type, request.reference, content=content, ask=ask)


async def _find(session: AsyncSession, platform: bytes, request: FreezeRequest) -> tuple[bytes, FreezeChange]:
    """Id of what is to be frozen, and the call."""
    frozen, reason = request.frozen, request.reason
    if request.participant is not None:
        found = await participant_named(session, platform, request.participant, "out_participant_no")
        return found.id, FreezeChange(frozen, reason, participant=found.id)
    reference = request.order or ""
    order_id = identifiers.order_id(platform, reference)
    order = await session.get(Order, order_id)
    if order is None or order.platform_id != platform:
        raise UnknownOrderReference(reference, "out_order_no")
    if request.split is None:
        return order_id, FreezeChange(frozen, reason, order_id, WHOLE_ORDER)
    split_id = identifiers.split_id(platform, request.split)
    settled = select(Record.id).where(Record.instruction_id == split_id, Record.order_id == order_id)
    if (await session.execute(settled.where(Record.canonical.is_(True)).limit(1))).scalar() is None:
        raise UnknownSplitReference(request.split, "out_split_no")
    return split_id, FreezeChange(frozen, reason, order_id, split_id)


async def _check_other_guardian(
    session: AsyncSession, actor: Actor, target: bytes, found: Sequence[Freeze]
) -> None:
    if not found:
        raise NotFrozen("it is not frozen")
    asked = (
        select(Instruction.app_id)
        .where(Instruction.id == target, Instruction.type == InstructionType.FREEZE)
        .where(Instruction.state == InstructionState.SETTLED)
        .order_by(Instruction.seq.desc())
        .limit(1)
    )
    if (await session.execute(asked)).scalar() == actor.client_id:
        raise GuardianIsFreezer("another guardian has to unfreeze what this one froze")


async def freezes_of(session: AsyncSession, targets: Iterable[bytes]) -> dict[bytes, list[Freeze]]:
    """What is frozen now among orders, splits and participants, by id."""
    found: dict[bytes, list[Freeze]] = {}
    for chunk in chunks(sorted(set(targets))):
        query = select(Freeze).where(Freeze.target_id.in_(chunk), Freeze.ended_block.is_(None))
        for freeze in (await session.execute(query.order_by(Freeze.id))).scalars():
            found.setdefault(freeze.target_id, []).append(freeze)
    return found


async def list_freezes(session: AsyncSession, after: int, limit: int) -> Sequence[Freeze]:
    """What is frozen now, oldest first, after the freeze number `after`."""
    query = select(Freeze).where(Freeze.ended_block.is_(None), Freeze.id > after)
    return (await session.execute(query.order_by(Freeze.id).limit(limit))).scalars().all()
