"""Retirement of a rule, for ever, by the platform's signature."""

from __future__ import annotations

from dataclasses import replace

from fenzhang.chain.eip712 import retirement_digest
from fenzhang.chain.events import RuleRetired
from support.parties import MALL, MARKET, MERCHANT, PAIR, SHOP, ident
from support.system import ADMIN, APPROVER, OUTSIDER, SUBMITTER
from support.twin import NOWHERE
from support.world import World, reason_of


def test_anybody_may_relay_the_platforms_retirement(world: World) -> None:
    events = world.act(OUTSIDER, "RuleBook", "retire", *world.retirement(PAIR))
    assert events == [RuleRetired(NOWHERE, MALL.id, PAIR.rule_id)]
    assert world.system.call("RuleBook", "latest", MALL.id, PAIR.rule_id) == (1, True)
    assert world.system.call("RuleBook", "latest", MALL.id, MARKET.rule_id) == (1, False)


def test_nobody_else_retires_it(world: World) -> None:
    for key in (SHOP.key, MERCHANT.key, ADMIN, APPROVER):
        error = world.refused(SUBMITTER, "RuleBook", "retire", *world.retirement(PAIR, key))
        assert reason_of(error) == ("RuleBook_InvalidSignature", {"platform": MALL.id})


def test_a_signed_retirement_is_for_one_rule_of_one_platform_on_one_chain(world: World) -> None:
    _, _, signature = world.retirement(PAIR)
    error = world.refused(SUBMITTER, "RuleBook", "retire", MALL.id, MARKET.rule_id, signature)
    assert reason_of(error) == ("RuleBook_InvalidSignature", {"platform": MALL.id})
    error = world.refused(SUBMITTER, "RuleBook", "retire", SHOP.id, PAIR.rule_id, signature)
    assert reason_of(error) == ("RuleBook_InvalidSignature", {"platform": SHOP.id})
    elsewhere = replace(world.system.deployment.rule_domain(), chain_id=1)
    foreign = MALL.key.sign_digest(retirement_digest(elsewhere, MALL.id, PAIR.rule_id))
    error = world.refused(SUBMITTER, "RuleBook", "retire", MALL.id, PAIR.rule_id, foreign)
    assert reason_of(error) == ("RuleBook_InvalidSignature", {"platform": MALL.id})


def test_a_rule_is_retired_once(world: World) -> None:
    world.retire(PAIR)
    error = world.refused(SUBMITTER, "RuleBook", "retire", *world.retirement(PAIR))
    assert reason_of(error) == ("RuleBook_AlreadyRetired", {"ruleId": PAIR.rule_id})


def test_a_rule_without_versions_cannot_be_retired(world: World) -> None:
    nothing = replace(PAIR, rule_id=ident("rule", "nothing"))
    error = world.refused(SUBMITTER, "RuleBook", "retire", *world.retirement(nothing))
    assert reason_of(error) == ("RuleBook_UnknownVersion", {"ruleId": nothing.rule_id, "version": 0})


def test_a_version_that_is_only_proposed_can_be_retired_and_then_comes_into_force_no_more(
    world: World,
) -> None:
    rule = replace(PAIR, rule_id=ident("rule", "regretted"))
    world.propose(rule)
    world.retire(rule)
    world.approve(rule)
    assert world.settle(world.attest(world.capture(rule=rule, bindings=(MALL.id, MALL.id)))).reasons


def test_a_platform_that_is_not_active_retires_nothing(world: World) -> None:
    world.register("suspend", MALL.id)
    error = world.refused(SUBMITTER, "RuleBook", "retire", *world.retirement(PAIR))
    assert reason_of(error) == ("RuleBook_PlatformNotActive", {"platform": MALL.id})
