"""`/v1/suspense` and `/v1/heirs`: shares that wait because their recipient was not active, and who gets them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from fenzhang.api.auth import allow
from fenzhang.api.documentation import READ, WRITE, operation
from fenzhang.api.present import instruction_answer, written
from fenzhang.api.problems import plain
from fenzhang.api.responses import OrjsonResponse
from fenzhang.api.routing import SecuredRoute
from fenzhang.api.schemas.answers import InstructionAnswer, SuspenseList
from fenzhang.api.schemas.governance import HeirBody, ResolutionBody
from fenzhang.api.services import services_of
from fenzhang.api.types import Reference
from fenzhang.api.waiting import SeenState, Wait, awaited
from fenzhang.domain.identifiers import hex_id
from fenzhang.intake import participants, suspense
from fenzhang.intake.actor import Actor, Scope
from fenzhang.ledger.balances import in_suspense
from fenzhang.store.tables import InstructionType

router = APIRouter(route_class=SecuredRoute, tags=["Suspense"])
_PLATFORM = (Scope.PLATFORM,)
_GUARDIAN = (Scope.GUARDIAN,)
Platform = Annotated[Actor, Depends(allow(*_PLATFORM))]
Guardian = Annotated[Actor, Depends(allow(*_GUARDIAN))]


@router.get("/v1/suspense", **operation({200: SuspenseList}, *READ, scopes=_PLATFORM))
async def list_suspense(request: Request, actor: Platform) -> OrjsonResponse:
    """What waits in suspense positions for the platform's participants, by currency."""
    async with services_of(request).database.read() as session:
        found = await in_suspense(session, actor.namespace)
    return OrjsonResponse(
        {
            "suspense": [
                {
                    "out_participant_no": waiting.reference,
                    "participant_id": hex_id(waiting.participant_id),
                    "currency": waiting.currency,
                    "amount": plain(waiting.amount),
                }
                for waiting in found
            ]
        }
    )


@router.post(
    "/v1/suspense",
    **operation({202: InstructionAnswer, 200: InstructionAnswer}, *WRITE, scopes=_PLATFORM),
)
async def resolve(request: Request, body: ResolutionBody, actor: Platform) -> OrjsonResponse:
    """Give all that waits for a participant to it, if it is active again, or to the heir of a closed one."""
    async with services_of(request).database.write() as session:
        participant = await participants.participant_named(
            session, actor.namespace, body.out_participant_no, "out_participant_no"
        )
        outcome = await suspense.resolve(session, actor, participant, body.currency, body.out_request_no)
    return written(outcome)


@router.get("/v1/suspense/{reference}", **operation({200: InstructionAnswer}, *READ, scopes=_PLATFORM))
async def get_resolution(
    request: Request, reference: Reference, actor: Platform, wait: Wait = 0, state: SeenState = None
) -> OrjsonResponse:
    """A resolution as it was asked for, and what became of it."""
    services = services_of(request)
    kind = InstructionType.RESOLVE
    found = await awaited(services, actor.namespace, kind, reference, wait=wait, state=state)
    return OrjsonResponse(instruction_answer(found))


@router.post(
    "/v1/heirs",
    **operation({202: InstructionAnswer, 200: InstructionAnswer}, *WRITE, scopes=_GUARDIAN),
)
async def name_heir(request: Request, body: HeirBody, actor: Guardian) -> OrjsonResponse:
    """Name who gets what waits for a closed participant."""
    async with services_of(request).database.write() as session:
        platform = await participants.platform_named(session, body.platform)
        participant = await participants.participant_named(
            session, platform.id, body.out_participant_no, "out_participant_no"
        )
        heir = await participants.participant_named(session, platform.id, body.out_heir_no, "out_heir_no")
        outcome = await suspense.name_heir(
            session, actor, platform, participant, heir, reference=body.out_request_no
        )
    return written(outcome)
