"""A span of time to look back at: between two times, or a day in UTC."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Self

from fenzhang.domain.errors import InvalidInput

MAX_DAYS = 31
DAY_S = 86_400
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")


class InvalidPeriod(InvalidInput):
    """The period is not a span of time, or too long."""

    code = "invalid_period"


@dataclass(frozen=True, slots=True)
class Period:
    """From `begin` to before `end`, Unix seconds."""

    begin: int
    end: int

    @classmethod
    def of(cls, begin: int | None, end: int | None, day: str | None) -> Self:
        """Between `begin` and `end`, or the `day` (YYYY-MM-DD, UTC): one of the two. At most MAX_DAYS.

        Raises InvalidInput for what is missing or too much, InvalidPeriod, naming `from`, `to` or `day`.
        """
        if day is not None:
            if begin is not None or end is not None:
                raise InvalidInput("day", "give either day, or from and to")
            return cls._of_day(day)
        if begin is None or end is None:
            raise InvalidInput("from" if begin is None else "to", "give day, or from and to")
        if end <= begin:
            raise InvalidPeriod("to", "the period ends after it begins")
        if end - begin > MAX_DAYS * DAY_S:
            raise InvalidPeriod("to", f"the period is at most {MAX_DAYS} days long")
        return cls(begin, end)

    @classmethod
    def _of_day(cls, day: str) -> Self:
        try:
            first = date.fromisoformat(day) if _DAY.match(day) else None
        except ValueError:
            first = None
        if first is None:
            raise InvalidPeriod("day", "a day is written YYYY-MM-DD")
        begin = int(datetime(first.year, first.month, first.day, tzinfo=UTC).timestamp())
        return cls(begin, begin + DAY_S)
