"""Looks at database and node again and again, for metrics, readiness and the limit of the queue.

What it costs is bounded: the slower the database, the longer the pause between two looks.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy import String, func, literal_column, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.chain.deployments import Deployment, check_deployment
from fenzhang.chain.errors import DeploymentMismatch, NodeUnavailable, RpcError
from fenzhang.chain.node import NodeClient
from fenzhang.domain.errors import FenzhangError
from fenzhang.stageloop import wait
from fenzhang.store.errors import DatabaseUnavailable
from fenzhang.store.session import Database
from fenzhang.store.tables import Block, Instruction, Transaction
from fenzhang.telemetry import metrics
from fenzhang.telemetry.lag import Lag

QUEUE_INTERVAL_S = 0.25
NODE_INTERVAL_S = 1.0
LONGEST_INTERVAL_S = 2.0
_PAUSE_PER_COST = 20
_GRACE_S = 5.0
_CHAIN_CHECKS_S = 15.0
"""How long another chain with the same number may go unnoticed, if the node was never away in between."""
_SIGNED, _SENT, _ACCEPTED, _SUBMITTED = (
    literal_column(f"'{state}'", String) for state in ("SIGNED", "SENT", "ACCEPTED", "SUBMITTED")
)
"""Written out: a partial index serves only a query that names its condition literally."""
log = logging.getLogger("fenzhang.health")


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """Instructions without an outcome. `accepted` is not counted beyond the monitor's limit."""

    accepted: int = 0
    submitted: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.accepted + self.submitted


class Monitor:
    """What one process knows about the others, a moment ago. `running` does the looking."""

    def __init__(self, database: Database, node: NodeClient, deployment: Deployment, max_queue: int) -> None:
        self.node = node
        self.deployment = deployment
        self.max_queue = max_queue
        self.queue = QueueDepth()
        self.mirrored: tuple[int, int] | None = None
        """Number and timestamp of the newest mirrored block."""
        self.head: int | None = None
        """The node's newest block; None while it does not answer."""
        self.lag = Lag()
        self.node_error: FenzhangError | None = None
        """Why the node does not serve: it is away, or it serves another chain (DeploymentMismatch)."""
        self._answered_at: float | None = None
        self._stop = asyncio.Event()
        self._database = database
        self._chain_checked_at = -math.inf

    @property
    def silent_s(self) -> float | None:
        """Seconds since the node last answered this monitor; None if it never did."""
        return None if self._answered_at is None else time.monotonic() - self._answered_at

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look while the block runs. What is away only makes the answers old."""
        metrics.watch_breaker(self.node.breaker)
        metrics.LAG_SECONDS.set_function(lambda: self.lag.seconds)
        database = asyncio.create_task(self._watch_database())
        node = asyncio.create_task(self._watch_node())
        try:
            yield
        finally:
            self._stop.set()
            node.cancel()
            # A statement that is cut off costs its connection; only one that hangs is.
            await asyncio.wait([database], timeout=_GRACE_S)
            database.cancel()
            await asyncio.gather(database, node, return_exceptions=True)

    async def _watch_database(self) -> None:
        away = False
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                await self.look_at_database()
                away = False
            except (DatabaseUnavailable, SQLAlchemyError) as error:
                if not away:
                    log.warning("the monitor waits for the database: %s", error)
                away = True
            cost_s = time.monotonic() - began
            await wait(self._stop, min(max(QUEUE_INTERVAL_S, _PAUSE_PER_COST * cost_s), LONGEST_INTERVAL_S))

    async def _watch_node(self) -> None:
        while not self._stop.is_set():
            await self.look_at_node()
            await wait(self._stop, NODE_INTERVAL_S)

    async def look_at_database(self) -> None:
        """Depth of the queue and the mirror's checkpoint. Raises DatabaseUnavailable."""
        async with self._database.read() as session:
            self.queue = await queue_depth(session, self.max_queue)
            newest = select(Block.number, Block.timestamp).order_by(Block.number.desc()).limit(1)
            row = (await session.execute(newest)).one_or_none()
            in_flight = (
                select(func.count()).select_from(Transaction).where(Transaction.state.in_((_SIGNED, _SENT)))
            )
            metrics.TRANSACTIONS_IN_FLIGHT.set((await session.execute(in_flight)).scalar_one())
        self.mirrored = None if row is None else (row.number, row.timestamp)
        metrics.QUEUE.labels("ACCEPTED").set(self.queue.accepted)
        metrics.QUEUE.labels("SUBMITTED").set(self.queue.submitted)
        self._compare()

    async def look_at_node(self) -> None:
        """Its newest block, and whether it is the deployment's chain."""
        try:
            self.head = await self.node.block_number()
            await self._check_chain()
            self.node_error = None
            self._answered_at = time.monotonic()
        except (NodeUnavailable, RpcError, DeploymentMismatch) as error:
            if isinstance(error, DeploymentMismatch) and not isinstance(self.node_error, DeploymentMismatch):
                log.critical("this is another chain: %s", error.message)
            # Whatever answers next may be another chain.
            self._chain_checked_at = -math.inf
            self.node_error = error
            self.head = None
        self._compare()

    async def _check_chain(self) -> None:
        """Its number every time, everything else about it now and then. Raises DeploymentMismatch."""
        recent = time.monotonic() - self._chain_checked_at < _CHAIN_CHECKS_S
        if recent and await self.node.chain_id() == self.deployment.chain_id:
            return
        await check_deployment(self.node, self.deployment)
        self._chain_checked_at = time.monotonic()

    def _compare(self) -> None:
        mirrored = None if self.mirrored is None else self.mirrored[0]
        self.lag.saw(self.head, mirrored)
        if mirrored is not None:
            metrics.MIRRORED_BLOCK.set(mirrored)
        if self.head is not None:
            metrics.HEAD_BLOCK.set(self.head)
        metrics.LAG_BLOCKS.set(math.nan if self.lag.blocks is None else self.lag.blocks)


async def queue_depth(session: AsyncSession, limit: int) -> QueueDepth:
    """Instructions without an outcome; those that are ACCEPTED are counted up to one more than `limit`.

    By indexes only: of open instructions, and of the few transactions that are live.
    """
    accepted = select(Instruction.seq).where(Instruction.state == _ACCEPTED).limit(limit + 1).subquery()
    live = select(Transaction.id).where(Transaction.state.in_((_SIGNED, _SENT)))
    submitted = (
        select(func.count())
        .select_from(Instruction)
        .where(Instruction.transaction_id.in_(live), Instruction.state == _SUBMITTED)
    )
    return QueueDepth(
        accepted=(await session.execute(select(func.count()).select_from(accepted))).scalar_one(),
        submitted=(await session.execute(submitted)).scalar_one(),
    )
