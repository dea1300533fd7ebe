"""Days of orders, returns and payouts that fail: whatever the calendars, nothing is lost, doubled or forgotten.

Two schemes with calendars of their own settle the same participants in two currencies, on days on which clocks change
and years end.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from fenzhang.clearing.holidays import days_of
from fenzhang.domain.calendar import DAY_S, BusinessDays, SettlementCalendar, Terms, first_moment
from fenzhang.domain.netting import OBSTACLES, Dues, LeftOut, net

PLACES = (
    ("America/New_York", "US", date(2027, 3, 13)),
    ("Europe/Berlin", "XECB", date(2026, 10, 24)),
    ("Asia/Shanghai", "CN", date(2026, 12, 30)),
    ("Asia/Tokyo", "JP", date(2026, 12, 30)),
)
"""Where and when: the clock is put forward, put back, and two new years."""
WORKED = dict.fromkeys((date(2027, 3, 14), date(2026, 10, 25)), "clocks change")
"""Sundays, so that cut-offs fall on hours that are not there, or there twice."""
DAYS = 5
CUT_OFFS = (9_000, 39_600, 63_000, DAY_S)
PEOPLE = [bytes([65 + number]) * 32 for number in range(4)]
Key = tuple[str, bytes]
"""Currency and participant."""
Fates = tuple[str, ...]


@dataclass(frozen=True)
class Event:
    """Something is posted to a position, by a platform of a scheme."""

    moment: int
    scheme: int
    key: Key
    amount: int


@dataclass
class Books:
    """What a ledger would say. Blocks are places in `events`, counted from 1."""

    events: list[Event]
    position: defaultdict[Key, int] = field(default_factory=lambda: defaultdict(int))
    due: list[defaultdict[Key, int]] = field(default_factory=lambda: [defaultdict(int), defaultdict(int)])
    """By scheme, after its last cycle."""
    to_block: list[int] = field(default_factory=lambda: [0, 0])
    posted: int = 0
    in_transit: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    paid: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    members: defaultdict[tuple[int, Key], int] = field(default_factory=lambda: defaultdict(int))
    """What cycles counted, by scheme."""

    def post_until(self, moment: int) -> None:
        """Everything that came in by a moment is in the positions."""
        while self.posted < len(self.events) and self.events[self.posted].moment <= moment:
            event = self.events[self.posted]
            self.position[event.key] += event.amount
            self.posted += 1

    def close(self, scheme: int, closes: int, fates: Fates, obstacles: frozenset[LeftOut]) -> None:
        """A cycle of everything before `closes`, in both currencies; `fates` are those of its payouts in turn."""
        last = sum(event.moment < closes for event in self.events)
        window = self.events[self.to_block[scheme] : last]
        self.to_block[scheme] = max(last, self.to_block[scheme])
        for currency in ("CNY", "JPY"):
            self._close_in(currency, scheme, window, fates, obstacles)

    def _close_in(
        self, currency: str, scheme: int, window: list[Event], fates: Fates, obstacles: frozenset[LeftOut]
    ) -> None:
        dues = []
        for who in PEOPLE:
            key = (currency, who)
            amounts = [each.amount for each in window if (each.scheme, each.key) == (scheme, key)]
            credit, debit = sum(a for a in amounts if a > 0), -sum(a for a in amounts if a < 0)
            self.members[scheme, key] += credit - debit
            dues.append(Dues(who, self.due[scheme][key], credit, debit, self.position[key]))
        netting = net(dues, {PEOPLE[0]: obstacles}, min_payout=5, net_debit_cap=50)
        assert {each.dues.participant for each in netting.nets} <= set(PEOPLE)
        for each in dues:
            self.due[scheme][currency, each.participant] = each.due
        for payout, fate in zip(netting.payouts, fates * len(PEOPLE), strict=False):
            self._pay((currency, payout.dues.participant), scheme, payout.amount, fate)

    def _pay(self, key: Key, scheme: int, amount: int, fate: str) -> None:
        if fate == "refused":
            return
        assert self.position[key] >= amount
        for book in (self.position, self.due[scheme]):
            book[key] -= amount
        self.in_transit[key[0]] += amount
        if fate == "in transit":
            return
        self.in_transit[key[0]] -= amount
        if fate == "paid":
            self.paid[key[0]] += amount
        else:  # it failed, or was paid and came back
            for book in (self.position, self.due[scheme]):
                book[key] += amount

    def check(self) -> None:
        """What came in is in a position, on its way, or paid, in each currency; and is due in one of the schemes."""
        for currency in ("CNY", "JPY"):
            came = sum(each.amount for each in self.events[: self.posted] if each.key[0] == currency)
            there = sum(amount for key, amount in self.position.items() if key[0] == currency)
            assert came == there + self.in_transit[currency] + self.paid[currency]
        for key, amount in self.position.items():
            ahead = sum(
                each.amount
                for scheme in (0, 1)
                for each in self.events[self.to_block[scheme] : self.posted]
                if (each.scheme, each.key) == (scheme, key)
            )
            assert amount == sum(due[key] for due in self.due) + ahead


@st.composite
def calendars(draw: st.DrawFn, place: tuple[str, str, date]) -> SettlementCalendar:
    """A calendar of a place, with cut-offs or continuous cycles."""
    zone, holidays, _ = place
    cut_offs = tuple(sorted(draw(st.sets(st.sampled_from(CUT_OFFS), max_size=3))))
    every_s = None if cut_offs else draw(st.sampled_from((900, 21_600, DAY_S)))
    lag = draw(st.integers(0, 2))
    return SettlementCalendar(
        BusinessDays(days_of(holidays), {}, WORKED), Terms(ZoneInfo(zone), cut_offs, every_s, lag)
    )


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[SettlementCalendar], list[Event]]:
    """Two calendars of a place, and what happens there in some days."""
    place = draw(st.sampled_from(PLACES))
    begin = int(datetime.combine(place[2], time.min, UTC).timestamp())
    events = draw(
        st.lists(
            st.builds(
                Event,
                st.integers(begin, begin + DAYS * DAY_S),
                st.integers(0, 1),
                st.tuples(st.sampled_from(["CNY", "JPY"]), st.sampled_from(PEOPLE)),
                st.integers(-100, 300),
            ),
            max_size=30,
        )
    )
    both = [draw(calendars(place)), draw(calendars(place))]
    return both, sorted(events, key=lambda each: each.moment)


fates_of_payouts = st.lists(
    st.sampled_from(["paid", "failed", "returned", "refused", "in transit"]), min_size=1, max_size=5
).map(tuple)


@settings(max_examples=60, deadline=None)
@given(histories(), fates_of_payouts, st.frozensets(st.sampled_from(OBSTACLES)))
def test_nothing_is_lost_doubled_or_forgotten(
    history: tuple[list[SettlementCalendar], list[Event]], fates: Fates, obstacles: frozenset[LeftOut]
) -> None:
    both, events = history
    books = Books(events)
    closings: set[tuple[int, int, int]] = set()
    for event in events:
        cycle = both[event.scheme].cycle_of(event.moment)
        zone = both[event.scheme].terms.zone
        due = first_moment(datetime.combine(cycle.due, time.min), zone)
        at = max(cycle.closes, due) if both[event.scheme].terms.lag else cycle.closes
        closings.add((at, cycle.closes, event.scheme))
    for at, closes, scheme in sorted(closings):
        books.post_until(at)
        books.close(scheme, closes, fates, obstacles)
        books.check()

    for (scheme, key), counted in books.members.items():
        came = sum(each.amount for each in events if (each.scheme, each.key) == (scheme, key))
        assert counted == came  # each event was a member of one cycle
    last = max((at for at, _, _ in closings), default=0)
    books.post_until(last)
    for scheme in (0, 1):
        books.close(scheme, last, ("paid",), frozenset())
        books.check()
    for key, left in books.position.items():
        assert left < 5, f"{key} has {left}"  # less than the smallest payout, or a debt
