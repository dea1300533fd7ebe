"""Which version is in force when, and that an order is split for ever by the one it was captured with."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fenzhang.chain.artifacts import artifact
from fenzhang.chain.events import OrderCaptured, OrderSplit
from fenzhang.chain.keccak import keccak
from fenzhang.domain.errors import RuleNotInForce
from fenzhang.domain.records import RuleState
from fenzhang.domain.rules import Leg, LegKind
from support.parties import MALL, MERCHANT, PAIR, PROMOTER, SHOP, RuleRef, ident
from support.world import World

FIRST = RuleRef(MALL, ident("rule", "staged"), 1, PAIR.legs)
SECOND = replace(
    FIRST,
    version=2,
    legs=(Leg(-1, LegKind.SHARE, 1_000, role="promoter"), Leg(-1, LegKind.REMAINDER, role="merchant")),
)
THIRD = replace(SECOND, version=3)
BOUND = (PROMOTER.id, MERCHANT.id)


def state(world: World, rule: RuleRef) -> RuleState:
    return RuleState(world.system.call("RuleBook", "load", rule.platform.id, rule.rule_id, rule.version)[0])


def captures(world: World, rule: RuleRef) -> RuleState:
    """IN_FORCE if an order can be captured with this version, else the state that stands in the way."""
    settled = world.settle(world.attest(world.capture(rule=rule, bindings=BOUND)))
    if settled.all(OrderCaptured):
        return RuleState.IN_FORCE
    [reason] = settled.reasons
    assert isinstance(reason, RuleNotInForce)
    assert reason.values["rule_id"] == rule.rule_id
    assert reason.values["version"] == rule.version
    found = reason.values["state"]
    assert isinstance(found, RuleState)
    return found


def test_a_version_nobody_proposed_is_unknown(world: World) -> None:
    assert captures(world, FIRST) is RuleState.UNKNOWN
    assert captures(world, replace(PAIR, version=2)) is RuleState.UNKNOWN
    assert captures(world, replace(PAIR, version=0)) is RuleState.UNKNOWN


def test_the_rule_of_another_platform_is_unknown_to_this_one(world: World) -> None:
    assert captures(world, replace(PAIR, platform=SHOP)) is RuleState.UNKNOWN


def test_a_version_that_is_proposed_and_not_approved_is_not_in_force(world: World) -> None:
    world.propose(FIRST)
    assert captures(world, FIRST) is RuleState.PROPOSED


def test_an_approved_version_is_in_force_from_its_very_second(world: World) -> None:
    noon = world.node.now + 1_000
    world.put_in_force(FIRST, noon)
    world.node.next_block_at(noon - 1)
    assert captures(world, FIRST) is RuleState.NOT_EFFECTIVE
    assert world.node.now == noon - 1
    assert captures(world, FIRST) is RuleState.IN_FORCE
    assert world.node.now == noon


def test_a_later_version_supersedes_only_once_it_is_approved_and_effective(world: World) -> None:
    world.put_in_force(FIRST)
    noon = world.node.now + 1_000
    world.propose(SECOND, noon)
    assert (captures(world, FIRST), captures(world, SECOND)) == (RuleState.IN_FORCE, RuleState.PROPOSED)
    world.approve(SECOND, noon)
    assert (captures(world, FIRST), captures(world, SECOND)) == (RuleState.IN_FORCE, RuleState.NOT_EFFECTIVE)
    world.node.next_block_at(noon)
    assert (captures(world, FIRST), captures(world, SECOND)) == (RuleState.SUPERSEDED, RuleState.IN_FORCE)


def test_a_version_approved_after_its_successor_is_superseded_from_the_start(world: World) -> None:
    world.put_in_force(FIRST)
    world.propose(SECOND)
    world.put_in_force(THIRD)
    assert (captures(world, FIRST), captures(world, SECOND)) == (RuleState.SUPERSEDED, RuleState.PROPOSED)
    world.approve(SECOND)
    assert (captures(world, SECOND), captures(world, THIRD)) == (RuleState.SUPERSEDED, RuleState.IN_FORCE)


@pytest.mark.parametrize("approved", [True, False], ids=["approved", "proposed"])
def test_at_most_one_version_is_in_force(world: World, approved: bool) -> None:  # noqa: FBT001 - a parameter of the test
    world.put_in_force(FIRST)
    world.propose(SECOND)
    if approved:
        world.approve(SECOND)
    in_force = [rule for rule in (FIRST, SECOND) if state(world, rule) is RuleState.IN_FORCE]
    assert in_force == [SECOND if approved else FIRST]


def test_versions_approved_in_any_order_supersede_by_their_number(world: World) -> None:
    noon = world.node.now + 1_000
    versions = [replace(SECOND, version=number) for number in range(2, 7)]
    world.put_in_force(FIRST)
    for number, rule in enumerate(versions):
        world.propose(rule, noon + 100 * number)
    for number in (2, 4, 0, 3):
        world.approve(versions[number], noon + 100 * number)
    seen = []
    for number in range(5):
        world.node.next_block_at(noon + 100 * number)
        world.node.mine()
        seen.append([state(world, rule).name[0] for rule in (FIRST, *versions)])
    assert [" ".join(row) for row in seen] == [
        "S I P N N N",
        "S I P N N N",
        "S S P I N N",
        "S S P S I N",
        "S S P S S I",
    ]


def test_proposals_that_nobody_approves_cost_a_capture_nothing(world: World) -> None:
    world.put_in_force(FIRST)
    world.captured(rule=FIRST, bindings=BOUND)
    before = world.settle(world.attest(world.capture(rule=FIRST, bindings=BOUND))).mined.gas_used
    for number in range(2, 30):
        world.propose(replace(SECOND, version=number))
    after = world.settle(world.attest(world.capture(rule=FIRST, bindings=BOUND))).mined.gas_used
    assert abs(after - before) < 1_000


def test_a_retired_rule_takes_no_order_whatever_the_version(world: World) -> None:
    world.put_in_force(FIRST)
    world.put_in_force(SECOND)
    world.propose(THIRD)
    world.retire(FIRST)
    assert [captures(world, rule) for rule in (FIRST, SECOND, THIRD)] == [
        RuleState.RETIRED,
        RuleState.RETIRED,
        RuleState.PROPOSED,
    ]


def test_an_order_is_split_by_the_version_it_was_captured_with_whatever_came_after(world: World) -> None:
    world.put_in_force(FIRST)
    order = world.captured(100, rule=FIRST, bindings=BOUND)
    world.put_in_force(SECOND)
    split = world.did(world.split(order.order_id, 50)).only(OrderSplit)
    assert [allocation.amount for allocation in split.allocations] == [25, 25]
    world.retire(FIRST)
    split = world.did(world.split(order.order_id, 50)).only(OrderSplit)
    assert [allocation.amount for allocation in split.allocations] == [25, 25]


def test_no_function_changes_a_version(world: World) -> None:
    writes = {
        entry["name"]
        for entry in artifact("RuleBook").functions()
        if entry["stateMutability"] not in {"view", "pure"}
    }
    assert writes == {
        "propose",
        "proposeSchedule",
        "approve",
        "veto",
        "setApprovalLock",
        "retire",
        "setAuthority",
    }
    before = world.system.call("RuleBook", "load", MALL.id, PAIR.rule_id, 1)
    world.put_in_force(replace(PAIR, version=2, legs=SECOND.legs))
    after = world.system.call("RuleBook", "load", MALL.id, PAIR.rule_id, 1)
    assert after[1:] == before[1:]


def test_the_legs_are_code_that_does_nothing_when_called(world: World) -> None:
    book = world.system.deployment.rule_book
    nonce = int(world.node.request("eth_getTransactionCount", "0x" + book.hex(), "latest"), 16)
    world.propose(FIRST)
    blob = keccak(b"\xd6\x94" + book + bytes([nonce]))[12:]
    code = bytes.fromhex(world.node.request("eth_getCode", "0x" + blob.hex(), "latest")[2:])
    assert code[0] == 0, "STOP"
    assert MERCHANT.id not in code
    assert b"promoter" in code
    assert world.node.call(blob, b"\x00\x01\x02\x03") == b""
