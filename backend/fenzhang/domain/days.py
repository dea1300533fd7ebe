"""A day: a date in a time zone, from its first second to the first one of the next. It may have 23 or 25 hours."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fenzhang.domain.errors import InvalidInput

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z", re.ASCII)
_YEARS = range(1970, 9999)


class InvalidDay(InvalidInput):
    """Not a date of the calendar, written YYYY-MM-DD."""

    code = "invalid_day"


class UnknownTimeZone(InvalidInput):
    """Not a time zone of the IANA database."""

    code = "unknown_time_zone"


def check_time_zone(field: str, name: str) -> str:
    """Return `name` if it is a time zone such as Asia/Shanghai, else raise UnknownTimeZone naming `field`."""
    try:
        return ZoneInfo(name).key
    except (ZoneInfoNotFoundError, ValueError, OSError):  # the last two for names that are no file's
        raise UnknownTimeZone(field, "not a time zone of the IANA database, such as Asia/Shanghai") from None


def check_date(field: str, text: str) -> str:
    """Return `text` if it is a date YYYY-MM-DD of the years 1970 to 9998, else raise InvalidDay naming `field`."""
    try:
        known = _DAY.match(text) is not None and date.fromisoformat(text).year in _YEARS
    except ValueError:
        known = False
    if not known:
        raise InvalidDay(field, "a day is written YYYY-MM-DD, from 1970 on")
    return text


@dataclass(frozen=True, slots=True)
class Day:
    """The seconds from `begin` to before `end` (Unix): those whose date in `zone` is `date`.

    Days of a zone follow each other without gap and overlap, also where its clocks are changed at midnight. A date that
    the zone never had is a day without seconds.
    """

    date: date
    zone: ZoneInfo
    begin: int
    end: int

    @classmethod
    def of(cls, text: str, zone: ZoneInfo) -> Self:
        """The day YYYY-MM-DD. Raises InvalidDay."""
        wanted = date.fromisoformat(check_date("day", text))
        return cls(wanted, zone, _first_second(wanted, zone), _first_second(_after(wanted), zone))

    @classmethod
    def at(cls, time: int, zone: ZoneInfo) -> Self:
        """The day with the second `time`."""
        found = cls.of(_date_at(time, zone).isoformat(), zone)
        if time >= found.end:  # a clock that was set back across midnight shows yesterday's date again
            return cls.of(_after(found.date).isoformat(), zone)
        return found

    def local(self, time: int) -> str:
        """A second as a clock of the zone shows it, ISO 8601 with the offset."""
        return datetime.fromtimestamp(time, self.zone).isoformat()


def _after(day: date) -> date:
    return day + timedelta(days=1)


def _first_second(day: date, zone: ZoneInfo) -> int:
    """Where clocks leave midnight out, the first second after it; where they show it twice, the first one."""
    once, again = (
        int(datetime(day.year, day.month, day.day, tzinfo=zone, fold=fold).timestamp()) for fold in (0, 1)
    )
    if once <= again:
        return once
    return again + bisect_left(range(again, once), day, key=lambda time: _date_at(time, zone))


def _date_at(time: int, zone: ZoneInfo) -> date:
    return datetime.fromtimestamp(time, zone).date()
