"""Breaks live on from run to run: what is seen stays one break, what is gone is resolved, what comes back is linked."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select, text, update
from sqlalchemy.exc import DBAPIError

from clearing.bankside import VAULT, order, payout_file
from fenzhang.clearing import payments
from fenzhang.clearing.formats import ISO20022
from fenzhang.clearing.reconciliation import breaks, corrections
from fenzhang.clearing.reconciliation.breaks import NO_LONGER_THERE, Look, Word, register
from fenzhang.clearing.reconciliation.corrections import Named
from fenzhang.clearing.reconciliation.errors import (
    BreakNotExplained,
    BreakReferenceTaken,
    BreakResolved,
    InvalidCorrection,
    UnknownBreak,
)
from fenzhang.clearing.reconciliation.model import Sighting
from fenzhang.clearing.reconciliation.telling import Wanted, counts, page, told
from fenzhang.store.reconciliationtables import (
    Break,
    BreakEvent,
    BreakState,
    Comparison,
    Correction,
    CorrectionTarget,
)
from fenzhang.store.session import Database

pytestmark = pytest.mark.either_database

SUBJECTS = ("A", "B")
SQLITE = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


def sighting(subject: str, amount: int = 100, currency: str | None = "CNY") -> Sighting:
    return Sighting(Comparison.BANK, "PAID_TWICE", subject, currency, amount)


def word(reference: str, note: str = "known", now: int = 50) -> Word:
    return Word("operator", reference, note, now)


async def run(
    database: Database, now: int, *seen: Sighting, covered: tuple[str, ...] = SUBJECTS
) -> tuple[list[int], list[int]]:
    """A run that looked for the breaks of some subjects; numbers of those that it opened and resolved."""
    async with database.write() as session:
        found = await register(session, Look(Comparison.BANK, now), seen, lambda row: row.subject in covered)
    return [row.id for row in found.opened], [row.id for row in found.resolved]


async def events(database: Database, number: int) -> list[tuple[str, str, str | None]]:
    async with database.read() as session:
        return [(each.kind, each.who, each.note) for each in (await told(session, number)).events]


async def test_a_break_is_one_row_as_long_as_it_is_seen(database: Database) -> None:
    assert await run(database, 10, sighting("A")) == ([1], [])
    assert await run(database, 20, sighting("A")) == ([], [])
    assert await run(database, 30, sighting("A", 150)) == ([], [])
    assert await run(database, 40) == ([], [1])

    async with database.read() as session:
        row = (await told(session, 1)).row
    assert (row.first_seen, row.last_seen, row.amount, row.state) == (10, 30, 150, "RESOLVED")
    assert await events(database, 1) == [
        ("OPENED", "run", None),
        ("CHANGED", "run", None),
        ("RESOLVED", "run", NO_LONGER_THERE),
    ]


async def test_what_comes_back_is_a_new_break_linked_to_the_old_one(database: Database) -> None:
    await run(database, 10, sighting("A"))
    await run(database, 20)

    assert await run(database, 30, sighting("A")) == ([2], [])
    async with database.read() as session:
        assert (await told(session, 2)).row.previous_id == 1


async def test_a_run_that_did_not_look_resolves_nothing(database: Database) -> None:
    await run(database, 10, sighting("A"), sighting("B"))

    assert await run(database, 20, covered=("B",)) == ([], [2])


async def test_what_a_person_resolved_stays_resolved_until_it_becomes_something_else(
    database: Database,
) -> None:
    await run(database, 10, sighting("A"))
    async with database.write() as session:
        await breaks.explain(session, 1, word("e1", "a fee"))
        await corrections.resolve(session, 1, word("r1"))

    assert await run(database, 60, sighting("A")) == ([], [])
    assert await run(database, 70, sighting("A", 130)) == ([2], [])
    async with database.read() as session:
        assert (await told(session, 2)).row.previous_id == 1
        assert [row.id for row in (await page(session, Wanted())).breaks] == [2]


async def test_what_is_said_again_is_the_same_and_what_does_not_fit_is_refused(database: Database) -> None:
    await run(database, 10, sighting("A"))
    async with database.write() as session:
        with pytest.raises(BreakNotExplained):
            await corrections.resolve(session, 1, word("r1"))
        assert (await breaks.explain(session, 1, word("e1")))[1]
        assert not (await breaks.explain(session, 1, word("e1", now=99)))[1]
        with pytest.raises(BreakReferenceTaken):
            await breaks.explain(session, 1, word("e1", "something else"))
        assert (await breaks.explain(session, 1, word("e2", "better said")))[1]
        assert (await corrections.resolve(session, 1, word("r1")))[1]
        assert not (await corrections.resolve(session, 1, word("r1")))[1]
        with pytest.raises(BreakReferenceTaken):
            await corrections.resolve(session, 1, word("r1"), Named(CorrectionTarget.BREAK, "1"))
        for work in (breaks.explain, corrections.resolve):
            with pytest.raises(BreakResolved):
                await work(session, 1, word("other"))
        with pytest.raises(UnknownBreak):
            await breaks.explain(session, 7, word("e7"))

    assert [kind for kind, _, _ in await events(database, 1)] == [
        "OPENED",
        "EXPLAINED",
        "EXPLAINED",
        "RESOLVED",
    ]


async def test_a_correction_is_a_row_of_its_own_and_makes_up_for_the_break(database: Database) -> None:
    """The bank paid twice, and the money that came back is a break too: each makes up for the other."""
    await run(database, 10, sighting("A", -100), sighting("B", 100))
    async with database.write() as session:
        await payments.prepare(
            session, VAULT, "bank", ISO20022, payout_file("M1", order("E1", 100), order("E2", 7)), now=1
        )
        for number in (1, 2):
            await breaks.explain(session, number, word(f"e{number}"))
    for target, identity, field in (
        (CorrectionTarget.BREAK, "1", "correction.id"),
        (CorrectionTarget.BREAK, "9", "correction.id"),
        (CorrectionTarget.POSTING, "1", "correction.id"),
        (CorrectionTarget.RECORD, "x", "correction.id"),
        (CorrectionTarget.RECORD, str(2**70), "correction.id"),
        (CorrectionTarget.PAYOUT, "E2", "correction.id"),
        (CorrectionTarget.PAYOUT, "E9", "correction.id"),
    ):
        async with database.write() as session:
            with pytest.raises(InvalidCorrection) as refused:
                await corrections.resolve(session, 1, word("r1"), Named(target, identity))
            await session.rollback()
        assert refused.value.field == field

    async with database.write() as session:
        named = Named(CorrectionTarget.BREAK, "2")
        assert (await corrections.resolve(session, 1, word("r1"), named))[1]
        assert not (await corrections.resolve(session, 1, word("r1"), named))[1]
        await corrections.resolve(session, 2, word("r2"), Named(CorrectionTarget.PAYOUT, "E1"))
    async with database.read() as session:
        found = await corrections.of(session, 1) + await corrections.of(session, 2)
        assert [(each.target, each.target_id, each.currency, each.amount) for each in found] == [
            ("break", "2", "CNY", 100),
            ("payout", "E1", "CNY", 100),
        ]


async def test_what_happened_to_a_break_cannot_be_changed(database: Database) -> None:
    await run(database, 10, sighting("A"))
    async with database.write() as session:
        await breaks.explain(session, 1, word("e1"))
        await corrections.resolve(session, 1, word("r1"))
        session.add(Correction(break_id=1, event_id=1, target="break", target_id="1"))
    for statement in (
        update(BreakEvent).values(note="nothing"),
        delete(BreakEvent),
        update(Correction).values(target_id="2"),
        delete(Correction),
        text(
            "INSERT OR REPLACE INTO corrections (id, break_id, event_id, target, target_id) VALUES (1,1,1,'x','y')"
        )
        if database.is_sqlite
        else text("TRUNCATE corrections"),
    ):
        with pytest.raises(DBAPIError, match="never changed or deleted"):
            async with database.write() as session:
                await session.execute(statement)


async def test_breaks_are_counted_by_kind_owner_and_currency(database: Database) -> None:
    await run(database, 10, sighting("A", -(2**63)))
    await run(database, 20, sighting("A", -(2**63)), sighting("B", -(2**63)), sighting("A", 5, "EUR"))

    async with database.read() as session:
        found = [
            (each.kind, each.currency, each.count, each.amount, each.oldest) for each in await counts(session)
        ]
        first = await page(session, Wanted(currency="CNY"), limit=1)
        second = await page(session, Wanted(currency="CNY"), after=first.next or 0, limit=1)
    assert found == [("PAID_TWICE", "CNY", 2, -(2**64), 10), ("PAID_TWICE", "EUR", 1, 5, 20)]
    assert [[row.subject for row in each.breaks] for each in (first, second)] == [["A"], ["B"]]
    assert second.next is None


# ------------------------------------------------------------------------------ any history


@dataclass(frozen=True)
class Step:
    """A run that sees breaks of these amounts, or a word about the newest break of a subject."""

    seen: dict[str, int]
    said: tuple[str, str] | None = None


steps = st.builds(
    Step,
    st.dictionaries(st.sampled_from(SUBJECTS), st.sampled_from((100, 200))),
    st.none() | st.tuples(st.sampled_from(("explain", "resolve")), st.sampled_from(SUBJECTS)),
)


@given(st.lists(steps, max_size=10))
@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_any_history_of_runs_and_words(migrated_sqlite: Path, history: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(migrated_sqlite, Path(folder) / "fenzhang.db")
        asyncio.run(_live(f"sqlite:///{folder}/fenzhang.db", history))


async def _live(url: str, history: list[Step]) -> None:
    """Against a model: for each subject the chain of its breaks as [state, amount, present]."""
    model: dict[str, list[list[object]]] = {subject: [] for subject in SUBJECTS}
    async with Database(url) as database:
        for now, step in enumerate(history, 1):
            if step.said is None:
                await run(database, now, *(sighting(name, amount) for name, amount in step.seen.items()))
                _run_model(model, step.seen)
            else:
                await _say(database, model, now, *step.said)
            await _compare(database, model)


def _run_model(model: dict[str, list[list[object]]], seen: dict[str, int]) -> None:
    for subject, chain in model.items():
        newest = chain[-1] if chain and chain[-1][2] else None
        if newest is not None and (
            subject not in seen or (newest[0] == BreakState.RESOLVED and newest[1] != seen[subject])
        ):
            newest[0], newest[2] = BreakState.RESOLVED, False
            newest = None
        if subject in seen:
            if newest is None:
                chain.append([BreakState.OPEN, seen[subject], True])
            else:
                newest[1] = seen[subject]


async def _say(
    database: Database, model: dict[str, list[list[object]]], now: int, what: str, subject: str
) -> None:
    async with database.read() as session:
        numbers = select(Break.id).where(Break.subject == subject).order_by(Break.id.desc()).limit(1)
        number = (await session.execute(numbers)).scalar()
    if number is None:
        return
    newest = model[subject][-1]
    allowed = newest[0] != BreakState.RESOLVED if what == "explain" else newest[0] == BreakState.EXPLAINED
    async with database.write() as session:
        work = breaks.explain if what == "explain" else breaks.resolve
        if not allowed:
            with pytest.raises((BreakResolved, BreakNotExplained)):
                await work(session, number, word(f"w{now}"))
            return
        await work(session, number, word(f"w{now}"))
    newest[0] = BreakState.EXPLAINED if what == "explain" else BreakState.RESOLVED


async def _compare(database: Database, model: dict[str, list[list[object]]]) -> None:
    async with database.read() as session:
        rows = (await session.execute(select(Break).order_by(Break.id))).scalars().all()
        happened = (await session.execute(select(BreakEvent).order_by(BreakEvent.id))).scalars().all()
    for subject, chain in model.items():
        own = [row for row in rows if row.subject == subject]
        assert [[row.state, row.amount, row.present] for row in own] == chain
        assert [row.previous_id for row in own] == [None, *(row.id for row in own)][: len(own)]
        for row in own:
            kinds = [event.kind for event in happened if event.break_id == row.id]
            assert kinds[0] == "OPENED"
            assert kinds.count("OPENED") == 1
            assert kinds.count("RESOLVED") == (row.state == BreakState.RESOLVED)
            assert ("EXPLAINED" in kinds) >= (row.state == BreakState.EXPLAINED)
