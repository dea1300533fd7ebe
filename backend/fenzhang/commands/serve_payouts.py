"""`fenzhang serve payouts`: the process between stored files of payouts and one bank. It needs no chain."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from fenzhang.clearing.banks.folder import FolderBank
from fenzhang.clearing.banks.http import HttpBank
from fenzhang.clearing.banks.interface import Bank
from fenzhang.clearing.formats import FORMATS
from fenzhang.clearing.sender import PayoutSender
from fenzhang.clearing.vault import Vault
from fenzhang.domain.errors import InvalidInput
from fenzhang.health.watching import watched_without_chain
from fenzhang.settings import Settings
from fenzhang.stageloop import outlast
from fenzhang.store.session import Database
from fenzhang.telemetry import logs, traces


@dataclass(frozen=True, slots=True)
class Said:
    """What the command line says of the bank, None where the settings do."""

    name: str | None
    url: str | None
    folder: Path | None
    customer: str | None
    file_format: str | None


@dataclass(frozen=True, slots=True)
class ServedBank:
    """The bank that is served."""

    name: str
    url: str | None
    folder: Path | None
    customer: str
    file_format: str


def serve_payouts(said: Said, resend_after_s: float) -> None:
    """Run until SIGINT or SIGTERM. Raises InvalidInput for a bank that is none, and what the sender stops for."""
    asyncio.run(_serve(said, resend_after_s))


async def _serve(said: Said, resend_after_s: float) -> None:
    settings = Settings.from_environment().prepared()
    logs.configure(settings.log, settings.log_level)
    traces.configure("stage")
    told = served_bank(said, settings)
    vault = Vault.from_text(settings.bank_secret())
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        bank = await _bank(told, stack)
        database = await stack.enter_async_context(Database(settings.database))
        await outlast("payouts", database.check, stop)
        await stack.enter_async_context(watched_without_chain(settings, database))
        await PayoutSender(database, vault, bank, time.time, resend_after_s=resend_after_s).run(stop)


def served_bank(said: Said, settings: Settings) -> ServedBank:
    """What the command line says, and the settings where it says nothing. A place that it names is the only one."""
    named = said.url is not None or said.folder is not None
    return ServedBank(
        settings.bank_name if said.name is None else said.name,
        said.url if named else settings.bank_url or None,
        said.folder if named else settings.bank_folder,
        settings.bank_customer if said.customer is None else said.customer,
        settings.bank_format if said.file_format is None else said.file_format,
    )


async def _bank(told: ServedBank, stack: AsyncExitStack) -> Bank:
    if not 1 <= len(told.name) <= 64:  # noqa: PLR2004 -- the column's width
        raise InvalidInput("--name", "1 to 64 characters")
    if (told.url is None) == (told.folder is None):
        raise InvalidInput("--url", "either --url or --folder")
    if told.file_format not in FORMATS:
        raise InvalidInput("--format", f"one of {', '.join(FORMATS)}")
    if told.folder is not None:
        if told.file_format != "iso20022":
            raise InvalidInput("--format", "folders are for ISO 20022")
        return FolderBank(told.name, told.folder)
    assert told.url is not None  # noqa: S101 -- one of the two is given
    made = HttpBank(told.name, told.url, FORMATS[told.file_format], customer=told.customer)
    return await stack.enter_async_context(made)
