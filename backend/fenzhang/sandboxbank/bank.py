"""The sandbox bank itself: what comes in by HTTP or by folder ends here, and meets the faults that are in force."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from fenzhang.clearing.errors import DocumentInvalid
from fenzhang.clearing.formats import FORMATS, Format
from fenzhang.clearing.model import PayoutFile, PayoutStatus, Report, StatusReport
from fenzhang.sandboxbank import documents
from fenzhang.sandboxbank.books import Books, Outcome

INVALID_FILE: Final = "FF01"


class DocumentKind(StrEnum):
    """What a customer may ask for."""

    STATEMENTS = "statements"
    NOTIFICATIONS = "notifications"


@dataclass(frozen=True, slots=True)
class Answer:
    """To a file: what the bank says, after how many seconds; None if it never says anything."""

    outcome: Outcome | None
    after_s: float = 0
    problem: str = ""
    """What is wrong with a file that is no file."""


class SandboxBank:
    """Its books are a file. `clock` gives Unix seconds."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self.books = Books(path, clock)
        self._clock = clock

    def receive(self, content: bytes, file_format: Format) -> Answer:
        """A file arrives."""
        faults = self.books.faults()
        if faults.lose_files:
            self.books.set_faults(faults.model_copy(update={"lose_files": faults.lose_files - 1}))
            return Answer(None)
        try:
            file = file_format.read_payouts(content)
        except DocumentInvalid as error:
            return Answer(Outcome("", INVALID_FILE), faults.answer_after_s, error.message)
        outcome = self.books.take(file, content)
        self.advance()
        if faults.lose_answers:
            self.books.set_faults(faults.model_copy(update={"lose_answers": faults.lose_answers - 1}))
            return Answer(None)
        return Answer(outcome, faults.answer_after_s)

    def advance(self) -> None:
        """Do what is due."""
        self.books.advance(_read)

    def statuses(self, end_to_end_ids: Sequence[str]) -> dict[str, PayoutStatus]:
        """What it knows of payouts now."""
        self.advance()
        return self.books.statuses(end_to_end_ids)

    def reports(self, customer: str, kind: DocumentKind, since: date) -> list[Report]:
        """Of all accounts of a customer."""
        self.advance()
        make = documents.statements if kind is DocumentKind.STATEMENTS else documents.notifications
        now = self._clock()
        return [
            report
            for account in self.books.accounts_of(customer)
            for report in make(self.books, account, since, now)
        ]

    def status_report(self, outcome: Outcome) -> StatusReport:
        """What became of a file so far, as a document to send."""
        now = datetime.fromtimestamp(self._clock(), UTC).replace(microsecond=0)
        return StatusReport(
            report_id=f"R-{outcome.message_id}"[:35],
            created_at=now,
            message_id=outcome.message_id,
            refused=outcome.refused,
            payouts=() if outcome.refused else tuple(self.books.payouts_of(outcome.message_id).items()),
        )


def _read(content: bytes) -> PayoutFile:
    """A file that was read before, in whichever format it is."""
    for each in FORMATS.values():
        try:
            return each.read_payouts(content)
        except DocumentInvalid:
            continue
    raise DocumentInvalid("file", "is in no known format")
