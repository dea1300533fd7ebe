"""One `settle` decided again from its calldata: every signature, witness and instruction, in the contract's order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fenzhang.audit.conditions import ConditionKeeper, joining_events
from fenzhang.audit.differences import Code, Findings
from fenzhang.audit.model import Model
from fenzhang.audit.records import Records
from fenzhang.audit.signatures import SignatureChecker
from fenzhang.audit.stories import AuthorizationEvent, entry_without_record
from fenzhang.audit.tape import NOWHERE, OutOfStep, Tape
from fenzhang.chain.calldata import SentSettle, SentWitness
from fenzhang.chain.codec import encode_rejection
from fenzhang.chain.eip712 import attestation_digest, authorization_digest, capture_hash
from fenzhang.chain.eventtypes import (
    AuthorizationRejected,
    AuthorizationSkipped,
    BatchSealed,
    ConditionJoined,
    ConditionReached,
    InstructionRejected,
    OrderCaptured,
    OrderRefunded,
    OrderReleased,
    OrderSplit,
    SplitReturned,
)
from fenzhang.chain.evidence import ZERO_HEAD, fold_past
from fenzhang.chain.wallets import WalletQuestion
from fenzhang.domain.errors import ConditionOpen, InvalidSignature, NonceUsed, Rejection
from fenzhang.domain.records import (
    Attestation,
    Authorization,
    Capture,
    Instruction,
    ParticipantStatus,
    RecordKind,
)
from fenzhang.domain.settlement import (
    Outcome,
    attestor_signer,
    check_attestation,
    check_authorization,
    check_not_waiting,
    decide_capture,
    decide_instruction,
)
from fenzhang.domain.world import NO_AUTHORITY

_BAD_SIGNATURE = encode_rejection(InvalidSignature(bytes(32)))[:4]
"""Selector with which a refusal for a bad signature begins."""
_SETTLED = OrderSplit | OrderReleased | SplitReturned | OrderRefunded


@dataclass(slots=True)
class Cursor:
    """What a transaction knows of one order. Not `known`: no valid witness was given and none made there."""

    capture: Capture
    known: bool = False
    head: bytes = ZERO_HEAD
    witness: SentWitness | None = None


@dataclass(slots=True)
class Settling:
    """Replays one `settle`. Raises OutOfStep where its events tell of something else than its calldata."""

    model: Model
    findings: Findings
    records: Records
    signatures: SignatureChecker
    tape: Tape
    cursors: list[Cursor]

    async def replay(self, call: SentSettle) -> None:
        """Take up all events of the call. Raises Undecodable for a past that does not decode."""
        world = self.model.world
        world.attestors = self.model.access.attestors(self.tape.transaction.timestamp)
        for attestation in call.attestations:
            await self._attest(attestation)
        for witness in call.witnesses:
            self.cursors.append(self._witnessed(witness))
        first = 0
        for authorization in call.authorizations:
            end = first + len(authorization.instructions)
            await self._authorize(authorization, call.order_index[first:end])
            first = end
        take_seal(self.model, self.records, self.tape)

    # -------------------------------------------------------------------------- captures

    async def _attest(self, attestation: Attestation) -> None:
        world, at = self.model.world, self.tape.transaction
        signer = attestor_signer(attestation.attestor)
        digest = attestation_digest(self.model.deployment.ledger_domain(), attestation)
        signed = attestation.attestor in world.attestors and await self.signatures.is_valid(
            WalletQuestion(attestation.attestor, digest, attestation.signature),
            at,
            registry=self.model.deployment.participant_registry,
            taken=self._signature_taken(signer, digest),
        )
        self._learn_nonce(signer, digest, attestation.nonce)
        first = len(self.cursors)
        self.cursors += map(Cursor, attestation.captures)
        try:
            check_attestation(world, attestation, at.timestamp, signed=signed)
        except Rejection as rejection:
            self._refused(signer, digest, attestation.nonce, rejection)
            return
        if self._refused_without_reason(signer, digest) is not None:
            return
        world.nonces.add((signer, attestation.nonce))
        for cursor in self.cursors[first:]:
            self._capture(signer, cursor)

    def _capture(self, signer: bytes, cursor: Cursor) -> None:
        capture, at = cursor.capture, self.tape.transaction
        expected: OrderCaptured | InstructionRejected
        try:
            decide_capture(self.model.world, capture, at.timestamp)
        except Rejection as rejection:
            expected = InstructionRejected(
                NOWHERE,
                signer=signer,
                id=capture.order_id,
                order_id=capture.order_id,
                kind=RecordKind.CAPTURE,
                amount=capture.amount,
                reason=encode_rejection(rejection),
            )
        else:
            expected = OrderCaptured(
                NOWHERE,
                order_id=capture.order_id,
                platform=capture.platform,
                merchant=capture.merchant,
                rule_id=capture.rule_id,
                rule_version=capture.rule_version,
                currency=capture.currency,
                amount=capture.amount,
                bindings=capture.bindings,
                hold_until=capture.hold_until,
                expires_at=capture.expires_at,
                facts=capture.facts,
                condition=capture.condition,
            )
        message = f"the capture of order 0x{capture.order_id.hex()} was decided otherwise"
        if isinstance(expected, OrderCaptured):
            self._join(capture, message)
        event = self.tape.expect(expected, Code.DECISION_DIFFERS, message, order=capture.order_id)
        if isinstance(event, OrderCaptured | InstructionRejected):
            self.records.apply(event, at)
        cursor.known = isinstance(event, OrderCaptured)

    def _join(self, capture: Capture, message: str) -> None:
        at, keeper = self.tape.transaction, ConditionKeeper(self.model, self.findings)
        for expected in joining_events(capture, self.model, at.timestamp):
            event = self.tape.expect(
                expected, Code.DECISION_DIFFERS, message, order=capture.order_id, participant=capture.platform
            )
            if isinstance(event, ConditionJoined | ConditionReached):
                keeper.follow(event, at)

    # -------------------------------------------------------------------------- instructions

    async def _authorize(self, authorization: Authorization, index: Sequence[int]) -> None:
        world, at = self.model.world, self.tape.transaction
        platform = authorization.platform
        digest = authorization_digest(self.model.deployment.ledger_domain(), authorization)
        authority = world.authority_of(platform)
        may_act = world.status_of(platform) is ParticipantStatus.ACTIVE and authority != NO_AUTHORITY
        signed = may_act and await self.signatures.is_valid(
            WalletQuestion(authority, digest, authorization.signature),
            at,
            registry=self.model.deployment.participant_registry,
            taken=self._signature_taken(platform, digest),
        )
        self._learn_nonce(platform, digest, authorization.nonce)
        try:
            check_authorization(world, authorization, at.timestamp, signed=signed)
        except Rejection as rejection:
            event = self._refused(platform, digest, authorization.nonce, rejection)
            self._tell(event, authorization)
            return
        for instruction, place in zip(authorization.instructions, index, strict=True):
            if not self._is_ready(instruction, place):
                event = self._skipped(authorization, digest, instruction.order_id)
                self._tell(event, authorization)
                return
        unexplained = self._refused_without_reason(platform, digest)
        if unexplained is not None:
            self._tell(unexplained, authorization)
            return
        world.nonces.add((platform, authorization.nonce))
        settled: set[bytes] = set()
        for instruction, place in zip(authorization.instructions, index, strict=True):
            self._execute(platform, instruction, place, settled)

    def _witnessed(self, witness: SentWitness) -> Cursor:
        """Whether a witness opens its order's slot as it is after the captures of the call."""
        return Cursor(witness.capture, is_known(self.model, witness), witness.head, witness)

    def _is_ready(self, instruction: Instruction, place: int) -> bool:
        """Whether the call shows enough of an order to decide, and its condition is not open if that matters.

        Enough is its state or that it has none, and a past if needed.
        """
        never_captured = instruction.order_id not in self.model.world.orders
        if place >= len(self.cursors):
            return never_captured
        cursor = self.cursors[place]
        if cursor.capture.order_id != instruction.order_id:
            return False
        if not cursor.known:
            return never_captured
        try:
            check_not_waiting(self.model.world, instruction, self.tape.transaction.timestamp)
        except ConditionOpen:
            return False
        return not instruction.kind.opens_past or _opens(cursor)

    def _execute(self, platform: bytes, instruction: Instruction, place: int, settled: set[bytes]) -> None:
        order, at = instruction.order_id, self.tape.transaction
        self._check_witness(order, place)
        expected: _SETTLED | InstructionRejected
        try:
            first = order not in settled
            outcome = decide_instruction(self.model.world, platform, instruction, at.timestamp, first=first)
        except Rejection as rejection:
            expected = InstructionRejected(
                NOWHERE,
                signer=platform,
                id=instruction.id,
                order_id=order,
                kind=instruction.kind.record,
                amount=instruction.amount,
                reason=encode_rejection(rejection),
            )
        except KeyError:
            # The order was captured with a rule version that was never proposed; its capture is reported already.
            raise OutOfStep from None
        else:
            expected = _settled(instruction, outcome, self.model.world.orders[order].capture)
        message = f"{instruction.kind.name} 0x{instruction.id.hex()} was decided otherwise"
        event = self.tape.expect(expected, Code.DECISION_DIFFERS, message, order=order)
        if isinstance(event, _SETTLED):
            self.records.apply(event, at)
            settled.add(order)
            if place < len(self.cursors) and order in self.model.trails:
                self.cursors[place].head = self.model.trails[order].head
        elif isinstance(event, InstructionRejected):
            self.records.apply(event, at)

    def _check_witness(self, order: bytes, place: int) -> None:
        """A second witness of an order, outdated by what the first one did, reverts the whole call."""
        trail = self.model.trails.get(order)
        if trail is None or place >= len(self.cursors):
            return
        cursor = self.cursors[place]
        if cursor.known and cursor.head != trail.head:
            self.findings.report(
                Code.DECISION_DIFFERS,
                f"the call was carried out with an outdated second witness of order 0x{order.hex()}",
                self.tape.transaction,
                order=order,
                expected=trail.head,
                found=cursor.head,
            )
            raise OutOfStep

    # -------------------------------------------------------------------------- as a whole

    def _signature_taken(self, signer: bytes, digest: bytes) -> bool:
        """Whether the chain took the signature over `digest`, by the next event."""
        event = self.tape.peek()
        return not (
            isinstance(event, AuthorizationRejected)
            and (event.signer, event.digest) == (signer, digest)
            and event.reason.startswith(_BAD_SIGNATURE)
        )

    def _learn_nonce(self, signer: bytes, digest: bytes, nonce: int) -> None:
        """A nonce may have been used where calldata does not show it; then the chain alone knows."""
        event = self.tape.peek()
        if (
            signer in self.model.opaque_signers
            and isinstance(event, AuthorizationRejected)
            and (event.signer, event.digest) == (signer, digest)
            and event.reason == encode_rejection(NonceUsed(nonce))
        ):
            self.model.world.nonces.add((signer, nonce))

    def _refused(self, signer: bytes, digest: bytes, nonce: int, rejection: Rejection) -> AuthorizationEvent:
        expected = AuthorizationRejected(NOWHERE, signer, digest, nonce, encode_rejection(rejection))
        return self._without_effect(expected)

    def _skipped(self, authorization: Authorization, digest: bytes, order: bytes) -> AuthorizationEvent:
        return self._without_effect(
            AuthorizationSkipped(NOWHERE, authorization.platform, digest, authorization.nonce, order)
        )

    def _refused_without_reason(self, signer: bytes, digest: bytes) -> AuthorizationEvent | None:
        """The next event, if it says that what should take effect was refused or skipped. It is reported."""
        event = self.tape.peek()
        if not isinstance(event, AuthorizationEvent) or (event.signer, event.digest) != (signer, digest):
            return None
        self.tape.take()
        self.findings.report(
            Code.AUTHORIZATION_DIFFERS,
            f"authorization {event.nonce} of 0x{signer.hex()} should have taken effect",
            self.tape.transaction,
            participant=signer,
            found=event,
        )
        if isinstance(event, AuthorizationRejected) and event.reason == encode_rejection(
            NonceUsed(event.nonce)
        ):
            self.model.world.nonces.add((signer, event.nonce))
            self.findings.unexplained_nonces = True
        return event

    def _without_effect(self, expected: AuthorizationEvent) -> AuthorizationEvent:
        message = f"authorization {expected.nonce} of 0x{expected.signer.hex()} should have had no effect"
        event = self.tape.expect(expected, Code.AUTHORIZATION_DIFFERS, message, participant=expected.signer)
        self.findings.count("authorizations_without_effect")
        return event if isinstance(event, AuthorizationEvent) else expected

    def _tell(self, event: AuthorizationEvent, authorization: Authorization) -> None:
        """An authorization without effect belongs to the stories of the orders that it names."""
        stories = self.model.focus.stories
        for instruction in authorization.instructions if stories else ():
            if instruction.order_id in stories:
                entry = entry_without_record(event, instruction, self.tape.transaction)
                self.model.focus.add(instruction.order_id, entry)


def take_seal(model: Model, records: Records, tape: Tape) -> None:
    """Take up the batch of the records so far, if the next event tells of one."""
    if not model.open.leaves:
        return
    sealed = tape.peek()
    if isinstance(sealed, BatchSealed):
        tape.take()
        records.seal(sealed, tape.transaction)


def is_known(model: Model, witness: SentWitness) -> bool:
    """Whether a witness opens its order's slot as it is now."""
    trail = model.trails.get(witness.capture.order_id)
    return trail is not None and (trail.capture_hash, trail.head) == (
        capture_hash(witness.capture),
        witness.head,
    )


def _opens(cursor: Cursor) -> bool:
    """Whether the opened past of a known order folds to its head. Raises Undecodable."""
    past = () if cursor.witness is None else cursor.witness.past()
    return fold_past(cursor.capture.order_id, cursor.capture, past) == cursor.head


def _settled(instruction: Instruction, outcome: Outcome, capture: Capture) -> _SETTLED:
    order, record = instruction.order_id, instruction.id
    match outcome.kind:
        case RecordKind.SPLIT:
            return OrderSplit(NOWHERE, order, record, outcome.amount, outcome.allocations)
        case RecordKind.RELEASE:
            return OrderReleased(NOWHERE, order, record, capture.merchant, outcome.amount)
        case RecordKind.REFUND:
            from_held = outcome.amount - sum(take.amount for take in outcome.allocations)
            return OrderRefunded(NOWHERE, order, record, outcome.amount, from_held, outcome.allocations)
        case _:
            return SplitReturned(
                NOWHERE, order, record, instruction.split_id, outcome.amount, outcome.allocations
            )
