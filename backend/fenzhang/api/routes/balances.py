"""`/v1/positions` and `/v1/trial-balance`: what the clearing ledger says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.api.auth import allow
from fenzhang.api.documentation import LIST, READ, operation
from fenzhang.api.problems import plain
from fenzhang.api.responses import OrjsonResponse
from fenzhang.api.routing import SecuredRoute
from fenzhang.api.schemas.answers import PositionList, TrialBalanceAnswer
from fenzhang.api.services import services_of
from fenzhang.api.types import ParticipantName
from fenzhang.domain.identifiers import hex_id
from fenzhang.intake import participants
from fenzhang.intake.actor import Actor, Scope
from fenzhang.ledger.balances import position, trial_balance
from fenzhang.store.tables import Participant

router = APIRouter(route_class=SecuredRoute, tags=["Balances"])
Platform = Annotated[Actor, Depends(allow(Scope.PLATFORM))]
Auditor = Annotated[Actor, Depends(allow(Scope.OPERATOR, Scope.AUDITOR))]
_PLATFORM = (Scope.PLATFORM,)
_AUDITORS = (Scope.OPERATOR, Scope.AUDITOR)
_NOBODY = bytes(32)
_MAX_PAGE = 1_000


@router.get("/v1/positions", **operation({200: PositionList}, *LIST, scopes=_PLATFORM))
async def list_positions(
    request: Request,
    actor: Platform,
    after: Annotated[str, Query(max_length=64, description="`next` of the page before.")] = "",
    limit: Annotated[int, Query(ge=1, le=_MAX_PAGE, description="Participants on a page.")] = _MAX_PAGE,
) -> OrjsonResponse:
    """What is payable to the platform's participants, itself included, by currency."""
    async with services_of(request).database.read() as session:
        cursor = after.replace("\0", "")
        found = await participants.list_participants(session, actor.namespace, cursor, limit + 1)
        shown = await _positions(session, found[:limit])
    more = found[limit - 1].reference if len(found) > limit else None
    return OrjsonResponse({"positions": shown, "next": more})


@router.get("/v1/positions/{participant}", **operation({200: PositionList}, *READ, scopes=_PLATFORM))
async def get_positions(request: Request, participant: ParticipantName, actor: Platform) -> OrjsonResponse:
    """What is payable to one participant, by currency."""
    async with services_of(request).database.read() as session:
        found = await participants.participant_named(session, actor.namespace, participant)
        shown = await _positions(session, [found])
    return OrjsonResponse({"positions": shown, "next": None})


async def _positions(session: AsyncSession, found: Sequence[Participant]) -> list[dict[str, Any]]:
    amounts = await position(session, [participant.id for participant in found])
    by_participant: dict[bytes, list[tuple[str, int]]] = {}
    for (participant_id, currency), amount in sorted(amounts.items()):
        by_participant.setdefault(participant_id, []).append((currency, amount))
    return [
        {
            "out_participant_no": participant.reference,
            "participant_id": hex_id(participant.id),
            "currency": currency,
            "amount": plain(amount),
        }
        for participant in found
        for currency, amount in by_participant.get(participant.id, ())
    ]


@router.get("/v1/trial-balance", **operation({200: TrialBalanceAnswer}, *LIST, scopes=_AUDITORS))
async def get_trial_balance(request: Request, _actor: Auditor) -> OrjsonResponse:
    """Every account with the sums of its postings. Per currency both columns are equal, always."""
    async with services_of(request).database.read() as session:
        rows = await trial_balance(session)
    totals: dict[str, list[int]] = {}
    for row in rows:
        total = totals.setdefault(row.currency, [0, 0])
        total[0] += row.debit
        total[1] += row.credit
    answer = {
        "accounts": [
            {
                "kind": row.kind.value,
                "currency": row.currency,
                "participant_id": None if row.participant_id == _NOBODY else hex_id(row.participant_id),
                "debit": plain(row.debit),
                "credit": plain(row.credit),
            }
            for row in rows
        ],
        "totals": [
            {"currency": currency, "debit": plain(debit), "credit": plain(credit)}
            for currency, (debit, credit) in sorted(totals.items())
        ],
    }
    return OrjsonResponse(answer)
