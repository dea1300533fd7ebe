"""What is pending, in order of acceptance, as units that can only be sent whole."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, literal_column, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.domain.records import Capture, Instruction
from fenzhang.store import payloads, tables
from fenzhang.store.bulk import chunks
from fenzhang.store.conditions import WAITING_TYPES
from fenzhang.store.tables import SETTLEMENT_TYPES, InstructionState, InstructionType, TransactionState
from fenzhang.submission.conditions import OpenConditions, load_open
from fenzhang.submission.lanes import Lane
from fenzhang.submission.tracking import LIVE_STATES

ACCEPTED: ColumnElement[str] = literal_column("'ACCEPTED'")
"""Written out: the partial index on open instructions serves only a query that names its condition literally."""
_CAPTURE, _ACCEPTED = InstructionType.CAPTURE.value, InstructionState.ACCEPTED.value
_SETTLEMENT = [kind.value for kind in SETTLEMENT_TYPES]


@dataclass(frozen=True, slots=True)
class Pending:
    """An instruction that waits; `what` goes on chain. `open` is False for one that has its outcome already."""

    seq: int
    platform_id: bytes
    order_id: bytes
    what: Capture | Instruction
    open: bool
    tried_in: int | None
    """Transaction that carried it last."""


@dataclass(frozen=True, slots=True)
class Signed:
    """The authorization that a unit belongs to."""

    id: int
    signer: bytes
    is_attestation: bool
    nonce: int
    deadline: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A unit was in a transaction that reverted: it is tried again with this half of that transaction's units only."""

    transaction_id: int
    half: int


@dataclass(frozen=True, slots=True)
class Unit:
    """What can only be sent together: an authorization's instructions, or one that the keystore has yet to sign."""

    items: tuple[Pending, ...]
    signed: Signed | None
    suspicion: Suspicion | None = None

    @property
    def order_ids(self) -> set[bytes]:
        """Orders that it touches."""
        return {item.order_id for item in self.items}


@dataclass(frozen=True, slots=True)
class Queue:
    """Units in order of acceptance. Orders in `busy` are in a transaction that is not mirrored yet: they wait.

    So do splits and releases of orders whose condition is `open`, unless captures in their transaction complete it.
    """

    units: list[Unit]
    busy: set[bytes]
    open: OpenConditions = field(default_factory=OpenConditions)


async def is_anything_to_do(session: AsyncSession, lane: Lane, senders: Collection[bytes]) -> bool:
    """Whether an instruction of the lane waits, or a transaction of these senders has no end yet."""
    instruction, transaction = tables.Instruction, tables.Transaction
    waits = select(instruction.seq).where(instruction.state == ACCEPTED)
    if not lane.governs:
        waits = waits.where(lane.carries())
    live = select(transaction.id).where(
        transaction.state.in_(LIVE_STATES), transaction.sender.in_(list(senders))
    )
    return bool((await session.execute(select(or_(waits.exists(), live.exists())))).scalar_one())


async def pick(
    session: AsyncSession, lane: Lane, limit: int, expiring: Collection[bytes] = frozenset()
) -> Queue:
    """The next pending captures, splits, releases and returns of a lane, at most `limit`.

    Those of orders that are in flight, or `expiring` now, are passed over, so that they do not fill the limit.
    """
    in_flight = (await _orders_in_flight(session)).union(expiring)
    conditions = await load_open(session)
    rows, last_seq = await _pending_rows(session, lane, limit, in_flight, conditions)
    rows += await _rows_about_to_go(session, rows, limit, in_flight, conditions)
    authorization_ids = sorted({row.authorization_id for row in rows if row.authorization_id is not None})
    signed = await _load_signed(session, authorization_ids)
    members = await _load_members(session, authorization_ids)
    units: list[Unit] = []
    seen: set[int] = set()
    for row in rows:
        if row.authorization_id is None:
            units.append(Unit((_pending(row),), None))
        elif row.authorization_id not in seen:
            seen.add(row.authorization_id)
            units.append(Unit(members[row.authorization_id], signed[row.authorization_id]))
    # A request may capture an order between two instructions that one signature covers: the unit comes after both.
    units.sort(key=lambda unit: max(item.seq for item in unit.items if item.open))
    busy = in_flight & {order for unit in units if unit.signed for order in unit.order_ids}
    if last_seq is not None:
        # What lies beyond the limit was not looked at: it may hold earlier instructions of these orders.
        for unit in units:
            if any(item.open and item.seq > last_seq for item in unit.items):
                busy |= unit.order_ids
    return Queue(await _suspect(session, units), busy, conditions)


async def _rows_about_to_go(
    session: AsyncSession,
    rows: Sequence[Row[Any]],
    limit: int,
    in_flight: set[bytes],
    conditions: OpenConditions,
) -> list[Row[Any]]:
    """At most `limit` instructions that wait for conditions which the captures among `rows` complete."""
    captures = [
        payloads.capture_from(row.payload) for row in rows if row.type == _CAPTURE and conditions.by_key
    ]
    completed = conditions.completed_by(captures)
    orders = {order for order, key in conditions.orders.items() if key in completed} - in_flight
    instruction = tables.Instruction
    found: list[Row[Any]] = []
    for chunk in chunks(sorted(orders)):
        query = (
            _columns()
            .where(instruction.order_id.in_(chunk), instruction.state == ACCEPTED)
            .where(instruction.type.in_(WAITING_TYPES))
            .order_by(instruction.seq)
            .limit(limit)
        )
        found += (await session.execute(query)).all()
    return sorted(found, key=lambda row: int(row.seq))[:limit]


async def _orders_in_flight(session: AsyncSession) -> set[bytes]:
    """Orders with a SUBMITTED instruction: those that live transactions carry."""
    live = select(tables.Transaction.id).where(tables.Transaction.state.in_(LIVE_STATES))
    query = select(tables.Instruction.order_id).where(
        tables.Instruction.transaction_id.in_(live),
        tables.Instruction.state == InstructionState.SUBMITTED.value,
    )
    return {order_id for order_id in (await session.execute(query)).scalars() if order_id is not None}


async def _pending_rows(
    session: AsyncSession, lane: Lane, limit: int, in_flight: set[bytes], conditions: OpenConditions
) -> tuple[list[Row[Any]], int | None]:
    """At most `limit` pending instructions of orders that are not in flight, and how far was looked, None for all.

    Without those that wait for the condition of a captured order.

    Not one query with a condition about other rows of the order: until PostgreSQL has counted a new table's rows, it
    may answer that one in quadratic time.
    """
    found: list[Row[Any]] = []
    after = 0
    while len(found) < limit:
        room = limit - len(found)
        rows = (await session.execute(_pending_query(lane, after, room))).all()
        found += [
            row
            for row in rows
            if row.order_id not in in_flight and not conditions.waits(row.type, row.order_id)
        ]
        if len(rows) < room:
            return found, None
        after = rows[-1].seq
    if len(found) > 1 and found[-1].type == _CAPTURE and found[-1].authorization_id is None:
        # What stands behind it was not looked at; sent alone, it would have that wait until it is mirrored.
        return found[:-1], found[-1].seq - 1
    return found, after


def _pending_query(lane: Lane, after: int, limit: int) -> Select[Any]:
    instruction = tables.Instruction
    return (
        _columns()
        .where(
            instruction.state == ACCEPTED,
            instruction.type.in_(_SETTLEMENT),
            lane.carries(),
            instruction.seq > after,
        )
        .order_by(instruction.seq)
        .limit(limit)
    )


def _columns() -> Select[Any]:
    instruction = tables.Instruction
    return select(
        instruction.seq,
        instruction.type,
        instruction.platform_id,
        instruction.order_id,
        instruction.payload,
        instruction.state,
        instruction.authorization_id,
        instruction.transaction_id,
    )


def _pending(row: Row[Any]) -> Pending:
    seq, kind, platform_id, order_id, payload, state, _, tried_in = tuple(row)
    what = payloads.capture_from(payload) if kind == _CAPTURE else payloads.instruction_from(payload)
    return Pending(seq, platform_id, order_id, what, state == _ACCEPTED, tried_in)


async def _load_signed(session: AsyncSession, ids: Sequence[int]) -> dict[int, Signed]:
    found: dict[int, Signed] = {}
    for chunk in chunks(ids):
        query = select(tables.Authorization).where(tables.Authorization.id.in_(chunk))
        for row in (await session.execute(query)).scalars():
            found[row.id] = Signed(
                id=row.id,
                signer=row.signer,
                is_attestation=row.is_attestation,
                nonce=int.from_bytes(row.nonce, "big"),
                deadline=row.deadline,
                signature=row.signature,
            )
    return found


async def _load_members(session: AsyncSession, ids: Sequence[int]) -> dict[int, tuple[Pending, ...]]:
    """All instructions of authorizations as they were signed, also those that have their outcome already."""
    found: dict[int, list[Pending]] = defaultdict(list)
    instruction = tables.Instruction
    for chunk in chunks(ids):
        query = (
            _columns()
            .where(instruction.authorization_id.in_(chunk))
            .order_by(instruction.authorization_id, instruction.position)
        )
        for row in await session.execute(query):
            found[row.authorization_id].append(_pending(row))
    return {authorization_id: tuple(items) for authorization_id, items in found.items()}


async def _suspect(session: AsyncSession, units: Sequence[Unit]) -> list[Unit]:
    """Mark units whose last transaction reverted: halves of it are tried apart until the culprit is alone."""
    tried = {
        item.tried_in for unit in units if unit.signed for item in unit.items if item.tried_in is not None
    }
    reverted: set[int] = set()
    for chunk in chunks(sorted(tried)):
        query = select(tables.Transaction.id).where(
            tables.Transaction.id.in_(chunk),
            tables.Transaction.state == TransactionState.REVERTED.value,
            # Without a block it did not fail: it was never included.
            tables.Transaction.block_number.is_not(None),
        )
        reverted |= set((await session.execute(query)).scalars())
    if not reverted:
        return list(units)
    together: dict[int, list[int]] = defaultdict(list)
    for place, unit in enumerate(units):
        last = max((item.tried_in or 0 for item in unit.items if item.open), default=0)
        if unit.signed and last in reverted:
            together[last].append(place)
    result = list(units)
    for transaction_id, places in together.items():
        for rank, place in enumerate(places):
            half = 0 if 2 * rank < len(places) else 1
            suspicion = Suspicion(transaction_id, half)
            result[place] = Unit(units[place].items, units[place].signed, suspicion)
    return result
