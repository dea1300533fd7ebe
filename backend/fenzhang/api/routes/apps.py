"""`/v1/apps` and `/v1/platforms`: what the operator sets up."""

from __future__ import annotations

import asyncio
import secrets
from typing import Annotated

from fastapi import APIRouter, Depends, Request

from fenzhang.api.auth import allow
from fenzhang.api.documentation import READ, WRITE, operation
from fenzhang.api.present import participant_answer, status_of_write, written
from fenzhang.api.responses import OrjsonResponse
from fenzhang.api.routing import SecuredRoute
from fenzhang.api.schemas.answers import AppAnswer, InstructionAnswer, ParticipantAnswer
from fenzhang.api.schemas.governance import AppBody, CapBody, PlatformBody, RequestBody
from fenzhang.api.services import Services, services_of
from fenzhang.api.types import Reference
from fenzhang.api.waiting import Wait, awaited
from fenzhang.intake import apps, participants
from fenzhang.intake.actor import OPERATOR_NAMESPACE, Actor, Scope
from fenzhang.intake.freezes import freezes_of
from fenzhang.store.tables import InstructionType

router = APIRouter(route_class=SecuredRoute, tags=["Operator"])
Operator = Annotated[Actor, Depends(allow(Scope.OPERATOR))]
Guardian = Annotated[Actor, Depends(allow(Scope.GUARDIAN))]
_OPERATOR = (Scope.OPERATOR,)
_WATCHERS = (Scope.OPERATOR, Scope.GUARDIAN)
Watcher = Annotated[Actor, Depends(allow(*_WATCHERS))]
_KEY_BYTES = 32


@router.post("/v1/apps", **operation({201: AppAnswer}, *WRITE, scopes=_OPERATOR))
async def create_app(request: Request, body: AppBody, _actor: Operator) -> OrjsonResponse:
    """Create an API client. The answer shows its secret, once."""
    services = services_of(request)
    async with services.database.write() as session:
        app = await apps.create_app(session, body.name, body.granted(), body.platform)
    answer = {
        "client_id": app.client_id,
        "client_secret": app.secret,
        "name": app.name,
        "scopes": list(app.scopes),
        "platform": app.platform,
    }
    return OrjsonResponse(answer, 201, headers={"Cache-Control": "no-store"})


@router.post(
    "/v1/platforms",
    **operation({202: ParticipantAnswer, 200: ParticipantAnswer}, *WRITE, scopes=_OPERATOR),
)
async def enrol_platform(request: Request, body: PlatformBody, actor: Operator) -> OrjsonResponse:
    """Enrol a platform, which signs with its own authority or with a key in the keystore."""
    services = services_of(request)
    reference = body.out_participant_no
    key = None
    if body.generate_key:
        async with services.database.read() as session:
            is_known = await participants.is_known_platform(session, reference)
        if not is_known:
            key = await _make_key(services)
    async with services.database.write() as session:
        outcome = await participants.enrol_platform(session, actor, reference, body.authority, key)
        platform = await participants.platform_named(session, reference)
        freezes = await freezes_of(session, [platform.id])
    answer = participant_answer(platform, outcome.instruction, freezes)
    return OrjsonResponse(answer, status_of_write([outcome]))


async def _make_key(services: Services) -> participants.NewKey:
    password = services.settings.keystore_secret()
    chain_id = services.deployment.chain_id
    secret = secrets.token_bytes(_KEY_BYTES)
    work_factor = services.settings.keystore_work_factor
    return await asyncio.to_thread(participants.make_key, secret, password, chain_id, work_factor)


@router.get("/v1/platforms/{reference}", **operation({200: ParticipantAnswer}, *READ, scopes=_WATCHERS))
async def get_platform(
    request: Request, reference: Reference, _actor: Watcher, wait: Wait = 0
) -> OrjsonResponse:
    """A platform, its standing and its cap. `wait` waits for its enrolment."""
    services = services_of(request)
    async with services.database.read() as session:
        platform = await participants.platform_named(session, reference)
        enrolment = await participants.enrolment_of(session, platform)
        freezes = await freezes_of(session, [platform.id])
    if wait > 0 and enrolment is not None:
        enrolment = await awaited(
            services, OPERATOR_NAMESPACE, InstructionType.ENROLL, reference, wait=wait, state=None
        )
        async with services.database.read() as session:
            platform = await participants.platform_named(session, reference)
    return OrjsonResponse(participant_answer(platform, enrolment, freezes))


@router.post(
    "/v1/platforms/{reference}/suspend",
    **operation({202: InstructionAnswer, 200: InstructionAnswer}, *WRITE, scopes=_OPERATOR),
)
async def suspend_platform(
    request: Request, reference: Reference, body: RequestBody, actor: Operator
) -> OrjsonResponse:
    """Suspend a platform: until it is resumed it can neither author nor receive."""
    return await _change(request, reference, body, actor, InstructionType.SUSPEND)


@router.post(
    "/v1/platforms/{reference}/resume",
    **operation({202: InstructionAnswer, 200: InstructionAnswer}, *WRITE, scopes=_OPERATOR),
)
async def resume_platform(
    request: Request, reference: Reference, body: RequestBody, actor: Operator
) -> OrjsonResponse:
    """Resume a suspended platform."""
    return await _change(request, reference, body, actor, InstructionType.RESUME)


@router.post(
    "/v1/platforms/{reference}/cap",
    **operation({202: InstructionAnswer, 200: InstructionAnswer}, *WRITE, scopes=(Scope.GUARDIAN,)),
)
async def cap_platform(
    request: Request, reference: Reference, body: CapBody, actor: Guardian
) -> OrjsonResponse:
    """Cap what a platform's splits give to others than the merchants of their orders, from then on."""
    async with services_of(request).database.write() as session:
        platform = await participants.platform_named(session, reference)
        outcome = await participants.cap_platform(
            session, actor, platform, body.out_request_no, body.max_share_out
        )
    return written(outcome)


async def _change(
    request: Request, reference: str, body: RequestBody, actor: Actor, kind: InstructionType
) -> OrjsonResponse:
    # What the operator writes stands in the operator's namespace, also for an app that has a platform besides.
    operator = Actor(actor.client_id, actor.scopes, None)
    async with services_of(request).database.write() as session:
        platform = await participants.platform_named(session, reference)
        outcome = await participants.change_standing(session, operator, platform, kind, body.out_request_no)
    return written(outcome)
