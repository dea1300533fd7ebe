"""The mirror stage: look at the head of the chain, follow it forward, or back to where it turned off."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.chain.deployments import Deployment, check_chain, check_deployment
from fenzhang.chain.errors import NodeUnavailable, RpcError, Undecodable
from fenzhang.chain.node import BlockHeader, NodeClient
from fenzhang.chain.views import ChainView
from fenzhang.domain.errors import FenzhangError
from fenzhang.ledger.chart import Chart
from fenzhang.mirror import governance
from fenzhang.mirror.clearing import load_currencies
from fenzhang.mirror.config import MirrorConfig
from fenzhang.mirror.errors import ChainMoved, MirrorError, ReorgTooDeep
from fenzhang.mirror.fetching import BlockRef, Span, fetch_span
from fenzhang.mirror.orders import load_orders
from fenzhang.mirror.reading import known_cycles, known_orders, read_events
from fenzhang.mirror.reporting import report
from fenzhang.mirror.rewinding import find_ancestor, rewind
from fenzhang.mirror.writing import Prepared, prepare, write_span
from fenzhang.stageloop import run_stage
from fenzhang.store.chain_binding import bind_chain
from fenzhang.store.errors import DatabaseUnavailable
from fenzhang.store.holding import Holding
from fenzhang.store.session import Database
from fenzhang.store.tables import Block, Record
from fenzhang.telemetry import metrics

LEASE = "mirror"
log = logging.getLogger("fenzhang.mirror")


@dataclass(frozen=True, slots=True)
class _Ahead:
    """A range that is being read before its turn, and the block that it must follow."""

    parent: BlockRef
    span: asyncio.Task[Span]


class Mirror:
    """Follows the events of `deployment` into `database`. Of several, one works and the others wait for its lease.

    Raises MirrorError for what the contracts cannot have done, DeploymentMismatch and DatabaseOfOtherChain for a node
    or database of another chain; nothing of the range in question is then written.
    """

    def __init__(
        self, database: Database, node: NodeClient, deployment: Deployment, config: MirrorConfig | None = None
    ) -> None:
        self._database = database
        self._node = node
        self._deployment = deployment
        self._config = config or MirrorConfig()
        self._holding = Holding(database, [LEASE], self._config.lease_s)
        self._tenure = 0
        self._chain_checked = False
        self._chart = Chart()
        self._tip: BlockRef | None = None
        self._ahead: _Ahead | None = None
        self._range = min(16, self._config.max_blocks)
        """Blocks to read at once; adapts to how many logs they have."""
        self._shrunk_since: float | None = None
        self._contradictions = 0
        self.more = False
        """Whether the last tick left blocks to read."""

    async def run(self, stop: asyncio.Event) -> None:
        """Mirror until `stop` is set, outlasting a node or database that is away."""
        try:
            await run_stage(
                "mirror",
                self._tick_again,
                stop,
                interval_s=self._config.poll_interval_s,
                outage=self._outage,
                active=lambda: self._holding.held,
            )
        finally:
            if self._ahead is not None:
                self._ahead.span.cancel()
            if self._holding.held:
                await self._holding.release()

    async def tick(self) -> int:
        """Read one range of blocks, or rewind. Returns how many blocks were added; 0 also without the lease.

        Raises NodeUnavailable and DatabaseUnavailable, after which the next tick starts over.
        """
        self.more = False
        if not await self._ready():
            return 0
        head = await self._node.block("latest")
        if head is None:
            raise NodeUnavailable("the node has no newest block")
        try:
            if await self._has_turned(head):
                await self._rewind()
                self.more = True
                return 0
            return await self._advance(head.number - self._config.confirmations)
        except ChainMoved as moved:
            log.info("reading again: %s", moved.message)
            self.more = await self._left_the_chain()
            return 0

    @property
    def checkpoint(self) -> int | None:
        """Number of the last mirrored block; None before the first."""
        return self._tip.number if self._tip else None

    async def _tick_again(self) -> bool:
        try:
            await self.tick()
        except (MirrorError, Undecodable) as error:
            # Half an answer looks like a broken chain. Only a node that insists is believed.
            self._contradictions += 1
            if isinstance(error, ReorgTooDeep) or self._contradictions > self._config.second_looks:
                raise
            raise NodeUnavailable(f"{error.message}; reading again") from error
        self._contradictions = 0
        return self.more

    def _outage(self, error: FenzhangError) -> None:
        if isinstance(error, NodeUnavailable):
            # Whatever answers next may be another chain.
            self._chain_checked = False
        if isinstance(error, DatabaseUnavailable):
            # A commit whose answer was lost may have been done: the checkpoint is read anew.
            self._tenure = 0

    # -------------------------------------------------------------------------- readiness

    async def _ready(self) -> bool:
        if not await self._holding.ensure():
            return False
        if not self._chain_checked:
            await check_deployment(self._node, self._deployment)
            self._chain_checked = True
        if self._tenure != self._holding.tenure:
            await self._begin()
        return True

    async def _begin(self) -> None:
        deployment = self._deployment
        async with self._database.write() as session:
            await self._holding.require(session)
            await bind_chain(session, deployment.chain_id, deployment.split_ledger, deployment.genesis_hash)
            newest = (await session.execute(select(Block).order_by(Block.number.desc()).limit(1))).scalar()
        self._tip = BlockRef(newest.number, newest.hash) if newest else None
        self._chart = Chart()
        self._tenure = self._holding.tenure

    # -------------------------------------------------------------------------- back

    async def _has_turned(self, head: BlockHeader) -> bool:
        """Whether the mirrored tip is not on the node's chain, as far as its newest block shows."""
        tip = self._tip
        if tip is None or head.number > tip.number:
            self._shrunk_since = None
            return False
        if head.number == tip.number:
            self._shrunk_since = None
            return head.hash != tip.hash
        if await self._remembered_hash(head.number) not in {None, head.hash}:
            return True
        # A shorter chain with the same blocks: a node that lags, or one that was restarted from an older state.
        now = time.monotonic()
        self._shrunk_since = self._shrunk_since or now
        return now - self._shrunk_since >= self._config.shrink_patience_s

    async def _remembered_hash(self, number: int) -> bytes | None:
        async with self._database.read() as session:
            return (await session.execute(select(Block.hash).where(Block.number == number))).scalar()

    async def _left_the_chain(self) -> bool:
        """After a range that did not fit: rewind if the mirrored tip is not on the chain any more."""
        if self._tip is None:
            return False
        found = await self._node.block(self._tip.number)
        if found is not None and found.hash == self._tip.hash:
            return False
        await self._rewind()
        return True

    async def _rewind(self) -> None:
        if self._tip is None:
            return
        await check_chain(self._node, self._deployment)
        before = self._tip
        async with self._database.read() as session:
            ancestor = await find_ancestor(session, self._node, before, self._config.kept_blocks)
            if ancestor == before:
                return
            standing = await governance.look_up(session, ChainView(self._node, self._deployment))
        async with self._database.write() as session:
            await self._holding.require(session)
            lost = await rewind(session, ancestor, standing)
        self._tip = ancestor
        self._shrunk_since = None
        metrics.REORGANISATIONS.inc()
        log.warning(
            "the chain reorganised: back from block %d to %d, %d records orphaned",
            before.number,
            ancestor.number,
            lost,
        )

    # -------------------------------------------------------------------------- forward

    async def _advance(self, target: int) -> int:
        first = self._tip.number + 1 if self._tip else self._deployment.block_number
        if target < first:
            return 0
        try:
            span = await self._fetch(first, min(target, first + self._range - 1))
        except (NodeUnavailable, RpcError):
            # The answer may have been too large or too slow for the node.
            self._range = max(1, self._range // 2)
            raise
        self._adapt(len(span.events))
        last = span.tip.number
        self.more = last < target
        if self.more:
            self._read_ahead(last + 1, min(target, last + self._range), span.tip)
        await self._write(span)
        return len(span.headers)

    async def _fetch(self, first: int, last: int) -> Span:
        """Blocks from `first` on: those read ahead if they follow the tip, else up to `last`."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            if ahead.parent == self._tip:
                return await ahead.span
            ahead.span.cancel()
        return await fetch_span(self._node, self._deployment.contracts, first, last, self._tip)

    def _read_ahead(self, first: int, last: int, parent: BlockRef) -> None:
        """While one range is written, the node answers for the next."""
        reading = fetch_span(self._node, self._deployment.contracts, first, last, parent)
        self._ahead = _Ahead(parent, asyncio.create_task(reading))

    async def _write(self, span: Span) -> None:
        prepared = await self._read(span)
        async with self._database.write() as session:
            await self._holding.require(session)
            verdicts = await write_span(session, self._chart, span, prepared, self._config.kept_blocks)
        self._chart.keep()
        self._tip = span.tip
        report(verdicts)

    async def _read(self, span: Span) -> Prepared:
        async with self._database.read() as session:
            orders = await load_orders(session, known_orders(span.events))
            currencies = await load_currencies(session, known_cycles(span.events))
            last_record, last_batch = await _last_record(session)
            reading = read_events(span.events, orders, currencies, last_record + 1, last_batch)
            return await prepare(session, self._chart, reading, look_up=self._database.is_sqlite)

    def _adapt(self, logs: int) -> None:
        target = self._config.target_logs
        if logs > target:
            self._range = max(1, self._range // 2)
        elif logs < target // 4:
            self._range = min(self._config.max_blocks, self._range * 2)


async def _last_record(session: AsyncSession) -> tuple[int, int]:
    """Id of the last record, and the last canonical batch; 0 for none."""
    last_id = (await session.execute(select(func.max(Record.id)))).scalar() or 0
    query = select(Record.batch).where(Record.canonical.is_(True)).order_by(Record.id.desc()).limit(1)
    return last_id, (await session.execute(query)).scalar() or 0
