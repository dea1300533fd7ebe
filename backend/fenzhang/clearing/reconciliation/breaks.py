"""Breaks as they live on from run to run, and what people say about them. Functions with a session do not commit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.clearing.model import check_text
from fenzhang.clearing.reconciliation.errors import (
    BreakNotExplained,
    BreakReferenceTaken,
    BreakResolved,
    InvalidNote,
    UnknownBreak,
)
from fenzhang.clearing.reconciliation.model import Sighting, Sign, Standing, after
from fenzhang.domain.errors import InvalidInput
from fenzhang.domain.identifiers import check_reference
from fenzhang.store.bulk import chunks
from fenzhang.store.reconciliationtables import (
    Break,
    BreakEvent,
    BreakEventKind,
    BreakState,
    Comparison,
    ReconciliationRun,
    StatementLineRow,
)

NO_LONGER_THERE: Final = "no longer there"
_RUN, _SETTINGS = "run", "settings"
LONGEST_NOTE: Final = 1_000

Covers = Callable[[Break], bool]
"""Whether a run looked for a break; what it did not look for is left as it is."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a run looked at, and when (Unix seconds)."""

    comparison: Comparison
    now: int
    at_close: bool = False
    looked_at: int = 0
    matched: int = 0


@dataclass(frozen=True, slots=True)
class Registered:
    """What a run changed."""

    opened: tuple[Break, ...]
    resolved: tuple[Break, ...]


async def register(
    session: AsyncSession, look: Look, sightings: Sequence[Sighting], covers: Covers
) -> Registered:
    """Keep what a run saw. Breaks that it looked for and did not see are resolved; what comes back is a new one.

    One that runs at a time registers for a comparison: the caller holds its lease.
    """
    seen = {sighting.key: sighting for sighting in sightings}
    here = await _present(session, look.comparison)
    vanished = [row for key, row in here.items() if key not in seen and covers(row)]
    changed = [row for key, row in here.items() if key in seen and row.amount != seen[key].amount]
    over = [row for row in changed if _next(row, Sign.SEEN_CHANGED) is None]
    unknown = [sighting for key, sighting in seen.items() if key not in here]
    unknown += [seen[row.key] for row in over]
    run_id = None
    if look.at_close or vanished or changed or unknown:
        run_id = await _store_run(session, look, len(unknown), len(vanished))
    for row in vanished + over:
        _end(session, row, look, run_id)
    await session.flush()  # before those that take their place
    for row in changed:
        if row not in over:
            _change(session, row, seen[row.key], look, run_id)
    for key, row in here.items():
        if key in seen and row not in over:
            row.last_seen, row.details = look.now, seen[key].details
    opened = [await _open(session, sighting, look, run_id) for sighting in unknown]
    await session.flush()
    await _tie_lines(session, {row.key: row.id for row in (*here.values(), *opened) if row.present}, seen)
    return Registered(tuple(opened), tuple(vanished))


async def _present(session: AsyncSession, comparison: Comparison) -> dict[bytes, Break]:
    # Locked: what somebody says about one of them comes before this run or after it.
    query = select(Break).where(Break.comparison == comparison, Break.present).with_for_update()
    return {row.key: row for row in (await session.execute(query)).scalars()}


def _next(row: Break, sign: Sign) -> Standing | None:
    return after(Standing(BreakState(row.state), row.present), sign)


async def _store_run(session: AsyncSession, look: Look, opened: int, resolved: int) -> int:
    run = ReconciliationRun(
        comparison=look.comparison.value,
        at_close=look.at_close,
        at=look.now,
        looked_at=look.looked_at,
        matched=look.matched,
        opened=opened,
        resolved=resolved,
    )
    session.add(run)
    await session.flush()
    return run.id


def _end(session: AsyncSession, row: Break, look: Look, run_id: int | None) -> None:
    """It is gone; who resolved it before said all that there is to say."""
    if row.state != BreakState.RESOLVED:
        kind = BreakEventKind.RESOLVED.value
        session.add(
            BreakEvent(break_id=row.id, kind=kind, at=look.now, who=_RUN, run_id=run_id, note=NO_LONGER_THERE)
        )
    row.state, row.present = BreakState.RESOLVED.value, False


def _change(session: AsyncSession, row: Break, sighting: Sighting, look: Look, run_id: int | None) -> None:
    row.amount = sighting.amount
    kind = BreakEventKind.CHANGED.value
    session.add(
        BreakEvent(break_id=row.id, kind=kind, at=look.now, who=_RUN, run_id=run_id, amount=sighting.amount)
    )


async def _open(session: AsyncSession, sighting: Sighting, look: Look, run_id: int | None) -> Break:
    previous = select(func.max(Break.id)).where(Break.key == sighting.key)
    explained = sighting.explanation is not None
    row = Break(
        key=sighting.key,
        comparison=sighting.comparison.value,
        kind=sighting.kind,
        subject=sighting.subject,
        currency=sighting.currency,
        amount=sighting.amount,
        details=sighting.details,
        owner=sighting.owner.value,
        state=(BreakState.EXPLAINED if explained else BreakState.OPEN).value,
        present=True,
        first_seen=look.now,
        last_seen=look.now,
        explanation=sighting.explanation,
        explained_by=_SETTINGS if explained else None,
        previous_id=(await session.execute(previous)).scalar(),
    )
    session.add(row)
    await session.flush()
    events: list[tuple[BreakEventKind, str, str | None]] = [(BreakEventKind.OPENED, _RUN, None)]
    if explained:
        events.append((BreakEventKind.EXPLAINED, _SETTINGS, sighting.explanation))
    for kind, who, note in events:
        session.add(
            BreakEvent(
                break_id=row.id,
                kind=kind.value,
                at=look.now,
                who=who,
                run_id=run_id,
                note=note,
                amount=sighting.amount,
            )
        )
    return row


async def _tie_lines(session: AsyncSession, ids: dict[bytes, int], seen: dict[bytes, Sighting]) -> None:
    """A line belongs to the break that it is part of now."""
    tied = StatementLineRow.break_id
    for key, sighting in seen.items():
        for part in chunks(sighting.lines):
            await session.execute(
                update(StatementLineRow)
                .where(StatementLineRow.id.in_(part), or_(tied.is_(None), tied != ids[key]))
                .values(break_id=ids[key])
                .execution_options(synchronize_session=False)
            )


# ------------------------------------------------------------------------------ what people say


@dataclass(frozen=True, slots=True)
class Word:
    """What somebody says about a break, under a reference of their own: the same again is the same."""

    who: str
    reference: str
    note: str
    now: int
    field: str = "note"
    """How the note is called where it comes from."""

    def __post_init__(self) -> None:
        check_reference("out_request_no", self.reference)
        try:
            check_text(self.field, self.note, LONGEST_NOTE)
        except InvalidInput:
            problem = f"1 to {LONGEST_NOTE} characters, no control characters, no space at either end"
            raise InvalidNote(self.field, problem) from None


async def get(session: AsyncSession, number: int, *, lock: bool = False) -> Break:
    """A break. Raises UnknownBreak."""
    query = select(Break).where(Break.id == number)
    found = (await session.execute(query.with_for_update() if lock else query)).scalar_one_or_none()
    if found is None:
        raise UnknownBreak(number)
    return found


async def explain(session: AsyncSession, number: int, word: Word) -> tuple[Break, bool]:
    """Say what a break is; whether that is new. It may be said anew until the break is resolved.

    Raises UnknownBreak, BreakResolved, BreakReferenceTaken.
    """
    row = await get(session, number, lock=True)
    if await said_before(session, number, BreakEventKind.EXPLAINED, word):
        return row, False
    standing = _next(row, Sign.EXPLAIN)
    if standing is None:
        raise BreakResolved(f"break {number} is resolved", break_id=number)
    row.state = standing.state.value
    row.explanation, row.explained_by = word.note, word.who
    await tell(session, row, BreakEventKind.EXPLAINED, word)
    return row, True


async def resolve(session: AsyncSession, number: int, word: Word) -> tuple[Break, BreakEvent | None]:
    """Nothing more is to be done about a break; the event, None if that was said before.

    Raises UnknownBreak, BreakResolved, BreakNotExplained, BreakReferenceTaken.
    """
    row = await get(session, number, lock=True)
    if await said_before(session, number, BreakEventKind.RESOLVED, word):
        return row, None
    if row.state == BreakState.RESOLVED:
        raise BreakResolved(f"break {number} is resolved", break_id=number)
    standing = _next(row, Sign.RESOLVE)
    if standing is None:
        raise BreakNotExplained(f"break {number} is not explained yet", break_id=number)
    row.state = standing.state.value
    return row, await tell(session, row, BreakEventKind.RESOLVED, word)


async def said_before(session: AsyncSession, number: int, kind: BreakEventKind, word: Word) -> bool:
    """Whether this is said again. Raises BreakReferenceTaken where something else was."""
    query = select(BreakEvent).where(BreakEvent.who == word.who, BreakEvent.reference == word.reference)
    known = (await session.execute(query)).scalar_one_or_none()
    if known is None:
        return False
    if (known.break_id, known.kind, known.note) != (number, kind.value, word.note):
        raise BreakReferenceTaken(
            f"out_request_no {word.reference} was used for something else", field="out_request_no"
        )
    return True


async def tell(session: AsyncSession, row: Break, kind: BreakEventKind, word: Word) -> BreakEvent:
    """Write down what somebody said."""
    event = BreakEvent(
        break_id=row.id,
        kind=kind.value,
        at=word.now,
        who=word.who,
        note=word.note,
        amount=row.amount,
        reference=word.reference,
    )
    session.add(event)
    await session.flush()
    return event
