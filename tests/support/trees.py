"""Generated rules: trees that hold, trees with a flaw, and amounts that matter."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fenzhang.domain.allocation import given_ranges
from fenzhang.domain.rules import MAX_DEPTH, MAX_LEAVES, MAX_LEGS, ROOT, Leg, LegKind, given_indices
from support.parties import ident

T = TypeVar("T")
EXPLORE = "FENZHANG_EXPLORE" in os.environ
"""Look at other examples in every run, instead of the same ones."""
MAX_ON_CHAIN = 2**96 - 1

amounts = st.one_of(
    st.integers(1, 300),
    st.integers(1, 10**9),
    st.sampled_from([1, 9_999, 10_000, 10_001, 2**63 - 1, 2**63, MAX_ON_CHAIN]),
    st.integers(1, MAX_ON_CHAIN),
)
"""Small ones, where rounding shows, and large ones, where a narrow integer would overflow."""
_WORDS = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=MAX_LEGS)
_SIZES = (0, 1, 1, 2, 5, 10, 30, 99, 100, 2_500, 10**6, 10**12, 2**63, MAX_ON_CHAIN)
_RATES = (0, 1, 30, 60, 99, 500, 1_000, 2_500, 3_333, 3_334, 5_000, 6_667, 9_999, 10_000)
_ROLES = ("merchant", "promoter", "courier", "r-1", "a_b", "x" * 32)


@st.composite
def trees(draw: st.DrawFn, *, given: bool = False) -> tuple[Leg, ...]:
    """A valid rule of 1 to 32 legs, with `given` some of them GIVEN.

    One word of entropy makes a leg, so that thousands are cheap to generate.
    """
    words = draw(_WORDS)
    parents = _parents(words)
    last_children = {parent: index for index, parent in enumerate(parents)}
    inner = set(parents)
    legs = []
    for index, (parent, word) in enumerate(zip(parents, words, strict=False)):
        kind = LegKind.REMAINDER if last_children[parent] == index else LegKind(word >> 8 & 1)
        if given and kind is not LegKind.REMAINDER and word >> 1 & 3 > 0:
            kind = LegKind.GIVEN
        leg = _leg(parent, kind, word)
        if index not in inner:
            fixed = word >> 28 & 3 == 0
            leg = replace(leg, recipient=ident(word)) if fixed else replace(leg, role=_ROLES[word % 6])
        legs.append(leg)
    return tuple(legs)


def _parents(words: list[int]) -> list[int]:
    """Parents that keep to the depth and to the number of leaves; half of the legs go on with the pool before."""
    parents: list[int] = []
    depths: dict[int, int] = {ROOT: 0}
    for index, word in enumerate(words):
        fitting = [parent for parent, depth in depths.items() if depth < MAX_DEPTH]
        same = parents[-1] if parents else ROOT
        parent = same if word & 1 else fitting[(word >> 1 & 0x7F) % len(fitting)]
        if len(set(range(index + 1)) - {*parents, parent}) > MAX_LEAVES:
            break
        parents.append(parent)
        depths[index] = depths[parent] + 1
    return parents


def _leg(parent: int, kind: LegKind, word: int) -> Leg:
    small, large = sorted((_SIZES[(word >> 9 & 0xF) % 14], _SIZES[(word >> 13 & 0xF) % 14]))
    match kind:
        case LegKind.REMAINDER:
            return Leg(parent, kind)
        case LegKind.FIXED:
            return Leg(parent, kind, small)
        case LegKind.SHARE | LegKind.GIVEN:
            floor, cap = (small if word >> 21 & 3 == 0 else 0), (large if word >> 23 & 3 == 0 else 0)
            rate = _RATES[(word >> 17 & 0xF) % 14] // (1 + (word >> 25 & 7))
            return Leg(parent, kind, max(rate, 1) if kind is LegKind.GIVEN else rate, floor, cap)


@st.composite
def givings(draw: st.DrawFn) -> tuple[tuple[Leg, ...], int, tuple[int, ...]]:
    """A rule with GIVEN legs, an amount to split, and what is given: mostly within bounds, at them, or just outside.

    Now and then there is one given amount too few or too many.
    """
    legs, amount = draw(trees(given=True)), draw(amounts)
    choices = draw(st.binary(min_size=MAX_LEGS + 1, max_size=MAX_LEGS + 1))
    given: list[int] = []
    for place in range(len(given_indices(legs))):
        found = given_ranges(legs, amount, given)[place]
        most = found.most if found.most is not None else amount
        room = most if found.remaining is None else min(most, found.remaining)
        several = (
            *(found.least, room, (found.least + room) // 2, found.least + (room - found.least) // 7),
            *(min(found.least, room), room // 3, room, found.least, room // 9, min(found.least + 1, room)),
            *(most, most + 1, max(found.least - 1, 0)),
        )
        given.append(min(several[choices[place] % len(several)], MAX_ON_CHAIN))
    match choices[-1]:
        case 0 | 1 | 2 | 3 | 4 | 5 | 6:
            given = given[:-1]
        case 7 | 8 | 9 | 10 | 11:
            given.append(choices[0])
    return legs, amount, tuple(given)


_Change = Callable[[Leg, int, int], Leg]
"""From a leg, any number and the leg's index to another leg."""
FLAWS: tuple[_Change, ...] = (
    lambda leg, n, _: replace(leg, parent=n % 40 - 3),
    lambda leg, n, index: replace(leg, parent=index - n % 3),
    lambda leg, n, _: replace(leg, kind=LegKind(n % 4)),
    lambda leg, n, _: replace(leg, kind=LegKind.GIVEN, value=n % 3),
    lambda leg, *_: replace(leg, kind=LegKind.REMAINDER),
    lambda leg, *_: replace(leg, kind=LegKind.FIXED),
    lambda leg, n, _: replace(leg, value=10_001 + n),
    lambda leg, n, _: replace(leg, value=n % 7),
    lambda leg, n, _: replace(leg, min=n % 9),
    lambda leg, n, _: replace(leg, max=n % 9),
    lambda leg, n, _: replace(leg, min=n % 90, max=n % 13),
    lambda leg, *_: replace(leg, recipient=None, role=None),
    lambda leg, n, _: replace(leg, recipient=ident(n)),
    lambda leg, *_: replace(leg, role="merchant"),
)
_FILLER = Leg(ROOT, LegKind.FIXED, role="merchant")


@st.composite
def flawed_trees(draw: st.DrawFn) -> tuple[Leg, ...]:
    """A tree with up to two changes, which often make it invalid; or one too long, too wide, too deep, or empty."""
    legs = list(draw(trees(given=draw(st.booleans()))))
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(legs) - 1))
        legs[place] = draw(st.sampled_from(FLAWS))(legs[place], draw(st.integers(0, 2**20)), place)
    size, more = draw(st.tuples(st.integers(0, 40), st.integers(0, 32)))
    match size:
        case 0:
            legs = legs[: len(legs) // 2]
        case 1:
            legs += [_FILLER] * (more + 1)
        case 2:
            legs = [_FILLER] * more + legs
            legs = [replace(leg, parent=leg.parent + more) if leg.parent != ROOT else leg for leg in legs]
        case 3:
            chain = [Leg(parent, LegKind.REMAINDER) for parent in range(ROOT, more % 6)]
            legs = [*chain[:-1], replace(chain[-1], role="merchant")]
    return tuple(legs)


def generated(strategy: st.SearchStrategy[T], how_many: int) -> list[T]:
    """Many examples of a strategy at once, the same in every run, so that a node can answer them in few requests."""
    found: list[T] = []

    @settings(
        max_examples=how_many,
        phases=[Phase.generate],
        derandomize=not EXPLORE,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(example: T) -> None:
        found.append(example)

    collect()
    return found
