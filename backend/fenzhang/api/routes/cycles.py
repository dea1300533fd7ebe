"""`/v1/cycles` and `/v1/payouts`: what cycles pay to whom, why not to others, and what became of it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.api.auth import allow
from fenzhang.api.documentation import LIST, READ, operation
from fenzhang.api.problems import plain
from fenzhang.api.responses import OrjsonResponse
from fenzhang.api.routing import SecuredRoute
from fenzhang.api.schemas.cycles import CycleAnswer, CycleList, PayoutList, ProvenPayoutAnswer
from fenzhang.api.services import services_of
from fenzhang.api.types import Currency, ParticipantName
from fenzhang.clearing.cycles import showing
from fenzhang.clearing.cycles.showing import CycleName, ShownCycle, ShownPayout, UnknownCycle
from fenzhang.domain.identifiers import hex_id, parse_id
from fenzhang.intake import participants
from fenzhang.intake.actor import Actor, Scope
from fenzhang.intake.errors import UnknownParticipant
from fenzhang.store.cycletables import CyclePlan
from fenzhang.store.plans import split_proof
from fenzhang.store.snapshots import freeze

router = APIRouter(route_class=SecuredRoute, tags=["Cycles"])
_READERS = (Scope.PLATFORM, Scope.OPERATOR, Scope.AUDITOR)
_ALL = frozenset({Scope.OPERATOR, Scope.AUDITOR})
Reader = Annotated[Actor, Depends(allow(*_READERS))]
_PAGE, _MAX_PAGE = 100, 1_000
_MAX_NUMBER = 2**32 - 1
_SCHEME_PATTERN = "^[a-z0-9][a-z0-9-]{0,31}$"
SchemeName = Annotated[str, Query(pattern=_SCHEME_PATTERN)]
_CYCLE_CURSOR = "^[A-Z]{3}-[0-9]{1,10}-[a-z0-9][a-z0-9-]{0,31}$"
_PARTICIPANT_CURSOR = "^0x[0-9a-f]{64}$"
_PAYOUT_CURSOR = "^[0-9]{1,15}-[0-9]{1,15}$"
Limit = Annotated[int, Query(ge=1, le=_MAX_PAGE)]


class Named:
    """The cycle that a path names."""

    def __init__(
        self,
        currency: Currency,
        scheme: Annotated[str, Path(pattern=_SCHEME_PATTERN)],
        number: Annotated[int, Path(ge=1, le=_MAX_NUMBER)],
    ) -> None:
        self.name = CycleName(currency, scheme, number)

    async def cycle(self, session: AsyncSession) -> ShownCycle:
        """It. Raises UnknownCycle."""
        return await showing.cycle(session, self.name)

    async def plan(self, session: AsyncSession) -> CyclePlan:
        """Its plan. Raises UnknownCycle also for one that was planned elsewhere."""
        found = (await self.cycle(session)).plan
        if found is None:
            raise UnknownCycle(f"cycle {self.name.number} was not planned here")
        return found


@router.get("/v1/cycles", **operation({200: CycleList}, *LIST, scopes=_READERS))
async def list_cycles(
    *,
    request: Request,
    _actor: Reader,
    currency: Annotated[Currency | None, Query()] = None,
    scheme: SchemeName | None = None,
    after: Annotated[str | None, Query(pattern=_CYCLE_CURSOR)] = None,
    limit: Limit = _PAGE,
) -> OrjsonResponse:
    """Cycles by currency, scheme and number."""
    behind = None
    if after is not None:
        first, number, rest = after.split("-", 2)
        behind = CycleName(first, rest, int(number))
    async with services_of(request).database.read() as session:
        await freeze(session)
        found = await showing.cycles(session, limit + 1, currency=currency, scheme=scheme, after=behind)
        counts = await showing.left_out_counts(session, [each.plan.id for each in found if each.plan])
    shown = [cycle_answer(each, counts) for each in found[:limit]]
    return OrjsonResponse(
        {"cycles": shown, "next": str(found[limit - 1].name) if len(found) > limit else None}
    )


@router.get(
    "/v1/cycles/{currency}/{scheme}/{number}", **operation({200: CycleAnswer}, *READ, scopes=_READERS)
)
async def get_cycle(request: Request, named: Annotated[Named, Depends()], _actor: Reader) -> OrjsonResponse:
    """A cycle: what it pays and vouches for, and how far it has come."""
    async with services_of(request).database.read() as session:
        await freeze(session)
        found = await named.cycle(session)
        counts = await showing.left_out_counts(session, [found.plan.id] if found.plan else [])
    return OrjsonResponse(cycle_answer(found, counts))


@router.get(
    "/v1/cycles/{currency}/{scheme}/{number}/payouts",
    **operation({200: PayoutList}, *READ, scopes=_READERS),
)
async def list_payouts_of_cycle(
    request: Request,
    named: Annotated[Named, Depends()],
    actor: Reader,
    after: Annotated[str | None, Query(pattern=_PARTICIPANT_CURSOR)] = None,
    limit: Limit = _PAGE,
) -> OrjsonResponse:
    """What a cycle does for participants, the platform's own or all of them, and why it leaves out some."""
    behind = b"" if after is None else bytes.fromhex(after[2:])
    async with services_of(request).database.read() as session:
        await freeze(session)
        plan = await named.plan(session)
        found = await showing.payouts_of_cycle(session, plan, _platform_of(actor), behind, limit + 1)
    last = hex_id(found[limit - 1].planned.participant_id) if len(found) > limit else None
    return OrjsonResponse({"payouts": [payout_answer(each) for each in found[:limit]], "next": last})


@router.get(
    "/v1/cycles/{currency}/{scheme}/{number}/payouts/{participant}",
    **operation({200: ProvenPayoutAnswer}, *READ, scopes=_READERS),
)
async def get_payout_of_cycle(
    request: Request, named: Annotated[Named, Depends()], participant: ParticipantName, actor: Reader
) -> OrjsonResponse:
    """What a cycle does for a participant, with the proof that the payout is in it.

    Operators and auditors name participants by their 0x ids.
    """
    async with services_of(request).database.read() as session:
        await freeze(session)
        plan = await named.plan(session)
        owner = await _participant(session, actor, participant)
        found = await showing.payout_of_participant(session, plan, owner)
    proof = found.planned.proof
    return OrjsonResponse(
        payout_answer(found)
        | {
            "cycle_id": hex_id(plan.cycle_id),
            "payout_root": hex_id(plan.payout_root),
            "proof": None if proof is None else [hex_id(each) for each in split_proof(proof)],
        }
    )


@router.get("/v1/payouts", **operation({200: PayoutList}, *READ, scopes=_READERS))
async def list_payouts(
    request: Request,
    actor: Reader,
    participant: Annotated[ParticipantName | None, Query(description="Of this one alone.")] = None,
    after: Annotated[str | None, Query(pattern=_PAYOUT_CURSOR)] = None,
    limit: Limit = _PAGE,
) -> OrjsonResponse:
    """Payouts in the order in which they were planned: those to the platform's participants, or all."""
    plan, _, index = (after or "0-0").partition("-")
    behind = (int(plan), int(index) if after else -1)
    async with services_of(request).database.read() as session:
        await freeze(session)
        owner = None if participant is None else await _participant(session, actor, participant)
        found = await showing.payouts(session, _platform_of(actor), behind, limit + 1, owner)
    last = found[limit - 1].planned if len(found) > limit else None
    return OrjsonResponse(
        {
            "payouts": [payout_answer(each) for each in found[:limit]],
            "next": None if last is None else f"{last.plan_id}-{last.index}",
        }
    )


def _platform_of(actor: Actor) -> bytes | None:
    """Whose participants the actor may see, None for all."""
    return None if actor.scopes & _ALL else actor.namespace


async def _participant(session: AsyncSession, actor: Actor, name: str) -> bytes:
    """Id of a participant that the actor may see. Raises UnknownParticipant."""
    platform = _platform_of(actor)
    if platform is not None:
        return (await participants.participant_named(session, platform, name)).id
    if not name.startswith("0x"):
        raise UnknownParticipant(name)
    return parse_id("participant", name)


def cycle_answer(found: ShownCycle, counts: dict[int, dict[str, int]]) -> dict[str, Any]:
    """A cycle as the API tells it."""
    plan, content = found.plan, found.content
    return {
        "currency": found.name.currency,
        "scheme": found.name.scheme,
        "number": found.name.number,
        "cycle_id": hex_id(content.cycle_id),
        "state": found.state.value,
        "closes": None if plan is None else plan.closes,
        "due": None if plan is None else plan.due,
        "to_block": content.to_block,
        "at_block": content.at_block,
        "payouts": content.payouts,
        "total": content.total,
        "payout_root": hex_id(content.payout_root),
        "bill_root": hex_id(content.bill_root),
        "journal_head": hex_id(content.journal_head),
        "bank": None if content.bank is None else hex_id(content.bank),
        "refusal": None if plan is None else plan.refusal,
        "block_number": None if found.closed is None else found.closed.block_number,
        "left_out": None if plan is None else counts.get(plan.id, {}),
    }


def payout_answer(found: ShownPayout) -> dict[str, Any]:
    """What a cycle does for a participant, as the API tells it."""
    planned = found.planned
    return {
        "currency": found.name.currency,
        "scheme": found.name.scheme,
        "number": found.name.number,
        "participant_id": hex_id(planned.participant_id),
        "out_participant_no": found.reference,
        "brought_forward": plain(planned.brought_forward),
        "credit": plain(planned.credit),
        "debit": plain(planned.debit),
        "due": plain(planned.due),
        "position": plain(planned.position),
        "amount": planned.amount,
        "left_out": planned.left_out,
        "state": found.state,
        "reason": found.reason,
        "index": planned.index,
        "payout_id": None if planned.payout_id is None else hex_id(planned.payout_id),
        "end_to_end_id": planned.end_to_end_id,
    }
