"""A local node driven by hand: each transaction gets a block of its own, one second after the last one.

Synchronous on purpose: a test of the contracts is a list of steps, and Hypothesis knows no event loop.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson

from fenzhang.chain.errors import RpcError
from fenzhang.chain.reverts import decode_revert
from fenzhang.domain.errors import FenzhangError

GAS_LIMIT = 16_000_000
"""Of a transaction: what the submission stage keeps to as well."""
BATCH_CALLS = 500
_TIMEOUT_S = 60.0
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Mined:
    """A transaction in its block. `error` is what the contract reverted with, None when it succeeded."""

    hash: bytes
    block_number: int
    timestamp: int
    gas_used: int
    logs: list[dict[str, Any]]
    created: bytes | None
    error: FenzhangError | None


class HandNode:
    """JSON-RPC to one anvil that mines nothing by itself."""

    def __init__(self, url: str) -> None:
        self.url = url
        parts = urlsplit(url)
        self._connection = socket.create_connection((parts.hostname, parts.port), _TIMEOUT_S)
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._head = f"POST / HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n".encode()
        self.request("anvil_setBlockTimestampInterval", 1)
        self.mine()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    # -------------------------------------------------------------------------- JSON-RPC

    def _post(self, body: object) -> Any:
        # By hand: the suite asks hundreds of thousands of times, and http.client takes longer than the node.
        data = orjson.dumps(body)
        self._connection.sendall(b"%bContent-Length: %d\r\n\r\n%b" % (self._head, len(data), data))
        answer = self._received()
        while (end := answer.find(b"\r\n\r\n")) < 0:
            answer += self._received()
        length = _LENGTH.search(answer, 0, end + 2)
        if length is None:
            raise ConnectionError(f"the node answered {bytes(answer[:end])!r}")
        end += len(b"\r\n\r\n")
        while len(answer) < end + int(length[1]):
            answer += self._received()
        return orjson.loads(memoryview(answer)[end:])

    def _received(self) -> bytearray:
        part = self._connection.recv(1 << 18)
        if not part:
            raise ConnectionError("the node closed the connection")
        return bytearray(part)

    def request(self, method: str, *params: Any) -> Any:
        """The result of one method. Raises RpcError."""
        answer = self._post({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        return self._result(method, answer)

    @staticmethod
    def _result(method: str, answer: dict[str, Any]) -> Any:
        if "error" in answer:
            error = answer["error"]
            raise RpcError(method, error["code"], error["message"], error.get("data"))
        return answer["result"]

    def call(self, to: bytes, data: bytes, sender: bytes | None = None) -> bytes:
        """Result of a call on the newest block. Raises the contract's own error."""
        [answer] = self.calls([(to, data)], sender)
        if isinstance(answer, FenzhangError):
            raise answer
        return answer

    def calls(
        self, calls: Sequence[tuple[bytes, bytes]], sender: bytes | None = None
    ) -> list[bytes | FenzhangError]:
        """Results of many calls (`to`, `data`), in arrays of requests; the contract's error for each that reverts."""
        answers: list[bytes | FenzhangError] = []
        for start in range(0, len(calls), BATCH_CALLS):
            requests = []
            for number, (to, data) in enumerate(calls[start : start + BATCH_CALLS]):
                call = {"to": "0x" + to.hex(), "data": "0x" + data.hex()}
                if sender is not None:
                    call["from"] = "0x" + sender.hex()
                requests.append(
                    {"jsonrpc": "2.0", "id": number, "method": "eth_call", "params": [call, "latest"]}
                )
            found = {answer["id"]: answer for answer in self._post(requests)}
            answers += [self._call_result(found[number]) for number in range(len(requests))]
        return answers

    def _call_result(self, answer: dict[str, Any]) -> bytes | FenzhangError:
        try:
            return bytes.fromhex(self._result("eth_call", answer)[2:])
        except RpcError as error:
            if error.revert_data is None:
                raise
            return decode_revert(error.revert_data)

    # -------------------------------------------------------------------------- blocks

    def transact(self, sender: bytes, to: bytes | None, data: bytes, *, gas_limit: int = GAS_LIMIT) -> Mined:
        """Send from an unlocked account and mine the block."""
        transaction = {
            "from": "0x" + sender.hex(),
            "data": "0x" + data.hex(),
            "gas": hex(gas_limit),
            "gasPrice": "0x0",
        }
        if to is not None:
            transaction["to"] = "0x" + to.hex()
        sent: str = self.request("eth_sendTransaction", transaction)
        self.mine()
        receipt = self.request("eth_getTransactionReceipt", sent)
        created = receipt["contractAddress"]
        return Mined(
            hash=bytes.fromhex(sent[2:]),
            block_number=int(receipt["blockNumber"], 16),
            timestamp=self.now,
            gas_used=int(receipt["gasUsed"], 16),
            logs=receipt["logs"],
            created=None if created is None else bytes.fromhex(created[2:]),
            error=None if receipt["status"] == "0x1" else self._revert_of(sent),
        )

    def _revert_of(self, transaction: str) -> FenzhangError:
        trace = self.request("debug_traceTransaction", transaction, {"tracer": "callTracer"})
        return decode_revert(bytes.fromhex(trace.get("output", "0x")[2:]))

    def mine(self) -> None:
        """One block, one second after the last."""
        self.request("evm_mine")

    @property
    def now(self) -> int:
        """Unix seconds of the newest block."""
        block = self.request("eth_getBlockByNumber", "latest", False)  # noqa: FBT003 - positional by JSON-RPC
        return int(block["timestamp"], 16)

    def next_block_at(self, timestamp: int) -> None:
        """Give the next block this time (Unix seconds); later ones follow by one second each again."""
        self.request("evm_setNextBlockTimestamp", timestamp)

    def snapshot(self) -> str:
        """Remember the state; `revert` uses it up."""
        taken: str = self.request("evm_snapshot")
        return taken

    def revert(self, snapshot: str) -> None:
        """Back to a snapshot, its block and its time."""
        if not self.request("evm_revert", snapshot):
            raise LookupError(f"there is no snapshot {snapshot}")

    def impersonate(self, account: bytes) -> None:
        """Let `transact` send from an account without a key, such as a contract."""
        self.request("anvil_impersonateAccount", "0x" + account.hex())

    def set_code(self, address: bytes, code: bytes) -> None:
        """Replace the code of an account."""
        self.request("anvil_setCode", "0x" + address.hex(), "0x" + code.hex())
