"""`/v1/statements` and `/v1/journal`: what was posted, account by account, all in a row, and as one hash."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import StreamingResponse
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.api.auth import allow
from fenzhang.api.documentation import READ, operation
from fenzhang.api.errors import InvalidAccount
from fenzhang.api.responses import OrjsonResponse
from fenzhang.api.routing import SecuredRoute
from fenzhang.api.schemas.ledger import JournalHeadAnswer, StatementAnswer
from fenzhang.api.services import services_of
from fenzhang.api.statements import names_of, statement_answer
from fenzhang.api.types import Currency, Height, HexId, ParticipantName, Timestamp
from fenzhang.domain.identifiers import hex_id
from fenzhang.intake import participants
from fenzhang.intake.actor import Actor, Scope
from fenzhang.ledger.anchors import Compared, newest_anchor
from fenzhang.ledger.chart import NO_PARTICIPANT, AccountKey, payable
from fenzhang.ledger.journal import JournalFormat, journal
from fenzhang.ledger.links import head
from fenzhang.ledger.moments import range_of
from fenzhang.ledger.statement import CURSOR_PATTERN, Place, beginning, statement
from fenzhang.store.snapshots import freeze
from fenzhang.store.tables import AccountKind

router = APIRouter(route_class=SecuredRoute, tags=["Ledger"])
Platform = Annotated[Actor, Depends(allow(Scope.PLATFORM))]
Auditor = Annotated[Actor, Depends(allow(Scope.OPERATOR, Scope.AUDITOR))]
_PLATFORM = (Scope.PLATFORM,)
_AUDITORS = (Scope.OPERATOR, Scope.AUDITOR)
_PAGE = 100
_MAX_PAGE = 1_000
_MEDIA_TYPE = {JournalFormat.CSV: "text/csv; charset=utf-8", JournalFormat.JSONL: "application/jsonl"}

FromBlock = Annotated[Height | None, Query(description="First block; else the chain's first.")]
ToBlock = Annotated[
    Height | None, Query(description="Last block, included; it must be mirrored. Else the newest.")
]


class Page:
    """Which blocks a statement is about, and which page of it is asked for."""

    def __init__(
        self,
        *,
        from_block: FromBlock = None,
        to_block: ToBlock = None,
        begin: Annotated[
            Timestamp | None, Query(alias="from", description="Instead of blocks: Unix time, included.")
        ] = None,
        end: Annotated[Timestamp | None, Query(alias="to", description="Unix time, not included.")] = None,
        after: Annotated[
            str | None,
            Query(pattern=CURSOR_PATTERN, description="`next` of the page before; it knows the blocks."),
        ] = None,
        limit: Annotated[int, Query(ge=1, le=_MAX_PAGE, description="Lines on a page.")] = _PAGE,
    ) -> None:
        self._blocks = {"from_block": from_block, "to_block": to_block, "begin": begin, "end": end}
        self._after = after
        self.limit = limit

    async def place(self, session: AsyncSession) -> Place:
        """Where the page begins. Raises InvalidInput, InvalidPeriod, BlockNotMirrored."""
        if self._after is not None:
            return Place.read(self._after)
        return await beginning(session, await range_of(session, **self._blocks))


@router.get("/v1/statements/{participant}", **operation({200: StatementAnswer}, *READ, scopes=_PLATFORM))
async def get_statement(
    request: Request,
    participant: ParticipantName,
    currency: Annotated[Currency, Query()],
    page: Annotated[Page, Depends()],
    actor: Platform,
) -> OrjsonResponse:
    """What is payable to a participant in a currency: before, every posting, and after.

    Postings for orders of other platforms are among them, without what these are called.
    """
    async with services_of(request).database.read() as session:
        await freeze(session)
        owner = await participants.participant_named(session, actor.namespace, participant)
        account = payable(currency, owner.id)
        found = await statement(session, account, await page.place(session), page.limit)
        names = await names_of(session, actor.namespace, found.lines)
    return OrjsonResponse(statement_answer(found, owner.reference, names))


@router.get("/v1/statements", **operation({200: StatementAnswer}, *READ, scopes=_AUDITORS))
async def get_account_statement(
    *,
    request: Request,
    account: Annotated[AccountKind, Query(description="Kind of the account.")],
    currency: Annotated[Currency, Query()],
    participant_id: Annotated[HexId | None, Query(description="For recipient_payable: whose.")] = None,
    page: Annotated[Page, Depends()],
    _actor: Auditor,
) -> OrjsonResponse:
    """Any account of the clearing ledger: what it held before, every posting, and what it held after."""
    if (participant_id is not None) != (account is AccountKind.RECIPIENT_PAYABLE):
        raise InvalidAccount("participant_id", "it goes with recipient_payable, and only with it")
    key = AccountKey(account.value, currency, participant_id or NO_PARTICIPANT)
    async with services_of(request).database.read() as session:
        await freeze(session)
        found = await statement(session, key, await page.place(session), page.limit)
    return OrjsonResponse(statement_answer(found, None, None))


def _journal_operation() -> dict[str, Any]:
    described = operation({200: StatementAnswer}, *READ, scopes=_AUDITORS)
    described["responses"][200] = {
        "description": HTTPStatus.OK.phrase,
        "content": {
            found.partition(";")[0]: {"schema": {"type": "string"}} for found in _MEDIA_TYPE.values()
        },
    }
    return described | {"response_class": StreamingResponse}


@router.get("/v1/journal", **_journal_operation())
async def get_journal(
    *,
    request: Request,
    _actor: Auditor,
    from_block: FromBlock = None,
    to_block: ToBlock = None,
    form: Annotated[JournalFormat, Query(alias="format")] = JournalFormat.JSONL,
) -> StreamingResponse:
    """Every posting of some blocks, one per line, in order; the same blocks give the same bytes."""
    database = services_of(request).database
    async with database.read() as session:
        await freeze(session)
        blocks = await range_of(session, from_block=from_block, to_block=to_block)
    name = f"journal-{blocks.first}-{blocks.last}.{form.value}"
    return StreamingResponse(
        journal(database, blocks, form),
        media_type=_MEDIA_TYPE[form],
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


@router.get("/v1/journal/head", **operation({200: JournalHeadAnswer}, *READ, scopes=_AUDITORS))
async def get_journal_head(request: Request, _actor: Auditor) -> OrjsonResponse:
    """The newest link of the journal's hash chain, which vouches for every posting so far.

    And whether the journal still has the head that the last cycle anchored on the chain.
    """
    async with services_of(request).database.read() as session:
        await freeze(session)
        link, compared = await head(session), await newest_anchor(session)
    return OrjsonResponse(
        {
            "link": link.number,
            "hash": hex_id(link.hash),
            "last_posting": link.last_posting,
            "block_number": link.block_number,
            "anchor": None if compared is None else _anchor(compared),
        }
    )


def _anchor(compared: Compared) -> dict[str, Any]:
    anchor, link = compared
    return {
        "cycle_id": hex_id(anchor.cycle_id),
        "currency": anchor.currency,
        "scheme": anchor.scheme,
        "number": anchor.number,
        "at_block": anchor.at_block,
        "journal_head": hex_id(anchor.journal_head),
        "link": link.number,
        "agrees": compared.agrees,
    }
