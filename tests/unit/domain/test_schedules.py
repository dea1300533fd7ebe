"""What makes a list of entries a schedule, and which entry an order is of."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fenzhang.domain.errors import InvalidSchedule
from fenzhang.domain.facts import Facts
from fenzhang.domain.records import NOTHING, RuleState
from fenzhang.domain.schedules import (
    CRITERIA,
    MAX_ENTRIES,
    SCHEDULE,
    Entry,
    precedence,
    select,
    validate,
)
from fenzhang.domain.world import Rule, Version
from support.schedules import RULES, Sale, Schedule, nearly_schedules, sales, schedules

NOW = 2_000_000_000
ANY = Entry(RULES[0])
TEA = replace(ANY, facts=Facts(category="tea").pack())
SALE_618 = replace(ANY, facts=Facts(promotion="618").pack())
GOLD = replace(ANY, facts=Facts(member_tier="gold").pack())
APP = replace(ANY, facts=Facts(channel="app").pack())
YUAN = replace(ANY, currency="CNY")
LARGE = replace(ANY, amount_from=10_000)
JUNE = replace(ANY, valid_from=NOW, valid_until=NOW + 30 * 86_400)
BY_WEIGHT = (SALE_618, TEA, GOLD, APP, YUAN, LARGE, JUNE)


def refused(*entries: Entry) -> tuple[int, str]:
    with pytest.raises(InvalidSchedule) as caught:
        validate(entries)
    assert caught.value.code == "invalid_schedule"
    return caught.value.entry, caught.value.message


def place_of(
    schedule: Schedule, facts: bytes = NOTHING, currency: str = "CNY", amount: int = 1, now: int = NOW
) -> int:
    found = select(schedule, facts, currency, amount, now)
    assert found is not None
    assert found.entry == schedule[found.index]
    return found.index


def test_what_is_no_schedule_selects_nothing() -> None:
    assert select((), NOTHING, "CNY", 1, NOW) is None
    assert select((TEA,), NOTHING, "CNY", 1, NOW) is None


def test_the_criteria_are_those_of_the_documentation_in_the_order_of_their_weight() -> None:
    assert CRITERIA == ("promotion", "category", "member_tier", "channel", "currency", "amount", "time")
    assert [entry.criteria for entry in BY_WEIGHT] == [(name,) for name in CRITERIA]
    validate((*BY_WEIGHT, ANY))


def test_more_criteria_stand_before_fewer_whatever_they_weigh() -> None:
    light = replace(LARGE, valid_from=NOW)
    validate((light, SALE_618, ANY))
    assert refused(SALE_618, light, ANY) == (1, "entry 1: stands behind a less specific entry")


def test_among_equally_many_the_first_that_differs_decides() -> None:
    first = replace(SALE_618, valid_from=NOW)
    second = replace(TEA, currency="CNY")
    validate((first, second, ANY))
    assert refused(second, first, ANY)[0] == 1


def test_one_entry_that_states_nothing_is_a_schedule() -> None:
    validate((ANY,))
    assert place_of((ANY,)) == 0


def test_the_last_entry_states_nothing_and_no_other() -> None:
    assert refused(TEA) == (
        0,
        "entry 0: the last entry states nothing, so that every order has a rule",
    )
    assert refused(ANY, ANY) == (1, "entry 1: an order could match it as well as entry 0")
    assert refused(ANY, TEA)[0] == 1


def test_there_are_1_to_64_entries() -> None:
    assert refused()[0] == -1
    many = tuple(
        replace(ANY, amount_from=1_000 * n, amount_below=1_000 * (n + 1)) for n in range(MAX_ENTRIES)
    )
    validate((*many[1:], ANY))
    assert refused(*many, ANY)[0] == -1


def test_ranges_that_touch_do_not_overlap_and_one_unit_more_does() -> None:
    below, above = replace(ANY, amount_below=100), replace(ANY, amount_from=100)
    validate((below, above, ANY))
    assert refused(replace(below, amount_below=101), above, ANY)[0] == 1
    assert refused(above, replace(ANY, amount_from=100, amount_below=101), ANY)[0] == 1
    before, after = replace(ANY, valid_until=NOW), replace(ANY, valid_from=NOW)
    validate((after, before, ANY))
    assert refused(before, replace(after, valid_from=NOW - 1), ANY)[0] == 1


def test_entries_that_meet_in_amounts_alone_or_in_times_alone_are_no_tie() -> None:
    early = replace(ANY, amount_below=100, valid_until=NOW)
    validate(
        (
            early,
            replace(early, valid_from=NOW, valid_until=0),
            replace(early, amount_below=0, amount_from=100),
            ANY,
        )
    )
    assert refused(early, replace(early, amount_below=50), ANY)[0] == 1


def test_another_code_or_currency_is_no_tie() -> None:
    coffee = replace(ANY, facts=Facts(category="coffee").pack())
    validate((TEA, coffee, YUAN, replace(YUAN, currency="JPY"), ANY))
    assert refused(TEA, replace(TEA, rule_id=RULES[1]), ANY)[0] == 1


@pytest.mark.parametrize(
    ("change", "saying"),
    [
        ({"facts": b"\0a".ljust(32, b"\0")}, "codes are ASCII"),
        ({"facts": b"\xe4".ljust(32, b"\0")}, "codes are ASCII"),
        ({"amount_from": 7, "amount_below": 7}, "no amount is from 7 and below 7"),
        ({"valid_from": 8, "valid_until": 7}, "no time is from 8 and before 7"),
        ({"rule_id": bytes(32)}, "names a rule"),
        ({"rule_id": SCHEDULE}, "names a rule"),
    ],
)
def test_values_that_match_nothing_are_refused(change: dict[str, object], saying: str) -> None:
    index, message = refused(TEA, replace(ANY, **change), ANY)  # type: ignore[arg-type] # fields of Entry, as they come
    assert index == 1
    assert saying in message


def test_the_most_specific_entry_wins() -> None:
    both = replace(TEA, facts=Facts("618", "tea").pack(), rule_id=RULES[1])
    schedule = (both, SALE_618, TEA, ANY)
    validate(schedule)
    expected = {
        Facts("618", "tea", "gold", "app"): 0,
        Facts("618", "coffee"): 1,
        Facts(category="tea"): 2,
        Facts(category="TEA"): 3,
        Facts(): 3,
    }
    for facts, index in expected.items():
        assert place_of(schedule, facts.pack()) == index


def test_ends_of_ranges() -> None:
    schedule = (replace(JUNE, amount_from=100, amount_below=200), ANY)
    for amount, now, index in (
        (99, NOW, 1),
        (100, NOW, 0),
        (199, NOW, 0),
        (200, NOW, 1),
        (100, NOW - 1, 1),
        (100, JUNE.valid_until - 1, 0),
        (100, JUNE.valid_until, 1),
    ):
        assert place_of(schedule, amount=amount, now=now) == index


def by_definition(schedule: Schedule, sale: Sale) -> list[int]:
    """The places of the best of all that match: by the number of criteria, and then by their weights as bits."""
    weights = {name: 1 << place for place, name in enumerate(reversed(CRITERIA))}
    ranks = {
        index: (len(entry.criteria), sum(weights[name] for name in entry.criteria))
        for index, entry in enumerate(schedule)
        if entry.matches(sale.facts, sale.currency, sale.amount, NOW)
    }
    return [index for index, rank in ranks.items() if rank == max(ranks.values())]


@given(schedules(NOW), sales)
def test_exactly_one_entry_is_the_best_and_it_is_selected(schedule: Schedule, sale: Sale) -> None:
    validate(schedule)
    [best] = by_definition(schedule, sale)
    assert place_of(schedule, sale.facts, sale.currency, sale.amount) == best


@given(nearly_schedules(NOW), sales)
def test_whatever_validates_has_no_ties(drawn: Schedule, sale: Sale) -> None:
    try:
        validate(drawn)
    except InvalidSchedule:
        return
    assert len(by_definition(drawn, sale)) == 1
    ranks = Counter(precedence(entry) for entry in drawn)
    assert ranks[precedence(ANY)] == 1
    assert list(ranks) == sorted(ranks)


versions = st.dictionaries(
    st.integers(1, 6), st.builds(Version, st.just(()), st.integers(0, 6), st.booleans()), max_size=6
)


@given(found=versions, retired=st.booleans(), now=st.integers(0, 6))
def test_the_version_in_force_is_the_one_whose_state_says_so(
    *, found: dict[int, Version], retired: bool, now: int
) -> None:
    rule = Rule(found, retired)
    states = [number for number in found if rule.state_of(number, now) is RuleState.IN_FORCE]
    assert [rule.in_force(now)] == (states or [0])
