"""Contract accounts (ERC-1271): what one says of a signature, asked as the contracts ask."""

from __future__ import annotations

from dataclasses import dataclass

from eth_abi.abi import encode

from fenzhang.chain.codec import encode_call
from fenzhang.chain.keccak import keccak
from fenzhang.chain.node import BlockTag, NodeClient

WALLET_GAS = 200_000
"""What SplitLedger lets a contract account use."""
_IS_VALID = keccak(b"isValidSignature(bytes32,bytes)")[:4]
"""Selector of the question, and the answer yes."""
_YES_OF_WALLET = _IS_VALID.ljust(32, b"\0")
_YES_OF_REGISTRY = (1).to_bytes(32, "big")
_TRANSACTION_GAS = 21_000
_WARM = 2_500
"""`settle` has looked at the account before it asks, so asking costs it that much less than a fresh call."""


@dataclass(frozen=True, slots=True)
class WalletQuestion:
    """Whether the contract account `wallet` (20 bytes) takes `signature` over `digest`."""

    wallet: bytes
    digest: bytes
    signature: bytes

    async def by_registry(self, node: NodeClient, registry: bytes, block: BlockTag = "latest") -> bool:
        """The answer that `settle` gets from the ParticipantRegistry `registry` with its allowance of gas.

        Raises NodeUnavailable, RpcError.
        """
        data = encode_call(
            "ParticipantRegistry", "isWalletSignature", self.wallet, self.digest, self.signature
        )
        gas = WALLET_GAS + _WARM + _TRANSACTION_GAS + sum(16 if byte else 4 for byte in data)
        return await node.call(registry, data, block, gas=gas) == _YES_OF_REGISTRY

    async def by_anybody(self, node: NodeClient, block: BlockTag = "latest", gas: int | None = None) -> bool:
        """The answer with up to `gas`, without a limit by default. Raises NodeUnavailable, RpcError."""
        data = _IS_VALID + encode(["bytes32", "bytes"], [self.digest, self.signature])
        return (await node.call(self.wallet, data, block, gas=gas))[:32] == _YES_OF_WALLET
