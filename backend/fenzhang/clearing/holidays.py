"""Days off as the library `holidays` knows them, for `domain.calendar`. Nothing else imports that library."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import holidays

from fenzhang.domain.calendar import DaysOfYear, InvalidCalendar, weekends

WEEKENDS = "weekends"
"""The source that knows no holidays."""
MADE_UP = "worked for a day off"
_MOVED_BY_NOTICE = frozenset({"CN"})
"""Where the government moves days off and workdays by a notice each year. Without one the library computes."""


def days_of(source: str) -> Callable[[int], DaysOfYear]:
    """Days by year of a country (ISO 3166: CN), of a market (the library's name for it: XECB), or of `weekends`.

    Raises InvalidCalendar for what the library does not know.
    """
    if source == WEEKENDS:
        return weekends
    _library(source, 2000)
    return lambda year: _days(source, year)


def _library(source: str, *years: int) -> holidays.HolidayBase:
    try:
        return holidays.country_holidays(source, years=years)
    except NotImplementedError:  # the library's word for a name that it does not know
        pass
    try:
        return holidays.financial_holidays(source, years=years)
    except NotImplementedError:
        raise InvalidCalendar("holidays", f"{source!r} is no country and no market that is known") from None


def _days(source: str, year: int) -> DaysOfYear:
    # With its neighbours, because days off around the new year are moved across it.
    known = _library(source, year - 1, year, year + 1)
    is_moved = getattr(known, "country", None) in _MOVED_BY_NOTICE
    closed: dict[date, str] = {}
    made_up: dict[date, str] = {}
    day = date(year, 1, 1)
    while day.year == year:
        if not known.is_working_day(day):
            closed[day] = known.get(day) or "weekend"
        elif day in known.weekend_workdays:
            made_up[day] = MADE_UP
        day += timedelta(days=1)
    return DaysOfYear(closed, made_up, is_announced=not is_moved or bool(made_up))
