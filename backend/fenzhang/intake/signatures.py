"""A client's own signatures: whether one is the signer's, over exactly these instructions, for this chain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.chain.eip712 import (
    SigningDomain,
    attestation_digest,
    authorization_digest,
    conditions_domain,
    rule_book_domain,
    split_ledger_domain,
)
from fenzhang.chain.errors import NodeUnavailable, RpcError
from fenzhang.chain.node import NodeClient
from fenzhang.chain.signer import recover
from fenzhang.chain.wallets import WalletQuestion
from fenzhang.domain import records
from fenzhang.intake.errors import AuthorizationExpired, NonceTaken, SignatureRefused
from fenzhang.intake.limits import MIN_DEADLINE_AHEAD_S
from fenzhang.intake.requests import ClientSignature
from fenzhang.store.tables import Authorization, Participant


@dataclass(frozen=True, slots=True)
class Network:
    """The chain and contracts that signatures are for. Addresses are 20 bytes."""

    chain_id: int
    split_ledger: bytes
    rule_book: bytes
    participant_registry: bytes
    conditions: bytes

    @property
    def condition_domain(self) -> SigningDomain:
        """Domain of conditions and confirmations."""
        return conditions_domain(self.chain_id, self.conditions)

    @property
    def ledger_domain(self) -> SigningDomain:
        """Domain of attestations and authorizations."""
        return split_ledger_domain(self.chain_id, self.split_ledger)

    @property
    def rule_domain(self) -> SigningDomain:
        """Domain of rule proposals and retirements."""
        return rule_book_domain(self.chain_id, self.rule_book)


@dataclass(frozen=True, slots=True)
class ContractSignature:
    """A signature that is no ECDSA signature of its authority. If that is a contract (ERC-1271), it can be asked.

    `registry` is the ParticipantRegistry that will ask for SplitLedger, None for what another contract asks itself.
    """

    asked: WalletQuestion
    registry: bytes | None


class SignatureUndecided(SignatureRefused):
    """As SignatureRefused, unless `question` is put to the authority's contract and answered with yes."""

    def __init__(self, question: ContractSignature, domain: SigningDomain, field_name: str) -> None:
        super().__init__(
            "the signature is not the signer's for this content on this chain and contract",
            field=field_name,
            signer="0x" + question.asked.wallet.hex(),
            digest="0x" + question.asked.digest.hex(),
            domain={
                "name": domain.name,
                "version": "1",
                "chainId": domain.chain_id,
                "verifyingContract": "0x" + domain.verifying_contract.hex(),
            },
        )
        self.question = question


async def contract_confirms(node: NodeClient, question: ContractSignature) -> bool:
    """Whether the authority is a contract that calls the signature valid. A node that is away confirms nothing."""
    try:
        if question.registry is not None:
            return await question.asked.by_registry(node, question.registry)
        return await question.asked.by_anybody(node)
    except (NodeUnavailable, RpcError):
        return False


@dataclass(frozen=True, slots=True)
class Verifier:
    """Checks signatures for `network`; `confirmed` holds those that an authority's contract has said yes to."""

    network: Network
    confirmed: frozenset[ContractSignature] = field(default_factory=frozenset)

    def confirming(self, question: ContractSignature) -> Verifier:
        """A verifier that also takes this contract's signature."""
        return replace(self, confirmed=self.confirmed | {question})

    def check(
        self, domain: SigningDomain, authority: bytes, digest: bytes, signature: bytes, field_name: str
    ) -> None:
        """Raises SignatureUndecided naming the field, unless `signature` is `authority`'s (20 bytes) over `digest`."""
        registry = self.network.participant_registry if domain == self.network.ledger_domain else None
        question = ContractSignature(WalletQuestion(authority, digest, signature), registry)
        if recover(digest, signature) != authority and question not in self.confirmed:
            raise SignatureUndecided(question, domain, field_name)

    async def authorize(
        self,
        session: AsyncSession,
        platform: Participant,
        given: ClientSignature,
        instructions: Sequence[records.Instruction],
        now: int,
    ) -> Authorization:
        """The authorization of a platform over `instructions`, as a row that is not in the session yet."""
        authorization = records.Authorization(platform.id, given.nonce, given.deadline, tuple(instructions))
        digest = authorization_digest(self.network.ledger_domain, authorization)
        _check_deadline(given, now)
        self._check_given(given, platform.authority or b"", digest)
        return await _new_row(session, platform.id, given, digest, is_attestation=False)

    async def attest(
        self,
        session: AsyncSession,
        given: ClientSignature,
        captures: Sequence[records.Capture],
        now: int,
    ) -> Authorization:
        """The attestation of a bank over `captures`. Whether it is an attestor, the chain decides."""
        attestor = given.attestor or b""
        attestation = records.Attestation(attestor, given.nonce, given.deadline, tuple(captures))
        digest = attestation_digest(self.network.ledger_domain, attestation)
        _check_deadline(given, now)
        self._check_given(given, attestor, digest)
        return await _new_row(session, attestor.rjust(32, b"\0"), given, digest, is_attestation=True)

    def _check_given(self, given: ClientSignature, authority: bytes, digest: bytes) -> None:
        self.check(self.network.ledger_domain, authority, digest, given.signature, f"{given.field}.signature")


def _check_deadline(given: ClientSignature, now: int) -> None:
    if given.deadline < now + MIN_DEADLINE_AHEAD_S:
        raise AuthorizationExpired(
            f"the deadline must be at least {MIN_DEADLINE_AHEAD_S} seconds ahead",
            field=f"{given.field}.deadline",
            deadline=given.deadline,
            now=now,
        )


async def _new_row(
    session: AsyncSession, signer: bytes, given: ClientSignature, digest: bytes, *, is_attestation: bool
) -> Authorization:
    nonce = given.nonce.to_bytes(32, "big")
    taken = select(Authorization.id).where(Authorization.signer == signer, Authorization.nonce == nonce)
    if (await session.execute(taken)).scalar_one_or_none() is not None:
        raise NonceTaken(
            "the nonce belongs to another authorization", field=f"{given.field}.nonce", nonce=str(given.nonce)
        )
    return Authorization(
        signer=signer,
        is_attestation=is_attestation,
        nonce=nonce,
        deadline=given.deadline,
        digest=digest,
        signature=given.signature,
    )
