"""The settlement calendar of each currency: what a TOML file says of it, else what stands here.

[CNY]
zone = "Asia/Shanghai"              # IANA time zone of the cut-offs
holidays = "CN"                     # country or market, see clearing.holidays; or "weekends"
cut_offs = ["11:00", "24:00"]       # or, for continuous cycles: every_s = 900
lag = 1                             # payouts are due at T+1

[CNY.extra_holidays]
2027-07-10 = "the clearing bank moves"

[CNY.workdays]
2027-02-20 = "made up for the Spring Festival"
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fenzhang.clearing.holidays import days_of
from fenzhang.domain.calendar import AT_MIDNIGHT, BusinessDays, InvalidCalendar, SettlementCalendar, Terms
from fenzhang.domain.money import check_currency

_CUT_OFF = re.compile(r"([01]\d|2[0-4]):([0-5]\d)")
T = TypeVar("T")
_KEYS = frozenset({"zone", "holidays", "cut_offs", "every_s", "lag", "extra_holidays", "workdays"})
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    currency: {"zone": zone, "holidays": holidays}
    for currency, zone, holidays in (
        ("CNY", "Asia/Shanghai", "CN"),
        ("EUR", "Europe/Berlin", "XECB"),
        ("GBP", "Europe/London", "GB"),
        ("HKD", "Asia/Hong_Kong", "HK"),
        ("JPY", "Asia/Tokyo", "JP"),
        ("SGD", "Asia/Singapore", "SG"),
        ("USD", "America/New_York", "US"),
    )
}
"""Without a file: T+1, one cycle per business day that closes at 24:00."""


def calendar_of(currency: str, file: Path | None = None) -> SettlementCalendar:
    """The calendar of a currency. A file's table replaces single keys of what stands here.

    Raises UnknownCurrency, and InvalidCalendar with the key in `field`.
    """
    check_currency("currency", currency)
    said = _table(_read(file) if file else {}, currency)
    table = {**DEFAULTS.get(currency, {}), **said}
    if not table:
        raise InvalidCalendar(
            currency, "this currency has no calendar; give it a table in the file of calendars"
        )
    try:
        return _calendar(table)
    except InvalidCalendar as wrong:
        reason = wrong.message.removeprefix(f"{wrong.field}: ")
        raise InvalidCalendar(f"{currency}.{wrong.field}", reason) from None


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidCalendar("calendars", f"{file} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidCalendar("calendars", f"{file} is not TOML: {error}") from error


def _table(said: dict[str, Any], currency: str) -> dict[str, Any]:
    for name in said:
        check_currency("calendars", name)
    found = said.get(currency, {})
    if not isinstance(found, dict):
        raise InvalidCalendar(currency, "a currency has a table")
    for key in sorted(found.keys() - _KEYS):
        raise InvalidCalendar(f"{currency}.{key}", f"the keys are {', '.join(sorted(_KEYS))}")
    return found


def _calendar(table: Mapping[str, Any]) -> SettlementCalendar:
    days = BusinessDays(
        days_of(_typed(table, "holidays", str)), _days(table, "extra_holidays"), _days(table, "workdays")
    )
    lag = _typed(table, "lag", int, 1)
    zone = _zone(_typed(table, "zone", str))
    every_s = _typed(table, "every_s", int) if "every_s" in table else None
    usual = AT_MIDNIGHT if every_s is None else ()
    cut_offs = _cut_offs(table) if "cut_offs" in table else usual
    return SettlementCalendar(days, Terms(zone, cut_offs, every_s, lag))


def _typed(table: Mapping[str, Any], key: str, kind: type[T], default: T | None = None) -> T:
    value = table.get(key, default)
    if value is None:
        raise InvalidCalendar(key, "it is missing")
    if not isinstance(value, kind) or isinstance(value, bool):
        raise InvalidCalendar(key, f"it is {'text' if kind is str else 'a whole number'}")
    return value


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidCalendar("zone", f"{name!r} is no IANA time zone") from None


def _cut_offs(table: Mapping[str, Any]) -> tuple[int, ...]:
    said = table["cut_offs"]
    found: list[int] = []
    for text in said if isinstance(said, list) else [None]:
        matched = _CUT_OFF.fullmatch(text) if isinstance(text, str) else None
        if matched is None:
            raise InvalidCalendar("cut_offs", 'a list of wall-clock times, as ["11:00", "24:00"]')
        found.append(int(matched[1]) * 3_600 + int(matched[2]) * 60)
    return tuple(found)


def _days(table: Mapping[str, Any], key: str) -> dict[date, str]:
    said = table.get(key, {})
    if not isinstance(said, dict) or not all(isinstance(reason, str) and reason for reason in said.values()):
        raise InvalidCalendar(key, 'a table of days with reasons, as 2027-02-20 = "made up for"')
    try:
        return {date.fromisoformat(day): reason for day, reason in said.items()}
    except ValueError as error:
        raise InvalidCalendar(key, f"days are written as 2027-02-20: {error}") from None
