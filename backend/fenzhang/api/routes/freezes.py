"""`/v1/freezes` and `/v1/unfreezes`: what guardians stop, and let go again."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from fenzhang.api.auth import allow
from fenzhang.api.documentation import LIST, READ, WRITE, operation
from fenzhang.api.present import frozen_thing, instruction_answer, written
from fenzhang.api.responses import OrjsonResponse
from fenzhang.api.routing import SecuredRoute
from fenzhang.api.schemas.answers import FreezeList, InstructionAnswer
from fenzhang.api.schemas.governance import FreezeBody
from fenzhang.api.services import services_of
from fenzhang.api.types import Reference
from fenzhang.api.waiting import SeenState, Wait, awaited
from fenzhang.intake import participants
from fenzhang.intake.actor import Actor, Scope
from fenzhang.intake.freezes import change_freeze, list_freezes
from fenzhang.store.tables import InstructionType

router = APIRouter(route_class=SecuredRoute, tags=["Freezes"])
_GUARDIAN = (Scope.GUARDIAN,)
_READERS = (Scope.GUARDIAN, Scope.OPERATOR, Scope.AUDITOR)
Guardian = Annotated[Actor, Depends(allow(*_GUARDIAN))]
Reader = Annotated[Actor, Depends(allow(*_READERS))]
Whose = Annotated[Reference, Query(description="The platform of what was frozen.")]
_WRITE = operation({202: InstructionAnswer, 200: InstructionAnswer}, *WRITE, scopes=_GUARDIAN)
_GET = operation({200: InstructionAnswer}, *READ, scopes=_READERS)
_PAGE = 100
_MAX_PAGE = 1_000


@router.post("/v1/freezes", **_WRITE)
async def freeze(request: Request, body: FreezeBody, actor: Guardian) -> OrjsonResponse:
    """Freeze an order, a split of an order, or a participant: what is frozen does not move."""
    return await _change(request, body, actor, frozen=True)


@router.post("/v1/unfreezes", **_WRITE)
async def unfreeze(request: Request, body: FreezeBody, actor: Guardian) -> OrjsonResponse:
    """Undo what another guardian froze."""
    return await _change(request, body, actor, frozen=False)


@router.get("/v1/freezes", **operation({200: FreezeList}, *LIST, scopes=_READERS))
async def list_frozen(
    request: Request,
    _actor: Reader,
    after: Annotated[int, Query(ge=0, le=2**63 - 1, description="`next` of the page before.")] = 0,
    limit: Annotated[int, Query(ge=1, le=_MAX_PAGE)] = _PAGE,
) -> OrjsonResponse:
    """All that is frozen now."""
    async with services_of(request).database.read() as session:
        found = await list_freezes(session, after, limit + 1)
    answer = {
        "freezes": [frozen_thing(each) for each in found[:limit]],
        "next": found[limit - 1].id if len(found) > limit else None,
    }
    return OrjsonResponse(answer)


@router.get("/v1/freezes/{reference}", **_GET)
async def get_freeze(
    request: Request,
    reference: Reference,
    _actor: Reader,
    platform: Whose,
    wait: Wait = 0,
    state: SeenState = None,
) -> OrjsonResponse:
    """A freeze as it was asked for, and what became of it."""
    return await _get(request, platform, InstructionType.FREEZE, reference, wait=wait, state=state)


@router.get("/v1/unfreezes/{reference}", **_GET)
async def get_unfreeze(
    request: Request,
    reference: Reference,
    _actor: Reader,
    platform: Whose,
    wait: Wait = 0,
    state: SeenState = None,
) -> OrjsonResponse:
    """An unfreeze as it was asked for, and what became of it."""
    return await _get(request, platform, InstructionType.UNFREEZE, reference, wait=wait, state=state)


async def _change(request: Request, body: FreezeBody, actor: Actor, *, frozen: bool) -> OrjsonResponse:
    async with services_of(request).database.write() as session:
        platform = await participants.platform_named(session, body.platform)
        outcome = await change_freeze(session, actor, platform, body.request(frozen=frozen))
    return written(outcome)


async def _get(
    request: Request, platform: str, kind: InstructionType, reference: str, *, wait: float, state: str | None
) -> OrjsonResponse:
    services = services_of(request)
    async with services.database.read() as session:
        namespace = (await participants.platform_named(session, platform)).id
    found = await awaited(services, namespace, kind, reference, wait=wait, state=state)
    return OrjsonResponse(instruction_answer(found))
