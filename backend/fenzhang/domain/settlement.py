"""The decisions of SplitLedger as the readable specification: what settles, with which amounts, and what is refused.

`decide_*` look at the world and change nothing: they return the outcome, or raise the Rejection that the contract
would record. The order of the checks is part of the specification: contracts/libraries/Settlement.sol gives the same
first reason. `settle_*` carry an attestation or authorization out, instruction by instruction.

Left to the chain alone, because it needs hashes and calldata: whether a signature is good (the caller says), and
whether a relayer's witness opens an order's slot (an authorization with a wrong one is skipped, and nothing changes).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from fenzhang.domain.allocation import (
    Allocation,
    allocate,
    check_given_count,
    check_takes,
    spread_takes,
    take_back,
)
from fenzhang.domain.conditions import ConditionState
from fenzhang.domain.errors import (
    AmountAboveLimit,
    BindingCount,
    ConditionMissed,
    ConditionOpen,
    CurrencyNotEnabled,
    DeadlinePassed,
    EmptyAuthorization,
    HoldBeyondExpiry,
    InsufficientHeld,
    InsufficientPosition,
    InsufficientRefundable,
    InvalidSignature,
    MalformedInstruction,
    NonceUsed,
    NotAttestor,
    NothingHeld,
    NotOrderPlatform,
    OnHold,
    OrderAlreadyCaptured,
    OrderExpired,
    OrderFrozen,
    OrderNotExpired,
    ParticipantFrozen,
    PlatformNotActive,
    RecipientNotActive,
    RecipientNotConsented,
    Rejection,
    ReturnNotFirst,
    RoleAlreadyBound,
    RoleNotBound,
    RuleNotInForce,
    RuleNotSelected,
    SplitFrozen,
    UnknownCondition,
    UnknownOrder,
    UnknownSplit,
    ZeroAmount,
)
from fenzhang.domain.money import MAX_AMOUNT
from fenzhang.domain.past import held_change, order_leaves, returnable
from fenzhang.domain.records import (
    NOTHING,
    Attestation,
    Authorization,
    Capture,
    Instruction,
    InstructionKind,
    ParticipantStatus,
    PastRecord,
    RecordKind,
    RuleState,
)
from fenzhang.domain.rules import MAX_CHAIN_AMOUNT, RuleTerms, given_indices, roles_of
from fenzhang.domain.sharing import check_share_out, count_share_out
from fenzhang.domain.suspense import suspense_id
from fenzhang.domain.world import NO_AUTHORITY, Order, World

NOBODY = bytes(32)
"""A binding that leaves its role open."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a settled capture or instruction records. A RELEASE and a CAPTURE have no allocations.

    Those of a REFUND are its takes, one per leaf of the order; the rest of its amount was held.
    """

    kind: RecordKind
    amount: int
    allocations: tuple[Allocation, ...] = ()


Decision = Outcome | Rejection
"""Of one capture or instruction."""


# ------------------------------------------------------------------------------ what is signed, as a whole


def attestor_signer(attestor: bytes) -> bytes:
    """An attestor's address as the 32 bytes that events and nonces know it by."""
    return attestor.rjust(32, b"\0")


def check_attestation(world: World, attestation: Attestation, now: int, *, signed: bool) -> None:
    """Raise the Rejection of an attestation as a whole. `signed`: its signature is the attestor's."""
    if attestation.attestor not in world.attestors:
        raise NotAttestor(attestation.attestor)
    signer = attestor_signer(attestation.attestor)
    _check_authority(world, signer, attestation.nonce, attestation.deadline, now, signed=signed)
    if not attestation.captures:
        raise EmptyAuthorization(attestation.nonce)


def check_authorization(world: World, authorization: Authorization, now: int, *, signed: bool) -> None:
    """Raise the Rejection of an authorization as a whole. `signed`: its signature is the platform authority's."""
    platform = authorization.platform
    if (
        world.status_of(platform) is not ParticipantStatus.ACTIVE
        or world.authority_of(platform) == NO_AUTHORITY
    ):
        raise PlatformNotActive(platform)
    if platform in world.frozen_participants:
        raise ParticipantFrozen(platform)
    _check_authority(world, platform, authorization.nonce, authorization.deadline, now, signed=signed)
    if not authorization.instructions:
        raise EmptyAuthorization(authorization.nonce)


def _check_authority(
    world: World, signer: bytes, nonce: int, deadline: int, now: int, *, signed: bool
) -> None:
    if not signed:
        raise InvalidSignature(signer)
    if now > deadline:
        raise DeadlinePassed(deadline, now)
    if (signer, nonce) in world.nonces:
        raise NonceUsed(nonce)


def settle_attestation(world: World, attestation: Attestation, now: int, *, signed: bool) -> list[Decision]:
    """Carry out an attestation at `now` (Unix seconds): one decision per capture.

    Raises the Rejection of the attestation as a whole, and then nothing has changed.
    """
    check_attestation(world, attestation, now, signed=signed)
    world.nonces.add((attestor_signer(attestation.attestor), attestation.nonce))
    decisions: list[Decision] = []
    for capture in attestation.captures:
        try:
            outcome = decide_capture(world, capture, now)
        except Rejection as rejection:
            decisions.append(rejection)
        else:
            apply_capture(world, capture, now)
            decisions.append(outcome)
    return decisions


def settle_authorization(
    world: World, authorization: Authorization, now: int, *, signed: bool
) -> list[Decision]:
    """Carry out an authorization at `now` (Unix seconds): one decision per instruction.

    Raises the Rejection of the authorization as a whole, ConditionOpen if it must wait; then nothing has changed.
    """
    check_authorization(world, authorization, now, signed=signed)
    for instruction in authorization.instructions:
        check_not_waiting(world, instruction, now)
    world.nonces.add((authorization.platform, authorization.nonce))
    settled: set[bytes] = set()
    decisions: list[Decision] = []
    for instruction in authorization.instructions:
        first = instruction.order_id not in settled
        try:
            outcome = decide_instruction(world, authorization.platform, instruction, now, first=first)
        except Rejection as rejection:
            decisions.append(rejection)
        else:
            apply_instruction(world, instruction, outcome)
            settled.add(instruction.order_id)
            decisions.append(outcome)
    return decisions


# ------------------------------------------------------------------------------ captures


def decide_capture(world: World, capture: Capture, now: int) -> Outcome:
    """What a capture at `now` (Unix seconds) records. Raises its Rejection."""
    if capture.amount == 0:
        raise ZeroAmount
    if capture.amount > MAX_AMOUNT:
        raise AmountAboveLimit(capture.amount, MAX_AMOUNT)
    if capture.currency not in world.currencies:
        raise CurrencyNotEnabled(capture.currency)
    if world.status_of(capture.platform) is not ParticipantStatus.ACTIVE:
        raise PlatformNotActive(capture.platform)
    if capture.order_id in world.orders:
        raise OrderAlreadyCaptured(capture.order_id)
    state = world.rule_state(capture.platform, capture.rule_id, capture.rule_version, now)
    if state is not RuleState.IN_FORCE:
        raise RuleNotInForce(capture.rule_id, capture.rule_version, state)
    _check_selected(world, capture, now)
    _check_capture_parties(world, capture)
    if 0 < capture.expires_at <= capture.hold_until:
        raise HoldBeyondExpiry(capture.hold_until, capture.expires_at)
    if capture.condition != NOTHING and world.condition_of(capture) is None:
        raise UnknownCondition(capture.condition)
    return Outcome(RecordKind.CAPTURE, capture.amount)


def _check_selected(world: World, capture: Capture, now: int) -> None:
    """The rule of an order is the one that the platform's schedule selects, while one is in force."""
    found = world.selection(capture.platform, capture.facts, capture.currency, capture.amount, now)
    if found is not None and found[1].entry.rule_id != capture.rule_id:
        raise RuleNotSelected(capture.rule_id, found[1].entry.rule_id)


def _check_capture_parties(world: World, capture: Capture) -> None:
    expected = len(roles_of(world.legs_of(capture)))
    if len(capture.bindings) != expected:
        raise BindingCount(len(capture.bindings), expected)
    _check_consenting(world, capture.merchant, capture.platform)
    for bound in capture.bindings:
        if bound != NOBODY:
            _check_consenting(world, bound, capture.platform)


def apply_capture(world: World, capture: Capture, now: int) -> None:
    """Change the world by a capture that was decided at `now` (Unix seconds)."""
    condition = world.condition_of(capture)
    if condition is not None:
        condition.join(now)
    world.orders[capture.order_id] = Order(capture, capture.amount)
    totals = world.totals[capture.currency]
    totals.captured += capture.amount
    totals.held += capture.amount


# ------------------------------------------------------------------------------ instructions


def decide_instruction(
    world: World, platform: bytes, instruction: Instruction, now: int, *, first: bool
) -> Outcome:
    """What an instruction authorised by `platform` records at `now` (Unix seconds). Raises its Rejection.

    `first` is false once an earlier instruction of the same authorization has settled on the same order.
    """
    order = world.orders.get(instruction.order_id)
    if order is None:
        raise UnknownOrder(instruction.order_id)
    if order.capture.platform != platform:
        raise NotOrderPlatform(instruction.order_id, platform)
    check_movable(world, order.capture, instruction.kind, now)
    match instruction.kind:
        case InstructionKind.SPLIT:
            return _decide_split(world, order, instruction)
        case InstructionKind.RELEASE:
            return _decide_release(world, order, instruction)
        case InstructionKind.RETURN:
            return _decide_return(world, order, instruction, first=first)
        case InstructionKind.REFUND:
            return _decide_refund(world, order, instruction, first=first)


def check_not_waiting(world: World, instruction: Instruction, now: int) -> None:
    """Raise ConditionOpen for an instruction that waits for its order's condition: its authorization waits."""
    order = world.orders.get(instruction.order_id)
    if order is None or not instruction.kind.needs_condition:
        return
    if world.condition_state(order.capture, now) is ConditionState.OPEN:
        raise ConditionOpen(instruction.order_id, order.capture.condition)


def check_movable(world: World, capture: Capture, kind: InstructionKind, now: int) -> None:
    """Raise the Rejection of an instruction of this kind on an order that is stopped, on hold or expired.

    Neither a condition nor a hold keeps a refund back: it is there for the buyer.
    """
    _check_not_stopped(world, capture, now, conditional=kind.needs_condition)
    if capture.is_on_hold(now) and kind is not InstructionKind.REFUND:
        raise OnHold(capture.order_id, capture.hold_until)
    if kind is InstructionKind.SPLIT and capture.has_expired(now):
        raise OrderExpired(capture.order_id, capture.expires_at)


def _check_not_stopped(world: World, capture: Capture, now: int, *, conditional: bool) -> None:
    """IConditions.obstacle: a condition that is open, a freeze, a condition that was missed."""
    state = world.condition_state(capture, now) if conditional else ConditionState.REACHED
    if state is ConditionState.OPEN:
        raise ConditionOpen(capture.order_id, capture.condition)
    if world.is_frozen(capture.order_id):
        raise OrderFrozen(capture.order_id)
    if state is ConditionState.MISSED:
        raise ConditionMissed(capture.order_id, capture.condition)


def _decide_split(world: World, order: Order, instruction: Instruction) -> Outcome:
    capture = order.capture
    if instruction.split_id != NOBODY or (instruction.amounts and not _may_give(world, capture, instruction)):
        raise MalformedInstruction(instruction.id)
    if instruction.amount == 0:
        raise ZeroAmount
    if instruction.amount > order.held:
        raise InsufficientHeld(instruction.order_id, instruction.amount, order.held)
    legs = world.legs_of(capture)
    check_given_count(legs, instruction.amounts)
    bindings = _bind(world, capture, instruction)
    terms = world.version_of(capture).terms
    allocations = [
        Allocation(payee(world, each.recipient, terms), each.amount)
        for each in allocate(legs, instruction.amount, bindings, instruction.amounts)
    ]
    check_share_out(world, order, allocations)
    return Outcome(RecordKind.SPLIT, instruction.amount, tuple(allocations))


def _may_give(world: World, capture: Capture, instruction: Instruction) -> bool:
    """Whether the order's rule has GIVEN legs, and what the split gives are amounts, whatever their number."""
    return bool(given_indices(world.legs_of(capture))) and max(instruction.amounts) <= MAX_CHAIN_AMOUNT


def _bind(world: World, capture: Capture, instruction: Instruction) -> dict[str, bytes]:
    """One participant per role: the order's, or where the order left the role open the instruction's."""
    if instruction.bindings and len(instruction.bindings) != len(capture.bindings):
        raise BindingCount(len(instruction.bindings), len(capture.bindings))
    own = instruction.bindings or (NOBODY,) * len(capture.bindings)
    bindings = {}
    for role, bound, given in zip(roles_of(world.legs_of(capture)), capture.bindings, own, strict=True):
        if bound == NOBODY:
            if given == NOBODY:
                raise RoleNotBound(role)
            _check_consenting(world, given, capture.platform)
        elif given not in {NOBODY, bound}:
            raise RoleAlreadyBound(role, bound)
        bindings[role] = given if bound == NOBODY else bound
    return bindings


def _decide_release(world: World, order: Order, instruction: Instruction) -> Outcome:
    if instruction.split_id != NOBODY or instruction.amount or instruction.bindings or instruction.amounts:
        raise MalformedInstruction(instruction.id)
    return _decide_release_of_held(world, order)


def _decide_release_of_held(world: World, order: Order) -> Outcome:
    if order.held == 0:
        raise NothingHeld(order.capture.order_id)
    _check_active(world, order.capture.merchant)
    return Outcome(RecordKind.RELEASE, order.held)


def decide_expiry(world: World, order_id: bytes, now: int) -> Outcome:
    """What anybody's wish to end an order records at `now` (Unix seconds).

    That is a REFUND when its condition was missed, and else a RELEASE when it has expired. Raises the Rejection for
    which the order is passed over.
    """
    order = world.orders.get(order_id)
    if order is None:
        raise UnknownOrder(order_id)
    try:
        _check_not_stopped(world, order.capture, now, conditional=True)
    except ConditionMissed:
        if order.held == 0:
            raise NothingHeld(order_id) from None
        return Outcome(RecordKind.REFUND, order.held)
    if not order.capture.has_expired(now):
        raise OrderNotExpired(order_id, order.capture.expires_at)
    return _decide_release_of_held(world, order)


def expiry_of(order_id: bytes, outcome: Outcome) -> Instruction:
    """The instruction that the end of an order by `expire` is recorded as: its id is the order's."""
    return Instruction(InstructionKind[outcome.kind.name], order_id, order_id)


def _decide_return(world: World, order: Order, instruction: Instruction, *, first: bool) -> Outcome:
    if instruction.bindings:
        raise MalformedInstruction(instruction.id)
    if not first:
        raise ReturnNotFirst(instruction.order_id)
    leaves = returnable(order.past, instruction.split_id)
    if leaves is None:
        raise UnknownSplit(instruction.order_id, instruction.split_id)
    if instruction.amount == 0:
        raise ZeroAmount
    weights = [leaf.amount for leaf in leaves]
    takes = _takes(instruction, weights)
    allocations = tuple(Allocation(leaf.recipient, take) for leaf, take in zip(leaves, takes, strict=True))
    check_not_frozen(world, order, instruction.split_id, allocations)
    return Outcome(RecordKind.RETURN, instruction.amount, _debit(world, order.capture, allocations))


def _decide_refund(world: World, order: Order, instruction: Instruction, *, first: bool) -> Outcome:
    if instruction.split_id != NOBODY or instruction.bindings or instruction.amounts:
        raise MalformedInstruction(instruction.id)
    if not first:
        raise ReturnNotFirst(instruction.order_id)
    if instruction.amount == 0:
        raise ZeroAmount
    leaves = order_leaves(order.past, order.capture.merchant)
    weights = [leaf.amount for leaf in leaves]
    refundable = order.held + sum(weights)
    if instruction.amount > refundable:
        raise InsufficientRefundable(instruction.order_id, instruction.amount, refundable)
    takes = spread_takes(weights, max(instruction.amount - order.held, 0))
    allocations = tuple(Allocation(leaf.recipient, take) for leaf, take in zip(leaves, takes, strict=True))
    check_not_frozen(world, order, NOBODY, allocations)
    return Outcome(RecordKind.REFUND, instruction.amount, _debit(world, order.capture, allocations))


def _takes(instruction: Instruction, weights: Sequence[int]) -> Sequence[int]:
    if not instruction.amounts:
        return take_back(instruction.split_id, weights, instruction.amount)
    if len(instruction.amounts) != len(weights) or sum(instruction.amounts) != instruction.amount:
        raise MalformedInstruction(instruction.id)
    check_takes(instruction.split_id, weights, instruction.amounts)
    return instruction.amounts


def check_not_frozen(world: World, order: Order, split_id: bytes, takes: Sequence[Allocation]) -> None:
    """Raise the Rejection of a debit of positions that a guardian has stopped. Every debit has to pass here.

    `takes` is what is taken from whom. A split of the order gave it, or with NOBODY any of them.
    """
    if not any(take.amount for take in takes):
        return
    order_id = order.capture.order_id
    for record in order.past:
        named = record.kind is RecordKind.SPLIT and split_id in {NOBODY, record.id}
        if named and (order_id, record.id) in world.frozen_orders:
            raise SplitFrozen(order_id, record.id)
    for take in takes:
        whose = {take.recipient, suspense_id(take.recipient)}
        if take.amount and not whose.isdisjoint(world.frozen_participants):
            raise ParticipantFrozen(take.recipient)


def _debit(world: World, capture: Capture, takes: Sequence[Allocation]) -> tuple[Allocation, ...]:
    """Who gives what leaves have to give.

    Where a position falls short, the participant's other one gives (its suspense position, or its own), if that has as
    much; else for a suspense position the participant's heir.

    Who falls short must be allowed to owe. Somebody may stand on several leaves: needs are added up leaf by leaf.
    """
    needed: defaultdict[bytes, int] = defaultdict(int)
    given = []

    def left(who: bytes) -> int:
        return world.positions.get((capture.currency, who), 0) - needed[who]

    for take in takes:
        payer = take.recipient
        if take.amount:
            if left(payer) < take.amount:
                other = suspense_id(payer)
                payer = other if left(other) >= take.amount else _stand_in(world, payer)
            needed[payer] += take.amount
            position = world.positions.get((capture.currency, payer), 0)
            if needed[payer] > position and not world.version_of(capture).terms.may_owe:
                raise InsufficientPosition(payer, needed[payer], position)
        given.append(Allocation(payer, take.amount))
    return tuple(given)


def _stand_in(world: World, payer: bytes) -> bytes:
    heir = world.heir_of(suspense_id(payer))
    return payer if heir is None or heir in world.frozen_participants else heir


def apply_instruction(world: World, instruction: Instruction, outcome: Outcome) -> None:
    """Change the world by an instruction that was decided."""
    order = world.orders[instruction.order_id]
    currency = order.capture.currency
    if outcome.kind is RecordKind.RELEASE:
        world.positions[currency, order.capture.merchant] += outcome.amount
    sign = 1 if outcome.kind is RecordKind.SPLIT else -1
    for allocation in outcome.allocations:
        if allocation.amount:
            world.positions[currency, allocation.recipient] += sign * allocation.amount
    taken = sum(allocation.amount for allocation in outcome.allocations)
    change = held_change(outcome.kind, outcome.amount, taken)
    order.held += change
    world.totals[currency].held += change
    if outcome.kind is RecordKind.REFUND:
        world.totals[currency].refunded += outcome.amount
    record = PastRecord(
        outcome.kind, instruction.id, outcome.amount, instruction.split_id, outcome.allocations
    )
    order.past.append(record)
    count_share_out(world, order, record)


# ------------------------------------------------------------------------------ standings


def payee(world: World, recipient: bytes, terms: RuleTerms) -> bytes:
    """Whose position gets a share: the recipient's, or if it is not active any more its suspense position.

    Raises RecipientNotActive.
    """
    if terms.park and world.status_of(recipient) in {ParticipantStatus.SUSPENDED, ParticipantStatus.CLOSED}:
        return suspense_id(recipient)
    _check_active(world, recipient)
    return recipient


def _check_active(world: World, recipient: bytes) -> None:
    if world.status_of(recipient) is not ParticipantStatus.ACTIVE:
        raise RecipientNotActive(recipient)


def _check_consenting(world: World, recipient: bytes, platform: bytes) -> None:
    _check_active(world, recipient)
    if not world.has_consent(recipient, platform):
        raise RecipientNotConsented(recipient, platform)
