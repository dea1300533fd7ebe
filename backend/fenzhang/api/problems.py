"""The one place where errors become HTTP: RFC 9457 problem details with stable codes.

Precedence when several things are wrong: 429, 413, 415, 404 and 405 of the path, 401, 400, 403, 422, 404, 409, 503.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from enum import Enum
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from fenzhang.api import errors
from fenzhang.api.responses import OrjsonResponse
from fenzhang.chain.errors import ContractError, DeploymentMismatch, NodeUnavailable, RpcError, Undecodable
from fenzhang.clearing.bills.errors import DayNotFinal
from fenzhang.clearing.cycles.showing import UnknownCycle, UnknownPayout
from fenzhang.clearing.errors import UnknownAccount
from fenzhang.clearing.reconciliation.errors import BreakConflict, UnknownBreak
from fenzhang.domain.errors import FenzhangError, InvalidInput, InvalidRule, InvalidSchedule, Rejection
from fenzhang.intake.errors import Conflict, SignatureRefused, Unknown
from fenzhang.intake.files.errors import FileTooLarge
from fenzhang.ledger.moments import BlockNotMirrored, CycleNotClosed
from fenzhang.store.errors import DatabaseError
from fenzhang.telemetry import requestid

PROBLEM_JSON = "application/problem+json"
RETRY_AFTER_S = 1
_MAX_JSON_INTEGER = 2**63 - 1
_log = logging.getLogger(__name__)

STATUS_OF: Mapping[type[FenzhangError], HTTPStatus] = {
    errors.Overloaded: HTTPStatus.TOO_MANY_REQUESTS,
    errors.MalformedJson: HTTPStatus.BAD_REQUEST,
    errors.InvalidTokenRequest: HTTPStatus.BAD_REQUEST,
    errors.InvalidToken: HTTPStatus.UNAUTHORIZED,
    errors.InvalidClient: HTTPStatus.UNAUTHORIZED,
    errors.InsufficientScope: HTTPStatus.FORBIDDEN,
    errors.NoSuchEndpoint: HTTPStatus.NOT_FOUND,
    errors.MethodNotAllowed: HTTPStatus.METHOD_NOT_ALLOWED,
    errors.BodyTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.UnsupportedMediaType: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.RequestInvalid: HTTPStatus.UNPROCESSABLE_ENTITY,
    FileTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    InvalidInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    InvalidRule: HTTPStatus.UNPROCESSABLE_ENTITY,
    InvalidSchedule: HTTPStatus.UNPROCESSABLE_ENTITY,
    SignatureRefused: HTTPStatus.FORBIDDEN,
    Unknown: HTTPStatus.NOT_FOUND,
    BlockNotMirrored: HTTPStatus.NOT_FOUND,
    CycleNotClosed: HTTPStatus.NOT_FOUND,
    UnknownAccount: HTTPStatus.NOT_FOUND,
    UnknownCycle: HTTPStatus.NOT_FOUND,
    UnknownPayout: HTTPStatus.NOT_FOUND,
    DayNotFinal: HTTPStatus.CONFLICT,
    UnknownBreak: HTTPStatus.NOT_FOUND,
    BreakConflict: HTTPStatus.CONFLICT,
    Conflict: HTTPStatus.CONFLICT,
    Rejection: HTTPStatus.CONFLICT,
    ContractError: HTTPStatus.CONFLICT,
    NodeUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    RpcError: HTTPStatus.SERVICE_UNAVAILABLE,
    Undecodable: HTTPStatus.SERVICE_UNAVAILABLE,
    DeploymentMismatch: HTTPStatus.SERVICE_UNAVAILABLE,
    DatabaseError: HTTPStatus.SERVICE_UNAVAILABLE,
}
"""Status of each family of errors; a subclass has its nearest ancestor's. Anything else is 500."""


def status_of(error: FenzhangError) -> HTTPStatus:
    """The HTTP status of an error."""
    for family in type(error).__mro__:
        if family in STATUS_OF:
            return STATUS_OF[family]
    return HTTPStatus.INTERNAL_SERVER_ERROR


def problem_of(error: FenzhangError) -> dict[str, Any]:
    """The problem details of an error, also for an item of a batch."""
    status = status_of(error)
    if status is HTTPStatus.INTERNAL_SERVER_ERROR:
        return _internal()
    code = error.first_code if isinstance(error, errors.RequestInvalid) else error.code
    problem: dict[str, Any] = {
        "type": f"urn:fenzhang:problem:{code}",
        "title": _title(error, status),
        "status": int(status),
        "detail": error.message,
        "code": code,
    }
    values = {name: plain(value) for name, value in error.values.items()}
    field = values.pop("field", None)
    if field is not None:
        problem["field"] = field
    if values:
        problem["values"] = values
    if isinstance(error, errors.RequestInvalid):
        problem["errors"] = error.errors
    if isinstance(error, errors.InvalidTokenRequest | errors.InvalidClient):
        problem["error"] = code
        problem["error_description"] = error.message
    return problem


def _title(error: FenzhangError, status: HTTPStatus) -> str:
    summary = (type(error).__doc__ or "").strip().partition("\n")[0]
    return summary.partition(". ")[0].rstrip(".") or status.phrase


def plain(value: object) -> Any:
    """A value as JSON: bytes as 0x hex, enums by name, integers beyond 64 bits as decimal strings."""
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, int) and abs(value) > _MAX_JSON_INTEGER:
        return str(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    return value if isinstance(value, bool | int | str | None) else str(value)


def response_of(error: FenzhangError) -> OrjsonResponse:
    """The answer to a request that failed with `error`."""
    problem = _with_request(problem_of(error))
    headers = {}
    if problem["status"] == HTTPStatus.SERVICE_UNAVAILABLE:
        known = error.retry_after_s if isinstance(error, NodeUnavailable) else 0.0
        headers["Retry-After"] = str(max(RETRY_AFTER_S, math.ceil(known)))
    if isinstance(error, errors.Overloaded):
        headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, errors.InvalidToken):
        headers["WWW-Authenticate"] = 'Bearer realm="fenzhang", error="invalid_token"'
    if isinstance(error, errors.InvalidClient):
        headers["WWW-Authenticate"] = 'Basic realm="fenzhang"'
    if isinstance(error, errors.MethodNotAllowed):
        headers["Allow"] = str(error.values.get("allow", ""))
    return OrjsonResponse(problem, problem["status"], headers=headers, media_type=PROBLEM_JSON)


def internal_error() -> OrjsonResponse:
    """The answer to a request that failed for a reason that is nobody's business."""
    problem = _with_request(_internal())
    return OrjsonResponse(problem, problem["status"], media_type=PROBLEM_JSON)


def _with_request(problem: dict[str, Any]) -> dict[str, Any]:
    request_id = requestid.current.get()
    return problem if request_id is None else problem | {"request_id": request_id}


def _internal() -> dict[str, Any]:
    return {
        "type": "urn:fenzhang:problem:internal_error",
        "title": "Something went wrong here",
        "status": int(HTTPStatus.INTERNAL_SERVER_ERROR),
        "detail": "the request could not be answered; what went wrong is in the server's log",
        "code": "internal_error",
    }


# ------------------------------------------------------------------------------ handlers


def install(app: FastAPI, routes: Sequence[APIRoute]) -> None:
    """Let `app`, which has `routes`, answer every error as a problem."""
    app.state.routes = routes
    app.add_exception_handler(FenzhangError, _on_domain_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_unexpected_error)


async def _on_domain_error(request: Request, error: Exception) -> OrjsonResponse:
    if not isinstance(error, FenzhangError):
        return await _on_unexpected_error(request, error)
    if status_of(error) is HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return response_of(error)


async def _on_unexpected_error(request: Request, error: Exception) -> OrjsonResponse:
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return internal_error()


async def _on_http_error(request: Request, error: Exception) -> OrjsonResponse:
    if not isinstance(error, HTTPException):
        return await _on_unexpected_error(request, error)
    match error.status_code:
        case HTTPStatus.NOT_FOUND:
            return response_of(errors.NoSuchEndpoint("no endpoint has this path"))
        case HTTPStatus.METHOD_NOT_ALLOWED:
            allow = ", ".join(_methods(request))
            return response_of(errors.MethodNotAllowed(f"this endpoint takes {allow}", allow=allow))
        case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return response_of(errors.BodyTooLarge("the body is too large"))
        case HTTPStatus.BAD_REQUEST:
            return response_of(errors.MalformedJson("the body cannot be read"))
    return await _on_unexpected_error(request, error)


def _methods(request: Request) -> list[str]:
    """All methods of the path; Starlette names only those of the first route that has it."""
    routes: Sequence[APIRoute] = request.app.state.routes
    path = next((route.path for route in routes if route.path_regex.match(request.scope["path"])), None)
    return sorted({method for route in routes if route.path == path for method in route.methods or ()})


async def _on_validation_error(request: Request, error: Exception) -> OrjsonResponse:
    if not isinstance(error, RequestValidationError):
        return await _on_unexpected_error(request, error)
    found = error.errors()
    for item in found:
        if item["type"] == "json_invalid":
            return response_of(errors.MalformedJson(f"the body is not JSON: {item['ctx']['error']}"))
    return response_of(errors.RequestInvalid(field_errors(found)))


def field_errors(found: Sequence[Any], prefix: str = "") -> list[dict[str, str]]:
    """The first things that pydantic found, as field, code and message, without what the client sent."""
    listed = [
        {
            "field": _path(item["loc"], prefix),
            "code": item["type"] if item["type"] in OWN_CODES else "invalid_input",
            "message": item["msg"],
        }
        for item in found[:_MAX_FIELD_ERRORS]
    ]
    # The code of an amount or reference says more than that of a field beside it.
    return sorted(listed, key=lambda item: item["code"] == "invalid_input")


OWN_CODES = frozenset({"invalid_amount", "invalid_day", "invalid_reference", "unknown_currency"})
"""Codes of the domain that schemas raise; pydantic's own are not stable enough to publish."""
_MAX_FIELD_ERRORS = 50
_MAX_NAME = 64
_PLACES = frozenset({"body", "query", "path", "header"})


def _path(location: tuple[str | int, ...], prefix: str) -> str:
    parts = location[1:] if location and location[0] in _PLACES else location
    path = prefix
    for part in parts:
        name = str(part)[:_MAX_NAME]
        path += f"[{name}]" if isinstance(part, int) else f".{name}" if path else name
    return path or "body"
