"""Proposing a rule version: only what the platform signed, in order of versions, and only real rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from fenzhang.chain.codec import leg_values
from fenzhang.chain.eip712 import SigningDomain, proposal_hash, rule_book_domain
from fenzhang.chain.events import RuleProposed
from fenzhang.chain.signer import LocalKey
from fenzhang.domain.records import RuleState
from fenzhang.domain.rules import Leg, LegKind, RuleTerms, roles_of
from support.parties import MALL, MARKET, MERCHANT, PAIR, PROMOTER, SHOP, RuleRef, ident, party
from support.system import ADMIN, APPROVER, OUTSIDER, SUBMITTER
from support.twin import NOWHERE
from support.world import World, reason_of

RULE = RuleRef(MALL, ident("rule", "new"), 1, MARKET.legs)
SECOND = replace(RULE, version=2, legs=PAIR.legs)
NOON = 2_000_000_000


def load(world: World, rule: RuleRef) -> tuple[RuleState, list[object], list[bytes]]:
    state, legs, roles, terms, _ = world.system.call(
        "RuleBook", "load", rule.platform.id, rule.rule_id, rule.version
    )
    assert RuleTerms(*terms) == (RuleTerms() if state == RuleState.UNKNOWN else rule.terms)
    return RuleState(state), list(legs), list(roles)


TERMS = (
    RuleTerms(max_share_out=10_000),
    RuleTerms(max_share_out=1),
    RuleTerms(may_owe=True),
    RuleTerms(3_000, may_owe=True),
    RuleTerms(park=True),
    RuleTerms(5_000, may_owe=True, park=True),
)


def with_legs(values: Any, legs: Sequence[Any]) -> Any:
    return (*values[:4], legs, values[5])


def refused(world: World, rule: RuleRef, **how: object) -> tuple[str | None, dict[str, object]]:
    arguments = world.proposal(rule, **how)  # type: ignore[arg-type] # keyword arguments of proposal, as they come
    return reason_of(world.refused(SUBMITTER, "RuleBook", "propose", *arguments))


def test_a_signed_proposal_is_recorded_with_its_content(world: World) -> None:
    content = proposal_hash(MALL.id, RULE.rule_id, 1, NOON, RULE.legs)
    assert world.propose(RULE, NOON) == [
        RuleProposed(NOWHERE, MALL.id, RULE.rule_id, 1, NOON, content, RULE.legs)
    ]
    header = world.system.call("RuleBook", "header", MALL.id, RULE.rule_id, 1)
    assert header == (content, NOON, False, MALL.key.address)
    assert world.system.call("RuleBook", "latest", MALL.id, RULE.rule_id) == (1, False)


def test_a_proposed_version_can_be_read_but_is_not_in_force(world: World) -> None:
    world.propose(RULE)
    roles = [role.encode().ljust(32, b"\0") for role in roles_of(RULE.legs)]
    assert load(world, RULE) == (RuleState.PROPOSED, [leg_values(leg) for leg in RULE.legs], roles)


@pytest.mark.parametrize("terms", TERMS, ids=str)
def test_terms_are_signed_recorded_and_read_back(world: World, terms: RuleTerms) -> None:
    rule = replace(RULE, terms=terms)
    content = proposal_hash(MALL.id, RULE.rule_id, 1, NOON, RULE.legs, terms)
    assert world.propose(rule, NOON) == [
        RuleProposed(NOWHERE, MALL.id, RULE.rule_id, 1, NOON, content, RULE.legs, terms)
    ]
    assert world.system.call("RuleBook", "header", MALL.id, RULE.rule_id, 1)[0] == content
    assert load(world, rule)[0] is RuleState.PROPOSED
    world.approve(rule, NOON)
    assert load(world, rule)[0] is RuleState.NOT_EFFECTIVE


def test_a_cap_above_the_whole_is_refused(world: World) -> None:
    too_much = replace(RULE, terms=RuleTerms(max_share_out=10_001))
    assert refused(world, too_much) == ("RuleBook_ShareOutAboveWhole", {"maxShareOut": 10_001})


def test_an_unknown_version_reads_as_nothing(world: World) -> None:
    assert load(world, RULE) == (RuleState.UNKNOWN, [], [])
    assert load(world, replace(MARKET, version=2)) == (RuleState.UNKNOWN, [], [])
    assert load(world, replace(MARKET, version=0)) == (RuleState.UNKNOWN, [], [])


def test_anybody_may_relay_a_proposal(world: World) -> None:
    for sender in (OUTSIDER, ADMIN, APPROVER):
        saved = world.save()
        assert world.act(sender, "RuleBook", "propose", *world.proposal(RULE))
        world.restore(saved)


FORGERS = {"another platform": SHOP.key, "a recipient": MERCHANT.key, "the administrator": ADMIN}


@pytest.mark.parametrize("key", FORGERS.values(), ids=FORGERS)
def test_a_proposal_is_refused_when_signed_by(world: World, key: LocalKey) -> None:
    assert refused(world, RULE, key=key) == ("RuleBook_InvalidSignature", {"platform": MALL.id})


def domains(world: World) -> list[SigningDomain]:
    mine = world.system.deployment.rule_domain()
    return [
        replace(mine, chain_id=1),
        rule_book_domain(mine.chain_id, ident("another rule book")[12:]),
        world.system.deployment.ledger_domain(),
        replace(mine, name="fenzhang SplitLedger"),
    ]


def test_a_signature_for_another_chain_contract_or_name_is_worth_nothing_here(world: World) -> None:
    for domain in domains(world):
        assert refused(world, RULE, domain=domain) == ("RuleBook_InvalidSignature", {"platform": MALL.id})


CHANGES = {
    "the platform": lambda values: (SHOP.id, *values[1:]),
    "the rule": lambda values: (values[0], ident("other"), *values[2:]),
    "the effective time": lambda values: (*values[:3], 1, *values[4:]),
    "a leg's value": lambda values: with_legs(values, [(-1, 0, 31, *values[4][0][3:]), *values[4][1:]]),
    "a recipient": lambda values: with_legs(
        values, [(*values[4][0][:5], PROMOTER.id, bytes(32)), *values[4][1:]]
    ),
    "a role": lambda values: with_legs(
        values, [*values[4][:4], (*values[4][4][:6], b"thief".ljust(32, b"\0"))]
    ),
    "the legs' order": lambda values: with_legs(values, [values[4][1], values[4][0], *values[4][2:]]),
    "the number of legs": lambda values: with_legs(values, values[4][1:2] + values[4][4:]),
    "the cap": lambda values: (*values[:5], (1, False, False)),
    "whether returns may leave debts": lambda values: (*values[:5], (0, True, False)),
    "whether shares are parked": lambda values: (*values[:5], (0, False, True)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_proposal_is_refused_after_a_change_of(world: World, change: object) -> None:
    values, signature = world.proposal(RULE)
    changed = change(values)  # type: ignore[operator] # one of CHANGES
    error = world.refused(SUBMITTER, "RuleBook", "propose", changed, signature)
    assert reason_of(error) == ("RuleBook_InvalidSignature", {"platform": changed[0]})


def test_a_malformed_signature_is_an_invalid_one(world: World) -> None:
    values, signature = world.proposal(RULE)
    high_s = int.to_bytes(
        0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
        - int.from_bytes(signature[32:64], "big"),
        32,
        "big",
    )
    flipped = signature[:32] + high_s + bytes([55 - signature[64]])
    for bad in (b"", signature[:64], signature + b"\0", bytes(65), flipped, b"\xff" * 65):
        error = world.refused(SUBMITTER, "RuleBook", "propose", values, bad)
        assert reason_of(error) == ("RuleBook_InvalidSignature", {"platform": MALL.id})


def test_versions_count_up_from_one(world: World) -> None:
    for version, expected in ((0, 1), (2, 1), (2**32 - 1, 1)):
        assert refused(world, replace(RULE, version=version)) == (
            "RuleBook_VersionNotNext",
            {"ruleId": RULE.rule_id, "version": version, "expected": expected},
        )
    world.propose(RULE)
    for version in (0, 1, 3):
        assert refused(world, replace(SECOND, version=version)) == (
            "RuleBook_VersionNotNext",
            {"ruleId": RULE.rule_id, "version": version, "expected": 2},
        )
    world.propose(SECOND)


def test_a_relayed_proposal_cannot_be_relayed_again(world: World) -> None:
    world.propose(RULE)
    assert refused(world, RULE) == (
        "RuleBook_VersionNotNext",
        {"ruleId": RULE.rule_id, "version": 1, "expected": 2},
    )


def test_a_version_is_effective_no_earlier_than_the_one_before(world: World) -> None:
    world.propose(RULE, NOON)
    assert refused(world, SECOND, effective_from=NOON - 1) == (
        "RuleBook_EffectiveBeforePrevious",
        {"ruleId": RULE.rule_id, "effectiveFrom": NOON - 1, "previous": NOON},
    )
    world.propose(SECOND, NOON)


def test_a_retired_rule_has_no_further_versions(world: World) -> None:
    world.put_in_force(RULE)
    world.retire(RULE)
    assert refused(world, SECOND) == ("RuleBook_AlreadyRetired", {"ruleId": RULE.rule_id})


@pytest.mark.parametrize("move", ["suspend", "close"])
def test_a_platform_that_is_not_active_proposes_nothing(world: World, move: str) -> None:
    world.register(move, MALL.id)
    assert refused(world, RULE) == ("RuleBook_PlatformNotActive", {"platform": MALL.id})


def test_neither_an_unknown_platform_nor_one_without_an_authority_proposes(world: World) -> None:
    nobody = party("nobody")
    assert refused(world, replace(RULE, platform=nobody)) == (
        "RuleBook_PlatformNotActive",
        {"platform": nobody.id},
    )
    assert refused(world, replace(RULE, platform=MERCHANT)) == (
        "RuleBook_PlatformNotActive",
        {"platform": MERCHANT.id},
    )


def test_the_same_rule_id_of_another_platform_is_another_rule(world: World) -> None:
    theirs = RuleRef(SHOP, MARKET.rule_id, 1, PAIR.legs)
    world.propose(theirs)
    assert world.system.call("RuleBook", "latest", SHOP.id, MARKET.rule_id) == (1, False)
    assert load(world, MARKET)[1] == [leg_values(leg) for leg in MARKET.legs]


def test_the_largest_rule_fits(world: World) -> None:
    legs = (
        *(Leg(-1, LegKind.SHARE, 100, 2**96 - 2, 2**96 - 1) for _ in range(12)),
        *(Leg(pool, LegKind.REMAINDER, role=f"role-{pool}".ljust(32, "x")) for pool in range(12)),
        *(Leg(-1, LegKind.FIXED, 2**96 - 1, recipient=ident(n)) for n in range(7)),
        Leg(-1, LegKind.REMAINDER, role="merchant"),
    )
    largest = replace(RULE, legs=legs)
    world.put_in_force(largest)
    assert load(world, largest)[:2] == (RuleState.IN_FORCE, [leg_values(leg) for leg in legs])
