"""The `fenzhang` command: puts the groups of `fenzhang.commands` together and turns errors into one line each.

Exit codes: 0 done, 1 refused or failed (one line on standard error says why), 2 wrong usage, 130 interrupted. A command
may have codes of its own and says so in its help.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from fenzhang import __version__
from fenzhang.commands import app as apps
from fenzhang.commands import (
    approvallock,
    bank,
    bench,
    bill,
    breaks,
    calendar,
    cycle,
    db,
    demo,
    deploy,
    devnet,
    journal,
    key,
    quote,
    reconcile,
    replay,
    sandboxbank,
    serve,
    up,
    verify,
    whatif,
)
from fenzhang.commands.settling import load_quickly
from fenzhang.domain.errors import FenzhangError
from fenzhang.telemetry.logs import scrub

# httpx loads its own command line with itself, and with that rich and pygments: a twelfth of what a stage loads. It is
# made to do without, as when they are not installed.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # the documented way to forbid an import

app = typer.Typer(
    name="fenzhang",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Split rules and settlement records on a consortium chain, clearing off it.",
)
for command in (
    up,
    demo,
    replay,
    quote,
    whatif,
    bill,
    verify,
    reconcile,
    deploy,
    approvallock,
    bench,
    calendar,
    sandboxbank,
):
    command.register(app)
app.add_typer(devnet.app, name="devnet")
app.add_typer(serve.app, name="serve")
app.add_typer(apps.app, name="app")
app.add_typer(key.app, name="key")
app.add_typer(bank.app, name="bank")
app.add_typer(journal.app, name="journal")
app.add_typer(breaks.app, name="breaks")
app.add_typer(cycle.app, name="cycle")
app.add_typer(db.app, name="db")


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - the signature of a typer callback
    if wanted:
        typer.echo(f"fenzhang {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and end."),
    ] = False,
) -> None:
    """Options that stand before the command."""


def main() -> None:
    """Run the command line of this process and end with its exit code."""
    load_quickly()
    try:
        app()
    except FenzhangError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))


def _fail(message: str) -> None:
    sys.stderr.write(f"fenzhang: {scrub(' '.join(message.split()))}\n")
    sys.exit(1)


if __name__ == "__main__":
    main()
