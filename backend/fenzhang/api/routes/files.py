"""`/v1/files`: instructions by the hundred thousand, uploaded as a file and processed in the background."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect

from fenzhang.api.auth import allow
from fenzhang.api.documentation import LIST, READ, WRITE, operation
from fenzhang.api.errors import TooManyFiles
from fenzhang.api.guard import FILE_PATH, FILE_TYPES, media_type_of
from fenzhang.api.responses import OrjsonResponse
from fenzhang.api.routing import SecuredRoute
from fenzhang.api.schemas.files import FileAnswer, FileList
from fenzhang.api.schemas.settlement import (
    ORDER_EXAMPLE,
    REFUND_EXAMPLE,
    RELEASE_EXAMPLE,
    RETURN_EXAMPLE,
    SPLIT_EXAMPLE,
)
from fenzhang.api.services import Services, services_of
from fenzhang.api.types import Reference
from fenzhang.api.waiting import MAX_WAIT_S
from fenzhang.intake.actor import Actor, Scope
from fenzhang.intake.files.cutting import FileFormat
from fenzhang.intake.files.reading import file_named, list_files, rejections_of, require_done
from fenzhang.intake.files.receiving import count_unfinished, file_of, receive
from fenzhang.store.tables import File, FileState

router = APIRouter(route_class=SecuredRoute, tags=["Files"])
Platform = Annotated[Actor, Depends(allow(Scope.PLATFORM))]
_PLATFORM = (Scope.PLATFORM,)
_PAGE = 100
_MAX_PAGE = 1_000
_LOOK_S = 0.25
"""Between two looks at a file that somebody waits for."""
MAX_UNFINISHED = 32
"""Files of a platform that may wait for their turn: the database holds their bytes meanwhile."""
_MEDIA_TYPE = {FileFormat.CSV: "text/csv; charset=utf-8", FileFormat.JSONL: "application/jsonl"}
_GONE = 499
"""For a client that broke its upload off, and is not going to read it."""

CSV_EXAMPLE = """\
type,out_order_no,out_rule_no,merchant,currency,amount,channel,bindings.platform,bindings.logistics,\
bindings.promoter,bindings.merchant,out_split_no
CAPTURE,mall-20261111-000001,retail-standard,merchant-001,CNY,9900,bank-gateway,mall,logistics-001,\
promoter-001,merchant-001,
SPLIT,mall-20261111-000001,,,,6600,,,,,,mall-20261111-000001-S1
"""
_TEXT = {"type": "string", "minLength": 1}
_JSONL_EXAMPLE = "\n".join(
    orjson.dumps({"type": kind, **example}).decode()
    for kind, example in (
        ("CAPTURE", ORDER_EXAMPLE),
        ("SPLIT", SPLIT_EXAMPLE),
        ("RETURN", RETURN_EXAMPLE),
        ("RELEASE", RELEASE_EXAMPLE),
        ("REFUND", REFUND_EXAMPLE),
    )
)
_BODY = {
    "required": True,
    "content": {
        media_type: {
            "schema": {**_TEXT, "examples": [CSV_EXAMPLE if found is FileFormat.CSV else _JSONL_EXAMPLE]}
        }
        for media_type, found in FILE_TYPES.items()
    },
}


def _upload_operation() -> dict[str, Any]:
    described = operation({202: FileAnswer, 200: FileAnswer}, *WRITE, scopes=_PLATFORM)
    described["openapi_extra"]["requestBody"] = _BODY
    return described


def _download_operation() -> dict[str, Any]:
    described = operation({200: FileAnswer}, *READ, 409, scopes=_PLATFORM)
    described["responses"][200] = {
        "description": HTTPStatus.OK.phrase,
        "content": {
            found.partition(";")[0]: {"schema": {"type": "string"}} for found in _MEDIA_TYPE.values()
        },
    }
    return described | {"response_class": StreamingResponse}


@router.post(FILE_PATH, **_upload_operation())
async def upload(
    request: Request,
    actor: Platform,
    out_file_no: Annotated[Reference, Query(description="The client's own reference of the file.")],
) -> Response:
    """Upload up to 200,000 captures, splits, releases and returns as CSV or JSON Lines, the items of a mixed batch.

    202 means that the file is durable; its rows are accepted or rejected one by one, in order, in the background. The
    same file under the same reference is the same upload (200).
    """
    services = services_of(request)
    async with services.database.read() as session:
        known = await file_of(session, actor.namespace, out_file_no)
        unfinished = 0 if known else await count_unfinished(session, actor.namespace)
    if unfinished >= MAX_UNFINISHED:
        raise TooManyFiles("too many files of the platform wait for their turn", limit=MAX_UNFINISHED)
    file_format = FILE_TYPES[media_type_of(request.scope)]
    try:
        received = await receive(services.database, actor, out_file_no, file_format, _pieces(request))
    except ClientDisconnect:
        return Response(status_code=_GONE)
    return OrjsonResponse(_answer(received.file), 202 if received.created else 200)


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    async for piece in request.stream():
        if piece:
            yield piece


@router.get(FILE_PATH, **operation({200: FileList}, *LIST, scopes=_PLATFORM))
async def list_all(
    request: Request,
    actor: Platform,
    after: Annotated[str, Query(max_length=64, description="`next` of the page before.")] = "",
    limit: Annotated[int, Query(ge=1, le=_MAX_PAGE)] = _PAGE,
) -> OrjsonResponse:
    """The platform's files, by reference."""
    async with services_of(request).database.read() as session:
        found = await list_files(session, actor.namespace, after.replace("\0", ""), limit + 1)
    answer = {
        "files": [_answer(file) for file in found[:limit]],
        "next": found[limit - 1].reference if len(found) > limit else None,
    }
    return OrjsonResponse(answer)


@router.get(FILE_PATH + "/{reference}", **operation({200: FileAnswer}, *READ, scopes=_PLATFORM))
async def get_file(
    request: Request,
    reference: Reference,
    actor: Platform,
    wait: Annotated[
        float,
        Query(ge=0, le=MAX_WAIT_S, allow_inf_nan=False, description="Seconds to wait until it is DONE."),
    ] = 0,
) -> OrjsonResponse:
    """A file, and how far it is."""
    services = services_of(request)
    deadline = time.monotonic() + wait
    found = await _read(services, actor, reference)
    while found.state != FileState.DONE and not services.watcher.closing:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            break
        await asyncio.sleep(min(_LOOK_S, remaining))
        found = await _read(services, actor, reference)
    return OrjsonResponse(_answer(found))


@router.get(FILE_PATH + "/{reference}/rejections", **_download_operation())
async def get_rejections(request: Request, reference: Reference, actor: Platform) -> StreamingResponse:
    """The rejected rows of a file that is DONE, in its own format, with `line`, `code`, `field` and `message`.

    A CSV file of rejections, corrected, can be uploaded as it is: these four columns are passed over.
    """
    services = services_of(request)
    file = await _read(services, actor, reference)
    require_done(file)
    file_format = FileFormat(file.format)
    return StreamingResponse(
        rejections_of(services.database, file),
        media_type=_MEDIA_TYPE[file_format],
        headers={"Content-Disposition": f'attachment; filename="{reference}-rejections.{file_format.value}"'},
    )


async def _read(services: Services, actor: Actor, reference: str) -> File:
    async with services.database.read() as session:
        return await file_named(session, actor.namespace, reference)


def _answer(file: File) -> dict[str, Any]:
    return {
        "out_file_no": file.reference,
        "format": file.format,
        "state": file.state,
        "sha256": file.sha256.hex(),
        "bytes": file.size,
        "bytes_processed": file.position,
        "lines": file.lines,
        "rows": file.accepted + file.known + file.rejected,
        "accepted": file.accepted,
        "known": file.known,
        "rejected": file.rejected,
        "received_at": file.received_at,
        "started_at": file.started_at,
        "finished_at": file.finished_at,
        "request_id": file.request_id,
    }
