"""Whether a signature was its signer's: keys by recovery, contract accounts (ERC-1271) by asking them."""

from __future__ import annotations

from dataclasses import dataclass, field

from eth_abi.abi import encode

from fenzhang.audit.differences import Code, Findings
from fenzhang.audit.reading import Transaction
from fenzhang.chain.errors import RpcError
from fenzhang.chain.keccak import keccak
from fenzhang.chain.node import BlockTag, NodeClient, block_tag
from fenzhang.chain.signer import recover

_IS_VALID = keccak(b"isValidSignature(bytes32,bytes)")[:4]
"""Selector of the question, and the answer yes."""


@dataclass(frozen=True, slots=True)
class _Question:
    """What a contract account is asked. It never had more gas than its transaction's limit."""

    signer: bytes
    digest: bytes
    signature: bytes
    gas_limit: int


@dataclass(slots=True)
class SignatureChecker:
    """Answers as the contracts' SignatureChecker does. Nothing but who is a contract is remembered."""

    node: NodeClient
    findings: Findings
    _contracts: dict[bytes, bool] = field(default_factory=dict)
    """Whether an address has code, now."""

    async def is_valid(
        self, signer: bytes, digest: bytes, signature: bytes, at: Transaction, *, taken: bool
    ) -> bool:
        """Whether `signature` over `digest` was that of `signer` (20 bytes) when the transaction `at` brought it.

        `taken` is what the chain made of it. A contract account may change its mind within a block or be gone from
        the node's memory; where that leaves both answers possible, it is the chain's.
        """
        self.findings.count("signatures")
        if not await self._is_contract(signer):
            return recover(digest, signature) == signer
        question = _Question(signer, digest, signature, at.gas_limit)
        answers: set[bool] = set()
        for block in (at.block_number, at.block_number - 1):
            answer = await self._ask(question, block)
            if answer is None:
                await self._ask_today(question, at, taken=taken)
                return taken
            answers.add(answer)
        return taken if taken in answers else not taken

    async def _ask_today(self, question: _Question, at: Transaction, *, taken: bool) -> None:
        """The state of the block is gone. What the contract says today may still bear the chain out."""
        if await self._ask(question, "latest") != taken:
            self.findings.report(
                Code.SIGNATURE_NOT_VERIFIABLE,
                f"the contract account 0x{question.signer.hex()} was asked about a signature, and the node no longer "
                "has the state of that block",
                at,
                found=question.signer,
            )

    async def _is_contract(self, address: bytes) -> bool:
        """Whether an account is a contract. Once there, code does not go away."""
        if address not in self._contracts:
            self._contracts[address] = bool(await self.node.code(address))
        return self._contracts[address]

    async def _ask(self, question: _Question, block: BlockTag) -> bool | None:
        """The answer at a block, None when the node does not have its state."""
        try:
            code = await self.node.code(question.signer, block)
        except RpcError:
            return None
        if not code:
            return recover(question.digest, question.signature) == question.signer
        data = _IS_VALID + encode(["bytes32", "bytes"], [question.digest, question.signature])
        call = {
            "to": "0x" + question.signer.hex(),
            "data": "0x" + data.hex(),
            "gas": hex(question.gas_limit),
        }
        try:
            answer = await self.node.request("eth_call", call, block_tag(block))
        except RpcError:
            return False  # the state is there, so it is the contract that failed: a revert, or out of gas
        return str(answer)[2:66] == _IS_VALID.hex().ljust(64, "0")
