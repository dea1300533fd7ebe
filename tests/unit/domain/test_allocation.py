"""The one piece of arithmetic: vectors with answers, and what holds for every rule and amount."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fenzhang.domain.allocation import (
    GivenRange,
    allocate,
    check_takes,
    given_of,
    given_ranges,
    leaf_amounts,
    take_back,
)
from fenzhang.domain.errors import (
    GivenCount,
    GivenOutOfBounds,
    InsufficientReturnable,
    InvalidRule,
    LeafNotReturnable,
    LegExceedsRemaining,
    Rejection,
    RoleNotBound,
)
from fenzhang.domain.money import MAX_AMOUNT
from fenzhang.domain.rules import (
    BASIS_POINTS,
    MAX_DEPTH,
    MAX_LEAVES,
    MAX_LEGS,
    ROOT,
    Leg,
    LegKind,
    given_indices,
    leaf_indices,
    validate,
)
from support.trees import givings

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "scenarios" / "allocation.json").read_text()
)
SPLIT = b"S" * 32
ANN, BOB, CY = (letter * 32 for letter in (b"A", b"B", b"C"))


def _legs(case: dict[str, Any]) -> list[Leg]:
    return [
        Leg(leg["parent"], LegKind[leg["kind"]], leg["value"], leg["min"], leg["max"]) for leg in case["legs"]
    ]


@st.composite
def rules(draw: st.DrawFn) -> list[Leg]:
    """Any rule within the limits whose leaves name roles."""
    legs: list[Leg] = []
    depth: dict[int, int] = {ROOT: 0}
    open_pools = [ROOT]

    def leg(parent: int, kind: LegKind) -> None:
        share = kind is LegKind.SHARE
        lower = draw(st.integers(0, 200)) if share and draw(st.booleans()) else 0
        upper = lower + draw(st.integers(0, 10**6)) if share and draw(st.booleans()) else 0
        top = {LegKind.SHARE: 4_000, LegKind.FIXED: 10**5, LegKind.REMAINDER: 0}[kind]
        depth[len(legs)] = depth[parent] + 1
        legs.append(Leg(parent, kind, draw(st.integers(0, top)), lower, upper))

    while open_pools:
        parent = open_pools.pop(draw(st.integers(0, len(open_pools) - 1)))
        first = len(legs)
        for _ in range(draw(st.integers(0, 3))):
            leg(parent, draw(st.sampled_from([LegKind.FIXED, LegKind.SHARE])))
        leg(parent, LegKind.REMAINDER)
        inner = [i for i in range(first, len(legs)) if depth[i] < MAX_DEPTH and len(legs) < 16]
        open_pools += [i for i in inner if draw(st.integers(0, 3)) == 0]
    assume(len(legs) <= MAX_LEGS and len(leaf_indices(legs)) <= MAX_LEAVES)
    leaves = set(leaf_indices(legs))
    return [
        Leg(one.parent, one.kind, one.value, one.min, one.max, None, f"r{index}" if index in leaves else None)
        for index, one in enumerate(legs)
    ]


def naive_leaf_amounts(legs: Sequence[Leg], amount: int, given: Sequence[int] = ()) -> list[int]:
    """The definition once more, pool by pool from the top, as a reader of the design would do it by hand."""
    if len(given) != len(given_indices(legs)):
        raise GivenCount(len(given), len(given_indices(legs)))
    got: dict[int, int] = {ROOT: amount}
    for index, leg in enumerate(legs):
        siblings = [i for i in range(index) if legs[i].parent == leg.parent]
        left = got[leg.parent] - sum(got[i] for i in siblings)
        if leg.kind is LegKind.REMAINDER:
            got[index] = left
        elif leg.kind is LegKind.FIXED:
            got[index] = leg.value
        else:
            share = got[leg.parent] * leg.value // BASIS_POINTS
            if leg.kind is LegKind.SHARE:
                share = max(share, leg.min)
            got[index] = most = min(share, leg.max) if leg.max else share
            if leg.kind is LegKind.GIVEN:
                got[index] = given[given_indices(legs).index(index)]
                if got[index] < leg.min or got[index] > most:
                    raise GivenOutOfBounds(index, got[index], leg.min, most)
        if got[index] > left:
            raise LegExceedsRemaining(index, got[index], left)
    return [got[i] for i in leaf_indices(legs)]


Reckoning = Callable[[Sequence[Leg], int, Sequence[int]], list[int]]


def outcome(
    function: Reckoning, legs: Sequence[Leg], amount: int, given: Sequence[int] = ()
) -> list[int] | Rejection:
    """What a function gives, or the error it raises."""
    try:
        return function(legs, amount, given)
    except Rejection as error:
        return error


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_the_shared_cases_have_their_answers(case: dict[str, Any]) -> None:
    if case["error_leg"] is None:
        assert leaf_amounts(_legs(case), case["amount"]) == case["leaves"]
    else:
        with pytest.raises(LegExceedsRemaining) as caught:
            leaf_amounts(_legs(case), case["amount"])
        assert caught.value.leg == case["error_leg"]


@given(rules(), st.integers(1, MAX_AMOUNT) | st.integers(1, 10_000))
def test_the_leaves_sum_to_the_amount_or_a_leg_is_named(legs: list[Leg], amount: int) -> None:
    validate(legs)
    found = outcome(leaf_amounts, legs, amount)
    assert found == outcome(naive_leaf_amounts, legs, amount)
    if isinstance(found, list):
        assert sum(found) == amount
        assert min(found) >= 0


@given(rules(), st.integers(1, 10**9), st.data())
def test_allocations_name_who_holds_the_role(legs: list[Leg], amount: int, data: st.DataObject) -> None:
    roles = [legs[index].role or "" for index in leaf_indices(legs)]
    bindings = {role: data.draw(st.binary(min_size=32, max_size=32)) for role in roles}
    try:
        found = allocate(legs, amount, bindings)
    except LegExceedsRemaining:
        return
    assert [allocation.recipient for allocation in found] == [bindings[role] for role in roles]
    assert [allocation.amount for allocation in found] == leaf_amounts(legs, amount)


def test_an_unbound_role_is_named_before_any_arithmetic() -> None:
    legs = [Leg(ROOT, LegKind.FIXED, 10, role="logistics"), Leg(ROOT, LegKind.REMAINDER, role="merchant")]
    with pytest.raises(RoleNotBound) as caught:
        allocate(legs, 1, {"logistics": ANN})
    assert caught.value == RoleNotBound("merchant")


def test_a_fixed_recipient_needs_no_binding() -> None:
    legs = [Leg(ROOT, LegKind.SHARE, 2_500, recipient=ANN), Leg(ROOT, LegKind.REMAINDER, recipient=BOB)]
    assert [(a.recipient, a.amount) for a in allocate(legs, 101, {})] == [(ANN, 25), (BOB, 76)]


def test_legs_that_form_no_tree_are_refused() -> None:
    with pytest.raises(InvalidRule):
        leaf_amounts([Leg(ROOT, LegKind.SHARE, 1)], 10)


def test_a_fee_comes_off_before_the_shares_that_are_net_of_it() -> None:
    legs = [
        Leg(ROOT, LegKind.SHARE, 60, recipient=CY),
        Leg(ROOT, LegKind.REMAINDER),
        Leg(1, LegKind.SHARE, 5_000, recipient=ANN),
        Leg(1, LegKind.REMAINDER, recipient=BOB),
    ]
    assert leaf_amounts(legs, 10_001) == [60, 4_970, 4_971]


@pytest.mark.parametrize(
    ("minimum", "maximum", "share"), [(0, 0, 50), (80, 0, 80), (0, 30, 30), (20, 60, 50), (50, 50, 50)]
)
def test_a_share_is_raised_then_cut(minimum: int, maximum: int, share: int) -> None:
    legs = [
        Leg(ROOT, LegKind.SHARE, 500, minimum, maximum, recipient=ANN),
        Leg(ROOT, LegKind.REMAINDER, recipient=BOB),
    ]
    assert leaf_amounts(legs, 1_000) == [share, 1_000 - share]


# ------------------------------------------------------------------------------ given amounts

HALF = Leg(ROOT, LegKind.GIVEN, 5_000, 10, 40, recipient=ANN)
REST = Leg(ROOT, LegKind.REMAINDER, recipient=BOB)


@given(givings())
def test_given_legs_take_what_they_are_given_or_the_first_fault_is_named(
    drawn: tuple[tuple[Leg, ...], int, tuple[int, ...]],
) -> None:
    legs, amount, given = drawn
    validate(legs)
    found = outcome(leaf_amounts, legs, amount, given)
    assert found == outcome(naive_leaf_amounts, legs, amount, given)
    ranges = {known.leg: known for known in given_ranges(legs, amount, given)}
    match found:
        case list():
            assert sum(found) == amount
            assert min(found) >= 0
            assert given_of(legs, found) == given
            for known, taken in zip(ranges.values(), given, strict=True):
                assert known.least <= taken <= min(known.most or 0, known.remaining or 0)
        case GivenOutOfBounds():
            known = ranges[found.leg]
            assert (known.least, known.most) == (found.values["least"], found.values["most"])
        case LegExceedsRemaining() if found.leg in ranges:
            assert ranges[found.leg].remaining == found.values["remaining"]


@given(givings(), st.data())
def test_what_may_be_given_is_what_is_taken(
    drawn: tuple[tuple[Leg, ...], int, tuple[int, ...]], data: st.DataObject
) -> None:
    """Amounts within the ranges, each asked for after those before it, are refused by no GIVEN leg."""
    legs, amount, _ = drawn
    given: list[int] = []
    for place in range(len(given_indices(legs))):
        known = given_ranges(legs, amount, given)[place]
        top = min(known.most or 0, known.remaining or 0)
        assume(known.most is not None and known.least <= top)
        given.append(data.draw(st.integers(known.least, top)))
    found = outcome(leaf_amounts, legs, amount, given)
    if isinstance(found, list):
        assert given_of(legs, found) == tuple(given)
    else:
        assert isinstance(found, LegExceedsRemaining)
        assert legs[found.leg].kind is not LegKind.GIVEN


@given(rules(), st.integers(1, MAX_AMOUNT))
def test_rules_without_given_legs_are_given_nothing(legs: list[Leg], amount: int) -> None:
    with pytest.raises(GivenCount) as caught:
        leaf_amounts(legs, amount, (0,))
    assert caught.value == GivenCount(1, 0)
    assert given_ranges(legs, amount) == []


@pytest.mark.parametrize(
    ("amount", "taken", "most"), [(99, 9, 40), (99, 41, 40), (99, -1, 40), (50, 26, 25), (18, 10, 9)]
)
def test_an_amount_outside_the_bounds_is_refused_with_them(amount: int, taken: int, most: int) -> None:
    with pytest.raises(GivenOutOfBounds) as caught:
        leaf_amounts([HALF, REST], amount, [taken])
    assert caught.value == GivenOutOfBounds(0, taken, 10, most)


def test_ranges_say_as_much_as_what_was_given_allows() -> None:
    legs = [
        HALF,
        Leg(ROOT, LegKind.GIVEN, 6_000),
        Leg(ROOT, LegKind.REMAINDER),
        Leg(1, LegKind.GIVEN, 5_000, recipient=ANN),
        Leg(1, LegKind.REMAINDER, recipient=ANN),
        Leg(2, LegKind.GIVEN, 10_000, 1, recipient=ANN),
        Leg(2, LegKind.REMAINDER, recipient=ANN),
    ]
    nothing = [
        GivenRange(0, 10, 40, 100),
        GivenRange(1, 0, 60, None),
        GivenRange(3, 0, None, None),
        GivenRange(5, 1, None, None),
    ]
    assert given_ranges(legs, 100) == nothing
    both = given_ranges(legs, 100, (30, 50))
    assert both == [nothing[0], GivenRange(1, 0, 60, 70), GivenRange(3, 0, 25, 50), GivenRange(5, 1, 20, 20)]
    too_much = given_ranges(legs, 100, (30, 71))
    assert too_much[1:] == [GivenRange(1, 0, 60, 70), GivenRange(3, 0, 35, 71), GivenRange(5, 1, None, None)]


def test_a_role_that_nobody_holds_is_named_before_the_given_amounts() -> None:
    legs = [Leg(ROOT, LegKind.GIVEN, 5_000, role="agent"), REST]
    with pytest.raises(RoleNotBound):
        allocate(legs, 10, {}, [9])


weights = st.lists(st.integers(0, MAX_AMOUNT) | st.integers(0, 5), min_size=1, max_size=20)


@given(weights, st.data())
def test_a_return_sums_exactly_and_takes_from_no_leaf_more_than_it_has(
    returnable: list[int], data: st.DataObject
) -> None:
    amount = data.draw(st.integers(0, sum(returnable)))
    takes = take_back(SPLIT, returnable, amount)
    assert sum(takes) == amount
    assert all(0 <= take <= has for take, has in zip(takes, returnable, strict=True))
    for k in range(1, len(returnable) + 1):
        assert not sum(returnable) or sum(takes[:k]) == sum(returnable[:k]) * amount // sum(returnable)


@given(weights)
def test_a_return_of_everything_empties_every_leaf(returnable: list[int]) -> None:
    assert take_back(SPLIT, returnable, sum(returnable)) == returnable


@given(weights, st.integers(1, MAX_AMOUNT))
def test_more_than_is_returnable_is_refused(returnable: list[int], more: int) -> None:
    total = sum(returnable)
    with pytest.raises(InsufficientReturnable) as caught:
        take_back(SPLIT, returnable, total + more)
    assert caught.value == InsufficientReturnable(SPLIT, total + more, total)


@given(st.lists(st.integers(0, 100), min_size=1, max_size=8), st.data())
def test_small_returns_one_after_the_other_never_take_too_much(
    returnable: list[int], data: st.DataObject
) -> None:
    while total := sum(returnable):
        takes = take_back(SPLIT, returnable, data.draw(st.integers(1, total)))
        returnable = [has - take for has, take in zip(returnable, takes, strict=True)]
        assert min(returnable) >= 0


def test_named_takes_must_be_there_leaf_by_leaf() -> None:
    check_takes(SPLIT, [5, 0, 7], [5, 0, 0])
    with pytest.raises(LeafNotReturnable) as caught:
        check_takes(SPLIT, [5, 0, 7], [5, 1, 8])
    assert caught.value == LeafNotReturnable(SPLIT, 1, 1, 0)
