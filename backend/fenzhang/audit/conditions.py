"""Conditions: what calldata leads to, who opened and confirmed them, and which orders joined."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fenzhang.audit.calls import Call
from fenzhang.audit.differences import Code, Findings
from fenzhang.audit.model import Model
from fenzhang.audit.reading import Transaction
from fenzhang.audit.signatures import SignatureChecker, is_partys
from fenzhang.audit.tape import NOWHERE
from fenzhang.chain.calldata import decode_condition, decode_confirmation
from fenzhang.chain.codec import selector_of
from fenzhang.chain.eip712 import condition_digest, confirmation_digest
from fenzhang.chain.eventtypes import (
    ConditionConfirmed,
    ConditionEvent,
    ConditionJoined,
    ConditionOpened,
    ConditionReached,
)
from fenzhang.domain.conditions import Condition
from fenzhang.domain.records import NOTHING, Capture, ParticipantStatus
from fenzhang.domain.world import NO_AUTHORITY

CONTRACT = "Conditions"


def condition_events(call: Call, model: Model) -> Iterator[ConditionEvent]:
    """The events of a call of Conditions that opens or confirms a condition, in order. Raises Undecodable."""
    if call.selector == selector_of(CONTRACT, "open"):
        sent = decode_condition(call.data)
        yield ConditionOpened(NOWHERE, *sent.terms)
    elif call.selector == selector_of(CONTRACT, "confirm"):
        confirmed = decode_confirmation(call.data)
        yield ConditionConfirmed(NOWHERE, confirmed.platform, confirmed.condition_id)
        yield from _reaching((confirmed.platform, confirmed.condition_id), model)


def condition_signature(call: Call) -> bytes | None:
    """The signature in a call of Conditions that opens or confirms a condition. Raises Undecodable."""
    if call.selector == selector_of(CONTRACT, "open"):
        return decode_condition(call.data).signature
    if call.selector == selector_of(CONTRACT, "confirm"):
        return decode_confirmation(call.data).signature
    return None


def joining_events(capture: Capture, model: Model, now: int) -> Iterator[ConditionEvent]:
    """What is told before the capture of an order at `now`; each event is to be taken up before the next one."""
    condition = model.world.condition_of(capture)
    if condition is None or not condition.is_in_time(now):
        return
    key = (capture.platform, capture.condition)
    yield ConditionJoined(NOWHERE, *key, capture.order_id, condition.count + 1)
    yield from _reaching(key, model)


def _reaching(key: tuple[bytes, bytes], model: Model) -> Iterator[ConditionReached]:
    condition = model.world.conditions.get(key)
    if condition is not None and condition.is_complete and key not in model.reached:
        yield ConditionReached(NOWHERE, *key)


@dataclass(slots=True)
class ConditionKeeper:
    """Takes up events of conditions into the model, and reports those that the rules do not allow."""

    model: Model
    findings: Findings

    async def apply(
        self,
        event: ConditionEvent,
        at: Transaction,
        signatures: SignatureChecker,
        signature: bytes | None,
    ) -> None:
        """Take up one event. `signature` is what the calldata of one that is signed for carries."""
        if isinstance(event, ConditionOpened):
            await self._check_signature(event.platform, self._digest_of(event), signatures, signature, at)
            self._opened(event, at)
        elif isinstance(event, ConditionConfirmed):
            condition = self.model.world.conditions.get((event.platform, event.condition_id))
            if condition is not None:
                digest = self._digest_of(event)
                await self._check_signature(condition.confirmer, digest, signatures, signature, at)
            self._confirmed(event, condition, at)
        else:
            self.follow(event, at)

    def follow(self, event: ConditionJoined | ConditionReached, at: Transaction) -> None:
        """Take up what nobody signs for: an order that joined, or what came of it."""
        key = (event.platform, event.condition_id)
        condition = self.model.world.conditions.get(key)
        if isinstance(event, ConditionReached):
            if condition is None or not condition.is_complete or key in self.model.reached:
                self._report(event, at, "was reached a second time, or before it was")
            self.model.reached.add(key)
            return
        if condition is None or not condition.is_in_time(at.timestamp):
            self._report(event, at, "was joined too late, or never opened")
            return
        condition.join(at.timestamp)
        if event.count != condition.count:
            self._report(
                event, at, f"was joined by its order number {event.count}, which is {condition.count}"
            )

    def _opened(self, event: ConditionOpened, at: Transaction) -> None:
        world, key = self.model.world, (event.platform, event.condition_id)
        confirmed_by_nobody = event.confirmer == NOTHING
        if key in world.conditions:
            self._report(event, at, "was opened a second time")
            return
        if event.condition_id == NOTHING or event.deadline <= at.timestamp:
            self._report(event, at, "was opened without an id, or after its deadline")
        if confirmed_by_nobody and not event.needed:
            self._report(event, at, "was opened and needs nothing")
        if not confirmed_by_nobody and not self._may_sign(event.confirmer):
            self._report(event, at, "was opened with a confirmer that cannot sign")
        world.conditions[key] = Condition(event.needed, event.deadline, event.confirmer)
        self.findings.count("conditions")

    def _confirmed(self, event: ConditionConfirmed, condition: Condition | None, at: Transaction) -> None:
        if condition is None or condition.confirmer == NOTHING or condition.confirmed:
            self._report(event, at, "was confirmed twice, or has no confirmer, or was never opened")
        elif not condition.is_in_time(at.timestamp):
            self._report(event, at, "was confirmed after its deadline")
            return
        if condition is not None:
            condition.confirmed = True

    def _digest_of(self, event: ConditionOpened | ConditionConfirmed) -> bytes:
        domain, key = self.model.deployment.condition_domain(), (event.platform, event.condition_id)
        if isinstance(event, ConditionConfirmed):
            return confirmation_digest(domain, *key)
        return condition_digest(domain, *key, event.needed, event.deadline, event.confirmer)

    def _may_sign(self, participant: bytes) -> bool:
        world = self.model.world
        active = world.status_of(participant) is ParticipantStatus.ACTIVE
        return active and world.authority_of(participant) != NO_AUTHORITY

    async def _check_signature(
        self,
        signer: bytes,
        digest: bytes,
        signatures: SignatureChecker,
        signature: bytes | None,
        at: Transaction,
    ) -> None:
        if not await is_partys(signatures, self.model.world, signer, digest, signature, at):
            self.findings.report(
                Code.SIGNATURE_INVALID,
                f"a condition was opened or confirmed without the signature of 0x{signer.hex()}",
                at,
                participant=signer,
                expected=self.model.world.authority_of(signer),
            )

    def _report(self, event: ConditionEvent, at: Transaction, what: str) -> None:
        self.findings.report(
            Code.CONDITION_INVALID,
            f"condition 0x{event.condition_id.hex()} {what}",
            at,
            order=event.order_id if isinstance(event, ConditionJoined) else None,
            participant=event.platform,
            found=event,
        )
