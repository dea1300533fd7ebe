"""How cycles close, payouts are taken and their outcomes follow: the readable specification of ClearingHouse.

What needs hashing or keys is answered before it comes here: ids, whether a payout is under its cycle's root, whether a
signature is the bank's. A refusal changes nothing. Amounts are minor units.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from fenzhang.domain.clearing import (
    IN_TRANSIT,
    PAID,
    Cycle,
    CycleState,
    LastCycle,
    Outcome,
    OutcomeKind,
    Payout,
    PayoutState,
)
from fenzhang.domain.errors import (
    FenzhangError,
    InsufficientPosition,
    ParticipantFrozen,
    RecipientNotActive,
    Rejection,
)
from fenzhang.domain.records import ParticipantStatus
from fenzhang.domain.world import World

NO_ROOT = bytes(32)
"""Root of a cycle that pays nothing."""


class ClearingRefused(FenzhangError):
    """ClearingHouse refuses a whole transaction. `error` is its custom error's name, `values` are the error's."""

    code = "clearing_refused"

    def __init__(self, error: str, **values: object) -> None:
        super().__init__(f"{error} {values}", **values)
        self.error = error


@dataclass(frozen=True, slots=True)
class Presented:
    """A payout as a relayer gives it: with its id, and whether its path leads to its cycle's root."""

    payout_id: bytes
    payout: Payout
    proven: bool = True


@dataclass(frozen=True, slots=True)
class Taken:
    """A payout was taken, or refused for a reason."""

    presented: Presented
    refusal: Rejection | None = None


@dataclass(frozen=True, slots=True)
class Followed:
    """An outcome of a payout that was in `state`; `passed_over` when it does not follow from that."""

    outcome: Outcome
    payout: Payout
    state: PayoutState

    @property
    def passed_over(self) -> bool:
        """Whether the outcome changes nothing."""
        return self.state is not state_before(self.outcome.kind)


def check_cycle(world: World, cycle: Cycle, now: int, block: int) -> None:
    """Raise ClearingRefused unless a cycle may be closed at `now` (Unix seconds), in block number `block`."""
    if now > cycle.deadline:
        raise ClearingRefused("DeadlinePassed", deadline=cycle.deadline, timestamp=now)
    last = world.last_cycles.get((cycle.currency, cycle.scheme), LastCycle())
    if cycle.number != last.number + 1:
        raise ClearingRefused("WrongNumber", number=cycle.number, expected=last.number + 1)
    if cycle.to_block <= last.to_block:
        raise ClearingRefused("BlockNotAbove", to_block=cycle.to_block, previous=last.to_block)
    if cycle.at_block < cycle.to_block:
        raise ClearingRefused("BlockBefore", at_block=cycle.at_block, to_block=cycle.to_block)
    if cycle.at_block >= block:
        raise ClearingRefused("BlockNotPast", at_block=cycle.at_block, block_number=block)
    if len({cycle.payouts == 0, cycle.total == 0, cycle.payout_root == NO_ROOT}) != 1:
        values = {"payouts": cycle.payouts, "total": cycle.total, "payout_root": cycle.payout_root}
        raise ClearingRefused("InconsistentPayouts", **values)


def close_cycle(
    world: World, cycle: Cycle, cycle_id: bytes, *, bank: bytes, signed: bool, now: int, block: int
) -> None:
    """Close a cycle by the signature of `bank`. Raises ClearingRefused as `check_bank` and `check_cycle`."""
    check_bank(world, bank, signed=signed)
    check_cycle(world, cycle, now, block)
    apply_cycle(world, cycle, cycle_id)


def apply_cycle(world: World, cycle: Cycle, cycle_id: bytes) -> None:
    """Take up a cycle that was closed."""
    world.last_cycles[cycle.currency, cycle.scheme] = LastCycle(cycle.number, cycle.to_block)
    world.cycles[cycle_id] = CycleState(
        cycle.payout_root, cycle.total, 0, cycle.currency, cycle.number, cycle.payouts
    )


def check_bank(world: World, bank: bytes, *, signed: bool) -> None:
    """Raise ClearingRefused unless `bank` (20 bytes) is a clearing bank and the signature is its own."""
    if bank not in world.clearing_banks:
        raise ClearingRefused("NotClearingBank", bank=bank)
    if not signed:
        raise ClearingRefused("InvalidSignature", bank=bank)


def refusal_of(world: World, currency: str, payout: Payout, moved: int = 0) -> Rejection | None:
    """Why a payout cannot be taken, None if it can. `moved` was taken from the position before, and not yet booked."""
    participant = payout.participant
    if participant in world.frozen_participants:
        return ParticipantFrozen(participant)
    if world.status_of(participant) not in {ParticipantStatus.ACTIVE, ParticipantStatus.CLOSED}:
        return RecipientNotActive(participant)
    position = world.positions.get((currency, participant), 0) - moved
    if position < payout.amount:
        return InsufficientPosition(participant, payout.amount, position)
    return None


def take(world: World, cycle_id: bytes, payouts: Sequence[Presented]) -> list[Taken]:
    """Take payouts of a cycle: as `decide_take`, and the money moves."""
    decided = decide_take(world, cycle_id, payouts)
    for each in decided:
        apply_taken(world, cycle_id, each.presented.payout, refused=each.refusal is not None)
    return decided


def decide_take(world: World, cycle_id: bytes, payouts: Sequence[Presented]) -> list[Taken]:
    """What becomes of payouts of a cycle, in order; those that were taken or refused before are left out.

    Raises ClearingRefused.
    """
    cycle = _known(world, cycle_id)
    moved: Counter[bytes] = Counter()
    told: dict[int, Taken] = {}
    taken = cycle.taken
    for presented in payouts:
        payout = presented.payout
        if _state(world, cycle, cycle_id, payout.index) is not PayoutState.NONE or payout.index in told:
            continue
        _check_proof(presented)
        refusal = refusal_of(world, cycle.currency, payout, moved[payout.participant])
        told[payout.index] = Taken(presented, refusal)
        if refusal is None:
            moved[payout.participant] += payout.amount
            taken += payout.amount
            if taken > cycle.total:
                raise ClearingRefused("AboveTotal", cycle_id=cycle_id, taken=taken, total=cycle.total)
    return list(told.values())


def apply_taken(world: World, cycle_id: bytes, payout: Payout, *, refused: bool) -> None:
    """Take up one payout that was taken or refused."""
    cycle = world.cycles[cycle_id]
    world.payouts[cycle_id, payout.index] = PayoutState.ENDED if refused else PayoutState.IN_TRANSIT
    if not refused:
        cycle.taken += payout.amount
        _move(world, cycle.currency, payout.participant, IN_TRANSIT, payout.amount)


def report(
    world: World,
    cycle_id: bytes,
    outcomes: Sequence[Outcome],
    payouts: Sequence[Presented],
    *,
    bank: bytes,
    signed: bool,
) -> list[Followed]:
    """Follow outcomes: as `decide_report`, and the money moves."""
    decided = decide_report(world, cycle_id, outcomes, payouts, bank=bank, signed=signed)
    for each in decided:
        if not each.passed_over:
            apply_outcome(world, cycle_id, each.payout, each.outcome.kind)
    return decided


def decide_report(
    world: World,
    cycle_id: bytes,
    outcomes: Sequence[Outcome],
    payouts: Sequence[Presented],
    *,
    bank: bytes,
    signed: bool,
) -> list[Followed]:
    """What follows on outcomes by the signature of `bank`, in order; `payouts` are those that they are about.

    Raises ClearingRefused.
    """
    cycle = _known(world, cycle_id)
    check_bank(world, bank, signed=signed)
    states: dict[int, PayoutState] = {}
    told = []
    for outcome, presented in zip(outcomes, payouts, strict=True):
        index = presented.payout.index
        state = states.get(index, _state(world, cycle, cycle_id, index))
        _check_proof(presented)
        if presented.payout_id != outcome.payout_id:
            raise ClearingRefused("OtherPayout", payout_id=outcome.payout_id, given=presented.payout_id)
        followed = Followed(outcome, presented.payout, state)
        if not followed.passed_over:
            states[index] = state_after(outcome.kind)
        told.append(followed)
    return told


def state_before(kind: OutcomeKind) -> PayoutState:
    """The state that an outcome of this kind follows on."""
    return PayoutState.PAID if kind is OutcomeKind.RETURNED else PayoutState.IN_TRANSIT


def state_after(kind: OutcomeKind) -> PayoutState:
    """State of a payout that an outcome of this kind has followed."""
    return PayoutState.PAID if kind is OutcomeKind.PAID else PayoutState.ENDED


def apply_outcome(world: World, cycle_id: bytes, payout: Payout, kind: OutcomeKind) -> None:
    """Take up one outcome."""
    currency = world.cycles[cycle_id].currency
    world.payouts[cycle_id, payout.index] = state_after(kind)
    source = PAID if kind is OutcomeKind.RETURNED else IN_TRANSIT
    target = PAID if kind is OutcomeKind.PAID else payout.participant
    _move(world, currency, source, target, payout.amount)


def _known(world: World, cycle_id: bytes) -> CycleState:
    cycle = world.cycles.get(cycle_id)
    if cycle is None:
        raise ClearingRefused("UnknownCycle", cycle_id=cycle_id)
    return cycle


def _state(world: World, cycle: CycleState, cycle_id: bytes, index: int) -> PayoutState:
    if index >= cycle.payouts:
        raise ClearingRefused("IndexOutOfRange", index=index, payouts=cycle.payouts)
    return world.payouts.get((cycle_id, index), PayoutState.NONE)


def _check_proof(presented: Presented) -> None:
    if not presented.proven:
        raise ClearingRefused("InvalidProof", payout_id=presented.payout_id)


def _move(world: World, currency: str, source: bytes, target: bytes, amount: int) -> None:
    world.positions[currency, source] -= amount
    world.positions[currency, target] += amount
