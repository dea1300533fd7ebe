"""The Python twin of the contracts: it says beforehand which events a `settle` emits, to the last byte.

Decisions come from fenzhang.domain.settlement; added is what the specification leaves to the chain: signatures,
witnesses against order slots, leaves and roots. What registry, rule book and administration did it reads from their
events, as every mirror does.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from fenzhang.chain.codec import SettleCall, encode_rejection
from fenzhang.chain.deployments import Deployment
from fenzhang.chain.eip712 import attestation_digest, authorization_digest, capture_hash
from fenzhang.chain.errors import contract_error_class
from fenzhang.chain.events import (
    ApprovalLockChanged,
    AuthorityRotated,
    AuthorizationRejected,
    AuthorizationSkipped,
    BatchSealed,
    ConditionConfirmed,
    ConditionJoined,
    ConditionOpened,
    ConditionReached,
    ConsentChanged,
    CurrencyChanged,
    Event,
    ExpiryPassedOver,
    FreezeChanged,
    HeirNamed,
    InstructionRejected,
    LogPosition,
    MaxShareOutChanged,
    OrderCaptured,
    OrderRefunded,
    OrderReleased,
    OrderSplit,
    ParticipantEnrolled,
    ParticipantFreezeChanged,
    ParticipantPlaced,
    ParticipantStatusChanged,
    RoleGranted,
    RoleRevoked,
    RuleApproved,
    RuleProposed,
    RuleRetired,
    RuleVetoed,
    ScheduleProposed,
    SplitReturned,
    SuspenseResolved,
)
from fenzhang.chain.evidence import (
    ZERO_HEAD,
    capture_leaf,
    fold_past,
    merkle_root,
    next_head,
    order_slot,
    past_leaf,
)
from fenzhang.chain.signer import recover
from fenzhang.chain.views import ATTESTOR_ROLE, CLEARING_BANK_ROLE
from fenzhang.domain.conditions import Condition
from fenzhang.domain.errors import ConditionOpen, FenzhangError, OutdatedWitness, Rejection
from fenzhang.domain.past import held_change
from fenzhang.domain.records import (
    Attestation,
    Authorization,
    Capture,
    Instruction,
    OrderWitness,
    PastRecord,
    RecordKind,
)
from fenzhang.domain.schedules import SCHEDULE
from fenzhang.domain.settlement import (
    Outcome,
    apply_instruction,
    attestor_signer,
    check_authorization,
    check_not_waiting,
    decide_expiry,
    expiry_of,
    settle_attestation,
    settle_authorization,
)
from fenzhang.domain.suspense import resolve
from fenzhang.domain.world import Freeze, Participant, Rule, Version, World
from support.ghosts import SettledEvent, leaf_of

NOWHERE = LogPosition(0, b"", b"", 0, 0)
"""Place of an event that is only expected."""
Key = TypeVar("Key")
_ORDER_CHANGED = contract_error_class("SplitLedger_OrderChanged")
_INDEX_COUNT = contract_error_class("SplitLedger_IndexCount")


def placeless(events: Sequence[Event]) -> list[Event]:
    """The same events without their places, so that they compare with expected ones."""
    return [replace(event, at=NOWHERE) for event in events]


@dataclass(slots=True)
class _Cursor:
    """What one transaction knows of one order, by a capture or a witness of it."""

    order_id: bytes
    slot: int = 0
    """Zero while not known."""
    head: bytes = ZERO_HEAD
    """Head of its records as far as this capture or witness has followed them."""
    opened: bytes = ZERO_HEAD
    """Head that the given past folds to."""


@dataclass(slots=True)
class Twin:
    """The state of the contracts in Python. `heads` are those of the orders' hash chains."""

    deployment: Deployment
    world: World = field(default_factory=World)
    heads: dict[bytes, bytes] = field(default_factory=dict)
    batches: list[bytes] = field(default_factory=list)
    """Roots of sealed batches."""
    wallets: dict[bytes, bytes] = field(default_factory=dict)
    """Contract accounts (ERC-1271) to the key address whose signature they accept."""

    def copy(self) -> Twin:
        """An independent twin in the same state."""
        return copy.deepcopy(self)

    def slot(self, order_id: bytes) -> int:
        """The storage slot of an order, 0 when it was never captured."""
        order = self.world.orders.get(order_id)
        if order is None:
            return 0
        return self.slot_with(order_id, self.heads[order_id], order.held)

    def slot_with(self, order_id: bytes, head: bytes, held: int) -> int:
        """The slot that a captured order would have with this head and held amount."""
        captured = capture_hash(self.world.orders[order_id].capture)
        return order_slot(captured, head, held)

    def witness(self, order_id: bytes, *, opened: bool) -> OrderWitness:
        """The witness of an order as it is now, with its past if `opened`."""
        order = self.world.orders[order_id]
        return OrderWitness(order.capture, self.heads[order_id], tuple(order.past) if opened else ())

    # -------------------------------------------------------------------------- governance

    def follow(self, events: Sequence[Event]) -> None:
        """Take in what registry, rule book and administration told."""
        for event in events:
            self._follow(event)

    def _follow(self, event: Event) -> None:
        world = self.world
        match event:
            case ParticipantEnrolled(participant=participant, authority=authority):
                world.participants[participant] = Participant(authority=authority)
            case ParticipantStatusChanged(participant=participant, status=status):
                world.participants[participant].status = status
            case AuthorityRotated(participant=participant, next=following):
                world.participants[participant].authority = following
            case MaxShareOutChanged(platform=platform, max_share_out=cap):
                world.participants[platform].max_share_out = cap
            case ConsentChanged(recipient=recipient, platform=platform, granted=granted):
                (world.consents.add if granted else world.consents.discard)((recipient, platform))
            case FreezeChanged() | ParticipantFreezeChanged():
                self._freeze(event)
            case ParticipantPlaced(participant=participant, parent=parent):
                world.places.put(participant, parent)
            case HeirNamed(participant=participant, heir=heir):
                world.heirs[participant] = heir
            case _:
                self._follow_administration(event)

    def _follow_administration(self, event: Event) -> None:
        world = self.world
        match event:
            case CurrencyChanged(currency=currency, enabled=enabled):
                (world.currencies.add if enabled else world.currencies.discard)(currency)
            case RoleGranted() if event.role_id == ATTESTOR_ROLE:
                world.attestors.add(event.account)
            case RoleRevoked() if event.role_id == ATTESTOR_ROLE:
                world.attestors.discard(event.account)
            case RoleGranted() if event.role_id == CLEARING_BANK_ROLE:
                world.clearing_banks.add(event.account)
            case RoleRevoked() if event.role_id == CLEARING_BANK_ROLE:
                world.clearing_banks.discard(event.account)
            case ConditionOpened():
                world.conditions[event.platform, event.condition_id] = Condition(
                    event.needed, event.deadline, event.confirmer
                )
            case ConditionConfirmed():
                world.conditions[event.platform, event.condition_id].confirmed = True
            case _:
                self._follow_rule(event)

    def _freeze(self, event: FreezeChanged | ParticipantFreezeChanged) -> None:
        freeze = Freeze(event.guardian, event.reason) if event.frozen else None
        if isinstance(event, FreezeChanged):
            _put(self.world.frozen_orders, (event.order_id, event.split_id), freeze)
        else:
            _put(self.world.frozen_participants, event.participant, freeze)

    def _follow_rule(self, event: Event) -> None:
        world = self.world
        match event:
            case RuleProposed():
                rule = world.rules.setdefault((event.platform, event.rule_id), Rule())
                proposer = world.authority_of(event.platform)
                rule.versions[event.version] = Version(
                    event.legs, event.effective_from, proposer=proposer, terms=event.terms
                )
            case ScheduleProposed():
                schedule = world.rules.setdefault((event.platform, SCHEDULE), Rule())
                proposer = world.authority_of(event.platform)
                schedule.versions[event.version] = Version(
                    (), event.effective_from, proposer=proposer, entries=event.entries
                )
            case RuleApproved():
                world.rules[event.platform, event.rule_id].versions[event.version].approved = True
            case RuleVetoed():
                world.rules[event.platform, event.rule_id].versions[event.version].veto()
            case ApprovalLockChanged():
                world.approval_lock = event.lock
            case RuleRetired():
                world.rules[event.platform, event.rule_id].retired = True
            case _:
                pass

    # -------------------------------------------------------------------------- settle

    def settle(self, call: SettleCall, now: int) -> list[Event]:
        """The events of a `settle` mined at `now`, in order and without places.

        Raises the contract's error when the whole transaction reverts, and then nothing has changed.
        """
        expected = sum(len(authorization.instructions) for authorization in call.authorizations)
        if len(call.order_index) != expected:
            raise _INDEX_COUNT("", length=2 * len(call.order_index), expected=2 * expected)
        before = self.copy() if _names_an_order_twice(call) else None
        try:
            return _Run(self, now).settle(call)
        except FenzhangError:
            if before is None:
                raise
            for name in ("world", "heads", "batches"):
                setattr(self, name, getattr(before, name))
            raise

    def expire(self, witnesses: Sequence[OrderWitness], now: int) -> list[Event]:
        """The events of an `expire` mined at `now`, in order and without places."""
        return _Run(self, now).expire(witnesses)

    def resolve(self, currency: str, participant: bytes) -> list[Event]:
        """The events of a `resolve`. Raises the contract's error."""
        heir, amount = resolve(self.world, currency, participant)
        told = SuspenseResolved(NOWHERE, currency, participant, heir, amount)
        self.batches.append(leaf_of(told))
        return [told, BatchSealed(NOWHERE, len(self.batches), self.batches[-1], 1)]

    def accepts(self, authority: bytes, digest: bytes, signature: bytes) -> bool:
        """Whether a signature is the authority's: a key's, or a wallet's through its owner."""
        signer = recover(digest, signature)
        return signer is not None and signer == self.wallets.get(authority, authority)


def _put(frozen: dict[Key, Freeze], key: Key, freeze: Freeze | None) -> None:
    if freeze is None:
        del frozen[key]
    else:
        frozen[key] = freeze


def _names_an_order_twice(call: SettleCall) -> bool:
    orders = [capture.order_id for attestation in call.attestations for capture in attestation.captures]
    orders += [witness.capture.order_id for witness in call.witnesses]
    return len(set(orders)) != len(orders)


class _Run:
    """One transaction."""

    def __init__(self, twin: Twin, now: int) -> None:
        self._twin = twin
        self._now = now
        self._cursors: list[_Cursor] = []
        self._events: list[Event] = []
        self._leaves: list[bytes] = []

    def settle(self, call: SettleCall) -> list[Event]:
        for attestation in call.attestations:
            self._attest(attestation)
        for witness in call.witnesses:
            self._witness(witness)
        index = iter(call.order_index)
        for authorization in call.authorizations:
            self._authorize(authorization, [next(index) for _ in authorization.instructions])
        return self._seal()

    def expire(self, witnesses: Sequence[OrderWitness]) -> list[Event]:
        for witness in witnesses:
            self._expire(witness)
        return self._seal()

    def _expire(self, witness: OrderWitness) -> None:
        twin, order_id = self._twin, witness.capture.order_id
        self._witness(witness)
        order = twin.world.orders.get(order_id)
        try:
            if order is not None and not self._cursors[-1].slot:
                raise OutdatedWitness(order_id)
            outcome = decide_expiry(twin.world, order_id, self._now)
        except Rejection as rejection:
            self._events.append(ExpiryPassedOver(NOWHERE, order_id, encode_rejection(rejection)))
            return
        assert order is not None, "only a captured order expires"
        apply_instruction(twin.world, expiry_of(order_id, outcome), outcome)
        self._record(order.capture, order.past[-1])

    def _record(self, capture: Capture, record: PastRecord) -> None:
        leaf = past_leaf(capture.order_id, capture, record)
        self._twin.heads[capture.order_id] = next_head(self._twin.heads[capture.order_id], leaf)
        self._events.append(_settled(capture, record))
        self._leaves.append(leaf)

    def _seal(self) -> list[Event]:
        if self._leaves:
            root = merkle_root(self._leaves)
            self._twin.batches.append(root)
            self._events.append(BatchSealed(NOWHERE, len(self._twin.batches), root, len(self._leaves)))
        return self._events

    def _attest(self, attestation: Attestation) -> None:
        twin = self._twin
        cursors = [_Cursor(capture.order_id) for capture in attestation.captures]
        self._cursors += cursors
        signer = attestor_signer(attestation.attestor)
        digest = attestation_digest(twin.deployment.ledger_domain(), attestation)
        signed = twin.accepts(attestation.attestor, digest, attestation.signature)
        conditions = copy.deepcopy(twin.world.conditions)
        try:
            decisions = settle_attestation(twin.world, attestation, self._now, signed=signed)
        except Rejection as rejection:
            self._refuse(signer, digest, attestation.nonce, rejection)
            return
        for capture, cursor, decision in zip(attestation.captures, cursors, decisions, strict=True):
            if isinstance(decision, Rejection):
                order_id = capture.order_id
                reason = encode_rejection(decision)
                self._reject(
                    InstructionRejected(
                        NOWHERE, signer, order_id, order_id, RecordKind.CAPTURE, capture.amount, reason
                    )
                )
                continue
            twin.heads[capture.order_id] = ZERO_HEAD
            cursor.slot = order_slot(capture_hash(capture), ZERO_HEAD, capture.amount)
            self._join(conditions.get((capture.platform, capture.condition)), capture)
            self._events.append(_captured(capture))
            self._leaves.append(capture_leaf(capture))

    def _join(self, condition: Condition | None, capture: Capture) -> None:
        """Tell of an order that joins `condition`, which is as it was right before the order's capture."""
        if condition is None or not condition.is_in_time(self._now):
            return
        platform, condition_id = capture.platform, capture.condition
        before = condition.is_complete
        condition.join(self._now)
        self._events.append(
            ConditionJoined(NOWHERE, platform, condition_id, capture.order_id, condition.count)
        )
        if condition.is_complete and not before:
            self._events.append(ConditionReached(NOWHERE, platform, condition_id))

    def _witness(self, witness: OrderWitness) -> None:
        capture = witness.capture
        cursor = _Cursor(capture.order_id, opened=fold_past(capture.order_id, capture, witness.past))
        order = self._twin.world.orders.get(capture.order_id)
        if order is not None:
            slot = self._twin.slot(capture.order_id)
            if slot == order_slot(capture_hash(capture), witness.head, order.held):
                cursor.slot, cursor.head = slot, witness.head
        self._cursors.append(cursor)

    def _authorize(self, authorization: Authorization, index: list[int]) -> None:
        twin = self._twin
        digest = authorization_digest(twin.deployment.ledger_domain(), authorization)
        authority = twin.world.authority_of(authorization.platform)
        signed = twin.accepts(authority, digest, authorization.signature)
        try:
            check_authorization(twin.world, authorization, self._now, signed=signed)
        except Rejection as rejection:
            self._refuse(authorization.platform, digest, authorization.nonce, rejection)
            return
        for instruction, at in zip(authorization.instructions, index, strict=True):
            if not self._is_ready(instruction, at):
                signer, nonce, order_id = authorization.platform, authorization.nonce, instruction.order_id
                self._events.append(AuthorizationSkipped(NOWHERE, signer, digest, nonce, order_id))
                return
        held = {
            instruction.order_id: twin.world.orders[instruction.order_id].held
            for instruction in authorization.instructions
            if instruction.order_id in twin.world.orders
        }
        decisions = settle_authorization(twin.world, authorization, self._now, signed=True)
        for instruction, at, decision in zip(authorization.instructions, index, decisions, strict=True):
            self._carry_out(authorization.platform, instruction, at, decision, held)

    def _is_ready(self, instruction: Instruction, at: int) -> bool:
        captured = instruction.order_id in self._twin.world.orders
        if at >= len(self._cursors):
            return not captured
        cursor = self._cursors[at]
        if cursor.order_id != instruction.order_id:
            return False
        if cursor.slot == 0:
            return not captured
        try:
            check_not_waiting(self._twin.world, instruction, self._now)
        except ConditionOpen:
            return False
        return not instruction.kind.opens_past or cursor.opened == cursor.head

    def _carry_out(
        self,
        platform: bytes,
        instruction: Instruction,
        at: int,
        decision: Outcome | Rejection,
        held: dict[bytes, int],
    ) -> None:
        """Tell of one decided instruction. `held` is what its order held before it, and is brought forward."""
        order_id = instruction.order_id
        order = self._twin.world.orders.get(order_id)
        if order is not None:
            slot = self._twin.slot_with(order_id, self._twin.heads[order_id], held[order_id])
            if self._cursors[at].slot != slot:
                raise _ORDER_CHANGED("", orderId=order_id)
        if isinstance(decision, Rejection):
            kind = instruction.kind.record
            reason = encode_rejection(decision)
            self._reject(
                InstructionRejected(
                    NOWHERE, platform, instruction.id, order_id, kind, instruction.amount, reason
                )
            )
            return
        assert order is not None, "only a captured order settles"
        record = PastRecord(
            decision.kind, instruction.id, decision.amount, instruction.split_id, decision.allocations
        )
        taken = sum(allocation.amount for allocation in decision.allocations)
        held[order_id] += held_change(decision.kind, decision.amount, taken)
        self._record(order.capture, record)
        self._cursors[at].head = self._twin.heads[order_id]
        self._cursors[at].slot = self._twin.slot_with(order_id, self._twin.heads[order_id], held[order_id])

    def _refuse(self, signer: bytes, digest: bytes, nonce: int, rejection: Rejection) -> None:
        reason = encode_rejection(rejection)
        self._events.append(AuthorizationRejected(NOWHERE, signer, digest, nonce, reason))

    def _reject(self, event: InstructionRejected) -> None:
        self._events.append(event)
        self._leaves.append(leaf_of(event))


def _captured(capture: Capture) -> OrderCaptured:
    return OrderCaptured(
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


def _settled(capture: Capture, record: PastRecord) -> SettledEvent:
    order_id = capture.order_id
    if record.kind is RecordKind.SPLIT:
        return OrderSplit(NOWHERE, order_id, record.id, record.amount, record.allocations)
    if record.kind is RecordKind.RELEASE:
        return OrderReleased(NOWHERE, order_id, record.id, capture.merchant, record.amount)
    if record.kind is RecordKind.REFUND:
        from_held = record.amount - sum(take.amount for take in record.allocations)
        return OrderRefunded(NOWHERE, order_id, record.id, record.amount, from_held, record.allocations)
    return SplitReturned(NOWHERE, order_id, record.id, record.split_id, record.amount, record.allocations)
