"""What makes a list of legs a rule: contract and Python accept the same, and name the same first fault otherwise."""

from __future__ import annotations

from collections import Counter

import pytest

from fenzhang.chain.codec import leg_values
from fenzhang.chain.errors import ContractError
from fenzhang.domain.errors import FenzhangError, InvalidRule
from fenzhang.domain.rules import Leg, LegKind, validate, validate_tree
from support.parties import MALL, RuleRef, ident
from support.trees import flawed_trees, generated, trees
from support.world import World

Legs = tuple[Leg, ...]
Fault = tuple[str, int]
"""Name of the error and the leg it names, -1 for the tree as a whole."""
GENERATED_TREES = 1_500

SAYINGS = {
    "RuleTree_LegCount": "legs, not",
    "RuleTree_LeafCount": "leaves, not",
    "RuleTree_Parent": "is not an earlier leg",
    "RuleTree_Depth": "depth",
    "RuleTree_Value": ("basis points are more", "has no value", "needs a value"),
    "RuleTree_Bounds": ("only a SHARE and a GIVEN leg have min and max", "is above max"),
    "RuleTree_RemainderNotLast": "stands after the REMAINDER",
    "RuleTree_NoRemainder": "the pool has no REMAINDER",
    "RuleTree_RecipientOrRole": ("only a leaf names", "a leaf names either"),
}
"""The contract's errors in the words of Python's InvalidRule."""
SHARE, FIXED, REMAINDER, GIVEN = LegKind.SHARE, LegKind.FIXED, LegKind.REMAINDER, LegKind.GIVEN


def specified(error: InvalidRule | None) -> Fault | None:
    """Python's fault under the contract's name."""
    if error is None:
        return None
    [name] = [
        name
        for name, sayings in SAYINGS.items()
        if any(saying in error.message for saying in ((sayings,) if isinstance(sayings, str) else sayings))
    ]
    return name, error.leg


def python_validates(legs: Legs) -> Fault | None:
    try:
        validate(legs)
    except InvalidRule as error:
        return specified(error)
    return None


def python_sees_a_tree(legs: Legs) -> Fault | None:
    try:
        validate_tree(legs)
    except InvalidRule as error:
        return specified(error)
    return None


def fault_of(answer: object) -> Fault | None:
    """The contract's fault; None when it accepted."""
    if not isinstance(answer, FenzhangError):
        return None
    assert isinstance(answer, ContractError)
    name = str(answer.contract_error)
    leg = answer.values.get("leg", answer.values.get("parent", -1))
    assert name in SAYINGS, answer
    assert isinstance(leg, int)
    return name, leg


def chain_validates(world: World, every: list[Legs]) -> list[Fault | None]:
    """What `propose` says, without a transaction."""
    rules = [RuleRef(MALL, ident("rule", "generated"), 1, legs) for legs in every]
    answers = world.system.calls("RuleBook", "propose", [world.proposal(rule) for rule in rules])
    return [fault_of(answer) for answer in answers]


def chain_sees_a_tree(world: World, every: list[Legs]) -> list[Fault | None]:
    """What `quote` says, which looks at the shape alone."""
    arguments = [([leg_values(leg) for leg in legs], 2**96 - 1, ()) for legs in every]
    return [fault_of(answer) for answer in world.system.calls("RuleBook", "quote", arguments)]


@pytest.fixture(scope="module")
def flawed() -> list[Legs]:
    return generated(flawed_trees(), GENERATED_TREES)


def test_propose_accepts_every_generated_rule(world: World) -> None:
    valid = generated(trees(), GENERATED_TREES // 3)
    assert set(map(python_validates, valid)) == {None}
    assert set(chain_validates(world, valid)) == {None}


def test_propose_names_the_first_fault_that_python_names(world: World, flawed: list[Legs]) -> None:
    answers = chain_validates(world, flawed)
    wrong = [
        (legs, got, python_validates(legs))
        for legs, got in zip(flawed, answers, strict=True)
        if got != python_validates(legs)
    ]
    assert not wrong, min(wrong, key=lambda found: len(found[0]))


def test_quote_names_the_first_fault_of_the_shape(world: World, flawed: list[Legs]) -> None:
    answers = chain_sees_a_tree(world, flawed)
    wrong = [
        (legs, got, python_sees_a_tree(legs))
        for legs, got in zip(flawed, answers, strict=True)
        if got != python_sees_a_tree(legs)
    ]
    assert not wrong, min(wrong, key=lambda found: len(found[0]))


def test_generated_faults_are_of_every_kind(flawed: list[Legs]) -> None:
    found = Counter(fault[0] if fault else None for fault in map(python_validates, flawed))
    assert set(found) == {None, *SAYINGS}


rest = Leg(-1, REMAINDER, role="merchant")
BROKEN: dict[str, tuple[Legs, Fault]] = {
    "no legs": ((), ("RuleTree_LegCount", -1)),
    "33 legs": ((Leg(-1, FIXED, role="a"),) * 32 + (rest,), ("RuleTree_LegCount", -1)),
    "21 leaves": ((Leg(-1, FIXED, role="a"),) * 20 + (rest,), ("RuleTree_LeafCount", -1)),
    "a parent that is the leg itself": ((Leg(0, REMAINDER, role="a"),), ("RuleTree_Parent", 0)),
    "a parent that comes later": ((Leg(1, FIXED, role="a"), rest), ("RuleTree_Parent", 0)),
    "a parent below the root": ((Leg(-2, FIXED, role="a"), rest), ("RuleTree_Parent", 0)),
    "five levels": (
        tuple(Leg(parent, REMAINDER, role="a" if parent == 3 else None) for parent in range(-1, 4)),
        ("RuleTree_Depth", 4),
    ),
    "more than the whole": ((Leg(-1, SHARE, 10_001, role="a"), rest), ("RuleTree_Value", 0)),
    "a remainder with a value": ((Leg(-1, REMAINDER, 1, role="a"),), ("RuleTree_Value", 0)),
    "a given leg of more than the whole": ((Leg(-1, GIVEN, 10_001, role="a"), rest), ("RuleTree_Value", 0)),
    "a given leg of nothing": ((Leg(-1, GIVEN, role="a"), rest), ("RuleTree_Value", 0)),
    "a given leg with min above max": ((Leg(-1, GIVEN, 1, 3, 2, role="a"), rest), ("RuleTree_Bounds", 0)),
    "a given leg as the last of its pool": (
        (Leg(-1, GIVEN, 1), Leg(0, GIVEN, 1, role="a"), rest),
        ("RuleTree_NoRemainder", 0),
    ),
    "min above max": ((Leg(-1, SHARE, 1, 3, 2, role="a"), rest), ("RuleTree_Bounds", 0)),
    "a fixed leg with min": ((Leg(-1, FIXED, 1, min=1, role="a"), rest), ("RuleTree_Bounds", 0)),
    "a remainder with max": ((Leg(-1, REMAINDER, max=1, role="a"),), ("RuleTree_Bounds", 0)),
    "a leg behind the remainder": ((rest, Leg(-1, FIXED, role="a")), ("RuleTree_RemainderNotLast", 1)),
    "two remainders": ((rest, rest), ("RuleTree_RemainderNotLast", 1)),
    "a root without a remainder": ((Leg(-1, SHARE, 10_000, role="a"),), ("RuleTree_NoRemainder", -1)),
    "a leg without a remainder": (
        (Leg(-1, REMAINDER), Leg(0, FIXED, role="a")),
        ("RuleTree_NoRemainder", 0),
    ),
    "two pools without one, the second fed first": (
        (Leg(-1, FIXED), Leg(-1, REMAINDER), Leg(1, FIXED, role="a"), Leg(0, FIXED, role="a")),
        ("RuleTree_NoRemainder", 0),
    ),
    "a leaf for nobody": ((Leg(-1, REMAINDER),), ("RuleTree_RecipientOrRole", 0)),
    "a leaf for two": (
        (Leg(-1, REMAINDER, recipient=ident("a"), role="a"),),
        ("RuleTree_RecipientOrRole", 0),
    ),
    "a recipient on an inner leg": (
        (Leg(-1, REMAINDER, recipient=ident("a")), Leg(0, REMAINDER, role="a")),
        ("RuleTree_RecipientOrRole", 0),
    ),
    "a role on an inner leg": (
        (Leg(-1, REMAINDER, role="a"), Leg(0, REMAINDER, role="a")),
        ("RuleTree_RecipientOrRole", 0),
    ),
}


@pytest.mark.parametrize(("legs", "fault"), BROKEN.values(), ids=BROKEN)
def test_a_rule_is_refused_that_has(world: World, legs: Legs, fault: Fault) -> None:
    assert python_validates(legs) == fault
    assert chain_validates(world, [legs]) == [fault]


LIMITS: dict[str, Legs] = {
    "20 leaves": (Leg(-1, FIXED, role="a"),) * 19 + (rest,),
    "32 legs": (
        *(Leg(-1, FIXED) for _ in range(12)),
        *(Leg(pool, REMAINDER, role="a") for pool in range(12)),
        *(Leg(-1, FIXED, role="a"),) * 7,
        rest,
    ),
    "four levels": tuple(
        Leg(parent, REMAINDER, role="a" if parent == 2 else None) for parent in range(-1, 3)
    ),
    "one leg": (rest,),
    "a share of everything": (Leg(-1, SHARE, 10_000, role="a"), rest),
    "min equal to max": (Leg(-1, SHARE, 1, 7, 7, role="a"), rest),
    "a given leg of all there is, and a given pool": (
        Leg(-1, GIVEN, 10_000, 3, 3, role="a"),
        Leg(-1, GIVEN, 1),
        Leg(1, REMAINDER, role="a"),
        rest,
    ),
    "one role on two leaves": (Leg(-1, SHARE, 1, role="merchant"), rest),
}


@pytest.mark.parametrize("legs", LIMITS.values(), ids=LIMITS)
def test_a_rule_may_have(world: World, legs: Legs) -> None:
    assert python_validates(legs) is None
    assert chain_validates(world, [legs]) == [None]
