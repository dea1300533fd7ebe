"""The time between approval and effect: the approval lock, and the guardian's veto before a version takes effect."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fenzhang.chain.codec import encode_call
from fenzhang.chain.events import ApprovalLockChanged, RuleVetoed
from fenzhang.chain.signer import LocalKey
from fenzhang.domain.errors import RuleNotInForce
from fenzhang.domain.records import RuleState
from fenzhang.domain.rules import Leg, LegKind
from support.parties import MALL, MERCHANT, PAIR, PROMOTER, RuleRef, ident
from support.system import ADMIN, APPROVER, GUARDIAN, OUTSIDER, REGISTRAR, SUBMITTER
from support.twin import NOWHERE
from support.world import World, reason_of

FIRST = RuleRef(MALL, ident("rule", "watched"), 1, PAIR.legs)
SECOND = replace(
    FIRST,
    version=2,
    legs=(Leg(-1, LegKind.SHARE, 1_000, role="promoter"), Leg(-1, LegKind.REMAINDER, role="merchant")),
)
THIRD = replace(SECOND, version=3)
BOUND = (PROMOTER.id, MERCHANT.id)
WHY = b"share_too_high".ljust(32, b"\0")
DAY = 86_400


def set_lock(world: World, seconds: int) -> None:
    world.act(ADMIN, "RuleBook", "setApprovalLock", seconds)


def veto(world: World, rule: RuleRef, effective_from: int = 0) -> RuleVetoed:
    [event] = world.act(GUARDIAN, "RuleBook", "veto", *world.approval(rule, effective_from), WHY)
    assert isinstance(event, RuleVetoed)
    return event


def refused_veto(
    world: World, rule: RuleRef, effective_from: int = 0, sender: LocalKey = GUARDIAN
) -> tuple[str | None, dict[str, object]]:
    arguments = (*world.approval(rule, effective_from), WHY)
    return reason_of(world.refused(sender, "RuleBook", "veto", *arguments))


def refused_approval(
    world: World, rule: RuleRef, effective_from: int = 0
) -> tuple[str | None, dict[str, object]]:
    return reason_of(world.refused(APPROVER, "RuleBook", "approve", *world.approval(rule, effective_from)))


def state(world: World, rule: RuleRef) -> RuleState:
    return RuleState(world.system.call("RuleBook", "load", rule.platform.id, rule.rule_id, rule.version)[0])


# ------------------------------------------------------------------------------ lock


def test_the_lock_is_told_and_can_be_read(world: World) -> None:
    assert world.system.call("RuleBook", "approvalLock") == 0
    events = world.act(ADMIN, "RuleBook", "setApprovalLock", 2 * DAY)
    assert events == [ApprovalLockChanged(NOWHERE, 2 * DAY)]
    assert world.system.call("RuleBook", "approvalLock") == 2 * DAY


@pytest.mark.parametrize("sender", [REGISTRAR, APPROVER, GUARDIAN, MALL.key, OUTSIDER])
def test_only_the_administrator_sets_the_lock(world: World, sender: LocalKey) -> None:
    world.node.impersonate(sender.address)
    error = world.refused(sender, "RuleBook", "setApprovalLock", 1)
    assert reason_of(error)[0] == "AccessManagedUnauthorized"


def test_approval_is_the_lock_before_effect_to_the_second(world: World) -> None:
    set_lock(world, DAY)
    noon = world.node.now + 2 * DAY
    world.propose(FIRST, noon)
    world.node.next_block_at(noon - DAY + 1)
    assert refused_approval(world, FIRST, noon) == (
        "RuleBook_EffectiveWithinLock",
        {"ruleId": FIRST.rule_id, "version": 1, "effectiveFrom": noon, "earliest": noon + 1},
    )
    in_time = replace(FIRST, version=2)
    later = world.node.now + 2 * DAY
    world.propose(in_time, later)
    world.node.next_block_at(later - DAY)
    world.approve(in_time, later)
    assert state(world, in_time) is RuleState.NOT_EFFECTIVE


def test_without_a_lock_what_is_effective_already_can_be_approved(world: World) -> None:
    set_lock(world, DAY)
    set_lock(world, 0)
    world.put_in_force(FIRST)
    assert state(world, FIRST) is RuleState.IN_FORCE


def test_changing_the_lock_changes_nothing_that_was_approved(world: World) -> None:
    soon = world.node.now + 1_000
    world.put_in_force(FIRST, soon)
    set_lock(world, 365 * DAY)
    world.node.next_block_at(soon)
    world.captured(rule=FIRST, bindings=BOUND)


def test_a_lock_of_any_length_overflows_nothing(world: World) -> None:
    set_lock(world, 2**64 - 1)
    world.propose(FIRST, 2**64 - 1)
    name, values = refused_approval(world, FIRST, 2**64 - 1)
    assert (name, values["earliest"]) == ("RuleBook_EffectiveWithinLock", world.node.now + 2**64 - 1)


# ------------------------------------------------------------------------------ veto


def test_a_proposed_version_is_vetoed_by_whom_and_why(world: World) -> None:
    world.propose(FIRST)
    event = veto(world, FIRST)
    content = world.approval(FIRST)[3]
    assert event == RuleVetoed(NOWHERE, MALL.id, FIRST.rule_id, 1, content, GUARDIAN.address, WHY)
    assert state(world, FIRST) is RuleState.VETOED
    assert refused_approval(world, FIRST) == (
        "RuleBook_AlreadyVetoed",
        {"ruleId": FIRST.rule_id, "version": 1},
    )


def test_an_approved_version_is_vetoed_until_it_takes_effect(world: World) -> None:
    noon = world.node.now + 1_000
    world.put_in_force(FIRST, noon)
    world.node.next_block_at(noon)
    assert refused_veto(world, FIRST, noon) == (
        "RuleBook_AlreadyEffective",
        {"ruleId": FIRST.rule_id, "version": 1, "effectiveFrom": noon},
    )
    later = noon + 1_000
    world.put_in_force(SECOND, later)
    world.node.next_block_at(later - 1)
    veto(world, SECOND, later)
    world.node.next_block_at(later + 1)
    settled = world.settle(world.attest(world.capture(rule=SECOND, bindings=BOUND)))
    [reason] = settled.reasons
    assert isinstance(reason, RuleNotInForce)
    assert reason.values["state"] is RuleState.VETOED
    world.captured(rule=FIRST, bindings=BOUND)
    header = world.system.call("RuleBook", "header", MALL.id, FIRST.rule_id, 2)
    assert header[2] is False


@pytest.mark.parametrize("which", [0, 1, 2], ids=["oldest", "middle", "newest"])
def test_a_veto_leaves_the_other_versions_as_they_are(world: World, which: int) -> None:
    noon = world.node.now + 1_000
    rules = [FIRST, SECOND, THIRD]
    for number, rule in enumerate(rules):
        world.put_in_force(rule, noon + number)
    veto(world, rules[which], noon + which)
    world.node.next_block_at(noon + 10)
    world.node.mine()
    rest = [rule for rule in rules if rule is not rules[which]]
    assert [state(world, rule) for rule in rest] == [RuleState.SUPERSEDED, RuleState.IN_FORCE]
    assert state(world, rules[which]) is RuleState.VETOED


def test_what_was_vetoed_does_not_hold_up_what_corrects_it(world: World) -> None:
    noon = world.node.now + 1_000
    world.put_in_force(FIRST, noon)
    world.propose(SECOND, noon + 365 * DAY)
    veto(world, SECOND, noon + 365 * DAY)
    before = world.refused(SUBMITTER, "RuleBook", "propose", *world.proposal(THIRD, noon - 1))
    assert reason_of(before) == (
        "RuleBook_EffectiveBeforePrevious",
        {"ruleId": FIRST.rule_id, "effectiveFrom": noon - 1, "previous": noon},
    )
    world.put_in_force(THIRD, noon)
    world.node.next_block_at(noon)
    world.captured(rule=THIRD, bindings=BOUND)


def test_a_veto_is_for_what_was_read_and_once(world: World) -> None:
    noon = world.node.now + 1_000
    assert refused_veto(world, FIRST)[0] == "RuleBook_UnknownVersion"
    world.propose(FIRST, noon)
    assert refused_veto(world, FIRST, noon + 1)[0] == "RuleBook_ContentMismatch"
    veto(world, FIRST, noon)
    assert refused_veto(world, FIRST, noon) == (
        "RuleBook_AlreadyVetoed",
        {"ruleId": FIRST.rule_id, "version": 1},
    )


@pytest.mark.parametrize("sender", [REGISTRAR, APPROVER, ADMIN, MALL.key, OUTSIDER])
def test_only_a_guardian_vetoes(world: World, sender: LocalKey) -> None:
    world.node.impersonate(sender.address)
    world.propose(FIRST)
    assert refused_veto(world, FIRST, sender=sender)[0] == "AccessManagedUnauthorized"


def test_a_veto_shows_who_made_it(world: World) -> None:
    """Carried out by the AccessManager, it would not."""
    world.propose(FIRST)
    data = encode_call("RuleBook", "veto", *world.approval(FIRST), WHY)
    error = world.refused(GUARDIAN, "AccessManager", "execute", world.system.deployment.rule_book, data)
    assert reason_of(error)[0] == "RuleBook_VetoNotDirect"


def test_a_version_of_a_retired_rule_can_be_vetoed_like_any_other(world: World) -> None:
    world.propose(FIRST)
    world.retire(FIRST)
    veto(world, FIRST)
    assert state(world, FIRST) is RuleState.VETOED
