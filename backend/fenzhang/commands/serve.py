"""`fenzhang serve`: the processes of the backend, a command each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    help="One process of the backend, by the settings of the environment (FENZHANG_…).",
)


@app.command("api")
def api(
    *,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[
        int | None, typer.Option(help="TCP port.", show_default="8700", min=1, max=65_535)
    ] = None,
    deployment: Annotated[
        Path | None, typer.Option(help="Deployment file of the chain.", show_default="FENZHANG_DEPLOYMENT")
    ] = None,
) -> None:
    """Serve the HTTP API until SIGINT or SIGTERM. Any number may run side by side on one database."""
    from fenzhang.commands.serve_api import serve_api

    serve_api(host=host, port=port, deployment=deployment)


@app.command("submission")
def submission(
    *,
    lane: Annotated[
        list[int] | None,
        typer.Option(
            help="0 for the key `submitter`, 1 for `submitter:1` …; repeatable. Default: all keys.",
            min=0,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Send pending instructions to the chain, platforms divided among the submitter keys of the keystore.

    Of several processes for one key, one works and the others wait.
    """
    from fenzhang.commands.serve_stages import serve_submission

    serve_submission(lane or [])


@app.command("payouts")
def payouts(
    *,
    url: Annotated[str | None, typer.Option(help="Bank over HTTP, as the sandbox bank speaks it.")] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Bank by folders: DIR/outbox and DIR/inbox.", metavar="DIR")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the bank, as its files have it.", show_default="sandbox")
    ] = None,
    customer: Annotated[
        str | None, typer.Option(help="Who this system is to a bank over HTTP.", show_default="fenzhang")
    ] = None,
    file_format: Annotated[
        str | None,
        typer.Option("--format", help="iso20022 or csv, for a bank over HTTP.", show_default="iso20022"),
    ] = None,
    resend_after_s: Annotated[
        float, typer.Option(help="Seconds that a file may still be on its way to the bank.", min=60)
    ] = 900.0,
) -> None:
    """Send stored files of payouts to one bank, follow them, and read its statements.

    What is not given is that of FENZHANG_BANK_URL, FENZHANG_BANK_FOLDER, FENZHANG_BANK_NAME and so on. Of several
    processes for one bank, one works and the others wait.
    """
    from fenzhang.commands.serve_payouts import Said, serve_payouts

    serve_payouts(Said(name, url, folder, customer, file_format), resend_after_s)


@app.command("clearing")
def clearing() -> None:
    """Close cycles: net what is due, have it signed, put payouts into files, report what became of them.

    Needs FENZHANG_SIGNATORY_URL, or the key `clearing_bank` in the keystore. Of several processes, one works and the
    others wait.
    """
    from fenzhang.commands.serve_clearing import serve_clearing

    serve_clearing()


@app.command("all")
def all_() -> None:
    """API, submission and mirror side by side, restarted when they crash, until SIGINT or SIGTERM.

    With clearing and payouts if FENZHANG_BANK_URL or FENZHANG_BANK_FOLDER names a bank.
    """
    from fenzhang.commands.serve_all import serve_all

    serve_all()


@app.command("mirror")
def mirror() -> None:
    """Follow the chain into rows and postings. Of several, one works and the others wait."""
    from fenzhang.commands.serve_stages import serve_mirror

    serve_mirror()
