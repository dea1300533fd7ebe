"""Days in time zones: they follow each other without gap and overlap, and have the hours that clocks give them."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fenzhang.domain.days import Day, InvalidDay, UnknownTimeZone, check_time_zone

ZONES = (
    "UTC",
    "Asia/Shanghai",
    "America/New_York",
    "America/Sao_Paulo",
    "America/Havana",
    "America/St_Johns",
    "America/Toronto",
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Pacific/Apia",
    "Antarctica/Troll",
    "Australia/Lord_Howe",
)
HOUR = 3_600
zones = st.sampled_from(ZONES).map(ZoneInfo)
times = st.integers(10 * 24 * HOUR, 4_000_000_000)


@given(zones, times)
def test_every_second_is_in_the_day_that_is_asked_for_it_and_in_no_other(zone: ZoneInfo, time: int) -> None:
    day = Day.at(time, zone)
    assert day.begin <= time < day.end
    assert Day.at(day.begin, zone) == day
    assert Day.at(day.end - 1, zone) == day
    following = Day.at(day.end, zone)
    assert following.begin == day.end
    assert following.date > day.date
    assert Day.at(day.begin - 1, zone).end == day.begin


@given(zones, times)
def test_a_day_begins_where_its_date_first_shows(zone: ZoneInfo, time: int) -> None:
    day = Day.at(time, zone)
    assert datetime.fromtimestamp(day.begin, zone).date() == day.date
    assert datetime.fromtimestamp(day.begin - 1, zone).date() < day.date
    assert 22 * HOUR <= day.end - day.begin <= 26 * HOUR


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Asia/Shanghai", "2026-11-22", 24),
        ("America/New_York", "2026-03-08", 23),
        ("America/New_York", "2026-11-01", 25),
        ("America/Sao_Paulo", "2018-11-04", 23),
        ("Europe/Berlin", "2026-12-31", 24),
        ("Australia/Lord_Howe", "2026-10-04", 23.5),
        ("Pacific/Apia", "2011-12-30", 0),
    ],
)
def test_days_have_the_hours_that_clocks_give_them(zone: str, day: str, hours: float) -> None:
    found = Day.of(day, ZoneInfo(zone))
    assert found.end - found.begin == hours * HOUR


def test_a_day_of_shanghai_begins_eight_hours_before_that_of_utc() -> None:
    found = Day.of("2026-11-22", ZoneInfo("Asia/Shanghai"))
    assert found.begin == Day.of("2026-11-22", ZoneInfo("UTC")).begin - 8 * HOUR
    assert found.local(found.begin) == "2026-11-22T00:00:00+08:00"


@pytest.mark.parametrize(
    "text",
    ["", "2026-02-30", "20261122", "2026-11-22 ", "1969-12-31", "9999-12-31", "٢٠٢٦-11-22", "2026-W47-7"],
)
def test_what_is_no_day_is_refused(text: str) -> None:
    with pytest.raises(InvalidDay):
        Day.of(text, ZoneInfo("UTC"))


@pytest.mark.parametrize("name", ["", "Asia", "Mars/Olympus", "/etc/passwd", "../UTC", "a\0b"])
def test_what_is_no_time_zone_is_refused(name: str) -> None:
    with pytest.raises(UnknownTimeZone):
        check_time_zone("zone", name)
    assert check_time_zone("zone", "Asia/Shanghai") == "Asia/Shanghai"
