"""What approvers and guardians decide about versions: of rules, and of schedules, which are kept as one."""

from __future__ import annotations

from fastapi import Request

from fenzhang.api.present import written
from fenzhang.api.responses import OrjsonResponse
from fenzhang.api.schemas.governance import ApprovalBody, VetoBody
from fenzhang.api.services import services_of
from fenzhang.intake import participants, rules
from fenzhang.intake.actor import Actor


async def approve_version(
    request: Request, actor: Actor, body: ApprovalBody, rule: str, version: int
) -> OrjsonResponse:
    """Accept an approval of exactly the content that was read."""
    async with services_of(request).database.write() as session:
        platform = await participants.platform_named(session, body.platform)
        outcome = await rules.approve(
            session,
            actor,
            platform,
            body.out_request_no,
            rule=rule,
            version=version,
            content_hash=body.content_hash,
        )
    return written(outcome)


async def veto_version(
    request: Request, actor: Actor, body: VetoBody, rule: str, version: int
) -> OrjsonResponse:
    """Accept a veto of exactly the content that was read."""
    async with services_of(request).database.write() as session:
        platform = await participants.platform_named(session, body.platform)
        outcome = await rules.veto(
            session,
            actor,
            platform,
            body.out_request_no,
            rule=rule,
            version=version,
            content_hash=body.content_hash,
            reason_code=body.reason_code,
        )
    return written(outcome)
