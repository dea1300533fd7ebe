"""`fenzhang approval-lock`: the least time between the approval of a rule version and its effect, shown or set."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from fenzhang.commands.deploy import ADMIN_KEY_HELP, administrator
from fenzhang.commands.nearby import DEPLOYMENT_HELP, RPC_HELP, deployment_file, node_url


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("approval-lock")(approval_lock_command)


def approval_lock_command(
    seconds: Annotated[
        int | None,
        typer.Argument(help="Seconds; 0 lifts the lock. Without it, the present one is shown.", min=0),
    ] = None,
    *,
    rpc: Annotated[str | None, typer.Option("--rpc", help=RPC_HELP, show_default=False)] = None,
    deployment: Annotated[Path | None, typer.Option(help=DEPLOYMENT_HELP, show_default=False)] = None,
    admin_key_file: Annotated[Path | None, typer.Option(help=ADMIN_KEY_HELP, show_default=False)] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the transaction.", min=1)] = 120.0,
) -> None:
    """Show or set how many seconds lie at least between the approval of a rule version and its effect.

    Setting it is the administrator's. Versions that are approved already stay as they are.
    """
    found = asyncio.run(_run(rpc, deployment, admin_key_file, seconds, timeout))
    typer.echo(f"a rule version is approved at least {found} seconds before it takes effect")


async def _run(
    rpc: str | None, given: Path | None, key_file: Path | None, seconds: int | None, timeout_s: float
) -> int:
    from fenzhang.chain.deployments import load
    from fenzhang.chain.node import NodeClient
    from fenzhang.chain.views import ChainView
    from fenzhang.settings import Settings

    settings = Settings.from_environment()
    url = node_url(settings, rpc)
    async with NodeClient(url) as node:
        path = await deployment_file(settings, given, node)
        if seconds is not None:
            await set_approval_lock(url, path, seconds, key_file, timeout_s, typer.echo)
        return await ChainView(node, load(path)).approval_lock()


async def set_approval_lock(  # noqa: PLR0917 -- where, what, as whom
    rpc: str,
    deployment: Path,
    seconds: int,
    key_file: Path | None = None,
    timeout_s: float = 120.0,
    report: Callable[[str], None] = lambda _: None,
) -> None:
    """Set the lock as the administrator: the key of the file, or on the devnet the first test account's."""
    from fenzhang.chain.deployments import load
    from fenzhang.chain.governance import set_approval_lock_call
    from fenzhang.chain.node import NodeClient
    from fenzhang.chain.steps import Progress, StepRunner

    contracts = load(deployment)
    admin = administrator(key_file, contracts.chain_id)
    # Kept until it is mined: run again after an interruption, the command sends the same transaction.
    identity = {"rule_book": contracts.rule_book.hex(), "admin": admin.address.hex()}
    progress = Progress.open(deployment.with_name(f"{deployment.name}.approval-lock"), identity)
    async with NodeClient(rpc) as node:
        runner = StepRunner(node, admin, contracts.chain_id, progress, timeout_s, report)
        step = f"approval lock {seconds}"
        await runner.begin(step, contracts.rule_book, set_approval_lock_call(seconds))
        await runner.finish(step)
    progress.discard()
