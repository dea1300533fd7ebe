"""The baseline: what a careful developer writes with AsyncWeb3.

One transaction per split to the same contracts: the capture attested and the split authorized (both signatures made
here), the transaction signed locally, its nonce counted locally, many at a time, every receipt waited for and written
to a database as one row with its own commit.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import aiosqlite
from eth_account import Account
from web3 import AsyncHTTPProvider, AsyncWeb3
from web3.types import Nonce, TxParams, Wei

from fenzhang.bench.figures import Load, latency_of
from fenzhang.bench.http import LoadFailed
from fenzhang.bench.market import Market
from fenzhang.chain.artifacts import artifact
from fenzhang.chain.deployments import Deployment
from fenzhang.chain.eip712 import attestation_digest, authorization_digest
from fenzhang.chain.signer import LocalKey
from fenzhang.devnet import dev_account
from fenzhang.domain import identifiers
from fenzhang.domain.records import Attestation, Authorization, Capture, Instruction, InstructionKind

AT_ONCE = 64
_GAS = 1_500_000
_POLL_S = 0.1
_DAY_S = 86_400
_TABLE = (
    "CREATE TABLE receipts (split_id BLOB PRIMARY KEY, tx_hash BLOB NOT NULL, block_number INTEGER NOT NULL, "
    "gas_used INTEGER NOT NULL, status INTEGER NOT NULL)"
)


class _Baseline:
    """One run of it; the methods are what the developer would have written."""

    def __init__(self, deployment: Deployment, market: Market, w3: AsyncWeb3[Any]) -> None:
        self._market = market
        self._w3 = w3
        self._domain = deployment.ledger_domain()
        self._chain_id = deployment.chain_id
        self._ledger = w3.eth.contract(
            address=w3.to_checksum_address(deployment.split_ledger), abi=artifact("SplitLedger").abi
        )
        self._bank = LocalKey(bytes.fromhex(dev_account("bank-attestor").private_key[2:]))
        self._sender = Account.from_key(dev_account("free").private_key)
        self._deadline = int(time.time()) + _DAY_S
        self.nonce = 0

    async def begin(self) -> None:
        """Ask for the first nonce."""
        self.nonce = await self._w3.eth.get_transaction_count(self._sender.address)

    async def settle(self, number: int) -> tuple[bytes, Any]:
        """Capture and split one order. Returns the split's id and the receipt."""
        market = self._market
        reference = f"baseline-{number}"
        parties = [market.recipients[who] for who in market.parties(number)]
        capture = Capture(
            order_id=identifiers.order_id(market.platform, reference),
            platform=market.platform,
            merchant=parties[-1],
            rule_id=market.rule,
            rule_version=1,
            currency="CNY",
            amount=market.amount(number),
            bindings=tuple(parties),
        )
        split = Instruction(
            InstructionKind.SPLIT,
            identifiers.split_id(market.platform, reference),
            capture.order_id,
            amount=capture.amount,
        )
        call = self._ledger.functions.settle(
            [self._attestation(number, capture)], [self._authorization(number, split)], [], bytes(2)
        )
        nonce, self.nonce = self.nonce, self.nonce + 1
        asked: TxParams = {
            "from": self._sender.address,
            "chainId": self._chain_id,
            "nonce": Nonce(nonce),
            "gas": _GAS,
            "maxFeePerGas": Wei(0),
            "maxPriorityFeePerGas": Wei(0),
        }
        transaction = await call.build_transaction(asked)
        signed = self._sender.sign_transaction(transaction)
        tx_hash = await self._w3.eth.send_raw_transaction(signed.raw_transaction)
        receipt = await self._w3.eth.wait_for_transaction_receipt(
            tx_hash, timeout=_DAY_S, poll_latency=_POLL_S
        )
        return split.id, receipt

    def _attestation(self, number: int, capture: Capture) -> tuple[Any, ...]:
        unsigned = Attestation(self._bank.address, _nonce(number), self._deadline, (capture,))
        signature = self._bank.sign_digest(attestation_digest(self._domain, unsigned))
        captured = (
            capture.order_id,
            capture.platform,
            capture.merchant,
            capture.rule_id,
            capture.rule_version,
            capture.currency.encode(),
            capture.amount,
            capture.hold_until,
            capture.expires_at,
            capture.facts,
            capture.condition,
            list(capture.bindings),
        )
        address = self._w3.to_checksum_address(self._bank.address)
        return (address, unsigned.nonce, self._deadline, [captured], signature)

    def _authorization(self, number: int, split: Instruction) -> tuple[Any, ...]:
        key = self._market.key
        if key is None:
            raise LoadFailed("the baseline's platform signs by itself")
        unsigned = Authorization(self._market.platform, _nonce(number), self._deadline, (split,))
        signature = key.sign_digest(authorization_digest(self._domain, unsigned))
        asked: tuple[Any, ...] = (
            int(split.kind),
            split.id,
            split.order_id,
            split.split_id,
            split.amount,
            [],
            [],
        )
        return (self._market.platform, unsigned.nonce, self._deadline, [asked], signature)


def _nonce(number: int) -> int:
    """A nonce of an authorization that the system itself does not come to: it counts from below."""
    return (1 << 128) + number


async def baseline(rpc: str, deployment: Deployment, market: Market, count: int, database: Path) -> Load:
    """Settle `count` orders and write their receipts. Raises LoadFailed when one of them did not settle."""
    w3: AsyncWeb3[Any] = AsyncWeb3(AsyncHTTPProvider(rpc))
    run = _Baseline(deployment, market, w3)
    await run.begin()
    numbers = iter(range(count))
    seconds: list[float] = []
    async with aiosqlite.connect(database) as rows:
        await rows.execute("PRAGMA journal_mode=WAL")
        await rows.execute(_TABLE)
        began = time.perf_counter()

        async def worker() -> None:
            for number in numbers:
                sent = time.perf_counter()
                split_id, receipt = await run.settle(number)
                # A capture, a split and a seal: what is refused leaves a rejection instead, without a position.
                if receipt["status"] != 1 or len(receipt["logs"]) != _LOGS:
                    raise LoadFailed(f"the baseline's order {number} did not settle")
                await rows.execute(
                    "INSERT INTO receipts VALUES (?, ?, ?, ?, ?)",
                    (
                        split_id,
                        bytes(receipt["transactionHash"]),
                        receipt["blockNumber"],
                        receipt["gasUsed"],
                        receipt["status"],
                    ),
                )
                await rows.commit()
                seconds.append(time.perf_counter() - sent)

        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
        took = time.perf_counter() - began
    await w3.provider.disconnect()
    return Load(splits=count, requests=count, seconds=took, accept_seconds=took, latency=latency_of(seconds))


_LOGS = 3
"""OrderCaptured, OrderSplit, BatchSealed."""
