"""`/v1/conditions`: what orders wait for, and who confirms it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.api.auth import allow
from fenzhang.api.documentation import LIST, READ, WRITE, operation
from fenzhang.api.present import condition_answer, written
from fenzhang.api.responses import OrjsonResponse
from fenzhang.api.routing import SecuredRoute
from fenzhang.api.schemas.answers import ConditionAnswer, ConditionList, InstructionAnswer
from fenzhang.api.schemas.governance import ConditionBody, ConfirmationBody
from fenzhang.api.services import services_of
from fenzhang.api.types import Reference
from fenzhang.api.waiting import SeenState, Wait, awaited
from fenzhang.intake import conditions, participants
from fenzhang.intake.actor import Actor, Scope
from fenzhang.intake.errors import UnknownConditionReference
from fenzhang.intake.settlement import Outcome
from fenzhang.intake.signatures import Verifier
from fenzhang.store.tables import InstructionType

router = APIRouter(route_class=SecuredRoute, tags=["Conditions"])
_PLATFORM = (Scope.PLATFORM,)
_READERS = (Scope.PLATFORM, Scope.AUDITOR)
Platform = Annotated[Actor, Depends(allow(*_PLATFORM))]
Reader = Annotated[Actor, Depends(allow(*_READERS))]
Whose = Annotated[
    Reference | None,
    Query(
        description="The platform of the condition, when it is not one's own: for its confirmer and auditors."
    ),
]
_WRITE = operation({202: InstructionAnswer, 200: InstructionAnswer}, *WRITE, scopes=_PLATFORM)
_PAGE = 100
_MAX_PAGE = 1_000


@router.post("/v1/conditions", **_WRITE)
async def open_condition(request: Request, body: ConditionBody, actor: Platform) -> OrjsonResponse:
    """Open a condition: orders captured with it are not split or released before it is reached."""
    outcome = await services_of(request).write(
        lambda session, verifier: conditions.open_condition(session, actor, body.request(), verifier)
    )
    return written(outcome)


@router.get("/v1/conditions", **operation({200: ConditionList}, *LIST, scopes=_PLATFORM))
async def list_conditions(
    request: Request,
    actor: Platform,
    after: Annotated[int, Query(ge=0, le=2**63 - 1, description="`next` of the page before.")] = 0,
    limit: Annotated[int, Query(ge=1, le=_MAX_PAGE)] = _PAGE,
) -> OrjsonResponse:
    """The platform's conditions, oldest first."""
    async with services_of(request).database.read() as session:
        found = await conditions.list_conditions(session, actor.namespace, after, limit + 1)
    last = found[limit - 1].opening if len(found) > limit else None
    answer = {
        "conditions": [condition_answer(each) for each in found[:limit]],
        "next": None if last is None else last.seq,
    }
    return OrjsonResponse(answer)


@router.get("/v1/conditions/{reference}", **operation({200: ConditionAnswer}, *READ, scopes=_READERS))
async def get_condition(
    request: Request,
    reference: Reference,
    actor: Reader,
    *,
    platform: Whose = None,
    wait: Wait = 0,
    state: SeenState = None,
) -> OrjsonResponse:
    """A condition as it stands. `wait` waits until the chain has it, for those that were asked for here."""
    services = services_of(request)
    async with services.database.read() as session:
        found = await _readable(session, actor, reference, platform)
    if wait > 0 and found.opening is not None:
        await awaited(
            services, found.platform_id, InstructionType.CONDITION, reference, wait=wait, state=state
        )
        async with services.database.read() as session:
            found = await _readable(session, actor, reference, platform)
    return OrjsonResponse(condition_answer(found))


@router.post("/v1/conditions/{reference}/confirmation", **_WRITE)
async def confirm(
    request: Request, reference: Reference, body: ConfirmationBody, actor: Platform
) -> OrjsonResponse:
    """Confirm a condition of a platform, signed by its confirmer; its own app may let the keystore key sign."""

    async def work(session: AsyncSession, verifier: Verifier) -> Outcome:
        platform = await participants.platform_named(session, body.platform)
        return await conditions.confirm_condition(
            session,
            actor,
            platform,
            reference,
            reference=body.out_request_no,
            signature=body.signature,
            verifier=verifier,
        )

    return written(await services_of(request).write(work))


async def _readable(
    session: AsyncSession, actor: Actor, reference: str, platform: str | None
) -> conditions.ConditionReading:
    """A condition of the actor's own platform, or one that it confirms. Raises Unknown also for others."""
    if platform is None:
        return await conditions.read_condition(session, actor.namespace, reference)
    owner = (await participants.platform_named(session, platform)).id
    found = await conditions.read_condition(session, owner, reference)
    confirms = found.row is not None and found.row.confirmer == actor.platform_id
    if owner != actor.platform_id and not confirms and Scope.AUDITOR not in actor.scopes:
        raise UnknownConditionReference(reference)
    return found
