"""What runs beside the stages of a process: the monitor, and the endpoint that shows what it sees."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fenzhang import stageloop
from fenzhang.chain.deployments import Deployment
from fenzhang.chain.node import NodeClient
from fenzhang.health.endpoint import endpoint
from fenzhang.health.monitor import Monitor
from fenzhang.health.readiness import is_stuck, readiness_without_chain, stage_readiness
from fenzhang.settings import Settings
from fenzhang.store.session import Database
from fenzhang.telemetry import metrics


@asynccontextmanager
async def watched(
    settings: Settings, database: Database, node: NodeClient, deployment: Deployment
) -> AsyncIterator[None]:
    """Show metrics and health of the stages that the block runs, if the settings have a port for it.

    Raises EndpointFailed.
    """
    metrics.watch_breaker(node.breaker)
    if settings.metrics_port is None:
        yield
        return
    monitor = Monitor(database, node, deployment, settings.max_queue)

    async def readiness() -> tuple[bool, dict[str, Any]]:
        return await stage_readiness(database, monitor, stageloop.PULSES, settings.ready_lag_s)

    async with (
        monitor.running(),
        endpoint(settings.metrics_host, settings.metrics_port, _health, readiness),
    ):
        yield


@asynccontextmanager
async def watched_without_chain(settings: Settings, database: Database) -> AsyncIterator[None]:
    """The same for stages that need no chain. Raises EndpointFailed."""
    if settings.metrics_port is None:
        yield
        return

    async def readiness() -> tuple[bool, dict[str, Any]]:
        return await readiness_without_chain(database, stageloop.PULSES)

    async with endpoint(settings.metrics_host, settings.metrics_port, _health, readiness):
        yield


async def _health() -> tuple[bool, dict[str, Any]]:
    stuck = is_stuck(stageloop.PULSES)
    return not stuck, {"status": "stuck" if stuck else "ok"}
