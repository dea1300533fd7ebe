"""The CSV profile: the same payout files, statements and notifications for banks without ISO 20022.

UTF-8 without a byte order mark, RFC 4180, the columns below in this order, a header row, dates as 2026-11-22, moments
as 2026-11-22T15:00:00Z, amounts as decimals with a point. What belongs to the whole file stands in each of its rows.
Rows are numbered from 1, the header not counted, when something is wrong with one.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from io import StringIO
from typing import Any, Final, TypeVar

from fenzhang.clearing.amounts import parse_amount, parse_signed
from fenzhang.clearing.errors import DocumentInvalid
from fenzhang.clearing.model import (
    MAX_BYTES,
    AccountNumber,
    AccountScheme,
    BankAccount,
    LinePart,
    LineStatus,
    Notification,
    PayoutFile,
    PayoutOrder,
    Report,
    Statement,
    StatementLine,
)
from fenzhang.domain.errors import FenzhangError
from fenzhang.domain.money import check_currency, format_amount

PAYOUT_COLUMNS: Final = (
    *("message_id", "created_at", "execution_date", "currency"),
    *("debtor_scheme", "debtor_account", "debtor_name", "debtor_bank"),
    *("row", "rows", "total", "end_to_end_id", "amount"),
    *("creditor_scheme", "creditor_account", "creditor_name", "creditor_bank", "remittance"),
)
"""`row` of `rows`, and `total` of all amounts, so that a file that was cut off is seen."""
REPORT_COLUMNS: Final = (
    *("report_id", "created_at", "scheme", "account", "currency"),
    *("record", "date", "amount", "reference", "end_to_end_id", "status", "reversal", "reason", "message_id"),
)
"""Records: OPENING, then a LINE per movement with a PART behind it per payment, CLOSING. A notification has NOTICE and
END instead of the balances."""
_FILE_COLUMNS: Final = (*PAYOUT_COLUMNS[:8], "rows", "total")
_REPORT_HEAD: Final = REPORT_COLUMNS[:5]
_MOMENT: Final = "%Y-%m-%dT%H:%M:%SZ"
_BOUNDS: Final = {"OPENING": "CLOSING", "NOTICE": "END"}
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class _Row:
    """A row that is being read."""

    number: int
    cells: dict[str, str]

    def path(self, column: str) -> str:
        """Where a cell stands."""
        return f"row {self.number}, {column}"

    def read(self, column: str, parse: Callable[..., _Value], *rest: Any) -> _Value:
        """What `parse` makes of a cell. A refusal names the cell and not what it holds."""
        try:
            return parse(self.cells[column], *rest)
        except FenzhangError as error:
            raise DocumentInvalid(self.path(column), error.message) from None
        except ValueError:
            raise DocumentInvalid(self.path(column), "cannot be read") from None

    def make(self, kind: Callable[..., _Value], **values: Any) -> _Value:
        """`kind(...)`; a refusal names the row."""
        try:
            return kind(**values)
        except FenzhangError as error:
            raise DocumentInvalid(f"row {self.number}", error.message) from None

    def account(self, scheme: str, number: str) -> AccountNumber:
        """The account in two cells."""
        return self.make(
            AccountNumber, scheme=self.read(scheme, AccountScheme), number=self.read(number, str)
        )

    def amount(self, column: str, currency: str) -> int:
        """Minor units, with a sign."""
        return self.read(column, lambda text: parse_signed(column, text, currency))


def write_payouts(file: PayoutFile) -> bytes:
    """The file as a bank takes it."""
    total = format_amount(file.total, file.currency)
    rows = (
        (
            file.message_id,
            file.created_at.strftime(_MOMENT),
            file.execution_date.isoformat(),
            file.currency,
            *_party_cells(file.debtor),
            number,
            len(file.payouts),
            total,
            payout.end_to_end_id,
            format_amount(payout.amount, file.currency),
            *_party_cells(payout.creditor),
            payout.remittance,
        )
        for number, payout in enumerate(file.payouts, 1)
    )
    return _written(PAYOUT_COLUMNS, rows)


def read_payouts(content: bytes) -> PayoutFile:
    """The file, as a bank reads it. Raises DocumentInvalid."""
    rows = _rows(content, PAYOUT_COLUMNS)
    first = rows[0]
    _check_same(rows, _FILE_COLUMNS)
    currency = first.read("currency", lambda text: check_currency("currency", text))
    for row in rows:
        if row.cells["row"] != str(row.number):
            raise DocumentInvalid(row.path("row"), "is not the number of the row")
    file = first.make(
        PayoutFile,
        message_id=first.cells["message_id"],
        created_at=first.read("created_at", _moment),
        debtor=_party(first, "debtor"),
        execution_date=first.read("execution_date", _day),
        currency=currency,
        payouts=tuple(_payout(row, currency) for row in rows),
    )
    if first.cells["rows"] != str(len(rows)):
        raise DocumentInvalid(first.path("rows"), "is not the number of rows")
    if first.amount("total", currency) != file.total:
        raise DocumentInvalid(first.path("total"), "is not the sum of the payouts")
    return file


def write_report(report: Report) -> bytes:
    """A statement or notification as a document."""

    def cells(record: str, day: date | None, amount: int | None, *rest: str) -> tuple[str, ...]:
        return (
            report.statement_id if isinstance(report, Statement) else report.notification_id,
            report.created_at.strftime(_MOMENT),
            report.account.scheme,
            report.account.number,
            report.currency,
            record,
            day.isoformat() if day else "",
            "" if amount is None else format_amount(amount, report.currency),
            *(rest or ("",) * 6),
        )

    rows: list[tuple[str, ...]] = []
    for line in report.lines:
        reversal = "yes" if line.reversal else "no"
        told = (line.reference or "", "", line.status, reversal, "", line.message_id or "")
        rows.append(cells("LINE", line.booked_on, line.amount, *told))
        rows += [
            cells("PART", None, part.amount, "", part.end_to_end_id or "", "", "", part.reason or "", "")
            for part in line.parts
        ]
    if isinstance(report, Statement):
        rows.insert(0, cells("OPENING", report.first_day, report.opening))
        rows.append(cells("CLOSING", report.last_day, report.closing))
    else:
        rows.insert(0, cells("NOTICE", None, None))
        rows.append(cells("END", None, None))
    return _written(REPORT_COLUMNS, rows)


def read_report(content: bytes) -> Report:
    """What a bank tells about an account. Raises DocumentInvalid."""
    rows = _rows(content, REPORT_COLUMNS)
    _check_same(rows, _REPORT_HEAD)
    first, last = rows[0], rows[-1]
    if first.cells["record"] not in _BOUNDS:
        raise DocumentInvalid(first.path("record"), f"is none of {', '.join(_BOUNDS)}")
    if len(rows) == 1 or last.cells["record"] != _BOUNDS[first.cells["record"]]:
        raise DocumentInvalid(last.path("record"), f"is not {_BOUNDS[first.cells['record']]}")
    currency = first.read("currency", lambda text: check_currency("currency", text))
    told: dict[str, Any] = {
        "created_at": first.read("created_at", _moment),
        "account": first.account("scheme", "account"),
        "currency": currency,
        "lines": _lines(rows[1:-1], currency),
    }
    if first.cells["record"] == "NOTICE":
        return first.make(Notification, notification_id=first.cells["report_id"], **told)
    return first.make(
        Statement,
        statement_id=first.cells["report_id"],
        first_day=first.read("date", _day),
        last_day=last.read("date", _day),
        opening=first.amount("amount", currency),
        closing=last.amount("amount", currency),
        **told,
    )


def _lines(rows: Sequence[_Row], currency: str) -> tuple[StatementLine, ...]:
    grouped: list[tuple[_Row, list[LinePart]]] = []
    for row in rows:
        record = row.cells["record"]
        if record == "LINE":
            grouped.append((row, []))
        elif record == "PART" and grouped:
            grouped[-1][1].append(
                row.make(
                    LinePart,
                    amount=row.amount("amount", currency),
                    end_to_end_id=row.cells["end_to_end_id"] or None,
                    reason=row.cells["reason"] or None,
                )
            )
        else:
            raise DocumentInvalid(row.path("record"), "is no LINE, and no PART behind one")
    return tuple(
        row.make(
            StatementLine,
            amount=row.amount("amount", currency),
            status=row.read("status", LineStatus),
            booked_on=row.read("date", _day) if row.cells["date"] else None,
            reference=row.cells["reference"] or None,
            parts=tuple(parts),
            reversal=row.read("reversal", _yes_or_no),
            message_id=row.cells["message_id"] or None,
        )
        for row, parts in grouped
    )


def _payout(row: _Row, currency: str) -> PayoutOrder:
    return row.make(
        PayoutOrder,
        end_to_end_id=row.cells["end_to_end_id"],
        amount=row.read("amount", lambda text: parse_amount("amount", text, currency)),
        creditor=_party(row, "creditor"),
        remittance=row.cells["remittance"],
    )


def _party(row: _Row, role: str) -> BankAccount:
    return row.make(
        BankAccount,
        account=row.account(f"{role}_scheme", f"{role}_account"),
        holder=row.cells[f"{role}_name"],
        bank=row.cells[f"{role}_bank"],
    )


def _party_cells(party: BankAccount) -> tuple[str, str, str, str]:
    return party.account.scheme, party.account.number, party.holder, party.bank


def _moment(text: str) -> datetime:
    moment = datetime.strptime(text, _MOMENT).replace(tzinfo=UTC)
    if moment.strftime(_MOMENT) != text:
        raise ValueError("not written in full")
    return moment


def _day(text: str) -> date:
    day = date.fromisoformat(text)
    if day.isoformat() != text:
        raise ValueError("not written in full")
    return day


def _yes_or_no(text: str) -> bool:
    return ("no", "yes").index(text) == 1


def _check_same(rows: Sequence[_Row], columns: Iterable[str]) -> None:
    for row in rows:
        for column in columns:
            if row.cells[column] != rows[0].cells[column]:
                raise DocumentInvalid(row.path(column), "is not the same as in the first row")


def _rows(content: bytes, columns: tuple[str, ...]) -> list[_Row]:
    if len(content) > MAX_BYTES:
        raise DocumentInvalid("file", f"is larger than {MAX_BYTES} bytes")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise DocumentInvalid("file", "is not UTF-8") from None
    try:
        cells = list(csv.reader(StringIO(text, newline=""), strict=True))
    except csv.Error:
        raise DocumentInvalid("file", "is not CSV") from None
    if not cells or tuple(cells[0]) != columns:
        raise DocumentInvalid("header", f"is not {','.join(columns)}")
    if len(cells) == 1:
        raise DocumentInvalid("file", "has no rows")
    for number, row in enumerate(cells[1:], 1):
        if len(row) != len(columns):
            raise DocumentInvalid(f"row {number}", f"has not {len(columns)} cells")
    return [_Row(number, dict(zip(columns, row, strict=True))) for number, row in enumerate(cells[1:], 1)]


def _written(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    out = StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    writer.writerows(rows)
    return out.getvalue().encode()
