"""Whether a signature was its signer's: keys by recovery, contract accounts (ERC-1271) by asking them."""

from __future__ import annotations

from dataclasses import dataclass, field

from eth_abi.abi import encode

from fenzhang.audit.differences import Code, Findings, Place
from fenzhang.audit.state import is_revert
from fenzhang.chain.errors import RpcError
from fenzhang.chain.keccak import keccak
from fenzhang.chain.node import BlockTag, NodeClient
from fenzhang.chain.signer import recover

_IS_VALID = keccak(b"isValidSignature(bytes32,bytes)")[:4]
"""Selector of the question, and the answer yes."""


@dataclass(slots=True)
class SignatureChecker:
    """Answers as the contracts' SignatureChecker does. Nothing but who is a contract is remembered."""

    node: NodeClient
    findings: Findings
    _contracts: dict[bytes, bool] = field(default_factory=dict)
    """Whether an address has code, now."""

    async def is_valid(
        self, signer: bytes, digest: bytes, signature: bytes, at: Place, *, taken: bool
    ) -> bool:
        """Whether `signature` over `digest` was that of `signer` (20 bytes) when a transaction `at` brought it.

        `taken` is what the chain made of it. A contract account may change its mind within a block or be gone from
        the node's memory; where that leaves both answers possible, it is the chain's.
        """
        self.findings.count("signatures")
        if not await self._is_contract(signer):
            return recover(digest, signature) == signer
        answers: set[bool] = set()
        for block in (at.block_number, at.block_number - 1):
            answer = await self._ask(signer, digest, signature, block)
            if answer is None:
                return await self._ask_today(signer, digest, signature, at, taken=taken)
            answers.add(answer)
        return taken if taken in answers else not taken

    async def _ask_today(
        self, signer: bytes, digest: bytes, signature: bytes, at: Place, *, taken: bool
    ) -> bool:
        if await self._ask(signer, digest, signature, "latest") != taken:
            self.findings.report(
                Code.SIGNATURE_NOT_VERIFIABLE,
                f"the contract account 0x{signer.hex()} signed, and the node no longer has the state of that block",
                at,
            )
        return taken

    async def _is_contract(self, address: bytes) -> bool:
        """Whether an account is a contract. Once there, code does not go away."""
        if address not in self._contracts:
            self._contracts[address] = bool(await self.node.code(address))
        return self._contracts[address]

    async def _ask(self, signer: bytes, digest: bytes, signature: bytes, block: BlockTag) -> bool | None:
        """The answer at a block, None when the node does not have its state."""
        try:
            if not await self.node.code(signer, block):
                return recover(digest, signature) == signer
            data = _IS_VALID + encode(["bytes32", "bytes"], [digest, signature])
            answer = await self.node.call(signer, data, block)
        except RpcError as error:
            return False if is_revert(error) else None
        return answer[:32] == _IS_VALID.ljust(32, b"\0")
