"""Calendars of currencies: what the library knows of holidays, what a file says, and what the command prints."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fenzhang.clearing.calendars import DEFAULTS, calendar_of
from fenzhang.clearing.holidays import MADE_UP, days_of
from fenzhang.cli import app as cli
from fenzhang.domain.calendar import AT_MIDNIGHT, InvalidCalendar
from fenzhang.domain.errors import InvalidInput, UnknownCurrency


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "calendars.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_china_works_on_saturdays_that_make_up_for_holidays() -> None:
    days = days_of("CN")(2026)
    assert days.is_announced
    assert sorted(days.made_up) == [
        date(2026, 1, 4),
        date(2026, 2, 14),
        date(2026, 2, 28),
        date(2026, 5, 9),
        date(2026, 9, 20),
        date(2026, 10, 10),
    ]
    spring = [day for day in days.closed if date(2026, 2, 14) <= day <= date(2026, 2, 28)]
    assert sorted(spring) == [date(2026, 2, n) for n in range(15, 24)]


def test_a_workday_before_the_new_year_is_known() -> None:
    """It makes up for a day off in the year after."""
    made_up = days_of("CN")(2006).made_up
    assert [day for day in sorted(made_up) if day.month == 12] == [date(2006, 12, 30), date(2006, 12, 31)]


def test_years_that_china_has_not_announced_are_told_apart() -> None:
    assert not days_of("CN")(2090).is_announced
    assert days_of("US")(2090).is_announced


def test_markets_have_calendars_too() -> None:
    closed = days_of("XECB")(2026).closed
    assert closed[date(2026, 4, 3)] == "Good Friday"
    assert date(2026, 10, 3) in closed
    assert date(2026, 10, 1) not in closed


@pytest.mark.parametrize("currency", sorted(DEFAULTS))
def test_every_calendar_that_stands_here_works(currency: str) -> None:
    found = calendar_of(currency)
    cycle = found.cycle_of(1_780_000_000)
    assert cycle.opens <= 1_780_000_000 < cycle.closes
    assert (found.terms.cut_offs, found.terms.lag) == (AT_MIDNIGHT, 1)


def test_a_file_replaces_what_it_names(tmp_path: Path) -> None:
    file = _file(
        tmp_path,
        '[CNY]\ncut_offs = ["09:30", "24:00"]\nlag = 0\n'
        '[CNY.extra_holidays]\n2026-07-10 = "the bank moves"\n'
        '[CNY.workdays]\n2027-02-20 = "made up for"\n'
        '[CHF]\nzone = "Europe/Zurich"\nholidays = "weekends"\nevery_s = 600\n',
    )
    found = calendar_of("CNY", file)
    assert found.terms.zone.key == "Asia/Shanghai"
    assert (found.terms.cut_offs, found.terms.lag) == ((34_200, 86_400), 0)
    assert found.days.closed_because(date(2026, 7, 10)) == "the bank moves"
    assert found.days.worked_because(date(2027, 2, 20)) == "made up for"
    assert found.days.is_announced(2027)
    assert calendar_of("CHF", file).terms.every_s == 600
    assert calendar_of("USD", file).terms == calendar_of("USD").terms


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("[CNY]\nzone = 'Mars/Olympus'", "CNY.zone"),
        ("[CNY]\nzone = '../etc'", "CNY.zone"),
        ("[CNY]\nholidays = 'ZZ'", "CNY.holidays"),
        ("[CNY]\nholidays = 7", "CNY.holidays"),
        ("[CNY]\ncut_offs = ['9:30']", "CNY.cut_offs"),
        ("[CNY]\ncut_offs = ['24:30']", "CNY.cut_offs"),
        ("[CNY]\ncut_offs = '09:30'", "CNY.cut_offs"),
        ("[CNY]\ncut_offs = []", "CNY.cut_offs"),
        ("[CNY]\ncut_offs = ['09:30']\nevery_s = 60", "CNY.every_s"),
        ("[CNY]\nevery_s = '60'", "CNY.every_s"),
        ("[CNY]\nlag = true", "CNY.lag"),
        ("[CNY]\nlag = 31", "CNY.lag"),
        ("[CNY]\nmystery = 1", "CNY.mystery"),
        ("[CNY]\nworkdays = ['2026-02-14']", "CNY.workdays"),
        ("[CNY.workdays]\n2026-02-30 = 'x'", "CNY.workdays"),
        ("[CNY.workdays]\n2026-02-14 = ''", "CNY.workdays"),
        ("[CNY.workdays]\n2026-02-14 = 'x'\n[CNY.extra_holidays]\n2026-02-14 = 'y'", "CNY.workdays"),
        ("[CNZ]\nlag = 1", "calendars"),
        ("CNY = 1", "CNY"),
        ("[CNY", "calendars"),
    ],
)
def test_what_a_file_cannot_say_is_refused_by_name(tmp_path: Path, text: str, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        calendar_of("CNY", _file(tmp_path, text))
    assert refused.value.field == field
    assert not refused.value.message.startswith(f"{field}: {field.rsplit('.', maxsplit=1)[-1]}: ")


def test_what_has_no_calendar_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidCalendar) as missing:
        calendar_of("CHF")
    assert missing.value.field == "CHF"
    with pytest.raises(InvalidCalendar) as nowhere:
        calendar_of("CNY", tmp_path / "none.toml")
    assert nowhere.value.field == "calendars"
    with pytest.raises(UnknownCurrency):
        calendar_of("cny")


def test_the_command_prints_days_and_cycles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = _file(tmp_path, "[CNY]\ncut_offs = ['17:00']\n")
    monkeypatch.setenv("FENZHANG_CALENDARS", str(file))
    asked = ["calendar", "--currency", "CNY", "--from", "2026-02-13", "--days", "3"]

    ended = CliRunner().invoke(cli, asked)

    assert ended.exit_code == 0, ended.output
    assert ended.output.splitlines() == [
        "CNY, Asia/Shanghai, T+1",
        "2026-02-13 Fri  open",
        "  from 02-12 17:00 to 02-13 17:00, T 2026-02-13, due 2026-02-14",
        f"2026-02-14 Sat  open ({MADE_UP})",
        "  from 02-13 17:00 to 02-14 17:00, T 2026-02-14, due 2026-02-24",
        "2026-02-15 Sun  closed: weekend",
    ]
    days = json.loads(CliRunner().invoke(cli, [*asked, "--json"]).output)["days"]
    assert [len(day["cycles"]) for day in days] == [1, 1, 0]
    assert days[0]["cycles"][0]["closes"] == days[1]["cycles"][0]["opens"]
    assert (days[1]["worked_because"], days[2]["closed_because"]) == (MADE_UP, "weekend")


def test_due_dates_that_are_not_announced_yet_are_marked(tmp_path: Path) -> None:
    asked = ["calendar", "--currency", "CNY", "--from", "2089-12-30", "--days", "1"]
    assert CliRunner().invoke(cli, asked).output.rstrip().endswith("?")
    file = _file(tmp_path, "[CNY]\nholidays = 'weekends'\nevery_s = 60\n")
    many = CliRunner().invoke(cli, [*asked, "--file", str(file)]).output
    assert "... 1438 more ..." in many
