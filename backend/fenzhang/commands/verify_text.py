"""What `fenzhang verify` prints for people."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fenzhang.audit.differences import COUNTED, Difference, area_of, plain
from fenzhang.audit.stories import Entry, PayoutStory, Story
from fenzhang.audit.verification import AuditReport
from fenzhang.domain.errors import UnknownCurrency
from fenzhang.domain.money import format_amount

LISTED = 50
"""Differences shown; --json has them all."""
_SHORT = 10
"""Characters of an id that tell it from others at a glance."""
_WIDTH = 120
"""Columns when the output is no terminal."""


@contextmanager
def reading() -> Iterator[Callable[[int, int], None]]:
    """A line on standard error that says how far the history was read, while that is a terminal."""
    console = Console(stderr=True)
    with console.status("reading the chain") as status:
        yield lambda done, last: status.update(f"reading the chain: block {done:,} of {last:,}")


def print_report(report: AuditReport) -> None:
    """Print what was checked, the money, the orders asked for, and the differences."""
    console = Console()
    if not console.is_terminal:
        console.width = _WIDTH
    console.print(_summary(report))
    if report.currencies:
        console.print(_money(report))
    for story in report.stories:
        _print_story(console, story)
    for payout in report.payouts:
        _print_payout(console, payout)
    for number, difference in enumerate(report.differences[:LISTED], start=1):
        _print_difference(console, number, difference)
    if len(report.differences) > LISTED:
        console.print(f"… and {len(report.differences) - LISTED:,} more; --json lists all")
    if report.elsewhere:
        console.print(f"[yellow]{report.elsewhere:,} differences do not concern this; see --all[/]")
    verdict = (
        "[green]everything holds[/]" if report.held else f"[red]{len(report.differences):,} differences[/]"
    )
    console.print(f"{verdict}, up to block {report.block.number:,}, in {report.seconds:.1f} s")


def _summary(report: AuditReport) -> Table:
    table = Table("part", "checked", title=f"chain {report.chain_id}", title_justify="left")
    table.add_column("differences", justify="right")
    for area, counted in COUNTED.items():
        checked = ", ".join(
            f"{report.counts[what]:,} {what.replace('_', ' ')}" for what in counted if report.counts[what]
        )
        differences = report.differences_in(area)
        table.add_row(area.value, checked or "none", f"[red]{differences:,}[/]" if differences else "0")
    return table


def _money(report: AuditReport) -> Table:
    table = Table(
        "currency",
        title="on chain: positions + in transit + paid + held + refunded = captured",
        title_justify="left",
    )
    for name in ("positions", "in transit", "paid", "held", "refunded", "captured", ""):
        table.add_column(name, justify="right")
    for currency, money in sorted(report.currencies.items()):
        amounts = (
            *(money.payable, money.in_transit, money.paid),
            *(money.held, money.refunded, money.captured),
        )
        table.add_row(
            escape(currency),
            *(_amount(amount, currency) for amount in amounts),
            "[green]holds[/]" if money.is_conserved else "[red]differs[/]",
        )
    return table


# ------------------------------------------------------------------------------ one order


def _print_story(console: Console, story: Story) -> None:
    currency = story.currency
    console.print(f"\n[bold]order 0x{story.order_id.hex()}[/]")
    if story.capture is not None:
        capture = story.capture
        console.print(f"platform 0x{capture.platform.hex()}")
        console.print(f"merchant 0x{capture.merchant.hex()}")
        console.print(f"rule     0x{capture.rule_id.hex()} version {capture.rule_version}")
        sums = (
            ("captured", story.captured),
            ("split", story.split),
            ("released", story.released),
            ("returned", story.returned),
            ("refunded", story.refunded),
            ("held", story.held),
        )
        line = ", ".join(f"{name} {_amount(amount, currency)}" for name, amount in sums)
        console.print(f"{line} {currency}")
    else:
        console.print("never captured")
    _print_entries(console, story.entries, currency)


def _print_payout(console: Console, story: PayoutStory) -> None:
    console.print(f"\n[bold]payout 0x{story.payout_id.hex()}[/]")
    if story.payout is not None and story.closed is not None:
        cycle = story.closed.cycle
        console.print(
            f"cycle    {cycle.currency} {escape(cycle.scheme)} number {cycle.number}, 0x{story.closed.cycle_id.hex()}"
        )
        console.print(f"bank     0x{story.closed.bank.hex()}")
        console.print(f"to       0x{story.payout.participant.hex()}")
        console.print(
            f"{_amount(story.payout.amount, cycle.currency)} {cycle.currency}, "
            f"payout {story.payout.index} of {cycle.payouts}: {story.state.name.replace('_', ' ').lower()}"
        )
        roots = {True: "leads to", False: "does not lead to", None: "is not shown; it should lead to"}
        console.print(f"its path {roots[story.under_root]} the signed root 0x{cycle.payout_root.hex()}")
    _print_entries(console, story.entries, story.currency)


def _print_entries(console: Console, entries: Sequence[Entry], currency: str | None) -> None:
    table = Table("block", "time (UTC)", "what", "id", "amount", "to or why", "batch", "proof", box=None)
    for entry in entries:
        table.add_row(*_entry_cells(entry, currency))
    console.print(table)
    console.print("[dim]--json has every transaction, allocation and Merkle proof in full[/]")


def _entry_cells(entry: Entry, currency: str | None) -> tuple[str, ...]:
    if entry.reason is not None:
        what, why = f"{entry.kind} of {entry.reason['of']}", str(entry.reason["message"])
        details = escape(textwrap.shorten(why, 200))
    else:
        what = entry.kind
        details = "\n".join(
            f"0x{each.recipient.hex()[:_SHORT]}… {_amount(each.amount, currency)}"
            for each in entry.allocations
        )
    proof = "" if entry.proven is None else "[green]leads to root[/]" if entry.proven else "[red]fails[/]"
    return (
        str(entry.block),
        f"{datetime.fromtimestamp(entry.timestamp, UTC):%Y-%m-%d %H:%M:%S}",
        what,
        f"0x{entry.id.hex()[:_SHORT]}…",
        "" if entry.amount is None else _amount(entry.amount, currency),
        details,
        "" if entry.batch is None else f"{entry.batch} #{entry.index}",
        proof,
    )


# ------------------------------------------------------------------------------ differences


def _print_difference(console: Console, number: int, difference: Difference) -> None:
    place = [
        f"{name} {plain(value)}"
        for name in ("block", "transaction", "order", "participant", "currency", "rule", "batch")
        if (value := getattr(difference, name)) is not None
    ]
    console.print(
        f"[red]{number}. {area_of(difference.code)}: {difference.code}[/]  {escape(difference.message)}"
    )
    for line in place:
        console.print(f"     {escape(line)}", soft_wrap=True)
    for name in ("expected", "found"):
        value = getattr(difference, name)
        if value is not None:
            console.print(f"     {name}: {escape(_shown(plain(value)))}", soft_wrap=True)


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_shown(item)}" for key, item in value.items())
    if isinstance(value, list):
        return "[" + ", ".join(map(_shown, value)) + "]"
    return str(value)


def _amount(amount: int, currency: str | None) -> str:
    """An amount as people write it; minor units for a currency that has no exponent here."""
    try:
        return format_amount(amount, currency or "")
    except UnknownCurrency:
        return f"{amount:,}"
