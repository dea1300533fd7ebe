"""The formats in which files go to a bank and documents come from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from fenzhang.clearing import csvprofile
from fenzhang.clearing.iso20022 import camt, pain001
from fenzhang.clearing.model import PayoutFile, Report, Statement


class Format(Protocol):
    """Writes and reads what a bank takes and gives. Readers raise DocumentInvalid."""

    @property
    def name(self) -> str:
        """As stored beside a file: at most 16 characters."""

    @property
    def content_type(self) -> str:
        """Over HTTP."""

    @property
    def suffix(self) -> str:
        """Of files in a folder."""

    def write_payouts(self, file: PayoutFile) -> bytes:
        """A file of payouts."""

    def read_payouts(self, content: bytes) -> PayoutFile:
        """The same, as the bank reads it."""

    def write_report(self, report: Report) -> bytes:
        """A statement or notification."""

    def read_reports(self, content: bytes) -> tuple[Report, ...]:
        """The same, as the bank's customer reads it."""


@dataclass(frozen=True, slots=True)
class Iso20022:
    """pain.001.001.09 out, camt.053.001.08 and camt.054.001.08 in."""

    name: str = "iso20022"
    content_type: str = "application/xml"
    suffix: str = ".xml"

    def write_payouts(self, file: PayoutFile) -> bytes:
        """pain.001."""
        return pain001.write_payouts(file)

    def read_payouts(self, content: bytes) -> PayoutFile:
        """pain.001."""
        return pain001.read_payouts(content)

    def write_report(self, report: Report) -> bytes:
        """camt.053 or camt.054."""
        return (
            camt.write_statement(report) if isinstance(report, Statement) else camt.write_notification(report)
        )

    def read_reports(self, content: bytes) -> tuple[Report, ...]:
        """camt.053 or camt.054."""
        return camt.read_reports(content)


@dataclass(frozen=True, slots=True)
class Csv:
    """The CSV profile."""

    name: str = "csv"
    content_type: str = "text/csv"
    suffix: str = ".csv"

    def write_payouts(self, file: PayoutFile) -> bytes:
        """A row per payout."""
        return csvprofile.write_payouts(file)

    def read_payouts(self, content: bytes) -> PayoutFile:
        """A row per payout."""
        return csvprofile.read_payouts(content)

    def write_report(self, report: Report) -> bytes:
        """A row per balance, line and payment."""
        return csvprofile.write_report(report)

    def read_reports(self, content: bytes) -> tuple[Report, ...]:
        """A row per balance, line and payment."""
        return (csvprofile.read_report(content),)


ISO20022: Final = Iso20022()
CSV: Final = Csv()
FORMATS: Final[dict[str, Format]] = {each.name: each for each in (ISO20022, CSV)}
"""By name."""
