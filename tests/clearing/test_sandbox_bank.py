"""The sandbox bank: takes each file once, pays by its own accounts, misbehaves on demand, and always adds up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.bankside import (
    CLOSED,
    CUSTOMER,
    HONEST,
    MISNAMED,
    NOBODY,
    NOON,
    PAYEES,
    RETURNING,
    SHOP,
    furnish,
    order,
    payout_file,
)
from clearing.schemas import check_schema
from fenzhang.clearing.formats import CSV, FORMATS, ISO20022, Format
from fenzhang.clearing.iso20022 import camt
from fenzhang.clearing.model import BankAccount, Notification, PayoutState, PayoutStatus, Statement
from fenzhang.sandboxbank.app import create_app
from fenzhang.sandboxbank.bank import DocumentKind, SandboxBank
from fenzhang.sandboxbank.books import Outcome
from fenzhang.sandboxbank.faults import Faults

TODAY = date(2026, 11, 22)
MONEY = 1_000_000


class Clock:
    """One that tests turn."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        """Unix seconds."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def bank(tmp_path: Path, clock: Clock) -> Iterator[SandboxBank]:
    made = SandboxBank(tmp_path / "bank.db", clock)
    furnish(made, MONEY)
    yield made
    made.books.close()


def balance(bank: SandboxBank, account: BankAccount) -> int:
    return bank.books.balance(f"{account.account.scheme}:{account.account.number}")


def receive(
    bank: SandboxBank, *orders: object, message_id: str = "M1", file_format: Format = ISO20022
) -> Outcome:
    file = payout_file(message_id, *orders)  # type: ignore[arg-type]  # orders, passed on
    answer = bank.receive(file_format.write_payouts(file), file_format)
    assert answer.outcome is not None
    return answer.outcome


@pytest.mark.parametrize(
    ("creditor", "state", "reason", "paid"),
    [
        (HONEST, PayoutState.PAID, None, 100),
        (CLOSED, PayoutState.FAILED, "AC04", 0),
        (RETURNING, PayoutState.FAILED, "AC04", 0),
        (MISNAMED, PayoutState.FAILED, "BE01", 0),
        (NOBODY, PayoutState.FAILED, "AC01", 0),
    ],
)
def test_what_becomes_of_a_payout_depends_on_the_account(
    bank: SandboxBank, creditor: BankAccount, state: PayoutState, reason: str | None, paid: int
) -> None:
    assert receive(bank, order("E1", 100, creditor)).refused is None

    assert bank.statuses(["E1", "E2"]) == {
        "E1": PayoutStatus(state, reason),
        "E2": PayoutStatus(PayoutState.NOT_KNOWN),
    }
    assert balance(bank, SHOP) == MONEY - paid
    assert bank.books.totals() == {"CNY": 0}


def test_money_that_is_not_there_is_not_paid(bank: SandboxBank) -> None:
    receive(bank, order("E1", MONEY), order("E2", 1))

    assert bank.statuses(["E1", "E2"])["E2"] == PayoutStatus(PayoutState.FAILED, "AM04")
    assert balance(bank, SHOP) == 0


def test_a_file_is_taken_once(bank: SandboxBank) -> None:
    assert receive(bank, order("E1")) == receive(bank, order("E1")) == Outcome("M1")
    assert receive(bank, order("E2")) == Outcome("M1", "DU01")
    assert receive(bank, order("E2"), order("E1"), message_id="M2") == Outcome("M2", "DU04")
    assert bank.statuses(["E2"])["E2"].state is PayoutState.NOT_KNOWN
    assert bank.books.times_paid() == {"E1": 1}


def test_a_file_of_somebody_else_or_of_another_currency_is_refused(bank: SandboxBank) -> None:
    file = payout_file("M1", order("E1"))
    for number, (debtor, currency, reason) in enumerate(
        ((HONEST, "CNY", "AC02"), (NOBODY, "CNY", "AC02"), (SHOP, "EUR", "AM03"))
    ):
        changed = replace(file, message_id=f"M{number}", debtor=debtor, currency=currency)
        answer = bank.receive(ISO20022.write_payouts(changed), ISO20022)
        assert answer.outcome == Outcome(f"M{number}", reason)


def test_books_survive_a_restart(bank: SandboxBank, tmp_path: Path, clock: Clock) -> None:
    receive(bank, order("E1"))

    again = SandboxBank(tmp_path / "bank.db", clock)

    assert receive(again, order("E1")) == Outcome("M1")
    assert again.books.times_paid() == {"E1": 1}
    again.books.close()


def test_payouts_are_late_on_demand(bank: SandboxBank, clock: Clock) -> None:
    bank.books.set_faults(Faults(take_after_s=10, pay_after_s=20, delay_statements_s=40))
    receive(bank, order("E1"))
    seen = []
    for _ in range(8):
        reports = bank.reports(CUSTOMER, DocumentKind.NOTIFICATIONS, TODAY)
        seen.append((bank.statuses(["E1"])["E1"].state, len(reports)))
        clock.now += 10

    assert [state for state, _ in seen] == ["NOT_KNOWN", "PENDING", "PENDING"] + ["PAID"] * 5
    assert [count for _, count in seen] == [0, 0, 0, 0, 1, 1, 1, 2]


def test_a_file_that_is_refused_when_it_is_looked_at_fails_its_payouts(
    bank: SandboxBank, clock: Clock
) -> None:
    bank.books.set_faults(Faults(take_after_s=10))
    bank.books.open_account(SHOP, "CNY", customer="")
    assert receive(bank, order("E1")).refused is None
    clock.now += 10

    assert bank.statuses(["E1"])["E1"] == PayoutStatus(PayoutState.FAILED, "AC02")


def test_files_and_answers_get_lost_on_demand(bank: SandboxBank) -> None:
    bank.books.set_faults(Faults(lose_files=1, lose_answers=1))
    content = ISO20022.write_payouts(payout_file("M1", order("E1")))

    assert bank.receive(content, ISO20022).outcome is None
    assert bank.statuses(["E1"])["E1"].state is PayoutState.NOT_KNOWN
    assert bank.receive(content, ISO20022).outcome is None
    assert bank.statuses(["E1"])["E1"].state is PayoutState.PAID
    assert bank.receive(content, ISO20022).outcome == Outcome("M1")


@given(
    payees=st.lists(st.sampled_from(PAYEES), min_size=1, max_size=5),
    amount=st.integers(1, MONEY // 4),
    shown=st.fixed_dictionaries(
        {},
        optional={
            name: st.booleans() for name, kind in Faults.model_fields.items() if kind.annotation is bool
        },
    ),
    days=st.integers(0, 2),
)
def test_statements_add_up_and_are_valid_whatever_is_wrong_with_them(
    tmp_path_factory: pytest.TempPathFactory,
    payees: list[BankAccount],
    amount: int,
    shown: dict[str, bool],
    days: int,
) -> None:
    clock = Clock()
    bank = SandboxBank(tmp_path_factory.mktemp("bank") / "bank.db", clock)
    furnish(bank, MONEY)
    clock.now += days * 86_400
    receive(bank, *(order(f"E{number}", amount, payee) for number, payee in enumerate(payees)))
    bank.books.set_faults(Faults(**shown))

    statements = bank.reports(CUSTOMER, DocumentKind.STATEMENTS, TODAY)
    for report in statements + bank.reports(CUSTOMER, DocumentKind.NOTIFICATIONS, TODAY):
        for each in FORMATS.values():
            assert each.read_reports(each.write_report(report)) == (report,)
        message = camt.STATEMENT if isinstance(report, Statement) else camt.NOTIFICATION
        check_schema(message, ISO20022.write_report(report))
    balances = [(each.opening, each.closing) for each in statements if isinstance(each, Statement)]
    assert balances[0][0] == 0
    assert [opening for opening, _ in balances[1:]] == [closing for _, closing in balances[:-1]]
    assert balances[-1][1] == balance(bank, SHOP)
    bank.books.close()


def test_lines_are_doubled_split_merged_and_stripped_on_demand(bank: SandboxBank) -> None:
    receive(bank, order("E1", 100), order("E2", 50))

    def lines(**faults: bool) -> list[tuple[int, list[str | None]]]:
        bank.books.set_faults(Faults(**faults))
        [statement] = bank.reports(CUSTOMER, DocumentKind.STATEMENTS, TODAY)
        return [(line.amount, [part.end_to_end_id for part in line.parts]) for line in statement.lines[1:]]

    assert lines() == [(-100, ["E1"]), (-50, ["E2"])]
    assert lines(split_lines=True) == [(-50, ["E1"]), (-50, ["E1"]), (-25, ["E2"]), (-25, ["E2"])]
    assert lines(merge_lines=True) == [(-150, ["E1", "E2"])]
    assert lines(drop_references=True) == [(-100, [None]), (-50, [None])]
    assert lines(duplicate_lines=True)[:3] == [(-100, ["E1"]), (-100, ["E1"]), (100, ["E1"])]
    notified = bank.reports(CUSTOMER, DocumentKind.NOTIFICATIONS, TODAY)
    assert len(notified) == 6
    assert all(isinstance(each, Notification) for each in notified)


async def test_bad_requests_are_told_what_is_wrong(bank: SandboxBank) -> None:
    transport = httpx.ASGITransport(create_app(bank))
    async with httpx.AsyncClient(transport=transport, base_url="http://bank") as client:
        wrong = await client.post("/files", content=b"<a/>", headers={"Content-Type": ISO20022.content_type})
        assert (wrong.status_code, wrong.json()["reason"]) == (422, "FF01")
        other = await client.post("/files", content=b"{}", headers={"Content-Type": "application/json"})
        assert other.status_code == 415
        cut = CSV.write_payouts(payout_file("M1", order("E1")))[:-20]
        wrong = await client.post("/files", content=cut, headers={"Content-Type": "text/csv; charset=utf-8"})
        assert (wrong.status_code, wrong.json()["reason"]) == (422, "FF01")
        wrong = await client.post(
            "/sandbox/accounts", json=[{"number": "DE00", "scheme": "IBAN", "holder": "x", "currency": "EUR"}]
        )
        assert (wrong.status_code, wrong.json()["field"]) == (422, "number")
        wrong = await client.put("/sandbox/faults", json={"lose_everything": 1})
        assert wrong.status_code == 422
        wrong = await client.post("/sandbox/deposits", json={"number": "9", "amount": 1, "reference": "D-2"})
        assert (wrong.status_code, wrong.json()["field"]) == (422, "number")
