"""Settlement calendars: which cycle a moment belongs to, when that cycle closes, and when its payouts are due.

Moments are Unix seconds. Cut-offs are wall-clock times of an IANA time zone and happen on business days, so what comes
in on other days belongs to the first cycle of the next business day. A cut-off falls on the first moment at which that
clock shows its time or a later one: where the clock is put forward over it, that is when the clock is put forward, and
of a time that comes twice it is the first. Cut-offs that fall on one moment are one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from fenzhang.domain.errors import FenzhangError, InvalidInput

FIRST_MOMENT = 946_684_800
"""2000-01-01 UTC; calendars say nothing about earlier moments."""
END_OF_MOMENTS = 4_070_908_800
"""2099-01-01 UTC; nor about this one and later ones."""
DAY_S = 86_400
AT_MIDNIGHT = (DAY_S,)
"""Cut-offs of days that have one cycle, which ends with the day."""
MAX_LAG = 30
_DAY = timedelta(days=1)
_SEARCH_DAYS = 400
_SATURDAY = 5


class InvalidCalendar(InvalidInput):
    """What is said of a calendar cannot be."""

    code = "invalid_calendar"


class InvalidInstant(InvalidInput):
    """The moment is not one that calendars know."""

    code = "invalid_instant"


class NoBusinessDay(FenzhangError):
    """For more than a year there is no business day."""

    code = "no_business_day"


@dataclass(frozen=True, slots=True)
class DaysOfYear:
    """The days of a year on which nobody settles, each with the reason, and weekend days that are worked."""

    closed: Mapping[date, str]
    made_up: Mapping[date, str] = field(default_factory=dict)
    """Days of a weekend that are worked in exchange for others, with the reason."""
    is_announced: bool = True
    """False where the year's days off are computed, and the authority that moves them has not spoken yet."""


def weekends(year: int) -> DaysOfYear:
    """A year without holidays: Saturdays and Sundays are closed."""
    first = date(year, 1, 1)
    days = (first + place * _DAY for place in range((date(year + 1, 1, 1) - first).days))
    return DaysOfYear({day: "weekend" for day in days if day.weekday() >= _SATURDAY})


@dataclass(frozen=True, slots=True)
class BusinessDays:
    """Business days: those of a source, which is asked once for each year, but for days that are named here.

    Raises InvalidCalendar for a day that is named both ways.
    """

    source: Callable[[int], DaysOfYear] = weekends
    holidays: Mapping[date, str] = field(default_factory=dict)
    """Days that are closed whatever the source says, with the reason."""
    workdays: Mapping[date, str] = field(default_factory=dict)
    """Days that are business days whatever the source says, with the reason."""
    _years: dict[int, DaysOfYear] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for day in sorted(self.holidays.keys() & self.workdays.keys()):
            raise InvalidCalendar("workdays", f"{day} is named as a holiday as well")

    def closed_because(self, day: date) -> str | None:
        """Why nobody settles on a day; None on business days."""
        if day in self.workdays:
            return None
        return self.holidays.get(day) or self._of(day.year).closed.get(day)

    def worked_because(self, day: date) -> str | None:
        """Why an unusual business day is one: a workday that is named, or a weekend day that is made up for."""
        if self.closed_because(day):
            return None
        return self.workdays.get(day) or self._of(day.year).made_up.get(day)

    def includes(self, day: date) -> bool:
        """Whether it is a business day."""
        return self.closed_because(day) is None

    def is_announced(self, year: int) -> bool:
        """Whether the days of a year are final: the source knows them, or some of its workdays are named here."""
        return self._of(year).is_announced or any(day.year == year for day in self.workdays)

    def on_or_after(self, day: date) -> date:
        """The first business day that is not before `day`. Raises NoBusinessDay."""
        for place in range(_SEARCH_DAYS):
            found = day + place * _DAY
            if self.includes(found):
                return found
        raise NoBusinessDay(
            f"there is no business day within {_SEARCH_DAYS} days of {day}", day=day.isoformat()
        )

    def plus(self, day: date, count: int) -> date:
        """The business day that is `count` business days after the first one not before `day`."""
        found = self.on_or_after(day)
        for _ in range(count):
            found = self.on_or_after(found + _DAY)
        return found

    def _of(self, year: int) -> DaysOfYear:
        if year not in self._years:
            self._years[year] = self.source(year)
        return self._years[year]


class Cycle(NamedTuple):
    """A clearing cycle: the moments from `opens` to before `closes`, Unix seconds."""

    opens: int
    closes: int
    day: date
    """T: the business day whose cycle it is."""
    due: date
    """The business day on which its payouts are due."""


@dataclass(frozen=True, slots=True)
class Terms:
    """When cycles close and payouts are due. Raises InvalidCalendar.

    Either `cut_offs`, seconds of the wall clock from midnight, each day's in order, or `every_s`: continuous cycles of
    so many seconds, on all days, counted from 1970-01-01 UTC.
    """

    zone: ZoneInfo
    cut_offs: tuple[int, ...] = AT_MIDNIGHT
    every_s: int | None = None
    lag: int = 1
    """N of T+N, in business days."""

    def __post_init__(self) -> None:
        if self.every_s is not None:
            if self.cut_offs:
                raise InvalidCalendar("every_s", "continuous cycles have no cut-offs")
            if not 1 <= self.every_s <= DAY_S:
                raise InvalidCalendar("every_s", f"a cycle takes 1 to {DAY_S} seconds, not {self.every_s}")
        elif not self.cut_offs:
            raise InvalidCalendar("cut_offs", "without any, no cycle would ever close")
        for cut_off in self.cut_offs:
            if not 0 < cut_off <= DAY_S:
                raise InvalidCalendar("cut_offs", "a cut-off is after 00:00 and by 24:00, which ends the day")
        if list(self.cut_offs) != sorted(set(self.cut_offs)):
            raise InvalidCalendar("cut_offs", "they come in order, and none twice")
        if not 0 <= self.lag <= MAX_LAG:
            raise InvalidCalendar("lag", f"T+0 to T+{MAX_LAG}, not T+{self.lag}")


@dataclass(frozen=True, slots=True)
class SettlementCalendar:
    """Business days and terms of a currency."""

    days: BusinessDays
    terms: Terms
    _closings: dict[date, tuple[int, ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def cycle_of(self, moment: int) -> Cycle:
        """The one cycle that a moment belongs to. Raises InvalidInstant, NoBusinessDay."""
        if not FIRST_MOMENT <= moment < END_OF_MOMENTS:
            raise InvalidInstant("moment", "calendars know the years from 2000 to 2098", moment=moment)
        every_s = self.terms.every_s
        if every_s is not None:
            opens = moment - moment % every_s
            # The cycle that ends with a day is of that day, as one with the cut-off 24:00 is.
            last = self._local(opens + every_s - 1).date()
            return self._cycle(opens, opens + every_s, self.days.on_or_after(last))
        day, closes = self._closing_after(moment)
        return self._cycle(self._closing_by(moment), closes, day)

    def cycles(self, begin: int, end: int) -> Iterator[Cycle]:
        """The cycles that have moments from `begin` to before `end`, one behind the other."""
        while begin < end:
            cycle = self.cycle_of(begin)
            yield cycle
            begin = cycle.closes

    def _cycle(self, opens: int, closes: int, day: date) -> Cycle:
        due = self.days.plus(day, self.terms.lag)
        return Cycle(opens, closes, day, max(due, self.days.on_or_after(self._local(closes).date())))

    def _closing_after(self, moment: int) -> tuple[date, int]:
        """The first closing behind a moment, and its business day."""
        day = self._local(moment).date() - 2 * _DAY
        while True:
            day = self.days.on_or_after(day)
            for closes in self._closings_of(day):
                if closes > moment:
                    return day, closes
            day += _DAY

    def _closing_by(self, moment: int) -> int:
        """The last closing that is not behind a moment."""
        last = self._local(moment).date() + 2 * _DAY
        for place in range(_SEARCH_DAYS):
            day = last - place * _DAY
            if self.days.includes(day):
                for closes in reversed(self._closings_of(day)):
                    if closes <= moment:
                        return closes
        raise NoBusinessDay(
            f"there is no business day within {_SEARCH_DAYS} days of {last}", day=last.isoformat()
        )

    def _closings_of(self, day: date) -> tuple[int, ...]:
        """Moments at which the cycles of a business day close."""
        if day not in self._closings:
            midnight = datetime(day.year, day.month, day.day)  # noqa: DTZ001 -- a wall clock, placed by first_moment
            shown = (midnight + timedelta(seconds=cut_off) for cut_off in self.terms.cut_offs)
            self._closings[day] = tuple(dict.fromkeys(first_moment(each, self.terms.zone) for each in shown))
        return self._closings[day]

    def _local(self, moment: int) -> datetime:
        return datetime.fromtimestamp(moment, self.terms.zone)


def first_moment(shown: datetime, zone: ZoneInfo) -> int:
    """The first moment at which the wall clock of a zone shows `shown`, which has no zone, or a later time."""
    first, second = (int(shown.replace(tzinfo=zone, fold=fold).timestamp()) for fold in (0, 1))
    if first <= second:
        return first
    # The clock never shows it. Between these two it is put forward.
    low, high = second, first
    while low < high:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, zone).replace(tzinfo=None) >= shown:
            high = middle
        else:
            low = middle + 1
    return low
