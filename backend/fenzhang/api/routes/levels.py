"""`/v1/levels`: a platform's participants as a tree, with positions that add up from below to above."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from fenzhang.api.auth import allow
from fenzhang.api.documentation import READ, operation
from fenzhang.api.problems import plain
from fenzhang.api.responses import OrjsonResponse
from fenzhang.api.routes.balances import At, AtBlock
from fenzhang.api.routing import SecuredRoute
from fenzhang.api.schemas.levels import LevelsAnswer
from fenzhang.api.services import services_of
from fenzhang.api.statements import moment_answer
from fenzhang.api.types import ParticipantName
from fenzhang.domain.identifiers import hex_id
from fenzhang.domain.places import TOP, Rung
from fenzhang.intake import participants
from fenzhang.intake.actor import Actor, Scope
from fenzhang.ledger.levels import Ladder, ladder
from fenzhang.ledger.moments import moment_of
from fenzhang.store.snapshots import freeze

router = APIRouter(route_class=SecuredRoute, tags=["Balances"])
Platform = Annotated[Actor, Depends(allow(Scope.PLATFORM))]
_MAX_PAGE = 1_000


@router.get("/v1/levels", **operation({200: LevelsAnswer}, *READ, scopes=(Scope.PLATFORM,)))
async def get_levels(
    *,
    request: Request,
    actor: Platform,
    below: Annotated[
        ParticipantName | None,
        Query(description="Whose participants are listed; without it, those at the top."),
    ] = None,
    after: Annotated[str, Query(max_length=64, description="`next` of the page before.")] = "",
    limit: Annotated[int, Query(ge=1, le=_MAX_PAGE, description="Participants on a page.")] = _MAX_PAGE,
    at_block: AtBlock = None,
    at: At = None,
) -> OrjsonResponse:
    """Sums per level, and the participants directly below one of them with what each and all below it hold.

    The tree is that of now; positions are those of now, or of a past moment.
    """
    async with services_of(request).database.read() as session:
        await freeze(session)
        moment = await moment_of(session, at_block, at)
        above = (
            None if below is None else await participants.participant_named(session, actor.namespace, below)
        )
        tree = await ladder(session, actor.namespace, moment.until)
    parent = TOP if above is None else above.id
    listed = [rung for rung in tree.directly_below(parent) if tree.references[rung.participant] > after]
    answer = {
        "levels": [
            {"level": sums.level, "participants": sums.participants, "positions": _plain(sums.positions)}
            for sums in tree.levels()
        ],
        "above": next((_rung(tree, rung) for rung in tree.rungs if rung.participant == parent), None),
        "participants": [_rung(tree, rung) for rung in listed[:limit]],
        "next": tree.references[listed[limit - 1].participant] if len(listed) > limit else None,
        **moment_answer(moment),
    }
    return OrjsonResponse(answer)


def _rung(tree: Ladder, rung: Rung) -> dict[str, Any]:
    return {
        "out_participant_no": tree.references[rung.participant],
        "participant_id": hex_id(rung.participant),
        "out_parent_no": tree.references.get(rung.parent),
        "level": rung.level,
        "below": rung.below,
        "own": _plain(rung.own),
        "together": _plain(rung.together),
    }


def _plain(amounts: dict[str, int]) -> dict[str, int | str]:
    return {currency: plain(amount) for currency, amount in sorted(amounts.items())}
