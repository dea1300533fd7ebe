"""The application: wiring, and nothing that decides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial

from fastapi import FastAPI
from fastapi.routing import APIRoute

from fenzhang import __version__
from fenzhang.api import problems
from fenzhang.api.admission import Admission
from fenzhang.api.auth import Tokens
from fenzhang.api.documentation import describe
from fenzhang.api.filework import FileWork, Room
from fenzhang.api.front import Front
from fenzhang.api.guard import BodyGuard
from fenzhang.api.responses import OrjsonResponse
from fenzhang.api.routes import (
    apps,
    balances,
    bankaccounts,
    bills,
    breaks,
    changes,
    conditions,
    cycles,
    files,
    freezes,
    instructions,
    ledger,
    levels,
    network,
    participants,
    quotes,
    rules,
    schedules,
    settlement,
    suspense,
    tokens,
)
from fenzhang.api.schemas.files import request_of
from fenzhang.api.services import Services
from fenzhang.chain.breaker import Breaker
from fenzhang.chain.deployments import Deployment, check_deployment
from fenzhang.chain.deployments import load as load_deployment
from fenzhang.chain.errors import NodeUnavailable
from fenzhang.chain.node import NodeClient
from fenzhang.health.endpoint import endpoint
from fenzhang.intake.files.processing import FileProcessor
from fenzhang.intake.signatures import Verifier
from fenzhang.settings import Settings
from fenzhang.store import chain_binding
from fenzhang.store.session import Database

# The busiest first: a request is compared with one route after the other.
_ROUTERS = (
    settlement.router,
    instructions.router,
    tokens.router,
    apps.router,
    participants.router,
    rules.router,
    schedules.router,
    changes.router,
    conditions.router,
    freezes.router,
    quotes.router,
    balances.router,
    suspense.router,
    bills.router,
    breaks.router,
    cycles.router,
    bankaccounts.router,
    levels.router,
    ledger.router,
    files.router,
    network.router,
    network.health,
)
_DESCRIPTION = """\
Split instructions of platforms, accepted durably and settled on a consortium chain.

Every write takes the client's own reference. The same reference with the same content gives the same answer (200
instead of 202), with other content 409 `reference_conflict`. 202 means durable. An instruction is ACCEPTED,
SUBMITTED, and then SETTLED or REJECTED with the chain's reason; `wait` and `/v1/completions` tell when.

Amounts are integers, minor units of the currency. Errors are RFC 9457 problem details with a stable `code`. When
several things are wrong, the order is: overload (429), body too large (413), media type (415), path and method (404,
405), token (401), JSON (400), scope (403), schema (422), unknown names (404), conflicts (409).

429 (`queue_full`, `too_many_requests`, `too_many_files`) and 503 come with `Retry-After`, in seconds; nothing was
stored, and the same request is welcome then. Every answer has an `X-Request-Id`: the client's own if it sent one (1 to
64 letters, digits and `._:-`), else a new one. It stays with the instruction.
"""


def create_app(
    settings: Settings,
    *,
    database: Database | None = None,
    node: NodeClient | None = None,
    deployment: Deployment | None = None,
) -> FastAPI:
    """The API. What is not handed over is opened by `settings`, and closed when the application ends.

    Raises DeploymentInvalid here; on start DatabaseNotMigrated, DatabaseNewer, DatabaseOfOtherChain,
    DatabaseUnavailable and DeploymentMismatch. A node that cannot be reached on start is no error.
    """
    services = _services(settings, database, node, deployment)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(services.close)
            if not services.checked:
                await check_start(services)
            await stack.enter_async_context(services.monitor.running())
            await stack.enter_async_context(_file_work(services).running())
            await stack.enter_async_context(
                endpoint(
                    settings.metrics_host,
                    settings.metrics_port,
                    network.alive,
                    partial(network.readiness, services),
                )
            )
            watching = asyncio.create_task(services.watcher.run())
            try:
                yield
            finally:
                services.watcher.close()
                watching.cancel()
                with suppress(asyncio.CancelledError):
                    await watching

    app = FastAPI(
        title="fenzhang",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        default_response_class=OrjsonResponse,
        docs_url=None,  # it would load scripts from elsewhere; /openapi.json is the documentation
        redoc_url=None,
        redirect_slashes=False,
        # Spans of requests, if there is a provider: nothing of what clients sent.
        telemetry={"metrics": False, "logs": False, "operation_spans": False, "auto_configure": False},
    )
    app.state.services = services
    for router in _ROUTERS:
        app.include_router(router)
    routes = [route for router in _ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    problems.install(app, routes)
    app.add_middleware(BodyGuard)
    monitor = services.monitor
    admission = Admission(settings.max_queue, settings.max_requests, lambda: monitor.queue.total)
    app.add_middleware(Front, admission=admission)
    describe(app)
    return app


def _file_work(services: Services) -> FileWork:
    monitor = services.monitor
    processor = FileProcessor(services.database, Verifier(services.network), request_of)
    return FileWork(services.database, processor, Room(services.settings.max_queue, lambda: monitor.queue))


def _services(
    settings: Settings, database: Database | None, node: NodeClient | None, deployment: Deployment | None
) -> Services:
    deployed = deployment or load_deployment(settings.deployment)
    tokens = Tokens(settings.jwt_key(), settings.token_ttl_s)
    owned: list[Database | NodeClient] = []
    if database is None:
        database = Database(settings.prepared().database)
        owned.append(database)
    if node is None:
        node = NodeClient(settings.rpc_url, breaker=Breaker())
        owned.append(node)
    return Services(
        settings=settings, database=database, node=node, deployment=deployed, tokens=tokens, owned=owned
    )


async def check_start(services: Services) -> None:
    """Refuse to start on what cannot work: database of another version or chain, deployment of another chain."""
    await services.database.check()
    deployment = services.deployment
    async with services.database.write() as session:
        await chain_binding.bind_chain(
            session, deployment.chain_id, deployment.split_ledger, deployment.genesis_hash
        )
    # A node that is away now is checked by the stages that need it, before they act.
    with suppress(NodeUnavailable):
        await check_deployment(services.node, deployment)
    services.checked = True
