"""`fenzhang replay`: plays a folder of orders through the HTTP API."""

from __future__ import annotations

import asyncio
import json
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fenzhang.commands.deploy import ADMIN_KEY_HELP
from fenzhang.commands.nearby import DEPLOYMENT_HELP, RPC_HELP, deployment_file, node_url

if TYPE_CHECKING:
    from fenzhang.replay.scenario import Scenario
    from fenzhang.settings import Settings

MISTAKES = 2
"""Exit code for a folder with mistakes in it."""
INCOMPLETE = 1
"""Exit code when something remained undecided, or the money on the chain does not add up."""


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("replay")(replay)


def replay(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Folder with participants.json, rules.json and orders.jsonl, and perhaps day.json and expected.json.",
        ),
    ],
    *,
    api: Annotated[str, typer.Option("--api", envvar="FENZHANG_API", help="URL of the API.")],
    credentials: Annotated[
        Path | None,
        typer.Option(
            help="File with the operator's and the approver's app. Default: apps.json in FENZHANG_HOME.",
            show_default=False,
        ),
    ] = None,
    rpc: Annotated[
        str | None,
        typer.Option("--rpc", help=f"Where the result is read. {RPC_HELP}", show_default=False),
    ] = None,
    deployment: Annotated[Path | None, typer.Option(help=DEPLOYMENT_HELP, show_default=False)] = None,
    signs_itself: Annotated[
        str | None,
        typer.Option(
            metavar="PLATFORM",
            help="Platform that signs with a key of its own instead of the keystore's; `none` for none. "
            "Default: the one with the fewest orders, of those without bulk files.",
            show_default=False,
        ),
    ] = None,
    admin_key_file: Annotated[
        Path | None,
        typer.Option(help=f"For days that set the approval lock. {ADMIN_KEY_HELP}", show_default=False),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write a JSON report to this file.", show_default=False)
    ] = None,
) -> None:
    """Play a folder of orders. It may be interrupted and run again at any time: nothing is done twice.

    Exit code 0: all decided, and as the folder expects it. 1: something is undecided, otherwise than expected, or
    refused as a whole. 2: mistakes in the folder, none of which was sent.
    """
    from fenzhang.chain.deployments import load
    from fenzhang.commands.approvallock import set_approval_lock
    from fenzhang.commands.replay_text import print_report, watching
    from fenzhang.replay.run import Replay
    from fenzhang.settings import Settings

    scenario = read_scenario(folder)
    settings = Settings.from_environment()
    apps = credentials or settings.home / "apps.json"
    if (apps.parent / "devnet").is_dir():
        # The system that the credentials are of keeps its node and its deployment beside them.
        settings = settings.model_copy(update={"home": apps.parent})
    url = node_url(settings, rpc)
    contracts = asyncio.run(_deployment(settings, url, deployment))
    run = Replay(
        scenario=scenario,
        api=api,
        credentials=apps,
        rpc=url,
        deployment=load(contracts),
        signs_itself=signs_itself,
        set_lock=partial(set_approval_lock, url, contracts, key_file=admin_key_file),
    )
    with watching(run) as progress:
        run.progress = progress
        found = asyncio.run(run.run())
    print_report(found)
    if report is not None:
        write_report(report, {"scenario": str(folder), **found.to_json()})
    if not found.complete:
        raise typer.Exit(INCOMPLETE)


def read_scenario(folder: Path) -> Scenario:
    """Read a folder, or end with its mistakes, one per line."""
    from fenzhang.replay.scenario import ScenarioInvalid, load_scenario

    try:
        return load_scenario(folder)
    except ScenarioInvalid as invalid:
        for line in invalid.lines:
            typer.echo(f"fenzhang: {folder}: {line}", err=True)
        typer.echo("fenzhang: nothing was played", err=True)
        raise typer.Exit(MISTAKES) from None


def write_report(path: Path, content: dict[str, object]) -> None:
    """Write a JSON report, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    draft.replace(path)


async def _deployment(settings: Settings, url: str, path: Path | None) -> Path:
    """The deployment file of the chain behind `url`: looked for before anything is played, nothing counts without."""
    from fenzhang.chain.deployments import check_deployment, load
    from fenzhang.chain.node import NodeClient

    async with NodeClient(url) as node:
        found = await deployment_file(settings, path, node)
        await check_deployment(node, load(found))
        return found
