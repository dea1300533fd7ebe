"""A bank behind folders: a file is dropped once, whatever moment the sender dies at, and reports decide."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from clearing.bankside import CUSTOMER, HONEST, NOON, PAYEES, SHOP, furnish, order, payout_file
from fenzhang.clearing.banks.folder import FolderBank
from fenzhang.clearing.banks.interface import Unknown
from fenzhang.clearing.formats import ISO20022
from fenzhang.clearing.iso20022.camt import read_reports
from fenzhang.clearing.model import PayoutState, PayoutStatus, Statement
from fenzhang.sandboxbank.bank import SandboxBank
from fenzhang.sandboxbank.folder import FolderDesk

CONTENT = ISO20022.write_payouts(payout_file("M1", order("E1"), order("E2", 100, PAYEES[1])))
NOT_KNOWN = PayoutStatus(PayoutState.NOT_KNOWN)
TODAY = date(2026, 11, 22)


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[SandboxBank]:
    made = SandboxBank(tmp_path / "bank.db", lambda: NOON)
    furnish(made)
    yield made
    made.books.close()


@pytest.fixture
def desk(sandbox: SandboxBank, tmp_path: Path) -> FolderDesk:
    return FolderDesk(sandbox, tmp_path / "drops")


@pytest.fixture
def bank(tmp_path: Path) -> FolderBank:
    return FolderBank("sandbox", tmp_path / "drops")


async def test_a_file_goes_out_and_its_report_and_statement_come_in(
    bank: FolderBank, desk: FolderDesk, sandbox: SandboxBank
) -> None:
    assert await bank.statuses(["E1"]) == {"E1": NOT_KNOWN}
    assert isinstance(await bank.submit("M1", CONTENT), Unknown)
    assert await bank.statuses(["E1", "E2", "E3"]) == {"E3": NOT_KNOWN}

    desk.tick()

    assert await bank.statuses(["E2", "E1", "E3"]) == {
        "E1": PayoutStatus(PayoutState.PAID),
        "E2": PayoutStatus(PayoutState.FAILED, "AC04"),
        "E3": NOT_KNOWN,
    }
    [document] = await bank.documents(TODAY)
    [statement] = read_reports(document)
    assert isinstance(statement, Statement)
    assert statement.account == SHOP.account
    assert [line.amount for line in statement.lines] == [10**12, -1_000]
    assert await bank.documents(date(2026, 11, 23)) == []
    assert sandbox.books.times_paid() == {"E1": 1}


@pytest.mark.parametrize("taken", [False, True])
async def test_a_file_is_dropped_once(
    bank: FolderBank, desk: FolderDesk, tmp_path: Path, *, taken: bool
) -> None:
    outbox = tmp_path / "drops" / "outbox"
    await bank.submit("M1", CONTENT)
    if taken:
        desk.tick()

    assert await bank.submit("M1", CONTENT) == Unknown("the file was dropped before")

    assert len(list(outbox.iterdir())) == (0 if taken else 1)


@pytest.mark.parametrize("left", ["draft", "part of a draft", "draft and marker"])
async def test_a_sender_that_died_before_it_dropped_the_file_drops_it(
    bank: FolderBank, desk: FolderDesk, sandbox: SandboxBank, tmp_path: Path, left: str
) -> None:
    drops = tmp_path / "drops"
    (drops / "drafts" / "M1.xml").write_bytes(CONTENT[:100] if "part" in left else CONTENT)
    if "marker" in left:
        (drops / "dropped" / "M1.xml").write_text("E1\nE2")
    assert await bank.statuses(["E1"]) == {"E1": NOT_KNOWN}

    await bank.submit("M1", CONTENT)
    desk.tick()

    assert (await bank.statuses(["E1"]))["E1"].state is PayoutState.PAID
    assert sandbox.books.times_paid() == {"E1": 1}
    assert list((drops / "drafts").iterdir()) == []


async def test_a_refused_file_fails_its_payouts(
    bank: FolderBank, desk: FolderDesk, sandbox: SandboxBank
) -> None:
    sandbox.books.open_account(SHOP, "CNY", customer="")
    await bank.submit("M1", CONTENT)
    desk.tick()

    failed = PayoutStatus(PayoutState.FAILED, "AC02")
    assert await bank.statuses(["E1", "E2"]) == {"E1": failed, "E2": failed}


async def test_the_refusal_of_a_second_copy_does_not_undo_the_first(
    bank: FolderBank, desk: FolderDesk, sandbox: SandboxBank, tmp_path: Path
) -> None:
    await bank.submit("M1", CONTENT)
    desk.tick()
    other = ISO20022.write_payouts(payout_file("M1", order("E9")))
    (tmp_path / "drops" / "outbox" / "M1-again.xml").write_bytes(other)
    desk.tick()

    assert (await bank.statuses(["E1"]))["E1"].state is PayoutState.PAID
    assert sandbox.books.times_paid() == {"E1": 1}


async def test_what_changes_is_told_once(
    bank: FolderBank, desk: FolderDesk, sandbox: SandboxBank, tmp_path: Path
) -> None:
    await bank.submit("M1", CONTENT)
    for _ in range(3):
        desk.tick()
    inbox = tmp_path / "drops" / "inbox"
    assert len(list(inbox.iterdir())) == 2

    sandbox.books.deposit(SHOP.account, 1, "D-2")
    sandbox.books.open_account(HONEST, "CNY", customer="other")
    desk.tick()
    assert len(list(inbox.iterdir())) == 4
    assert sandbox.books.customers() == [CUSTOMER, "other"]


async def test_what_else_lies_in_the_inbox_is_passed_over(
    bank: FolderBank, desk: FolderDesk, tmp_path: Path
) -> None:
    inbox = tmp_path / "drops" / "inbox"
    (inbox / "note.xml").write_text("hello")
    (inbox / ".draft.xml").write_text("<a")
    (inbox / "readme.txt").write_text("x")
    await bank.submit("M1", CONTENT)
    desk.tick()

    assert (await bank.statuses(["E1"]))["E1"].state is PayoutState.PAID
    assert len(await bank.documents(TODAY)) == 1
