"""What a transaction remembers of registry and rule book is right for each order in it, however many there are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fenzhang.chain.events import OrderCaptured, OrderSplit
from fenzhang.domain.errors import (
    CurrencyNotEnabled,
    RecipientNotActive,
    RecipientNotConsented,
    RuleNotInForce,
)
from fenzhang.domain.records import RuleState
from fenzhang.domain.rules import MAX_LEAVES, Leg, LegKind
from support.parties import (
    BOTH,
    MALL,
    MERCHANT,
    NOBODY,
    PAIR,
    PROMOTER,
    SHOP,
    VENDOR,
    RuleRef,
    ident,
    party,
)
from support.world import World

REMEMBERED_RULES = REMEMBERED_PLATFORMS = 64
"""More are looked up each time (contracts/libraries/Runs.sol)."""
ALL_TO_MERCHANT = (Leg(-1, LegKind.REMAINDER, role="merchant"),)
CROWD = [party(f"one of the crowd {number}") for number in range(MAX_LEAVES)]


def crowd_rule() -> RuleRef:
    """A rule of twenty roles, one basis point each but the last."""
    legs = [Leg(-1, LegKind.SHARE, 1, role=f"r{number}") for number in range(MAX_LEAVES - 1)]
    return RuleRef(MALL, ident("rule", "crowd"), 1, (*legs, Leg(-1, LegKind.REMAINDER, role="last")))


def amounts(split: OrderSplit) -> list[int]:
    return [allocation.amount for allocation in split.allocations]


def test_two_versions_of_one_rule_are_told_apart(world: World) -> None:
    old = world.captured(100, rule=PAIR)
    following = world.put_in_force(replace(PAIR, version=2, legs=ALL_TO_MERCHANT))
    new = world.capture(100, rule=following, bindings=(MERCHANT.id,))
    late = world.capture(100, rule=PAIR)
    settled = world.settle(
        world.attest(new, late),
        world.authorize(*(world.split(order.order_id, 100) for order in (old, new, old, new))),
    )
    assert settled.reasons[0] == RuleNotInForce(PAIR.rule_id, 1, RuleState.SUPERSEDED)
    assert [amounts(split) for split in settled.all(OrderSplit)] == [[50, 50], [100]]


def test_one_rule_id_of_two_platforms_is_two_rules(world: World) -> None:
    theirs = world.put_in_force(RuleRef(SHOP, PAIR.rule_id, 1, ALL_TO_MERCHANT))
    mine, other = world.capture(100, rule=PAIR), world.capture(100, rule=theirs, bindings=(BOTH.id,))
    settled = world.settle(
        world.attest(mine, other),
        world.authorize(world.split(mine.order_id, 100)),
        world.authorize(world.split(other.order_id, 100), platform=SHOP),
    )
    assert [amounts(split) for split in settled.all(OrderSplit)] == [[50, 50], [100]]


def test_consent_to_one_platform_is_not_taken_for_consent_to_another(world: World) -> None:
    theirs = world.put_in_force(RuleRef(SHOP, PAIR.rule_id, 1, PAIR.legs))
    mine = world.capture(100, rule=PAIR, bindings=(PROMOTER.id, BOTH.id), merchant=BOTH)
    other = world.capture(100, rule=theirs, bindings=(PROMOTER.id, BOTH.id), merchant=BOTH)
    settled = world.settle(world.attest(mine, other, replace(mine, order_id=ident("third"))))
    assert settled.reasons == [RecipientNotConsented(PROMOTER.id, SHOP.id)]
    assert len(settled.all(OrderCaptured)) == 2


def test_terms_that_change_from_order_to_order_are_each_looked_at(world: World) -> None:
    theirs = world.put_in_force(RuleRef(SHOP, PAIR.rule_id, 1, ALL_TO_MERCHANT))
    retired = world.put_in_force(RuleRef(MALL, ident("rule", "retired"), 1, PAIR.legs))
    world.retire(retired)
    usual: dict[str, Any] = {"rule": PAIR}
    unusual: list[dict[str, Any]] = [
        {"rule": PAIR, "currency": "XYZ"},
        {"rule": PAIR, "currency": "JPY"},
        {"rule": theirs, "bindings": (BOTH.id,)},
        {"rule": retired, "bindings": (PROMOTER.id, MERCHANT.id)},
        {"rule": replace(PAIR, version=9), "bindings": (PROMOTER.id, MERCHANT.id)},
    ]
    captures = [world.capture(100, **usual)]
    for terms in unusual:
        captures += [world.capture(100, **terms), *(world.capture(100, **usual) for _ in range(2))]
    settled = world.settle(
        world.attest(*captures),
        world.authorize(*(world.split(capture.order_id, 100) for capture in captures)),
    )
    assert [type(reason) for reason in settled.reasons[:3]] == [
        CurrencyNotEnabled,
        RuleNotInForce,
        RuleNotInForce,
    ]
    assert len(settled.all(OrderSplit)) == 12, "all but the shop's and the three that were rejected"
    assert (world.position(MERCHANT), world.position(MERCHANT, "JPY")) == (550, 50)


@pytest.mark.parametrize(
    "bad", [NOBODY, ident("nobody at all"), VENDOR.id], ids=["zero", "absent", "elsewhere"]
)
def test_a_merchant_is_looked_at_whoever_is_bound(world: World, bad: bytes) -> None:
    alone = world.put_in_force(
        RuleRef(MALL, ident("rule", "alone"), 1, (Leg(-1, LegKind.REMAINDER, recipient=MERCHANT.id),))
    )
    good = [world.capture(100, rule=PAIR), world.capture(100, rule=alone)]
    wrong = [
        replace(capture, order_id=world.fresh("order"), merchant=bad)
        for capture in (*good, world.capture(100, rule=PAIR, bindings=(PROMOTER.id, NOBODY)))
    ]
    settled = world.settle(
        world.attest(*good, *wrong, *(replace(c, order_id=world.fresh("order")) for c in good))
    )
    assert len(settled.all(OrderCaptured)) == 4
    assert {type(reason) for reason in settled.reasons} <= {RecipientNotActive, RecipientNotConsented}
    assert len(settled.reasons) == 3


def test_a_bound_party_that_is_known_and_not_good_is_refused_every_time(world: World) -> None:
    world.register("suspend", PROMOTER.id)
    orders = [world.capture(100, rule=PAIR) for _ in range(3)]
    fine = [world.capture(100, rule=PAIR, bindings=(MERCHANT.id, MERCHANT.id)) for _ in range(3)]
    mixed = [capture for pair in zip(orders, fine, strict=True) for capture in pair]
    settled = world.settle(world.attest(*mixed))
    assert settled.reasons == [RecipientNotActive(PROMOTER.id)] * 3
    assert len(settled.all(OrderCaptured)) == 3


def test_positions_of_several_currencies_add_up_within_a_transaction(world: World) -> None:
    currencies = ["CNY", "JPY", "CNY", "EUR", "JPY", "CNY"]
    captures = [world.capture(100, rule=PAIR, currency=currency) for currency in currencies]
    splits = [world.split(capture.order_id, 60) for capture in captures]
    releases = [world.release(capture.order_id) for capture in captures]
    world.settle(world.attest(*captures), world.authorize(*splits, *releases))
    for currency in ("CNY", "JPY", "EUR"):
        orders = currencies.count(currency)
        assert world.position(PROMOTER, currency) == 30 * orders
        assert world.position(MERCHANT, currency) == 70 * orders
        assert world.totals(currency) == (100 * orders, 0)


def test_a_return_finds_what_the_same_transaction_has_paid(world: World) -> None:
    first, second = world.captured(100, rule=PAIR), world.captured(100, rule=PAIR)
    split = world.split(first.order_id, 100)
    world.did(split)
    world.settle(
        world.authorize(world.split(second.order_id, 100)),
        world.authorize(world.give_back(first.order_id, split.id, 100)),
        world.authorize(world.split(second.order_id, 1), world.release(first.order_id)),
    )
    assert (world.position(PROMOTER), world.position(MERCHANT)) == (50, 150)


@pytest.mark.parametrize("beginning", [4, 8, 31], ids=lambda size: f"{size} bytes alike")
def test_recipients_whose_ids_begin_alike_are_told_apart(world: World, beginning: int) -> None:
    """More of them than places that are looked at, with one that may not be paid among them."""
    alike = [replace(member, id=bytes(beginning) + member.id[beginning:]) for member in CROWD]
    world.enroll(*alike, consenting_to=MALL)
    rule = world.put_in_force(crowd_rule())
    bindings = [member.id for member in alike]
    orders = [world.capture(100_000, rule=rule, bindings=bindings, merchant=alike[-1]) for _ in range(3)]
    world.settle(world.attest(*orders), world.authorize(*(world.split(o.order_id, 50_000) for o in orders)))
    assert [world.position(member) for member in alike] == [15] * 19 + [3 * 49_905]
    world.register("suspend", alike[18].id)
    settled = world.settle(
        world.attest(replace(orders[0], order_id=world.fresh("order"))),
        world.authorize(*(world.split(order.order_id, 50_000) for order in orders)),
    )
    assert settled.reasons == [RecipientNotActive(alike[18].id)] * 4


def test_a_recipient_of_two_platforms_is_paid_for_both(world: World) -> None:
    theirs = world.put_in_force(RuleRef(SHOP, PAIR.rule_id, 1, ALL_TO_MERCHANT))
    mine = [world.capture(100, rule=PAIR, bindings=(PROMOTER.id, BOTH.id), merchant=BOTH) for _ in range(2)]
    other = [world.capture(100, rule=theirs, bindings=(BOTH.id,), merchant=BOTH) for _ in range(2)]
    world.settle(
        world.attest(mine[0], other[0], mine[1], other[1]),
        world.authorize(*(world.split(order.order_id, 100) for order in mine)),
        world.authorize(*(world.split(order.order_id, 100) for order in other), platform=SHOP),
    )
    assert (world.position(BOTH), world.position(PROMOTER)) == (300, 100)


def test_more_platforms_than_are_remembered_are_each_served(world: World) -> None:
    platforms = [party(f"platform {number}") for number in range(REMEMBERED_PLATFORMS + 2)]
    world.enroll(*platforms)
    rules = [
        world.put_in_force(RuleRef(each, PAIR.rule_id, 1, (Leg(-1, LegKind.REMAINDER, role="merchant"),)))
        for each in platforms
    ]
    orders = [
        world.capture(100, rule=rule, bindings=(rule.platform.id,), merchant=rule.platform)
        for rule in (*rules, *rules[-3:], rules[0])
    ]
    stranger = world.capture(100, rule=rules[-1], bindings=(MERCHANT.id,), merchant=rules[-1].platform)
    settled = world.settle(
        world.attest(*orders, stranger),
        *(
            world.authorize(world.split(order.order_id, 100), platform=rule.platform)
            for rule, order in zip(rules, orders, strict=False)
        ),
    )
    assert settled.reasons == [RecipientNotConsented(MERCHANT.id, rules[-1].platform.id)]
    assert [world.position(each) for each in platforms] == [100] * len(platforms)


def test_more_rules_than_are_remembered_are_each_applied(world: World) -> None:
    rules = [
        world.put_in_force(
            RuleRef(
                MALL,
                ident("one of many", number),
                1,
                (
                    Leg(-1, LegKind.FIXED, number, role="promoter"),
                    Leg(-1, LegKind.REMAINDER, role="merchant"),
                ),
            )
        )
        for number in range(REMEMBERED_RULES + 4)
    ]
    orders = [world.capture(100, rule=rule, bindings=(PROMOTER.id, MERCHANT.id)) for rule in rules]
    settled = world.settle(
        world.attest(*orders),
        world.authorize(*(world.split(order.order_id, 100) for order in orders)),
    )
    assert [amounts(split)[0] for split in settled.all(OrderSplit)] == list(range(len(rules)))


def test_more_recipients_than_are_remembered_are_each_looked_at(world: World) -> None:
    world.enroll(*CROWD, consenting_to=MALL)
    rule = world.put_in_force(crowd_rule())
    bindings = [member.id for member in CROWD]
    order = world.capture(100_000, rule=rule, bindings=bindings)
    settled = world.settle(world.attest(order), world.authorize(world.split(order.order_id, 50_000)))
    assert amounts(settled.only(OrderSplit)) == [5] * 19 + [49_905]
    for suspended in (CROWD[0], CROWD[10], CROWD[-1]):
        saved = world.save()
        world.register("suspend", suspended.id)
        again = replace(order, order_id=world.fresh("order"))
        settled = world.settle(world.attest(again), world.authorize(world.split(order.order_id, 50_000)))
        assert settled.reasons == [RecipientNotActive(suspended.id)] * 2
        world.restore(saved)
