"""`fenzhang verify`: everything on the chain checked again, from a node and a deployment file alone."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from fenzhang.commands.nearby import DEPLOYMENT_HELP, RPC_HELP, deployment_file, node_url, say_which

if TYPE_CHECKING:
    from fenzhang.audit.verification import AuditReport

DIFFERENCES = 1
"""Exit code when something is not as it must be."""
NOT_CHECKED = 2
"""Exit code when nothing can be said: the node or the file is not what it should be."""


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("verify")(verify_command)


def verify_command(
    *,
    rpc: Annotated[str | None, typer.Option("--rpc", help=RPC_HELP, show_default=False)] = None,
    deployment: Annotated[Path | None, typer.Option(help=DEPLOYMENT_HELP, show_default=False)] = None,
    order: Annotated[
        str | None,
        typer.Option(
            metavar="REF",
            help="Only this order, and its life: its id (0x…), or the reference that its platform gave it.",
            show_default=False,
        ),
    ] = None,
    payout: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="Only this payout, by its id (0x…) or what banks call it (FZ…): its cycle, its path to the root "
            "that the bank signed, its records.",
            show_default=False,
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All orders. This is the default.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds the node may take for one answer.", min=1)] = 60.0,
) -> None:
    """Read the chain again and check it: signatures, splits, batches, conservation, and what the contracts hold.

    Exit code 0: everything holds. 1: there are differences. 2: it could not be checked, and one line says why.
    """
    from fenzhang.domain.errors import FenzhangError

    if (order is not None) + (payout is not None) + everything > 1:
        raise typer.BadParameter("--order, --payout and --all exclude each other")
    try:
        report = asyncio.run(_verify(rpc, deployment, order, payout, timeout, quiet=as_json))
    except FenzhangError as error:
        _give_up(error.message)
    except OSError as error:
        _give_up(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    if as_json:
        from fenzhang.commands.output import print_json

        print_json(report.to_json())
    else:
        from fenzhang.commands.verify_text import print_report

        print_report(report)
    if not report.held:
        raise typer.Exit(DIFFERENCES)


async def _verify(
    rpc: str | None,
    path: Path | None,
    order: str | None,
    payout: str | None,
    timeout_s: float,
    *,
    quiet: bool,
) -> AuditReport:
    from fenzhang.audit.verification import verify
    from fenzhang.chain.deployments import load
    from fenzhang.chain.node import NodeClient
    from fenzhang.settings import Settings

    settings = Settings.from_environment()
    async with NodeClient(node_url(settings, rpc), timeout_s) as node:
        file = await deployment_file(settings, path, node)
        deployment = load(file)
        if quiet:
            report = await verify(node, deployment, order=order, payout=payout)
        else:
            from fenzhang.commands.verify_text import reading

            with reading() as progress:
                report = await verify(node, deployment, order=order, payout=payout, progress=progress)
        say_which(settings, node, rpc, file, path)
        return report


def _give_up(message: str) -> NoReturn:
    typer.echo(f"fenzhang: {' '.join(message.split())}", err=True)
    raise typer.Exit(NOT_CHECKED)
