"""Answers of a node as plain values: hex strings in, integers and bytes out.

Readers raise KeyError, ValueError or TypeError for what is malformed; the client turns that into NodeUnavailable.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fenzhang.chain.bloom import SIZE as BLOOM_SIZE
from fenzhang.chain.errors import RpcError


@dataclass(frozen=True, slots=True)
class BlockHeader:
    """A block. `timestamp` is Unix seconds, `base_fee` wei per gas (None before EIP-1559)."""

    number: int
    hash: bytes
    parent_hash: bytes
    timestamp: int
    gas_limit: int = 0
    base_fee: int | None = None
    logs_bloom: bytes | None = None
    """Bloom filter over the block's logs (`chain.bloom`), None from a node that leaves it out."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a mined transaction. `contract_address` is set when it created one."""

    tx_hash: bytes
    block_number: int
    block_hash: bytes
    tx_index: int
    succeeded: bool
    gas_used: int
    contract_address: bytes | None
    logs: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class ChainTransaction:
    """A transaction as the node holds it; block fields are None while it is not mined."""

    hash: bytes
    sender: bytes
    to: bytes | None
    nonce: int
    data: bytes
    gas_limit: int
    block_number: int | None
    block_hash: bytes | None
    tx_index: int | None


class SendStatus(StrEnum):
    """What a node said to a raw transaction."""

    ACCEPTED = "accepted"
    ALREADY_KNOWN = "already_known"
    """It is in the pool already: as good as accepted."""
    NONCE_TOO_LOW = "nonce_too_low"
    """A transaction with this nonce is mined: this one (see its receipt), or another."""
    REFUSED = "refused"
    """Anything else; `error` says what."""


@dataclass(frozen=True, slots=True)
class SendResult:
    """A node's answer to a raw transaction."""

    status: SendStatus
    error: RpcError | None = None


def quantity(value: Any) -> int:
    """A 0x quantity."""
    if not isinstance(value, str) or not value.startswith("0x"):
        raise ValueError("no quantity")
    return int(value, 16)


def raw_bytes(value: Any) -> bytes:
    """0x data of any length."""
    if not isinstance(value, str) or not value.startswith("0x"):
        raise ValueError("no data")
    return bytes.fromhex(value[2:])


def _exactly(value: Any, size: int) -> bytes:
    raw = raw_bytes(value)
    if len(raw) != size:
        raise ValueError(f"{len(raw)} bytes for {size}")
    return raw


def hash_of(value: Any) -> bytes:
    """A hash, 32 bytes."""
    return _exactly(value, 32)


def address_of(value: Any) -> bytes:
    """An address, 20 bytes."""
    return _exactly(value, 20)


def block_header(value: Any) -> BlockHeader | None:
    """A block of eth_getBlockByNumber."""
    if value is None:
        return None
    base_fee, bloom = value.get("baseFeePerGas"), value.get("logsBloom")
    return BlockHeader(
        number=quantity(value["number"]),
        hash=hash_of(value["hash"]),
        parent_hash=hash_of(value["parentHash"]),
        timestamp=quantity(value["timestamp"]),
        gas_limit=quantity(value["gasLimit"]),
        base_fee=None if base_fee is None else quantity(base_fee),
        logs_bloom=None if bloom is None else _exactly(bloom, BLOOM_SIZE),
    )


def receipt(value: Any) -> Receipt | None:
    """A receipt of eth_getTransactionReceipt."""
    if value is None:
        return None
    created = value.get("contractAddress")
    return Receipt(
        tx_hash=hash_of(value["transactionHash"]),
        block_number=quantity(value["blockNumber"]),
        block_hash=hash_of(value["blockHash"]),
        tx_index=quantity(value["transactionIndex"]),
        succeeded=quantity(value["status"]) == 1,
        gas_used=quantity(value["gasUsed"]),
        contract_address=None if created is None else address_of(created),
        logs=list(value["logs"]),
    )


def chain_transaction(value: Any) -> ChainTransaction | None:
    """A transaction of eth_getTransactionByHash."""
    if value is None:
        return None
    to, number, block_hash, index = (
        value.get(key) for key in ("to", "blockNumber", "blockHash", "transactionIndex")
    )
    return ChainTransaction(
        hash=hash_of(value["hash"]),
        sender=address_of(value["from"]),
        to=None if to is None else address_of(to),
        nonce=quantity(value["nonce"]),
        data=raw_bytes(value["input"]),
        gas_limit=quantity(value["gas"]),
        block_number=None if number is None else quantity(number),
        block_hash=None if block_hash is None else hash_of(block_hash),
        tx_index=None if index is None else quantity(index),
    )


_KNOWN = ("already known", "alreadyknown", "already imported", "known transaction")
_TOO_LOW = ("nonce too low", "oldnonce", "nonce is too low")


def send_result(answer: Any) -> SendResult:
    """The answer to eth_sendRawTransaction, in the words of geth, Besu, Erigon, Nethermind and anvil."""
    if not isinstance(answer, RpcError):
        hash_of(answer)
        return SendResult(SendStatus.ACCEPTED)
    text = answer.message.lower()
    if any(words in text for words in _KNOWN):
        return SendResult(SendStatus.ALREADY_KNOWN, answer)
    if any(words in text for words in _TOO_LOW):
        return SendResult(SendStatus.NONCE_TOO_LOW, answer)
    return SendResult(SendStatus.REFUSED, answer)
