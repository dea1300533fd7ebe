"""A booked line is kept once, however often and in whatever pieces the bank tells it."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from clearing.bankside import NOON, SHOP, VAULT, account
from fenzhang.clearing.accounts import reencrypt
from fenzhang.clearing.model import LinePart, LineStatus, Statement, StatementLine, booked_sum
from fenzhang.clearing.reconciliation import lines
from fenzhang.clearing.reconciliation.running import Reconciler
from fenzhang.clearing.reconciliation.terms import Terms
from fenzhang.clearing.vault import Vault
from fenzhang.store.reconciliationtables import (
    BankStatement,
    Break,
    Comparison,
    CustodyAccount,
    StatementLineRow,
)
from fenzhang.store.session import Database

pytestmark = pytest.mark.either_database

DAY = date(2026, 11, 22)
MADE = datetime.fromtimestamp(NOON, UTC)


def line(
    amount: int, name: str | None = None, reference: str | None = None, day: date = DAY
) -> StatementLine:
    parts = () if name is None else (LinePart(amount, name),)
    return StatementLine(amount, LineStatus.BOOKED, day, reference, parts)


def statement(
    *told: StatementLine, opening: int = 0, first: date = DAY, last: date | None = None, made: int = 0
) -> Statement:
    at = MADE + timedelta(seconds=made)
    closing = opening + booked_sum(told)
    return Statement(f"S-{made}", at, SHOP.account, "CNY", first, last or first, opening, closing, told)


async def store(database: Database, *statements: Statement, bank: str = "bank") -> None:
    for each in statements:
        async with database.write() as session:
            await lines.store(session, VAULT, bank, lines.Told.of(each))


async def shown(database: Database) -> Counter[tuple[int, str | None]]:
    async with database.read() as session:
        query = select(StatementLineRow.amount, StatementLineRow.end_to_end_id).where(StatementLineRow.shown)
        return Counter((row[0], row[1]) for row in await session.execute(query))


async def breaks(database: Database, *, at_close: bool = False) -> dict[str, int | None]:
    """Kinds and amounts after a run."""
    reconciler = Reconciler(database, Terms(), clock=lambda: NOON)
    await reconciler.run(Comparison.BANK, at_close=at_close)
    await reconciler.release()
    async with database.read() as session:
        rows = await session.execute(select(Break.kind, Break.amount).where(Break.present))
        return {row[0]: row[1] for row in rows}


async def test_a_statement_that_comes_again_changes_nothing(database: Database) -> None:
    told = statement(line(-100, "E1", "B1"), line(-100, "E1", "B1"), line(70))
    await store(database, told, replace(told, statement_id="S-9", created_at=MADE + timedelta(1)))

    assert await shown(database) == {(-100, "E1"): 2, (70, None): 1}


async def test_a_newer_edition_adds_lines_and_takes_away_those_that_it_does_not_show(
    database: Database,
) -> None:
    first = statement(line(-100, "E1", "B1"), line(-50, "E2", "B2"))
    second = statement(line(-60, "E1", "B1"), line(-40, "E1", "B1"), line(-50, "E2", "B2"), line(-7), made=1)
    await store(database, first, second, first)

    assert await shown(database) == {(-60, "E1"): 1, (-40, "E1"): 1, (-50, "E2"): 1, (-7, None): 1}
    await store(database, replace(first, created_at=MADE + timedelta(seconds=2)))
    assert await shown(database) == {(-100, "E1"): 1, (-50, "E2"): 1}


@pytest.mark.parametrize("turned", [False, True])
async def test_a_statement_that_goes_on_where_another_ended_is_one_of_its_own(
    database: Database, *, turned: bool
) -> None:
    morning = statement(line(-100), line(30))
    evening = statement(line(-100), opening=-70, made=1)
    await store(database, *([evening, morning] if turned else [morning, evening]), morning, evening)

    assert await shown(database) == {(-100, None): 2, (30, None): 1}
    assert "BALANCE_GAP" not in await breaks(database)


async def test_what_overlaps_is_kept_once_and_is_a_break(database: Database) -> None:
    next_day = DAY + timedelta(1)
    first = statement(line(-100, "X1", "B1"))
    both = statement(line(-100, "X1", "B1"), line(-20, "X2", "B2", next_day), last=next_day, made=1)
    await store(database, first, both, first, both)

    assert await shown(database) == {(-100, "X1"): 1, (-20, "X2"): 1}
    assert "STATEMENT_OVERLAP" in await breaks(database)


async def test_a_gap_between_balances_is_a_break_until_the_missing_statement_comes(
    database: Database,
) -> None:
    days = [DAY + timedelta(each) for each in range(3)]
    told = [
        statement(line(100, day=days[0]), first=days[0]),
        statement(line(40, day=days[1]), opening=100, first=days[1]),
        statement(line(-5, "X", day=days[2]), opening=140, first=days[2]),
    ]
    await store(database, told[0], told[2])
    assert (await breaks(database))["BALANCE_GAP"] == 40

    await store(database, told[1])
    assert "BALANCE_GAP" not in await breaks(database)


async def test_accounts_and_banks_are_kept_apart_and_their_numbers_cannot_be_read(database: Database) -> None:
    told = statement(line(-100, "X1", "B1"))
    other = replace(told, account=account("6222000000000077", "x").account)
    await store(database, told, other)
    await store(database, told, bank="elsewhere")

    assert await shown(database) == {(-100, "X1"): 3}
    newer = Vault([b"n" * 32, b"k" * 32])
    async with database.write() as session:
        assert await reencrypt(session, newer) == 3
        assert await reencrypt(session, newer) == 0
        rows = (await session.execute(select(CustodyAccount))).scalars().all()
        assert {lines.account_number(Vault([b"n" * 32]), row) for row in rows} == {
            told.account,
            other.account,
        }
        assert not any(told.account.number.encode() in row.sealed for row in rows)


async def test_captured_money_is_compared_in_total_at_close(database: Database) -> None:
    await store(database, statement(line(500), opening=70))

    assert await breaks(database) == {}
    assert await breaks(database, at_close=True) == {"CUSTODY_DIFFERS": 570}


async def test_captures_that_are_not_on_statements_are_explained_only_where_the_terms_say_so(
    database: Database,
) -> None:
    await store(database, statement(opening=500))
    reconciler = Reconciler(database, Terms(statements_show_captures=False), clock=lambda: NOON)
    await reconciler.run(Comparison.BANK, at_close=True)

    async with database.read() as session:
        [row] = (await session.execute(select(Break))).scalars()
    assert (row.kind, row.state, row.explained_by, row.explanation) == (
        "CUSTODY_DIFFERS",
        "EXPLAINED",
        "settings",
        "not part of payout statements",
    )


# ------------------------------------------------------------------------------ any order of documents

told_lines = st.lists(
    st.builds(
        line,
        st.sampled_from((-100, -50, 30)),
        st.sampled_from((None, "X1", "X2")),
        st.sampled_from(("B1", "B2")),
    ),
    min_size=1,
    max_size=6,
)


@given(told_lines, st.lists(st.integers(0, 6), min_size=1, max_size=6))
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_a_day_that_is_told_in_any_number_of_growing_editions(
    migrated_sqlite: Path, day: list[StatementLine], cuts: list[int]
) -> None:
    """Editions of a day grow as the day does, and come in any order and again: the longest one counts."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(migrated_sqlite, Path(folder) / "fenzhang.db")
        asyncio.run(_told(f"sqlite:///{folder}/fenzhang.db", day, cuts))


async def _told(url: str, day: list[StatementLine], cuts: list[int]) -> None:
    lengths = [min(cut, len(day)) for cut in cuts] + [len(day)]
    async with Database(url) as database:
        for length in lengths:
            await store(database, statement(*day[:length], made=length))
        expected = Counter((each.amount, each.parts[0].end_to_end_id if each.parts else None) for each in day)
        assert await shown(database) == expected
        async with database.read() as session:
            [row] = (await session.execute(select(BankStatement))).scalars()
            assert row.closing == booked_sum(day)
        await breaks(database)
        async with database.read() as session:
            rows = (await session.execute(select(StatementLineRow))).scalars().all()
            assert all((row.matched_by is None) != (row.break_id is None) for row in rows if row.shown)
