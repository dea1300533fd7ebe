"""Debt: returns and refunds that take more than a recipient has make its position negative, where the rule allows it.

Positions fall short when money was paid out, which these tests play by writing into storage.
"""

from __future__ import annotations

from typing import Any

import pytest

from fenzhang.chain.events import OrderRefunded, OrderSplit, SplitReturned
from fenzhang.domain.errors import InsufficientPosition
from fenzhang.domain.records import Capture
from fenzhang.domain.rules import Leg, LegKind, RuleTerms
from support.parties import MALL, MERCHANT, PROMOTER, RuleRef, ident
from support.positions import write_position
from support.world import World

LEGS = (Leg(-1, LegKind.SHARE, 5_000, role="promoter"), Leg(-1, LegKind.REMAINDER, role="merchant"))
LENIENT = RuleRef(MALL, ident("rule", "lenient"), 1, LEGS, RuleTerms(may_owe=True))
STRICT = RuleRef(MALL, ident("rule", "strict"), 1, LEGS)
BINDINGS = (PROMOTER.id, MERCHANT.id)


@pytest.fixture
def market(world: World) -> World:
    for rule in (LENIENT, STRICT):
        world.put_in_force(rule)
    return world


def order(world: World, rule: RuleRef, amount: int = 1_000, **terms: Any) -> Capture:
    return world.captured(amount, rule=rule, bindings=BINDINGS, **terms)


def split_of(world: World, capture: Capture, amount: int) -> bytes:
    split = world.split(capture.order_id, amount)
    world.did(split)
    return split.id


def positions(world: World) -> list[int]:
    return [world.position(who) for who in (PROMOTER, MERCHANT)]


def test_a_return_makes_a_debt_where_the_rule_allows_it(market: World) -> None:
    capture = order(market, LENIENT)
    split = split_of(market, capture, 800)
    write_position(market, PROMOTER, 30)
    back = market.did(market.give_back(capture.order_id, split, 200)).only(SplitReturned)
    assert [leaf.amount for leaf in back.allocations] == [100, 100]
    assert positions(market) == [-70, 300]
    assert market.held(capture.order_id) == 400


def test_the_next_allocations_pay_a_debt_first(market: World) -> None:
    capture = order(market, LENIENT)
    split = split_of(market, capture, 800)
    write_position(market, PROMOTER, 0)
    market.did(market.give_back(capture.order_id, split, 200))
    assert positions(market)[0] == -100
    other = order(market, STRICT)
    split_of(market, other, 160)
    assert positions(market)[0] == -20
    split_of(market, other, 100)
    assert positions(market)[0] == 30


def test_a_debt_is_paid_and_made_again_within_one_transaction(market: World) -> None:
    """What splits add is still pending in memory when a return comes, and counts."""
    owing, paying = order(market, LENIENT), order(market, LENIENT)
    split = split_of(market, owing, 800)
    write_position(market, PROMOTER, -500)
    settled = market.did(market.split(paying.order_id, 1_000), market.give_back(owing.order_id, split, 300))
    assert len(settled.all(OrderSplit)) == len(settled.all(SplitReturned)) == 1
    assert positions(market)[0] == -150


def test_a_refund_makes_a_debt_of_everybody_who_falls_short(market: World) -> None:
    capture = order(market, LENIENT)
    split_of(market, capture, 500)
    market.did(market.release(capture.order_id))
    for who in (PROMOTER, MERCHANT):
        write_position(market, who, 0)
    event = market.did(market.refund(capture.order_id, 1_000)).only(OrderRefunded)
    assert [take.amount for take in event.takes] == [250, 250, 500]
    assert positions(market) == [-250, -750]


def test_without_the_term_it_is_refused_and_nothing_was_taken(market: World) -> None:
    capture = order(market, STRICT)
    split = split_of(market, capture, 800)
    write_position(market, MERCHANT, 99)
    for instruction in (
        market.give_back(capture.order_id, split, 200),
        market.refund(capture.order_id, 400),
    ):
        settled = market.settle(market.authorize(instruction))
        assert settled.reasons == [InsufficientPosition(MERCHANT.id, 100, 99)]
        assert positions(market) == [400, 99]
    assert market.refunded() == 0


def test_a_debt_from_elsewhere_is_named_with_its_sign(market: World) -> None:
    capture = order(market, STRICT)
    split = split_of(market, capture, 800)
    write_position(market, PROMOTER, -7)
    settled = market.settle(market.authorize(market.give_back(capture.order_id, split, 2)))
    assert settled.reasons == [InsufficientPosition(PROMOTER.id, 1, -7)]


def test_every_order_keeps_the_terms_that_it_was_captured_with(market: World) -> None:
    old = order(market, STRICT)
    split = split_of(market, old, 800)
    market.put_in_force(RuleRef(MALL, STRICT.rule_id, 2, LEGS, RuleTerms(may_owe=True)))
    write_position(market, PROMOTER, 0)
    settled = market.settle(market.authorize(market.give_back(old.order_id, split, 200)))
    assert settled.reasons == [InsufficientPosition(PROMOTER.id, 100, 0)]


def test_neighbours_of_other_rules_are_each_decided_by_their_own_terms(market: World) -> None:
    lenient, strict = order(market, LENIENT), order(market, STRICT)
    splits = [split_of(market, capture, 800) for capture in (strict, lenient)]
    write_position(market, PROMOTER, 50)
    backs = [
        market.give_back(capture.order_id, split, 200)
        for capture, split in zip((strict, lenient), splits, strict=True)
    ]
    settled = market.settle(market.authorize(*backs))
    assert settled.reasons == [InsufficientPosition(PROMOTER.id, 100, 50)]
    assert settled.only(SplitReturned).return_id == backs[1].id
    assert positions(market)[0] == -50


def test_debts_are_of_one_currency(market: World) -> None:
    yuan, yen = (order(market, LENIENT, currency=currency) for currency in ("CNY", "JPY"))
    split = split_of(market, yuan, 800)
    split_of(market, yen, 800)
    write_position(market, PROMOTER, 0)
    market.did(market.give_back(yuan.order_id, split, 200))
    assert (market.position(PROMOTER, "CNY"), market.position(PROMOTER, "JPY")) == (-100, 400)
