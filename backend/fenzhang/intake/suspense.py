"""Suspense positions: who gets what waits for a closed participant, and the wish that it be given now."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.domain.records import ParticipantStatus
from fenzhang.intake.actor import Actor
from fenzhang.intake.errors import HeirNotPossible, ParticipantNotActive
from fenzhang.intake.once import Asked, once
from fenzhang.intake.settlement import Outcome
from fenzhang.store.payloads import HeirNaming, Resolution
from fenzhang.store.tables import InstructionType, Participant


async def name_heir(
    session: AsyncSession,
    actor: Actor,
    platform: Participant,
    participant: Participant,
    heir: Participant,
    *,
    reference: str,
) -> Outcome:
    """Let `heir` get what waits for a closed participant of a platform, under the guardian's own `reference`.

    Raises ReferenceConflict, HeirNotPossible, ParticipantNotActive for an heir that is not on the chain.
    """
    content = {
        "out_request_no": reference,
        "platform": platform.reference,
        "out_participant_no": participant.reference,
        "out_heir_no": heir.reference,
    }

    async def ask() -> Asked:
        if heir.status == ParticipantStatus.UNKNOWN:
            raise ParticipantNotActive(heir.reference, ParticipantStatus.UNKNOWN)
        if participant.status != ParticipantStatus.CLOSED:
            raise HeirNotPossible(participant.reference, "it is not closed")
        if heir.id == participant.id:
            raise HeirNotPossible(participant.reference, "it would be its own heir")
        return participant.id, HeirNaming(participant.id, heir.id)

    return await once(session, actor, platform.id, InstructionType.HEIR, reference, content=content, ask=ask)


async def resolve(
    session: AsyncSession, actor: Actor, participant: Participant, currency: str, reference: str
) -> Outcome:
    """Give what waits for a participant to it, or to its heir, under the client's own `reference`.

    Whether something waits, and who may have it, the chain decides. Raises ReferenceConflict.
    """
    content = {
        "out_request_no": reference,
        "out_participant_no": participant.reference,
        "currency": currency,
    }

    async def ask() -> Asked:
        return participant.id, Resolution(participant.id, currency)

    return await once(
        session, actor, participant.platform_id, InstructionType.RESOLVE, reference, content=content, ask=ask
    )
