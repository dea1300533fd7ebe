"""Folders as banks' SFTP servers have them: files are taken from `outbox`, answers and statements put into `inbox`.

A document appears under its name complete, or not at all. What was put there is not put there again.
"""

from __future__ import annotations

import asyncio
import os
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Final

from fenzhang.clearing.formats import FORMATS, ISO20022
from fenzhang.clearing.iso20022.pain002 import write_report
from fenzhang.clearing.model import StatusReport
from fenzhang.sandboxbank.bank import DocumentKind, SandboxBank

INTERVAL_S: Final = 0.2
_BEGINNING: Final = date(1970, 1, 1)


class FolderDesk:
    """Serves one folder. Meant to be the only one that does."""

    def __init__(self, bank: SandboxBank, folder: Path) -> None:
        self._bank = bank
        self._outbox, self._inbox = folder / "outbox", folder / "inbox"
        self._told_at = -1
        """Changes of the books when everything was told last."""
        for each in (self._outbox, self._inbox):
            each.mkdir(parents=True, exist_ok=True)

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set."""
        while not stop.is_set():
            await asyncio.to_thread(self.tick)
            try:
                async with asyncio.timeout(INTERVAL_S):
                    await stop.wait()
            except TimeoutError:
                continue

    def tick(self) -> None:
        """Take what is there, and tell what is new."""
        formats = {each.suffix: each for each in FORMATS.values()}
        for path in sorted(self._outbox.iterdir()):
            if path.suffix in formats and not path.name.startswith("."):
                answer = self._bank.receive(path.read_bytes(), formats[path.suffix])
                if answer.outcome is not None and answer.outcome.message_id and answer.outcome.refused:
                    self._tell(self._bank.status_report(answer.outcome))
                path.unlink()
        self._bank.advance()
        changes = self._bank.books.changes()
        if changes != self._told_at or self._bank.books.faults().delay_statements_s:
            self._tell_all()
        self._told_at = changes

    def _tell_all(self) -> None:
        for outcome in self._bank.books.outcomes():
            self._tell(self._bank.status_report(outcome))
        for customer in self._bank.books.customers():
            for report in self._bank.reports(customer, DocumentKind.STATEMENTS, _BEGINNING):
                self._put("statement", ISO20022.write_report(report), repr(report.lines).encode())

    def _tell(self, report: StatusReport) -> None:
        """A report of which nothing changed since the last one is not told again."""
        self._put(
            f"report-{report.message_id}",
            write_report(report),
            repr((report.refused, report.payouts)).encode(),
        )

    def _put(self, kind: str, content: bytes, meaning: bytes) -> None:
        path = self._inbox / f"{kind}-{sha256(meaning).hexdigest()[:16]}.xml"
        if path.exists():
            return
        draft = path.with_name(f".{path.name}")
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
