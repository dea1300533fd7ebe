"""Statements settle payouts however their lines are cut, and leave nothing unexplained unsaid."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from sqlalchemy import select

from clearing.bankside import NOON, SHOP, VAULT, order, payout_file
from fenzhang.clearing import payments
from fenzhang.clearing.formats import ISO20022
from fenzhang.clearing.model import LinePart, LineStatus, Notification, StatementLine
from fenzhang.clearing.statements import Finding, Problem, apply_report
from fenzhang.store.banktables import BankPayment
from fenzhang.store.session import Database

TODAY = date(2026, 11, 22)
BOOKED, PENDING = LineStatus.BOOKED, LineStatus.PENDING


def line(*parts: LinePart, status: LineStatus = BOOKED, reversal: bool = False) -> StatementLine:
    return StatementLine(sum(part.amount for part in parts), status, TODAY, "B1", parts, reversal)


PAID = LinePart(-100, "E1")
BACK = LinePart(100, "E1", "AC04")


@pytest.fixture
async def sent(database: Database) -> Database:
    """A database with the payouts E1 of 100 and E2 of 50 at the bank."""
    async with database.write() as session:
        file = payout_file("M1", order("E1", 100), order("E2", 50))
        file_id = await payments.prepare(session, VAULT, "bank", ISO20022, file, now=1)
        await payments.begin_attempt(session, VAULT, file_id, 1, now=2)
        await payments.accept(session, file_id, now=3)
    return database


async def told(
    database: Database, *lines: StatementLine, currency: str = "CNY"
) -> tuple[list[Finding], dict[str, tuple[str, str | None]]]:
    """Findings, and states and reasons afterwards."""
    at = datetime.fromtimestamp(NOON, UTC)
    async with database.write() as session:
        report = Notification("N1", at, SHOP.account, currency, lines)
        findings = await apply_report(session, report, now=4)
    async with database.read() as session:
        rows = await session.execute(select(BankPayment.end_to_end_id, BankPayment.state, BankPayment.reason))
        return findings, {row[0]: (row[1], row[2]) for row in rows}


@pytest.mark.parametrize(
    ("lines", "state"),
    [
        ([line(PAID)], ("PAID", None)),
        ([line(LinePart(-60, "E1")), line(LinePart(-40, "E1"))], ("PAID", None)),
        ([line(PAID), line(PAID), line(LinePart(100, "E1"), reversal=True)], ("PAID", None)),
        ([line(PAID), line(BACK)], ("RETURNED", "AC04")),
        ([line(BACK)], ("RETURNED", "AC04")),
        ([line(PAID), line(LinePart(100, "E1"), reversal=True)], ("SENT", None)),
        ([line(PAID, status=PENDING)], ("SENT", None)),
    ],
)
async def test_what_lines_say_together_counts(
    sent: Database, lines: list[StatementLine], state: tuple[str, str | None]
) -> None:
    for _ in range(2):
        assert await told(sent, *lines) == ([], {"E1": state, "E2": ("SENT", None)})


@pytest.mark.parametrize(
    ("lines", "findings"),
    [
        ([line(LinePart(-99, "E1"))], [Finding(Problem.OTHER_AMOUNT, -99, "E1")]),
        ([line(PAID), line(PAID)], [Finding(Problem.OTHER_AMOUNT, -200, "E1")]),
        ([line(LinePart(99, "E1", "AC04"))], [Finding(Problem.OTHER_AMOUNT, 99, "E1")]),
        ([line(LinePart(-100, "X1"))], [Finding(Problem.NOT_OURS, -100, "X1")]),
        ([line(LinePart(-100))], [Finding(Problem.NO_REFERENCE, -100, reference="B1")]),
        ([StatementLine(-100, BOOKED, TODAY)], [Finding(Problem.NO_REFERENCE, -100)]),
    ],
)
async def test_what_nobody_can_explain_is_found_and_changes_nothing(
    sent: Database, lines: list[StatementLine], findings: list[Finding]
) -> None:
    assert await told(sent, *lines) == (findings, {"E1": ("SENT", None), "E2": ("SENT", None)})


async def test_another_currency_is_found(sent: Database) -> None:
    findings, states = await told(sent, line(PAID), currency="EUR")

    assert findings == [Finding(Problem.OTHER_CURRENCY, -100, "E1")]
    assert states["E1"] == ("SENT", None)


async def test_a_merged_line_settles_its_parts(sent: Database) -> None:
    assert await told(sent, line(PAID, LinePart(-50, "E2"))) == (
        [],
        {"E1": ("PAID", None), "E2": ("PAID", None)},
    )


async def test_a_return_of_another_day_follows_the_payment(sent: Database) -> None:
    await told(sent, line(PAID))

    assert (await told(sent, line(BACK)))[1]["E1"] == ("RETURNED", "AC04")
    assert (await told(sent, line(PAID)))[1]["E1"] == ("RETURNED", "AC04")


async def test_money_that_left_after_it_was_said_to_have_failed_is_disputed(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async with database.write() as session:
        file_id = await payments.prepare(
            session, VAULT, "bank", ISO20022, payout_file("M1", order("E1", 100)), now=1
        )
        await payments.refuse(session, file_id, 0, "AC02", now=2)

    assert (await told(database, line(PAID)))[1] == {"E1": ("DISPUTED", None)}
    assert "the bank paid E1 after it had said that it failed" in caplog.text
    assert (await told(database, line(BACK)))[1] == {"E1": ("RETURNED", "AC04")}
