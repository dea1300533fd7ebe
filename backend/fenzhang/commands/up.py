"""`fenzhang up`: the whole system on this machine until Ctrl-C."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fenzhang.local.supervisor import Endpoints

API_PORT = 8700
NODE_PORT = 8545


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("up")(up)


def up(
    *,
    home: Annotated[
        Path | None,
        typer.Option(
            help="Folder of chain, database, secrets and logs. Default: FENZHANG_HOME or .fenzhang here.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(help="TCP port of the API; 0 takes a free one.", min=0, max=65_535)
    ] = API_PORT,
    node_port: Annotated[
        int, typer.Option(help="TCP port of the node; 0 takes a free one.", min=0, max=65_535)
    ] = NODE_PORT,
    block_time: Annotated[float, typer.Option(help="Seconds between blocks.", min=0.01)] = 1.0,
    database_url: Annotated[
        str,
        typer.Option(
            envvar="FENZHANG_DATABASE_URL",
            help="sqlite:///file or postgresql://…; by default a SQLite file under --home.",
            show_default=False,
        ),
    ] = "",
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete chain and database first.")] = False,
    snapshots: Annotated[
        bool,
        typer.Option(
            "--snapshots/--no-snapshots",
            help="Without them the chain is gone when its node ends, and the next run needs --fresh.",
        ),
    ] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON when everything is ready.")
    ] = False,
) -> None:
    """Start chain, API, submission and mirror, and keep them running. Ctrl-C ends all in order, a second one kills.

    Whatever was killed before, running it again continues where it stopped.
    """
    from fenzhang.devnet import default_home
    from fenzhang.local.supervisor import Supervisor, UpOptions

    options = UpOptions(
        home=home or default_home(),
        port=port,
        node_port=node_port,
        block_time_s=block_time,
        database_url=database_url,
        fresh=fresh,
        snapshots=snapshots,
    )
    supervisor = Supervisor(options, say=lambda line: typer.echo(f"fenzhang: {line}", err=True))
    raise typer.Exit(supervisor.run(_print_json if as_json else _print_text))


def _print_json(endpoints: Endpoints) -> None:
    import json

    typer.echo(json.dumps(endpoints.to_json()))


def _print_text(endpoints: Endpoints) -> None:
    found_by_itself = endpoints.home == Path.cwd() / ".fenzhang"
    at_home = "" if found_by_itself else f"FENZHANG_HOME={shlex.quote(str(endpoints.home))} "
    typer.echo(
        f"API          {endpoints.api}   (GET /openapi.json describes it)\n"
        f"node         {endpoints.rpc}\n"
        f"deployment   {endpoints.deployment}\n"
        f"credentials  {endpoints.apps}   (operator, approver and guardian)\n"
        f"logs         {endpoints.home / 'logs'}\n"
        f"check        {at_home}fenzhang verify\n"
        f"             {at_home}fenzhang reconcile\n"
        "Everything runs. Ctrl-C ends it."
    )
