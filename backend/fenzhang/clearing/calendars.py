"""The settlement calendars and schemes of each currency: what a TOML file says of them, else what stands here.

[CNY]
zone = "Asia/Shanghai"              # IANA time zone of the cut-offs
holidays = "CN"                     # country or market, see clearing.holidays; or "weekends"
cut_offs = ["11:00", "24:00"]       # or, for continuous cycles: every_s = 900
lag = 1                             # payouts are due at T+1
min_payout = 100                    # smallest payout, minor units
net_debit_cap = 5000000             # a participant's debt above this is a breach

[CNY.schemes.late]                  # what it does not say is said by the currency's table
cut_offs = ["24:00"]
platforms = ["0x…"]                 # all other platforms are of the scheme "standard"

[CNY.extra_holidays]
2027-07-10 = "the clearing bank moves"

[CNY.workdays]
2027-02-20 = "made up for the Spring Festival"
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fenzhang.clearing.holidays import days_of
from fenzhang.domain.calendar import AT_MIDNIGHT, BusinessDays, InvalidCalendar, SettlementCalendar, Terms
from fenzhang.domain.identifiers import ID_SIZE
from fenzhang.domain.money import MAX_AMOUNT, check_currency
from fenzhang.domain.schemes import SCHEME_NAME, STANDARD, Scheme, Schemes

_CUT_OFF = re.compile(r"([01]\d|2[0-4]):([0-5]\d)")
_PLATFORM = re.compile(r"0x[0-9a-fA-F]{64}")
T = TypeVar("T")
_CLOSING = ("cut_offs", "every_s")
"""Which of them a scheme has excludes the other, so neither is inherited beside one of its own."""
_TERMS = frozenset({*_CLOSING, "lag", "min_payout", "net_debit_cap"})
_KEYS = _TERMS | {"zone", "holidays", "extra_holidays", "workdays", "schemes"}
_SCHEME_KEYS = _TERMS | {"platforms"}
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


def calendar_of(currency: str, file: Path | None = None, scheme: str = STANDARD) -> SettlementCalendar:
    """The calendar of a currency's scheme. Raises UnknownCurrency, and InvalidCalendar with the key in `field`."""
    found = schemes_of(currency, file).by_name.get(scheme)
    if found is None:
        raise InvalidCalendar(f"{currency}.schemes", f"there is no scheme {scheme!r}")
    return found.calendar


def schemes_of(currency: str, file: Path | None = None) -> Schemes:
    """The schemes of a currency. A file's table replaces single keys of what stands here.

    Raises UnknownCurrency, and InvalidCalendar with the key in `field`.
    """
    check_currency("currency", currency)
    said = _table(_read(file) if file else {}, currency)
    table = {**DEFAULTS.get(currency, {}), **said}
    if not table:
        raise InvalidCalendar(
            currency, "this currency has no calendar; give it a table in the file of calendars"
        )
    with _naming(currency):
        days = BusinessDays(
            days_of(_typed(table, "holidays", str)), _days(table, "extra_holidays"), _days(table, "workdays")
        )
        found = {STANDARD: _scheme(STANDARD, table, days)}
        tables = _tables_of_schemes(table)
    for name, own in tables.items():
        with _naming(f"{currency}.schemes.{name}"):
            found[name] = _scheme(name, _inherited(table, own), days)
    _check_platforms(currency, found)
    return Schemes(currency, found)


@contextmanager
def _naming(place: str) -> Iterator[None]:
    """Name the place of a key in what is wrong with it."""
    try:
        yield
    except InvalidCalendar as wrong:
        reason = wrong.message.removeprefix(f"{wrong.field}: ")
        raise InvalidCalendar(f"{place}.{wrong.field}", reason) from None


def _tables_of_schemes(table: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    said = table.get("schemes", {})
    if not isinstance(said, dict):
        raise InvalidCalendar("schemes", "a table for each scheme")
    for name, own in said.items():
        if not SCHEME_NAME.fullmatch(name):
            raise InvalidCalendar(f"schemes.{name}", "1 to 32 characters of a-z 0-9 -, the first no -")
        if not isinstance(own, dict):
            raise InvalidCalendar(f"schemes.{name}", "a scheme has a table")
        for key in sorted(own.keys() - _SCHEME_KEYS):
            raise InvalidCalendar(
                f"schemes.{name}.{key}", f"the keys of a scheme are {', '.join(sorted(_SCHEME_KEYS))}"
            )
    return said


def _inherited(table: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    closes_itself = any(key in own for key in _CLOSING)
    return {key: value for key, value in table.items() if not (closes_itself and key in _CLOSING)} | dict(own)


def _scheme(name: str, table: Mapping[str, Any], days: BusinessDays) -> Scheme:
    cap = _typed(table, "net_debit_cap", int) if "net_debit_cap" in table else None
    return Scheme(
        name,
        SettlementCalendar(days, _terms(table)),
        _platforms(name, table),
        _bounded("min_payout", _typed(table, "min_payout", int, 1), 1),
        None if cap is None else _bounded("net_debit_cap", cap, 0),
    )


def _bounded(key: str, value: int, least: int) -> int:
    if not least <= value <= MAX_AMOUNT:
        raise InvalidCalendar(key, f"minor units, {least} to {MAX_AMOUNT}")
    return value


def _platforms(name: str, table: Mapping[str, Any]) -> frozenset[bytes]:
    said = table.get("platforms", [])
    if name == STANDARD and said:
        raise InvalidCalendar("platforms", "this scheme has all platforms that no other one names")
    found: set[bytes] = set()
    for text in said if isinstance(said, list) else [None]:
        if not isinstance(text, str) or not _PLATFORM.fullmatch(text):
            raise InvalidCalendar("platforms", f"a list of platform ids, 0x and {2 * ID_SIZE} digits each")
        found.add(bytes.fromhex(text[2:]))
    return frozenset(found)


def _check_platforms(currency: str, schemes: Mapping[str, Scheme]) -> None:
    owner: dict[bytes, str] = {}
    for name, scheme in schemes.items():
        for platform in sorted(scheme.platforms):
            if platform in owner:
                place = f"{currency}.schemes.{name}.platforms"
                raise InvalidCalendar(place, f"0x{platform.hex()} belongs to {owner[platform]} as well")
            owner[platform] = name


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


def _terms(table: Mapping[str, Any]) -> Terms:
    lag = _typed(table, "lag", int, 1)
    zone = _zone(_typed(table, "zone", str))
    every_s = _typed(table, "every_s", int) if "every_s" in table else None
    usual = AT_MIDNIGHT if every_s is None else ()
    cut_offs = _cut_offs(table) if "cut_offs" in table else usual
    return Terms(zone, cut_offs, every_s, lag)


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
