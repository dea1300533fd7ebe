"""`POST /v1/quote`: a dry run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.api.auth import allow
from fenzhang.api.documentation import operation
from fenzhang.api.problems import plain
from fenzhang.api.responses import OrjsonResponse
from fenzhang.api.routing import SecuredRoute
from fenzhang.api.schemas.answers import QuoteAnswer
from fenzhang.api.schemas.governance import QuoteBody
from fenzhang.api.services import services_of
from fenzhang.domain.allocation import given_ranges
from fenzhang.domain.identifiers import hex_id, rule_id
from fenzhang.domain.rules import Leg, leaf_indices, roles_of
from fenzhang.intake import quotes, rules
from fenzhang.intake.actor import Actor, Scope
from fenzhang.intake.errors import UnknownRule
from fenzhang.intake.snapshot import RuleShape, Snapshot, load_participants, platform_of
from fenzhang.store import payloads
from fenzhang.store.reasons import reason_to_json

router = APIRouter(route_class=SecuredRoute, tags=["Rules"])
Platform = Annotated[Actor, Depends(allow(Scope.PLATFORM))]
_PROBLEMS = (400, 401, 403, 404, 409, 413, 415, 422, 503)


@router.post("/v1/quote", **operation({200: QuoteAnswer}, *_PROBLEMS, scopes=(Scope.PLATFORM,)))
async def quote(request: Request, body: QuoteBody, actor: Platform) -> OrjsonResponse:
    """What a rule makes of an amount, by the Python specification and by the contract. Nothing is written."""
    services = services_of(request)
    async with services.database.read() as session:
        legs, bound = await _resolve(session, actor, body)
    given = body.given or ()
    ours = quotes.python_answer(legs, body.amount, given)
    theirs = await quotes.chain_answer(services.chain, legs, body.amount, given)
    answer = {
        "python": _side(ours),
        "chain": _side(theirs),
        "agree": ours == theirs,
        "reason": None if ours.error is None else plain(reason_to_json(ours.error)),
        "allocations": None if ours.leaves is None else _allocations(legs, ours.leaves, bound),
        "given": [asdict(found) for found in given_ranges(legs, body.amount, given)],
    }
    return OrjsonResponse(answer)


async def _resolve(
    session: AsyncSession, actor: Actor, body: QuoteBody
) -> tuple[Sequence[Leg], dict[str, bytes]]:
    platform = await platform_of(session, actor.namespace)
    snapshot = Snapshot(platform, 0)
    named = [leg.named() for leg in body.legs or ()]
    names = {leg.recipient for leg in named if leg.recipient is not None} | set(body.bindings.values())
    await load_participants(session, snapshot, names)
    legs: tuple[Leg, ...]
    if body.out_rule_no is not None:
        legs = await _legs_of_rule(session, platform.id, body.out_rule_no, body.version)
    else:
        legs = tuple(
            leg.leg
            if leg.recipient is None
            else leg.with_recipient(snapshot.active_participant(f"legs[{index}].recipient", leg.recipient))
            for index, leg in enumerate(named)
        )
    roles = tuple(roles_of(legs))
    shape = RuleShape(roles, (), len(leaf_indices(legs)), len(legs))
    return legs, dict(zip(roles, snapshot.bind(shape, body.bindings), strict=True))


async def _legs_of_rule(
    session: AsyncSession, platform_id: bytes, reference: str, version: int | None
) -> tuple[Leg, ...]:
    """Legs of the named version, else of the newest: a rule can be tried before anybody approves it."""
    versions = await rules.versions_of(session, platform_id, rule_id(platform_id, reference))
    found = next((row for row in reversed(versions) if version in {None, row.version}), None)
    if found is None:
        raise UnknownRule(reference if version is None else f"{reference} version {version}")
    return payloads.legs_from_json(found.legs)


def _side(answer: quotes.QuoteAnswer) -> dict[str, Any]:
    return {"leaves": None if answer.leaves is None else list(answer.leaves), "error_leg": answer.error_leg}


def _allocations(legs: Sequence[Leg], leaves: Sequence[int], bound: dict[str, bytes]) -> list[dict[str, Any]]:
    allocations = []
    for index, amount in zip(leaf_indices(legs), leaves, strict=True):
        leg = legs[index]
        recipient = leg.recipient or bound.get(leg.role or "", b"")
        known = any(recipient)
        allocations.append(
            {"participant_id": hex_id(recipient) if known else None, "role": leg.role, "amount": amount}
        )
    return allocations
