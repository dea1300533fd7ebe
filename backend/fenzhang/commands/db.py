"""`fenzhang db`: the database's version."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from fenzhang.settings import Settings

app = typer.Typer(
    no_args_is_help=True, help="The database named by FENZHANG_DATABASE_URL, or under FENZHANG_HOME."
)


@app.callback()
def _group() -> None:
    """A group with one command is still a group."""


@app.command("upgrade")
def upgrade() -> None:
    """Create the tables, or bring them to this version. Safe to repeat, and from several machines at once."""
    from fenzhang.settings import Settings

    asyncio.run(_upgrade(Settings.from_environment().prepared()))
    typer.echo("the database is up to date")


async def _upgrade(settings: Settings) -> None:
    from fenzhang.store.session import Database

    async with Database(settings.database) as database:
        await database.upgrade()
