"""`/v1/rules/…/diff` and `/v1/rules/…/what-if`: what a change of a rule is, before anybody approves it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from fenzhang.api.auth import allow
from fenzhang.api.changes import diff_answer
from fenzhang.api.documentation import READ, WRITE, operation
from fenzhang.api.errors import InsufficientScope, TooManyRequests
from fenzhang.api.responses import OrjsonResponse
from fenzhang.api.routes.rules import PlatformQuery, Reader, readable_versions
from fenzhang.api.routing import SecuredRoute
from fenzhang.api.schemas.changes import RuleDiffAnswer, WhatIfAnswer, WhatIfBody
from fenzhang.api.services import services_of
from fenzhang.api.trying import question_of, tried, version_among
from fenzhang.api.types import Reference
from fenzhang.intake.actor import Actor, Scope
from fenzhang.intake.snapshot import chain_time

router = APIRouter(route_class=SecuredRoute, tags=["Rules"])
Governor = Annotated[Actor, Depends(allow(Scope.PLATFORM, Scope.APPROVER))]
_READERS = (Scope.PLATFORM, Scope.APPROVER, Scope.GUARDIAN, Scope.AUDITOR)
_GOVERNORS = (Scope.PLATFORM, Scope.APPROVER)
_MAX_VERSION = 2**31 - 1


@router.get("/v1/rules/{reference}/diff", **operation({200: RuleDiffAnswer}, *READ, scopes=_READERS))
async def diff_versions(
    *,
    request: Request,
    reference: Reference,
    before: Annotated[int, Query(alias="from", ge=1, le=_MAX_VERSION, description="Version to begin with.")],
    after: Annotated[int, Query(alias="to", ge=1, le=_MAX_VERSION, description="Version to come to.")],
    actor: Reader,
    platform: PlatformQuery = None,
) -> OrjsonResponse:
    """What distinguishes two versions of a rule, leg by leg.

    Legs are paired by role or recipient; pools by the legs in them; what is left by equal terms in the same pool.
    """
    async with services_of(request).database.read() as session:
        found = await readable_versions(session, actor, reference, platform)
        now = await chain_time(session)
    one = version_among(found, before, "from")
    other = version_among(found, after, "to")
    return OrjsonResponse(diff_answer(one, other, found, now))


@router.post("/v1/rules/{reference}/what-if", **operation({200: WhatIfAnswer}, *WRITE, scopes=_GOVERNORS))
async def try_draft(
    request: Request, reference: Reference, body: WhatIfBody, actor: Governor, platform: PlatformQuery = None
) -> OrjsonResponse:
    """What a draft would have made of the orders of this rule, of any version, captured in a period.

    Their settled splits and returns are replayed until now. Nothing is written, here or on the chain.
    """
    body.check()
    services = services_of(request)
    async with services.database.read() as session:
        found = await readable_versions(session, actor, reference, platform)
        # What a platform calls its participants and orders is its own business.
        named = actor.platform_id == found[0].platform_id
        if not named and Scope.APPROVER not in actor.scopes:
            raise InsufficientScope(
                "trying another platform's rule needs the scope approver", scopes=[Scope.APPROVER]
            )
        question = await question_of(session, found, body, named=named)
    if services.replays.locked():
        raise TooManyRequests("other replays are under way in this process")
    async with services.replays:
        answer = await tried(services.database, question, named=named)
    return OrjsonResponse({"out_rule_no": reference, "version": body.version, **answer})
