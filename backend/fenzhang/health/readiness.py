"""Whether a process can do its job now, and what is wrong beside it.

The API is ready when it can accept durably: database reachable and of this version, bound to this chain, and the node,
if it answers, of this chain. A node that is away or a mirror that is behind degrades it: what is accepted waits.
A stage is ready when it ticks: database, node, and its own loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from fenzhang.chain.breaker import Breaker
from fenzhang.chain.errors import DeploymentMismatch
from fenzhang.domain.errors import FenzhangError
from fenzhang.health.monitor import Monitor
from fenzhang.stageloop import Pulse
from fenzhang.store.chain_binding import check_chain
from fenzhang.store.errors import DatabaseUnavailable
from fenzhang.store.session import Database

DATABASE_TIMEOUT_S = 3.0
"""A database that takes longer to say its version counts as away."""
SILENCE_S = 10.0
"""A node that has not answered for so long counts as away, whatever is still hoped for."""
TICK_S = 60.0
"""A stage that has not come round for so long is stuck: its longest wait for a node is half of it."""


async def check_database(database: Database, monitor: Monitor) -> None:
    """Raises DatabaseUnavailable, DatabaseNotMigrated, DatabaseNewer or DatabaseOfOtherChain."""
    deployment = monitor.deployment
    try:
        async with asyncio.timeout(DATABASE_TIMEOUT_S):
            await database.check()
            async with database.read() as session:
                await check_chain(
                    session, deployment.chain_id, deployment.split_ledger, deployment.genesis_hash
                )
    except TimeoutError:
        raise DatabaseUnavailable("the database does not answer in time") from None


def parts(monitor: Monitor) -> dict[str, Any]:
    """What the monitor knows of node, mirror and queue."""
    return {"node": _node(monitor), "mirror": _mirror(monitor), "queue": _queue(monitor)}


def degraded(monitor: Monitor, ready_lag_s: float) -> list[str]:
    """Names of parts that do not do their job, the worst first."""
    found = []
    if not _reachable(monitor):
        found.append("node")
    if monitor.mirrored is None or monitor.lag.seconds > ready_lag_s:
        found.append("mirror")
    if monitor.queue.total >= monitor.max_queue:
        found.append("queue")
    return found


def require_chain(monitor: Monitor) -> None:
    """Raises DeploymentMismatch while the node serves another chain."""
    if isinstance(monitor.node_error, DeploymentMismatch):
        raise monitor.node_error


async def stage_readiness(
    database: Database, monitor: Monitor, pulses: Sequence[Pulse], ready_lag_s: float
) -> tuple[bool, dict[str, Any]]:
    """Whether the stages of this process can work, and the details."""
    reasons: list[str] = []
    try:
        await check_database(database, monitor)
        require_chain(monitor)
    except FenzhangError as error:
        reasons.append(error.code)
    if not _reachable(monitor):
        reasons.append("node_unavailable")
    reasons += [each for each in _reasons(pulses) if each not in reasons]
    if any(pulse.name == "mirror" for pulse in pulses) and "mirror" in degraded(monitor, ready_lag_s):
        reasons.append("mirror_behind")
    return not reasons, {**_details(reasons, pulses), **parts(monitor)}


async def readiness_without_chain(database: Database, pulses: Sequence[Pulse]) -> tuple[bool, dict[str, Any]]:
    """The same for stages that need no chain."""
    reasons: list[str] = []
    try:
        async with asyncio.timeout(DATABASE_TIMEOUT_S):
            await database.check()
    except TimeoutError:
        reasons.append(DatabaseUnavailable.code)
    except FenzhangError as error:
        reasons.append(error.code)
    reasons += [each for each in _reasons(pulses) if each not in reasons]
    return not reasons, _details(reasons, pulses)


def _reasons(pulses: Sequence[Pulse]) -> list[str]:
    """Why stages do not do their job, by themselves."""
    if not pulses:
        return ["stage_stopped"]
    away = [pulse.away for pulse in pulses if pulse.away is not None]
    stuck = ["stage_stuck" for pulse in pulses if pulse.silent_s > TICK_S]
    return list(dict.fromkeys(away + stuck))


def _details(reasons: Sequence[str], pulses: Sequence[Pulse]) -> dict[str, Any]:
    return {
        "status": "not_ready" if reasons else "ready",
        "reasons": list(reasons),
        "stages": [
            {"name": pulse.name, "active": pulse.active(), "last_tick_s": round(pulse.silent_s, 1)}
            for pulse in pulses
        ],
    }


def is_stuck(pulses: Sequence[Pulse]) -> bool:
    """Whether a stage of this process hangs, so that only a new process helps."""
    return any(pulse.silent_s > 5 * TICK_S for pulse in pulses)


def _reachable(monitor: Monitor) -> bool:
    return monitor.node_error is None and monitor.silent_s is not None and monitor.silent_s < SILENCE_S


def _node(monitor: Monitor) -> dict[str, Any]:
    breaker = monitor.node.breaker or Breaker()
    return {
        "reachable": _reachable(monitor),
        "head": monitor.head,
        "breaker": breaker.state.value,
        "retry_after_s": round(breaker.retry_after_s, 1),
        "error": None if monitor.node_error is None else monitor.node_error.message,
    }


def _mirror(monitor: Monitor) -> dict[str, Any] | None:
    if monitor.mirrored is None:
        return None
    number, timestamp = monitor.mirrored
    return {
        "block": number,
        "timestamp": timestamp,
        "age_s": int(time.time()) - timestamp,
        "lag_blocks": monitor.lag.blocks,
        "lag_s": round(monitor.lag.seconds, 1),
    }


def _queue(monitor: Monitor) -> dict[str, int]:
    queue = monitor.queue
    return {"accepted": queue.accepted, "submitted": queue.submitted, "limit": monitor.max_queue}
