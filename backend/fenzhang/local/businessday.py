"""The day that a demo plays: when its cut-offs are, and what it tells of them to those who clear.

The chain's clock is put forward to its morning, so that noon is always to come. It is a business day, as the next one
is, whatever the calendar says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final, Self
from zoneinfo import ZoneInfo

from fenzhang import devnet
from fenzhang.domain.identifiers import hex_id

ZONE: Final = ZoneInfo("Asia/Shanghai")
MORNING, NOON, EVENING = time(8), time(12), time(18)
_TOO_LATE: Final = time(11, 30)
"""For a day whose noon is not to come while orders are still sent."""
LATE: Final = "late"
"""The scheme of the platform that is settled a day later."""


@dataclass(frozen=True, slots=True)
class BusinessDay:
    """A day in `ZONE`. Moments are Unix seconds."""

    day: date

    @classmethod
    def begin(cls, rpc: str) -> Self:
        """Today, or if it is too late for that tomorrow, whose morning comes at once. Raises NodeUnreachable."""
        now = datetime.fromtimestamp(devnet.latest_time(rpc), ZONE)
        if now.time() < _TOO_LATE:
            return cls(now.date())
        tomorrow = now.date() + timedelta(days=1)
        devnet.advance_to(rpc, _moment(tomorrow, MORNING))
        return cls(tomorrow)

    @property
    def noon(self) -> int:
        """The first cut-off."""
        return _moment(self.day, NOON)

    @property
    def evening(self) -> int:
        """The second one."""
        return _moment(self.day, EVENING)

    @property
    def over(self) -> int:
        """When the day is over, and what is settled a day later is due."""
        return _moment(self._next, time(0))

    def calendars(self, currencies: Sequence[str], late: bytes | None) -> str:
        """TOML of the calendars: two cycles a day that are due at once, and for `late` one that is due at T+1."""
        return "\n".join(self._table(currency, late) for currency in currencies)

    @property
    def _next(self) -> date:
        return self.day + timedelta(days=1)

    def _table(self, currency: str, late: bytes | None) -> str:
        lines = [
            f"[{currency}]",
            f'zone = "{ZONE.key}"',
            'holidays = "weekends"',
            f'cut_offs = ["{NOON:%H:%M}", "{EVENING:%H:%M}"]',
            "lag = 0",
            f"[{currency}.workdays]",
            f'{self.day} = "the day of the demo"',
            f'{self._next} = "the day after"',
        ]
        if late is not None:
            lines += [
                f"[{currency}.schemes.{LATE}]",
                'cut_offs = ["24:00"]',
                "lag = 1",
                f'platforms = ["{hex_id(late)}"]',
            ]
        return "\n".join(lines) + "\n"


def _moment(day: date, at: time) -> int:
    return int(datetime.combine(day, at, ZONE).timestamp())
