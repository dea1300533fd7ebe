"""Whether a signature was its signer's: keys by recovery, contract accounts (ERC-1271) by asking them."""

from __future__ import annotations

from dataclasses import dataclass, field

from fenzhang.audit.differences import Code, Findings
from fenzhang.audit.reading import Transaction
from fenzhang.chain.errors import RpcError
from fenzhang.chain.node import BlockTag, NodeClient
from fenzhang.chain.signer import recover
from fenzhang.chain.wallets import WalletQuestion
from fenzhang.domain.records import ParticipantStatus
from fenzhang.domain.world import NO_AUTHORITY, World


@dataclass(frozen=True, slots=True)
class _Question:
    """What a contract account is asked, `gas` at most: by `registry` for SplitLedger, or (None) by another contract."""

    asked: WalletQuestion
    registry: bytes | None
    gas: int


async def is_partys(  # noqa: PLR0917 -- what is asked, of whom, and where
    checker: SignatureChecker,
    world: World,
    party: bytes,
    digest: bytes,
    signature: bytes | None,
    at: Transaction,
) -> bool:
    """Whether a change outside the ledger was its party's to sign, ACTIVE, and signed by it.

    `signature` is None where calldata does not show it, which was reported as not verifiable; then it is believed.
    """
    authority = world.authority_of(party)
    if world.status_of(party) is not ParticipantStatus.ACTIVE or authority == NO_AUTHORITY:
        return False
    if signature is None:
        return True
    return await checker.is_valid(WalletQuestion(authority, digest, signature), at, taken=True)


@dataclass(slots=True)
class SignatureChecker:
    """Answers as the contracts' SignatureChecker does. Nothing but who is a contract is remembered."""

    node: NodeClient
    findings: Findings
    _contracts: dict[bytes, bool] = field(default_factory=dict)
    """Whether an address has code, now."""

    async def is_valid(
        self, asked: WalletQuestion, at: Transaction, *, registry: bytes | None = None, taken: bool
    ) -> bool:
        """Whether a signature was its signer's when `at` brought it to SplitLedger (with `registry`) or elsewhere.

        `taken` is what the chain made of it. A contract account may change its mind within a block or be gone from
        the node's memory; where that leaves both answers possible, it is the chain's.
        """
        self.findings.count("signatures")
        if not await self._is_contract(asked.wallet):
            return recover(asked.digest, asked.signature) == asked.wallet
        question = _Question(asked, registry, at.gas_limit)
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
                f"the contract account 0x{question.asked.wallet.hex()} was asked about a signature, and the node no "
                "longer has the state of that block",
                at,
                found=question.asked.wallet,
            )

    async def _is_contract(self, address: bytes) -> bool:
        """Whether an account is a contract. Once there, code does not go away."""
        if address not in self._contracts:
            self._contracts[address] = bool(await self.node.code(address))
        return self._contracts[address]

    async def _ask(self, question: _Question, block: BlockTag) -> bool | None:
        """The answer at a block, None when the node does not have its state."""
        asked = question.asked
        try:
            code = await self.node.code(asked.wallet, block)
        except RpcError:
            return None
        if not code:
            return recover(asked.digest, asked.signature) == asked.wallet
        try:
            if question.registry is not None:
                return await asked.by_registry(self.node, question.registry, block)
            return await asked.by_anybody(self.node, block, question.gas)
        except RpcError:
            return False  # the state is there, so it is the contract that failed: a revert, or out of gas
