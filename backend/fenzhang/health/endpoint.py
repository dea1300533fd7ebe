"""A small HTTP server beside the work: /metrics, /healthz, /readyz, on a port that is not the API's.

It is meant for the inside: it has no access control, and listens on 127.0.0.1 unless FENZHANG_METRICS_HOST says more.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fenzhang.domain.errors import FenzhangError
from fenzhang.telemetry import metrics

Answer = Callable[[], Awaitable[tuple[bool, dict[str, Any]]]]
"""Whether all is well, and the details."""
log = logging.getLogger("fenzhang.health")


_PLACES = ("api", "submission", "mirror", "clearing", "payouts", "reconciliation")


def child_port(name: str) -> str:
    """FENZHANG_METRICS_PORT for one of several processes that a parent starts, which cannot share its port.

    The API gets the parent's, submission the next one, and so on in the order of _PLACES; "" (off) if it has none.
    """
    base = os.environ.get("FENZHANG_METRICS_PORT", "")
    return str(int(base) + _PLACES.index(name)) if base.isdecimal() else ""


class EndpointFailed(FenzhangError):
    """The port for metrics and health cannot be listened on."""

    code = "metrics_port_taken"


class _SideServer(uvicorn.Server):
    """uvicorn as a guest: signals belong to the host."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None of them."""
        yield


def application(health: Answer, readiness: Answer) -> Starlette:
    """The three paths. A part that is not well is 503."""

    async def show_metrics(_request: Request) -> Response:
        return Response(metrics.exposition(), headers={"Content-Type": metrics.CONTENT_TYPE})

    def shown(answer: Answer) -> Callable[[Request], Awaitable[Response]]:
        async def show(_request: Request) -> Response:
            well, details = await answer()
            return Response(orjson.dumps(details), 200 if well else 503, media_type="application/json")

        return show

    return Starlette(
        routes=[
            Route("/metrics", show_metrics),
            Route("/healthz", shown(health)),
            Route("/readyz", shown(readiness)),
        ]
    )


@asynccontextmanager
async def endpoint(host: str, port: int | None, health: Answer, readiness: Answer) -> AsyncIterator[None]:
    """Serve while the block runs; nothing without a port. Raises EndpointFailed."""
    if port is None:
        yield
        return
    config = uvicorn.Config(
        application(health, readiness),
        host=host,
        port=port,
        lifespan="off",
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=1,
    )
    server = _SideServer(config)
    serving = asyncio.create_task(_serve(server, host, port))
    while not server.started and not serving.done():  # noqa: ASYNC110 -- uvicorn offers no event
        await asyncio.sleep(0.01)
    if serving.done():
        await serving
    log.info("metrics and health on http://%s:%d", host, port)
    try:
        yield
    finally:
        server.should_exit = True
        await serving


async def _serve(server: uvicorn.Server, host: str, port: int) -> None:
    try:
        await server.serve()
    except SystemExit:  # uvicorn's word for a port that is taken
        raise EndpointFailed(
            f"{host}:{port} cannot be listened on; choose another FENZHANG_METRICS_PORT"
        ) from None
