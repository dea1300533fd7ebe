"""`/v1/breaks`: what reconciliation found to differ, and what people say about it."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request

from fenzhang.api.auth import allow
from fenzhang.api.breaks import break_answer, told_answer
from fenzhang.api.documentation import LIST, READ, WRITE, operation
from fenzhang.api.responses import OrjsonResponse
from fenzhang.api.routing import SecuredRoute
from fenzhang.api.schemas.breaks import (
    BreakAnswer,
    BreakList,
    BreakResolutionBody,
    BreakStoryAnswer,
    ExplanationBody,
)
from fenzhang.api.services import services_of
from fenzhang.api.types import Currency
from fenzhang.clearing.reconciliation import breaks, corrections
from fenzhang.clearing.reconciliation.breaks import Word
from fenzhang.clearing.reconciliation.model import KINDS
from fenzhang.clearing.reconciliation.telling import Wanted, page, told
from fenzhang.intake.actor import Actor, Scope
from fenzhang.store.reconciliationtables import BreakState, Comparison, CorrectionTarget, Owner

router = APIRouter(route_class=SecuredRoute, tags=["Reconciliation"])
_OPERATOR = (Scope.OPERATOR,)
_AUDITORS = (Scope.OPERATOR, Scope.AUDITOR)
Operator = Annotated[Actor, Depends(allow(*_OPERATOR))]
Auditor = Annotated[Actor, Depends(allow(*_AUDITORS))]
_CREATED, _OK = 201, 200
_MAX_PAGE = 1_000
BreakNumber = Annotated[int, Path(ge=1, le=2**53 - 1)]


@router.get("/v1/breaks", **operation({200: BreakList}, *LIST, scopes=_AUDITORS))
async def list_breaks(
    *,
    request: Request,
    _actor: Auditor,
    state: Annotated[BreakState | None, Query(description="Default: those not RESOLVED.")] = None,
    kind: Annotated[str | None, Query(json_schema_extra={"enum": list(KINDS)})] = None,
    comparison: Annotated[Comparison | None, Query()] = None,
    owner: Annotated[Owner | None, Query()] = None,
    currency: Annotated[Currency | None, Query()] = None,
    after: Annotated[int, Query(ge=0, le=2**53 - 1, description="`next` of the page before.")] = 0,
    limit: Annotated[int, Query(ge=1, le=_MAX_PAGE)] = 100,
) -> OrjsonResponse:
    """What does not agree, the oldest first."""
    wanted = Wanted(state, kind, comparison, owner, currency)
    async with services_of(request).database.read() as session:
        found = await page(session, wanted, after, limit)
    return OrjsonResponse({"breaks": [break_answer(row) for row in found.breaks], "next": found.next})


@router.get("/v1/breaks/{number}", **operation({200: BreakStoryAnswer}, *READ, scopes=_AUDITORS))
async def get_break(request: Request, number: BreakNumber, _actor: Auditor) -> OrjsonResponse:
    """All about a break."""
    async with services_of(request).database.read() as session:
        return OrjsonResponse(told_answer(await told(session, number)))


@router.post(
    "/v1/breaks/{number}/explanations",
    **operation({201: BreakAnswer, 200: BreakAnswer}, *WRITE, scopes=_OPERATOR),
)
async def explain(
    request: Request, number: BreakNumber, body: ExplanationBody, actor: Operator
) -> OrjsonResponse:
    """Say what a break is; 200 when that was said before."""
    now = int(time.time())
    word = Word(actor.client_id, body.out_request_no, body.explanation, now, field="explanation")
    async with services_of(request).database.write() as session:
        row, is_new = await breaks.explain(session, number, word)
    return OrjsonResponse(break_answer(row), _CREATED if is_new else _OK)


@router.post(
    "/v1/breaks/{number}/resolutions",
    **operation({201: BreakAnswer, 200: BreakAnswer}, *WRITE, scopes=_OPERATOR),
)
async def resolve(
    request: Request, number: BreakNumber, body: BreakResolutionBody, actor: Operator
) -> OrjsonResponse:
    """Resolve a break that was explained, with what makes up for it if anything does; 200 when that was said before."""
    word = Word(actor.client_id, body.out_request_no, body.note, int(time.time()))
    named = body.correction
    correction = None if named is None else corrections.Named(CorrectionTarget(named.kind), named.id)
    async with services_of(request).database.write() as session:
        row, is_new = await corrections.resolve(session, number, word, correction)
    return OrjsonResponse(break_answer(row), _CREATED if is_new else _OK)
