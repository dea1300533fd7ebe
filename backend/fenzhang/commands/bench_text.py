"""What `fenzhang bench` prints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from fenzhang.bench.figures import Books, Figures, Growth, Load


def print_figures(figures: Figures, report: Path) -> None:
    """The tables."""
    from fenzhang.bench.figures import targets

    console = Console()
    console.print(_loads(figures))
    console.print(_costs(figures))
    console.print(_ceilings(figures))
    console.print(_growth(figures.growth))
    console.print(_books(figures.books))
    table = Table("target", "measured", "to reach", "", title="Targets")
    for target in targets(figures):
        sign = "<=" if target.at_most else ">="
        held = "[green]held[/green]" if target.held else "[red]missed[/red]"
        table.add_row(target.name, f"{target.value:,.2f}", f"{sign} {target.bound:,g}", held)
    console.print(table)
    console.print(f"gas per split with its capture: {figures.gas_per_split:,.0f}; figures in {report}")


def _loads(figures: Figures) -> Table:
    table = Table(
        *("", "splits", "splits/s", "requests/s", "p50 s", "p95 s", "p99 s"),
        title="From the request to mirrored and posted; seconds from acceptance to SETTLED",
    )
    for name, load in (
        ("batches of 200", figures.batches),
        ("batches, half load", figures.batches_half),
        ("64 clients, single requests", figures.singles),
        ("64 clients, half load", figures.singles_half),
        ("baseline: AsyncWeb3", figures.baseline),
    ):
        table.add_row(name, *_load(load))
    return table


def _load(load: Load) -> list[str]:
    latency = load.latency
    return [
        f"{load.splits:,}",
        f"{load.rate:,.0f}",
        f"{load.request_rate:,.0f}",
        *(f"{seconds:.2f}" for seconds in (latency.p50, latency.p95, latency.p99)),
    ]


def _costs(figures: Figures) -> Table:
    loads = {"batches": figures.batches, "single requests": figures.singles}
    names = sorted({name for load in loads.values() for name in load.cpu_us})
    table = Table("", *names, "all", title="Processor time per split, microseconds")
    for name, load in loads.items():
        used = [load.cpu_us.get(process, 0.0) for process in names]
        table.add_row(name, *(f"{microseconds:,.0f}" for microseconds in (*used, sum(used))))
    return table


def _ceilings(figures: Figures) -> Table:
    table = Table("ceiling", "splits/s", title="Each part alone")
    ceilings = figures.ceilings
    table.add_row("node, the same raw transactions", f"{ceilings.node:,.0f}")
    table.add_row("database, the same rows in bulk", f"{ceilings.database:,.0f}")
    table.add_row("HTTP, empty handler, batches of 200", f"{ceilings.http_batches:,.0f}")
    table.add_row("HTTP, empty handler, 64 clients (requests/s)", f"{ceilings.http_requests:,.0f}")
    return table


def _growth(growth: Growth) -> Table:
    table = Table(
        "memory, MB", "second fifth", "last fifth", "peak", title=f"Growth by {growth.splits:,} splits"
    )
    for memory in growth.memory:
        table.add_row(memory.name, *(f"{used:,.0f}" for used in (memory.first, memory.last, memory.peak)))
    table.caption = (
        f"{growth.rate:,.0f} splits/s; first fifth {growth.first_fifth:,.0f}, last fifth "
        f"{growth.last_fifth:,.0f}; catch-up from block 0: {growth.catch_up_rate:,.0f} splits/s"
    )
    return table


def _books(books: Books) -> Table:
    table = Table("question", "median ms", "longest ms", title=f"A ledger with {books.postings:,} postings")
    for answer in books.answers:
        table.add_row(answer.question, *(f"{1_000 * s:,.1f}" for s in (answer.median, answer.longest)))
    table.caption = f"{books.postings / books.fill_seconds:,.0f} postings/s written"
    return table
