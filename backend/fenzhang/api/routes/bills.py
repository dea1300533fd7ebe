"""`/v1/bills`: every success and failure of a day."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated, Any, BinaryIO

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import StreamingResponse
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.api.auth import allow
from fenzhang.api.bills import bill_named
from fenzhang.api.documentation import READ, operation
from fenzhang.api.routing import SecuredRoute
from fenzhang.api.schemas.ledger import StatementAnswer
from fenzhang.api.services import services_of
from fenzhang.api.types import Date, ParticipantName, Reference
from fenzhang.clearing.bills.files import PACKED, spool
from fenzhang.clearing.bills.formats import BillFormat
from fenzhang.domain.errors import InvalidInput
from fenzhang.intake import participants
from fenzhang.intake.actor import Actor, Scope
from fenzhang.intake.errors import UnknownPlatform
from fenzhang.intake.snapshot import platform_of
from fenzhang.store.tables import Participant

router = APIRouter(route_class=SecuredRoute, tags=["Bills"])
_READERS = (Scope.PLATFORM, Scope.OPERATOR, Scope.AUDITOR)
_ALL_PLATFORMS = frozenset({Scope.OPERATOR, Scope.AUDITOR})
Reader = Annotated[Actor, Depends(allow(*_READERS))]
_MEDIA_TYPE = {BillFormat.CSV: "text/csv; charset=utf-8", BillFormat.JSONL: "application/jsonl"}
_GZIP = "application/gzip"
_PIECE_BYTES = 64 * 1024


def _bill_operation() -> dict[str, Any]:
    described = operation({200: StatementAnswer}, *READ, 409, scopes=_READERS)
    text = {found.partition(";")[0]: {"schema": {"type": "string"}} for found in _MEDIA_TYPE.values()}
    described["responses"][200] = {
        "description": HTTPStatus.OK.phrase,
        "content": {**text, _GZIP: {"schema": {"type": "string", "format": "binary"}}},
    }
    return described | {"response_class": StreamingResponse}


@router.get("/v1/bills/{day}", **_bill_operation())
async def get_bill(
    *,
    request: Request,
    day: Date,
    actor: Reader,
    platform: Annotated[
        Reference | None, Query(description="Whose bill. Operators and auditors name the platform.")
    ] = None,
    participant: Annotated[ParticipantName | None, Query(description="The bill of this participant.")] = None,
    merchant: Annotated[ParticipantName | None, Query(description="Of the orders of this merchant.")] = None,
    form: Annotated[BillFormat, Query(alias="format")] = BillFormat.JSONL,
    gzip: Annotated[bool, Query(description="As a gzip file.")] = False,
) -> StreamingResponse:
    """Every record and rejection of a day, and the totals; the same day gives the same bytes.

    409 until the day is over on the chain and nothing can change it. `Bill-SHA256` is the hash of the bill, `ETag` and
    `Repr-Digest` are those of the bytes that are sent.
    """
    services = services_of(request)
    async with services.database.read() as session:
        whose = await _platform(session, actor, platform)
        bill = await bill_named(
            session, services.settings, whose, day, form, participant=participant, merchant=merchant
        )
    async with services.bills:
        spooled = await spool(services.database, bill, services.settings.bill_depth, packed=gzip)
    name = bill.file_name + (PACKED if gzip else "")
    return StreamingResponse(
        _pieces(spooled.file),
        media_type=_GZIP if gzip else _MEDIA_TYPE[form],
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Content-Length": str(spooled.size),
            "ETag": f'"{spooled.sha256.hex()}"',
            "Repr-Digest": f"sha-256=:{base64.b64encode(spooled.sha256).decode()}:",
            "Bill-SHA256": spooled.made.sha256.hex(),
        },
    )


async def _platform(session: AsyncSession, actor: Actor, named: str | None) -> Participant:
    """The platform that `actor` asks for. Raises UnknownPlatform also for one that it may not read."""
    if named is None and actor.platform_id is None:
        raise InvalidInput("platform", "name the platform")
    if named is not None and actor.scopes & _ALL_PLATFORMS:
        return await participants.platform_named(session, named)
    own = await platform_of(session, actor.namespace)
    if named not in {None, own.reference}:
        raise UnknownPlatform(named or "", "platform")
    return own


async def _pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    with file:
        while piece := await asyncio.to_thread(file.read, _PIECE_BYTES):
            yield piece
