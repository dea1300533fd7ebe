"""What a replay looks like on a terminal: progress bars while it runs, tables when it is over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from fenzhang.domain.money import format_amount
from fenzhang.replay.run import Progress, Replay

if TYPE_CHECKING:
    from fenzhang.replay.run import ReplayReport
    from fenzhang.replay.standing import CurrencyStanding

TOP = 5
"""As many positions of a currency are shown."""
_SHOWN_REFUSALS = 10
_ALWAYS_SHOWN = frozenset({"SETTLED", "REJECTED", "REFUSED"})


@contextmanager
def watching(run: Replay) -> Iterator[Progress]:
    """Progress bars for what a replay prepares, sends and sees decided."""
    columns = (TextColumn("{task.description:<22}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bars = Bars(*columns, console=Console(stderr=True))
    prepared = bars.add_task("set up", total=run.steps_to_prepare())
    sent = bars.add_task("sent", total=run.writes())
    decided = bars.add_task("settled or rejected", total=run.writes())

    def advance(task: TaskID, more: int) -> None:
        bars.start()  # not before there is progress: what cannot begin is one line that says why
        bars.advance(task, more)

    try:
        yield Progress(
            prepared=lambda more: advance(prepared, more),
            sent=lambda more: advance(sent, more),
            decided=lambda more: advance(decided, more),
        )
    finally:
        if bars.live.is_started:
            bars.stop()


def print_report(found: ReplayReport, console: Console | None = None) -> None:
    """Counts, reasons of rejections, positions."""
    out = console or Console()
    print_counts(found, out)
    if found.standing is not None:
        print_standing(found.standing, out)


def print_counts(found: ReplayReport, out: Console) -> None:
    """What became of the writes, and at which rate."""
    table = Table(title="Instructions by state", title_justify="left")
    table.add_column("")
    # SUBMITTED and ACCEPTED are shown only if something was left there.
    states = {state for by_state in found.states.values() for state, count in by_state.items() if count}
    shown = [
        state
        for by_state in list(found.states.values())[:1]
        for state in by_state
        if state in states or state in _ALWAYS_SHOWN
    ]
    for state in shown:
        table.add_column(state.lower(), justify="right")
    for kind, by_state in found.states.items():
        table.add_row(kind.lower(), *(f"{by_state[state]:,}" for state in shown))
    out.print(table)
    if found.rejections:
        reasons = ", ".join(f"{code} {count:,}" for code, count in found.rejections.items())
        out.print(f"rejected: {reasons}", highlight=False)
    for refusal in found.refusals[:_SHOWN_REFUSALS]:
        out.print(
            f"  orders.jsonl line {refusal.line}: {refusal.key[1]}: {refusal.code}: {refusal.detail}",
            highlight=False,
            markup=False,
        )
    if len(found.refusals) > _SHOWN_REFUSALS:
        out.print(f"  and {len(found.refusals) - _SHOWN_REFUSALS:,} more that the API refused")
    for name in found.undecided[:_SHOWN_REFUSALS]:
        out.print(f"  undecided: {name}", markup=False)
    if found.fresh:
        out.print(
            f"{found.fresh:,} instructions decided in {found.seconds:.1f} s: {found.rate:,.0f} a second",
            highlight=False,
        )
    else:
        out.print("all of it was decided before this run")


def print_standing(standing: dict[str, CurrencyStanding], out: Console) -> None:
    """The largest positions of each currency, and whether the money adds up."""
    table = Table(title="Positions on the chain", title_justify="left")
    for name in ("currency", "name"):
        table.add_column(name)
    table.add_column("amount", justify="right")
    for currency, found in standing.items():
        largest = sorted(found.positions.items(), key=lambda item: (-item[1], item[0]))
        for name, amount in largest[:TOP]:
            table.add_row(currency, name, format_amount(amount, currency))
        if len(largest) > TOP:
            rest = sum(amount for _, amount in largest[TOP:])
            table.add_row(currency, f"and {len(largest) - TOP} more", format_amount(rest, currency))
        table.add_section()
    out.print(table)
    for currency, found in standing.items():
        parts = {"positions": sum(found.positions.values()), "held": found.held, "refunded": found.refunded}
        told = " + ".join(f"{name} {format_amount(amount, currency)}" for name, amount in parts.items())
        sign, verdict = ("=", "conserved") if found.conserved else ("!=", "NOT CONSERVED")
        out.print(
            f"{currency}: {told} {sign} captured {format_amount(found.captured, currency)}: {verdict}",
            highlight=False,
        )
