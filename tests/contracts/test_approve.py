"""Approval of a rule version: by another party than the platform, of exactly what was proposed, once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fenzhang.chain.codec import encode_call
from fenzhang.chain.events import RuleApproved
from fenzhang.chain.signer import LocalKey
from fenzhang.chain.views import RULE_APPROVER_ROLE
from support.parties import MALL, MARKET, PAIR, SHOP, RuleRef, ident, party
from support.system import ADMIN, APPROVER, BANK, OUTSIDER, REGISTRAR
from support.twin import NOWHERE
from support.world import World, reason_of

HEIR = party("heir of the mall").key
RULE = RuleRef(MALL, ident("rule", "new"), 1, MARKET.legs)


def test_an_approver_approves_what_was_proposed(world: World) -> None:
    world.propose(RULE, 7)
    content = world.approval(RULE, 7)[-1]
    assert world.approve(RULE, 7) == [
        RuleApproved(NOWHERE, MALL.id, RULE.rule_id, 1, content, APPROVER.address)
    ]
    header = world.system.call("RuleBook", "header", MALL.id, RULE.rule_id, 1)
    assert header == (content, 7, True, MALL.key.address)


def test_an_approver_that_read_something_else_approves_nothing(world: World) -> None:
    world.propose(RULE)
    read = [
        world.approval(replace(RULE, legs=PAIR.legs))[-1],
        world.approval(RULE, 1)[-1],
        world.approval(replace(RULE, platform=SHOP))[-1],
        bytes(32),
    ]
    for content in read:
        error = world.refused(APPROVER, "RuleBook", "approve", MALL.id, RULE.rule_id, 1, content)
        assert reason_of(error) == (
            "RuleBook_ContentMismatch",
            {"ruleId": RULE.rule_id, "version": 1, "contentHash": content},
        )


def test_what_nobody_proposed_cannot_be_approved(world: World) -> None:
    world.propose(RULE)
    for wrong in (replace(RULE, version=2), replace(RULE, version=0), replace(RULE, platform=SHOP)):
        error = world.refused(APPROVER, "RuleBook", "approve", *world.approval(wrong))
        assert reason_of(error) == (
            "RuleBook_UnknownVersion",
            {"ruleId": RULE.rule_id, "version": wrong.version},
        )


def test_a_version_is_approved_once(world: World) -> None:
    world.put_in_force(RULE)
    error = world.refused(APPROVER, "RuleBook", "approve", *world.approval(RULE))
    assert reason_of(error) == ("RuleBook_AlreadyApproved", {"ruleId": RULE.rule_id, "version": 1})


def test_a_platform_never_approves_its_own_rule_even_with_the_role(world: World) -> None:
    world.node.impersonate(MALL.key.address)
    world.node.impersonate(SHOP.key.address)
    for platform in (MALL, SHOP):
        world.act(ADMIN, "AccessManager", "grantRole", RULE_APPROVER_ROLE, platform.key.address, 0)
    world.propose(RULE)
    error = world.refused(MALL.key, "RuleBook", "approve", *world.approval(RULE))
    assert reason_of(error) == ("RuleBook_ApproverIsAuthority", {"approver": MALL.key.address})
    assert world.act(SHOP.key, "RuleBook", "approve", *world.approval(RULE))


def grant(world: World, key: LocalKey) -> None:
    world.node.impersonate(key.address)
    world.act(ADMIN, "AccessManager", "grantRole", RULE_APPROVER_ROLE, key.address, 0)


@pytest.mark.parametrize("key", [MALL.key, SHOP.key, APPROVER], ids=["platform", "another", "approver"])
def test_nobody_approves_through_the_access_manager(world: World, key: LocalKey) -> None:
    if key is not APPROVER:
        grant(world, key)
    world.propose(RULE)
    manager, book = world.system.deployment.access_manager, world.system.deployment.rule_book
    approval = encode_call("RuleBook", "approve", *world.approval(RULE))
    error = world.refused(key, "AccessManager", "execute", book, approval)
    assert reason_of(error) == ("RuleBook_ApprovalNotDirect", {"caller": manager})


def test_neither_the_authority_that_proposed_nor_the_one_that_followed_it_approves(world: World) -> None:
    grant(world, MALL.key)
    grant(world, HEIR)
    world.propose(RULE)
    world.register("rotateAuthority", MALL.id, HEIR.address)
    for key in (MALL.key, HEIR):
        error = world.refused(key, "RuleBook", "approve", *world.approval(RULE))
        assert reason_of(error) == ("RuleBook_ApproverIsAuthority", {"approver": key.address})
    assert world.approve(RULE)


WITHOUT_THE_ROLE = {
    "the administrator": ADMIN,
    "the registrar": REGISTRAR,
    "the bank": BANK,
    "the platform": MALL.key,
    "anybody": OUTSIDER,
}


@pytest.mark.parametrize("sender", WITHOUT_THE_ROLE.values(), ids=WITHOUT_THE_ROLE)
def test_only_an_approver_approves_and_not(world: World, sender: LocalKey) -> None:
    world.node.impersonate(sender.address)
    world.propose(RULE)
    error = world.refused(sender, "RuleBook", "approve", *world.approval(RULE))
    assert reason_of(error) == ("AccessManagedUnauthorized", {"caller": sender.address})
