"""`fenzhang reconcile`: the clearing ledger against the chain, account by account, now or as of a block."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from fenzhang.commands.nearby import DEPLOYMENT_HELP, RPC_HELP, deployment_file, node_url, say_which

if TYPE_CHECKING:
    from fenzhang.ledger.reconcile import Reconciliation

DIFFERENCES = 1
"""Exit code when chain and ledger disagree."""
NOT_COMPARED = 2
"""Exit code when nothing can be said: the node, the database or the deployment file is not what it should be."""


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("reconcile")(reconcile_command)


def reconcile_command(
    *,
    rpc: Annotated[str | None, typer.Option("--rpc", help=RPC_HELP, show_default=False)] = None,
    deployment: Annotated[Path | None, typer.Option(help=DEPLOYMENT_HELP, show_default=False)] = None,
    at: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="BLOCK",
            help="Compare both as of the end of this block. The node must keep its state. Default: the last mirrored.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Compare balances, positions, orders, conditions, cycles, payouts, records, postings and batches with the chain.

    Exit code 0: they agree. 1: there are differences, each of which is named. 2: they could not be compared.
    """
    from fenzhang.domain.errors import FenzhangError

    try:
        result = asyncio.run(_reconcile(rpc, deployment, at))
    except FenzhangError as error:
        _give_up(error.message)
    if as_json:
        from fenzhang.commands.output import print_json

        print_json(_as_json(result))
    else:
        _print(result)
    if result.differences:
        raise typer.Exit(DIFFERENCES)


async def _reconcile(rpc: str | None, path: Path | None, at: int | None) -> Reconciliation:
    from fenzhang.chain.deployments import load
    from fenzhang.chain.node import NodeClient
    from fenzhang.ledger.reconcile import reconciliation
    from fenzhang.settings import Settings
    from fenzhang.store.session import Database

    settings = Settings.from_environment()
    async with Database(settings.database) as database, NodeClient(node_url(settings, rpc)) as node:
        await database.check()
        file = await deployment_file(settings, path, node)
        result = await reconciliation(database, node, load(file), at)
        say_which(settings, node, rpc, file, path)
        return result


def _as_json(result: Reconciliation) -> dict[str, object]:
    return {
        "block": result.block_number,
        "block_hash": "0x" + result.block_hash.hex(),
        "orders": result.orders,
        "accounts": result.accounts,
        "batches": result.batches,
        "cycles": result.cycles,
        "payouts": result.payouts,
        "clean": not result.differences,
        "differences": [
            {
                "check": difference.check.value,
                "currency": difference.currency,
                "subject": difference.subject,
                "chain": difference.chain,
                "ledger": difference.ledger,
            }
            for difference in result.differences
        ],
    }


def _print(result: Reconciliation) -> None:
    for difference in result.differences:
        typer.echo(str(difference))
    verdict = f"{len(result.differences)} differences" if result.differences else "chain and ledger agree"
    typer.echo(
        f"{verdict}: {result.accounts} accounts, {result.orders} orders, {result.payouts} payouts of {result.cycles} "
        f"cycles and {result.batches} batches at block {result.block_number}"
    )


def _give_up(message: str) -> NoReturn:
    typer.echo(f"fenzhang: {' '.join(message.split())}", err=True)
    raise typer.Exit(NOT_COMPARED)
