"""`/v1/rules/…/diff` and `/v1/rules/…/what-if`: what a change of a rule is, before anybody approves it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.api.auth import allow
from fenzhang.api.changes import diff_answer, what_if_answer
from fenzhang.api.documentation import READ, WRITE, operation
from fenzhang.api.errors import TooManyRequests
from fenzhang.api.responses import OrjsonResponse
from fenzhang.api.routes.rules import PlatformQuery, Reader, readable_versions
from fenzhang.api.routing import SecuredRoute
from fenzhang.api.schemas.changes import RuleDiffAnswer, WhatIfAnswer, WhatIfBody
from fenzhang.api.services import services_of
from fenzhang.api.types import Reference
from fenzhang.domain.errors import InvalidInput
from fenzhang.domain.identifiers import hex_id
from fenzhang.domain.rules import Leg
from fenzhang.intake import rules
from fenzhang.intake.actor import Actor, Scope
from fenzhang.intake.errors import UnknownRule
from fenzhang.intake.reading import references_of
from fenzhang.intake.snapshot import chain_time, platform_of
from fenzhang.ledger.whatif import Question, WhatIf, what_if
from fenzhang.store import payloads
from fenzhang.store.tables import Instruction, InstructionType, RuleVersion

router = APIRouter(route_class=SecuredRoute, tags=["Rules"])
Governor = Annotated[Actor, Depends(allow(Scope.PLATFORM, Scope.APPROVER))]
_READERS = (Scope.PLATFORM, Scope.APPROVER, Scope.AUDITOR)
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
    one = _version(found, reference, before, "from")
    other = _version(found, reference, after, "to")
    return OrjsonResponse(diff_answer(one, other, found, now))


@router.post("/v1/rules/{reference}/what-if", **operation({200: WhatIfAnswer}, *WRITE, scopes=_GOVERNORS))
async def try_draft(
    request: Request, reference: Reference, body: WhatIfBody, actor: Governor, platform: PlatformQuery = None
) -> OrjsonResponse:
    """What a draft would have made of the orders of this rule, of any version, captured in a period.

    Their settled splits and returns are replayed until now. Nothing is written, here or on the chain.
    """
    if (body.legs is None) == (body.version is None):
        raise InvalidInput("legs", "give either legs or version")
    period = body.period()
    services = services_of(request)
    async with services.database.read() as session:
        found = await readable_versions(session, actor, reference, platform)
        draft = await _draft(session, found, reference, body)
    if services.replays.locked():
        raise TooManyRequests("other replays are under way in this process")
    question = Question(found[0].platform_id, found[0].rule_id, draft, period, body.limit)
    async with services.replays:
        result = await what_if(services.database, question)
    answer = {
        "out_rule_no": reference,
        "rule_id": hex_id(question.rule_id),
        "version": body.version,
        "captured_from": period.begin,
        "captured_before": period.end,
    }
    if actor.platform_id != question.platform_id:
        # Whom a platform calls what is the platform's own business.
        return OrjsonResponse(answer | what_if_answer(result, {}, {}))
    async with services.database.read() as session:
        names = await references_of(session, question.platform_id, {who for _, who in result.sums})
        orders = await _orders_named(session, question.platform_id, result)
    return OrjsonResponse(answer | what_if_answer(result, names, orders))


def _version(found: Sequence[RuleVersion], reference: str, version: int, field: str) -> RuleVersion:
    one = next((row for row in found if row.version == version), None)
    if one is None:
        raise UnknownRule(f"{reference} version {version}", field)
    return one


async def _draft(
    session: AsyncSession, found: Sequence[RuleVersion], reference: str, body: WhatIfBody
) -> tuple[Leg, ...]:
    if body.version is not None:
        return payloads.legs_from_json(_version(found, reference, body.version, "version").legs)
    owner = await platform_of(session, found[0].platform_id)
    return await rules.resolve_legs(session, owner, [leg.named() for leg in body.legs or ()])


async def _orders_named(session: AsyncSession, platform_id: bytes, result: WhatIf) -> dict[bytes, str]:
    """The platform's own references of the orders that are named as examples, by id."""
    wanted = {order_id for missing in result.not_replayed.values() for order_id in missing.examples}
    query = select(Instruction.id, Instruction.reference).where(
        Instruction.id.in_(wanted),
        Instruction.type == InstructionType.CAPTURE,
        Instruction.platform_id == platform_id,
    )
    rows: list[Any] = list(await session.execute(query))
    return {row.id: row.reference for row in rows}
