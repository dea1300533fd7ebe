"""`POST /v1/quote`: a dry run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.api.auth import allow
from fenzhang.api.documentation import operation
from fenzhang.api.present import selection_answer, share_out_answer
from fenzhang.api.problems import plain
from fenzhang.api.responses import OrjsonResponse
from fenzhang.api.routing import SecuredRoute
from fenzhang.api.schemas.answers import QuoteAnswer
from fenzhang.api.schemas.governance import QuoteBody
from fenzhang.api.services import services_of
from fenzhang.api.sharing import cap_of
from fenzhang.chain.views import ChainView
from fenzhang.domain.allocation import Allocation, given_ranges
from fenzhang.domain.facts import NO_FACTS
from fenzhang.domain.identifiers import hex_id, rule_id
from fenzhang.domain.rules import Leg, leaf_indices, roles_of
from fenzhang.domain.sharing import to_others
from fenzhang.intake import quotes, reading, rules, rulestate, schedules
from fenzhang.intake.actor import Actor, Scope
from fenzhang.intake.errors import NoScheduleInForce, UnknownRule
from fenzhang.intake.snapshot import (
    RuleShape,
    Selected,
    Snapshot,
    chain_time,
    load_participants,
    platform_of,
)
from fenzhang.store import payloads
from fenzhang.store.reasons import reason_to_json
from fenzhang.store.tables import Participant, RuleVersion

router = APIRouter(route_class=SecuredRoute, tags=["Rules"])
Platform = Annotated[Actor, Depends(allow(Scope.PLATFORM))]
_PROBLEMS = (400, 401, 403, 404, 409, 413, 415, 422, 503)


@router.post("/v1/quote", **operation({200: QuoteAnswer}, *_PROBLEMS, scopes=(Scope.PLATFORM,)))
async def quote(request: Request, body: QuoteBody, actor: Platform) -> OrjsonResponse:
    """What a rule makes of an amount, by the Python specification and by the contract. Nothing is written."""
    services = services_of(request)
    async with services.database.read() as session:
        quoted = await _resolve(session, actor, body)
        cap = await cap_of(session, actor.namespace, quoted.rule) if quoted.rule else 0
        terms = quoted.order
        out = 0 if terms is None else await reading.share_out_of(session, terms.order_id, terms.merchant)
    legs, bound = quoted.legs, quoted.bound
    given = body.given or ()
    ours = quotes.python_answer(legs, body.amount, given)
    theirs = await quotes.chain_answer(services.chain, legs, body.amount, given)
    selects = quoted.selected is None or await _selects(services.chain, actor, body, quoted.selected)
    answer = {
        "python": _side(ours),
        "chain": _side(theirs),
        "agree": ours == theirs and selects,
        "reason": None if ours.error is None else plain(reason_to_json(ours.error)),
        "allocations": None if ours.leaves is None else _allocations(legs, ours.leaves, bound),
        "terms": None if quoted.rule is None else quoted.rule.terms,
        "share_out": _share_out(cap, out, terms, body.amount, _recipients(legs, ours.leaves, bound)),
        "given": [asdict(found) for found in given_ranges(legs, body.amount, given)],
        "selection": quoted.selection,
    }
    return OrjsonResponse(answer)


@dataclass(frozen=True, slots=True)
class _Quoted:
    """What is quoted: legs and who holds their roles; their rule version, and the order if one was named."""

    legs: Sequence[Leg]
    bound: dict[str, bytes]
    rule: RuleVersion | None = None
    order: reading.Terms | None = None
    selected: Selected | None = None
    selection: dict[str, Any] | None = None
    """What the schedule selected, as it is shown."""


async def _resolve(session: AsyncSession, actor: Actor, body: QuoteBody) -> _Quoted:
    platform = await platform_of(session, actor.namespace)
    snapshot = Snapshot(platform, 0)
    named = [leg.named() for leg in body.legs or ()]
    names = {leg.recipient for leg in named if leg.recipient is not None} | set(body.bindings.values())
    await load_participants(session, snapshot, names)
    legs: tuple[Leg, ...]
    rule, order, selected, selection = None, None, None, None
    if body.out_order_no is not None:
        order = reading.terms_of(await reading.order_named(session, platform.id, body.out_order_no))
        rule = await session.get(RuleVersion, (platform.id, order.rule_id, order.rule_version))
        if rule is None:
            raise UnknownRule(hex_id(order.rule_id))
    elif body.out_rule_no is not None:
        rule = await _rule_named(session, platform.id, body.out_rule_no, body.version)
    elif body.currency is not None:
        selected, versions = await _chosen(session, platform, body)
        now = await chain_time(session)
        rule = rulestate.usable(versions, now)
        selection = selection_answer((selected, versions), now)
    if rule is not None:
        legs = payloads.legs_from_json(rule.legs)
    else:
        legs = tuple(
            leg.leg
            if leg.recipient is None
            else leg.with_recipient(snapshot.active_participant(f"legs[{index}].recipient", leg.recipient))
            for index, leg in enumerate(named)
        )
    roles = tuple(roles_of(legs))
    shape = RuleShape(roles, (), len(leaf_indices(legs)), len(legs))
    bound = snapshot.bind(shape, body.bindings)
    if order is not None:
        bound = tuple(ours if any(ours) else given for ours, given in zip(order.bindings, bound, strict=True))
    return _Quoted(legs, dict(zip(roles, bound, strict=True)), rule, order, selected, selection)


async def _chosen(
    session: AsyncSession, platform: Participant, body: QuoteBody
) -> tuple[Selected, Sequence[RuleVersion]]:
    """What the schedule selects, and the versions of that rule. Raises NoScheduleInForce, UnknownRule."""
    facts = NO_FACTS if body.facts is None else body.facts.facts()
    chosen = await schedules.choose(session, platform, facts, body.currency or "", body.amount)
    if chosen is None:
        raise NoScheduleInForce
    if not chosen[1]:
        raise UnknownRule(chosen[0].rule)
    return chosen


async def _selects(view: ChainView, actor: Actor, body: QuoteBody, selected: Selected) -> bool:
    """Whether the contract selects the same entry of the same version. Raises NodeUnavailable."""
    facts = NO_FACTS if body.facts is None else body.facts.facts()
    found = await view.select(actor.namespace, facts.pack(), body.currency or "", body.amount)
    return (found.version, found.entry) == (selected.schedule_version, selected.selection.index)


async def _rule_named(
    session: AsyncSession, platform_id: bytes, reference: str, version: int | None
) -> RuleVersion:
    """The named version, else the newest: a rule can be tried before anybody approves it."""
    versions = await rules.versions_of(session, platform_id, rule_id(platform_id, reference))
    found = next((row for row in reversed(versions) if version in {None, row.version}), None)
    if found is None:
        raise UnknownRule(reference if version is None else f"{reference} version {version}")
    return found


def _share_out(
    cap: int, out: int, order: reading.Terms | None, amount: int, allocations: Sequence[Allocation]
) -> dict[str, Any] | None:
    """The cap, and whether this split would be within it; without an order, as if the amount were all of one."""
    found = share_out_answer(cap, amount if order is None else order.amount, out)
    if found is None or order is None or not allocations:
        return found and {**found, "leaving": None, "fits": None}
    leaving = to_others(allocations, order.merchant)
    return {**found, "leaving": leaving, "fits": leaving <= found["left"]}


def _recipients(
    legs: Sequence[Leg], leaves: Sequence[int] | None, bound: dict[str, bytes]
) -> list[Allocation]:
    """Who would receive what; 32 zero bytes for a role that nobody holds."""
    places = [legs[index] for index in leaf_indices(legs)]
    receivers = [leg.recipient or bound.get(leg.role or "", bytes(32)) for leg in places]
    return [Allocation(who, share) for who, share in zip(receivers, leaves or (), strict=leaves is not None)]


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
