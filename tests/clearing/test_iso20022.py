"""ISO 20022 files: what is written is valid and read back the same; what is not one is refused by name."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.schemas import check_schema
from clearing.strategies import files, iban, notifications, statements, status_reports
from fenzhang.clearing.errors import DocumentInvalid
from fenzhang.clearing.iso20022 import camt, pain001, pain002
from fenzhang.clearing.model import (
    AccountNumber,
    AccountScheme,
    BankAccount,
    LinePart,
    LineStatus,
    Notification,
    PayoutFile,
    PayoutOrder,
    PayoutState,
    PayoutStatus,
    Statement,
    StatementLine,
    StatusReport,
)
from fenzhang.domain.errors import FenzhangError

SHOP = BankAccount(AccountNumber(AccountScheme.OTHER, "6222020200000001"), "清算专户", "102100099996")
PAYEE = BankAccount(AccountNumber(AccountScheme.IBAN, iban("DE", "370400440532013000")), "Müller & Söhne")
FILE = PayoutFile(
    "C1-CNY-1",
    datetime(2026, 11, 22, 15, 0, tzinfo=UTC),
    SHOP,
    date(2026, 11, 23),
    "CNY",
    (PayoutOrder("C1-1", 123_456, PAYEE, "分账 2026-11-22"), PayoutOrder("C1-2", 1, SHOP, "x")),
)
DAY = date(2026, 11, 23)
LINES = (
    StatementLine(-123_456, LineStatus.BOOKED, DAY, "B1", (LinePart(-123_456, "C1-1"),)),
    StatementLine(123_456, LineStatus.BOOKED, DAY, "B2", (LinePart(123_456, "C1-1", "AC04"),)),
    StatementLine(-5, LineStatus.PENDING, DAY, "B3", (LinePart(-7), LinePart(2))),
)
STATEMENT = Statement("S1", FILE.created_at, SHOP.account, "CNY", DAY, DAY, -5, -5, LINES)
NOTIFICATION = Notification("N1", FILE.created_at, PAYEE.account, "JPY", LINES)


@given(files)
def test_a_file_of_payouts_is_valid_and_reads_back_the_same(file: PayoutFile) -> None:
    content = pain001.write_payouts(file)

    check_schema(pain001.MESSAGE, content)
    assert pain001.read_payouts(content) == file


@given(status_reports)
def test_a_status_report_is_valid_and_reads_back_the_same(report: StatusReport) -> None:
    content = pain002.write_report(report)

    check_schema(pain002.MESSAGE, content)
    assert pain002.read_report(content) == report


@pytest.mark.parametrize("version", ["10", "11", "12", "13", "14"])
def test_status_reports_of_other_versions_are_read(version: str) -> None:
    report = StatusReport(
        "R1", FILE.created_at, "C1", None, (("C1-1", PayoutStatus(PayoutState.FAILED, "AC04")),)
    )
    content = _changed(pain002.write_report(report), "pain.002.001.12", f"pain.002.001.{version}")

    assert pain002.read_report(content) == report


@given(statements())
def test_a_statement_is_valid_and_reads_back_the_same(statement: Statement) -> None:
    content = camt.write_statement(statement)

    check_schema(camt.STATEMENT, content)
    assert camt.read_reports(content) == (statement,)


@given(notifications)
def test_a_notification_is_valid_and_reads_back_the_same(notification: Notification) -> None:
    content = camt.write_notification(notification)

    check_schema(camt.NOTIFICATION, content)
    assert camt.read_reports(content) == (notification,)


def test_the_largest_amounts_are_valid() -> None:
    largest = PayoutOrder("C1-1", 10**18 - 1, PAYEE, "x")
    for currency in ("JPY", "CNY", "KWD", "CLF"):
        file = PayoutFile("C1", FILE.created_at, SHOP, FILE.execution_date, currency, (largest,))

        check_schema(pain001.MESSAGE, pain001.write_payouts(file))


def _changed(content: bytes, before: str, after: str) -> bytes:
    text = content.decode()
    assert before in text
    return text.replace(before, after, 1).encode()


PAIN = pain001.write_payouts(FILE)
_TRANSFER = "/Document/CstmrCdtTrfInitn/PmtInf[1]/CdtTrfTxInf"


@pytest.mark.parametrize(
    ("before", "after", "path"),
    [
        ("<MsgId>C1-CNY-1</MsgId>", "", "/Document/CstmrCdtTrfInitn/GrpHdr/MsgId"),
        ("<NbOfTxs>2<", "<NbOfTxs>3<", "/Document/CstmrCdtTrfInitn/GrpHdr/NbOfTxs"),
        ("<NbOfTxs>2<", "<NbOfTxs>two<", "/Document/CstmrCdtTrfInitn/GrpHdr/NbOfTxs"),
        ("<CtrlSum>1234.57<", "<CtrlSum>1234.56<", "/Document/CstmrCdtTrfInitn/GrpHdr/CtrlSum"),
        (">TRF<", ">CHK<", "/Document/CstmrCdtTrfInitn/PmtInf[1]/PmtMtd"),
        ("<Dt>2026-11-23<", "<Dt>2026-13-23<", "/Document/CstmrCdtTrfInitn/PmtInf[1]/ReqdExctnDt/Dt"),
        (">1234.56</InstdAmt>", ">1234.567</InstdAmt>", f"{_TRANSFER}[1]/Amt/InstdAmt"),
        (">1234.56</InstdAmt>", ">-1234.56</InstdAmt>", f"{_TRANSFER}[1]/Amt/InstdAmt"),
        (">1234.56</InstdAmt>", ">1e3</InstdAmt>", f"{_TRANSFER}[1]/Amt/InstdAmt"),
        (">1234.56</InstdAmt>", "><b/></InstdAmt>", f"{_TRANSFER}[1]/Amt/InstdAmt"),
        (">1234.56</InstdAmt>", "></InstdAmt>", f"{_TRANSFER}[1]/Amt/InstdAmt"),
        (">1234.56</InstdAmt>", ">0</InstdAmt>", f"{_TRANSFER}[1]"),
        ('Ccy="CNY">0.01', 'Ccy="EUR">0.01', f"{_TRANSFER}[2]/Amt/InstdAmt/@Ccy"),
        ('Ccy="CNY">0.01', ">0.01", f"{_TRANSFER}[2]/Amt/InstdAmt/@Ccy"),
        ('Ccy="CNY">1234', 'Ccy="XXX">1234', f"{_TRANSFER}[1]/Amt/InstdAmt"),
        ("<IBAN>DE", "<IBAN>FR", f"{_TRANSFER}[1]/CdtrAcct/Id/IBAN"),
        (">C1-2<", ">C1-1<", "/Document/CstmrCdtTrfInitn"),
        (">C1-2<", ">C1 2<", f"{_TRANSFER}[2]"),
        (
            "<EndToEndId>C1-2<",
            "<EndToEndId>x</EndToEndId><EndToEndId>C1-2<",
            f"{_TRANSFER}[2]/PmtId/EndToEndId",
        ),
        ("Z</CreDtTm>", "Y</CreDtTm>", "/Document/CstmrCdtTrfInitn/GrpHdr/CreDtTm"),
        ("pain.001.001.09", "pain.001.001.03", "/"),
        ("urn:iso", "urn:os", "/"),
        ("</Document>", "", "/"),
        ("?>", "?><!DOCTYPE a [<!ENTITY b 'c'>]>", "/"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(before: str, after: str, path: str) -> None:
    with pytest.raises(DocumentInvalid) as refusal:
        pain001.read_payouts(_changed(PAIN, before, after))

    assert refusal.value.path == path
    assert "Müller" not in str(refusal.value)
    assert PAYEE.account.number not in str(refusal.value)


_STMT = "/Document/BkToCstmrStmt/Stmt[1]"


@pytest.mark.parametrize(
    ("before", "after", "path"),
    [
        ("<Cd>OPBD<", "<Cd>XPCD<", f"{_STMT}/Bal"),
        ("<BookgDt>\n          <Dt>2026-11-23</Dt>\n        </BookgDt>", "", f"{_STMT}/Ntry[1]"),
        ("<Cd>BOOK<", "<Cd>BOKO<", f"{_STMT}/Ntry[1]/Sts/Cd"),
        (">1234.56<", ">1234.57<", f"{_STMT}/Ntry[1]"),
        ("<CdtDbtInd>DBIT<", "<CdtDbtInd>CRDT<", _STMT),
        ("<Sts>\n          <Cd>PDNG<", "<Sts>\n          <Cd>BOOK<", _STMT),
        ("<CdtDbtInd>DBIT<", "<CdtDbtInd>DOWN<", f"{_STMT}/Bal[1]/CdtDbtInd"),
        ("<Ccy>CNY<", "<Ccy>EUR<", f"{_STMT}/Acct/Ccy"),
        (
            "<Acct>",
            "<StmtPgntn><PgNb>1</PgNb><LastPgInd>false</LastPgInd></StmtPgntn><Acct>",
            f"{_STMT}/StmtPgntn",
        ),
        (
            "<Acct>",
            "<StmtPgntn><PgNb>2</PgNb><LastPgInd>true</LastPgInd></StmtPgntn><Acct>",
            f"{_STMT}/StmtPgntn",
        ),
    ],
)
def test_what_is_wrong_with_a_statement_is_named(before: str, after: str, path: str) -> None:
    with pytest.raises(DocumentInvalid) as refusal:
        camt.read_reports(_changed(camt.write_statement(STATEMENT), before, after))

    assert refusal.value.path == path


def test_an_encoding_cannot_hide_a_doctype() -> None:
    utf_16 = PAIN.decode().replace("UTF-8", "UTF-16").encode("utf-16")
    utf_7 = _changed(PAIN, "UTF-8", "UTF-7").replace(b"?>", b"?>+ADwAIQ-DOCTYPE a +AD4-", 1)
    for content in (utf_16, utf_7):
        with pytest.raises(DocumentInvalid):
            pain001.read_payouts(content)


def test_a_bank_may_leave_out_what_is_optional_and_add_what_is_not_read() -> None:
    text = camt.write_statement(STATEMENT).decode()
    text = text.replace("<EndToEndId>NOTPROVIDED</EndToEndId>", "", 1)
    text = text.replace("<Id>S1</Id>", "<Id>S1</Id><ElctrncSeqNb>7</ElctrncSeqNb>", 1)
    text = text.replace("<Dt>\n          <Dt>2026-11-23</Dt>", "<Dt><DtTm>2026-11-23T23:00:00+08:00</DtTm>")
    text = text.replace("<Cd>OPBD<", "<Cd>PRCD<").replace(">B1<", "> B1\n<").replace(">0.02<", ">\n0.02<")
    text = text.replace(
        "<BookgDt>\n          <Dt>2026-11-23</Dt>\n        </BookgDt>\n        <AcctSvcrRef>B3",
        "<AcctSvcrRef>B3",
    )
    content = text.encode()
    check_schema(camt.STATEMENT, content)

    pending = replace(LINES[2], booked_on=None)
    assert camt.read_reports(content) == (replace(STATEMENT, lines=(*LINES[:2], pending)),)


@given(st.data())
def test_no_damage_gets_past_the_reader_unnoticed(data: st.DataObject) -> None:
    """Whatever happens to the bytes, the outcome is a file that is written again the same, or DocumentInvalid."""
    originals = (PAIN, camt.write_statement(STATEMENT), camt.write_notification(NOTIFICATION))
    content = bytearray(data.draw(st.sampled_from(originals)))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        end = data.draw(st.integers(start, min(len(content), start + 40)))
        content[start:end] = data.draw(
            st.binary(max_size=12) | st.sampled_from((b"<", b"</Ntry>", b"&a;", b"\0"))
        )
    for read in (pain001.read_payouts, camt.read_reports, pain002.read_report):
        try:
            found = read(bytes(content))
        except DocumentInvalid:
            continue
        if isinstance(found, PayoutFile):
            assert pain001.read_payouts(pain001.write_payouts(found)) == found


@given(st.binary(max_size=200))
def test_noise_is_no_document(content: bytes) -> None:
    with pytest.raises(FenzhangError):
        camt.read_reports(content)


def test_an_account_shows_neither_its_number_nor_its_holder() -> None:
    shown = f"{PAYEE!r} {PAYEE} {FILE!r} {STATEMENT!r}"

    assert PAYEE.account.number not in shown
    assert PAYEE.holder not in shown
