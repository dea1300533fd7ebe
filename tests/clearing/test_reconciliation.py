"""The ledger's payouts against the statements of a bank that misbehaves."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from clearing.bankside import CLOSED, RETURNING, VAULT, order, payout_file
from clearing.sending import System
from fenzhang.clearing import payments
from fenzhang.clearing.formats import CSV, ISO20022, Format
from fenzhang.clearing.reconciliation.errors import ReconciliationBusy
from fenzhang.clearing.reconciliation.running import Reconciler
from fenzhang.clearing.reconciliation.stage import ReconciliationStage, show
from fenzhang.clearing.reconciliation.telling import told
from fenzhang.clearing.reconciliation.terms import Terms
from fenzhang.sandboxbank.faults import Faults
from fenzhang.store.banktables import BankPayment
from fenzhang.store.banktables import BankPaymentState as State
from fenzhang.store.reconciliationtables import (
    Break,
    Comparison,
    ReconciliationRun,
    StatementLineRow,
    StatementMatch,
)
from fenzhang.telemetry import metrics

DAY_S = 86_400
DEPOSIT = 10**12
FORMATS = pytest.mark.parametrize("bank_format", [ISO20022, CSV], ids=lambda each: each.name)
SQLITE = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


@pytest.fixture
def bank_format() -> Format:
    """Of the bank's files, unless a test names another."""
    return ISO20022


@pytest.fixture
async def system(database_url: str, tmp_path: Path, bank_format: Format) -> AsyncIterator[System]:
    made = System(database_url, tmp_path, bank_format)
    yield made
    await made.close()


async def _pay(system: System) -> None:
    """Two files with payouts of all kinds, sent and decided."""
    await system.prepare("M1", order("E1", 101), order("E2", 205), order("E3", 309, CLOSED))
    await system.prepare("M2", order("E4", 411), order("E5", 517, RETURNING))
    await system.tick()


async def _matched(system: System) -> tuple[Counter[str], dict[str, int]]:
    """How lines are explained, and what they come to for each payout."""
    async with system.database.read() as session:
        lines = (
            (await session.execute(select(StatementLineRow).where(StatementLineRow.shown))).scalars().all()
        )
        sums = select(StatementMatch.end_to_end_id, func.sum(StatementMatch.amount)).group_by(
            StatementMatch.end_to_end_id
        )
        net = {name: int(total) for name, total in await session.execute(sums)}
    return Counter(str(line.matched_by) for line in lines), net


PAID = {"E1": -101, "E2": -205, "E4": -411, "E5": 0}
"""What the statement shows of the payouts, E5 out and in again."""


@FORMATS
@pytest.mark.parametrize(
    ("faults", "explained"),
    [
        ({}, {"REFERENCE": 5}),
        ({"duplicate_lines": True}, {"REFERENCE": 15}),
        ({"split_lines": True}, {"REFERENCE": 9}),
        ({"split_lines": True, "duplicate_lines": True}, {"REFERENCE": 27}),
        ({"merge_lines": True}, {"REFERENCE": 5}),
        ({"drop_references": True}, {"AMOUNT": 5}),
        ({"drop_references": True, "duplicate_lines": True}, {"AMOUNT": 5, "REVERSAL": 10}),
        ({"drop_references": True, "merge_lines": True}, {"AMOUNT": 5}),
    ],
)
@SQLITE
async def test_every_line_is_explained_however_the_bank_cuts_them(
    system: System, faults: dict[str, bool], explained: dict[str, int]
) -> None:
    await _pay(system)
    system.sandbox.books.set_faults(Faults.model_validate(faults))

    breaks = await system.read_statements()

    how, net = await _matched(system)
    assert (breaks, how, net) == ({}, {"FUNDING": 1} | explained, PAID)
    assert sum(net.values()) + DEPOSIT == system.sandbox.books.balance("OTHER:6222000000000001")
    assert (await system.states())["E1"] is State.PAID


async def test_a_merged_line_without_details_is_matched_by_its_files_message_id(system: System) -> None:
    await system.prepare("M1", order("E1", 100), order("E2", 100), order("E3", 309, CLOSED))
    await system.prepare("M2", order("E4", 200))
    await system.tick()
    system.sandbox.books.set_faults(Faults(merge_lines=True, drop_details=True))

    assert await system.read_statements() == {}
    assert await _matched(system) == (
        {"FUNDING": 1, "FILE": 1, "AMOUNT": 1},
        {"E1": -100, "E2": -100, "E4": -200},
    )


@SQLITE
async def test_lines_that_say_nothing_at_all_are_matched_by_amount_alone(system: System) -> None:
    """Not so what the bank said had failed: it was paid, and the money that came back does not say what it is."""
    await _pay(system)
    system.sandbox.books.set_faults(Faults(drop_details=True))

    assert list((await system.read_statements()).values()) == ["LINE_WITHOUT_PAYOUT"]
    assert await _matched(system) == (
        {"FUNDING": 2, "AMOUNT": 3, "None": 1},
        {"E1": -101, "E2": -205, "E4": -411},
    )


async def test_restated_statements_move_no_line_and_no_payout_twice(system: System) -> None:
    """The bank tells the same day in another shape each time."""
    await _pay(system)
    for faults in (
        {"drop_references": True},
        {"split_lines": True},
        {"merge_lines": True, "drop_details": True},
        {"duplicate_lines": True},
        {},
    ):
        system.sandbox.books.set_faults(Faults.model_validate(faults))
        system.now += 1
        await system.read_statements()

    assert (await system.read_statements(), (await _matched(system))[1]) == ({}, PAID)
    assert (await system.states())["E5"] is State.RETURNED


async def test_a_payout_that_no_statement_shows_is_a_break_until_one_does(system: System) -> None:
    system.sandbox.books.set_faults(Faults(delay_statements_s=DAY_S))
    await system.prepare("M1", order("E1", 100))
    await system.tick()
    system.sandbox.books.set_faults(Faults(delay_statements_s=DAY_S))
    assert await system.states() == {"E1": State.PAID}
    await system.read_statements()
    await system.reconciler.run(Comparison.BANK, at_close=True)
    assert "E1" not in await _present(system)

    system.now += 4 * DAY_S - 1
    await system.reconciler.run(Comparison.BANK, at_close=True)
    found = await _present(system)
    assert found["E1"].kind == "PAYOUT_WITHOUT_LINE"
    assert (found["E1"].owner, found["E1"].amount, found["E1"].currency) == ("clearing bank", 100, "CNY")

    system.sandbox.books.set_faults(Faults())
    await system.read_statements()
    assert "E1" not in await _present(system)


async def _present(system: System) -> dict[str, Break]:
    async with system.database.read() as session:
        rows = (await session.execute(select(Break).where(Break.present))).scalars()
        return {row.subject: row for row in rows}


async def test_money_that_left_for_nobody_is_a_break_with_its_lines(system: System) -> None:
    foreign = ISO20022.write_payouts(payout_file("M0", order("X1", 70)))
    assert system.sandbox.receive(foreign, ISO20022).outcome is not None

    assert await system.read_statements() == {"X1": "LINE_WITHOUT_PAYOUT"}
    async with system.database.read() as session:
        found = await told(session, 1)
    assert (found.row.amount, found.row.owner) == (-70, "clearing bank")
    assert [(line.end_to_end_id, line.amount) for line in found.lines] == [("X1", -70)]


async def test_equal_amounts_without_references_are_never_guessed(system: System) -> None:
    await system.prepare("M1", order("E1", 100), order("E2", 100))
    await system.prepare("M2", order("E3", 100))
    await system.tick()
    system.sandbox.books.set_faults(Faults(drop_references=True))
    async with system.database.write() as session:  # as if one had been sent to another bank
        file_id = await payments.prepare(
            session,
            VAULT,
            system.bank.name,
            ISO20022,
            payout_file("M3", order("E4", 100)),
            now=int(system.now),
        )
        await payments.begin_attempt(session, VAULT, file_id, 1, now=int(system.now))
        await payments.accept(session, file_id, now=int(system.now))

    assert Counter((await system.read_statements()).values()) == {"AMBIGUOUS": 3}

    async with system.database.write() as session:
        await session.execute(
            update(BankPayment).where(BankPayment.end_to_end_id == "E4").values(state=State.FAILED)
        )
    assert await system.read_statements() == {}


async def test_one_run_at_a_time(system: System) -> None:
    other = Reconciler(system.database, Terms(), clock=lambda: system.now)
    await other.run(Comparison.BANK)

    with pytest.raises(ReconciliationBusy):
        await system.read_statements()

    await other.release()
    assert await system.read_statements() == {}


async def test_the_stage_looks_at_all_once_a_day_and_shows_what_is_open(system: System) -> None:
    foreign = ISO20022.write_payouts(payout_file("M0", order("X1", 70)))
    system.sandbox.receive(foreign, ISO20022)
    await system.read_statements()
    await system.reconciler.release()
    stage = ReconciliationStage(
        system.database,
        Reconciler(system.database, Terms(), clock=lambda: system.now),
        clock=lambda: system.now,
    )
    for _ in range(2):
        await stage.tick()
    system.now += DAY_S
    await stage.tick()

    async with system.database.read() as session:
        runs = await session.execute(
            select(ReconciliationRun.comparison, ReconciliationRun.at_close).where(ReconciliationRun.at_close)
        )
        assert Counter(row[0] for row in runs) == {"BANK": 2, "INSTRUCTIONS": 2}
    shown = metrics.exposition().decode()
    assert 'fenzhang_breaks_open{kind="LINE_WITHOUT_PAYOUT"} 1.0' in shown
    assert f"fenzhang_breaks_oldest_age_seconds {float(DAY_S)}" in shown
    async with system.database.write() as session:
        await session.execute(update(Break).values(state="RESOLVED"))
    await show(system.database, int(system.now))
    assert "LINE_WITHOUT_PAYOUT" not in metrics.exposition().decode()
