"""What distinguishes two versions of a rule: the legs that were added, removed, changed and moved.

Legs have no names, so those of the two versions are paired first, always in the same way:

1. Leaves of the same role or recipient. Of several, those with the same terms (kind, value, min, max) come first, then
   the others in leg order.
2. Pools, the innermost first, by the children that are paired already: with the pool that has most of them, among
   equals one of the same kind, among those the first. A pool with none goes with the first of its kind that is left.
3. Leaves of paired pools with the same terms, in leg order: the receiver is what changed.

What is left over was removed, or added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from fenzhang.domain.rules import ROOT, Leg, RuleTerms, leaf_indices

TERMS = ("kind", "value", "min", "max")
"""Fields that say what a leg takes."""
FIELDS = (*TERMS, "recipient", "role")
"""Fields of a leg that can change in place. Another `parent` is a move."""
_Fits = Callable[[int, int], bool]
"""Whether legs of the earlier and the later version, by index, belong together."""


@dataclass(frozen=True, slots=True)
class PlacedLeg:
    """A leg and its index in the version that has it."""

    index: int
    leg: Leg


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field of a leg (one of FIELDS) and its value in each version."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class ChangedLeg:
    """A leg with other values; its index in each version."""

    before: int
    after: int
    fields: tuple[FieldChange, ...]


@dataclass(frozen=True, slots=True)
class MovedLeg:
    """A leg that takes from another pool, or stands at another place among the legs that stayed.

    Its index in each version, and the index of its pool in each.
    """

    before: int
    after: int
    parent_before: int
    parent_after: int


@dataclass(frozen=True, slots=True)
class RuleDiff:
    """All that distinguishes two versions, by leg index. A leg can be both changed and moved."""

    added: tuple[PlacedLeg, ...] = ()
    removed: tuple[PlacedLeg, ...] = ()
    changed: tuple[ChangedLeg, ...] = ()
    moved: tuple[MovedLeg, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether the legs are the same."""
        return not (self.added or self.removed or self.changed or self.moved)


def diff(before: Sequence[Leg], after: Sequence[Leg]) -> RuleDiff:
    """What makes `after` of `before`. Both are rules as `validate` takes them."""
    pairs = _pairs(before, after)
    partners = set(pairs.values())
    in_order = sorted(pairs.items())
    return RuleDiff(
        added=tuple(PlacedLeg(index, leg) for index, leg in enumerate(after) if index not in partners),
        removed=tuple(PlacedLeg(index, leg) for index, leg in enumerate(before) if index not in pairs),
        changed=tuple(
            ChangedLeg(old, new, fields)
            for old, new in in_order
            if (fields := _field_changes(before[old], after[new]))
        ),
        moved=_moves(before, after, pairs),
    )


def diff_terms(before: RuleTerms, after: RuleTerms) -> tuple[FieldChange, ...]:
    """The terms in which two versions differ, with the value of each."""
    values = ((f.name, getattr(before, f.name), getattr(after, f.name)) for f in fields(RuleTerms))
    return tuple(FieldChange(name, old, new) for name, old, new in values if old != new)


def apply(before: Sequence[Leg], change: RuleDiff) -> list[Leg]:
    """The legs of the later version: `diff(before, after)` applied to `before` gives `after`."""
    removed = {placed.index for placed in change.removed}
    added = {placed.index: placed.leg for placed in change.added}
    places = {move.before: move.after for move in change.moved}
    size = len(before) - len(removed) + len(added)
    taken = {*added, *places.values()}
    staying = (index for index in range(len(before)) if index not in removed and index not in places)
    free = (index for index in range(size) if index not in taken)
    places |= dict(zip(staying, free, strict=True))
    parents = {move.before: move.parent_after for move in change.moved}
    values = {leg.before: {field.field: field.after for field in leg.fields} for leg in change.changed}
    result = dict(added)
    for old, new in places.items():
        leg = before[old]
        parent = parents[old] if old in parents else _place(places, leg.parent)
        result[new] = replace(leg, parent=parent, **values.get(old, {}))
    return [result[index] for index in range(size)]


def _place(places: dict[int, int], parent: int) -> int:
    return ROOT if parent == ROOT else places[parent]


# ------------------------------------------------------------------------------ pairing


def _pairs(before: Sequence[Leg], after: Sequence[Leg]) -> dict[int, int]:
    """Index in the later version of each leg of the earlier one that has a partner there."""
    pairs: dict[int, int] = {}
    old_leaves, new_leaves = leaf_indices(before), leaf_indices(after)
    _pair_first(pairs, old_leaves, new_leaves, lambda o, n: _same_receiver_and_terms(before[o], after[n]))
    _pair_first(pairs, old_leaves, new_leaves, lambda o, n: _receiver(before[o]) == _receiver(after[n]))
    old_pools = [index for index in range(len(before)) if index not in set(old_leaves)]
    new_pools = [index for index in range(len(after)) if index not in set(new_leaves)]
    _pair_by_children(pairs, before, after, old_pools, new_pools)
    _pair_first(pairs, old_pools, new_pools, lambda o, n: before[o].kind is after[n].kind)
    _pair_first(
        pairs,
        old_leaves,
        new_leaves,
        lambda o, n: (
            _partner(pairs, before[o].parent) == after[n].parent and _terms(before[o]) == _terms(after[n])
        ),
    )
    return pairs


def _pair_first(pairs: dict[int, int], old: Iterable[int], new: Sequence[int], fits: _Fits) -> None:
    """Pair each leg that has no partner with the first one that has none and fits."""
    taken = set(pairs.values())
    for before in old:
        if before in pairs:
            continue
        found = next((after for after in new if after not in taken and fits(before, after)), None)
        if found is not None:
            pairs[before] = found
            taken.add(found)


def _pair_by_children(
    pairs: dict[int, int],
    before: Sequence[Leg],
    after: Sequence[Leg],
    old_pools: Sequence[int],
    new_pools: Sequence[int],
) -> None:
    free = set(new_pools)
    # A child stands behind its parent, so from the end the innermost pools come first.
    for pool in reversed(old_pools):
        kept = [pairs[index] for index, leg in enumerate(before) if leg.parent == pool and index in pairs]
        homes = [after[index].parent for index in kept if after[index].parent in free]
        if homes:
            same_kind = before[pool].kind
            best = min(free & set(homes), key=lambda n: (-homes.count(n), after[n].kind is not same_kind, n))
            pairs[pool] = best
            free.discard(best)


def _terms(leg: Leg) -> tuple[Any, ...]:
    return tuple(getattr(leg, name) for name in TERMS)


def _receiver(leg: Leg) -> tuple[bytes | None, str | None]:
    return leg.recipient, leg.role


def _same_receiver_and_terms(one: Leg, other: Leg) -> bool:
    return _receiver(one) == _receiver(other) and _terms(one) == _terms(other)


def _partner(pairs: dict[int, int], pool: int) -> int | None:
    return ROOT if pool == ROOT else pairs.get(pool)


# ------------------------------------------------------------------------------ comparing


def _field_changes(before: Leg, after: Leg) -> tuple[FieldChange, ...]:
    values = ((name, getattr(before, name), getattr(after, name)) for name in FIELDS)
    return tuple(FieldChange(name, old, new) for name, old, new in values if old != new)


def _moves(before: Sequence[Leg], after: Sequence[Leg], pairs: dict[int, int]) -> tuple[MovedLeg, ...]:
    """Legs of another pool, and the fewest others without which the rest stands in the same order."""
    at_home = [
        (old, new)
        for old, new in sorted(pairs.items())
        if _partner(pairs, before[old].parent) == after[new].parent
    ]
    staying = _longest_rise(at_home)
    return tuple(
        MovedLeg(old, new, before[old].parent, after[new].parent)
        for old, new in sorted(pairs.items())
        if old not in staying
    )


def _longest_rise(pairs: Sequence[tuple[int, int]]) -> set[int]:
    """First members of the longest run of pairs, not necessarily neighbours, whose second members rise."""
    length = [1] * len(pairs)
    following: list[int | None] = [None] * len(pairs)
    for place in reversed(range(len(pairs))):
        for later in range(place + 1, len(pairs)):
            if pairs[later][1] > pairs[place][1] and length[later] + 1 > length[place]:
                length[place], following[place] = length[later] + 1, later
    at = length.index(max(length)) if pairs else None
    found: set[int] = set()
    while at is not None:
        found.add(pairs[at][0])
        at = following[at]
    return found
