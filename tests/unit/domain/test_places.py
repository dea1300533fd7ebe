"""Places: what the registry allows, and positions that add up from below to above."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fenzhang.domain.places import MAX_LEVEL, TOP, Places, roll_up


def _id(number: int) -> bytes:
    return number.to_bytes(32, "big")


A, B, C, D, E = map(_id, range(1, 6))


def test_levels_count_from_the_top() -> None:
    places = Places()
    for participant, parent in ((B, A), (C, B), (D, C)):
        assert places.problem_of(participant, parent) is None
        places.put(participant, parent)
    assert [places.level_of(each) for each in (A, B, C, D, E)] == [1, 2, 3, MAX_LEVEL, 1]
    assert [places.below[each] for each in (A, B, C, D)] == [1, 1, 1, 0]


@pytest.mark.parametrize(
    ("participant", "parent", "problem"),
    [
        (E, D, "deeper than level 4"),
        (B, TOP, "others below"),
        (A, D, "others below"),
        (E, E, "below itself"),
        (D, B, None),
        (D, TOP, None),
        (E, C, None),
    ],
)
def test_what_the_registry_refuses(participant: bytes, parent: bytes, problem: str | None) -> None:
    places = Places()
    for child, above in ((B, A), (C, B), (D, C)):
        places.put(child, above)
    found = places.problem_of(participant, parent)
    assert found is None if problem is None else problem in str(found)


def test_whoever_moves_leaves_its_place() -> None:
    places = Places()
    places.put(B, A)
    places.put(B, C)
    assert (places.parent_of(B), places.below[A], places.below[C]) == (C, 0, 1)
    places.put(B, TOP)
    assert (places.level_of(B), places.below[C]) == (1, 0)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), max_size=40))
def test_no_allowed_moves_make_a_ring_or_a_fifth_level(moves: list[tuple[int, int]]) -> None:
    places = Places()
    for number, above in moves:
        if places.problem_of(_id(number), _id(above)) is None:
            places.put(_id(number), _id(above))
    for number in range(1, 10):
        assert 1 <= places.level_of(_id(number)) <= MAX_LEVEL
        assert places.below[_id(number)] == list(places.parents.values()).count(_id(number))


@given(st.integers(0, 2**32), st.integers(0, 30))
def test_the_top_holds_together_what_all_hold_themselves(seed: int, count: int) -> None:
    chance = random.Random(seed)
    places = Places()
    ids = [_id(number + 1) for number in range(count)]
    for participant in ids:
        parent = chance.choice([TOP, *ids])
        if places.problem_of(participant, parent) is None:
            places.put(participant, parent)
    positions = {
        (participant, currency): chance.randrange(-50, 1_000)
        for participant in ids
        for currency in ("CNY", "USD")
        if chance.random() < 0.7
    }

    rungs = roll_up({each: places.parent_of(each) for each in ids}, positions)

    assert sorted(rung.participant for rung in rungs) == sorted(ids)
    by_id = {rung.participant: rung for rung in rungs}
    for currency in ("CNY", "USD"):
        top = sum(rung.together.get(currency, 0) for rung in rungs if rung.parent == TOP)
        assert top == sum(amount for (_, held), amount in positions.items() if held == currency)
    for rung in rungs:
        under = [each for each in rungs if each.parent == rung.participant]
        assert rung.level == places.level_of(rung.participant)
        assert rung.below == len(under) + sum(each.below for each in under)
        for currency, amount in rung.together.items():
            assert amount == rung.own.get(currency, 0) + sum(each.together.get(currency, 0) for each in under)
        if rung.parent != TOP:
            assert rungs.index(by_id[rung.parent]) < rungs.index(rung)


def test_a_parent_that_is_nobody_of_ours_is_nobody() -> None:
    [rung] = roll_up({B: A}, {(B, "CNY"): 5})
    assert (rung.parent, rung.level, rung.together) == (TOP, 1, {"CNY": 5})
