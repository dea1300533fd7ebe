"""What makes a list of legs a rule."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fenzhang.domain.errors import InvalidRule
from fenzhang.domain.rules import (
    MAX_CHAIN_AMOUNT,
    MAX_DEPTH,
    MAX_LEAVES,
    MAX_LEGS,
    ROOT,
    Leg,
    LegKind,
    given_indices,
    leaf_indices,
    roles_of,
    validate,
    validate_tree,
)

ANN = b"A" * 32
SHARE = Leg(ROOT, LegKind.SHARE, 100, recipient=ANN)
GIVEN = Leg(ROOT, LegKind.GIVEN, 100, recipient=ANN)
REST = Leg(ROOT, LegKind.REMAINDER, recipient=ANN)


def refused(legs: list[Leg]) -> InvalidRule:
    with pytest.raises(InvalidRule) as caught:
        validate(legs)
    assert caught.value.code == "invalid_rule"
    return caught.value


def test_a_remainder_alone_is_a_rule() -> None:
    validate([REST])


def test_roles_stand_in_order_of_first_use_and_once() -> None:
    legs = [
        replace(SHARE, recipient=None, role=role) for role in ("merchant", "promoter", "merchant", "platform")
    ]
    assert roles_of([*legs, REST]) == ["merchant", "promoter", "platform"]


def test_leaves_are_the_legs_without_children() -> None:
    legs = [
        SHARE,
        Leg(ROOT, LegKind.REMAINDER),
        Leg(1, LegKind.FIXED, 1, recipient=ANN),
        Leg(1, LegKind.REMAINDER, recipient=ANN),
    ]
    validate(legs)
    assert leaf_indices(legs) == [0, 2, 3]


def test_there_are_one_to_32_legs() -> None:
    assert refused([]).leg == -1
    assert refused([SHARE] * MAX_LEGS + [REST]).leg == -1


def test_there_are_at_most_20_leaves() -> None:
    validate([SHARE] * (MAX_LEAVES - 1) + [REST])
    assert "leaves" in refused([SHARE] * MAX_LEAVES + [REST]).message


@pytest.mark.parametrize("parent", [1, 2, -2, 31])
def test_a_parent_is_an_earlier_leg(parent: int) -> None:
    assert refused([SHARE, replace(REST, parent=parent)]).leg == 1


def _chain(depth: int) -> list[Leg]:
    inner = [Leg(index - 1, LegKind.REMAINDER) for index in range(depth - 1)]
    return [*inner, Leg(depth - 2, LegKind.REMAINDER, recipient=ANN)]


def test_a_rule_is_at_most_four_deep() -> None:
    validate(_chain(MAX_DEPTH))
    assert refused(_chain(MAX_DEPTH + 1)).leg == MAX_DEPTH


def test_every_pool_ends_with_its_one_remainder() -> None:
    assert refused([SHARE]).leg == ROOT
    assert refused([REST, SHARE]).leg == 1
    assert refused([REST, REST]).leg == 1
    inner = [Leg(ROOT, LegKind.REMAINDER), Leg(0, LegKind.SHARE, 1, recipient=ANN)]
    assert refused(inner).leg == 0


@pytest.mark.parametrize(
    "leg",
    [
        replace(SHARE, value=10_001),
        replace(SHARE, value=-1),
        replace(SHARE, min=5, max=4),
        replace(SHARE, min=-1),
        replace(SHARE, max=MAX_CHAIN_AMOUNT + 1),
        Leg(ROOT, LegKind.FIXED, MAX_CHAIN_AMOUNT + 1, recipient=ANN),
        Leg(ROOT, LegKind.FIXED, 1, min=1, recipient=ANN),
        Leg(ROOT, LegKind.FIXED, 1, max=1, recipient=ANN),
        replace(GIVEN, value=0),
        replace(GIVEN, value=10_001),
        replace(GIVEN, min=5, max=4),
        replace(GIVEN, max=MAX_CHAIN_AMOUNT + 1),
    ],
)
def test_values_are_within_their_kind(leg: Leg) -> None:
    assert refused([leg, REST]).leg == 0


@pytest.mark.parametrize("leg", [replace(GIVEN, value=1), replace(GIVEN, value=10_000, min=4, max=4)])
def test_a_given_leg_has_bounds(leg: Leg) -> None:
    validate([leg, REST])
    validate([replace(leg, recipient=None), REST, replace(leg, parent=0), replace(REST, parent=0)])


def test_a_given_leg_closes_no_pool() -> None:
    assert refused([GIVEN]).leg == ROOT
    assert refused([REST, GIVEN]).leg == 1


def test_given_amounts_follow_leg_order() -> None:
    assert given_indices([GIVEN, SHARE, GIVEN, REST]) == [0, 2]


@pytest.mark.parametrize("leg", [replace(REST, value=1), replace(REST, min=1), replace(REST, max=1)])
def test_a_remainder_has_no_numbers(leg: Leg) -> None:
    assert refused([leg]).leg == 0


@pytest.mark.parametrize(
    "leg",
    [
        replace(REST, recipient=None),
        replace(REST, role="merchant"),
        replace(REST, recipient=bytes(32)),
        replace(REST, recipient=b"A" * 31),
    ],
)
def test_a_leaf_names_exactly_one_who_receives(leg: Leg) -> None:
    assert refused([leg]).leg == 0


@pytest.mark.parametrize("named", [{"recipient": ANN}, {"role": "merchant"}])
def test_an_inner_leg_names_nobody(named: dict[str, object]) -> None:
    inner = replace(Leg(ROOT, LegKind.REMAINDER), **named)  # type: ignore[arg-type]  # one of two fields by name
    assert refused([inner, replace(REST, parent=0)]).leg == 0


@pytest.mark.parametrize("role", ["", "Merchant", "group leader", "a" * 33, "é", "a.b", "商户"])
def test_a_role_name_has_a_stated_form(role: str) -> None:
    assert refused([replace(REST, recipient=None, role=role)]).leg == 0


@pytest.mark.parametrize("role", ["a", "merchant", "group_leader", "customs-broker", "tier2", "a" * 32])
def test_role_names_in_that_form_pass(role: str) -> None:
    validate([replace(REST, recipient=None, role=role)])


def test_the_shape_alone_does_not_look_at_who_receives() -> None:
    validate_tree([Leg(ROOT, LegKind.REMAINDER)])
