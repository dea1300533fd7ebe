"""What a transaction remembers of registry and rule book is right for each order in it, however many there are."""

from __future__ import annotations

from dataclasses import replace

from fenzhang.chain.events import OrderCaptured, OrderSplit
from fenzhang.domain.errors import RecipientNotActive, RecipientNotConsented, RuleNotInForce
from fenzhang.domain.records import RuleState
from fenzhang.domain.rules import MAX_LEAVES, Leg, LegKind
from support.parties import BOTH, MALL, MERCHANT, PAIR, PROMOTER, SHOP, RuleRef, ident, party
from support.world import World

REMEMBERED_RULES = 64
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
