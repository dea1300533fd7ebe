"""Live transactions are followed to their end."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence

from fenzhang import crashpoints
from fenzhang.chain.codec import decode_revert
from fenzhang.chain.deployments import check_chain
from fenzhang.chain.errors import RpcError
from fenzhang.chain.node import Receipt
from fenzhang.domain.errors import FenzhangError
from fenzhang.store.holding import Holding
from fenzhang.store.tables import InstructionType, TransactionState
from fenzhang.submission.context import Context
from fenzhang.submission.errors import GasExhausted, TransactionReverted
from fenzhang.submission.governance import SENDER, Call, call_of
from fenzhang.submission.patience import Patience
from fenzhang.submission.reporting import count_ends
from fenzhang.submission.sending import Sender
from fenzhang.submission.tracking import (
    Carried,
    End,
    Live,
    finish,
    load_carried,
    load_live,
    mirrored,
    newest_block,
)

log = logging.getLogger("fenzhang.submission")
_FORWARDED = 63 / 64
"""A call passes on at most this part of its gas; who used more ran out of it."""


class Follower:
    """Finds the ends of live transactions and returns to the queue what they did not settle."""

    def __init__(self, context: Context) -> None:
        self._database = context.database
        self._node = context.node
        self._deployment = context.deployment
        self._keyring = context.keyring
        self._config = context.config
        self._senders = context.senders
        self._addresses = context.addresses
        self._mined_by: dict[int, int] = {}
        """Of live transactions whose nonce is used, the newest block when that was noticed."""

    async def follow(self, holding: Holding, sender: Sender, patience: Patience) -> int:
        """Finish the transactions whose end is known. Returns how many. Raises NodeUnavailable, LeaseLost."""
        async with self._database.read() as session:
            live = await load_live(session, self._addresses)
            checkpoint = await newest_block(session)
        if not live:
            return 0
        await self._look_for(live)
        # A receipt has all events in it: it is asked for once, when the mirror has read them.
        due = [t for t in live if self._mined_by.get(t.id, checkpoint + 1) <= checkpoint]
        receipts = await self._node.receipts([transaction.hash for transaction in due])
        ends = [End(t, receipt) for t, receipt in zip(due, receipts, strict=True) if receipt is not None]
        waiting = [t for t in live if t.id not in self._mined_by]
        waiting += [t for t, receipt in zip(due, receipts, strict=True) if receipt is None]
        lost = [End(t, None) for t in await sender.find_overtaken(waiting)]
        async with self._database.read() as session:
            ends = await mirrored(session, ends, self._config.final_depth) + lost
            reverted = [end.transaction.id for end in ends if end.state is TransactionState.REVERTED]
            carried = await load_carried(session, reverted)
        if not ends:
            return 0
        await check_chain(self._node, self._deployment)
        refusals = await self._refusals(carried, {end.transaction.id: end for end in ends})
        refusals |= self._exhausted(carried, ends)
        crashpoints.passed(crashpoints.AFTER_MINE)
        async with self._database.write() as session:
            await holding.require(session)
            ends = await mirrored(session, ends, self._config.final_depth) + lost
            carried = await load_carried(session, [end.transaction.id for end in ends])
            retries = await finish(session, ends, carried, refusals)
        patience.skipped(retries.skipped)
        patience.failed(retries.failed_alone)
        self._report(ends, carried)
        count_ends(ends)
        return len(ends)

    async def _look_for(self, live: Sequence[Live]) -> None:
        """Notice which transactions the chain has gone past, and how high it was then at most."""
        mined = {sender: await self._node.nonce(sender) for sender in {t.sender for t in live}}
        past = [t.id for t in live if t.nonce < mined[t.sender]]
        if any(number not in self._mined_by for number in past):
            # Asked for after the nonces, so that no transaction stands higher.
            head = await self._node.block_number()
            self._mined_by = {number: self._mined_by.get(number, head) for number in past}
        else:
            self._mined_by = {number: self._mined_by[number] for number in past}

    async def _refusals(
        self, carried: Sequence[Carried], ends: Mapping[int, End]
    ) -> dict[int, FenzhangError]:
        """Why governance transactions reverted, by instruction: what the same call answers at their block."""
        refusals: dict[int, FenzhangError] = {}
        for item in carried:
            receipt = ends[item.transaction_id].receipt
            if not item.is_governance or receipt is None:
                continue
            async with self._database.read() as session:
                call = await call_of(session, self._keyring, self._deployment, item.type, item.payload)
            sender = self._senders[SENDER[InstructionType(item.type)]].address
            refusals[item.seq] = await self._reason(call, sender, receipt)
        return refusals

    async def _reason(self, call: Call, sender: bytes, receipt: Receipt) -> FenzhangError:
        # Not at the block before: what made it revert may stand in the same block, before it.
        for block in (receipt.block_number, "latest"):
            try:
                await self._node.call(call.to, call.data, block, sender)
            except RpcError as error:
                if error.revert_data is not None:
                    return decode_revert(error.revert_data)
        return TransactionReverted("the transaction reverted, and the same call would not now")

    def _exhausted(self, carried: Sequence[Carried], ends: Sequence[End]) -> dict[int, FenzhangError]:
        """Instructions whose authorization alone used up all the gas that a transaction may have."""
        authorizations: dict[int, set[int | None]] = defaultdict(set)
        for item in carried:
            authorizations[item.transaction_id].add(item.authorization_id)
        hopeless = {
            end.transaction.id
            for end in ends
            if end.receipt is not None
            and len(authorizations[end.transaction.id]) == 1
            and end.transaction.gas_limit >= self._config.gas_cap
            and end.receipt.gas_used >= _FORWARDED * end.transaction.gas_limit
        }
        return {
            item.seq: GasExhausted(
                "the authorization alone needs more gas than a transaction may use",
                gas_limit=self._config.gas_cap,
            )
            for item in carried
            if item.transaction_id in hopeless and not item.is_governance
        }

    def _report(self, ends: Sequence[End], carried: Sequence[Carried]) -> None:
        left: dict[int, int] = defaultdict(int)
        for item in carried:
            left[item.transaction_id] += 1
        for end in ends:
            if end.state is TransactionState.REVERTED and end.receipt is not None:
                log.warning(
                    "transaction 0x%s with %d instructions reverted in block %d after %d gas",
                    end.transaction.hash.hex(),
                    left[end.transaction.id],
                    end.receipt.block_number,
                    end.receipt.gas_used,
                )
            elif left[end.transaction.id]:
                log.info(
                    "transaction 0x%s: %d instructions were passed over",
                    end.transaction.hash.hex(),
                    left[end.transaction.id],
                )
