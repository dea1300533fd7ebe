"""`fenzhang devnet`: the local chain up, down, looked at, reset."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from fenzhang.commands.output import print_json
from fenzhang.devnet import (
    DEFAULT_PORT,
    DevnetConfig,
    DevnetStatus,
    Mining,
    RunningNode,
    advance_to,
    default_home,
    reset,
    start,
    status,
    stop,
)

NOT_RUNNING = 3
"""Exit code of `status` when no node runs, as init scripts have it."""

app = typer.Typer(
    no_args_is_help=True, help="The local chain: anvil with a fixed chain id and a state that lasts."
)

Home = Annotated[
    Path | None,
    typer.Option(
        "--home", help="Folder of the state. Default: FENZHANG_HOME or .fenzhang here.", show_default=False
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


@app.command("up")
def up(
    *,
    port: Annotated[
        int, typer.Option(help="TCP port; 0 takes a free one.", min=0, max=65_535)
    ] = DEFAULT_PORT,
    block_time: Annotated[
        float | None, typer.Option(help="Seconds between blocks. Default: 1.", min=0.01, show_default=False)
    ] = None,
    instant: Annotated[
        bool, typer.Option("--instant", help="A block at once for every transaction.")
    ] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Start the chain, on the state that is there. It keeps running until `devnet down`."""
    if instant and block_time is not None:
        raise typer.BadParameter("--instant and --block-time exclude each other")
    node = start(
        DevnetConfig(
            home=home or default_home(),
            port=port,
            mining=Mining.INSTANT if instant else Mining.INTERVAL,
            block_time_s=1.0 if block_time is None else block_time,
        )
    )
    if as_json:
        print_json(node.to_json())
        return
    typer.echo(f"devnet runs at {node.url}, chain {node.chain_id}, {_pace(node)}, pid {node.pid}")
    typer.echo(f"state and log in {node.log.parent}; `fenzhang devnet down` stops it")


@app.command("down")
def down(*, home: Home = None, as_json: Json = False) -> None:
    """Stop the chain after a last snapshot. Not running is no error."""
    stopped = stop(home)
    if as_json:
        print_json({"stopped": stopped})
    else:
        typer.echo("devnet stopped" if stopped else "no devnet was running")


@app.command("status")
def show_status(*, home: Home = None, as_json: Json = False) -> None:
    """Say what runs. The exit code is 0 if a node runs, 3 if not."""
    found = status(home)
    if as_json:
        plain = dataclasses.asdict(found) | {"node": found.node.to_json() if found.node else None}
        print_json(plain)
    else:
        typer.echo(_describe(found))
    if not found.running:
        raise typer.Exit(NOT_RUNNING)


@app.command("reset")
def reset_chain(*, home: Home = None, as_json: Json = False) -> None:
    """Stop the chain if it runs and delete it. The next `up` begins at block 0."""
    deleted = reset(home)
    if as_json:
        print_json({"deleted": deleted})
    else:
        typer.echo("devnet deleted" if deleted else "there was no devnet")


@app.command("advance")
def advance(
    *,
    to: Annotated[
        str, typer.Option(help="Moment with its offset, as 2026-11-24T11:00:00+08:00.", show_default=False)
    ],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Put the clock of the running chain forward; it goes on from there. To see cut-offs, holds and expiries pass."""
    try:
        moment = datetime.fromisoformat(to)
    except ValueError:
        raise typer.BadParameter("a moment as 2026-11-24T11:00:00+08:00", param_hint="--to") from None
    if moment.tzinfo is None:
        raise typer.BadParameter("the moment needs its offset, as +08:00", param_hint="--to")
    node = status(home).node
    if node is None:
        typer.echo("fenzhang: no devnet is running", err=True)
        raise typer.Exit(NOT_RUNNING)
    seconds = advance_to(node.url, int(moment.timestamp()))
    if as_json:
        print_json({"advanced_s": seconds})
    else:
        typer.echo(f"advanced by {seconds} s" if seconds else "the chain is there already")


def _pace(node: RunningNode) -> str:
    if node.mining is Mining.INTERVAL:
        return f"a block every {node.block_time_s:g} s"
    return "a block per transaction" if node.mining is Mining.INSTANT else "blocks by hand"


def _describe(found: DevnetStatus) -> str:
    stored = (
        "no snapshot"
        if found.snapshot_bytes is None or found.snapshot_age_s is None
        else f"snapshot of {found.snapshot_bytes:,} bytes, {found.snapshot_age_s:.0f} s old"
    )
    if not found.running:
        return f"no devnet runs; {stored}"
    if found.node is None:
        return f"a devnet is starting or stopping; {stored}"
    block = "does not answer" if found.block is None else f"block {found.block}"
    return f"devnet runs at {found.node.url}, {block}, {_pace(found.node)}, pid {found.node.pid}; {stored}"
