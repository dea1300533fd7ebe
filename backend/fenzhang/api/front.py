"""The outermost layer: every request gets its id, is counted, and is answered whatever happens."""

from __future__ import annotations

import logging
import time
from functools import cache
from http import HTTPStatus

from prometheus_client import Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fenzhang.api.admission import Admission
from fenzhang.api.errors import Overloaded
from fenzhang.api.problems import internal_error, response_of
from fenzhang.telemetry import metrics, requestid

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_NO_ANSWER = 499
"""Counted for a client that went away before its answer began."""
_log = logging.getLogger(__name__)


class Front:
    """ASGI middleware: X-Request-Id in and out, admission, metrics, and a problem for what nobody expected."""

    def __init__(self, app: ASGIApp, admission: Admission) -> None:
        self._app = app
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = requestid.given_or_new(Headers(scope=scope).get(requestid.HEADER))
        requestid.current.set(request_id)
        began = time.perf_counter()
        status = _NO_ANSWER

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[requestid.HEADER] = request_id
            await send(message)

        try:
            with self._admission.admitted(scope):
                await self._app(scope, receive, named)
        except Overloaded as refusal:
            metrics.HTTP_REFUSED.labels(refusal.code).inc()
            await response_of(refusal)(scope, receive, named)
        except Exception as error:
            _log.exception("%s %s failed", scope["method"], scope["path"], exc_info=error)
            if status != _NO_ANSWER:
                raise  # half an answer is on its way: all that is left is to cut it off
            await internal_error()(scope, receive, named)
        finally:
            _count(scope, status, time.perf_counter() - began)


def _count(scope: Scope, status: int, seconds: float) -> None:
    method = scope["method"] if scope["method"] in _METHODS else "OTHER"
    route = getattr(scope.get("route"), "path", None)
    if route is None:
        refused = status == HTTPStatus.TOO_MANY_REQUESTS
        route = "refused" if refused else "unmatched"
    _requests(method, route, status).inc()
    waited = "yes" if b"wait=" in scope["query_string"] else "no"
    _seconds(method, route, waited).observe(seconds)


# Looking a series up by its labels costs more than counting; there are few.
@cache
def _requests(method: str, route: str, status: int) -> Counter:
    return metrics.HTTP_REQUESTS.labels(method, route, str(status))


@cache
def _seconds(method: str, route: str, waited: str) -> Histogram:
    return metrics.HTTP_SECONDS.labels(method, route, waited)
