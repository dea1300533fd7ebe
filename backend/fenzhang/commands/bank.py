"""`fenzhang bank`: what an operator does about bank data."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fenzhang.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Bank accounts and bank files in the database.")


@app.command("account")
def account(
    *,
    currency: Annotated[str, typer.Option(help="ISO 4217 letter code.")],
    holder: Annotated[str, typer.Option(help="Name of the holder, as the bank has it.")],
    scheme: Annotated[str, typer.Option(help="IBAN, or OTHER for the bank's own number.")] = "OTHER",
    bank: Annotated[str, typer.Option(help="BIC, or CNAPS code of 12 digits.")] = "",
) -> None:
    """Store the clearing account that payouts of a currency are made from. Its number is read from standard input."""
    number = typer.get_text_stream("stdin").readline().strip()
    asyncio.run(_store(currency, scheme, number, holder, bank))
    typer.echo(f"payouts in {currency} are made from {scheme} …{number[-4:]}")


async def _store(currency: str, scheme: str, number: str, holder: str, bank: str) -> None:
    from fenzhang.clearing import accounts
    from fenzhang.clearing.model import AccountNumber, AccountScheme, BankAccount
    from fenzhang.clearing.vault import Vault
    from fenzhang.domain.errors import InvalidInput
    from fenzhang.settings import Settings
    from fenzhang.store.session import Database

    if scheme not in list(AccountScheme):
        raise InvalidInput("--scheme", f"one of {', '.join(AccountScheme)}")
    where = BankAccount(AccountNumber(AccountScheme(scheme), number), holder, bank)
    settings = Settings.from_environment().prepared()
    vault = Vault.from_text(settings.bank_secret())
    async with Database(settings.database) as database:
        await database.check()
        async with database.write() as session:
            await accounts.store_account(
                session, vault, accounts.CLEARING_ACCOUNT, currency, where, now=int(time.time())
            )


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
