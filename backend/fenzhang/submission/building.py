"""From a plan to a signed transaction: authorizations signed, witnesses laid out, calldata, signature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fenzhang.chain.codec import UNKNOWN_ORDER_INDEX, encode_expire, encode_settle
from fenzhang.chain.deployments import Deployment
from fenzhang.chain.eip712 import attestation_digest, authorization_digest
from fenzhang.chain.signer import LocalKey, SignedTransaction, TransactionRequest
from fenzhang.domain.records import Attestation, Authorization, Capture, Instruction, OrderWitness
from fenzhang.submission.config import SubmissionConfig
from fenzhang.submission.expiring import Expiring
from fenzhang.submission.nonces import NonceBook
from fenzhang.submission.planning import Group, Plan


@dataclass(frozen=True, slots=True)
class NewAuthorization:
    """An authorization that the keystore signed just now. `seqs` are its instructions in order."""

    signer: bytes
    is_attestation: bool
    nonce: int
    deadline: int
    digest: bytes
    signature: bytes
    seqs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Built:
    """A transaction ready to be stored. `seqs` are the instructions that it is to carry from ACCEPTED to SUBMITTED."""

    sender: bytes
    nonce: int
    signed: SignedTransaction
    gas_limit: int
    seqs: tuple[int, ...]
    new_authorizations: tuple[NewAuthorization, ...] = ()
    stored_authorizations: tuple[int, ...] = ()
    expiring: Expiring | None = None


@dataclass(frozen=True, slots=True)
class Signers:
    """Keys that sign what clients left to the keystore: the attestor's, and platforms' by platform id."""

    attestor: LocalKey | None
    platforms: Mapping[bytes, LocalKey]


class Builder:
    """Builds settlement transactions of one deployment. `deadline` is that of new authorizations, Unix seconds."""

    def __init__(
        self,
        deployment: Deployment,
        config: SubmissionConfig,
        signers: Signers,
        nonces: NonceBook,
        deadline: int,
    ) -> None:
        self._deployment = deployment
        self._config = config
        self._signers = signers
        self._nonces = nonces
        self._deadline = deadline
        self._domain = deployment.ledger_domain()

    def build(self, plan: Plan, sender: LocalKey, nonce: int) -> Built:
        """Sign everything that `plan` holds."""
        fresh: list[NewAuthorization] = []
        attestations = [self._attestation(group, fresh) for group in plan.attestations]
        authorizations = [self._authorization(group, fresh) for group in plan.authorizations]
        witnesses = [OrderWitness(known.capture, known.head, known.past) for known in plan.witnesses.values()]
        calldata = encode_settle(attestations, authorizations, witnesses, order_index(plan))
        limit = gas_limit(plan, self._config)
        signed = self._sign(sender, nonce, calldata, limit)
        groups = (*plan.attestations, *plan.authorizations)
        return Built(
            sender=sender.address,
            nonce=nonce,
            signed=signed,
            gas_limit=limit,
            seqs=tuple(item.seq for item in plan.instructions if item.open),
            new_authorizations=tuple(fresh),
            stored_authorizations=tuple(group.signed.id for group in groups if group.signed is not None),
        )

    def build_expiry(self, expiring: Expiring, sender: LocalKey, nonce: int) -> Built:
        """Sign the call that expires these orders."""
        limit = expiring.gas_limit(self._config)
        signed = self._sign(sender, nonce, encode_expire(expiring.witnesses), limit)
        return Built(sender.address, nonce, signed, limit, (), expiring=expiring)

    def _sign(self, sender: LocalKey, nonce: int, calldata: bytes, limit: int) -> SignedTransaction:
        return sender.sign_transaction(
            TransactionRequest(
                chain_id=self._deployment.chain_id,
                nonce=nonce,
                to=self._deployment.split_ledger,
                data=calldata,
                gas_limit=limit,
                max_fee=self._config.max_fee,
                priority_fee=self._config.priority_fee,
            )
        )

    def _attestation(self, group: Group, fresh: list[NewAuthorization]) -> Attestation:
        captures = tuple(item.what for item in group.items if isinstance(item.what, Capture))
        if group.signed is not None:
            given = group.signed
            return Attestation(given.signer[12:], given.nonce, given.deadline, captures, given.signature)
        key = self._signers.attestor
        if key is None:
            raise LookupError("captures were planned that nobody can attest")
        signer = key.address.rjust(32, b"\0")
        unsigned = Attestation(key.address, self._nonces.take(signer), self._deadline, captures)
        digest = attestation_digest(self._domain, unsigned)
        signature = key.sign_digest(digest)
        fresh.append(
            NewAuthorization(
                signer=signer,
                is_attestation=True,
                nonce=unsigned.nonce,
                deadline=self._deadline,
                digest=digest,
                signature=signature,
                seqs=tuple(item.seq for item in group.items),
            )
        )
        return Attestation(key.address, unsigned.nonce, self._deadline, captures, signature)

    def _authorization(self, group: Group, fresh: list[NewAuthorization]) -> Authorization:
        instructions = tuple(item.what for item in group.items if isinstance(item.what, Instruction))
        if group.signed is not None:
            given = group.signed
            return Authorization(given.signer, given.nonce, given.deadline, instructions, given.signature)
        platform = group.platform_id
        unsigned = Authorization(platform, self._nonces.take(platform), self._deadline, instructions)
        digest = authorization_digest(self._domain, unsigned)
        signature = self._signers.platforms[platform].sign_digest(digest)
        fresh.append(
            NewAuthorization(
                signer=platform,
                is_attestation=False,
                nonce=unsigned.nonce,
                deadline=self._deadline,
                digest=digest,
                signature=signature,
                seqs=tuple(item.seq for item in group.items),
            )
        )
        return Authorization(platform, unsigned.nonce, self._deadline, instructions, signature)


def order_index(plan: Plan) -> list[int]:
    """For each instruction of the authorizations the place of its order: among the captures, then the witnesses."""
    captures = [item.order_id for group in plan.attestations for item in group.items]
    places = {order: len(captures) + place for place, order in enumerate(plan.witnesses)}
    places |= {order: place for place, order in enumerate(captures)}
    return [
        places.get(item.order_id, UNKNOWN_ORDER_INDEX)
        for group in plan.authorizations
        for item in group.items
    ]


def gas_limit(plan: Plan, config: SubmissionConfig) -> int:
    """The model's upper bound, or all there is for a unit that is tried alone."""
    if plan.units == 1 and (plan.exclusive or plan.gas > config.target_gas):
        return config.gas_cap
    return min(plan.gas, config.gas_cap)
