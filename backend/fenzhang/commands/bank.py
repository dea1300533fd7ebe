"""`fenzhang bank`: what an operator does about bank data."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from fenzhang.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Bank accounts and bank files in the database.")


@app.callback()
def _group() -> None:
    """A group with one command is still a group."""


@app.command("reencrypt")
def reencrypt() -> None:
    """Encrypt all bank accounts and bank files with the first key of FENZHANG_BANK_KEYS, which needs all keys in use.

    Afterwards the other keys open nothing any more, and may be thrown away.
    """
    from fenzhang.settings import Settings

    count = asyncio.run(_reencrypt(Settings.from_environment().prepared()))
    typer.echo(f"{count} encrypted with the newest key")


async def _reencrypt(settings: Settings) -> int:
    from fenzhang.clearing import accounts
    from fenzhang.clearing.vault import Vault
    from fenzhang.store.session import Database

    vault = Vault.from_text(settings.bank_secret())
    total, count = 0, 1
    async with Database(settings.database) as database:
        await database.check()
        while count:
            async with database.write() as session:
                count = await accounts.reencrypt(session, vault)
            total += count
    return total
