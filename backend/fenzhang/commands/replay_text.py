"""What a replay looks like on a terminal: progress bars while it runs, tables when it is over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from fenzhang.domain.facts import Facts
from fenzhang.domain.money import format_amount
from fenzhang.replay.day import outcome_text
from fenzhang.replay.run import Progress, Replay

if TYPE_CHECKING:
    from fenzhang.replay.acting import Outcome
    from fenzhang.replay.checking import Findings
    from fenzhang.replay.run import ReplayReport
    from fenzhang.replay.standing import CurrencyStanding

TOP = 5
"""As many positions of a currency are shown."""
_SHOWN_REFUSALS = 10
_SHOWN_DIFFERENCES = 20
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
    """Acts of the day, counts, reasons of rejections, positions, and what is not as expected."""
    out = console or Console()
    if found.acts:
        print_acts(found.acts, out)
    print_counts(found, out)
    if found.standing is not None:
        print_standing(found.standing, out)
    if found.findings.compared:
        print_findings(found.findings, out)


def print_acts(acts: list[Outcome], out: Console) -> None:
    """What happened beside the orders, part by part."""
    table = Table("part", "platform", "act", "of", "outcome", title="The day", title_justify="left")
    before = ""
    for found in acts:
        act = found.act
        told = (str(text) for value in act.values.values() for text in _flat(value))
        outcome = "answered" if act.kind.is_question else outcome_text(found.state, found.reason).lower()
        part = "" if found.part == before else found.part
        table.add_row(part, act.platform, act.kind, escape(" ".join(told)), outcome)
        before = found.part
    out.print(table)


def _flat(value: object) -> Iterator[str | int]:
    """Texts and numbers of a field of an act; what is more than that would fill the table."""
    if isinstance(value, Facts):
        value = tuple(value.stated().values())
    for each in value if isinstance(value, tuple) else (value,):
        if isinstance(each, str | int):
            yield each


def print_findings(findings: Findings, out: Console) -> None:
    """How much is as the scenario expects it, and what is not."""
    as_expected = findings.compared - len(findings.differences)
    out.print(f"expected: {as_expected:,} of {findings.compared:,} things came out so", highlight=False)
    for line in findings.differences[:_SHOWN_DIFFERENCES]:
        out.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
    if len(findings.differences) > _SHOWN_DIFFERENCES:
        out.print(f"  and {len(findings.differences) - _SHOWN_DIFFERENCES:,} more")


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
        if found.paid_out:
            parts["paid out"] = found.paid_out
        told = " + ".join(f"{name} {format_amount(amount, currency)}" for name, amount in parts.items())
        sign, verdict = ("=", "conserved") if found.conserved else ("!=", "NOT CONSERVED")
        out.print(
            f"{currency}: {told} {sign} captured {format_amount(found.captured, currency)}: {verdict}",
            highlight=False,
        )
