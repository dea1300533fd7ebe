"""Every line of a statement is matched or in exactly one break, nothing is matched twice, and sums agree."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fenzhang.clearing.reconciliation.inferring import Open, infer
from fenzhang.clearing.reconciliation.matching import Line, Matching, Payout, sets_of, stories
from fenzhang.store.banktables import BankPaymentState as State
from fenzhang.store.reconciliationtables import MatchedBy

TODAY = date(2026, 11, 22)


def payout(name: str, amount: int, file: str = "M1", state: State = State.PAID, day: int = 0) -> Payout:
    return Payout(name, file, "bank", "CNY", amount, TODAY + timedelta(day), state)


@dataclass
class Paper:
    """A statement in the making. Lines get numbers as they come."""

    lines: list[Line] = field(default_factory=list)

    def add(self, amount: int, name: str | None = None, day: int = 0, **told: object) -> Line:
        """A line of this amount."""
        number = len(self.lines) + 1
        made = Line(number, "bank", "CNY", TODAY + timedelta(day), amount, name, **told)  # type: ignore[arg-type]
        self.lines.append(made)
        return made


def matched(lines: list[Line], payouts: list[Payout], *, funding: bool = True) -> tuple[Matching, Matching]:
    """What named and nameless lines come to, as a run finds it."""
    named = stories(lines, {each.end_to_end_id: each for each in payouts})
    explained = {name for match in named.matches.values() for name, _ in match.shares}
    net = Counter[str]()
    for match in named.matches.values():
        for name, amount in match.shares:
            net[name] += amount
    rest = [line for line in lines if line.end_to_end_id is None]
    open_ = Open(
        [each for each in payouts if each.end_to_end_id not in explained],
        [each for each in payouts if net[each.end_to_end_id] < 0],
    )
    return named, infer(rest, open_, funding=funding)


def check(lines: list[Line], payouts: list[Payout]) -> tuple[Matching, Matching]:
    """Match, and see that nothing is lost, doubled or made up."""
    found = matched(lines, payouts)
    places = Counter(number for each in found for number in each.matches)
    places.update(number for each in found for sighting in each.sightings for number in sighting.lines)
    assert places == Counter(line.id for line in lines)
    by_id = {line.id: line for line in lines}
    net = Counter[str]()
    unmatched_sum = matched_sum = 0
    for each in found:
        for number, match in each.matches.items():
            matched_sum += by_id[number].amount
            if match.by not in {MatchedBy.REVERSAL, MatchedBy.FUNDING}:
                assert sum(amount for _, amount in match.shares) == by_id[number].amount
            for name, amount in match.shares:
                net[name] += amount
        for sighting in each.sightings:
            total = sum(by_id[number].amount for number in sighting.lines)
            assert sighting.amount == total
            unmatched_sum += total
    assert matched_sum + unmatched_sum == sum(line.amount for line in lines)
    amounts = {each.end_to_end_id: each.amount for each in payouts}
    assert all(-amounts[name] <= total <= amounts[name] for name, total in net.items())
    return found


@dataclass(frozen=True)
class Cut:
    """How a payment stands on the statement."""

    parts: tuple[int, ...]
    """Amounts that it is split into."""
    doubled: bool
    """It stands there twice, and is taken back once."""
    named: bool


@st.composite
def cuts(draw: st.DrawFn, amount: int) -> Cut:
    marks = sorted(draw(st.sets(st.integers(1, max(1, amount - 1)), max_size=2)) - {amount})
    edges = [0, *marks, amount]
    parts = tuple(high - low for low, high in pairwise(edges))
    return Cut(parts, draw(st.booleans()), draw(st.booleans()))


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Line], list[Payout]]:
    """Payouts that were paid, not paid, paid twice, or came back, on a statement that is cut in any way."""
    paper = Paper()
    payouts: list[Payout] = []
    for number in range(draw(st.integers(1, 5))):
        amount = draw(st.integers(1, 6) | st.integers(1, 10**12))
        made = payout(
            f"E{number}",
            amount,
            draw(st.sampled_from(("M1", "M2"))),
            draw(st.sampled_from((State.PAID, State.SENT, State.UNKNOWN, State.FAILED, State.RETURNED))),
        )
        payouts.append(made)
        for _ in range(draw(st.sampled_from((0, 1, 1, 1, 2)))):
            cut = draw(cuts(amount))
            for place, part in enumerate(cut.parts):
                name = made.end_to_end_id if cut.named else None
                reference = f"B{number}-{place}"
                for _ in range(1 + cut.doubled):
                    paper.add(-part, name, reference=reference)
                if cut.doubled:
                    paper.add(part, name, reference=reference, reversal=True)
        if draw(st.booleans()):
            paper.add(amount, draw(st.sampled_from((made.end_to_end_id, None))), reason="AC04")
    for amount in draw(st.lists(st.integers(-(10**6), 10**6).filter(bool), max_size=2)):
        paper.add(amount, draw(st.sampled_from((None, "X1"))), is_part=draw(st.booleans()))
    if draw(st.booleans()):
        total = sum(each.amount for each in payouts if each.message_id == "M1")
        if total:
            paper.add(-total, message_id=draw(st.sampled_from((None, "M1"))), is_part=False)
    return draw(st.permutations(paper.lines)), payouts


@given(histories())
def test_every_line_is_matched_or_in_one_break(history: tuple[list[Line], list[Payout]]) -> None:
    check(*history)


@given(histories())
def test_a_second_look_finds_no_more(history: tuple[list[Line], list[Payout]]) -> None:
    """What is decided is decided in one run: the next one, with what this one left, decides nothing."""
    lines, payouts = history
    named, nameless = matched(lines, payouts)
    net = Counter[str]()
    for match in (*named.matches.values(), *nameless.matches.values()):
        for name, amount in match.shares:
            net[name] += amount
    left = [line for line in lines if line.end_to_end_id is None and line.id not in nameless.matches]

    again = infer(
        left,
        Open(
            [each for each in payouts if each.end_to_end_id not in net],
            [each for each in payouts if net[each.end_to_end_id] < 0],
        ),
        funding=True,
    )

    assert again.matches == {}
    assert [(each.kind, each.subject) for each in again.sightings] == [
        (each.kind, each.subject) for each in nameless.sightings
    ]


@given(st.data())
def test_split_merged_and_doubled_lines_of_named_payouts_are_all_matched(data: st.DataObject) -> None:
    paper, payouts = Paper(), []
    for number in range(data.draw(st.integers(1, 6))):
        amount = data.draw(st.integers(1, 1_000))
        payouts.append(payout(f"E{number}", amount))
        cut = data.draw(cuts(amount))
        for part in cut.parts:
            for _ in range(1 + cut.doubled):
                paper.add(-part, f"E{number}")
            if cut.doubled:
                paper.add(part, f"E{number}", reversal=True)

    named, nameless = check(data.draw(st.permutations(paper.lines)), payouts)

    assert named.sightings == nameless.sightings == []
    assert {name: len(said) for name, said in named.said.items()} == dict.fromkeys(
        (each.end_to_end_id for each in payouts), 1
    )


def kinds(found: Matching) -> dict[str, str]:
    return {sighting.subject: sighting.kind for sighting in found.sightings}


def test_a_line_without_a_name_is_matched_when_its_amount_is_unique() -> None:
    paper = Paper()
    paper.add(-100)
    paper.add(-50)

    _, found = check(paper.lines, [payout("E1", 100), payout("E2", 50), payout("E3", 70)])

    assert {number: match.shares for number, match in found.matches.items()} == {
        1: (("E1", -100),),
        2: (("E2", -50),),
    }
    assert found.said == {}


def test_one_line_and_two_payouts_are_ambiguous() -> None:
    paper = Paper()
    paper.add(-100)

    _, found = check(paper.lines, [payout("E1", 100), payout("E2", 100)])

    assert kinds(found) == {"line 1": "AMBIGUOUS"}
    assert found.sightings[0].details["payouts"] == ["E1", "E2"]


def test_as_many_lines_as_payouts_leave_no_choice() -> None:
    paper = Paper()
    paper.add(-100)
    paper.add(-100)

    _, found = check(paper.lines, [payout("E1", 100), payout("E2", 100)])

    assert {match.shares[0][0] for match in found.matches.values()} == {"E1", "E2"}


@pytest.mark.parametrize(
    ("other", "is_matched"),
    [
        (payout("E2", 100, day=5), True),
        (payout("E2", 100, day=-20), True),
        (payout("E2", 100, day=-5), False),
        (replace(payout("E2", 100), currency="EUR"), True),
        (replace(payout("E2", 100), bank="other"), True),
        (payout("E2", 100, state=State.FAILED), True),
    ],
)
def test_day_currency_bank_and_state_narrow_the_choice(other: Payout, *, is_matched: bool) -> None:
    paper = Paper()
    paper.add(-100)

    _, found = check(paper.lines, [payout("E1", 100), other])

    assert (1 in found.matches) is is_matched


def test_the_bank_first_has_to_say_that_it_has_a_payout() -> None:
    paper = Paper()
    paper.add(-100)

    _, found = check(paper.lines, [payout("E1", 100, state=State.UNKNOWN)])

    assert kinds(found) == {"line 1": "AMBIGUOUS"}


def test_a_merged_line_is_all_of_its_file_or_the_only_payouts_that_add_up() -> None:
    paper = Paper()
    paper.add(-150, is_part=False, message_id="M1")
    paper.add(-30, is_part=False)
    payouts = [
        payout("E1", 100),
        payout("E2", 50),
        payout("E3", 10, "M2"),
        payout("E4", 20, "M2"),
        payout("E5", 40, "M2"),
    ]

    _, found = check(paper.lines, payouts)

    assert found.matches[1].shares == (("E1", -100), ("E2", -50))
    assert found.matches[2].shares == (("E3", -10), ("E4", -20))
    assert {match.by for match in found.matches.values()} == {MatchedBy.FILE}


def test_a_merged_line_that_several_sets_explain_is_ambiguous() -> None:
    paper = Paper()
    paper.add(-30, is_part=False)

    _, found = check(paper.lines, [payout("E1", 10), payout("E2", 20), payout("E3", 30), payout("E4", 5)])

    assert kinds(found) == {"line 1": "AMBIGUOUS"}


def test_two_lines_that_want_the_same_payout_are_ambiguous() -> None:
    paper = Paper()
    paper.add(-150, is_part=False)
    paper.add(-100)

    _, found = check(paper.lines, [payout("E1", 100), payout("E2", 50), payout("E3", 7)])

    assert kinds(found) == {"line 1": "AMBIGUOUS", "line 2": "AMBIGUOUS"}


def test_what_came_back_without_a_name_is_matched_when_nothing_else_can_be_meant() -> None:
    paper = Paper()
    paper.add(-100, "E1")
    paper.add(100, reason="AC04")

    _, found = check(paper.lines, [payout("E1", 100)])
    _, unsure = check(paper.lines, [payout("E1", 100), payout("E2", 100, state=State.FAILED)])

    assert found.matches[2].shares == (("E1", 100),)
    assert [status.state for status in found.said["E1"]] == ["PAID", "FAILED"]
    assert kinds(unsure) == {"line 2": "AMBIGUOUS"}


def test_what_failed_was_paid_and_came_back() -> None:
    paper = Paper()
    paper.add(-100)
    paper.add(100, reason="AC04")

    _, found = check(paper.lines, [payout("E1", 100, state=State.FAILED)])

    assert {match.shares[0][0] for match in found.matches.values()} == {"E1"}


@given(st.lists(st.integers(1, 30), max_size=8), st.integers(1, 120))
def test_sets_of_amounts_are_those_that_trying_all_finds(amounts: list[int], total: int) -> None:
    all_ = [
        {place for place in range(len(amounts)) if mask >> place & 1}
        for mask in range(1, 1 << len(amounts))
        if sum(amounts[place] for place in range(len(amounts)) if mask >> place & 1) == total
    ]

    found = sets_of(amounts, total)

    assert found is not None
    assert len(found) == min(len(all_), 2)
    assert all(set(each) in all_ for each in found)
    assert len({tuple(sorted(each)) for each in found}) == len(found)


def test_a_file_of_many_payouts_that_cannot_be_searched_is_given_up() -> None:
    amounts = [3**place for place in range(1, 40)]

    assert sets_of(amounts, sum(amounts) // 2) is None
    assert sets_of(amounts, sum(amounts)) == [tuple(range(39))]
