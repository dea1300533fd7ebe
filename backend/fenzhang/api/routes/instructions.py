"""`/v1/instructions` and `/v1/completions`: any write by type and reference, and the feed of state changes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from fenzhang.api.auth import allow
from fenzhang.api.documentation import LIST, READ, operation
from fenzhang.api.present import completion_answer, instruction_answer
from fenzhang.api.responses import OrjsonResponse
from fenzhang.api.routing import SecuredRoute
from fenzhang.api.schemas.answers import CompletionList, InstructionAnswer
from fenzhang.api.services import Services, services_of
from fenzhang.api.types import Reference
from fenzhang.api.waiting import MAX_WAIT_S, SeenState, Wait, awaited
from fenzhang.domain.errors import InvalidInput
from fenzhang.intake import participants
from fenzhang.intake.actor import Actor, Scope
from fenzhang.intake.errors import UnknownInstruction
from fenzhang.store import feed
from fenzhang.store.tables import InstructionType

router = APIRouter(route_class=SecuredRoute, tags=["State changes"])
_WRITERS = (Scope.PLATFORM, Scope.OPERATOR, Scope.APPROVER, Scope.GUARDIAN)
_OF_OTHERS = frozenset({Scope.APPROVER, Scope.GUARDIAN})
"""Scopes that write about platforms which are not their own."""
_FOLLOWERS = (Scope.PLATFORM, Scope.OPERATOR)
Writer = Annotated[Actor, Depends(allow(*_WRITERS))]
Follower = Annotated[Actor, Depends(allow(*_FOLLOWERS))]
_PAGE = 100
_MAX_PAGE = 1_000


@router.get(
    "/v1/instructions/{type}/{reference}", **operation({200: InstructionAnswer}, *READ, scopes=_WRITERS)
)
async def get_instruction(
    request: Request,
    type: InstructionType,  # noqa: A002 -- the name of the path's part
    reference: Reference,
    actor: Writer,
    *,
    platform: Annotated[
        Reference | None,
        Query(description="For approvers and guardians: the platform whose rule it was about."),
    ] = None,
    wait: Wait = 0,
    state: SeenState = None,
) -> OrjsonResponse:
    """A write as it stands. An app sees those of its platform; an approver or guardian, with `platform`, its own."""
    services = services_of(request)
    namespace = actor.namespace
    if platform is not None and actor.scopes & _OF_OTHERS:
        async with services.database.read() as session:
            namespace = (await participants.platform_named(session, platform)).id
        if namespace != actor.platform_id:
            await _require_own(services, actor, namespace, type, reference)
    elif not actor.scopes & {Scope.PLATFORM, Scope.OPERATOR}:
        raise InvalidInput("platform", "name the platform whose rule it was about")
    found = await awaited(services, namespace, type, reference, wait=wait, state=state)
    return OrjsonResponse(instruction_answer(found))


async def _require_own(
    services: Services, actor: Actor, namespace: bytes, kind: InstructionType, reference: str
) -> None:
    found = await awaited(services, namespace, kind, reference, wait=0, state=None)
    if found.app_id != actor.client_id:
        raise UnknownInstruction(reference)


@router.get("/v1/completions", **operation({200: CompletionList}, *LIST, scopes=_FOLLOWERS))
async def list_completions(
    request: Request,
    actor: Follower,
    after: Annotated[int, Query(ge=0, le=2**63 - 1, description="`next` of the page before.")] = 0,
    limit: Annotated[int, Query(ge=1, le=_MAX_PAGE)] = _PAGE,
    wait: Annotated[
        float, Query(ge=0, le=MAX_WAIT_S, allow_inf_nan=False, description="Seconds to wait for the first.")
    ] = 0,
) -> OrjsonResponse:
    """State changes of the platform's instructions in the order of the feed; none is ever missed or moved."""
    services = services_of(request)
    found = await _read(services, actor.namespace, after, limit)
    if wait > 0 and not found:
        deadline = time.monotonic() + wait
        with services.watcher.platform(actor.namespace) as waiting:
            while not (found := await _read(services, actor.namespace, after, limit)):
                remaining = deadline - time.monotonic()
                if remaining <= 0 or services.watcher.closing or not await waiting.wait(remaining):
                    break
    answer = {
        "completions": [completion_answer(entry) for entry in found],
        "next": found[-1].id if found else after,
    }
    return OrjsonResponse(answer)


async def _read(services: Services, namespace: bytes, after: int, limit: int) -> Sequence[feed.Entry]:
    async with services.database.read() as session:
        return await feed.read(session, namespace, after, limit)
