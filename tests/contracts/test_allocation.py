"""The one piece of arithmetic: the contract gives Python's answer, or its error, for every input."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from fenzhang.chain.codec import decode_revert, leg_values
from fenzhang.domain.allocation import allocate, leaf_amounts, take_back
from fenzhang.domain.errors import (
    REJECTIONS,
    FenzhangError,
    GivenCount,
    GivenOutOfBounds,
    LegExceedsRemaining,
    Rejection,
)
from fenzhang.domain.rules import Leg, LegKind, given_indices, leaf_indices, roles_of
from support.parties import ident
from support.trees import MAX_ON_CHAIN, amounts, generated, givings, trees
from support.world import World

Case = tuple[tuple[Leg, ...], int, tuple[int, ...]]
"""Legs, the amount to split, and what the split gives GIVEN legs."""
Answer = list[int] | FenzhangError
"""Amounts of the leaves, or why the split is rejected, with all its values."""
SCENARIOS = Path(__file__).parents[1] / "scenarios"
GENERATED_CASES = 3_000


def specified(case: Case) -> Answer:
    """What Python says."""
    try:
        return leaf_amounts(*case)
    except Rejection as error:
        return error


def answered(world: World, cases: list[Case]) -> list[Answer]:
    """What the contract says."""
    arguments = [([leg_values(leg) for leg in legs], amount, given) for legs, amount, given in cases]
    answers: list[Answer] = []
    for answer in world.system.calls("RuleBook", "quote", arguments):
        if isinstance(answer, FenzhangError):
            raise answer
        leaves, reason = answer
        assert not (reason and leaves)
        answers.append(decode_revert(reason) if reason else list(leaves))
    return answers


def vectors() -> list[dict[str, Any]]:
    """The shared cases: those without GIVEN legs, which name the leg that fails, and those with."""
    files = ("allocation.json", "given.json")
    return [vector for name in files for vector in json.loads((SCENARIOS / name).read_text(encoding="utf-8"))]


def is_as_expected(vector: dict[str, Any], answer: Answer) -> bool:
    """Whether an answer is that of a vector."""
    if isinstance(answer, list):
        return bool(answer == vector["leaves"])
    if "error" in vector:
        name, *values = vector["error"]
        return answer == REJECTIONS[name](*values) and vector["leaves"] is None
    return isinstance(answer, LegExceedsRemaining) and answer.leg == vector["error_leg"]


def case_of(vector: dict[str, Any]) -> Case:
    legs = tuple(
        Leg(leg["parent"], LegKind[leg["kind"]], leg["value"], leg["min"], leg["max"])
        for leg in vector["legs"]
    )
    return legs, vector["amount"], tuple(vector.get("given", ()))


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    """Generated rules with an amount each."""
    return generated(st.tuples(trees(), amounts, st.just(())), GENERATED_CASES)


@pytest.fixture(scope="module")
def given_cases() -> list[Case]:
    """Generated rules with an amount each and what the split gives."""
    return generated(givings(), GENERATED_CASES)


@pytest.mark.parametrize("vector", vectors(), ids=lambda vector: vector["name"])
def test_python_answers_each_shared_vector(vector: dict[str, Any]) -> None:
    assert is_as_expected(vector, specified(case_of(vector)))


def test_the_contract_answers_each_shared_vector(world: World) -> None:
    answers = answered(world, [case_of(vector) for vector in vectors()])
    wrong = [
        (vector["name"], answer)
        for vector, answer in zip(vectors(), answers, strict=True)
        if not is_as_expected(vector, answer)
    ]
    assert not wrong


@pytest.mark.parametrize("kind", ["cases", "given_cases"])
def test_the_contract_answers_generated_cases_as_python_does(
    world: World, kind: str, request: pytest.FixtureRequest
) -> None:
    cases: list[Case] = request.getfixturevalue(kind)
    wrong = [
        (case, got, specified(case))
        for case, got in zip(cases, answered(world, cases), strict=True)
        if got != specified(case)
    ]
    assert not wrong, min(wrong, key=lambda found: len(found[0][0]))


def test_generated_cases_contain_answers_and_errors_at_every_depth(cases: list[Case]) -> None:
    failed = [case for case in cases if not isinstance(specified(case), list)]
    assert len(cases) == GENERATED_CASES
    assert GENERATED_CASES // 10 < len(failed) < GENERATED_CASES // 2
    assert {depth(legs) for legs, *_ in cases} == {1, 2, 3, 4}
    assert {len(leaf_indices(legs)) for legs, *_ in cases} >= {1, 2, 5, 10, 20}


def test_generated_cases_with_given_amounts_contain_every_answer(given_cases: list[Case]) -> None:
    met = Counter(type(specified(case)) for case in given_cases if case[2])
    assert met.keys() == {list, GivenCount, GivenOutOfBounds, LegExceedsRemaining}
    assert min(met.values()) > GENERATED_CASES // 50
    inner = [legs for legs, *_ in given_cases if set(given_indices(legs)) - set(leaf_indices(legs))]
    assert len(inner) > GENERATED_CASES // 10


def depth(legs: tuple[Leg, ...]) -> int:
    depths: dict[int, int] = {-1: 0}
    for index, leg in enumerate(legs):
        depths[index] = depths[leg.parent] + 1
    return max(depths.values())


def test_allocations_always_sum_to_the_amount_and_name_a_recipient(cases: list[Case]) -> None:
    for legs, amount, _ in cases:
        bindings = {role: ident("bound", role) for role in roles_of(legs)}
        try:
            allocations = allocate(legs, amount, bindings)
        except LegExceedsRemaining:
            continue
        assert sum(allocation.amount for allocation in allocations) == amount
        for leg, allocation in zip((legs[i] for i in leaf_indices(legs)), allocations, strict=True):
            assert allocation.recipient == (leg.recipient or bindings[leg.role or ""])
            assert allocation.amount >= 0


def test_the_contract_computes_with_any_leg_values_even_those_that_no_rule_may_have(world: World) -> None:
    over = Leg(-1, LegKind.SHARE, MAX_ON_CHAIN)
    most = Leg(-1, LegKind.SHARE, 10_000, min=MAX_ON_CHAIN)
    rest = Leg(-1, LegKind.REMAINDER)
    cases: list[Case] = [((leg, rest), amount, ()) for leg in (over, most) for amount in (0, 1, MAX_ON_CHAIN)]
    for leg in (over, most, Leg(-1, LegKind.GIVEN), Leg(-1, LegKind.GIVEN, 1, 5, 3)):
        given = replace(leg, kind=LegKind.GIVEN)
        cases += [
            ((given, rest), amount, (taken,))
            for amount in (0, 1, MAX_ON_CHAIN)
            for taken in (0, 1, 4, MAX_ON_CHAIN)
        ]
    assert answered(world, cases) == [specified(case) for case in cases]


returns = st.lists(st.integers(0, 2**63 - 1) | st.integers(0, 50), min_size=1, max_size=20).flatmap(
    lambda weights: st.tuples(st.just(weights), st.integers(1, max(1, sum(weights))))
)


def test_a_return_is_spread_exactly_and_takes_no_leaf_below_zero() -> None:
    for weights, amount in generated(returns, 1_000):
        if sum(weights) < amount:
            continue
        takes = take_back(bytes(32), weights, amount)
        assert sum(takes) == amount
        assert all(0 <= take <= weight for take, weight in zip(takes, weights, strict=True))
