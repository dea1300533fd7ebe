"""The specification of cycles by itself: whatever is taken and reported, no money appears and no payout goes back."""

from __future__ import annotations

import copy
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from fenzhang.domain.clearing import IN_TRANSIT, PAID, Cycle, Outcome, OutcomeKind, Payout, PayoutState
from fenzhang.domain.cycles import (
    ClearingRefused,
    Presented,
    close_cycle,
    report,
    state_after,
    state_before,
    take,
)
from fenzhang.domain.records import ParticipantStatus
from fenzhang.domain.world import Freeze, Participant, World

BANK = b"b" * 20
CYCLE = b"c" * 32
WHO = [bytes([number]) * 32 for number in range(1, 5)]
NOW, BLOCK = 1_000, 100

worlds = st.tuples(
    st.lists(st.integers(-5, 100), min_size=4, max_size=4),
    st.lists(st.sampled_from(ParticipantStatus), min_size=4, max_size=4),
    st.sets(st.sampled_from(WHO), max_size=1),
)
sums = st.lists(st.tuples(st.sampled_from(WHO), st.integers(0, 60)), min_size=1, max_size=8)
indices = st.lists(st.integers(0, 8), max_size=6)
steps = st.lists(
    st.one_of(indices, st.lists(st.tuples(st.integers(0, 8), st.sampled_from(OutcomeKind)), max_size=6)),
    max_size=8,
)


def payout_id(payout: Payout) -> bytes:
    return sha256(repr(payout).encode()).digest()


def presented(payouts: list[Payout], index: int) -> Presented:
    """A payout of the list; behind its end, one that the cycle does not have."""
    payout = payouts[index] if index < len(payouts) else Payout(index, WHO[0], 1)
    return Presented(payout_id(payout), payout)


def make_world(
    positions: list[int],
    statuses: list[ParticipantStatus],
    frozen: set[bytes],
    payouts: list[Payout],
    total: int,
) -> World:
    world = World(clearing_banks={BANK})
    for who, amount, status in zip(WHO, positions, statuses, strict=True):
        world.positions["CNY", who] = amount
        if status is not ParticipantStatus.UNKNOWN:
            world.participants[who] = Participant(status)
    world.frozen_participants = {who: Freeze(BANK, "dispute") for who in frozen}
    cycle = Cycle(
        "CNY", "standard", 1, 9, 9, len(payouts), total, b"r" * 32, bytes(32), bytes(32), deadline=NOW
    )
    close_cycle(world, cycle, CYCLE, bank=BANK, signed=True, now=NOW, block=BLOCK)
    return world


@given(given_world=worlds, sums=sums, cut=st.integers(0, 20), steps=steps)
def test_no_money_appears_and_no_payout_goes_back(
    given_world: tuple[list[int], list[ParticipantStatus], set[bytes]],
    sums: list[tuple[bytes, int]],
    cut: int,
    steps: list[list[int] | list[tuple[int, OutcomeKind]]],
) -> None:
    payouts = [Payout(index, who, amount) for index, (who, amount) in enumerate(sums)]
    total = max(sum(amount for _, amount in sums) - cut, 1)
    world = make_world(*given_world, payouts, total)
    money, owed = sum(world.positions.values()), {who: world.positions["CNY", who] for who in WHO}
    for step in steps:
        before = copy.deepcopy(world)
        try:
            if step and isinstance(step[0], tuple):
                _report(world, payouts, step)
            else:
                take(world, CYCLE, [presented(payouts, index) for index in step if isinstance(index, int)])
        except ClearingRefused:
            assert world == before, "a refusal changes nothing"
        assert sum(world.positions.values()) == money
        assert all(world.positions["CNY", who] >= min(owed[who], 0) for who in WHO), "a payout makes no debt"
        states = {
            payout.index: world.payouts.get((CYCLE, payout.index), PayoutState.NONE) for payout in payouts
        }
        for state, position in ((PayoutState.IN_TRANSIT, IN_TRANSIT), (PayoutState.PAID, PAID)):
            there = sum(payout.amount for payout in payouts if states[payout.index] is state)
            assert world.positions["CNY", position] == there
        assert world.cycles[CYCLE].taken <= total
        for payout in payouts:
            was = before.payouts.get((CYCLE, payout.index), PayoutState.NONE)
            assert states[payout.index] >= was


def _report(world: World, payouts: list[Payout], told: list[int] | list[tuple[int, OutcomeKind]]) -> None:
    about = [(presented(payouts, each[0]), each[1]) for each in told if isinstance(each, tuple)]
    outcomes = [Outcome(payout.payout_id, kind) for payout, kind in about]
    followed = report(world, CYCLE, outcomes, [payout for payout, _ in about], bank=BANK, signed=True)
    assert len(followed) == len(outcomes)
    for each in followed:
        assert each.passed_over is (each.state is not state_before(each.outcome.kind))
        if not each.passed_over:
            assert state_after(each.outcome.kind) > each.state
