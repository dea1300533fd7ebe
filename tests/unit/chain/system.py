"""A deployed system on a node that mines at once, and its twin in Python: both take the same batches."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fenzhang.chain import eip712
from fenzhang.chain.answers import Receipt
from fenzhang.chain.codec import UNKNOWN_ORDER_INDEX, encode_settle
from fenzhang.chain.deploy import DeployPlan, deploy
from fenzhang.chain.deployments import Deployment
from fenzhang.chain.events import (
    AuthorityRotated,
    ConsentChanged,
    CurrencyChanged,
    Event,
    ParticipantEnrolled,
    ParticipantStatusChanged,
    RoleGranted,
    RuleApproved,
    RuleProposed,
    RuleRetired,
    decode_logs,
)
from fenzhang.chain.evidence import fold_past
from fenzhang.chain.governance import approve_call, propose_call, retire_call
from fenzhang.chain.node import NodeClient
from fenzhang.chain.signer import LocalKey, TransactionRequest
from fenzhang.chain.views import ATTESTOR_ROLE, ChainView
from fenzhang.devnet import CHAIN_ID, dev_account
from fenzhang.domain.records import Attestation, Authorization, OrderWitness, ParticipantStatus
from fenzhang.domain.rules import Leg
from fenzhang.domain.world import Participant, Rule, Version, World

GAS = 16_000_000


def dev_key(purpose: str) -> LocalKey:
    return LocalKey(bytes.fromhex(dev_account(purpose).private_key.removeprefix("0x")))


ADMIN, REGISTRAR, APPROVER = dev_key("admin"), dev_key("registrar"), dev_key("rule-approver")
ATTESTOR, SUBMITTER = dev_key("bank-attestor"), dev_key("submitter")


@dataclass
class System:
    """The contracts, and the world that their events describe."""

    node: NodeClient
    deployment: Deployment
    view: ChainView
    world: World = field(default_factory=World)
    mirrored: int = 0

    @classmethod
    async def deployed(cls, node: NodeClient, folder: Path, currencies: Sequence[str]) -> System:
        """A fresh deployment."""
        plan = DeployPlan([REGISTRAR.address], [APPROVER.address], [ATTESTOR.address], 0, currencies)
        deployment = await deploy(node, ADMIN, plan, folder / "deployment.json")
        system = cls(node, deployment, ChainView(node, deployment))
        await system.follow()
        return system

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
        """One write to registry or rule book, which the world follows."""
        receipt = await self.send(key, self.deployment.addresses[contract], data)
        assert receipt.succeeded
        await self.follow()

    async def follow(self) -> list[Event]:
        """Take up all events since the last time."""
        head = await self.node.block_number()
        logs = await self.node.logs(list(self.deployment.contracts), self.mirrored, head)
        self.mirrored = head + 1
        events = decode_logs(logs, self.deployment.contracts)
        for event in events:
            self._take_up(event)
        return events

    def _take_up(self, event: Event) -> None:
        world = self.world
        match event:
            case ParticipantEnrolled(participant=who, authority=authority):
                world.participants[who] = Participant(ParticipantStatus.ACTIVE, authority)
            case ParticipantStatusChanged(participant=who, status=status):
                world.participants[who].status = status
            case AuthorityRotated(participant=who, next=authority):
                world.participants[who].authority = authority
            case ConsentChanged(recipient=recipient, platform=platform, granted=granted):
                (world.consents.add if granted else world.consents.discard)((recipient, platform))
            case RuleProposed():
                rule = world.rules.setdefault((event.platform, event.rule_id), Rule())
                rule.versions[event.version] = Version(event.legs, event.effective_from)
            case RuleApproved():
                world.rules[event.platform, event.rule_id].versions[event.version].approved = True
            case RuleRetired():
                world.rules[event.platform, event.rule_id].retired = True
            case CurrencyChanged(currency=currency, enabled=enabled):
                (world.currencies.add if enabled else world.currencies.discard)(currency)
            case RoleGranted(role_id=role, account=account) if role == ATTESTOR_ROLE:
                world.attestors.add(account)

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
    ) -> None:
        """Propose a version, and approve it."""
        domain = self.deployment.rule_domain()
        content = eip712.proposal_hash(platform, rule_id, version, effective_from, legs)
        proposal = propose_call(
            platform=platform,
            rule_id=rule_id,
            version=version,
            effective_from=effective_from,
            legs=legs,
            signature=key.sign_digest(domain.digest(content)),
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

    def authorize(self, authorization: Authorization, key: LocalKey) -> Authorization:
        """Sign an authorization."""
        digest = eip712.authorization_digest(self.deployment.ledger_domain(), authorization)
        return replace(authorization, signature=key.sign_digest(digest))

    async def settle(
        self, attestations: Sequence[Attestation], authorizations: Sequence[Authorization]
    ) -> tuple[list[Event], int]:
        """One settle transaction with true witnesses; its events and its block's time (Unix seconds)."""
        captured = [capture.order_id for a in attestations for capture in a.captures]
        touched = [i.order_id for a in authorizations for i in a.instructions]
        known = [order_id for order_id in dict.fromkeys(touched) if order_id in self.world.orders]
        places = {order_id: len(captured) + at for at, order_id in enumerate(known)}
        new = [(at, order_id) for at, order_id in enumerate(captured) if order_id not in self.world.orders]
        places |= {order_id: at for at, order_id in reversed(new)}
        data = encode_settle(
            attestations,
            authorizations,
            list(map(self._witness, known)),
            [places.get(order_id, UNKNOWN_ORDER_INDEX) for order_id in touched],
        )
        receipt = await self.send(SUBMITTER, self.deployment.split_ledger, data)
        assert receipt.succeeded
        block = await self.node.block(receipt.block_number)
        assert block is not None
        return await self.follow(), block.timestamp

    def _witness(self, order_id: bytes) -> OrderWitness:
        order = self.world.orders[order_id]
        return OrderWitness(order.capture, fold_past(order_id, order.capture, order.past), tuple(order.past))


def of_kinds(events: Iterable[Event], *kinds: type) -> list[Event]:
    """The events of these classes."""
    return [event for event in events if isinstance(event, kinds)]
