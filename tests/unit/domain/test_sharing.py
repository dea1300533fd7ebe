"""Caps on what leaves an order's merchant: over any history the cap holds, and the kept sum is the true one."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fenzhang.domain.allocation import Allocation
from fenzhang.domain.errors import Rejection, ShareOutAboveCap
from fenzhang.domain.records import Capture, Instruction, InstructionKind, ParticipantStatus, RecordKind
from fenzhang.domain.rules import Leg, LegKind, RuleTerms, smaller_cap
from fenzhang.domain.settlement import apply_capture, apply_instruction, decide_instruction
from fenzhang.domain.sharing import most_share_out, shared_out, to_others
from fenzhang.domain.world import Participant, Rule, Version, World

MALL, PROMOTER, MERCHANT, RULE, ORDER = (bytes([n]) * 32 for n in range(1, 6))
LEGS = (
    Leg(-1, LegKind.SHARE, 3_333, role="promoter"),
    Leg(-1, LegKind.SHARE, 1_000, recipient=MERCHANT),
    Leg(-1, LegKind.REMAINDER, role="merchant"),
)


def _world(amount: int, of_rule: int, of_platform: int) -> World:
    """One captured order by a rule, of which a third of each split leaves the merchant."""
    world = World(
        participants={who: Participant(ParticipantStatus.ACTIVE) for who in (MALL, PROMOTER, MERCHANT)},
        consents={(who, MALL) for who in (PROMOTER, MERCHANT)},
        rules={(MALL, RULE): Rule({1: Version(LEGS, 0, approved=True, terms=RuleTerms(of_rule))})},
        currencies={"CNY"},
    )
    world.participants[MALL].max_share_out = of_platform
    apply_capture(world, Capture(ORDER, MALL, MERCHANT, RULE, 1, "CNY", amount, (PROMOTER, MERCHANT)), 0)
    return world


_steps = st.lists(
    st.tuples(st.sampled_from(["split", "split", "split", "return", "release"]), st.integers(1, 5_000)),
    max_size=12,
)
_caps = st.one_of(st.just(0), st.integers(1, 10_000))


@given(st.integers(1, 10_000), _caps, _caps, _steps)
def test_no_history_lets_more_leave_than_the_cap(
    amount: int, of_rule: int, of_platform: int, steps: list[tuple[str, int]]
) -> None:
    world = _world(amount, of_rule, of_platform)
    order = world.orders[ORDER]
    cap = smaller_cap(of_rule, of_platform)
    for number, (what, size) in enumerate(steps):
        splits = [record.id for record in order.past if record.kind is RecordKind.SPLIT]
        name = bytes([100 + number]) * 32
        match what:
            case "split":
                instruction = Instruction(InstructionKind.SPLIT, name, ORDER, amount=size)
            case "return" if splits:
                split_id = splits[size % len(splits)]
                instruction = Instruction(InstructionKind.RETURN, name, ORDER, split_id, size)
            case _:
                instruction = Instruction(InstructionKind.RELEASE, name, ORDER)
        with suppress(Rejection):
            outcome = decide_instruction(world, MALL, instruction, 0, first=True)
            apply_instruction(world, instruction, outcome)
        out = shared_out(order.past, MERCHANT)
        assert out >= 0
        if not cap:
            assert ORDER not in world.shared_out
        else:
            assert out <= most_share_out(amount, cap)
            assert world.shared_out[ORDER] == out or not order.held


@pytest.mark.parametrize(
    ("caps", "smallest"), [((), 0), ((0, 0), 0), ((5, 0), 5), ((0, 7), 7), ((5, 7), 5), ((10_000, 1), 1)]
)
def test_the_smaller_cap_counts_and_none_is_none(caps: tuple[int, ...], smallest: int) -> None:
    assert smaller_cap(*caps) == smallest


def test_a_split_above_the_cap_says_how_much_leaves_and_may() -> None:
    world = _world(1_000, 2_000, 0)
    instruction = Instruction(InstructionKind.SPLIT, ORDER, ORDER, amount=1_000)
    with pytest.raises(ShareOutAboveCap) as refused:
        decide_instruction(world, MALL, instruction, 0, first=True)
    assert refused.value.values == {"order_id": ORDER, "leaving": 333, "left": 200}


def test_a_recipient_on_several_leaves_counts_on_each() -> None:
    leaves = [Allocation(PROMOTER, 1), Allocation(MERCHANT, 2), Allocation(PROMOTER, 4), Allocation(MALL, 8)]
    assert to_others(leaves, MERCHANT) == 13
