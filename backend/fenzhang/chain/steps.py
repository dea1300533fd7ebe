"""Transactions that must happen once, whatever happens to the process or the node in between.

Each step's signed transaction is stored, in a progress file, before it is broadcast. A later run finds it there and
sends the same bytes again, so a step is never done twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from fenzhang.chain.answers import Receipt, SendStatus
from fenzhang.chain.deployments import write_atomically
from fenzhang.chain.errors import DeployInterrupted, RpcError
from fenzhang.chain.keccak import keccak
from fenzhang.chain.node import NodeClient
from fenzhang.chain.reverts import decode_revert
from fenzhang.chain.signer import LocalKey, SignedTransaction, TransactionRequest

MAX_GAS = 16_000_000
"""Gas limit of one transaction: chains with EIP-7825 take at most 2**24."""
_POLL_S = 0.1
_REBROADCAST_S = 5.0


@dataclass(slots=True)
class Step:
    """A step begun: the nonce it owns, what it does (`content`, a hash), and every transaction signed for it."""

    nonce: int
    content: bytes
    transactions: list[SignedTransaction]


@dataclass(slots=True)
class Progress:
    """The progress file. `identity` says what it belongs to; a file of something else is not continued."""

    path: Path
    identity: dict[str, Any]
    steps: dict[str, Step] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path, identity: dict[str, Any]) -> Progress:
        """Continue the file at `path`, or begin it. Raises DeployInterrupted if it belongs to something else."""
        if not path.exists():
            return cls(path, identity)
        try:
            content = orjson.loads(path.read_bytes())
            steps = {name: _read_step(step) for name, step in content["steps"].items()}
            found = content["identity"]
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            raise DeployInterrupted(f"{path} is no progress file; remove it to begin anew") from None
        if found != identity:
            raise DeployInterrupted(
                f"{path} is the progress of another deployment (other chain, key or parameters): finish that one, "
                "or remove the file to begin anew"
            )
        return cls(path, identity, steps)

    def save(self) -> None:
        """Write the file durably."""
        steps = {name: _write_step(step) for name, step in self.steps.items()}
        write_atomically(self.path, orjson.dumps({"identity": self.identity, "steps": steps}))

    def discard(self) -> None:
        """Remove the file: everything is done."""
        self.path.unlink(missing_ok=True)


def _read_step(content: dict[str, Any]) -> Step:
    raws = [bytes.fromhex(raw) for raw in content["transactions"]]
    transactions = [SignedTransaction(raw, keccak(raw)) for raw in raws]
    return Step(int(content["nonce"]), bytes.fromhex(content["content"]), transactions)


def _write_step(step: Step) -> dict[str, Any]:
    return {
        "nonce": step.nonce,
        "content": step.content.hex(),
        "transactions": [transaction.raw.hex() for transaction in step.transactions],
    }


@dataclass(slots=True)
class StepRunner:
    """Carries out steps of one account. Raises DeployInterrupted when a step cannot be finished now."""

    node: NodeClient
    key: LocalKey
    chain_id: int
    progress: Progress
    timeout_s: float
    report: Callable[[str], None]

    async def begin(self, name: str, to: bytes | None, data: bytes) -> None:
        """See to it that the step's transaction is stored and with the node. `to` None creates a contract."""
        content = keccak((to or b"") + data)
        step = self.progress.steps.get(name)
        if step is not None and step.content != content:
            raise DeployInterrupted(
                f"{self.progress.path}: the step {name!r} was begun with other content; remove the file to begin anew"
            )
        if step is not None and await self._is_void(step):
            step = None
        elif step is not None and await self._is_underway(name, step):
            return
        nonce = await self._next_nonce() if step is None else step.nonce
        earlier = [] if step is None else step.transactions
        transaction = await self._sign(nonce, to, data)
        self.progress.steps[name] = Step(nonce, content, [*earlier, transaction])
        self.progress.save()
        self.report(f"{name}: transaction 0x{transaction.hash.hex()}")
        [result] = await self.node.send_raw([transaction.raw])
        if result.status is SendStatus.REFUSED:
            reason = "" if result.error is None else result.error.message
            raise DeployInterrupted(f"{name}: the node refuses the transaction: {reason}")

    async def finish(self, name: str) -> Receipt:
        """Wait until the step is mined, and return its receipt."""
        step = self.progress.steps[name]
        deadline = time.monotonic() + self.timeout_s
        again = time.monotonic() + _REBROADCAST_S
        while True:
            receipt = await self._receipt(step)
            if receipt is not None:
                return self._check(name, receipt)
            if time.monotonic() > deadline:
                raise DeployInterrupted(
                    f"{name} was not mined within {self.timeout_s:.0f} s; run the command again to continue",
                    tx_hash=step.transactions[-1].hash,
                )
            if time.monotonic() > again:
                # A restarted node has lost its pool.
                await self.node.send_raw([step.transactions[-1].raw])
                again = time.monotonic() + _REBROADCAST_S
            await asyncio.sleep(_POLL_S)

    async def _is_void(self, step: Step) -> bool:
        """Whether the step can have no effect any more: it reverted, or another transaction took its nonce."""
        # The nonce first: a transaction that is mined between the two questions must not look like a foreign one.
        nonce_is_used = await self.node.nonce(self.key.address) > step.nonce
        receipt = await self._receipt(step)
        return nonce_is_used if receipt is None else not receipt.succeeded

    async def _is_underway(self, name: str, step: Step) -> bool:
        """Whether the step is mined, or with the node once more. Otherwise its nonce needs a better transaction."""
        if await self._receipt(step) is not None:
            self.report(f"{name}: done already")
            return True
        self.report(f"{name}: sending the stored transaction again")
        [result] = await self.node.send_raw([step.transactions[-1].raw])
        return result.status is not SendStatus.REFUSED

    async def _next_nonce(self) -> int:
        pending = await self.node.nonce(self.key.address, "pending")
        own = [step.nonce + 1 for step in self.progress.steps.values()]
        return max(pending, *own) if own else pending

    async def _sign(self, nonce: int, to: bytes | None, data: bytes) -> SignedTransaction:
        try:
            gas = await self.node.estimate_gas(self.key.address, to, data)
        except RpcError as error:
            if error.revert_data:
                raise decode_revert(error.revert_data) from error
            raise
        max_fee, priority_fee = await suggested_fees(self.node)
        return self.key.sign_transaction(
            TransactionRequest(
                chain_id=self.chain_id,
                nonce=nonce,
                to=to,
                data=data,
                gas_limit=max(gas, min(gas * 6 // 5, MAX_GAS)),
                max_fee=max_fee,
                priority_fee=priority_fee,
            )
        )

    async def _receipt(self, step: Step) -> Receipt | None:
        hashes = [transaction.hash for transaction in step.transactions]
        found = await self.node.receipts(hashes)
        return next((receipt for receipt in found if receipt is not None), None)

    def _check(self, name: str, receipt: Receipt) -> Receipt:
        if not receipt.succeeded:
            raise DeployInterrupted(f"{name} reverted", tx_hash=receipt.tx_hash)
        return receipt


async def suggested_fees(node: NodeClient) -> tuple[int, int]:
    """Maximum fee and priority fee, wei per gas: the node's price, with room for the base fee to double. 0 stays 0."""
    price = await node.gas_price()
    head = await node.block("latest")
    base = head.base_fee if head is not None and head.base_fee is not None else 0
    tip = max(price - base, 0)
    return 2 * base + tip, tip
