"""Statements settle payouts however their lines are cut, and leave nothing unexplained unsaid."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import select

from clearing.bankside import NOON, SHOP, VAULT, order, payout_file
from fenzhang.clearing import payments
from fenzhang.clearing.formats import ISO20022
from fenzhang.clearing.model import LinePart, LineStatus, Statement, StatementLine, booked_sum
from fenzhang.clearing.reconciliation import lines as statement_lines
from fenzhang.clearing.reconciliation.running import Reconciler
from fenzhang.clearing.reconciliation.terms import Terms
from fenzhang.store.banktables import BankPayment
from fenzhang.store.reconciliationtables import Break, Comparison
from fenzhang.store.session import Database

TODAY = date(2026, 11, 22)
BOOKED, PENDING = LineStatus.BOOKED, LineStatus.PENDING
SENT = ("SENT", None)


def line(
    *parts: LinePart, status: LineStatus = BOOKED, reversal: bool = False, day: date = TODAY
) -> StatementLine:
    return StatementLine(sum(part.amount for part in parts), status, day, "B1", parts, reversal)


PAID = LinePart(-100, "E1")
BACK = LinePart(100, "E1", "AC04")


@pytest.fixture
async def sent(database: Database) -> Database:
    """A database with the payouts E1 of 100 and E2 of 50 at the bank."""
    async with database.write() as session:
        file = payout_file("M1", order("E1", 100), order("E2", 50))
        file_id = await payments.prepare(session, VAULT, "bank", ISO20022, file, now=int(NOON))
        await payments.begin_attempt(session, VAULT, file_id, 1, now=int(NOON))
        await payments.accept(session, file_id, now=int(NOON))
    return database


async def told(
    database: Database,
    *lines: StatementLine,
    currency: str = "CNY",
    opening: int = 0,
    day: date = TODAY,
) -> tuple[dict[str, tuple[str, int | None]], dict[str, tuple[str, str | None]]]:
    """Breaks (kind and amount, by subject), and states and reasons of payouts, after a statement of a day was read."""
    at = datetime.fromtimestamp(NOON, UTC)
    statement = Statement(
        "S1", at, SHOP.account, currency, day, day, opening, opening + booked_sum(lines), lines
    )
    async with database.write() as session:
        await statement_lines.store(session, VAULT, "bank", statement_lines.Told.of(statement))
    reconciler = Reconciler(database, Terms(), clock=lambda: NOON)
    await reconciler.run(Comparison.BANK)
    await reconciler.release()
    async with database.read() as session:
        breaks = await session.execute(select(Break.subject, Break.kind, Break.amount).where(Break.present))
        rows = await session.execute(select(BankPayment.end_to_end_id, BankPayment.state, BankPayment.reason))
        return {row[0]: (row[1], row[2]) for row in breaks}, {row[0]: (row[1], row[2]) for row in rows}


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("lines", "state"),
    [
        ([line(PAID)], ("PAID", None)),
        ([line(LinePart(-60, "E1")), line(LinePart(-40, "E1"))], ("PAID", None)),
        ([line(PAID), line(PAID), line(LinePart(100, "E1"), reversal=True)], ("PAID", None)),
        ([line(PAID), line(BACK)], ("RETURNED", "AC04")),
        ([line(BACK)], ("RETURNED", "AC04")),
        (
            [line(PAID), line(BACK), line(BACK), line(LinePart(-100, "E1"), reversal=True)],
            ("RETURNED", "AC04"),
        ),
        ([line(PAID), line(PAID), line(BACK)], ("PAID", None)),
        ([line(PAID), line(LinePart(100, "E1"), reversal=True)], SENT),
        ([line(PAID, status=PENDING)], SENT),
    ],
)
async def test_what_lines_say_together_counts(
    sent: Database, lines: list[StatementLine], state: tuple[str, str | None]
) -> None:
    for _ in range(2):
        assert await told(sent, *lines) == ({}, {"E1": state, "E2": SENT})


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("lines", "kind", "amount", "state"),
    [
        ([line(LinePart(-99, "E1"))], "AMOUNT_DIFFERS", -99, SENT),
        ([line(LinePart(-150, "E1"))], "AMOUNT_DIFFERS", -150, SENT),
        ([line(PAID), line(LinePart(-50, "E1"))], "AMOUNT_DIFFERS", -50, ("PAID", None)),
        ([line(PAID), line(PAID)], "PAID_TWICE", -100, ("PAID", None)),
        ([line(PAID), line(PAID), line(PAID), line(BACK)], "PAID_TWICE", -100, ("PAID", None)),
        ([line(LinePart(99, "E1", "AC04"))], "RETURN_UNKNOWN", 99, SENT),
        ([line(PAID), line(LinePart(99, "E1", "AC04"))], "RETURN_UNKNOWN", 99, ("PAID", None)),
    ],
)
async def test_what_is_not_a_payouts_story_is_a_break(
    sent: Database, lines: list[StatementLine], kind: str, amount: int, state: tuple[str, str | None]
) -> None:
    for _ in range(2):
        assert await told(sent, *lines) == ({"E1": (kind, amount)}, {"E1": state, "E2": SENT})


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("lines", "kind", "subject"),
    [
        ([line(LinePart(-100, "X1"))], "LINE_WITHOUT_PAYOUT", "X1"),
        ([line(LinePart(100, "X1", "AC04"))], "RETURN_UNKNOWN", "X1"),
        ([line(LinePart(-70))], "LINE_WITHOUT_PAYOUT", "line 1"),
        ([StatementLine(-70, BOOKED, TODAY)], "LINE_WITHOUT_PAYOUT", "line 1"),
        ([StatementLine(-70, BOOKED, TODAY, message_id="M1")], "AMOUNT_DIFFERS", "line 1"),
        ([line(LinePart(70, None, "AC04"))], "RETURN_UNKNOWN", "line 1"),
        ([line(LinePart(70), reversal=True)], "LINE_WITHOUT_PAYOUT", "line 1"),
    ],
)
async def test_what_no_payout_explains_is_a_break_and_changes_nothing(
    sent: Database, lines: list[StatementLine], kind: str, subject: str
) -> None:
    breaks, states = await told(sent, *lines)

    assert {name: each[0] for name, each in breaks.items()} == {subject: kind}
    assert states == {"E1": SENT, "E2": SENT}


async def test_another_currency_is_a_break(sent: Database) -> None:
    breaks, states = await told(sent, line(PAID), currency="EUR")

    assert breaks == {"E1": ("CURRENCY_DIFFERS", -100)}
    assert states["E1"] == SENT


async def test_a_merged_line_settles_its_parts(sent: Database) -> None:
    assert await told(sent, line(PAID, LinePart(-50, "E2"))) == (
        {},
        {"E1": ("PAID", None), "E2": ("PAID", None)},
    )


async def test_a_return_of_another_day_follows_the_payment(sent: Database) -> None:
    tomorrow = TODAY + timedelta(days=1)
    back = line(BACK, day=tomorrow)
    await told(sent, line(PAID))

    assert (await told(sent, back, opening=-100, day=tomorrow))[1]["E1"] == ("RETURNED", "AC04")
    assert await told(sent, line(PAID)) == ({}, {"E1": ("RETURNED", "AC04"), "E2": SENT})


async def test_money_that_left_after_it_was_said_to_have_failed_is_disputed(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async with database.write() as session:
        file_id = await payments.prepare(
            session, VAULT, "bank", ISO20022, payout_file("M1", order("E1", 100)), now=1
        )
        await payments.refuse(session, file_id, 0, "AC02", now=2)

    assert await told(database, line(PAID)) == (
        {"E1": ("DISPUTED_PAYOUT", 100)},
        {"E1": ("DISPUTED", None)},
    )
    assert "the bank paid E1 after it had said that it failed" in caplog.text
    assert await told(database, line(PAID), line(BACK)) == ({}, {"E1": ("RETURNED", "AC04")})
