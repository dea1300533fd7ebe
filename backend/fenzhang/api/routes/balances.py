"""`/v1/positions`, `/v1/debts` and `/v1/trial-balance`: what accounts of the ledger hold, now or at a past moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.api.auth import allow
from fenzhang.api.documentation import READ, operation
from fenzhang.api.problems import plain
from fenzhang.api.responses import OrjsonResponse
from fenzhang.api.routing import SecuredRoute
from fenzhang.api.schemas.answers import DebtList, PositionList
from fenzhang.api.schemas.ledger import TrialBalanceAnswer
from fenzhang.api.services import services_of
from fenzhang.api.statements import debts_answer, moment_answer, trial_balance_answer
from fenzhang.api.types import Height, ParticipantName, Timestamp
from fenzhang.domain.identifiers import hex_id
from fenzhang.intake import participants
from fenzhang.intake.actor import Actor, Scope
from fenzhang.ledger.balances import debts, position, trial_balance
from fenzhang.ledger.moments import CYCLE_PATTERN, CycleName, Moment, moment_of
from fenzhang.store.snapshots import freeze
from fenzhang.store.tables import Participant

router = APIRouter(route_class=SecuredRoute, tags=["Balances"])
Platform = Annotated[Actor, Depends(allow(Scope.PLATFORM))]
Auditor = Annotated[Actor, Depends(allow(Scope.OPERATOR, Scope.AUDITOR))]
_PLATFORM = (Scope.PLATFORM,)
_AUDITORS = (Scope.OPERATOR, Scope.AUDITOR)
_DEBT_READERS = (Scope.PLATFORM, Scope.OPERATOR, Scope.AUDITOR)
DebtReader = Annotated[Actor, Depends(allow(*_DEBT_READERS))]
_DEBT_CURSOR = "^([A-Z]{3}-0x[0-9a-f]{64})?$"
_MAX_PAGE = 1_000
AtBlock = Annotated[
    Height | None, Query(description="Instead of now: at the end of this block, which must be mirrored.")
]
At = Annotated[
    Timestamp | None, Query(description="Instead of now: at the end of the last block by this Unix time.")
]


@router.get("/v1/positions", **operation({200: PositionList}, *READ, scopes=_PLATFORM))
async def list_positions(
    *,
    request: Request,
    actor: Platform,
    after: Annotated[str, Query(max_length=64, description="`next` of the page before.")] = "",
    limit: Annotated[int, Query(ge=1, le=_MAX_PAGE, description="Participants on a page.")] = _MAX_PAGE,
    at_block: AtBlock = None,
    at: At = None,
) -> OrjsonResponse:
    """What is payable to the platform's participants, itself included, by currency; negative is what they owe."""
    async with services_of(request).database.read() as session:
        await freeze(session)
        moment = await moment_of(session, at_block, at)
        cursor = after.replace("\0", "")
        found = await participants.list_participants(session, actor.namespace, cursor, limit + 1)
        shown = await _positions(session, found[:limit], moment)
    more = found[limit - 1].reference if len(found) > limit else None
    return OrjsonResponse({"positions": shown, "next": more, **moment_answer(moment)})


@router.get("/v1/positions/{participant}", **operation({200: PositionList}, *READ, scopes=_PLATFORM))
async def get_positions(
    request: Request,
    participant: ParticipantName,
    actor: Platform,
    at_block: AtBlock = None,
    at: At = None,
) -> OrjsonResponse:
    """What is payable to one participant, by currency, and what it owes."""
    async with services_of(request).database.read() as session:
        await freeze(session)
        moment = await moment_of(session, at_block, at)
        found = await participants.participant_named(session, actor.namespace, participant)
        shown = await _positions(session, [found], moment)
    return OrjsonResponse({"positions": shown, "next": None, **moment_answer(moment)})


async def _positions(
    session: AsyncSession, found: Sequence[Participant], moment: Moment
) -> list[dict[str, Any]]:
    amounts = await position(session, [participant.id for participant in found], moment.until)
    by_participant: dict[bytes, list[tuple[str, int]]] = {}
    for (participant_id, currency), amount in sorted(amounts.items()):
        by_participant.setdefault(participant_id, []).append((currency, amount))
    return [
        {
            "out_participant_no": participant.reference,
            "participant_id": hex_id(participant.id),
            "currency": currency,
            "amount": plain(amount),
            "debt": plain(max(-amount, 0)),
        }
        for participant in found
        for currency, amount in by_participant.get(participant.id, ())
    ]


@router.get("/v1/debts", **operation({200: DebtList}, *READ, scopes=_DEBT_READERS))
async def list_debts(
    *,
    request: Request,
    actor: DebtReader,
    after: Annotated[
        str, Query(pattern=_DEBT_CURSOR, max_length=70, description="`next` of the page before.")
    ] = "",
    limit: Annotated[int, Query(ge=1, le=_MAX_PAGE, description="Debts on a page.")] = _MAX_PAGE,
    at_block: AtBlock = None,
    at: At = None,
) -> OrjsonResponse:
    """Who owes: participants of the platform with negative positions; of all platforms for operators and auditors."""
    own = None if actor.scopes & {Scope.OPERATOR, Scope.AUDITOR} else actor.namespace
    async with services_of(request).database.read() as session:
        await freeze(session)
        moment = await moment_of(session, at_block, at)
        found = await debts(session, moment.until)
        owners = await participants.owners_of(session, {debt.participant_id for debt in found})
    if own is not None:
        found = [debt for debt in found if owners.get(debt.participant_id, (b"", ""))[0] == own]
    return OrjsonResponse(
        debts_answer(found, owners, after, limit, named=own is not None) | moment_answer(moment)
    )


@router.get("/v1/trial-balance", **operation({200: TrialBalanceAnswer}, *READ, scopes=_AUDITORS))
async def get_trial_balance(
    *,
    request: Request,
    _actor: Auditor,
    at_block: AtBlock = None,
    at: At = None,
    at_cycle: Annotated[
        str | None,
        Query(
            pattern=f"^{CYCLE_PATTERN}$",
            description="Instead of now: at the end of the last block of a closed cycle, such as CNY/standard/1.",
        ),
    ] = None,
) -> OrjsonResponse:
    """Every account with the sums of its postings. Per currency both columns are equal, always."""
    cycle = None if at_cycle is None else CycleName.read(at_cycle)
    async with services_of(request).database.read() as session:
        await freeze(session)
        moment = await moment_of(session, at_block, at, cycle)
        rows = await trial_balance(session, moment.until)
    return OrjsonResponse(trial_balance_answer(rows, moment))
