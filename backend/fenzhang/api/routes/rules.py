"""`/v1/rules` and `/v1/quote`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.api.auth import allow
from fenzhang.api.decisions import approve_version, veto_version
from fenzhang.api.documentation import READ, WRITE, operation
from fenzhang.api.present import rule_answer, version_answer, written
from fenzhang.api.responses import OrjsonResponse
from fenzhang.api.routing import SecuredRoute
from fenzhang.api.schemas.answers import InstructionAnswer, RuleAnswer, RuleList, RuleVersionAnswer
from fenzhang.api.schemas.governance import ApprovalBody, RetirementBody, RuleBody, VetoBody
from fenzhang.api.services import services_of
from fenzhang.api.trying import version_among
from fenzhang.api.types import Reference
from fenzhang.domain.errors import InvalidInput
from fenzhang.domain.identifiers import rule_id
from fenzhang.intake import participants, rules
from fenzhang.intake.actor import Actor, Scope
from fenzhang.intake.errors import UnknownRule
from fenzhang.intake.snapshot import chain_time
from fenzhang.store import chainsettings
from fenzhang.store.tables import RuleVersion

router = APIRouter(route_class=SecuredRoute, tags=["Rules"])
Platform = Annotated[Actor, Depends(allow(Scope.PLATFORM))]
Approver = Annotated[Actor, Depends(allow(Scope.APPROVER))]
Guardian = Annotated[Actor, Depends(allow(Scope.GUARDIAN))]
Reader = Annotated[Actor, Depends(allow(Scope.PLATFORM, Scope.APPROVER, Scope.GUARDIAN, Scope.AUDITOR))]
PlatformQuery = Annotated[
    Reference | None,
    Query(
        description="Whose rules. A platform reads its own; approvers, guardians and auditors name the platform."
    ),
]
VersionPath = Annotated[int, Path(ge=1, le=2**31 - 1)]
_PLATFORM = (Scope.PLATFORM,)
_READERS = (Scope.PLATFORM, Scope.APPROVER, Scope.GUARDIAN, Scope.AUDITOR)
_ALL_PLATFORMS = frozenset({Scope.APPROVER, Scope.GUARDIAN, Scope.AUDITOR})


async def readable_platform(session: AsyncSession, actor: Actor, named: str | None) -> bytes:
    """The platform whose rules `actor` asks for. Raises UnknownPlatform also for one that it may not read."""
    if named is None:
        if actor.platform_id is None:
            raise InvalidInput("platform", "name the platform")
        return actor.platform_id
    if actor.scopes & _ALL_PLATFORMS:
        return (await participants.platform_named(session, named)).id
    own = await participants.participant_named(session, actor.namespace, named)
    if own.id != actor.platform_id:
        raise UnknownRule(named, "platform")
    return own.id


async def readable_versions(
    session: AsyncSession, actor: Actor, reference: str, platform: str | None
) -> list[RuleVersion]:
    """All versions of a rule that `actor` asks for, in order. Raises UnknownPlatform, UnknownRule."""
    platform_id = await readable_platform(session, actor, platform)
    found = list(await rules.versions_of(session, platform_id, rule_id(platform_id, reference)))
    if not found:
        raise UnknownRule(reference)
    return found


@router.post(
    "/v1/rules", **operation({202: InstructionAnswer, 200: InstructionAnswer}, *WRITE, scopes=_PLATFORM)
)
async def propose(request: Request, body: RuleBody, actor: Platform) -> OrjsonResponse:
    """Propose the next version of a rule. Another party has to approve it before it can be used."""
    asked = rules.ProposeRequest(
        reference=body.out_request_no,
        rule=body.out_rule_no,
        legs=tuple(leg.named() for leg in body.legs),
        terms=body.terms.terms(),
        version=body.version,
        effective_from=body.effective_from,
        signature=body.signature,
    )
    outcome = await services_of(request).write(
        lambda session, verifier: rules.propose(session, actor, asked, verifier)
    )
    return written(outcome)


@router.get("/v1/rules", **operation({200: RuleList}, *READ, scopes=_READERS))
async def list_rules(request: Request, actor: Reader, platform: PlatformQuery = None) -> OrjsonResponse:
    """All rules of a platform."""
    async with services_of(request).database.read() as session:
        platform_id = await readable_platform(session, actor, platform)
        found = await rules.list_rules(session, platform_id)
        now, lock = await chain_time(session), await chainsettings.read(session, chainsettings.APPROVAL_LOCK)
    return OrjsonResponse({"rules": [rule_answer(versions, now, lock) for versions in found.values()]})


@router.get("/v1/rules/{reference}", **operation({200: RuleAnswer}, *READ, scopes=_READERS))
async def get_rule(
    request: Request, reference: Reference, actor: Reader, platform: PlatformQuery = None
) -> OrjsonResponse:
    """A rule, and which of its versions is in force."""
    async with services_of(request).database.read() as session:
        found = await readable_versions(session, actor, reference, platform)
        now, lock = await chain_time(session), await chainsettings.read(session, chainsettings.APPROVAL_LOCK)
    return OrjsonResponse(rule_answer(found, now, lock))


@router.get("/v1/rules/{reference}/versions", **operation({200: RuleAnswer}, *READ, scopes=_READERS))
async def list_versions(
    request: Request, reference: Reference, actor: Reader, platform: PlatformQuery = None
) -> OrjsonResponse:
    """All versions of a rule."""
    return await get_rule(request, reference, actor, platform)


@router.get(
    "/v1/rules/{reference}/versions/{version}",
    **operation({200: RuleVersionAnswer}, *READ, scopes=_READERS),
)
async def get_version(
    request: Request,
    reference: Reference,
    version: VersionPath,
    actor: Reader,
    platform: PlatformQuery = None,
) -> OrjsonResponse:
    """A version of a rule: its legs, and the content hash that an approver names."""
    async with services_of(request).database.read() as session:
        found = await readable_versions(session, actor, reference, platform)
        now = await chain_time(session)
    return OrjsonResponse(version_answer(version_among(found, version), found, now))


@router.post(
    "/v1/rules/{reference}/versions/{version}/approve",
    **operation({202: InstructionAnswer, 200: InstructionAnswer}, *WRITE, scopes=(Scope.APPROVER,)),
)
async def approve(
    request: Request, reference: Reference, version: VersionPath, body: ApprovalBody, actor: Approver
) -> OrjsonResponse:
    """Approve exactly the content that was read. The platform itself cannot."""
    return await approve_version(request, actor, body, reference, version)


@router.post(
    "/v1/rules/{reference}/versions/{version}/veto",
    **operation({202: InstructionAnswer, 200: InstructionAnswer}, *WRITE, scopes=(Scope.GUARDIAN,)),
)
async def veto(
    request: Request, reference: Reference, version: VersionPath, body: VetoBody, actor: Guardian
) -> OrjsonResponse:
    """Veto a version before it takes effect, whether it is approved or not. It can then never be used."""
    return await veto_version(request, actor, body, reference, version)


@router.post(
    "/v1/rules/{reference}/retire",
    **operation({202: InstructionAnswer, 200: InstructionAnswer}, *WRITE, scopes=_PLATFORM),
)
async def retire(
    request: Request, reference: Reference, body: RetirementBody, actor: Platform
) -> OrjsonResponse:
    """Retire a rule for new orders, for ever. Orders captured before are split by it as ever."""
    outcome = await services_of(request).write(
        lambda session, verifier: rules.retire(
            session,
            actor,
            body.out_request_no,
            rule=reference,
            signature=body.signature,
            verifier=verifier,
        )
    )
    return written(outcome)
