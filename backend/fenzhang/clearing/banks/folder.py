"""A bank that is reached by folders, as with the SFTP drops of many: ISO 20022 files out, reports and statements in.

Below the root: `outbox` (the bank takes files from it), `inbox` (the bank puts documents there), and two that are this
side's own, on the same file system: `drafts` and `dropped`. A file is dropped by one rename, after a marker in
`dropped` was made: with the draft gone and the marker there it was dropped, and in every other case it was not. So a
crash at any moment leaves no doubt about what the bank may have seen.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path

from fenzhang.clearing.banks.interface import Submission, Unknown
from fenzhang.clearing.errors import BankUnavailable, DocumentInvalid
from fenzhang.clearing.formats import ISO20022, Format
from fenzhang.clearing.iso20022.camt import read_reports
from fenzhang.clearing.iso20022.pain002 import read_report
from fenzhang.clearing.model import PayoutState, PayoutStatus, Statement, StatusReport

_MARKED = "utf-8"


class FolderBank:
    """A bank behind the folder `root`."""

    def __init__(self, name: str, root: Path) -> None:
        self.name = name
        self.format: Format = ISO20022
        self._outbox, self._inbox = root / "outbox", root / "inbox"
        self._drafts, self._dropped = root / "drafts", root / "dropped"
        for each in (self._outbox, self._inbox, self._drafts, self._dropped):
            each.mkdir(parents=True, exist_ok=True)

    async def submit(self, message_id: str, content: bytes) -> Submission:
        """Drop the file. What the bank makes of it, its reports say."""
        try:
            dropped = await asyncio.to_thread(self._drop, message_id, content)
        except OSError as error:
            return Unknown(f"the folder cannot be written: {error.strerror}")
        return Unknown("the bank has not reported on the file" if dropped else "the file was dropped before")

    async def statuses(self, end_to_end_ids: Sequence[str]) -> Mapping[str, PayoutStatus]:
        """By the bank's reports. A payout of a file that was never dropped is not known to the bank.

        Raises BankUnavailable while there is no report on a file that was dropped.
        """
        return await asyncio.to_thread(self._statuses, end_to_end_ids)

    async def documents(self, since: date) -> Sequence[bytes]:
        """The statements in the inbox whose last day is not before `since`, by account and day."""
        return await asyncio.to_thread(self._statements, since)

    def _drop(self, message_id: str, content: bytes) -> bool:
        """Whether it was dropped now, and not before."""
        name = f"{message_id}{self.format.suffix}"
        draft, marker = self._drafts / name, self._dropped / name
        if marker.exists() and not draft.exists():
            return False
        _write(draft, content)
        ids = [payout.end_to_end_id for payout in self.format.read_payouts(content).payouts]
        _write(marker, "\n".join(ids).encode(_MARKED))
        draft.rename(self._outbox / name)
        for folder in (self._outbox, self._drafts):
            _sync(folder)
        return True

    def _statuses(self, end_to_end_ids: Sequence[str]) -> dict[str, PayoutStatus]:
        found = dict.fromkeys(end_to_end_ids, PayoutStatus(PayoutState.NOT_KNOWN))
        reports: dict[str, list[StatusReport]] = {}
        for report in self._reports():
            reports.setdefault(report.message_id, []).append(report)
        for message_id, ids in self._files_dropped():
            mine = [each for each in ids if each in found]
            if mine:
                told = _told(reports.get(message_id, []), ids)
                if told is None:
                    raise BankUnavailable(f"{self.name} has not reported on the file {message_id}")
                found |= {each: told.get(each, PayoutStatus(PayoutState.PENDING)) for each in mine}
        return found

    def _files_dropped(self) -> Iterator[tuple[str, list[str]]]:
        for marker in self._dropped.glob(f"*{self.format.suffix}"):
            if not (self._drafts / marker.name).exists():
                yield marker.stem, marker.read_text(_MARKED).split("\n")

    def _reports(self) -> Iterator[StatusReport]:
        """All status reports, the oldest first. Documents of other kinds are passed over."""
        for content in self._documents():
            try:
                yield read_report(content)
            except DocumentInvalid:
                continue

    def _statements(self, since: date) -> list[bytes]:
        found: list[tuple[str, date, bytes]] = []
        for content in self._documents():
            try:
                told = [each for each in read_reports(content) if isinstance(each, Statement)]
            except DocumentInvalid:
                continue
            if told and told[-1].last_day >= since:
                found.append((told[0].account.number, told[0].first_day, content))
        return [content for _, _, content in sorted(found, key=lambda each: each[:2])]

    def _documents(self) -> Iterator[bytes]:
        names = [path for path in self._inbox.glob("*.xml") if not path.name.startswith(".")]
        for path in sorted(names, key=lambda path: (path.stat().st_mtime_ns, path.name)):
            yield path.read_bytes()


def _told(reports: Sequence[StatusReport], ids: Sequence[str]) -> dict[str, PayoutStatus] | None:
    """What reports on one file say of its payouts, the newest last. None if they say nothing.

    A bank that took a file and refuses it when it comes again reports a refusal too: that one says nothing.
    """
    taken = [report for report in reports if report.refused is None]
    if taken:
        return dict(pair for report in taken for pair in report.payouts)
    if reports:
        return dict.fromkeys(ids, PayoutStatus(PayoutState.FAILED, reports[-1].refused))
    return None


def _write(path: Path, content: bytes) -> None:
    """The file is complete and on disk when this returns; before, it may be there in part."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    _sync(path.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
