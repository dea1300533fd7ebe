"""The history of the contracts as a node tells it: every transaction that emitted a log, with calldata and events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

from fenzhang.audit.differences import Code, Findings
from fenzhang.audit.errors import ChainMoved, HistoryMissing
from fenzhang.chain.answers import (
    BlockHeader,
    ChainTransaction,
    block_header,
    chain_transaction,
    hash_of,
    quantity,
)
from fenzhang.chain.deployments import Deployment
from fenzhang.chain.errors import NodeUnavailable, RpcError, Undecodable
from fenzhang.chain.events import decode_logs, join_terms
from fenzhang.chain.eventtypes import Event
from fenzhang.chain.node import NodeClient

FIRST_RANGE = 64
"""Blocks in the first question for logs."""
MAX_RANGE = 4096
FEW_LOGS = 1_000
"""Below this, the next range of blocks is twice as long."""
MANY_LOGS = 4_000
"""Above this, it is half as long."""
TRANSACTIONS_AT_ONCE = 16
"""Transactions held in memory: a batch of 200 orders has half a megabyte of calldata."""


BLOCKS_AT_ONCE = 32
"""Whole blocks in one request."""
_WHOLE = True
"""Second parameter of eth_getBlockByNumber: transactions, not only their hashes."""
Order = tuple[int, int]
"""Number of the block, and place of the transaction in it."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """A mined transaction that concerns the contracts. `timestamp` is its block's, in Unix seconds."""

    tx_hash: bytes
    block_number: int
    timestamp: int
    sender: bytes
    to: bytes | None
    data: bytes
    gas_limit: int
    events: tuple[Event, ...]


class LogPlace(NamedTuple):
    """Block and transaction of a log."""

    block_number: int
    block_hash: bytes
    tx_index: int
    tx_hash: bytes


@dataclass(slots=True)
class HistoryReader:
    """Reads the history in ranges of blocks, as long as the logs in them allow.

    With `silent`, also successful calls of the contracts that emitted nothing: an authorization of no instruction uses
    up its nonce and leaves no log. They are found only by reading every block whole.
    """

    node: NodeClient
    deployment: Deployment
    findings: Findings
    silent: bool = False
    span: int = FIRST_RANGE

    async def transactions(self, first: int, last: int) -> AsyncIterator[Transaction]:
        """Every transaction with logs of the contracts in blocks `first` to `last`, in order.

        Raises ChainMoved, HistoryMissing, NodeUnavailable, RpcError.
        """
        while first <= last:
            end = min(last, first + self.span - 1)
            try:
                logs = await self.node.logs(list(self.deployment.contracts), first, end)
            except RpcError:
                # Nodes limit the answer's size or the range; a single block must be answered.
                if end == first:
                    raise
                self.span = max(1, (end - first + 1) // 2)
                continue
            self._adapt(len(logs))
            self.findings.count("blocks", end - first + 1)
            quiet = await self._silent(logs, first, end) if self.silent else []
            async for place, transaction in self._with_calldata(logs):
                while quiet and quiet[0][0] < place:
                    yield quiet.pop(0)[1]
                yield transaction
            for _, transaction in quiet:
                yield transaction
            first = end + 1

    def _adapt(self, logs: int) -> None:
        if logs > MANY_LOGS:
            self.span = max(1, self.span // 2)
        elif logs < FEW_LOGS:
            self.span = min(MAX_RANGE, self.span * 2)

    async def _with_calldata(
        self, logs: Sequence[dict[str, Any]]
    ) -> AsyncIterator[tuple[Order, Transaction]]:
        groups = [(place, list(group)) for place, group in groupby(logs, key=_place_of)]
        headers = await self._headers({place.block_number for place, _ in groups})
        for start in range(0, len(groups), TRANSACTIONS_AT_ONCE):
            chunk = groups[start : start + TRANSACTIONS_AT_ONCE]
            found = await self.node.transactions([place.tx_hash for place, _ in chunk])
            for transaction, (place, group) in zip(found, chunk, strict=True):
                order = (place.block_number, place.tx_index)
                yield order, self._join(place, transaction, group, headers)

    async def _headers(self, blocks: Iterable[int]) -> dict[int, BlockHeader]:
        numbers = sorted(blocks)
        headers = {}
        for number, header in zip(numbers, await self.node.blocks(numbers), strict=True):
            if header is None:
                raise ChainMoved(f"block {number} is gone: the chain reorganised while it was read")
            headers[number] = header
        return headers

    def _join(
        self,
        place: LogPlace,
        transaction: ChainTransaction | None,
        logs: Sequence[dict[str, Any]],
        headers: dict[int, BlockHeader],
    ) -> Transaction:
        number, tx_hash = place.block_number, place.tx_hash
        header = headers[number]
        if header.hash != place.block_hash:
            raise ChainMoved(f"block {number} changed: the chain reorganised while it was read")
        if transaction is None or transaction.hash != tx_hash:
            raise HistoryMissing(f"the node does not have transaction 0x{tx_hash.hex()} of block {number}")
        events = tuple(self._decode(logs, number, tx_hash))
        return self._transaction(transaction, header, events)

    def _transaction(
        self, transaction: ChainTransaction, header: BlockHeader, events: tuple[Event, ...]
    ) -> Transaction:
        self.findings.count("transactions")
        return Transaction(
            tx_hash=transaction.hash,
            block_number=header.number,
            timestamp=header.timestamp,
            sender=transaction.sender,
            to=transaction.to,
            data=transaction.data,
            gas_limit=transaction.gas_limit,
            events=events,
        )

    async def _silent(
        self, logs: Sequence[dict[str, Any]], first: int, end: int
    ) -> list[tuple[Order, Transaction]]:
        """Successful calls of the contracts without a log in blocks `first` to `end`, in order."""
        told = {_place_of(log).tx_hash for log in logs}
        found: list[tuple[Order, Transaction]] = []
        for start in range(first, end + 1, BLOCKS_AT_ONCE):
            numbers = range(start, min(start + BLOCKS_AT_ONCE, end + 1))
            quiet: list[tuple[BlockHeader, ChainTransaction]] = []
            for answer in await self.node.batch(
                [("eth_getBlockByNumber", (hex(number), _WHOLE)) for number in numbers]
            ):
                header, transactions = _whole_block(answer)
                quiet += [
                    (header, each)
                    for each in transactions
                    if each.to in self.deployment.contracts and each.hash not in told
                ]
            receipts = await self.node.receipts([each.hash for _, each in quiet])
            for (header, each), receipt in zip(quiet, receipts, strict=True):
                if receipt is not None and receipt.succeeded:
                    order = (header.number, receipt.tx_index)
                    found.append((order, self._transaction(each, header, ())))
        return found

    def _decode(self, logs: Sequence[dict[str, Any]], number: int, tx_hash: bytes) -> Iterable[Event]:
        self.findings.count("events", len(logs))
        try:
            return decode_logs(logs, self.deployment.contracts)
        except Undecodable:
            return self._decode_one_by_one(logs, number, tx_hash)

    def _decode_one_by_one(
        self, logs: Sequence[dict[str, Any]], number: int, tx_hash: bytes
    ) -> Iterable[Event]:
        events: list[Event] = []
        for log in logs:
            try:
                events += decode_logs([log], self.deployment.contracts)
            except Undecodable as error:
                self.findings.report(
                    Code.UNKNOWN_EVENT, error.message, block=number, transaction=tx_hash, found=log
                )
        return join_terms(events)


def _place_of(log: dict[str, Any]) -> LogPlace:
    try:
        number, index = quantity(log["blockNumber"]), quantity(log["transactionIndex"])
        return LogPlace(number, hash_of(log["blockHash"]), index, hash_of(log["transactionHash"]))
    except (KeyError, ValueError, TypeError):
        raise NodeUnavailable("the node gave a log without its place in the chain") from None


def _whole_block(answer: Any) -> tuple[BlockHeader, list[ChainTransaction]]:
    """A block with its transactions. Raises ChainMoved when it is gone."""
    if isinstance(answer, RpcError):
        raise answer
    try:
        header = block_header(answer)
        transactions = [] if header is None else [chain_transaction(each) for each in answer["transactions"]]
    except (KeyError, ValueError, TypeError, AttributeError):
        raise NodeUnavailable("the node gave a malformed block") from None
    if header is None:
        raise ChainMoved("a block is gone: the chain reorganised while it was read")
    return header, [each for each in transactions if each is not None]
