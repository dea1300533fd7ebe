"""A deployed system on a node that mines at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fenzhang.chain import eip712
from fenzhang.chain.answers import Receipt
from fenzhang.chain.codec import encode_settle
from fenzhang.chain.deploy import DeployPlan, deploy
from fenzhang.chain.deployments import Deployment
from fenzhang.chain.governance import approve_call, propose_call, retire_call
from fenzhang.chain.node import NodeClient
from fenzhang.chain.signer import LocalKey, TransactionRequest
from fenzhang.chain.views import ChainView
from fenzhang.devnet import CHAIN_ID, dev_account
from fenzhang.domain.records import Attestation
from fenzhang.domain.rules import NO_TERMS, Leg, RuleTerms

GAS = 16_000_000


def dev_key(purpose: str) -> LocalKey:
    return LocalKey(bytes.fromhex(dev_account(purpose).private_key.removeprefix("0x")))


ADMIN, REGISTRAR, APPROVER = dev_key("admin"), dev_key("registrar"), dev_key("rule-approver")
ATTESTOR, SUBMITTER = dev_key("bank-attestor"), dev_key("submitter")


@dataclass
class System:
    """The contracts and their views."""

    node: NodeClient
    deployment: Deployment
    view: ChainView

    @classmethod
    async def deployed(cls, node: NodeClient, folder: Path, currencies: Sequence[str]) -> System:
        """A fresh deployment."""
        plan = DeployPlan([REGISTRAR.address], [APPROVER.address], [ATTESTOR.address], currencies=currencies)
        deployment = await deploy(node, ADMIN, plan, folder / "deployment.json")
        return cls(node, deployment, ChainView(node, deployment))

    async def send(self, key: LocalKey, to: bytes, data: bytes) -> Receipt:
        """One transaction, mined. It may revert."""
        nonce = await self.node.nonce(key.address)
        signed = key.sign_transaction(TransactionRequest(CHAIN_ID, nonce, to, data, GAS))
        await self.node.send_raw([signed.raw])
        for _ in range(500):
            [receipt] = await self.node.receipts([signed.hash])
            if receipt is not None:
                return receipt
            await asyncio.sleep(0.01)
        raise AssertionError("the transaction was not mined")

    async def govern(self, key: LocalKey, contract: str, data: bytes) -> None:
        """One write to registry or rule book."""
        receipt = await self.send(key, self.deployment.addresses[contract], data)
        assert receipt.succeeded

    async def rule(
        self,
        key: LocalKey,
        platform: bytes,
        rule_id: bytes,
        legs: Sequence[Leg],
        *,
        version: int = 1,
        effective_from: int = 0,
        approve: bool = True,
        terms: RuleTerms = NO_TERMS,
    ) -> None:
        """Propose a version, and approve it."""
        domain = self.deployment.rule_domain()
        content = eip712.proposal_hash(platform, rule_id, version, effective_from, legs, terms)
        proposal = propose_call(
            platform=platform,
            rule_id=rule_id,
            version=version,
            effective_from=effective_from,
            legs=legs,
            signature=key.sign_digest(domain.digest(content)),
            terms=terms,
        )
        await self.govern(SUBMITTER, "RuleBook", proposal)
        if approve:
            await self.govern(APPROVER, "RuleBook", approve_call(platform, rule_id, version, content))

    async def retire(self, key: LocalKey, platform: bytes, rule_id: bytes) -> None:
        """Retire a rule."""
        digest = eip712.retirement_digest(self.deployment.rule_domain(), platform, rule_id)
        await self.govern(SUBMITTER, "RuleBook", retire_call(platform, rule_id, key.sign_digest(digest)))

    def attest(self, attestation: Attestation, key: LocalKey = ATTESTOR) -> Attestation:
        """Sign an attestation."""
        digest = eip712.attestation_digest(self.deployment.ledger_domain(), attestation)
        return replace(attestation, signature=key.sign_digest(digest))

    async def capture(self, attestation: Attestation) -> None:
        """Settle an attestation."""
        data = encode_settle([attestation], [], [], [])
        receipt = await self.send(SUBMITTER, self.deployment.split_ledger, data)
        assert receipt.succeeded
