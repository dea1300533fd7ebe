"""Two versions of a rule, leg by leg: what a diff says, and that it says everything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fenzhang.domain.errors import InvalidRule
from fenzhang.domain.rulediff import (
    ChangedLeg,
    FieldChange,
    MovedLeg,
    PlacedLeg,
    RuleDiff,
    apply,
    diff,
    diff_terms,
)
from fenzhang.domain.rules import NO_TERMS, ROOT, Leg, LegKind, RuleTerms, validate, validate_terms
from support.parties import ident
from support.trees import flawed_trees, trees

FEE = Leg(ROOT, LegKind.SHARE, 500, 10, 20_000, role="platform")
DELIVERY = Leg(ROOT, LegKind.FIXED, 300, role="logistics")
PROMOTION = Leg(ROOT, LegKind.SHARE, 200, role="promoter")
REST = Leg(ROOT, LegKind.REMAINDER, role="merchant")
RETAIL = (FEE, DELIVERY, PROMOTION, REST)


@st.composite
def edits(draw: st.DrawFn) -> tuple[tuple[Leg, ...], tuple[Leg, ...]]:
    """A rule, and what a few edits that leave it a rule make of it: the versions that people write."""
    before = draw(trees(given=draw(st.booleans())))
    after = list(before)
    for _ in range(draw(st.integers(0, 4))):
        place, number = draw(st.integers(0, len(after) - 1)), draw(st.integers(0, 10_000))
        edited = list(after)
        match number % 5:
            case 0:
                edited[place] = replace(edited[place], value=number)
            case 1:
                edited[place] = replace(edited[place], recipient=None, role=f"r-{number % 7}")
            case 2:
                edited = _without(edited, place)
            case 3:
                edited = _with(edited, place, Leg(edited[place].parent, LegKind.FIXED, number, role="new"))
            case 4:
                other = number % len(edited)
                edited[place], edited[other] = edited[other], edited[place]
        try:
            validate(edited)
        except InvalidRule:
            continue
        after = edited
    return before, tuple(after)


def _without(legs: Sequence[Leg], place: int) -> list[Leg]:
    kept = [leg for index, leg in enumerate(legs) if index != place]
    return [replace(leg, parent=leg.parent - (leg.parent > place)) for leg in kept]


def _with(legs: Sequence[Leg], place: int, new: Leg) -> list[Leg]:
    shifted = [replace(leg, parent=leg.parent + (leg.parent >= place)) for leg in legs]
    return [*shifted[:place], new, *shifted[place:]]


def _is_rule(legs: Sequence[Leg]) -> bool:
    try:
        validate(legs)
    except InvalidRule:
        return False
    return True


@given(trees(given=True), trees(given=True))
def test_a_diff_of_any_two_rules_makes_one_of_the_other(
    before: tuple[Leg, ...], after: tuple[Leg, ...]
) -> None:
    assert apply(before, diff(before, after)) == list(after)
    assert apply(after, diff(after, before)) == list(before)


@given(edits())
def test_a_diff_of_an_edited_rule_makes_it_of_the_first(versions: tuple[tuple[Leg, ...], ...]) -> None:
    before, after = versions
    assert apply(before, diff(before, after)) == list(after)


@given(trees(), flawed_trees().filter(_is_rule))
def test_a_diff_accounts_for_every_leg_once(before: tuple[Leg, ...], after: tuple[Leg, ...]) -> None:
    found = diff(before, after)
    paired = len(before) - len(found.removed)
    assert paired == len(after) - len(found.added)
    for legs in (found.changed, found.moved):
        assert len({leg.before for leg in legs}) == len({leg.after for leg in legs}) == len(legs) <= paired
        assert not {leg.before for leg in legs} & {placed.index for placed in found.removed}
        assert not {leg.after for leg in legs} & {placed.index for placed in found.added}
    assert diff(before, after) == found


@given(trees())
def test_the_same_rule_has_no_diff(legs: tuple[Leg, ...]) -> None:
    assert diff(legs, legs) == RuleDiff()
    assert diff(legs, legs).is_empty


@given(trees(), st.integers(0, 31))
def test_a_leg_put_in_moves_none_of_the_others(legs: tuple[Leg, ...], place: int) -> None:
    at = place % len(legs)
    longer = _with(legs, at, Leg(legs[at].parent, LegKind.FIXED, 7, role="nobody-else"))
    found = diff(legs, longer)
    assert found == RuleDiff(added=(PlacedLeg(at, longer[at]),))
    assert diff(longer, legs) == RuleDiff(removed=(PlacedLeg(at, longer[at]),))


# ------------------------------------------------------------------------------ what people change


def test_rate_cap_and_floor_are_told_field_by_field() -> None:
    after = (replace(FEE, value=400, min=0, max=30_000), *RETAIL[1:])
    fields = (FieldChange("value", 500, 400), FieldChange("min", 10, 0), FieldChange("max", 20_000, 30_000))
    assert diff(RETAIL, after) == RuleDiff(changed=(ChangedLeg(0, 0, fields),))


def test_another_kind_of_the_same_role_is_a_change() -> None:
    after = (FEE, Leg(ROOT, LegKind.SHARE, 250, role="logistics"), PROMOTION, REST)
    kinds = FieldChange("kind", LegKind.FIXED, LegKind.SHARE)
    assert diff(RETAIL, after).changed == (ChangedLeg(1, 1, (kinds, FieldChange("value", 300, 250))),)


def test_a_leg_with_the_same_terms_changed_its_receiver() -> None:
    after = (FEE, replace(DELIVERY, role=None, recipient=ident("courier")), PROMOTION, REST)
    receiver = (FieldChange("recipient", None, ident("courier")), FieldChange("role", "logistics", None))
    assert diff(RETAIL, after) == RuleDiff(changed=(ChangedLeg(1, 1, receiver),))


def test_a_leg_with_other_terms_and_another_receiver_is_another_leg() -> None:
    insurance = Leg(ROOT, LegKind.SHARE, 30, role="insurer")
    after = (FEE, DELIVERY, insurance, REST)
    assert diff(RETAIL, after) == RuleDiff(
        added=(PlacedLeg(2, insurance),), removed=(PlacedLeg(2, PROMOTION),)
    )


def test_the_order_of_legs_is_a_move_of_as_few_as_possible() -> None:
    assert diff(RETAIL, (PROMOTION, FEE, DELIVERY, REST)) == RuleDiff(moved=(MovedLeg(2, 0, ROOT, ROOT),))


def test_shares_net_of_a_fee_move_into_the_pool_that_stands_behind_it() -> None:
    pool = Leg(ROOT, LegKind.REMAINDER)
    after = (FEE, pool, replace(DELIVERY, parent=1), replace(PROMOTION, parent=1), replace(REST, parent=1))
    found = diff(RETAIL, after)
    assert found == RuleDiff(
        added=(PlacedLeg(1, pool),),
        moved=tuple(MovedLeg(index, index + 1, ROOT, 1) for index in (1, 2, 3)),
    )
    assert diff(after, RETAIL).removed == (PlacedLeg(1, pool),)


def test_pools_are_known_by_their_children() -> None:
    before = (
        Leg(ROOT, LegKind.SHARE, 5_000),
        Leg(ROOT, LegKind.REMAINDER),
        Leg(0, LegKind.REMAINDER, role="agent"),
        Leg(1, LegKind.REMAINDER, role="merchant"),
    )
    after = (
        Leg(ROOT, LegKind.SHARE, 4_000),
        Leg(ROOT, LegKind.REMAINDER),
        Leg(0, LegKind.REMAINDER, role="merchant"),
        Leg(1, LegKind.REMAINDER, role="agent"),
    )
    found = diff(before, after)
    assert [(leg.before, leg.after) for leg in found.changed] == [(0, 1), (1, 0)]
    assert apply(before, found) == list(after)


@pytest.mark.parametrize("other", [5_000, 4_999])
def test_of_several_leaves_of_one_role_those_with_the_same_terms_belong_together(other: int) -> None:
    first, second = (Leg(ROOT, LegKind.SHARE, value, role="agent") for value in (1_000, 2_000))
    before = (first, second, REST)
    after = (replace(first, value=other), first, REST)
    found = diff(before, after)
    assert found.changed == (ChangedLeg(1, 0, (FieldChange("value", 2_000, other),)),)
    assert apply(before, found) == list(after)


def test_terms_that_differ_are_told_with_both_values() -> None:
    assert diff_terms(NO_TERMS, RuleTerms()) == ()
    assert diff_terms(NO_TERMS, RuleTerms(3_000, may_owe=True)) == (
        FieldChange("max_share_out", 0, 3_000),
        FieldChange("may_owe", False, True),  # noqa: FBT003 -- values of the field
    )


@pytest.mark.parametrize("cap", [-1, 10_001])
def test_a_cap_is_within_the_whole(cap: int) -> None:
    validate_terms(RuleTerms(10_000))
    with pytest.raises(InvalidRule):
        validate_terms(RuleTerms(cap))
