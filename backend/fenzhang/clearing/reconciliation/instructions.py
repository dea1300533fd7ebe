"""What platforms asked for against the ledger: every accepted instruction ends in its record, or in a rejection."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.clearing.reconciliation.comparing import Compared, Context
from fenzhang.clearing.reconciliation.model import BreakKind, Sighting
from fenzhang.domain.records import RecordKind
from fenzhang.store.bulk import chunks
from fenzhang.store.feed import last_id, read_ids
from fenzhang.store.orders import capture_of
from fenzhang.store.payloads import capture_from
from fenzhang.store.reconciliationtables import Break, Comparison
from fenzhang.store.tables import (
    SETTLEMENT_TYPES,
    Block,
    Instruction,
    InstructionState,
    InstructionType,
    Order,
    Record,
    Rejection,
    Transaction,
)

SLICE: Final = 1_000
_RECORDED: Final = frozenset(SETTLEMENT_TYPES)
"""Types whose settlement makes a record of their own id."""
_ACCEPTED: Final[Any] = literal_column("(instructions.state = 'ACCEPTED')")
_LIVE: Final[Any] = literal_column("(transactions.state IN ('SIGNED', 'SENT'))")


class _Asked(NamedTuple):
    """Of an instruction, what is compared."""

    seq: int
    id: bytes
    type: str
    reference: str
    state: str
    payload: dict[str, Any]
    order_id: bytes | None
    accepted_at: int


class _Recorded(NamedTuple):
    """Of a record that is on the chain."""

    number: int
    kind: int
    amount: int
    order_id: bytes


async def compare(context: Context) -> Compared:
    """Look at the instructions that came to an outcome since the last run, and at those that are late; or at all."""
    compared = Compared(covers=lambda _row: True, position=context.position)
    async with context.database.read() as session:
        late = await _late_before(session, context.terms.overdue_blocks)
    if context.at_close:
        async with context.database.read() as session:
            compared.position = await last_id(session)
        await _all(context, late, compared)
    else:
        await _new(context, late, compared)
    return compared


async def _all(context: Context, late: int | None, compared: Compared) -> None:
    behind = 0
    while True:
        await context.go_on()
        async with context.database.read() as session:
            query = select(Instruction.seq).where(Instruction.seq > behind).order_by(Instruction.seq)
            seqs = list((await session.execute(query.limit(SLICE))).scalars())
            if not seqs:
                return
            compared.sightings += await _look(session, seqs, late)
        behind = seqs[-1]
        compared.looked_at += len(seqs)


async def _new(context: Context, late: int | None, compared: Compared) -> None:
    """What completed since, what was a break, and what is late."""
    seen: set[int] = set()
    while True:
        await context.go_on()
        async with context.database.read() as session:
            page = await read_ids(session, compared.position, SLICE)
            if not page:
                break
            seqs = sorted({seq for _, _, seq in page} - seen)
            compared.sightings += await _look(session, seqs, late)
        compared.position = page[-1][0]
        seen |= set(seqs)
    async with context.database.read() as session:
        known = select(Break.details).where(Break.present, Break.comparison == Comparison.INSTRUCTIONS)
        again = {int(details["seq"]) for details in (await session.execute(known)).scalars()}
        again |= set(await _waiting(session, late))
        for part in chunks(sorted(again - seen), SLICE):
            compared.sightings += await _look(session, part, late)
    compared.looked_at += len(seen | again)


async def _late_before(session: AsyncSession, blocks: int) -> int | None:
    """Time of the block after which so many have come: what was accepted before is late. None if there is none."""
    newest = (await session.execute(select(func.max(Block.number)))).scalar()
    if newest is None or newest < blocks:
        return None
    query = select(func.max(Block.timestamp)).where(Block.number <= newest - blocks)
    found: int | None = (await session.execute(query)).scalar()
    return found


async def _waiting(session: AsyncSession, late: int | None) -> list[int]:
    """Instructions that are late and have no outcome: those not sent, and those whose transactions are under way."""
    if late is None:
        return []
    accepted = select(Instruction.seq).where(_ACCEPTED, Instruction.accepted_at < late)
    under_way = select(Instruction.seq).where(
        Instruction.transaction_id.in_(select(Transaction.id).where(_LIVE)),
        Instruction.state == InstructionState.SUBMITTED,
        Instruction.accepted_at < late,
    )
    return [
        *(await session.execute(accepted)).scalars(),
        *(await session.execute(under_way)).scalars(),
    ]


async def _look(session: AsyncSession, seqs: Sequence[int], late: int | None) -> list[Sighting]:
    columns = (
        Instruction.seq,
        Instruction.id,
        Instruction.type,
        Instruction.reference,
        Instruction.state,
        Instruction.payload,
        Instruction.order_id,
        Instruction.accepted_at,
    )
    rows = await session.execute(select(*columns).where(Instruction.seq.in_(seqs)))
    asked = [_Asked(*row) for row in rows]
    records = await _records(session, asked)
    refused = select(Rejection.instruction_seq).where(Rejection.instruction_seq.in_(seqs))
    rejected = set((await session.execute(refused)).scalars())
    captures = [each.id for each in asked if each.type == InstructionType.CAPTURE]
    orders = select(Order).where(Order.order_id.in_(captures))
    captured = {order.order_id: order for order in (await session.execute(orders)).scalars()}
    found: list[Sighting] = []
    for each in asked:
        match each.state:
            case InstructionState.SETTLED if each.type in _RECORDED:
                found += _of_settled(each, records[each.id], captured.get(each.id))
            case InstructionState.REJECTED if each.seq not in rejected:
                if not any(record.kind == RecordKind.REJECTION for record in records[each.id]):
                    found.append(_sighting(each, BreakKind.OUTCOME_DIFFERS, problem="no rejection is kept"))
            case InstructionState.ACCEPTED | InstructionState.SUBMITTED:
                if late is not None and each.accepted_at < late:
                    found.append(_sighting(each, BreakKind.INSTRUCTION_OVERDUE, state=each.state))
    return found


async def _records(session: AsyncSession, asked: Sequence[_Asked]) -> defaultdict[bytes, list[_Recorded]]:
    columns = (Record.instruction_id, Record.id, Record.kind, Record.amount, Record.order_id)
    of_orders = Record.order_id.in_({each.order_id for each in asked if each.order_id is not None})
    query = select(*columns).where(of_orders, Record.instruction_id.in_([each.id for each in asked]))
    query = query.where(Record.canonical)
    found: defaultdict[bytes, list[_Recorded]] = defaultdict(list)
    for instruction_id, number, kind, amount, order_id in await session.execute(query):
        found[instruction_id].append(_Recorded(number, kind, amount, order_id))
    return found


def _of_settled(asked: _Asked, records: Sequence[_Recorded], order: Order | None) -> list[Sighting]:
    """Its one record, of the amount that it names. A capture also has an order, as it was attested."""
    own = [each for each in records if each.kind == RecordKind[asked.type]]
    if len(own) != 1:
        problem = f"it has {len(own)} records in place of one"
        return [_sighting(asked, BreakKind.OUTCOME_DIFFERS, problem=problem)]
    found = [] if asked.type != InstructionType.CAPTURE else _of_capture(asked, order)
    amount, recorded = _amount_asked(asked), own[0].amount
    if amount is not None and recorded != amount:
        told = {"asked": str(amount), "recorded": str(recorded), "record": str(own[0].number)}
        currency = None if order is None else order.currency
        found.insert(0, _sighting(asked, BreakKind.AMOUNT_DIFFERS, currency, recorded - amount, **told))
    return found[:1]


def _of_capture(asked: _Asked, order: Order | None) -> list[Sighting]:
    """What was attested, against the order as it is kept."""
    if order is None:
        return [_sighting(asked, BreakKind.OUTCOME_DIFFERS, problem="its order is not there")]
    attested, kept = capture_from(asked.payload), capture_of(order)
    if attested.currency != kept.currency:
        told = {"attested": attested.currency, "kept": kept.currency}
        return [_sighting(asked, BreakKind.CURRENCY_DIFFERS, kept.currency, kept.amount, **told)]
    if attested.amount != kept.amount:
        told = {"asked": str(attested.amount), "kept": str(kept.amount)}
        difference = kept.amount - attested.amount
        return [_sighting(asked, BreakKind.AMOUNT_DIFFERS, kept.currency, difference, **told)]
    if attested != kept:
        return [_sighting(asked, BreakKind.OUTCOME_DIFFERS, problem="its order is not as it was attested")]
    return []


def _amount_asked(asked: _Asked) -> int | None:
    """None where the chain decides it: a release gives what is held."""
    if asked.type == InstructionType.RELEASE:
        return None
    amount = asked.payload.get("amount")
    return amount if isinstance(amount, int) and amount > 0 else None


def _sighting(
    asked: _Asked,
    kind: BreakKind,
    currency: str | None = None,
    amount: int | None = None,
    /,
    **details: Any,
) -> Sighting:
    told = details | {"seq": asked.seq, "reference": asked.reference}
    subject = f"{asked.type} {asked.reference} #{asked.seq}"
    return Sighting(Comparison.INSTRUCTIONS, kind.value, subject, currency, amount, told)
