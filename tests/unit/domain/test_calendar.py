"""Every moment has one cycle, cycles follow one another, and payouts are due on business days."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fenzhang.domain.calendar import (
    AT_MIDNIGHT,
    DAY_S,
    END_OF_MOMENTS,
    FIRST_MOMENT,
    BusinessDays,
    Cycle,
    DaysOfYear,
    InvalidCalendar,
    InvalidInstant,
    NoBusinessDay,
    SettlementCalendar,
    Terms,
    first_moment,
    weekends,
)

HOUR = 3_600
SHANGHAI, NEW_YORK, LORD_HOWE, APIA = (
    ZoneInfo(name) for name in ("Asia/Shanghai", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia")
)
ZONES = (SHANGHAI, NEW_YORK, LORD_HOWE, APIA, ZoneInfo("UTC"), ZoneInfo("Asia/Kathmandu"))


def _at(zone: ZoneInfo, *when: int) -> int:
    return int(datetime(*when, tzinfo=zone).timestamp())  # type: ignore[misc,arg-type]  # year to minute


def _calendar(
    zone: ZoneInfo = SHANGHAI, *hours: float, lag: int = 1, **days: dict[date, str]
) -> SettlementCalendar:
    cut_offs = tuple(int(hour * HOUR) for hour in hours) or AT_MIDNIGHT
    return SettlementCalendar(BusinessDays(**days), Terms(zone, cut_offs, lag=lag))  # type: ignore[arg-type]  # by name


# ------------------------------------------------------------------------------ what holds always


@st.composite
def calendars(draw: st.DrawFn) -> SettlementCalendar:
    """Any zone, terms and days; up to three weeks in a row may be closed."""
    around = st.dates(date(2010, 1, 1), date(2013, 12, 31))
    closed = draw(st.sets(around, max_size=4))
    long = draw(around)
    closed |= {long + timedelta(days=n) for n in range(draw(st.integers(0, 21)))}
    worked = draw(st.sets(around, max_size=6)) - closed
    days = BusinessDays(
        holidays=dict.fromkeys(closed, "holiday"), workdays=dict.fromkeys(worked, "made up for")
    )
    lag = draw(st.integers(0, 5))
    zone = draw(st.sampled_from(ZONES))
    if draw(st.booleans()):
        every_s = draw(st.sampled_from([1, 60, 900, 7_000, DAY_S]))
        return SettlementCalendar(days, Terms(zone, (), every_s, lag))
    cut_offs = draw(st.sets(st.integers(1, 4 * 24).map(lambda n: n * 900), min_size=1, max_size=6))
    return SettlementCalendar(days, Terms(zone, tuple(sorted(cut_offs)), lag=lag))


_CHANGES = [
    _at(ZoneInfo("UTC"), *when)
    for when in ((2011, 3, 13, 7, 0), (2011, 11, 6, 6, 0), (2011, 10, 1, 15, 30), (2011, 12, 30, 10, 0))
]
"""New York is put forward and back, Lord Howe by half an hour; Apia skips a day."""
moments = st.one_of(
    st.integers(_at(NEW_YORK, 2010, 1, 1), _at(NEW_YORK, 2013, 12, 31)),
    st.builds(lambda change, more: change + more, st.sampled_from(_CHANGES), st.integers(-90_000, 90_000)),
)


@given(calendars(), moments)
def test_a_moment_belongs_to_the_cycle_that_says_so(found: SettlementCalendar, moment: int) -> None:
    cycle = found.cycle_of(moment)
    assert cycle.opens <= moment < cycle.closes
    for inside in (cycle.opens, cycle.closes - 1, (cycle.opens + cycle.closes) // 2):
        assert found.cycle_of(inside) == cycle


@given(calendars(), moments)
def test_cycles_are_contiguous_and_close_one_after_the_other(found: SettlementCalendar, moment: int) -> None:
    before = found.cycle_of(moment)
    for _ in range(5):
        after = found.cycle_of(before.closes)
        assert after.opens == before.closes < after.closes
        assert before.day <= after.day
        assert before.due <= after.due
        assert found.cycle_of(after.opens - 1) == before
        before = after


@given(calendars(), moments)
def test_payouts_are_due_on_business_days_after_the_close(found: SettlementCalendar, moment: int) -> None:
    cycle = found.cycle_of(moment)
    closes = datetime.fromtimestamp(cycle.closes, found.terms.zone)
    assert found.days.includes(cycle.due)
    assert found.days.includes(cycle.day)
    assert cycle.due >= closes.date()
    between = (cycle.day + timedelta(days=n) for n in range(1, (cycle.due - cycle.day).days + 1))
    assert sum(found.days.includes(day) for day in between) >= found.terms.lag


@given(calendars(), moments)
def test_cycles_of_a_period_cover_it(found: SettlementCalendar, moment: int) -> None:
    length = found.terms.every_s or 5 * DAY_S
    cycles = list(found.cycles(moment, moment + 3 * length))
    assert cycles[0] == found.cycle_of(moment)
    assert cycles[-1] == found.cycle_of(moment + 3 * length - 1)
    assert all(one.closes == two.opens for one, two in pairwise(cycles))


@given(
    st.sampled_from(ZONES),
    st.datetimes(datetime(2010, 1, 1), datetime(2013, 12, 31)).map(lambda d: d.replace(microsecond=0)),  # noqa: DTZ001 -- wall clocks
)
def test_the_first_moment_is_the_first(zone: ZoneInfo, shown: datetime) -> None:
    moment = first_moment(shown, zone)
    assert datetime.fromtimestamp(moment, zone).replace(tzinfo=None) >= shown
    assert datetime.fromtimestamp(moment - 1, zone).replace(tzinfo=None) < shown


# ------------------------------------------------------------------------------ cases


def test_a_day_has_a_cycle_for_each_cut_off() -> None:
    found = _calendar(SHANGHAI, 11, 17.5, lag=0)
    monday = date(2026, 3, 2)
    morning = found.cycle_of(_at(SHANGHAI, 2026, 3, 2, 10, 59))
    assert morning == Cycle(
        _at(SHANGHAI, 2026, 2, 27, 17, 30), _at(SHANGHAI, 2026, 3, 2, 11, 0), monday, monday
    )
    afternoon = found.cycle_of(morning.closes)
    assert (afternoon.closes, afternoon.due) == (_at(SHANGHAI, 2026, 3, 2, 17, 30), monday)
    evening = found.cycle_of(afternoon.closes)
    assert evening.day == evening.due == date(2026, 3, 3)


def test_a_cycle_that_ends_with_the_day_is_paid_on_the_next_even_at_t_plus_0() -> None:
    cycle = _calendar(lag=0).cycle_of(_at(SHANGHAI, 2026, 3, 6, 12))
    assert (cycle.day, cycle.due) == (date(2026, 3, 6), date(2026, 3, 9))


def test_what_comes_in_on_a_weekend_waits_for_monday() -> None:
    saturday = _calendar(SHANGHAI, 17).cycle_of(_at(SHANGHAI, 2026, 3, 7, 12))
    assert saturday.opens == _at(SHANGHAI, 2026, 3, 6, 17)
    assert saturday.closes == _at(SHANGHAI, 2026, 3, 9, 17)
    assert (saturday.day, saturday.due) == (date(2026, 3, 9), date(2026, 3, 10))


def test_a_saturday_that_is_made_up_for_is_a_business_day() -> None:
    saturday = date(2026, 3, 7)
    found = _calendar(SHANGHAI, 17, workdays={saturday: "made up for"})
    assert found.cycle_of(_at(SHANGHAI, 2026, 3, 6, 12)).due == saturday
    assert found.cycle_of(_at(SHANGHAI, 2026, 3, 7, 12)).day == saturday
    assert found.days.worked_because(saturday) == "made up for"


def test_a_week_of_holidays_across_the_new_year_is_one_cycle() -> None:
    days = {date(2025, 12, 29) + timedelta(days=n): "holiday" for n in range(7)}
    found = _calendar(SHANGHAI, 17, lag=2, holidays=days)
    cycle = found.cycle_of(_at(SHANGHAI, 2025, 12, 31, 23, 59))
    assert cycle.opens == _at(SHANGHAI, 2025, 12, 26, 17)
    assert cycle.closes == _at(SHANGHAI, 2026, 1, 5, 17)
    assert cycle.due == date(2026, 1, 7)


def test_a_cut_off_that_the_clock_skips_is_when_it_is_put_forward() -> None:
    sunday = date(2026, 3, 8)
    found = _calendar(NEW_YORK, 1.5, 2.25, 2.5, 3, 4, workdays={sunday: "open"})
    closes = [
        each.closes for each in found.cycles(_at(NEW_YORK, 2026, 3, 8, 0), _at(NEW_YORK, 2026, 3, 8, 4))
    ]
    assert closes == [_at(NEW_YORK, 2026, 3, 8, hour, minute) for hour, minute in ((1, 30), (3, 0), (4, 0))]


def test_a_cut_off_that_comes_twice_is_the_first() -> None:
    sunday = date(2026, 11, 1)
    found = _calendar(NEW_YORK, 1.5, 2, workdays={sunday: "open"})
    midnight = _at(NEW_YORK, 2026, 11, 1)
    first, second = found.cycles(midnight, midnight + 3 * HOUR)
    assert first.closes == midnight + HOUR + HOUR // 2
    assert second.closes == midnight + 3 * HOUR


def test_a_day_that_a_zone_leaves_out_has_no_cycle() -> None:
    """Samoa went from 29 to 31 December 2011, which was a Saturday."""
    found = _calendar(APIA, lag=0)
    thursday = found.cycle_of(_at(APIA, 2011, 12, 29, 12))
    assert thursday.closes == _at(APIA, 2011, 12, 31)
    after = found.cycle_of(thursday.closes)
    assert (after.day, after.opens) == (date(2012, 1, 2), thursday.closes)


def test_continuous_cycles_go_on_at_night_and_are_due_on_business_days() -> None:
    found = SettlementCalendar(BusinessDays(), Terms(SHANGHAI, (), 900, lag=0))
    friday = found.cycle_of(_at(SHANGHAI, 2026, 3, 6, 23, 40))
    assert friday.closes - friday.opens == 900
    assert friday.due == date(2026, 3, 6)
    last = found.cycle_of(friday.closes)
    assert (last.day, last.due) == (date(2026, 3, 6), date(2026, 3, 9))
    assert found.cycle_of(last.closes)[2:] == (date(2026, 3, 9), date(2026, 3, 9))


def test_named_days_win_over_the_source() -> None:
    day, other = date(2026, 5, 1), date(2026, 5, 9)
    source = {2026: DaysOfYear({day: "Labour Day"}, {other: "made up"}, is_announced=False)}
    days = BusinessDays(source.__getitem__, holidays={other: "the bank moves"}, workdays={day: "open anyway"})
    assert (days.closed_because(day), days.closed_because(other)) == (None, "the bank moves")
    assert (days.worked_because(day), days.worked_because(other)) == ("open anyway", None)
    assert days.is_announced(2026)
    assert not BusinessDays(source.__getitem__).is_announced(2026)


# ------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("cut_offs", "every_s", "lag", "field"),
    [
        ((), None, 1, "cut_offs"),
        ((0,), None, 1, "cut_offs"),
        ((DAY_S + 1,), None, 1, "cut_offs"),
        ((HOUR, HOUR), None, 1, "cut_offs"),
        ((2 * HOUR, HOUR), None, 1, "cut_offs"),
        ((HOUR,), 60, 1, "every_s"),
        ((), 0, 1, "every_s"),
        ((), DAY_S + 1, 1, "every_s"),
        ((HOUR,), None, -1, "lag"),
        ((HOUR,), None, 31, "lag"),
    ],
)
def test_terms_that_cannot_be_are_refused(
    cut_offs: tuple[int, ...], every_s: int | None, lag: int, field: str
) -> None:
    with pytest.raises(InvalidCalendar) as refused:
        Terms(SHANGHAI, cut_offs, every_s, lag)
    assert refused.value.field == field


def test_a_day_named_both_ways_is_refused() -> None:
    day = {date(2026, 1, 2): "both"}
    with pytest.raises(InvalidCalendar, match="2026-01-02"):
        BusinessDays(weekends, day, day)


@pytest.mark.parametrize("moment", [FIRST_MOMENT - 1, END_OF_MOMENTS, -1, 2**63])
def test_moments_outside_the_years_that_calendars_know_are_refused(moment: int) -> None:
    with pytest.raises(InvalidInstant):
        _calendar().cycle_of(moment)


@pytest.mark.parametrize("moment", [FIRST_MOMENT, END_OF_MOMENTS - 1])
@pytest.mark.parametrize("zone", ZONES, ids=str)
def test_the_first_and_the_last_moment_have_cycles(moment: int, zone: ZoneInfo) -> None:
    cycle = _calendar(zone).cycle_of(moment)
    assert cycle.opens <= moment < cycle.closes


def test_without_any_business_day_there_is_no_cycle() -> None:
    def never(year: int) -> DaysOfYear:
        first = date(year, 1, 1)
        return DaysOfYear({first + timedelta(days=n): "closed" for n in range(366)})

    found = SettlementCalendar(BusinessDays(never), Terms(SHANGHAI))
    with pytest.raises(NoBusinessDay):
        found.cycle_of(int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()))
