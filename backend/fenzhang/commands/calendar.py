"""`fenzhang calendar`: business days, cycles and due dates of a currency."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fenzhang.domain.calendar import Cycle, SettlementCalendar

MAX_DAYS = 400
_DAY = timedelta(days=1)


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("calendar")(calendar)


def calendar(
    *,
    currency: Annotated[str, typer.Option(help="ISO 4217 letter code.")],
    scheme: Annotated[str, typer.Option(help="Settlement scheme of the currency.")] = "standard",
    first: Annotated[
        datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d"], help="First day. Default: today.", show_default=False),
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=MAX_DAYS, help="How many days.")] = 14,
    file: Annotated[
        Path | None,
        typer.Option(help="TOML file of calendars. Default: FENZHANG_CALENDARS.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Print the days with the cycles that close on them, and when their payouts are due. See docs/calendar.md.

    Times are those of the calendar's time zone. A due date in a year whose days off are not announced yet has a `?`.
    """
    from fenzhang.clearing.calendars import calendar_of
    from fenzhang.domain.schemes import STANDARD
    from fenzhang.settings import Settings

    found = calendar_of(currency, file or Settings.from_environment().calendars, scheme)
    begin = first.date() if first else datetime.now(found.terms.zone).date()
    cycles = closing_on(found, begin, days)
    if as_json:
        from fenzhang.commands.output import print_json

        print_json(_as_json(found, currency, scheme, begin, cycles))
        return
    named = "" if scheme == STANDARD else f" {scheme}"
    typer.echo(f"{currency}{named}, {found.terms.zone.key}, T+{found.terms.lag}")
    for place, closing in enumerate(cycles):
        day = begin + place * _DAY
        why = found.days.closed_because(day)
        status = f"closed: {why}" if why else "open"
        made_up = found.days.worked_because(day)
        typer.echo(f"{day:%Y-%m-%d %a}  {status}{f' ({made_up})' if made_up else ''}")
        for line in _lines(found, closing):
            typer.echo(f"  {line}")


def closing_on(found: SettlementCalendar, first: date, days: int) -> list[list[Cycle]]:
    """For each day the cycles that close on it, 24:00 included."""
    from fenzhang.domain.calendar import first_moment

    bounds = [
        first_moment(datetime.combine(first + place * _DAY, datetime.min.time()), found.terms.zone)
        for place in range(days + 1)
    ]
    return [
        [cycle for cycle in found.cycles(begin, end) if cycle.closes <= end]
        for begin, end in pairwise(bounds)
    ]


def _lines(found: SettlementCalendar, closing: list[Cycle]) -> list[str]:
    """A line for each cycle; of many, as continuous ones are, the first, how many, and the last."""
    lines = [
        f"from {_shown(found, cycle.opens)} to {_shown(found, cycle.closes)}, T {cycle.day}, due {cycle.due}"
        + ("" if found.days.is_announced(cycle.due.year) else "?")
        for cycle in (closing if len(closing) <= _MANY else (closing[0], closing[-1]))
    ]
    if len(closing) > _MANY:
        lines.insert(1, f"... {len(closing) - 2} more ...")
    return lines


_MANY = 24


def _shown(found: SettlementCalendar, moment: int) -> str:
    return datetime.fromtimestamp(moment, found.terms.zone).strftime("%m-%d %H:%M:%S").removesuffix(":00")


def _as_json(
    found: SettlementCalendar, currency: str, scheme: str, begin: date, cycles: list[list[Cycle]]
) -> dict[str, Any]:
    days = [begin + place * _DAY for place in range(len(cycles))]
    return {
        "currency": currency,
        "scheme": scheme,
        "zone": found.terms.zone.key,
        "lag": found.terms.lag,
        "days": [
            {
                "day": day.isoformat(),
                "closed_because": found.days.closed_because(day),
                "worked_because": found.days.worked_because(day),
                "cycles": [
                    {
                        "opens": cycle.opens,
                        "closes": cycle.closes,
                        "day": cycle.day.isoformat(),
                        "due": cycle.due.isoformat(),
                        "is_announced": found.days.is_announced(cycle.due.year),
                    }
                    for cycle in closing
                ],
            }
            for day, closing in zip(days, cycles, strict=True)
        ],
    }
