"""`/v1/schedules`: which of a platform's rules applies to which orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.api.decisions import approve_version, veto_version
from fenzhang.api.documentation import READ, WRITE, operation
from fenzhang.api.present import selection_answer, veto_of, written
from fenzhang.api.responses import OrjsonResponse
from fenzhang.api.routes.rules import Approver, Guardian, Platform, PlatformQuery, Reader, readable_platform
from fenzhang.api.routing import SecuredRoute
from fenzhang.api.schemas.answers import InstructionAnswer
from fenzhang.api.schemas.governance import ApprovalBody, RetirementBody, VetoBody
from fenzhang.api.schemas.schedules import (
    ScheduleAnswer,
    ScheduleBody,
    ScheduleVersionAnswer,
    SelectAnswer,
)
from fenzhang.api.services import services_of
from fenzhang.api.types import Currency, FactCode, Timestamp
from fenzhang.domain.facts import Facts
from fenzhang.domain.identifiers import hex_id
from fenzhang.domain.money import MAX_AMOUNT
from fenzhang.domain.schedules import SCHEDULE, Entry
from fenzhang.intake import rules, rulestate, schedules
from fenzhang.intake.actor import Scope
from fenzhang.intake.errors import UnknownRule
from fenzhang.intake.snapshot import chain_time, platform_of
from fenzhang.store import chainsettings, payloads
from fenzhang.store.tables import SCHEDULE_REFERENCE, RuleVersion

router = APIRouter(route_class=SecuredRoute, tags=["Schedules"])
VersionPath = Annotated[int, Path(ge=1, le=2**31 - 1)]
_PLATFORM = (Scope.PLATFORM,)
_READERS = (Scope.PLATFORM, Scope.APPROVER, Scope.GUARDIAN, Scope.AUDITOR)
_WRITTEN: dict[int, type[BaseModel]] = {202: InstructionAnswer, 200: InstructionAnswer}


def _facts(
    promotion: FactCode | None = None,
    category: FactCode | None = None,
    member_tier: FactCode | None = None,
    channel: FactCode | None = None,
) -> Facts:
    """What is stated about the order that is asked about."""
    return Facts(promotion or "", category or "", member_tier or "", channel or "")


@router.post("/v1/schedules", **operation(_WRITTEN, *WRITE, scopes=_PLATFORM))
async def propose(request: Request, body: ScheduleBody, actor: Platform) -> OrjsonResponse:
    """Propose the next version of the platform's schedule. Another party approves it before it selects anything."""
    asked = schedules.ScheduleRequest(
        reference=body.out_request_no,
        entries=tuple(entry.named() for entry in body.entries),
        version=body.version,
        effective_from=body.effective_from,
        signature=body.signature,
    )
    outcome = await services_of(request).write(
        lambda session, verifier: schedules.propose(session, actor, asked, verifier)
    )
    return written(outcome)


@router.get("/v1/schedules", **operation({200: ScheduleAnswer}, *READ, scopes=_READERS))
async def get_schedule(request: Request, actor: Reader, platform: PlatformQuery = None) -> OrjsonResponse:
    """A platform's schedule, and which of its versions is in force."""
    async with services_of(request).database.read() as session:
        platform_id = await readable_platform(session, actor, platform)
        found = await rules.versions_of(session, platform_id, SCHEDULE)
        now, lock = await chain_time(session), await chainsettings.read(session, chainsettings.APPROVAL_LOCK)
        answers = await _version_answers(session, found, found, now)
    current = rulestate.in_force(found, now)
    previous = max((version.effective_from for version in found if not version.vetoed), default=0)
    return OrjsonResponse(
        {
            "platform_id": hex_id(platform_id),
            "retired": any(version.retired for version in found),
            "in_force": None if current is None else current.version,
            "latest": max((version.version for version in found), default=None),
            "approval_lock": lock,
            "earliest_effect": max(now + lock, previous),
            "versions": answers,
        }
    )


@router.get("/v1/schedules/select", **operation({200: SelectAnswer}, *READ, scopes=_READERS))
async def select(
    request: Request,
    actor: Reader,
    facts: Annotated[Facts, Depends(_facts)],
    *,
    amount: Annotated[int, Query(ge=1, lt=MAX_AMOUNT + 1, description="Minor units.")],
    currency: Annotated[Currency, Query()],
    at: Annotated[
        Timestamp | None, Query(description="Unix seconds of the capture; now when left out.")
    ] = None,
    platform: PlatformQuery = None,
) -> OrjsonResponse:
    """Which rule an order would be of, with its legs, and why; at another time, as far as it is approved by now."""
    async with services_of(request).database.read() as session:
        found = await platform_of(session, await readable_platform(session, actor, platform))
        moment = await chain_time(session) if at is None else at
        chosen = await schedules.choose(session, found, moment, facts=facts, currency=currency, amount=amount)
    return OrjsonResponse({"platform_id": hex_id(found.id), **selection_answer(chosen, moment)})


@router.get("/v1/schedules/{version}", **operation({200: ScheduleVersionAnswer}, *READ, scopes=_READERS))
async def get_version(
    request: Request, version: VersionPath, actor: Reader, platform: PlatformQuery = None
) -> OrjsonResponse:
    """A version of a schedule: its entries, and the content hash that an approver names."""
    async with services_of(request).database.read() as session:
        platform_id = await readable_platform(session, actor, platform)
        found = await rules.versions_of(session, platform_id, SCHEDULE)
        wanted = [row for row in found if row.version == version]
        if not wanted:
            raise UnknownRule(f"{SCHEDULE_REFERENCE} version {version}")
        [answer] = await _version_answers(session, wanted, found, await chain_time(session))
    return OrjsonResponse(answer)


@router.post("/v1/schedules/{version}/approve", **operation(_WRITTEN, *WRITE, scopes=(Scope.APPROVER,)))
async def approve(
    request: Request, version: VersionPath, body: ApprovalBody, actor: Approver
) -> OrjsonResponse:
    """Approve exactly the entries that were read. The platform itself cannot."""
    return await approve_version(request, actor, body, SCHEDULE_REFERENCE, version)


@router.post("/v1/schedules/{version}/veto", **operation(_WRITTEN, *WRITE, scopes=(Scope.GUARDIAN,)))
async def veto(request: Request, version: VersionPath, body: VetoBody, actor: Guardian) -> OrjsonResponse:
    """Veto a version before it takes effect, whether it is approved or not. It can then never select anything."""
    return await veto_version(request, actor, body, SCHEDULE_REFERENCE, version)


@router.post("/v1/schedules/retire", **operation(_WRITTEN, *WRITE, scopes=_PLATFORM))
async def retire(request: Request, body: RetirementBody, actor: Platform) -> OrjsonResponse:
    """Retire the schedule, for ever: from then on the platform names the rule of each order."""
    outcome = await services_of(request).write(
        lambda session, verifier: rules.retire(
            session,
            actor,
            body.out_request_no,
            rule=SCHEDULE_REFERENCE,
            signature=body.signature,
            verifier=verifier,
        )
    )
    return written(outcome)


async def _version_answers(
    session: AsyncSession, wanted: Sequence[RuleVersion], siblings: Sequence[RuleVersion], now: int
) -> list[dict[str, Any]]:
    entries = [payloads.entries_from_json(row.entries or []) for row in wanted]
    named = [entry for each in entries for entry in each]
    names = await schedules.rule_names(session, wanted[0].platform_id, named) if wanted else {}
    return [
        {
            "version": row.version,
            "state": rulestate.state_of(row, siblings, now).name,
            "effective_from": row.effective_from,
            "content_hash": hex_id(row.content_hash),
            "entries": [_entry_answer(entry, names) for entry in each],
            "veto": veto_of(row),
        }
        for row, each in zip(wanted, entries, strict=True)
    ]


def _entry_answer(entry: Entry, names: Mapping[bytes, str]) -> dict[str, Any]:
    return {
        "out_rule_no": names.get(entry.rule_id),
        "rule_id": hex_id(entry.rule_id),
        "criteria": list(entry.criteria),
        "facts": Facts.unpack(entry.facts).stated(),
        "currency": entry.currency or None,
        "amount_from": entry.amount_from,
        "amount_below": entry.amount_below,
        "valid_from": entry.valid_from,
        "valid_until": entry.valid_until,
    }
