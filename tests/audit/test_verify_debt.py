"""A debt is what the history makes of a position: returns beyond it are no difference where the rule allows them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from audit.auditing import codes, only, verified
from fenzhang.audit.differences import Code
from fenzhang.domain.rules import RuleTerms
from support.parties import MERCHANT, PAIR, PROMOTER, ident
from support.positions import write_position
from support.world import World

LENIENT = replace(PAIR, rule_id=ident("rule", "lenient"), terms=RuleTerms(may_owe=True))


async def test_a_position_below_zero_is_read_and_compared_with_its_sign(world: World) -> None:
    world.put_in_force(LENIENT)
    order = world.captured(1_000, rule=LENIENT, bindings=(PROMOTER.id, MERCHANT.id))
    split = world.split(order.order_id, 800)
    world.did(split)
    # The promoter's money went to the merchant, as no transaction can do it: positions still sum to the same.
    for who, amount in ((PROMOTER, 0), (MERCHANT, 800)):
        write_position(world, who, amount)
    world.did(world.give_back(order.order_id, split.id, 200), world.split(order.order_id, 20))
    assert world.position(PROMOTER) == -90

    report = await verified(world)

    assert codes(report) == Counter({Code.POSITION: 2})
    found = {each.participant: (each.expected, each.found) for each in report.differences}
    assert found == {PROMOTER.id: (310, -90), MERCHANT.id: (310, 710)}
    assert report.currencies["CNY"].is_conserved


async def test_a_refusal_that_the_terms_do_not_ask_for_is_found(world: World) -> None:
    """The chain refused for a position that nothing in its history explains."""
    order = world.captured(1_000, rule=PAIR)
    world.did(world.split(order.order_id, 800))
    for who, amount in ((PROMOTER, 0), (MERCHANT, 800)):
        write_position(world, who, amount)
    assert len(world.settle(world.authorize(world.refund(order.order_id, 900))).reasons) == 1

    report = await verified(world)

    assert only(report, Code.DECISION_DIFFERS).order == order.order_id
