"""Conditions: orders wait for them, are split when reached, and go back to their buyers when missed."""

from __future__ import annotations

from typing import Any

import pytest

from fenzhang.chain.eip712 import condition_digest
from fenzhang.chain.events import (
    ConditionConfirmed,
    ConditionJoined,
    ConditionOpened,
    ConditionReached,
    OrderCaptured,
    OrderRefunded,
    OrderReleased,
    OrderSplit,
)
from fenzhang.domain.conditions import ConditionState
from fenzhang.domain.errors import (
    ConditionMissed,
    ConditionOpen,
    InsufficientHeld,
    NothingHeld,
    OnHold,
    OrderFrozen,
    OutdatedWitness,
    UnknownCondition,
)
from support.parties import (
    COURIER,
    MALL,
    MERCHANT,
    PAIR,
    PROMOTER,
    SHOP,
    STRANGER,
    VENDING,
    VENDOR,
    ident,
    party,
)
from support.system import ADMIN, GUARDIAN, OUTSIDER, REGISTRAR, SUBMITTER
from support.twin import NOWHERE, placeless
from support.world import World


def state_of(world: World, condition: bytes, platform: bytes = MALL.id) -> tuple[int, bool, ConditionState]:
    """Count, confirmation and state on chain."""
    _, _, _, count, confirmed, state = world.system.call("Conditions", "conditionOf", platform, condition)
    return count, confirmed, ConditionState(state)


# ------------------------------------------------------------------------------ group buys


def test_a_group_buy_that_is_reached_is_split_in_the_same_transaction(world: World) -> None:
    group = world.opened(2, world.node.now + 100)
    first, last = (world.capture(100, rule=PAIR, condition=group) for _ in range(2))
    world.settle(world.attest(first))
    # Signed in advance, and relayed too early: nothing happens, and it stays valid.
    signed = world.authorize(world.split(first.order_id, 100), world.split(last.order_id, 100), nonce=77)
    alone = world.authorize(world.split(first.order_id, 1))
    assert world.settle(alone).skipped == [first.order_id]
    assert not world.nonce_used(MALL.id, alone.nonce)
    assert state_of(world, group) == (1, False, ConditionState.OPEN)

    settled = world.settle(world.attest(last), signed)
    joined = settled.only(ConditionJoined)
    assert (joined.platform, joined.condition_id, joined.order_id, joined.count) == (
        MALL.id,
        group,
        last.order_id,
        2,
    )
    assert settled.only(ConditionReached).condition_id == group
    assert [split.order_id for split in settled.all(OrderSplit)] == [first.order_id, last.order_id]
    assert state_of(world, group) == (2, False, ConditionState.REACHED)
    assert world.settle(alone).reasons == [InsufficientHeld(first.order_id, 1, 0)]


def test_what_is_reached_stays_reached_and_later_orders_profit(world: World) -> None:
    deadline = world.node.now + 50
    group = world.opened(1, deadline)
    world.captured(5, condition=group)
    second = world.captured(6, rule=PAIR, condition=group)
    assert state_of(world, group) == (2, False, ConditionState.REACHED)
    world.node.next_block_at(deadline + 1)
    late = world.capture(7, rule=PAIR, condition=group)
    settled = world.settle(world.attest(late))
    assert settled.all(ConditionJoined) == [], "it does not count"
    world.did(world.split(late.order_id, 7), world.release(second.order_id))
    assert state_of(world, group) == (2, False, ConditionState.REACHED)


@pytest.mark.parametrize(("seconds", "state"), [(0, ConditionState.REACHED), (1, ConditionState.MISSED)])
def test_the_second_of_the_deadline_is_in_time(world: World, seconds: int, state: ConditionState) -> None:
    deadline = world.node.now + 50
    group = world.opened(1, deadline)
    order = world.capture(9, rule=PAIR, condition=group)
    world.node.next_block_at(deadline + seconds)
    settled = world.settle(world.attest(order), world.authorize(world.split(order.order_id, 9)))
    assert state_of(world, group)[2] is state
    missed = [ConditionMissed(order.order_id, group)]
    assert settled.reasons == (missed if seconds else [])


def test_a_group_buy_that_is_missed_is_refunded_by_anybody(world: World) -> None:
    deadline = world.node.now + 50
    group = world.opened(3, deadline)
    first, other = (world.captured(100, rule=PAIR, condition=group) for _ in range(2))
    assert world.expire(first.order_id).passed_over == [ConditionOpen(first.order_id, group)]
    world.did(world.refund(other.order_id, 30))
    world.node.next_block_at(deadline + 1)
    instructions = (world.split(first.order_id, 100), world.release(other.order_id))
    settled = world.settle(world.authorize(*instructions))
    assert settled.reasons == [ConditionMissed(order.order_id, group) for order in (first, other)]

    outcome = world.expire(first.order_id, other.order_id)
    assert [
        (each.order_id, each.refund_id, each.amount, each.from_held, each.takes)
        for each in outcome.all(OrderRefunded)
    ] == [
        (first.order_id, first.order_id, 100, 100, ()),
        (other.order_id, other.order_id, 70, 70, ()),
    ]
    assert (world.totals(), world.refunded()) == ((200, 0), 200)
    assert world.expire(first.order_id).passed_over == [NothingHeld(first.order_id)]


def test_a_missed_order_needs_neither_merchant_nor_platform_to_be_refunded(world: World) -> None:
    """And its times do not matter: it was never the merchant's."""
    deadline = world.node.now + 50
    group = world.opened(2, deadline)
    times = {"hold_until": deadline + 1_000, "expires_at": deadline + 2_000}
    on_hold = world.captured(8, condition=group, **times)
    expired = world.capture(9, condition=world.opened(2, deadline), expires_at=world.node.now + 1)
    world.settle(world.attest(expired))
    world.register("suspend", MERCHANT.id)
    world.register("suspend", MALL.id)
    assert world.expire(expired.order_id).passed_over == [
        ConditionOpen(expired.order_id, expired.condition)
    ], "an open condition keeps an expired order"
    world.node.next_block_at(deadline + 1)
    outcome = world.expire(on_hold.order_id, expired.order_id)
    assert [each.amount for each in outcome.all(OrderRefunded)] == [8, 9]


def test_a_reached_order_is_held_and_expires_as_any_other(world: World) -> None:
    now = world.node.now
    group = world.opened(1, now + 50)
    order = world.captured(20, rule=PAIR, condition=group, hold_until=now + 60, expires_at=now + 70)
    settled = world.settle(world.authorize(world.split(order.order_id, 5)))
    assert settled.reasons == [OnHold(order.order_id, now + 60)]
    world.node.next_block_at(now + 60)
    world.did(world.split(order.order_id, 5))
    world.node.next_block_at(now + 70)
    assert world.expire(order.order_id).only(OrderReleased).amount == 15


# ------------------------------------------------------------------------------ confirmations


def test_a_delivery_confirmation_opens_the_way(world: World) -> None:
    world.register("enroll", (carrier := party("carrier")).id, carrier.key.address)
    delivery = world.opened(0, world.node.now + 100, confirmer=carrier)
    order = world.captured(40, rule=PAIR, condition=delivery)
    split = world.authorize(world.split(order.order_id, 40))
    assert world.settle(split).skipped == [order.order_id]
    assert state_of(world, delivery) == (1, False, ConditionState.OPEN)
    events = world.confirm(delivery, carrier)
    assert events == [
        ConditionConfirmed(NOWHERE, MALL.id, delivery),
        ConditionReached(NOWHERE, MALL.id, delivery),
    ]
    assert state_of(world, delivery) == (1, True, ConditionState.REACHED)
    assert len(world.settle(split).all(OrderSplit)) == 1


@pytest.mark.parametrize("confirm_first", [False, True])
def test_both_may_be_needed_in_any_order(world: World, confirm_first: bool) -> None:  # noqa: FBT001 -- a parameter
    both = world.opened(1, world.node.now + 100, confirmer=STRANGER)
    if confirm_first:
        world.confirm(both, STRANGER)
        assert state_of(world, both) == (0, True, ConditionState.OPEN)
    world.captured(3, condition=both)
    if not confirm_first:
        assert state_of(world, both) == (1, False, ConditionState.OPEN)
        world.confirm(both, STRANGER)
    assert state_of(world, both) == (1, True, ConditionState.REACHED)


def test_what_a_confirmation_is_refused_for(world: World) -> None:
    deadline = world.node.now + 50
    delivery = world.opened(0, deadline, confirmer=STRANGER)
    group = world.opened(2, deadline)

    def refused(*arguments: Any) -> tuple[str | None, dict[str, object]]:
        error = world.refused(OUTSIDER, "Conditions", "confirm", *arguments)
        return error.contract_error, error.values

    good = world.confirmation(delivery, STRANGER)
    assert refused(*world.confirmation(ident("none"), STRANGER)) == (
        "Conditions_UnknownCondition",
        {"conditionId": ident("none")},
    )
    assert refused(*world.confirmation(delivery, STRANGER, platform=SHOP))[0] == "Conditions_UnknownCondition"
    assert refused(*world.confirmation(group, STRANGER)) == ("Conditions_NoConfirmer", {"conditionId": group})
    invalid = ("Conditions_InvalidSignature", {"signer": STRANGER.id})
    assert refused(*world.confirmation(delivery, MALL)) == invalid
    assert refused(*world.confirmation(delivery, STRANGER, domain=world.domain)) == invalid
    world.register("suspend", STRANGER.id)
    assert refused(*good) == ("Conditions_NotActive", {"participant": STRANGER.id})
    world.register("resume", STRANGER.id)
    saved = world.save()
    world.confirm(delivery, STRANGER)
    assert refused(*good) == ("Conditions_AlreadyConfirmed", {"conditionId": delivery})
    world.restore(saved)
    world.node.next_block_at(deadline + 1)
    name, values = refused(*good)
    assert (name, values["deadline"]) == ("Conditions_DeadlinePassed", deadline)
    assert state_of(world, delivery) == (0, False, ConditionState.MISSED)


# ------------------------------------------------------------------------------ opening


def test_an_opened_condition_is_told_and_kept(world: World) -> None:
    values, signature = world.condition(3, world.node.now + 9, confirmer=STRANGER)
    platform, condition, needed, deadline, confirmer = values
    events = world.act(OUTSIDER, "Conditions", "open", values, signature)
    assert events == [ConditionOpened(NOWHERE, platform, condition, needed, deadline, confirmer)]
    kept = world.system.call("Conditions", "conditionOf", MALL.id, condition)
    assert kept == (3, deadline, STRANGER.id, 0, False, ConditionState.OPEN)
    unknown = world.system.call("Conditions", "conditionOf", SHOP.id, condition)
    assert unknown == (0, 0, bytes(32), 0, False, ConditionState.UNKNOWN)


def test_what_opening_is_refused_for(world: World) -> None:
    def refused(*arguments: Any) -> tuple[str | None, dict[str, object]]:
        error = world.refused(SUBMITTER, "Conditions", "open", *arguments)
        return error.contract_error, error.values

    good = world.condition(1, condition_id=ident("group"))
    assert refused(good[0], world.condition(2, condition_id=ident("group"))[1]) == (
        "Conditions_InvalidSignature",
        {"signer": MALL.id},
    )
    assert refused(*world.condition(1, domain=world.domain))[0] == "Conditions_InvalidSignature"
    assert refused(*world.condition(1, key=SHOP.key))[0] == "Conditions_InvalidSignature"
    assert refused(*world.condition(1, platform=MERCHANT)) == (
        "Conditions_NotActive",
        {"participant": MERCHANT.id},
    ), "it never signs"
    zero = (MALL.id, bytes(32), 1, 2**40, bytes(32))
    signed = world.condition(1)
    assert refused(zero, signed[1])[0] == "Conditions_InvalidSignature"
    nothing = world.condition(0)
    assert refused(*nothing) == ("Conditions_NothingNeeded", {"conditionId": nothing[0][1]})
    past = world.condition(1, world.node.now)
    name, values = refused(*past)
    assert (name, values["deadline"]) == ("Conditions_DeadlinePassed", world.node.now - 1)
    for confirmer in (party("nobody"), COURIER):
        assert refused(*world.condition(0, confirmer=confirmer)) == (
            "Conditions_NotActive",
            {"participant": confirmer.id},
        )
    world.act(SUBMITTER, "Conditions", "open", *good)
    assert refused(*good) == ("Conditions_AlreadyOpened", {"conditionId": ident("group")})
    again = world.condition(5, condition_id=ident("group"))
    assert refused(*again)[0] == "Conditions_AlreadyOpened", "nobody changes a condition"
    world.register("suspend", MALL.id)
    assert refused(*world.condition(1)) == ("Conditions_NotActive", {"participant": MALL.id})


def test_a_condition_has_an_id(world: World) -> None:
    values = (MALL.id, bytes(32), 1, 2**40, bytes(32))
    digest = condition_digest(world.system.deployment.condition_domain(), *values)
    error = world.refused(SUBMITTER, "Conditions", "open", values, MALL.key.sign_digest(digest))
    assert error.contract_error == "Conditions_ZeroCondition"


@pytest.mark.parametrize(
    "sender", [ADMIN, GUARDIAN, REGISTRAR, SUBMITTER, OUTSIDER], ids=lambda key: key.address.hex()[:6]
)
def test_nobody_but_the_ledger_lets_an_order_join(world: World, sender: Any) -> None:
    group = world.opened(1)
    error = world.refused(sender, "Conditions", "join", MALL.id, group, ident("order"))
    assert error.contract_error == "AccessManagedUnauthorized"
    assert state_of(world, group) == (0, False, ConditionState.OPEN)


# ------------------------------------------------------------------------------ orders


def test_a_capture_with_a_condition_that_its_platform_has_not_opened_is_rejected(world: World) -> None:
    group = world.opened(1)
    foreign = world.capture(5, rule=VENDING, merchant=VENDOR, condition=group)
    unknown = world.capture(5, condition=ident("none"))
    good = world.capture(6, condition=group)
    settled = world.settle(world.attest(foreign, unknown, good))
    assert settled.reasons == [UnknownCondition(group), UnknownCondition(ident("none"))]
    assert [event.order_id for event in settled.all(OrderCaptured)] == [good.order_id]
    assert settled.only(OrderCaptured).condition == group
    assert state_of(world, group)[0] == 1
    assert state_of(world, group, SHOP.id)[2] is ConditionState.UNKNOWN


def test_a_rejected_capture_does_not_count(world: World) -> None:
    group = world.opened(1)
    order = world.capture(5, condition=group, hold_until=9, expires_at=5)
    assert len(world.settle(world.attest(order)).reasons) == 1
    other = world.captured(5, condition=group)
    again = world.settle(world.attest(other))
    assert (len(again.reasons), again.all(ConditionJoined)) == (1, []), "captured once, for ever"
    assert state_of(world, group)[0] == 1


def test_the_authorization_of_an_open_order_waits_as_a_whole(world: World) -> None:
    group = world.opened(2)
    waiting, free = world.captured(5, rule=PAIR, condition=group), world.captured(6, rule=PAIR)
    signed = world.authorize(world.split(free.order_id, 6), world.release(waiting.order_id))
    alone = world.authorize(world.split(free.order_id, 1))
    settled = world.settle(signed, alone)
    assert settled.skipped == [waiting.order_id]
    assert settled.only(OrderSplit).order_id == free.order_id
    # Returns and refunds wait for nothing.
    world.did(world.refund(waiting.order_id, 2))
    mixed = world.authorize(world.refund(waiting.order_id, 1), world.split(waiting.order_id, 1))
    assert world.settle(mixed).skipped == [waiting.order_id]
    assert world.held(waiting.order_id) == 3


def test_of_what_stops_an_order_a_condition_that_is_open_comes_first(world: World) -> None:
    deadline = world.node.now + 50
    group = world.opened(2, deadline)
    order = world.captured(5, rule=PAIR, condition=group)
    free = world.captured(6, rule=PAIR)
    world.freeze(order.order_id)
    split = world.authorize(world.split(order.order_id, 5), world.split(free.order_id, 6))
    assert world.settle(split).skipped == [order.order_id]
    assert world.expire(order.order_id).passed_over == [ConditionOpen(order.order_id, group)]
    refund = world.settle(world.authorize(world.refund(order.order_id, 1)))
    assert refund.reasons == [OrderFrozen(order.order_id)]
    world.node.next_block_at(deadline + 1)
    frozen = [OrderFrozen(order.order_id)]
    assert world.expire(order.order_id).passed_over == frozen
    settled = world.settle(split)
    assert settled.reasons == frozen
    assert settled.only(OrderSplit).order_id == free.order_id
    world.unfreeze(order.order_id)
    stale = world.twin.witness(order.order_id, opened=False)
    assert world.expire(order.order_id).only(OrderRefunded).amount == 5
    assert world.expire(stale).passed_over == [OutdatedWitness(order.order_id)]


def test_an_order_of_another_platform_waits_as_well(world: World) -> None:
    """Whose order it is, is told when it can be decided at all."""
    group = world.opened(2)
    order = world.captured(5, condition=group)
    signed = world.authorize(world.split(order.order_id, 5), platform=SHOP)
    assert world.settle(signed).skipped == [order.order_id]


def test_events_of_a_reached_group_stand_before_the_capture(world: World) -> None:
    group = world.opened(1)
    order = world.capture(5, condition=group)
    events = placeless(world.settle(world.attest(order)).events)
    assert events[:2] == [
        ConditionJoined(NOWHERE, MALL.id, group, order.order_id, 1),
        ConditionReached(NOWHERE, MALL.id, group),
    ]
    assert isinstance(events[2], OrderCaptured)


def test_positions_are_untouched_by_a_missed_group(world: World) -> None:
    deadline = world.node.now + 20
    order = world.captured(50, rule=PAIR, condition=world.opened(9, deadline))
    before = [world.position(who) for who in (PROMOTER, MERCHANT)]
    world.node.next_block_at(deadline + 1)
    world.expire(order.order_id)
    assert [world.position(who) for who in (PROMOTER, MERCHANT)] == before
