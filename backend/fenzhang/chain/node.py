"""A chain node over JSON-RPC: standard methods only, in batches, with every failure named.

A node is untrusted plumbing here: an answer that is late, cut off or malformed is NodeUnavailable, an answer that says
no is an RpcError, and "already known" and "nonce too low" are answers about a transaction, not failures.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from itertools import count
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import orjson

from fenzhang.chain.answers import (
    BlockHeader,
    ChainTransaction,
    Receipt,
    SendResult,
    SendStatus,
    block_header,
    chain_transaction,
    quantity,
    raw_bytes,
    receipt,
    send_result,
)
from fenzhang.chain.breaker import Breaker
from fenzhang.chain.errors import NodeUnavailable, RpcError
from fenzhang.chain.nodeurl import NodeUrl
from fenzhang.chain.tls import tls

__all__ = [
    "BlockHeader",
    "BlockTag",
    "ChainTransaction",
    "NodeClient",
    "NodeUnavailable",
    "Receipt",
    "RpcError",
    "SendResult",
    "SendStatus",
]

T = TypeVar("T")
# httpx writes whole URLs to its log, and the path of a node's URL may be an access key.
logging.getLogger("httpx").setLevel(logging.WARNING)
BlockTag = int | str
"""A block number, or `latest`, `finalized`, `earliest`, `pending`; a 0x block hash where a call allows it."""

BATCH_CALLS = 200
"""Calls in one HTTP request; nodes limit this (Besu: 1024 by default)."""
BATCH_BYTES = 2_000_000
"""Size of one HTTP request at which the next one begins; nodes limit this (geth: 5 MB)."""
DEFAULT_TIMEOUT_S = 30.0
_REPEATABLE = ("eth_", "net_", "web3_")
"""Methods that may be sent twice: reads, and raw transactions, which a node takes once whatever is sent."""
_CONNECTION_LOST = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)
"""Signs of a connection that the node closed while it was idle; one new attempt is in order."""
_HEADER_ONLY = (False,)
"""Second parameter of eth_getBlockByNumber: hashes of transactions suffice."""
_TOO_MANY_REQUESTS = 429
_SERVER_ERROR = 500


class NodeClient:
    """One node. An async context manager; safe for concurrent use within one event loop.

    Every method raises NodeUnavailable or RpcError. With a `breaker`, a node that keeps failing is left alone for a
    while, in which they raise CircuitOpen at once.
    """

    def __init__(
        self,
        url: str,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        self.breaker = breaker
        """What leaves a failing node alone; None for tools that try once."""
        at = NodeUrl.parse(url)
        self._url = at.url
        self.name = at.name
        """The node's address as it may be shown."""
        self._client = httpx.AsyncClient(
            timeout=timeout_s,
            transport=transport,
            verify=tls(),
            headers={"Content-Type": "application/json"},
            auth=at.auth,
            # A proxy of the environment is not for a node on this very machine.
            trust_env=not at.is_local,
        )
        self._ids = count(1)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    # -------------------------------------------------------------------------- any method

    async def request(self, method: str, *params: Any) -> Any:
        """Call one method and return its result as the node gave it."""
        return await self._ask(_as_is, method, *params)

    async def batch(self, calls: Iterable[tuple[str, Sequence[Any]]]) -> list[Any | RpcError]:
        """Call many methods; one result, or the RpcError that the node gave for it, per call in order."""
        async with self._guarded():
            return await self._batch(calls)

    def _guarded(self) -> AbstractAsyncContextManager[None]:
        """Around a question and the reading of its answer: what is malformed is a failure as well."""
        return nullcontext() if self.breaker is None else self.breaker.guard()

    async def _batch(self, calls: Iterable[tuple[str, Sequence[Any]]]) -> list[Any | RpcError]:
        results: list[Any | RpcError] = []
        pending: list[tuple[str, Sequence[Any]]] = []
        size = 0
        for method, params in calls:
            weight = sum(len(param) for param in params if isinstance(param, str)) + 100
            if pending and (len(pending) == BATCH_CALLS or size + weight > BATCH_BYTES):
                results += await self._post(pending)
                pending, size = [], 0
            pending.append((method, params))
            size += weight
        if pending:
            results += await self._post(pending)
        return results

    async def _post(self, calls: Sequence[tuple[str, Sequence[Any]]], *, single: bool = False) -> list[Any]:
        requests = [
            {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}
            for method, params in calls
        ]
        body = orjson.dumps(requests[0] if single else requests)
        repeatable = all(method.startswith(_REPEATABLE) for method, _ in calls)
        response = await self._exchange(body, attempts=2 if repeatable else 1)
        answers = self._parse(response)
        if isinstance(answers, dict) and answers.get("id") is None and answers.get("error") is not None:
            # The node refused the request as a whole, for instance because the array is too long.
            raise self._rpc_error(calls[0][0] if single else "batch", answers["error"])
        if single:
            answers = [answers]
        elif not isinstance(answers, list):
            raise self._malformed("no array")
        by_id = {
            answer["id"]: answer
            for answer in answers
            if isinstance(answer, dict) and isinstance(answer.get("id"), int)
        }
        return [
            self._result(method, by_id.get(request["id"]))
            for (method, _), request in zip(calls, requests, strict=True)
        ]

    async def _exchange(self, body: bytes, *, attempts: int) -> httpx.Response:
        while True:
            attempts -= 1
            try:
                response = await self._client.post(self._url, content=body)
            except httpx.TimeoutException:
                raise NodeUnavailable(
                    f"the node {self.name} did not answer in time", node=self.name
                ) from None
            except _CONNECTION_LOST as error:
                if attempts:
                    continue
                raise self._unreachable(error) from None
            except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
                raise self._unreachable(error) from None
            if response.status_code == _TOO_MANY_REQUESTS or response.status_code >= _SERVER_ERROR:
                raise NodeUnavailable(
                    f"the node {self.name} answers HTTP {response.status_code}",
                    node=self.name,
                    http_status=response.status_code,
                )
            return response

    def _parse(self, response: httpx.Response) -> Any:
        try:
            return orjson.loads(response.content)
        except orjson.JSONDecodeError:
            raise self._malformed(f"HTTP {response.status_code} without JSON") from None

    def _result(self, method: str, answer: dict[str, Any] | None) -> Any:
        if answer is None:
            raise self._malformed(f"nothing for {method}")
        if answer.get("error") is not None:
            return self._rpc_error(method, answer["error"])
        if "result" not in answer:
            raise self._malformed(f"neither result nor error for {method}")
        return answer["result"]

    def _rpc_error(self, method: str, error: object) -> RpcError:
        if not isinstance(error, dict) or not isinstance(error.get("code"), int):
            raise self._malformed(f"an error without a code for {method}")
        return RpcError(method, error["code"], str(error.get("message", "")), error.get("data"))

    def _unreachable(self, error: Exception) -> NodeUnavailable:
        return NodeUnavailable(
            f"the node {self.name} cannot be reached ({type(error).__name__})", node=self.name
        )

    def _malformed(self, what: str) -> NodeUnavailable:
        return NodeUnavailable(f"the node {self.name} gave a malformed answer: {what}", node=self.name)

    def _read(self, method: str, reader: Callable[[Any], T], answer: Any) -> T:
        if isinstance(answer, RpcError):
            raise answer
        try:
            return reader(answer)
        except (KeyError, ValueError, TypeError, AttributeError):
            raise self._malformed(f"an unreadable result of {method}") from None

    async def _ask(self, reader: Callable[[Any], T], method: str, *params: Any) -> T:
        async with self._guarded():
            [answer] = await self._post([(method, params)], single=True)
            return self._read(method, reader, answer)

    async def _ask_all(
        self, reader: Callable[[Any], T], method: str, params: Iterable[Sequence[Any]]
    ) -> list[T]:
        async with self._guarded():
            answers = await self._batch([(method, each) for each in params])
            return [self._read(method, reader, answer) for answer in answers]

    # -------------------------------------------------------------------------- the chain

    async def chain_id(self) -> int:
        """Number of the chain."""
        return await self._ask(quantity, "eth_chainId")

    async def identity(self) -> tuple[int, bytes | None]:
        """Number of the chain and hash of its first block, which tell it from any other, in one request."""
        chain_id, genesis = await self.batch(
            [("eth_chainId", ()), ("eth_getBlockByNumber", ("0x0", *_HEADER_ONLY))]
        )
        header = self._read("eth_getBlockByNumber", block_header, genesis)
        return self._read("eth_chainId", quantity, chain_id), None if header is None else header.hash

    async def block_number(self) -> int:
        """Number of the newest block."""
        return await self._ask(quantity, "eth_blockNumber")

    async def block(self, block: BlockTag = "latest") -> BlockHeader | None:
        """Header of a block, or None for one that does not exist (yet)."""
        return await self._ask(block_header, "eth_getBlockByNumber", block_tag(block), *_HEADER_ONLY)

    async def blocks(self, numbers: Iterable[int]) -> list[BlockHeader | None]:
        """Headers of many blocks."""
        params = [(hex(number), *_HEADER_ONLY) for number in numbers]
        return await self._ask_all(block_header, "eth_getBlockByNumber", params)

    async def logs(
        self,
        addresses: Sequence[bytes],
        from_block: int,
        to_block: int,
        topics: Sequence[bytes | Sequence[bytes] | None] | None = None,
    ) -> list[dict[str, Any]]:
        """Raw logs of the contracts in a range of blocks, both ends included, in order."""
        query: dict[str, Any] = {
            "address": ["0x" + address.hex() for address in addresses],
            "fromBlock": hex(from_block),
            "toBlock": hex(to_block),
        }
        if topics is not None:
            query["topics"] = [_topic(topic) for topic in topics]
        return await self._ask(_log_list, "eth_getLogs", query)

    async def logs_of_blocks(
        self, addresses: Sequence[bytes], blocks: Iterable[bytes]
    ) -> list[dict[str, Any]]:
        """Raw logs of the contracts in blocks given by hash: a node that lacks one says so, and does not say none."""
        wanted = ["0x" + address.hex() for address in addresses]
        params = [({"address": wanted, "blockHash": "0x" + block.hex()},) for block in blocks]
        answers = await self._ask_all(_log_list, "eth_getLogs", params)
        return [log for logs in answers for log in logs]

    # -------------------------------------------------------------------------- transactions

    async def send_raw(self, transactions: Sequence[bytes]) -> list[SendResult]:
        """Broadcast signed transactions; one answer for each."""
        calls = [("eth_sendRawTransaction", ("0x" + raw.hex(),)) for raw in transactions]
        async with self._guarded():
            answers = await self._batch(calls)
            try:
                return [send_result(answer) for answer in answers]
            except (ValueError, TypeError):
                raise self._malformed("no hash of a sent transaction") from None

    async def receipts(self, hashes: Sequence[bytes]) -> list[Receipt | None]:
        """Receipts of mined transactions; None for those that are not mined."""
        return await self._ask_all(receipt, "eth_getTransactionReceipt", [("0x" + h.hex(),) for h in hashes])

    async def transactions(self, hashes: Sequence[bytes]) -> list[ChainTransaction | None]:
        """Transactions with their calldata; None for those that the node does not know."""
        params = [("0x" + h.hex(),) for h in hashes]
        return await self._ask_all(chain_transaction, "eth_getTransactionByHash", params)

    async def nonce(self, address: bytes, tag: BlockTag = "latest") -> int:
        """Number of transactions that an account has sent (`latest`: mined ones)."""
        return await self._ask(quantity, "eth_getTransactionCount", "0x" + address.hex(), block_tag(tag))

    async def balance(self, address: bytes, block: BlockTag = "latest") -> int:
        """Wei of an account."""
        return await self._ask(quantity, "eth_getBalance", "0x" + address.hex(), block_tag(block))

    async def gas_price(self) -> int:
        """Wei per gas that the node suggests; 0 on a chain without fees."""
        return await self._ask(quantity, "eth_gasPrice")

    async def estimate_gas(self, sender: bytes, to: bytes | None, data: bytes) -> int:
        """Gas that a transaction would need. Raises RpcError with revert data when it would revert."""
        return await self._ask(quantity, "eth_estimateGas", _call_object(to, data, sender))

    # -------------------------------------------------------------------------- state

    async def call(
        self,
        to: bytes,
        data: bytes,
        block: BlockTag = "latest",
        sender: bytes | None = None,
        gas: int | None = None,
    ) -> bytes:
        """Result of a call at a block. Raises RpcError with revert data when it reverts, or needs more than `gas`."""
        call = _call_object(to, data, sender)
        if gas is not None:
            call["gas"] = hex(gas)
        return await self._ask(raw_bytes, "eth_call", call, block_reference(block))

    async def calls(self, calls: Iterable[tuple[bytes, bytes]], block: BlockTag = "latest") -> list[bytes]:
        """Results of many calls (`to`, `data`) at a block. Raises RpcError for the first that reverts."""
        at = block_reference(block)
        params = [(_call_object(to, data, None), at) for to, data in calls]
        return await self._ask_all(raw_bytes, "eth_call", params)

    async def code(self, address: bytes, block: BlockTag = "latest") -> bytes:
        """Code of a contract; empty when there is none."""
        return await self._ask(raw_bytes, "eth_getCode", "0x" + address.hex(), block_tag(block))

    async def storage(self, address: bytes, slot: int, block: BlockTag = "latest") -> bytes:
        """One storage slot, 32 bytes."""
        return await self._ask(
            lambda value: raw_bytes(value).rjust(32, b"\0"),
            "eth_getStorageAt",
            "0x" + address.hex(),
            hex(slot),
            block_tag(block),
        )


def block_tag(block: BlockTag) -> str:
    """A block as JSON-RPC writes it."""
    return hex(block) if isinstance(block, int) else block


def block_reference(block: BlockTag) -> str | dict[str, str]:
    """A block as state queries write it; a 0x hash of 32 bytes names that very block (EIP-1898)."""
    if isinstance(block, str) and block.startswith("0x"):
        return {"blockHash": block}
    return block_tag(block)


def _topic(topic: bytes | Sequence[bytes] | None) -> str | list[str] | None:
    if topic is None:
        return None
    if isinstance(topic, bytes):
        return "0x" + topic.hex()
    return ["0x" + each.hex() for each in topic]


def _call_object(to: bytes | None, data: bytes, sender: bytes | None) -> dict[str, str]:
    call = {"data": "0x" + data.hex()}
    if to is not None:
        call["to"] = "0x" + to.hex()
    if sender is not None:
        call["from"] = "0x" + sender.hex()
    return call


def _as_is(value: Any) -> Any:
    return value


def _log_list(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(log, Mapping) for log in value):
        raise TypeError("no list of logs")
    return value
