"""Conditions in the specification alone: their states, and which reason comes first for an order that waits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fenzhang.domain.conditions import Condition, ConditionState
from fenzhang.domain.errors import ConditionMissed, ConditionOpen, NothingHeld, OrderFrozen, Rejection
from fenzhang.domain.records import (
    NOTHING,
    Authorization,
    Capture,
    Instruction,
    InstructionKind,
    RecordKind,
)
from fenzhang.domain.settlement import (
    Outcome,
    check_movable,
    decide_expiry,
    settle_authorization,
)
from fenzhang.domain.world import WHOLE_ORDER, Freeze, Order, Participant, Totals, World

MALL, SHOP, ORDER, GROUP = (name.encode().ljust(32, b".") for name in ("mall", "shop", "order", "group"))
DEADLINE = 100
CAPTURE = Capture(ORDER, MALL, SHOP, bytes(32), 1, "CNY", 1_000, (), expires_at=50, condition=GROUP)
_moments = st.lists(st.tuples(st.integers(0, 20), st.sampled_from(["join", "confirm"])), max_size=12)


@pytest.fixture
def world() -> World:
    found = World(orders={ORDER: Order(CAPTURE, 400)})
    found.participants = {MALL: Participant(authority=b"a" * 20), SHOP: Participant()}
    found.conditions[MALL, GROUP] = Condition(2, DEADLINE, count=1)
    found.totals["CNY"] = Totals(1_000, 400)
    return found


@given(st.integers(0, 4), st.booleans(), st.integers(5, 15), _moments)
def test_a_condition_is_open_until_it_is_reached_or_missed_for_ever(
    needed: int,
    confirmed: bool,  # noqa: FBT001 -- drawn
    deadline: int,
    moments: list[tuple[int, str]],
) -> None:
    condition = Condition(needed, deadline, GROUP if confirmed or not needed else NOTHING)
    in_time, done = 0, condition.confirmer == NOTHING
    before = condition.state_at(0)
    for now, what in sorted(moments):
        if what == "join":
            condition.join(now)
            in_time += now <= deadline
        elif now <= deadline and not done:
            condition.confirmed = done = True
        state = condition.state_at(now)
        if before is not ConditionState.OPEN:
            assert state is before
        before = state
        assert (state is ConditionState.REACHED) == (in_time >= needed and done)
        assert state is not ConditionState.OPEN or now <= deadline
    assert condition.count == in_time


@pytest.mark.parametrize("kind", InstructionKind)
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize(
    ("count", "now"), [(1, DEADLINE), (1, DEADLINE + 1), (2, DEADLINE), (2, DEADLINE + 1)]
)
def test_what_stops_an_order_in_the_contract_s_order(
    world: World,
    kind: InstructionKind,
    frozen: bool,  # noqa: FBT001 -- a parameter
    count: int,
    now: int,
) -> None:
    world.orders[ORDER].capture = capture = Capture(
        ORDER, MALL, SHOP, bytes(32), 1, "CNY", 9, (), condition=GROUP
    )
    world.conditions[MALL, GROUP].count = count
    if frozen:
        world.frozen_orders[ORDER, WHOLE_ORDER] = Freeze(b"g" * 20, "dispute")
    waits = kind in {InstructionKind.SPLIT, InstructionKind.RELEASE}
    expected: Rejection | None = None
    if waits and count < 2 and now <= DEADLINE:
        expected = ConditionOpen(ORDER, GROUP)
    elif frozen:
        expected = OrderFrozen(ORDER)
    elif waits and count < 2:
        expected = ConditionMissed(ORDER, GROUP)
    if expected is None:
        check_movable(world, capture, kind, now)
        return
    with pytest.raises(type(expected)) as caught:
        check_movable(world, capture, kind, now)
    assert caught.value == expected


def test_an_authorization_that_waits_changes_nothing(world: World) -> None:
    release = Instruction(InstructionKind.RELEASE, b"r" * 32, ORDER)
    authorization = Authorization(
        MALL, 1, DEADLINE, (Instruction(InstructionKind.REFUND, b"f" * 32, ORDER), release)
    )
    with pytest.raises(ConditionOpen):
        settle_authorization(world, authorization, 10, signed=True)
    assert (world.nonces, world.orders[ORDER].held) == (set(), 400)


def test_what_a_missed_order_holds_is_its_buyer_s(world: World) -> None:
    with pytest.raises(ConditionOpen):
        decide_expiry(world, ORDER, DEADLINE)
    assert decide_expiry(world, ORDER, DEADLINE + 1) == Outcome(RecordKind.REFUND, 400)
    world.orders[ORDER].held = 0
    with pytest.raises(NothingHeld):
        decide_expiry(world, ORDER, DEADLINE + 1)
    world.orders[ORDER].held = 7
    world.conditions[MALL, GROUP].join(DEADLINE)
    assert decide_expiry(world, ORDER, DEADLINE + 1) == Outcome(RecordKind.RELEASE, 7), "it has expired"
