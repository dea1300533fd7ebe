"""Caps on what splits give to others than an order's merchant: per rule version, per platform, over an order's life."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fenzhang.chain.events import MaxShareOutChanged, OrderSplit
from fenzhang.chain.signer import LocalKey
from fenzhang.domain.errors import Rejection, ShareOutAboveCap
from fenzhang.domain.records import Capture, Instruction
from fenzhang.domain.rules import RuleTerms
from support.parties import MALL, MERCHANT, PAIR, PROMOTER, STRANGER, RuleRef, ident
from support.system import ADMIN, APPROVER, GUARDIAN, OUTSIDER, REGISTRAR
from support.twin import NOWHERE
from support.world import World, reason_of

BOUND = (PROMOTER.id, MERCHANT.id)
CAPPED = RuleRef(MALL, ident("rule", "capped"), 1, PAIR.legs, RuleTerms(max_share_out=3_000))
"""Half of every split to the promoter, and at most three tenths of the order."""


@pytest.fixture
def rule(world: World) -> RuleRef:
    """A rule with a cap, in force."""
    return world.put_in_force(CAPPED)


def cap_platform(world: World, cap: int) -> None:
    world.act(GUARDIAN, "ParticipantRegistry", "setMaxShareOut", MALL.id, cap)


def captured(world: World, amount: int, rule: RuleRef = CAPPED) -> Capture:
    return world.captured(amount, rule=rule, bindings=BOUND)


def shared_out(world: World, order: Capture) -> int:
    [amount] = world.system.call("LedgerView", "sharedOut", [order.order_id])
    return int(amount)


def settles(world: World, *instructions: Instruction) -> None:
    assert world.settle(world.authorize(*instructions)).reasons == []


def above(world: World, order: Capture, amount: int) -> tuple[object, object]:
    """What leaves and what may leave, of a split that is above the cap."""
    settled = world.settle(world.authorize(world.split(order.order_id, amount)))
    [reason] = settled.reasons
    assert isinstance(reason, Rejection)
    assert isinstance(reason, ShareOutAboveCap), reason
    assert reason.values["order_id"] == order.order_id
    return reason.values["leaving"], reason.values["left"]


@pytest.mark.usefixtures("rule")
def test_the_cap_holds_over_all_splits_of_an_order(world: World) -> None:
    order = captured(world, 1_001)  # at most 300 to others
    settles(world, world.split(order.order_id, 400))
    assert shared_out(world, order) == 200
    assert above(world, order, 202) == (101, 100)
    settles(world, world.split(order.order_id, 200))
    assert shared_out(world, order) == 300
    assert above(world, order, 2) == (1, 0)
    settles(world, world.split(order.order_id, 1))  # the odd unit is the merchant's


@pytest.mark.usefixtures("rule")
@pytest.mark.parametrize(("amount", "most"), [(1, 0), (3, 0), (4, 1), (9_999, 2_999), (10_000, 3_000)])
def test_what_may_leave_is_rounded_down(world: World, amount: int, most: int) -> None:
    order = captured(world, amount)
    if amount >= 2 * (most + 1):
        assert above(world, order, 2 * (most + 1)) == (most + 1, most)
    if most:
        settles(world, world.split(order.order_id, 2 * most))


def test_splits_of_one_transaction_count_together(world: World, rule: RuleRef) -> None:
    order = world.capture(1_000, rule=rule, bindings=BOUND)
    splits = [world.split(order.order_id, 300) for _ in range(3)]
    settled = world.settle(world.attest(order), world.authorize(*splits))
    assert len(settled.all(OrderSplit)) == 2
    [reason] = settled.reasons
    assert isinstance(reason, ShareOutAboveCap)


@pytest.mark.usefixtures("rule")
def test_what_is_returned_may_leave_again(world: World) -> None:
    order = captured(world, 1_000)
    split = world.split(order.order_id, 600)
    settles(world, split)
    assert above(world, order, 200) == (100, 0)
    settles(world, world.give_back(order.order_id, split.id, 200))
    assert shared_out(world, order) == 200
    assert above(world, order, 202) == (101, 100)
    settles(world, world.split(order.order_id, 200))
    assert shared_out(world, order) == 300


def test_a_split_that_leaves_nothing_is_counted_when_a_return_brings_money_back(world: World) -> None:
    half = replace(CAPPED, rule_id=ident("rule", "half"), terms=RuleTerms(5_000))
    world.put_in_force(half)
    order = captured(world, 1_000, half)
    split = world.split(order.order_id, 1_000)
    settles(world, split)
    assert shared_out(world, order) == 0
    settles(world, world.give_back(order.order_id, split.id, 100))
    assert shared_out(world, order) == 450
    settles(world, world.split(order.order_id, 100))
    assert shared_out(world, order) == 500


@pytest.mark.usefixtures("rule")
def test_a_release_is_the_merchants_and_counts_nothing(world: World) -> None:
    order = captured(world, 1_000)
    split = world.split(order.order_id, 600)
    settles(world, split)
    settles(world, world.release(order.order_id))
    settles(world, world.give_back(order.order_id, split.id, 600))
    assert shared_out(world, order) == 0


def test_a_merchant_that_is_not_who_gets_the_rest_is_still_the_merchant(world: World, rule: RuleRef) -> None:
    """Who the merchant is, the capture says; what everybody else gets leaves it."""
    order = world.captured(1_000, rule=rule, bindings=(MERCHANT.id, PROMOTER.id), merchant=MERCHANT)
    assert above(world, order, 602) == (301, 300)
    settles(world, world.split(order.order_id, 600))


@pytest.mark.parametrize(
    ("of_rule", "of_platform", "most"),
    [
        (0, 0, None),
        (3_000, 0, 300),
        (0, 2_000, 200),
        (3_000, 2_000, 200),
        (1_000, 2_000, 100),
        (10_000, 0, 1_000),
    ],
)
def test_the_smaller_cap_counts(world: World, of_rule: int, of_platform: int, most: int | None) -> None:
    rule = replace(CAPPED, rule_id=ident("rule", f"{of_rule}"), terms=RuleTerms(of_rule))
    world.put_in_force(rule)
    order = captured(world, 1_000, rule)
    cap_platform(world, of_platform)
    if most is None or most >= 500:
        settles(world, world.split(order.order_id, 1_000))
        return
    assert above(world, order, 2 * most + 2) == (most + 1, most)
    settles(world, world.split(order.order_id, 2 * most))


def test_a_platforms_cap_counts_what_leaves_from_then_on(world: World) -> None:
    order = captured(world, 1_000, PAIR)
    settles(world, world.split(order.order_id, 400))
    assert shared_out(world, order) == 0
    cap_platform(world, 1_000)
    settles(world, world.split(order.order_id, 200))
    assert above(world, order, 2) == (1, 0)
    cap_platform(world, 500)
    assert above(world, order, 2) == (1, 0)
    cap_platform(world, 0)
    settles(world, world.split(order.order_id, 200))
    assert shared_out(world, order) == 100


def test_a_platforms_cap_is_told_and_can_be_read(world: World) -> None:
    events = world.act(GUARDIAN, "ParticipantRegistry", "setMaxShareOut", MALL.id, 2_500)
    assert events == [MaxShareOutChanged(NOWHERE, MALL.id, 2_500)]
    status, authority, cap = world.system.call("ParticipantRegistry", "platformOf", MALL.id)
    assert (status, authority, cap) == (1, MALL.key.address, 2_500)


def test_caps_of_nobody_and_above_the_whole_are_refused(world: World) -> None:
    unknown = world.refused(GUARDIAN, "ParticipantRegistry", "setMaxShareOut", ident("nobody"), 1)
    assert reason_of(unknown)[0] == "ParticipantRegistry_UnknownParticipant"
    above_whole = world.refused(GUARDIAN, "ParticipantRegistry", "setMaxShareOut", MALL.id, 10_001)
    assert reason_of(above_whole) == (
        "ParticipantRegistry_ShareOutAboveWhole",
        {"platform": MALL.id, "maxShareOut": 10_001},
    )


@pytest.mark.parametrize("sender", [REGISTRAR, APPROVER, ADMIN, MALL.key, OUTSIDER])
def test_only_a_guardian_caps_a_platform(world: World, sender: LocalKey) -> None:
    world.node.impersonate(sender.address)
    error = world.refused(sender, "ParticipantRegistry", "setMaxShareOut", MALL.id, 1)
    assert reason_of(error)[0] == "AccessManagedUnauthorized"


@pytest.mark.usefixtures("rule")
def test_what_a_witness_adds_to_a_release_counts_nothing(world: World) -> None:
    """The allocations of a release are part of no hash, so a relayer may write there what it likes."""
    order = captured(world, 1_000)
    split = world.split(order.order_id, 400)
    settles(world, split)
    settles(world, world.release(order.order_id))
    witness = world.twin.witness(order.order_id, opened=True)
    [first, release] = witness.past
    forged = replace(release, allocations=(replace(first.allocations[0], recipient=STRANGER.id, amount=300),))
    back = world.authorize(world.give_back(order.order_id, split.id, 100))
    assert world.settle(back, witnesses=[replace(witness, past=(first, forged))]).reasons == []
    assert shared_out(world, order) == 150
