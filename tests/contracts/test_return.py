"""Returns: allocations of one split are taken back, and the money is held on the order again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fenzhang.chain.events import OrderReleased, OrderSplit, SplitReturned
from fenzhang.domain.allocation import Allocation
from fenzhang.domain.errors import (
    InsufficientPosition,
    InsufficientReturnable,
    LeafNotReturnable,
    MalformedInstruction,
    NotOrderPlatform,
    Rejection,
    ReturnNotFirst,
    UnknownOrder,
    UnknownSplit,
    ZeroAmount,
)
from fenzhang.domain.records import Capture, Instruction
from fenzhang.domain.rules import Leg, LegKind
from support.parties import (
    COURIER,
    MALL,
    MERCHANT,
    NOBODY,
    PAIR,
    PROMOTER,
    SHOP,
    SUPPLIER,
    Party,
    RuleRef,
    ident,
)
from support.positions import write_position
from support.world import World

THIRDS = RuleRef(
    MALL,
    ident("rule", "thirds"),
    1,
    (
        Leg(-1, LegKind.SHARE, 3_333, role="a"),
        Leg(-1, LegKind.SHARE, 3_333, role="b"),
        Leg(-1, LegKind.REMAINDER, role="c"),
    ),
)
RECEIVERS = (PROMOTER, COURIER, MERCHANT)


@pytest.fixture
def order(world: World) -> Capture:
    """An order over 1,000 that is split into thirds when the split says so."""
    world.put_in_force(THIRDS)
    return world.captured(1_000, rule=THIRDS, bindings=[receiver.id for receiver in RECEIVERS])


def split_of(world: World, order: Capture, amount: int) -> bytes:
    """Id of a settled split."""
    split = world.split(order.order_id, amount)
    world.did(split)
    return split.id


def taken(world: World, instruction: Instruction) -> list[int]:
    """What each leaf gives in a return that must settle."""
    returned = world.did(instruction).only(SplitReturned)
    return [allocation.amount for allocation in returned.allocations]


def rejected(world: World, instruction: Instruction, by: Party = MALL) -> Rejection:
    before = world.totals(), [world.position(receiver) for receiver in RECEIVERS]
    settled = world.settle(world.authorize(instruction, platform=by))
    assert (world.totals(), [world.position(receiver) for receiver in RECEIVERS]) == before
    [reason] = settled.reasons
    assert isinstance(reason, Rejection)
    return reason


def test_a_return_takes_from_positions_and_is_held_again(world: World, order: Capture) -> None:
    split = split_of(world, order, 900)
    instruction = world.give_back(order.order_id, split, 300)
    returned = world.did(instruction).only(SplitReturned)
    assert (returned.order_id, returned.return_id, returned.split_id, returned.amount) == (
        order.order_id,
        instruction.id,
        split,
        300,
    )
    assert returned.allocations == (
        Allocation(PROMOTER.id, 99),
        Allocation(COURIER.id, 100),
        Allocation(MERCHANT.id, 101),
    )
    assert [world.position(receiver) for receiver in RECEIVERS] == [200, 199, 201]
    assert world.held(order.order_id) == 400
    assert world.totals() == (1_000, 400)


def test_a_return_is_spread_by_cumulative_floor_over_what_is_still_returnable(
    world: World, order: Capture
) -> None:
    split = split_of(world, order, 10)
    takes = [taken(world, world.give_back(order.order_id, split, amount)) for amount in (1, 1, 5, 3)]
    assert takes == [[0, 0, 1], [0, 0, 1], [1, 2, 2], [2, 1, 0]]
    assert [sum(column) for column in zip(*takes, strict=True)] == [3, 3, 4]
    assert [world.position(receiver) for receiver in RECEIVERS] == [0, 0, 0]


def test_single_units_come_back_one_by_one_until_nothing_is_left(world: World, order: Capture) -> None:
    split = split_of(world, order, 20)
    takes = [taken(world, world.give_back(order.order_id, split, 1)) for _ in range(20)]
    assert [sum(column) for column in zip(*takes, strict=True)] == [6, 6, 8]
    over = world.give_back(order.order_id, split, 1)
    assert rejected(world, over) == InsufficientReturnable(split, 1, 0)


def test_a_return_may_name_the_amount_per_leaf(world: World, order: Capture) -> None:
    split = split_of(world, order, 900)
    assert taken(world, world.give_back(order.order_id, split, 310, (10, 0, 300))) == [10, 0, 300]
    assert [world.position(receiver) for receiver in RECEIVERS] == [289, 299, 2]


def test_returns_by_leaf_and_by_proportion_follow_each_other(world: World, order: Capture) -> None:
    split = split_of(world, order, 900)
    taken(world, world.give_back(order.order_id, split, 299, (299, 0, 0)))
    assert taken(world, world.give_back(order.order_id, split, 300)) == [0, 149, 151]
    assert taken(world, world.give_back(order.order_id, split, 301)) == [0, 150, 151]


def test_returned_money_is_split_again_and_released(world: World, order: Capture) -> None:
    first = split_of(world, order, 1_000)
    again, release = world.split(order.order_id, 90), world.release(order.order_id)
    settled = world.did(world.give_back(order.order_id, first, 100), again, release)
    assert settled.only(OrderSplit).amount == 90
    assert settled.only(OrderReleased).amount == 10
    assert taken(world, world.give_back(order.order_id, again.id, 90)) == [29, 29, 32]
    assert taken(world, world.give_back(order.order_id, first, 900)) == [300, 300, 300]
    assert world.held(order.order_id) == 990


def test_each_split_is_returned_from_by_itself(world: World, order: Capture) -> None:
    first, second = split_of(world, order, 300), split_of(world, order, 600)
    assert rejected(world, world.give_back(order.order_id, first, 301)) == InsufficientReturnable(
        first, 301, 300
    )
    taken(world, world.give_back(order.order_id, second, 600))
    assert taken(world, world.give_back(order.order_id, first, 300)) == [99, 99, 102]


def test_a_party_on_several_leaves_gives_back_for_each(world: World) -> None:
    both_leaves = world.captured(1_000, rule=PAIR, bindings=(MERCHANT.id, MERCHANT.id))
    split = split_of(world, both_leaves, 1_000)
    assert taken(world, world.give_back(both_leaves.order_id, split, 1_000)) == [500, 500]
    assert world.position(MERCHANT) == 0


def test_splits_that_share_an_id_are_returned_from_the_first_and_never_beyond_it(
    world: World, order: Capture
) -> None:
    first = world.split(order.order_id, 300)
    world.did(first)
    world.did(replace(first, amount=600))
    taken(world, world.give_back(order.order_id, first.id, 200))
    over = world.give_back(order.order_id, first.id, 101)
    assert rejected(world, over) == InsufficientReturnable(first.id, 101, 100)
    assert taken(world, world.give_back(order.order_id, first.id, 100)) == [33, 33, 34]


def test_what_a_suspended_or_no_longer_consenting_party_got_can_be_taken_back(
    world: World, order: Capture
) -> None:
    split = split_of(world, order, 900)
    world.register("suspend", PROMOTER.id)
    world.register("close", COURIER.id)
    world.consent(MERCHANT, MALL, granted=False)
    assert taken(world, world.give_back(order.order_id, split, 900)) == [299, 299, 302]


# ------------------------------------------------------------------------------ rejections


def test_a_return_above_what_is_left_of_the_split_is_rejected(world: World, order: Capture) -> None:
    split = split_of(world, order, 900)
    taken(world, world.give_back(order.order_id, split, 400))
    over = world.give_back(order.order_id, split, 501)
    assert rejected(world, over) == InsufficientReturnable(split, 501, 500)


def test_a_leaf_gives_no_more_than_it_has_left(world: World, order: Capture) -> None:
    split = split_of(world, order, 900)
    taken(world, world.give_back(order.order_id, split, 200, (0, 200, 0)))
    over = world.give_back(order.order_id, split, 200, (100, 100, 0))
    assert rejected(world, over) == LeafNotReturnable(split, 1, 100, 99)
    beyond = world.give_back(order.order_id, split, 901, (300, 300, 301))
    assert rejected(world, beyond) == LeafNotReturnable(split, 0, 300, 299)


def test_a_return_of_nothing_is_rejected(world: World, order: Capture) -> None:
    split = split_of(world, order, 900)
    assert rejected(world, world.give_back(order.order_id, split, 0)) == ZeroAmount()
    assert rejected(world, world.give_back(order.order_id, split, 0, (0, 0, 0))) == ZeroAmount()


def test_amounts_per_leaf_stand_for_all_leaves_and_sum_to_the_amount(world: World, order: Capture) -> None:
    split = split_of(world, order, 900)
    most = 2**96 - 1
    for amount, amounts in (
        (100, (50, 50)),
        (100, (25, 25, 25, 25)),
        (100, (50, 49, 0)),
        (100, (50, 51, 0)),
        (most, (most, most, most)),
    ):
        instruction = world.give_back(order.order_id, split, amount, amounts)
        assert rejected(world, instruction) == MalformedInstruction(instruction.id)


def test_a_return_binds_nobody(world: World, order: Capture) -> None:
    split = split_of(world, order, 900)
    instruction = replace(world.give_back(order.order_id, split, 1), bindings=(NOBODY,) * 3)
    assert rejected(world, instruction) == MalformedInstruction(instruction.id)


def test_a_split_that_the_order_does_not_have_cannot_be_returned_from(world: World, order: Capture) -> None:
    other = world.captured(100, rule=PAIR)
    foreign, own = split_of(world, other, 100), split_of(world, order, 900)
    release = world.release(order.order_id)
    world.did(release)
    rejected_split = world.split(order.order_id, 1)
    assert world.settle(world.authorize(rejected_split)).reasons
    for split_id in (foreign, ident("none"), NOBODY, release.id, rejected_split.id):
        instruction = world.give_back(order.order_id, split_id, 1)
        assert rejected(world, instruction) == UnknownSplit(order.order_id, split_id)
    assert taken(world, world.give_back(order.order_id, own, 900)) == [299, 299, 302]


def test_an_order_without_splits_has_nothing_to_return(world: World, order: Capture) -> None:
    instruction = world.give_back(order.order_id, ident("none"), 1)
    assert rejected(world, instruction) == UnknownSplit(order.order_id, ident("none"))


def test_a_return_from_an_order_that_nobody_captured_is_rejected(world: World) -> None:
    instruction = world.give_back(ident("no order"), ident("none"), 1)
    assert rejected(world, instruction) == UnknownOrder(ident("no order"))


def test_a_platform_returns_from_no_order_of_another(world: World, order: Capture) -> None:
    split = split_of(world, order, 900)
    by_shop = rejected(world, world.give_back(order.order_id, split, 1), by=SHOP)
    assert by_shop == NotOrderPlatform(order.order_id, SHOP.id)


def test_a_return_behind_a_settled_instruction_of_its_order_is_rejected_and_the_rest_settles(
    world: World, order: Capture
) -> None:
    split = split_of(world, order, 600)
    for before in (
        world.split(order.order_id, 100),
        world.give_back(order.order_id, split, 1),
        world.release(order.order_id),
    ):
        behind, after = world.give_back(order.order_id, split, 1), world.split(order.order_id, 0)
        settled = world.settle(world.authorize(before, behind, after))
        assert settled.reasons == [ReturnNotFirst(order.order_id), ZeroAmount()]


def test_a_return_may_stand_behind_a_rejected_instruction_and_behind_other_orders(
    world: World, order: Capture
) -> None:
    split, other = split_of(world, order, 900), world.captured(100, rule=PAIR)
    settled = world.settle(
        world.authorize(
            world.split(order.order_id, 101),
            world.split(other.order_id, 100),
            world.give_back(order.order_id, split, 5),
        )
    )
    assert settled.only(SplitReturned).amount == 5
    assert len(settled.reasons) == 1


def test_a_split_cannot_be_returned_from_in_its_own_authorization(world: World, order: Capture) -> None:
    split = world.split(order.order_id, 100)
    settled = world.settle(world.authorize(split, world.give_back(order.order_id, split.id, 100)))
    assert settled.only(OrderSplit).split_id == split.id
    assert settled.reasons == [ReturnNotFirst(order.order_id)]


def test_the_first_fault_is_the_reason(world: World, order: Capture) -> None:
    split = split_of(world, order, 900)
    instruction = replace(world.give_back(order.order_id, ident("none"), 0, (1, 1)), bindings=(SUPPLIER.id,))
    corrections: list[tuple[Rejection, dict[str, object]]] = [
        (MalformedInstruction(instruction.id), {"bindings": ()}),
        (UnknownSplit(order.order_id, ident("none")), {"split_id": split}),
        (ZeroAmount(), {"amount": 901}),
        (MalformedInstruction(instruction.id), {"amounts": (300, 300, 301)}),
        (LeafNotReturnable(split, 0, 300, 299), {"amounts": ()}),
        (InsufficientReturnable(split, 901, 900), {"amount": 900}),
    ]
    for reason, correction in corrections:
        assert rejected(world, instruction) == reason
        instruction = replace(instruction, **correction)  # type: ignore[arg-type] # fields by name
    assert taken(world, instruction) == [299, 299, 302]


@pytest.mark.parametrize("large", [2**96, 2**256 - 1, 2**255], ids=["2^96", "all bits", "2^255"])
def test_an_amount_per_leaf_that_is_no_amount_is_malformed_and_blocks_nobody(
    world: World, order: Capture, large: int
) -> None:
    split = split_of(world, order, 900)
    neighbour = world.split(order.order_id, 100)
    for amounts in ((0, 300, large), (large, large, 300), (large, (300 - large) % 2**256, 0)):
        bad = world.give_back(order.order_id, split, 300, amounts)
        settled = world.settle(world.authorize(bad), world.authorize(neighbour))
        assert settled.reasons[0] == MalformedInstruction(bad.id)
    assert world.position(MERCHANT) > 300, "the neighbour settled"


# ------------------------------------------------------------------------------ positions


def test_a_position_never_goes_below_zero(world: World, order: Capture) -> None:
    split = split_of(world, order, 900)
    write_position(world, COURIER, 99)
    assert world.position(COURIER) == 99
    instruction = world.give_back(order.order_id, split, 300)
    assert rejected(world, instruction) == InsufficientPosition(COURIER.id, 100, 99)


def test_a_party_on_several_leaves_must_have_what_all_of_them_give(world: World) -> None:
    both_leaves = world.captured(1_000, rule=PAIR, bindings=(MERCHANT.id, MERCHANT.id))
    split = split_of(world, both_leaves, 1_000)
    write_position(world, MERCHANT, 999)
    instruction = world.give_back(both_leaves.order_id, split, 1_000)
    assert rejected(world, instruction) == InsufficientPosition(MERCHANT.id, 1_000, 999)
    assert taken(world, world.give_back(both_leaves.order_id, split, 999)) == [499, 500]
