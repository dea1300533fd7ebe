"""`fenzhang journal`: every posting, as a file, and whether all are still as they were posted."""

from __future__ import annotations

import asyncio
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fenzhang.commands.output import print_json

if TYPE_CHECKING:
    from fenzhang.ledger.journal import JournalFormat
    from fenzhang.ledger.linkcheck import Examined

BROKEN = 1
"""Exit code when a posting or link is not what it was."""
NOT_EXAMINED = 2
"""Exit code when nothing can be said: the database is not what it should be."""

app = typer.Typer(no_args_is_help=True, help="The journal of the clearing ledger.")


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


@app.command("verify")
def verify(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Make the journal's hash chain anew from the postings, and compare it with its links and what cycles anchored.

    Exit code 0: every posting is as it was posted. 1: the first posting or link that does not fit is named. 2: the
    database could not be read. See docs/ledger.md.
    """
    from fenzhang.domain.errors import FenzhangError

    try:
        examined = asyncio.run(_examine())
    except FenzhangError as error:
        typer.echo(f"fenzhang: {' '.join(error.message.split())}", err=True)
        raise typer.Exit(NOT_EXAMINED) from None
    if as_json:
        print_json(_as_json(examined))
    else:
        _print(examined)
    if examined.fault is not None:
        raise typer.Exit(BROKEN)


async def _examine() -> Examined:
    from fenzhang.ledger.linkcheck import examine_journal
    from fenzhang.settings import Settings
    from fenzhang.store.session import Database
    from fenzhang.store.snapshots import freeze

    async with Database(Settings.from_environment().database) as database:
        await database.check()
        async with database.read() as session:
            await freeze(session)
            return await examine_journal(session)


def _as_json(examined: Examined) -> dict[str, object]:
    head, fault = examined.head, examined.fault
    return {
        "link": head.number,
        "hash": "0x" + head.hash.hex(),
        "block_number": head.block_number,
        "postings": examined.postings,
        "anchored_by_cycles": examined.anchored,
        "clean": fault is None,
        "fault": fault and {"subject": fault.subject, "expected": fault.expected, "found": fault.found},
    }


def _print(examined: Examined) -> None:
    head = examined.head
    if examined.fault is not None:
        typer.echo(str(examined.fault))
    verdict = "the journal is as it was posted" if examined.fault is None else "the journal was changed; good"
    anchored = f"; {examined.anchored} heads anchored by cycles were compared" if examined.anchored else ""
    typer.echo(
        f"{verdict}: {examined.postings} postings up to link {head.number}, 0x{head.hash.hex()}{anchored}"
    )
