"""`fenzhang bill`: the bill of a day, as a file with its hash."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fenzhang.clearing.bills.formats import BillFormat


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("bill")(bill_command)


def bill_command(
    *,
    platform: Annotated[str, typer.Option(help="Reference of the platform.")],
    day: Annotated[str, typer.Option(help="YYYY-MM-DD in the platform's time zone.")],
    participant: Annotated[
        str | None,
        typer.Option(
            help="The bill of this participant of the platform: reference or 0x id.", show_default=False
        ),
    ] = None,
    merchant: Annotated[
        str | None, typer.Option(help="The bill of the orders of this merchant.", show_default=False)
    ] = None,
    form: Annotated[str, typer.Option("--format", help="jsonl or csv.")] = "jsonl",
    out: Annotated[
        Path, typer.Option(help="Folder for the file and its hash.", exists=True, file_okay=False)
    ] = Path(),
    gzip: Annotated[bool, typer.Option("--gzip", help="Write the file compressed.")] = False,
) -> None:
    """Write every record and rejection of a day and the totals, and beside it NAME.sha256; print the file's name.

    Reads the database of FENZHANG_DATABASE_URL. The same day gives the same bytes. See docs/bills.md.
    """
    from fenzhang.clearing.bills.formats import BillFormat

    try:
        chosen = BillFormat(form)
    except ValueError:
        raise typer.BadParameter(f"--format is one of {', '.join(BillFormat)}") from None
    typer.echo(asyncio.run(_write(platform, day, participant, merchant, form=chosen, out=out, gzip=gzip)))


async def _write(
    platform: str,
    day: str,
    participant: str | None,
    merchant: str | None,
    *,
    form: BillFormat,
    out: Path,
    gzip: bool,
) -> Path:
    from fenzhang.api.bills import bill_named
    from fenzhang.clearing.bills.files import write
    from fenzhang.intake.participants import platform_named
    from fenzhang.settings import Settings
    from fenzhang.store.session import Database

    settings = Settings.from_environment()
    async with Database(settings.database) as database:
        await database.check()
        async with database.read() as session:
            whose = await platform_named(session, platform)
            bill = await bill_named(
                session, settings, whose, day, form, participant=participant, merchant=merchant
            )
        return await write(database, bill, settings.bill_depth, out, packed=gzip)
