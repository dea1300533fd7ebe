"""Stored transactions go to the node, and go again while it has no receipt for them: always the same bytes."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang import crashpoints
from fenzhang.chain.node import NodeClient, SendStatus
from fenzhang.store.bulk import chunks
from fenzhang.store.holding import Holding
from fenzhang.store.session import Database
from fenzhang.store.tables import Transaction, TransactionState
from fenzhang.submission.config import SubmissionConfig
from fenzhang.submission.tracking import LIVE_STATES, Live, newest_block
from fenzhang.telemetry import metrics

log = logging.getLogger("fenzhang.submission")


@dataclass(slots=True)
class _Overtaken:
    """A transaction whose nonce is mined while it has no receipt: since when, and at which head of the chain."""

    since: float
    head: int


@dataclass(slots=True)
class Sender:
    """Broadcasts, and finds out which transactions never will be mined."""

    database: Database
    node: NodeClient
    holding: Holding
    config: SubmissionConfig
    senders: Sequence[bytes]
    """Addresses whose transactions it broadcasts."""
    _sent_at: dict[int, float] = field(default_factory=dict)
    _refusals: dict[int, str] = field(default_factory=dict)
    _overtaken: dict[int, _Overtaken] = field(default_factory=dict)
    _looked_at: float = 0.0

    def forget(self) -> None:
        """Broadcast everything again: the node may have been restarted, or others may have acted meanwhile."""
        self._sent_at.clear()

    async def broadcast(self) -> int:
        """Send what is due. Returns how many transactions the node took or had. Raises NodeUnavailable."""
        now = time.monotonic()
        async with self.database.read() as session:
            live = await _live_ids(session, self.senders)
            due = [
                transaction_id
                for transaction_id in live
                if now - self._sent_at.get(transaction_id, float("-inf")) >= self.config.rebroadcast_s
            ]
            raws = await _load_raw(session, due)
        self._sent_at = {key: self._sent_at[key] for key in live if key in self._sent_at}
        if not raws:
            return 0
        results = await self.node.send_raw([raw for _, raw in raws])
        crashpoints.passed(crashpoints.AFTER_BROADCAST)
        taken = []
        for (transaction_id, _), result in zip(raws, results, strict=True):
            self._sent_at[transaction_id] = now
            if result.status is SendStatus.REFUSED:
                self._log_refusal(transaction_id, result.error.message if result.error else "")
            else:
                taken.append(transaction_id)
        await self._mark_sent(taken)
        return len(taken)

    def _log_refusal(self, transaction_id: int, message: str) -> None:
        if self._refusals.get(transaction_id) != message:
            self._refusals[transaction_id] = message
            log.warning("the node refuses transaction %d for now: %s", transaction_id, message)

    async def _mark_sent(self, taken: Sequence[int]) -> None:
        if not taken:
            return
        fresh = 0
        async with self.database.write() as session:
            await self.holding.require(session)
            for chunk in chunks(taken):
                marked = await session.execute(
                    update(Transaction)
                    .where(Transaction.id.in_(chunk), Transaction.state == TransactionState.SIGNED.value)
                    .values(state=TransactionState.SENT.value)
                    .returning(Transaction.id)
                    .execution_options(synchronize_session=False)
                )
                fresh += len(marked.all())
        metrics.TRANSACTIONS_SENT.inc(fresh)

    async def find_overtaken(self, waiting: Collection[Live]) -> list[Live]:
        """Those of the transactions without receipt whose nonce another transaction has used for good.

        Nonces that the chain has lost (a node restarted from an older state) are sent again on the way. Looks at most
        once per `rebroadcast_s`.
        """
        now = time.monotonic()
        if now - self._looked_at < self.config.rebroadcast_s:
            return []
        self._looked_at = now
        lost: list[Live] = []
        overtaken: dict[int, _Overtaken] = {}
        for sender in {transaction.sender for transaction in waiting}:
            mined = await self.node.nonce(sender)
            own = [transaction for transaction in waiting if transaction.sender == sender]
            await self._refill(sender, mined, min(transaction.nonce for transaction in own))
            for transaction in own:
                if transaction.nonce >= mined:
                    continue
                seen = self._overtaken.get(transaction.id)
                if seen is None:
                    seen = _Overtaken(now, await self.node.block_number())
                overtaken[transaction.id] = seen
                if now - seen.since >= self.config.lost_after_s and await self._mirrored_past(seen.head):
                    lost.append(transaction)
        self._overtaken = overtaken
        for transaction in lost:
            log.error(
                "nonce %d of 0x%s was used by another transaction than 0x%s",
                transaction.nonce,
                transaction.sender.hex(),
                transaction.hash.hex(),
            )
        return lost

    async def _mirrored_past(self, head: int) -> bool:
        async with self.database.read() as session:
            return await newest_block(session) >= head

    async def _refill(self, sender: bytes, mined: int, lowest: int) -> None:
        """Send again what had been mined, if the chain now wants nonces below the lowest live one."""
        if mined >= lowest:
            return
        async with self.database.read() as session:
            query = (
                select(Transaction.raw)
                .where(
                    Transaction.sender == sender,
                    Transaction.nonce >= mined,
                    Transaction.nonce < lowest,
                    Transaction.state.not_in(LIVE_STATES),
                )
                .order_by(Transaction.nonce)
            )
            raws = (await session.execute(query)).scalars().all()
        log.warning(
            "the chain has lost transactions of 0x%s from nonce %d on: sending %d again",
            sender.hex(),
            mined,
            len(raws),
        )
        if raws:
            await self.node.send_raw(raws)


async def _live_ids(session: AsyncSession, senders: Sequence[bytes]) -> Sequence[int]:
    query = select(Transaction.id).where(Transaction.state.in_(LIVE_STATES), Transaction.sender.in_(senders))
    return (await session.execute(query)).scalars().all()


async def _load_raw(session: AsyncSession, ids: Sequence[int]) -> list[tuple[int, bytes]]:
    """Raw bytes of transactions, as they were signed: what one sender's needs of another's arrives behind it."""
    found: list[tuple[int, bytes]] = []
    for chunk in chunks(ids):
        query = select(Transaction.id, Transaction.raw).where(Transaction.id.in_(chunk))
        found += [(number, raw) for number, raw in await session.execute(query)]
    return sorted(found)
