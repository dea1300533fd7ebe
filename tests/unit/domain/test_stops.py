"""Holds, expiry and freezes in the specification alone: which reason comes first, at which second, and for whom."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fenzhang.domain.allocation import Allocation
from fenzhang.domain.errors import (
    NothingHeld,
    OnHold,
    OrderExpired,
    OrderFrozen,
    OrderNotExpired,
    ParticipantFrozen,
    RecipientNotActive,
    Rejection,
    SplitFrozen,
    UnknownOrder,
)
from fenzhang.domain.records import (
    Authorization,
    Capture,
    InstructionKind,
    ParticipantStatus,
    PastRecord,
    RecordKind,
)
from fenzhang.domain.settlement import (
    NOBODY,
    Outcome,
    apply_instruction,
    check_authorization,
    check_movable,
    check_not_frozen,
    decide_expiry,
    expiry_of,
)
from fenzhang.domain.world import WHOLE_ORDER, Freeze, Order, Participant, Totals, World

MALL, SHOP, ORDER, SPLIT = (name.encode().ljust(32, b".") for name in ("mall", "shop", "order", "split"))
HOLD, EXPIRY = 100, 200
CAPTURE = Capture(ORDER, MALL, SHOP, bytes(32), 1, "CNY", 1_000, (), HOLD, EXPIRY)
FREEZE = Freeze(b"g" * 20, "dispute")


@pytest.fixture
def world() -> World:
    found = World(orders={ORDER: Order(CAPTURE, 400)})
    found.participants = {MALL: Participant(authority=b"a" * 20), SHOP: Participant()}
    found.totals["CNY"] = Totals(1_000, 400)
    return found


@pytest.mark.parametrize("kind", InstructionKind)
@pytest.mark.parametrize("now", [0, HOLD - 1, HOLD, EXPIRY - 1, EXPIRY, EXPIRY + 1])
def test_the_seconds_that_count(world: World, kind: InstructionKind, now: int) -> None:
    expected: Rejection | None = None
    if now < HOLD and kind is not InstructionKind.REFUND:
        expected = OnHold(ORDER, HOLD)
    elif now >= EXPIRY and kind is InstructionKind.SPLIT:
        expected = OrderExpired(ORDER, EXPIRY)
    if expected is None:
        check_movable(world, CAPTURE, kind, now)
        return
    with pytest.raises(type(expected)) as caught:
        check_movable(world, CAPTURE, kind, now)
    assert caught.value == expected


@pytest.mark.parametrize("now", [0, HOLD, EXPIRY])
def test_a_freeze_is_told_before_any_time(world: World, now: int) -> None:
    world.frozen_orders[ORDER, WHOLE_ORDER] = FREEZE
    with pytest.raises(OrderFrozen):
        check_movable(world, CAPTURE, InstructionKind.SPLIT, now)
    del world.frozen_orders[ORDER, WHOLE_ORDER]
    world.frozen_orders[ORDER, SPLIT] = FREEZE
    check_movable(world, CAPTURE, InstructionKind.RETURN, EXPIRY)


def test_an_expiry_gives_the_merchant_all_that_is_held(world: World) -> None:
    outcome = decide_expiry(world, ORDER, EXPIRY)
    assert outcome == Outcome(RecordKind.RELEASE, 400)
    apply_instruction(world, expiry_of(ORDER, outcome), outcome)
    assert world.positions["CNY", SHOP] == 400
    assert (world.orders[ORDER].held, world.totals["CNY"].held) == (0, 0)
    assert world.orders[ORDER].past[-1].id == ORDER
    with pytest.raises(NothingHeld):
        decide_expiry(world, ORDER, EXPIRY)


def test_why_an_order_does_not_expire_in_the_contract_s_order(world: World) -> None:
    """Each reason hides those behind it."""
    world.participants[SHOP].status = ParticipantStatus.CLOSED
    world.orders[ORDER].held = 0
    world.frozen_orders[ORDER, WHOLE_ORDER] = FREEZE
    found: list[Rejection] = []
    steps: tuple[tuple[int, Callable[[], None]], ...] = (
        (EXPIRY - 1, world.frozen_orders.clear),
        (EXPIRY - 1, lambda: None),
        (EXPIRY, lambda: setattr(world.orders[ORDER], "held", 5)),
        (EXPIRY, lambda: setattr(world.participants[SHOP], "status", ParticipantStatus.ACTIVE)),
    )
    for now, mend in steps:
        with pytest.raises(Rejection) as caught:
            decide_expiry(world, ORDER, now)
        found.append(caught.value)
        mend()
    assert found == [
        OrderFrozen(ORDER),
        OrderNotExpired(ORDER, EXPIRY),
        NothingHeld(ORDER),
        RecipientNotActive(SHOP),
    ]
    assert decide_expiry(world, ORDER, EXPIRY).amount == 5
    with pytest.raises(UnknownOrder):
        decide_expiry(world, SPLIT, EXPIRY)


def test_who_may_not_be_debited(world: World) -> None:
    takes = [Allocation(MALL, 0), Allocation(SHOP, 1)]
    order = world.orders[ORDER]
    order.past.append(PastRecord(RecordKind.SPLIT, SPLIT, 1, allocations=tuple(takes)))
    check_not_frozen(world, order, SPLIT, takes)
    world.frozen_participants[MALL] = FREEZE
    check_not_frozen(world, order, SPLIT, takes)  # nothing is taken from it
    world.frozen_participants[SHOP] = FREEZE
    with pytest.raises(ParticipantFrozen):
        check_not_frozen(world, order, SPLIT, takes)
    world.frozen_orders[ORDER, SPLIT] = FREEZE
    for named in (SPLIT, NOBODY):
        with pytest.raises(SplitFrozen):
            check_not_frozen(world, order, named, takes)
    with pytest.raises(ParticipantFrozen):
        check_not_frozen(world, order, b"another split".ljust(32, b"."), takes)
    check_not_frozen(world, order, NOBODY, takes[:1])  # a refund of held money takes nothing from anybody


def test_a_frozen_platform_is_refused_before_its_signature_is_looked_at(world: World) -> None:
    world.frozen_participants[MALL] = FREEZE
    with pytest.raises(ParticipantFrozen):
        check_authorization(world, Authorization(MALL, 1, 10, ()), 0, signed=False)
