"""`/v1/participants`: a platform's recipients."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from fenzhang.api.auth import allow
from fenzhang.api.documentation import LIST, READ, WRITE, operation
from fenzhang.api.present import participant_answer, status_of_write, written
from fenzhang.api.responses import OrjsonResponse
from fenzhang.api.routing import SecuredRoute
from fenzhang.api.schemas.answers import InstructionAnswer, ParticipantAnswer, ParticipantList
from fenzhang.api.schemas.governance import ConsentBody, ParticipantBody, PlaceBody, RequestBody
from fenzhang.api.services import services_of
from fenzhang.api.types import ParticipantName, Reference
from fenzhang.api.waiting import Wait, awaited
from fenzhang.intake import participants
from fenzhang.intake.actor import Actor, Scope
from fenzhang.intake.errors import UnknownParticipant
from fenzhang.intake.freezes import freezes_of
from fenzhang.store.tables import InstructionType

router = APIRouter(route_class=SecuredRoute, tags=["Participants"])
Platform = Annotated[Actor, Depends(allow(Scope.PLATFORM))]
_PLATFORM = (Scope.PLATFORM,)
_PAGE = 100
_MAX_PAGE = 1_000


@router.post(
    "/v1/participants",
    **operation({202: ParticipantAnswer, 200: ParticipantAnswer}, *WRITE, scopes=_PLATFORM),
)
async def enrol(request: Request, body: ParticipantBody, actor: Platform) -> OrjsonResponse:
    """Enrol a participant that agreed to receive from the platform. It can be bound once it is ACTIVE."""
    async with services_of(request).database.write() as session:
        outcome = await participants.enrol_recipient(session, actor, body.out_participant_no)
        participant = await participants.participant_named(session, actor.namespace, body.out_participant_no)
        freezes = await freezes_of(session, [participant.id])
    answer = participant_answer(participant, outcome.instruction, freezes)
    return OrjsonResponse(answer, status_of_write([outcome]))


@router.get("/v1/participants", **operation({200: ParticipantList}, *LIST, scopes=_PLATFORM))
async def list_participants(
    request: Request,
    actor: Platform,
    after: Annotated[str, Query(max_length=64, description="`next` of the page before.")] = "",
    limit: Annotated[int, Query(ge=1, le=_MAX_PAGE)] = _PAGE,
) -> OrjsonResponse:
    """The platform and its participants, by reference."""
    async with services_of(request).database.read() as session:
        # PostgreSQL's text holds no NUL; nothing follows such a cursor differently.
        cursor = after.replace("\0", "")
        found = await participants.list_participants(session, actor.namespace, cursor, limit + 1)
        freezes = await freezes_of(session, [participant.id for participant in found])
    answer = {
        "participants": [participant_answer(participant, None, freezes) for participant in found[:limit]],
        "next": found[limit - 1].reference if len(found) > limit else None,
    }
    return OrjsonResponse(answer)


@router.get("/v1/participants/{reference}", **operation({200: ParticipantAnswer}, *READ, scopes=_PLATFORM))
async def get_participant(
    request: Request, reference: ParticipantName, actor: Platform, wait: Wait = 0
) -> OrjsonResponse:
    """A participant, by reference or 0x id, and its standing. `wait` waits for its enrolment."""
    services = services_of(request)
    namespace = actor.namespace
    async with services.database.read() as session:
        participant = await participants.participant_named(session, namespace, reference)
        enrolment = await participants.enrolment_of(session, participant)
        freezes = await freezes_of(session, [participant.id])
    if wait > 0 and enrolment is not None and enrolment.platform_id == namespace:
        own_reference = participant.reference
        kind = InstructionType.ENROLL
        enrolment = await awaited(services, namespace, kind, own_reference, wait=wait, state=None)
        async with services.database.read() as session:
            participant = await participants.participant_named(session, namespace, reference)
    return OrjsonResponse(participant_answer(participant, enrolment, freezes))


@router.post(
    "/v1/participants/{reference}/suspend",
    **operation({202: InstructionAnswer, 200: InstructionAnswer}, *WRITE, scopes=_PLATFORM),
)
async def suspend(
    request: Request, reference: Reference, body: RequestBody, actor: Platform
) -> OrjsonResponse:
    """Suspend a participant: until it is resumed it cannot receive."""
    return await _change(request, reference, body, actor, InstructionType.SUSPEND)


@router.post(
    "/v1/participants/{reference}/resume",
    **operation({202: InstructionAnswer, 200: InstructionAnswer}, *WRITE, scopes=_PLATFORM),
)
async def resume(
    request: Request, reference: Reference, body: RequestBody, actor: Platform
) -> OrjsonResponse:
    """Resume a suspended participant."""
    return await _change(request, reference, body, actor, InstructionType.RESUME)


@router.post(
    "/v1/participants/{reference}/close",
    **operation({202: InstructionAnswer, 200: InstructionAnswer}, *WRITE, scopes=_PLATFORM),
)
async def close(request: Request, reference: Reference, body: RequestBody, actor: Platform) -> OrjsonResponse:
    """Close a participant, for ever: it cannot receive any more."""
    return await _change(request, reference, body, actor, InstructionType.CLOSE)


@router.post(
    "/v1/participants/{reference}/place",
    **operation({202: InstructionAnswer, 200: InstructionAnswer}, *WRITE, scopes=_PLATFORM),
)
async def place(request: Request, reference: Reference, body: PlaceBody, actor: Platform) -> OrjsonResponse:
    """Put a participant directly below another one, or at the top. Whoever has others below it stays."""
    async with services_of(request).database.write() as session:
        participant = await participants.participant_named(session, actor.namespace, reference)
        parent = None
        if body.out_parent_no is not None:
            parent = await participants.participant_named(session, actor.namespace, body.out_parent_no)
        outcome = await participants.place(session, actor, participant, parent, body.out_request_no)
    return written(outcome)


@router.post(
    "/v1/participants/{reference}/consent",
    **operation({202: InstructionAnswer, 200: InstructionAnswer}, *WRITE, scopes=_PLATFORM),
)
async def consent(
    request: Request, reference: Reference, body: ConsentBody, actor: Platform
) -> OrjsonResponse:
    """Record that a participant agrees, or no longer agrees, to receive from the platform: for orders from then on."""
    async with services_of(request).database.write() as session:
        participant = await participants.participant_named(session, actor.namespace, reference)
        if participant.id == actor.namespace:
            raise UnknownParticipant(reference)  # a platform always agrees to itself
        outcome = await participants.change_consent(
            session, actor, participant, body.out_request_no, granted=body.granted
        )
    return written(outcome)


async def _change(
    request: Request, reference: str, body: RequestBody, actor: Actor, kind: InstructionType
) -> OrjsonResponse:
    async with services_of(request).database.write() as session:
        participant = await participants.participant_named(session, actor.namespace, reference)
        if participant.id == actor.namespace:
            # A platform that suspended itself could not resume itself: that is the operator's to do.
            raise UnknownParticipant(reference)
        outcome = await participants.change_standing(session, actor, participant, kind, body.out_request_no)
    return written(outcome)
