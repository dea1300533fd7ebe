"""Time lock, veto and caps: a clean history verifies, and one that the contracts would not have allowed is found."""

from __future__ import annotations

from dataclasses import replace

import pytest

from audit.auditing import Slots, codes, mapped, only, peek, poke, verified, word
from fenzhang.audit.differences import Code
from fenzhang.chain.codec import encode_call
from fenzhang.domain.records import Capture
from fenzhang.domain.rules import RuleTerms
from support.parties import MALL, MERCHANT, PAIR, PROMOTER, RuleRef, ident
from support.system import ADMIN, GUARDIAN
from support.world import World

BOUND = (PROMOTER.id, MERCHANT.id)
RULE = RuleRef(MALL, ident("rule", "guarded"), 1, PAIR.legs, RuleTerms(3_000))
WHY = b"why".ljust(32, b"\0")
APPROVAL_LOCK = Slots.RULES + 1
EFFECTIVE = 0xFFFF_FFFF_FFFF_FFFF << 160
CAP = 0xFFFF << 232
DAY = 86_400


def set_lock(world: World, seconds: int) -> None:
    world.act(ADMIN, "RuleBook", "setApprovalLock", seconds)


def veto(world: World, rule: RuleRef, effective_from: int = 0) -> None:
    world.act(GUARDIAN, "RuleBook", "veto", *world.approval(rule, effective_from), WHY)


def cap(world: World, max_share_out: int) -> None:
    world.act(GUARDIAN, "ParticipantRegistry", "setMaxShareOut", MALL.id, max_share_out)


def version_slot(rule: RuleRef, offset: int) -> int:
    versions = mapped(Slots.RULES, rule.platform.id, rule.rule_id) + 1
    return mapped(versions, word(rule.version)) + offset


async def test_a_history_with_all_of_it_verifies(world: World) -> None:
    set_lock(world, 100)
    noon = world.node.now + 1_000
    second = replace(RULE, version=2)
    world.put_in_force(RULE, noon)
    world.put_in_force(second, noon + 500)
    veto(world, second, noon + 500)
    set_lock(world, 0)
    world.node.next_block_at(noon)
    order = world.captured(1_000, rule=RULE, bindings=BOUND)
    split = world.split(order.order_id, 400)
    world.did(split)
    cap(world, 2_500)
    above = world.settle(world.authorize(world.split(order.order_id, 200)))
    assert len(above.reasons) == 1
    world.did(world.give_back(order.order_id, split.id, 100))
    world.did(world.split(order.order_id, 100))

    report = await verified(world)

    assert report.differences == ()


async def test_an_approval_within_the_lock(world: World) -> None:
    set_lock(world, DAY)
    world.propose(RULE)
    lock = poke(world, "RuleBook", APPROVAL_LOCK, 0)
    world.approve(RULE)
    poke(world, "RuleBook", APPROVAL_LOCK, lock)

    report = await verified(world)

    assert codes(report) == {Code.RULE_LOCKED: 1}
    assert only(report, Code.RULE_LOCKED).rule == RULE.rule_id


async def test_the_lock(world: World) -> None:
    set_lock(world, DAY)
    poke(world, "RuleBook", APPROVAL_LOCK, 1)

    difference = only(await verified(world), Code.APPROVAL_LOCK)
    assert (difference.expected, difference.found) == (DAY, 1)


async def test_a_veto_of_what_was_in_effect(world: World) -> None:
    world.put_in_force(RULE)
    slot = version_slot(RULE, 1)
    before = poke(world, "RuleBook", slot, peek(world, "RuleBook", slot) | EFFECTIVE)
    veto(world, RULE)
    poke(world, "RuleBook", slot, before & ~(0xFF << 224))

    report = await verified(world)

    assert codes(report) == {Code.RULE_LOCKED: 1}


async def test_a_veto_that_the_chain_forgot(world: World) -> None:
    world.propose(RULE)
    veto(world, RULE)
    slot = version_slot(RULE, 2)
    poke(world, "RuleBook", slot, peek(world, "RuleBook", slot) & (1 << 192) - 1)

    difference = only(await verified(world), Code.RULE_HEADER)
    assert (difference.expected, difference.found) == (True, False)


async def test_a_cap(world: World) -> None:
    cap(world, 2_500)
    slot = mapped(Slots.PARTICIPANTS, MALL.id)
    poke(world, "ParticipantRegistry", slot, peek(world, "ParticipantRegistry", slot) & ~CAP)

    difference = only(await verified(world), Code.PARTICIPANT)
    assert isinstance(difference.expected, dict)
    assert isinstance(difference.found, dict)
    caps = (difference.expected["max_share_out"], difference.found["max_share_out"])
    assert (difference.participant, caps) == (MALL.id, (2_500, 0))


@pytest.fixture
def order(world: World) -> Capture:
    """An order of 1,000 by a rule that lets 300 of it leave, of which 100 did."""
    world.put_in_force(RULE)
    captured = world.captured(1_000, rule=RULE, bindings=BOUND)
    world.did(world.split(captured.order_id, 200))
    return captured


async def test_what_left_an_order(world: World, order: Capture) -> None:
    poke(world, "SplitLedger", mapped(Slots.SHARED_OUT, order.order_id), 7)

    difference = only(await verified(world), Code.SHARED_OUT)
    assert (difference.order, difference.expected, difference.found) == (order.order_id, 100, 7)


async def test_a_split_above_the_cap(world: World, order: Capture) -> None:
    slot = version_slot(RULE, 1)
    terms = poke(world, "RuleBook", slot, peek(world, "RuleBook", slot) & ~CAP)
    world.twin.world.rules[MALL.id, RULE.rule_id].versions[1].terms = RuleTerms()
    world.did(world.split(order.order_id, 800))
    poke(world, "RuleBook", slot, terms)

    found = codes(await verified(world))

    assert found[Code.DECISION_DIFFERS] == 1
    assert found[Code.ORDER_NOT_CONSERVED] == 1


async def test_a_veto_carried_out_by_the_access_manager_is_no_call_of_a_guardian(world: World) -> None:
    world.propose(RULE)
    data = encode_call("RuleBook", "veto", *world.approval(RULE), WHY)
    world.refused(GUARDIAN, "AccessManager", "execute", world.system.deployment.rule_book, data)

    assert (await verified(world)).differences == ()
