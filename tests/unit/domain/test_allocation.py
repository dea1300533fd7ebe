"""The one piece of arithmetic: vectors with answers, and what holds for every rule and amount."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fenzhang.domain.allocation import allocate, check_takes, leaf_amounts, take_back
from fenzhang.domain.errors import (
    InsufficientReturnable,
    InvalidRule,
    LeafNotReturnable,
    LegExceedsRemaining,
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
    leaf_indices,
    validate,
)

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


def naive_leaf_amounts(legs: Sequence[Leg], amount: int) -> list[int]:
    """The definition once more, pool by pool from the top, as a reader of the design would do it by hand."""
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
            share = max(share, leg.min)
            got[index] = min(share, leg.max) if leg.max else share
        if got[index] > left:
            raise LegExceedsRemaining(index, got[index], left)
    return [got[i] for i in leaf_indices(legs)]


def outcome(
    function: Callable[[Sequence[Leg], int], list[int]], legs: Sequence[Leg], amount: int
) -> list[int] | LegExceedsRemaining:
    """What a function gives, or the error it raises."""
    try:
        return function(legs, amount)
    except LegExceedsRemaining as error:
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
