"""The Python specification and the contracts, side by side: random batches, good and bad, decided alike.

Events, reasons (byte for byte), positions, totals, order slots and batch roots of the chain are compared with what
`fenzhang.domain.settlement` and `fenzhang.chain.evidence` say, after every transaction.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fenzhang.chain import eip712, events
from fenzhang.chain.evidence import (
    capture_leaf,
    content_of_rejection,
    fold_past,
    merkle_root,
    order_slot,
    past_leaf,
    record_leaf,
)
from fenzhang.chain.governance import resume_call, suspend_call
from fenzhang.chain.node import NodeClient
from fenzhang.chain.reverts import decode_revert, encode_rejection
from fenzhang.chain.signer import LocalKey
from fenzhang.devnet import RunningNode, ephemeral_node
from fenzhang.domain.errors import REJECTIONS, Rejection
from fenzhang.domain.records import (
    Attestation,
    Authorization,
    Capture,
    Instruction,
    InstructionKind,
    RecordKind,
)
from fenzhang.domain.settlement import (
    Decision,
    attestor_signer,
    check_authorization,
    settle_attestation,
    settle_authorization,
)
from unit.chain.drawing import (
    CURRENCIES,
    KEYS,
    NOBODY,
    PLATFORMS,
    RECIPIENTS,
    STRANGER,
    UNASKED,
    Chooser,
    populate,
)
from unit.chain.system import ATTESTOR, REGISTRAR, System

pytestmark = pytest.mark.node

TRANSACTIONS = 200


@pytest.fixture(scope="module")
def chain() -> Iterator[RunningNode]:
    with ephemeral_node() as node:
        yield node


@pytest.fixture(scope="module")
async def system(chain: RunningNode, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    folder: Path = tmp_path_factory.mktemp("deployment")
    async with NodeClient(chain.url) as node:
        found = await System.deployed(node, folder, CURRENCIES)
        await populate(found)
        yield found


@dataclass
class Expectation:
    """What a transaction must tell, written down from the specification while its twin carries it out."""

    system: System
    now: int
    told: list[tuple[object, ...]] = field(default_factory=list)
    leaves: list[bytes] = field(default_factory=list)

    def attestation(self, attestation: Attestation) -> None:
        """Carry out an attestation."""
        signer = attestor_signer(attestation.attestor)
        digest = eip712.attestation_digest(self.system.deployment.ledger_domain(), attestation)
        signed = attestation.signature == _resigned(self.system, attestation, ATTESTOR)
        try:
            decisions = settle_attestation(self.system.world, attestation, self.now, signed=signed)
        except Rejection as rejection:
            self.told.append(("refused", signer, digest, attestation.nonce, encode_rejection(rejection)))
            return
        for capture, decision in zip(attestation.captures, decisions, strict=True):
            if isinstance(decision, Rejection):
                place = (capture.order_id, capture.order_id, RecordKind.CAPTURE, capture.amount)
                self.rejected(signer, place, decision)
            else:
                self.told.append(("captured", capture))
                self.leaves.append(capture_leaf(capture))

    def authorization(self, authorization: Authorization, touched: set[bytes]) -> None:
        """Carry out an authorization; orders that it settles on become `touched`."""
        platform = authorization.platform
        digest = eip712.authorization_digest(self.system.deployment.ledger_domain(), authorization)
        key = KEYS[PLATFORMS.index(platform)] if platform in PLATFORMS else KEYS[0]
        signed = authorization.signature == _resigned(self.system, authorization, key)
        stale = [
            i.order_id
            for i in authorization.instructions
            if i.kind is InstructionKind.RETURN and i.order_id in touched
        ]
        world = self.system.world
        nonces = set(world.nonces)
        try:
            check_authorization(world, authorization, self.now, signed=signed)
        except Rejection as rejection:
            self.told.append(("refused", platform, digest, authorization.nonce, encode_rejection(rejection)))
            assert world.nonces == nonces
            return
        if stale:
            self.told.append(("skipped", platform, digest, authorization.nonce, stale[0]))
            return
        decisions = settle_authorization(world, authorization, self.now, signed=signed)
        for instruction, decision in zip(authorization.instructions, decisions, strict=True):
            self.instruction(platform, instruction, decision, touched)

    def instruction(
        self, platform: bytes, instruction: Instruction, decision: Decision, touched: set[bytes]
    ) -> None:
        """Take down what became of an instruction."""
        i = instruction
        if isinstance(decision, Rejection):
            self.rejected(platform, (i.id, i.order_id, RecordKind(i.kind + 1), i.amount), decision)
            return
        touched.add(i.order_id)
        order = self.system.world.orders[i.order_id]
        self.told.append((decision.kind, i.order_id, i.id, i.split_id, decision.amount, decision.allocations))
        self.leaves.append(self._leaf_of(order.capture, i.id))

    def _leaf_of(self, capture: Capture, record_id: bytes) -> bytes:
        order = self.system.world.orders[capture.order_id]
        record = next(r for r in reversed(order.past) if r.id == record_id)
        return past_leaf(capture.order_id, capture, record)

    def rejected(self, signer: bytes, place: tuple[bytes, bytes, RecordKind, int], why: Rejection) -> None:
        """Take down a rejection at a place: id, order id, kind, amount."""
        record_id, order_id, _, amount = place
        reason = encode_rejection(why)
        assert decode_revert(reason) == why
        self.told.append(("rejected", signer, *place, reason))
        content = content_of_rejection(reason)
        self.leaves.append(record_leaf(RecordKind.REJECTION, record_id, order_id, amount, content))


def _resigned(system: System, signed: Attestation | Authorization, key: LocalKey) -> bytes:
    """The signature that would be right (they are deterministic)."""
    if isinstance(signed, Attestation):
        return system.attest(signed, key).signature
    return system.authorize(signed, key).signature


def _told(found: list[events.Event]) -> list[tuple[object, ...]]:
    told: list[tuple[object, ...]] = []
    for event in found:
        match event:
            case events.OrderCaptured() as e:
                capture = Capture(
                    e.order_id,
                    e.platform,
                    e.merchant,
                    e.rule_id,
                    e.rule_version,
                    e.currency,
                    e.amount,
                    e.bindings,
                )
                told.append(("captured", capture))
            case events.OrderSplit() as e:
                told.append((RecordKind.SPLIT, e.order_id, e.split_id, NOBODY, e.amount, e.allocations))
            case events.OrderReleased() as e:
                told.append((RecordKind.RELEASE, e.order_id, e.release_id, NOBODY, e.amount, ()))
            case events.SplitReturned() as e:
                told.append((RecordKind.RETURN, e.order_id, e.return_id, e.split_id, e.amount, e.allocations))
            case events.InstructionRejected() as e:
                told.append(("rejected", e.signer, e.id, e.order_id, e.kind, e.amount, e.reason))
            case events.AuthorizationRejected() as e:
                told.append(("refused", e.signer, e.digest, e.nonce, e.reason))
            case events.AuthorizationSkipped() as e:
                told.append(("skipped", e.signer, e.digest, e.nonce, e.order_id))
    return told


async def _compare_state(system: System) -> None:
    world = system.world
    parties = [*PLATFORMS, *RECIPIENTS, STRANGER, UNASKED]
    for currency in CURRENCIES:
        totals = await system.view.totals(currency)
        positions = await system.view.positions(currency, parties)
        assert positions == [world.positions[currency, party] for party in parties]
        assert (totals.captured, totals.held) == (
            world.totals[currency].captured,
            world.totals[currency].held,
        )
        assert totals.captured == totals.held + sum(positions), "conservation"
    slots = await system.view.order_slots(list(world.orders))
    for (order_id, order), slot in zip(world.orders.items(), slots, strict=True):
        head = fold_past(order_id, order.capture, order.past)
        assert slot == order_slot(eip712.capture_hash(order.capture), head, order.held)


async def test_the_specification_and_the_contracts_decide_alike(system: System) -> None:
    chooser = Chooser(system, random.Random(20261))
    kinds: Counter[str] = Counter()
    for number in range(TRANSACTIONS):
        if number % 10 == 5:
            call = suspend_call if number % 20 == 5 else resume_call
            await system.govern(REGISTRAR, "ParticipantRegistry", call(RECIPIENTS[5]))
        attestations, authorizations = chooser.batch()
        batches = await system.view.batch_count()
        before = dict(system.world.orders)
        found, now = await system.settle(attestations, authorizations)
        expected = Expectation(system, now)
        for attestation in attestations:
            expected.attestation(attestation)
        touched: set[bytes] = set()
        for authorization in authorizations:
            expected.authorization(authorization, touched)
        assert _told(found) == expected.told
        assert set(before) <= set(system.world.orders)
        sealed = [event for event in found if isinstance(event, events.BatchSealed)]
        assert await system.view.batch_count() == batches + len(sealed)
        if expected.leaves:
            [seal] = sealed
            assert (seal.root, seal.records) == (merkle_root(expected.leaves), len(expected.leaves))
            assert await system.view.batch_root(seal.batch) == seal.root
        else:
            assert not sealed
        await _compare_state(system)
        kinds.update(_kind(told) for told in expected.told)
    # The draw reaches all that can happen, or the test says little. A position can only fall short of what is
    # returned once money is paid out, which SplitLedger does not do.
    reasons = {reason.__name__ for reason in REJECTIONS.values()}
    assert reasons - set(kinds) == {"InsufficientPosition"}, kinds
    assert {"captured", "skipped", "SPLIT", "RELEASE", "RETURN"} <= set(kinds), kinds


def _kind(told: tuple[object, ...]) -> str:
    match told:
        case ("rejected" | "refused", *_, bytes() as reason):
            return type(decode_revert(reason)).__name__
        case (RecordKind() as kind, *_):
            return kind.name
        case (name, *_):
            return str(name)
    raise AssertionError(told)
