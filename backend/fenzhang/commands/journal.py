"""`fenzhang journal`: every posting, as a file."""

from __future__ import annotations

import asyncio
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fenzhang.ledger.journal import JournalFormat

app = typer.Typer(no_args_is_help=True, help="The journal of the clearing ledger.")


@app.callback()
def _group() -> None:
    """A group with one command is still a group."""


@app.command("export")
def export(
    *,
    form: Annotated[str, typer.Option("--format", help="jsonl or csv.")] = "jsonl",
    from_block: Annotated[
        int | None, typer.Option(min=0, help="First block. Default: the chain's first.", show_default=False)
    ] = None,
    to_block: Annotated[
        int | None,
        typer.Option(
            min=0, help="Last block, included. Default: the newest mirrored one.", show_default=False
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="File to write. Default: standard output.", dir_okay=False, show_default=False),
    ] = None,
) -> None:
    """Write every posting of these blocks in order, with accounts, record, batch, block and transaction.

    Reads the database of FENZHANG_DATABASE_URL. The same blocks give the same bytes. See docs/ledger.md.
    """
    from fenzhang.ledger.journal import JournalFormat

    try:
        chosen = JournalFormat(form)
    except ValueError:
        raise typer.BadParameter(f"--format is one of {', '.join(JournalFormat)}") from None
    asyncio.run(_export(chosen, from_block, to_block, output))


async def _export(
    form: JournalFormat, from_block: int | None, to_block: int | None, output: Path | None
) -> None:
    from fenzhang.ledger.journal import journal
    from fenzhang.ledger.moments import range_of
    from fenzhang.settings import Settings
    from fenzhang.store.session import Database
    from fenzhang.store.snapshots import freeze

    async with Database(Settings.from_environment().database) as database:
        await database.check()
        async with database.read() as session:
            await freeze(session)
            blocks = await range_of(session, from_block=from_block, to_block=to_block)
        with ExitStack() as stack:
            out = sys.stdout.buffer if output is None else stack.enter_context(output.open("wb"))
            async for piece in journal(database, blocks, form):
                out.write(piece)
            out.flush()
    typer.echo(f"blocks {blocks.first} to {blocks.last}", err=True)
