"""Settlement schemes in the file of calendars."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from fenzhang.clearing.calendars import calendar_of, schemes_of
from fenzhang.cli import app as cli
from fenzhang.domain.calendar import InvalidCalendar
from fenzhang.domain.schemes import STANDARD

MALL, SHOP = "0x" + "aa" * 32, "0x" + "Bb" * 32


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "calendars.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_a_file_there_is_one_scheme_for_everybody() -> None:
    schemes = schemes_of("CNY")
    assert list(schemes.by_name) == [STANDARD]
    assert schemes.of(b"a" * 32).name == STANDARD
    assert (schemes.by_name[STANDARD].min_payout, schemes.by_name[STANDARD].net_debit_cap) == (1, None)


def test_a_scheme_says_what_is_other_than_the_currencys_table(tmp_path: Path) -> None:
    file = _file(
        tmp_path,
        '[CNY]\ncut_offs = ["11:00"]\nlag = 2\nmin_payout = 100\nnet_debit_cap = 0\n'
        f'[CNY.schemes.late]\ncut_offs = ["23:30"]\nplatforms = ["{MALL}"]\n'
        f'[CNY.schemes.always]\nevery_s = 900\nlag = 0\nmin_payout = 5\nplatforms = ["{SHOP}"]\n'
        "[CNY.schemes.standard]\nnet_debit_cap = 7\n",
    )
    schemes = schemes_of("CNY", file)
    late, always, standard = (schemes.by_name[name] for name in ("late", "always", STANDARD))
    assert (late.calendar.terms.cut_offs, late.calendar.terms.lag) == ((84_600,), 2)
    assert (late.min_payout, late.net_debit_cap) == (100, 0)
    assert (always.calendar.terms.cut_offs, always.calendar.terms.every_s) == ((), 900)
    assert (always.calendar.terms.lag, always.min_payout) == (0, 5)
    assert (standard.calendar.terms.cut_offs, standard.net_debit_cap) == ((39_600,), 7)
    owners = (schemes.of(platform).name for platform in (b"\xaa" * 32, b"\xbb" * 32, b"\xcc" * 32))
    assert list(owners) == ["late", "always", STANDARD]
    assert schemes.named == {b"\xaa" * 32, b"\xbb" * 32}
    assert calendar_of("CNY", file, "late").terms == late.calendar.terms


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("schemes = 1\n", "CNY.schemes"),
        ("[CNY.schemes.Late]\n", "CNY.schemes.Late"),
        ("[CNY.schemes]\nlate = 3\n", "CNY.schemes.late"),
        ('[CNY.schemes.late]\nholidays = "JP"\n', "CNY.schemes.late.holidays"),
        ('[CNY.schemes.late]\ncut_offs = ["25:00"]\n', "CNY.schemes.late.cut_offs"),
        ("[CNY.schemes.late]\nmin_payout = 0\n", "CNY.schemes.late.min_payout"),
        ("[CNY.schemes.late]\nnet_debit_cap = -1\n", "CNY.schemes.late.net_debit_cap"),
        ('[CNY.schemes.late]\nplatforms = "0x00"\n', "CNY.schemes.late.platforms"),
        ('[CNY.schemes.late]\nplatforms = ["0x00"]\n', "CNY.schemes.late.platforms"),
        (f'[CNY.schemes.standard]\nplatforms = ["{MALL}"]\n', "CNY.schemes.standard.platforms"),
        (
            f'[CNY.schemes.a]\nplatforms = ["{MALL}"]\n[CNY.schemes.b]\nplatforms = ["{MALL}"]\n',
            "CNY.schemes.b.platforms",
        ),
        ('min_payout = "1"\n', "CNY.min_payout"),
        ("platforms = []\n", "CNY.platforms"),
    ],
)
def test_what_cannot_be_is_refused_with_its_key(tmp_path: Path, text: str, field: str) -> None:
    with pytest.raises(InvalidCalendar) as refused:
        schemes_of("CNY", _file(tmp_path, f"[CNY]\n{text}"))
    assert refused.value.field == field


def test_the_command_prints_a_schemes_cycles(tmp_path: Path) -> None:
    file = _file(tmp_path, '[CNY.schemes.late]\ncut_offs = ["23:30"]\nlag = 0\n')
    options = ["calendar", "--currency", "CNY", "--file", str(file), "--from", "2026-03-02", "--days", "1"]
    printed = CliRunner().invoke(cli, [*options, "--scheme", "late"])
    assert printed.exit_code == 0, printed.output
    assert printed.output.splitlines() == [
        "CNY late, Asia/Shanghai, T+0",
        "2026-03-02 Mon  open",
        "  from 02-28 23:30 to 03-02 23:30, T 2026-03-02, due 2026-03-02",
    ]
    unknown = CliRunner().invoke(cli, [*options, "--scheme", "early"])
    assert unknown.exit_code != 0
    assert "early" in str(unknown.exception or unknown.output)
