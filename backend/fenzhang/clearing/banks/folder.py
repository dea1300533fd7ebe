"""A bank that is reached by folders, as with the SFTP drops of many: ISO 20022 files out, reports and statements in.

Below the root: `outbox` (the bank takes files from it), `inbox` (the bank puts documents there), and two that are this
side's own, on the same file system: `drafts` and `dropped`. A file is dropped by one rename, after a marker in
`dropped` was made: with the draft gone and the marker there it was dropped, and in every other case it was not. So a
crash at any moment leaves no doubt about what the bank may have seen.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import NamedTuple, TypeVar

from fenzhang.clearing.banks.interface import Submission, Unknown
from fenzhang.clearing.errors import BankUnavailable, DocumentInvalid
from fenzhang.clearing.formats import ISO20022, Format
from fenzhang.clearing.iso20022.camt import read_reports
from fenzhang.clearing.iso20022.pain002 import read_report
from fenzhang.clearing.model import PayoutState, PayoutStatus, Statement, StatusReport

_MARKED = "utf-8"
_Asked = TypeVar("_Asked")
_Found = TypeVar("_Found")


class _Period(NamedTuple):
    """What a statement is about."""

    number: str
    first_day: date
    last_day: date


class FolderBank:
    """A bank behind the folder `root`."""

    def __init__(self, name: str, root: Path) -> None:
        self.name = name
        self.format: Format = ISO20022
        self._outbox, self._inbox = root / "outbox", root / "inbox"
        self._drafts, self._dropped = root / "drafts", root / "dropped"
        for each in (self._outbox, self._inbox, self._drafts, self._dropped):
            each.mkdir(parents=True, exist_ok=True)
        # What was read once, by file name.
        self._ids: dict[str, list[str]] = {}
        self._read: dict[str, StatusReport | _Period | None] = {}

    async def submit(self, message_id: str, content: bytes) -> Submission:
        """Drop the file. What the bank makes of it, its reports say."""
        try:
            dropped = await asyncio.to_thread(self._drop, message_id, content)
        except OSError as error:
            return Unknown(f"the folder cannot be written: {error.strerror}")
        return Unknown("the bank has not reported on the file" if dropped else "the file was dropped before")

    async def statuses(self, end_to_end_ids: Sequence[str]) -> Mapping[str, PayoutStatus]:
        """By the bank's reports. A payout of a file that was never dropped is not known to the bank.

        Left out are those of a file that was dropped and is not reported on.
        """
        return await self._reading(self._statuses, end_to_end_ids)

    async def documents(self, since: date) -> Sequence[bytes]:
        """The statements in the inbox whose last day is not before `since`, by account and day."""
        return await self._reading(self._statements, since)

    async def _reading(self, read: Callable[[_Asked], _Found], asked: _Asked) -> _Found:
        try:
            return await asyncio.to_thread(read, asked)
        except OSError as error:
            raise BankUnavailable(f"the folder of {self.name} cannot be read: {error.strerror}") from None

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
                for each in mine:
                    if told is None:
                        del found[each]
                    else:
                        found[each] = told.get(each, PayoutStatus(PayoutState.PENDING))
        return found

    def _files_dropped(self) -> Iterator[tuple[str, list[str]]]:
        for marker in self._dropped.glob(f"*{self.format.suffix}"):
            if not (self._drafts / marker.name).exists():
                if marker.name not in self._ids:
                    self._ids[marker.name] = marker.read_text(_MARKED).split("\n")
                yield marker.stem, self._ids[marker.name]

    def _reports(self) -> Iterator[StatusReport]:
        """All status reports, the oldest first."""
        for path in self._documents():
            read = self._read[path.name]
            if isinstance(read, StatusReport):
                yield read

    def _statements(self, since: date) -> list[bytes]:
        found: list[tuple[_Period, Path]] = []
        for path in self._documents():
            read = self._read[path.name]
            if isinstance(read, _Period) and read.last_day >= since:
                found.append((read, path))
        return [path.read_bytes() for _, path in sorted(found, key=lambda each: each[0])]

    def _documents(self) -> list[Path]:
        """All that was put into the inbox, the oldest first. A document never changes, so each is read once."""
        paths = [path for path in self._inbox.glob("*.xml") if not path.name.startswith(".")]
        for path in paths:
            if path.name not in self._read:
                self._read[path.name] = _parsed(path.read_bytes())
        return sorted(paths, key=lambda path: (path.stat().st_mtime_ns, path.name))


def _parsed(content: bytes) -> StatusReport | _Period | None:
    """None for what is neither a status report nor a statement."""
    with suppress(DocumentInvalid):
        return read_report(content)
    with suppress(DocumentInvalid):
        told = [each for each in read_reports(content) if isinstance(each, Statement)]
        if told:
            return _Period(told[0].account.number, told[0].first_day, told[-1].last_day)
    return None


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
