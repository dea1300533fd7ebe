"""The CSV profile: what is written reads back the same; what is not one is refused by cell."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.strategies import files, notifications, statements
from clearing.test_iso20022 import FILE, PAYEE, STATEMENT
from fenzhang.clearing import csvprofile
from fenzhang.clearing.errors import DocumentInvalid
from fenzhang.clearing.model import PayoutFile, Report

PAYOUTS = csvprofile.write_payouts(FILE)
REPORT = csvprofile.write_report(STATEMENT)


@given(files)
def test_a_file_of_payouts_reads_back_the_same(file: PayoutFile) -> None:
    assert csvprofile.read_payouts(csvprofile.write_payouts(file)) == file


@given(statements() | notifications)
def test_a_report_reads_back_the_same(report: Report) -> None:
    assert csvprofile.read_report(csvprofile.write_report(report)) == report


@pytest.mark.parametrize(
    ("content", "before", "after", "path"),
    [
        (PAYOUTS, "message_id", "message", "header"),
        (PAYOUTS, "1,2,1234.57,C1-1", "1,3,1234.57,C1-1", "row 2, rows"),
        (PAYOUTS, "2,2,1234.57,C1-2", "3,2,1234.57,C1-2", "row 2, row"),
        (PAYOUTS, "C1-2", "C1-1", "row 1"),
        (PAYOUTS, "C1-1,1234.56", "C1-1,1234.55", "row 1, total"),
        (PAYOUTS, "C1-1,1234.56", "C1-1,1234.561", "row 1, amount"),
        (PAYOUTS, "C1-2,0.01", "C1-2,-0.01", "row 2, amount"),
        (PAYOUTS, "C1-2,0.01", "C1-2,0.00", "row 2"),
        (PAYOUTS, "IBAN", "BBAN", "row 1, creditor_scheme"),
        (PAYOUTS, "IBAN,DE", "IBAN,FR", "row 1"),
        (PAYOUTS, "2026-11-23", "23.11.2026", "row 2, execution_date"),
        (PAYOUTS, "分账 2026-11-22\r\n", "分账 2026-11-22,\r\n", "row 1"),
        (PAYOUTS, "分账", '"分账', "file"),
        (REPORT, "OPENING", "BEGIN", "row 1, record"),
        (REPORT, "CLOSING", "END", "row 9, record"),
        (REPORT, "LINE", "PART", "row 2, record"),
        (REPORT, "CLOSING,2026-11-23,-0.05", "CLOSING,2026-11-23,0.05", "row 1"),
        (REPORT, ",BOOK,no,", ",BOOK,never,", "row 2, reversal"),
    ],
)
def test_what_is_wrong_is_named(content: bytes, before: str, after: str, path: str) -> None:
    text = content.decode()
    assert before in text

    with pytest.raises(DocumentInvalid) as refusal:
        (csvprofile.read_payouts if content is PAYOUTS else csvprofile.read_report)(
            text.replace(before, after, 1).encode()
        )

    assert refusal.value.path == path
    assert PAYEE.account.number not in str(refusal.value)


@given(st.integers(0, len(PAYOUTS) - 3), st.sampled_from((PAYOUTS, REPORT)))
def test_a_file_that_was_cut_off_is_refused(end: int, content: bytes) -> None:
    with pytest.raises(DocumentInvalid):
        (csvprofile.read_payouts if content is PAYOUTS else csvprofile.read_report)(content[:end][:-3])
