"""`fenzhang sandbox-bank`: a bank to try payouts with, as a process of its own."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fenzhang.sandboxbank.bank import SandboxBank

_GRACE_S = 1


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("sandbox-bank")(sandbox_bank)


def sandbox_bank(
    *,
    host: Annotated[
        str, typer.Option(help="Address to listen on; there is no access control.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="TCP port.", min=1, max=65_535)] = 8900,
    database: Annotated[
        Path, typer.Option(help="The bank's own books, a SQLite file; made if it is not there.")
    ] = Path(".fenzhang/sandbox-bank.db"),
    folder: Annotated[
        Path | None,
        typer.Option(help="Also take files from DIR/outbox and put documents into DIR/inbox.", metavar="DIR"),
    ] = None,
) -> None:
    """Run a bank with accounts, books and faults of its own until SIGINT or SIGTERM. Its money is nobody's."""
    from fenzhang.sandboxbank.bank import SandboxBank
    from fenzhang.settings import Settings
    from fenzhang.telemetry import logs

    settings = Settings.from_environment()
    logs.configure(settings.log, settings.log_level)
    database.parent.mkdir(parents=True, exist_ok=True)
    bank = SandboxBank(database, time.time)
    try:
        asyncio.run(_serve(bank, host, port, folder))
    finally:
        bank.books.close()


async def _serve(bank: SandboxBank, host: str, port: int, folder: Path | None) -> None:
    import uvicorn

    from fenzhang.sandboxbank.app import create_app
    from fenzhang.sandboxbank.folder import FolderDesk

    config = uvicorn.Config(
        create_app(bank),
        host=host,
        port=port,
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=_GRACE_S,
    )
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        if folder is not None:
            group.create_task(FolderDesk(bank, folder).run(stop))
        try:
            await uvicorn.Server(config).serve()
        finally:
            stop.set()
