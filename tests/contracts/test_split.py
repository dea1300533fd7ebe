"""Splits: amounts come from the rule of the order's capture, never from the caller."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fenzhang.chain.events import BatchSealed, InstructionRejected, OrderSplit
from fenzhang.domain.allocation import Allocation
from fenzhang.domain.errors import (
    BindingCount,
    InsufficientHeld,
    LegExceedsRemaining,
    MalformedInstruction,
    NotOrderPlatform,
    RecipientNotActive,
    RecipientNotConsented,
    Rejection,
    RoleAlreadyBound,
    RoleNotBound,
    UnknownOrder,
    ZeroAmount,
)
from fenzhang.domain.records import Capture, Instruction, RecordKind
from fenzhang.domain.rules import Leg, LegKind
from support.parties import (
    BOTH,
    COURIER,
    MALL,
    MERCHANT,
    NOBODY,
    PAIR,
    PROMOTER,
    SHOP,
    STRANGER,
    SUPPLIER,
    VENDOR,
    Party,
    RuleRef,
    ident,
)
from support.world import World

OPEN = (NOBODY, COURIER.id, NOBODY)
"""Bindings of MARKET that leave promoter and merchant to the split."""


def rejected(world: World, order: Capture | None, instruction: Instruction, by: Party = MALL) -> Rejection:
    """The reason of an instruction that must be rejected and change nothing."""
    orders = [] if order is None else [order.order_id]
    before = [world.held(order_id) for order_id in orders], world.totals()
    settled = world.settle(world.authorize(instruction, platform=by))
    assert ([world.held(order_id) for order_id in orders], world.totals()) == before
    [reason] = settled.reasons
    assert isinstance(reason, Rejection)
    return reason


def amounts_of(world: World, order: Capture, amount: int) -> list[int]:
    """Amounts per leaf of a split that must settle."""
    split = world.did(world.split(order.order_id, amount)).only(OrderSplit)
    return [allocation.amount for allocation in split.allocations]


def test_a_split_allocates_by_the_rule_and_moves_held_money_to_positions(world: World) -> None:
    order = world.captured(1_500)
    instruction = world.split(order.order_id, 1_000)
    split = world.did(instruction).only(OrderSplit)
    assert (split.order_id, split.split_id, split.amount) == (order.order_id, instruction.id, 1_000)
    assert split.allocations == (
        Allocation(MALL.id, 30),
        Allocation(PROMOTER.id, 100),
        Allocation(COURIER.id, 217),
        Allocation(MERCHANT.id, 653),
    )
    assert [world.position(who) for who in (MALL, PROMOTER, COURIER, MERCHANT)] == [30, 100, 217, 653]
    assert world.held(order.order_id) == 500
    assert world.totals() == (1_500, 500)


def test_an_order_is_split_in_parts_until_nothing_is_held(world: World) -> None:
    order = world.captured(101, rule=PAIR)
    assert amounts_of(world, order, 33) == [16, 17]
    assert amounts_of(world, order, 1) == [0, 1]
    assert amounts_of(world, order, 67) == [33, 34]
    assert world.held(order.order_id) == 0
    assert (world.position(PROMOTER), world.position(MERCHANT)) == (49, 52)
    assert rejected(world, order, world.split(order.order_id, 1)) == InsufficientHeld(order.order_id, 1, 0)


def test_a_floor_and_a_cap_count_in_the_pool_they_stand_in(world: World) -> None:
    order = world.captured(100_000)
    assert amounts_of(world, order, 40) == [30, 4, 5, 1], "a quarter of 6 is raised to 5"
    assert amounts_of(world, order, 10_000) == [30, 1_000, 400, 8_570], "a quarter of 8,970 is cut to 400"


def test_the_largest_order_is_split_exactly(world: World) -> None:
    largest = 2**63 - 1
    order = world.captured(largest, rule=PAIR)
    assert amounts_of(world, order, largest) == [largest // 2, largest // 2 + 1]


def test_a_capture_and_its_split_fit_one_transaction(world: World) -> None:
    order = world.capture(100, rule=PAIR)
    settled = world.settle(world.attest(order), world.authorize(world.split(order.order_id, 100)))
    assert settled.only(OrderSplit).amount == 100
    assert settled.only(BatchSealed).records == 2


def test_several_splits_of_one_order_fit_one_authorization(world: World) -> None:
    order = world.captured(100, rule=PAIR)
    settled = world.settle(world.authorize(*(world.split(order.order_id, amount) for amount in (40, 70, 60))))
    assert [split.amount for split in settled.all(OrderSplit)] == [40, 60]
    assert settled.reasons == [InsufficientHeld(order.order_id, 70, 60)]


def test_a_leaf_of_nothing_is_in_the_record_and_moves_no_position(world: World) -> None:
    order = world.captured(1, rule=PAIR)
    split = world.did(world.split(order.order_id, 1)).only(OrderSplit)
    assert split.allocations == (Allocation(PROMOTER.id, 0), Allocation(MERCHANT.id, 1))
    assert world.position(PROMOTER) == 0


def test_a_party_on_several_leaves_is_paid_for_each(world: World) -> None:
    order = world.captured(1_000, bindings=(MALL.id, MERCHANT.id, MERCHANT.id))
    assert amounts_of(world, order, 1_000) == [30, 100, 217, 653]
    assert (world.position(MALL), world.position(MERCHANT)) == (130, 870)


# ------------------------------------------------------------------------------ bindings


def test_a_split_binds_the_roles_that_the_order_left_open(world: World) -> None:
    order = world.captured(2_000, bindings=OPEN)
    first = world.split(order.order_id, 1_000, bindings=(PROMOTER.id, NOBODY, MERCHANT.id))
    second = world.split(order.order_id, 1_000, bindings=(SUPPLIER.id, COURIER.id, BOTH.id))
    settled = world.did(first, second)
    assert [[a.recipient for a in split.allocations] for split in settled.all(OrderSplit)] == [
        [MALL.id, PROMOTER.id, COURIER.id, MERCHANT.id],
        [MALL.id, SUPPLIER.id, COURIER.id, BOTH.id],
    ]


def test_a_role_that_nobody_holds_rejects_the_split(world: World) -> None:
    order = world.captured(bindings=OPEN)
    assert rejected(world, order, world.split(order.order_id, 100)) == RoleNotBound("promoter")
    half = world.split(order.order_id, 100, bindings=(PROMOTER.id, NOBODY, NOBODY))
    assert rejected(world, order, half) == RoleNotBound("merchant")


def test_a_role_that_the_order_bound_stays_with_its_party(world: World) -> None:
    order = world.captured()
    taken = world.split(order.order_id, 100, bindings=(PROMOTER.id, SUPPLIER.id, MERCHANT.id))
    assert rejected(world, order, taken) == RoleAlreadyBound("courier", COURIER.id)
    world.did(world.split(order.order_id, 100, bindings=(NOBODY, COURIER.id, NOBODY)))


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_split_binds_every_role_or_none(world: World, count: int) -> None:
    order = world.captured()
    wrong = world.split(order.order_id, 100, bindings=(NOBODY,) * count)
    assert rejected(world, order, wrong) == BindingCount(count, 3)


def test_a_split_binds_only_who_may_receive(world: World) -> None:
    order = world.captured(bindings=OPEN)
    for participant, reason in (
        (ident("nobody"), RecipientNotActive(ident("nobody"))),
        (STRANGER.id, RecipientNotConsented(STRANGER.id, MALL.id)),
        (VENDOR.id, RecipientNotConsented(VENDOR.id, MALL.id)),
    ):
        split = world.split(order.order_id, 100, bindings=(PROMOTER.id, NOBODY, participant))
        assert rejected(world, order, split) == reason
    world.register("suspend", SUPPLIER.id)
    split = world.split(order.order_id, 100, bindings=(SUPPLIER.id, NOBODY, MERCHANT.id))
    assert rejected(world, order, split) == RecipientNotActive(SUPPLIER.id)


# ------------------------------------------------------------------------------ rejections


def test_a_split_is_rejected_above_what_is_left(world: World) -> None:
    order = world.captured(1_000)
    too_much = InsufficientHeld(order.order_id, 1_001, 1_000)
    assert rejected(world, order, world.split(order.order_id, 1_001)) == too_much
    most = 2**96 - 1
    assert rejected(world, order, world.split(order.order_id, most)) == InsufficientHeld(
        order.order_id, most, 1_000
    )


def test_a_split_of_nothing_is_rejected(world: World) -> None:
    order = world.captured()
    assert rejected(world, order, world.split(order.order_id, 0)) == ZeroAmount()


@pytest.mark.parametrize(
    ("amount", "reason"),
    [
        (29, LegExceedsRemaining(0, 30, 29)),
        (32, LegExceedsRemaining(1, 3, 2)),
        (35, LegExceedsRemaining(3, 5, 2)),
    ],
    ids=["the fee", "the promoter's share", "the courier's floor"],
)
def test_a_split_is_rejected_that_is_too_small_for(world: World, amount: int, reason: Rejection) -> None:
    order = world.captured()
    assert rejected(world, order, world.split(order.order_id, amount)) == reason


def test_a_split_has_no_fields_of_other_kinds(world: World) -> None:
    order = world.captured()
    split = world.split(order.order_id, 100)
    for malformed in (
        replace(split, split_id=ident("x")),
        replace(split, amounts=(100,)),
        replace(split, amounts=(0, 0)),
    ):
        assert rejected(world, order, malformed) == MalformedInstruction(split.id)


def test_an_order_that_nobody_captured_cannot_be_split(world: World) -> None:
    split = world.split(ident("no order"), 100)
    assert rejected(world, None, split) == UnknownOrder(ident("no order"))


def test_an_order_that_arrives_behind_its_split_is_unknown_to_it(world: World) -> None:
    order = world.capture()
    world.settle(world.authorize(world.split(order.order_id, 100)))
    settled = world.settle(world.attest(order))
    assert settled.reasons == []
    assert world.held(order.order_id) == order.amount


def test_a_platform_splits_no_order_of_another(world: World) -> None:
    order = world.captured()
    split = world.split(order.order_id, 100)
    assert rejected(world, order, split, by=SHOP) == NotOrderPlatform(order.order_id, SHOP.id)


def test_a_recipient_that_was_suspended_since_rejects_the_split_even_for_a_leaf_of_nothing(
    world: World,
) -> None:
    order = world.captured(1, rule=PAIR)
    world.register("suspend", PROMOTER.id)
    assert rejected(world, order, world.split(order.order_id, 1)) == RecipientNotActive(PROMOTER.id)


def test_a_fixed_recipient_must_be_active_when_it_is_paid(world: World) -> None:
    absent = ident("not enrolled yet")
    legs = (
        Leg(-1, LegKind.FIXED, 1, recipient=absent),
        Leg(-1, LegKind.REMAINDER, recipient=STRANGER.id),
    )
    rule = world.put_in_force(RuleRef(MALL, ident("rule", "fixed"), 1, legs))
    order = world.captured(10, rule=rule)
    assert rejected(world, order, world.split(order.order_id, 10)) == RecipientNotActive(absent)
    world.register("enroll", absent, bytes(20))
    split = world.did(world.split(order.order_id, 10)).only(OrderSplit)
    assert split.allocations == (Allocation(absent, 1), Allocation(STRANGER.id, 9)), "approved with the rule"


def test_the_first_fault_is_the_reason(world: World) -> None:
    order = world.captured(34, bindings=OPEN)
    split = replace(
        world.split(order.order_id, 0),
        split_id=ident("x"),
        order_id=ident("nothing"),
        bindings=(STRANGER.id,),
    )
    corrections: list[tuple[Rejection, dict[str, object]]] = [
        (UnknownOrder(ident("nothing")), {"order_id": order.order_id}),
        (MalformedInstruction(split.id), {"split_id": NOBODY}),
        (ZeroAmount(), {"amount": 35}),
        (InsufficientHeld(order.order_id, 35, 34), {"amount": 34}),
        (BindingCount(1, 3), {"bindings": (STRANGER.id, SUPPLIER.id, NOBODY)}),
        (RecipientNotConsented(STRANGER.id, MALL.id), {"bindings": (PROMOTER.id, SUPPLIER.id, NOBODY)}),
        (RoleAlreadyBound("courier", COURIER.id), {"bindings": (PROMOTER.id, NOBODY, NOBODY)}),
        (RoleNotBound("merchant"), {"bindings": (PROMOTER.id, NOBODY, MERCHANT.id)}),
        (LegExceedsRemaining(3, 5, 1), {}),
    ]
    for reason, correction in corrections:
        assert rejected(world, order, split) == reason
        split = replace(split, **correction)  # type: ignore[arg-type] # fields by name
    world.register("suspend", MERCHANT.id)
    assert rejected(world, order, split) == RecipientNotActive(MERCHANT.id)


def test_a_rejected_split_is_recorded_and_its_neighbours_settle(world: World) -> None:
    orders = [world.captured(100, rule=PAIR) for _ in range(3)]
    splits = [
        world.split(order.order_id, amount) for order, amount in zip(orders, (100, 101, 50), strict=True)
    ]
    settled = world.settle(world.authorize(*splits))
    assert [split.split_id for split in settled.all(OrderSplit)] == [splits[0].id, splits[2].id]
    rejection = settled.only(InstructionRejected)
    assert (rejection.signer, rejection.id, rejection.order_id, rejection.kind, rejection.amount) == (
        MALL.id,
        splits[1].id,
        orders[1].order_id,
        RecordKind.SPLIT,
        101,
    )
    assert settled.only(BatchSealed).records == 3
