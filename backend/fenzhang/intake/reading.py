"""What a platform may read of its own: instructions, and what the mirror knows of its orders and splits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.domain import identifiers
from fenzhang.domain.records import NOTHING, RecordKind
from fenzhang.domain.suspense import suspense_id
from fenzhang.intake.conditions import ConditionReading, condition_with_id
from fenzhang.intake.errors import Unknown, UnknownInstruction, UnknownOrderReference, UnknownSplitReference
from fenzhang.intake.freezes import freezes_of
from fenzhang.intake.once import find
from fenzhang.store.bulk import chunks
from fenzhang.store.orders import capture_of
from fenzhang.store.payloads import capture_from
from fenzhang.store.sums import half_sums, whole
from fenzhang.store.tables import Allocation, Freeze, Instruction, InstructionType, Order, Participant, Record

_UNKNOWN: dict[InstructionType, type[Unknown]] = {
    InstructionType.CAPTURE: UnknownOrderReference,
    InstructionType.SPLIT: UnknownSplitReference,
}


@dataclass(frozen=True, slots=True)
class Leaf:
    """One leaf of a settled record, minor units; `returned` and `refunded` is what was taken back from it."""

    recipient: bytes
    amount: int
    returned: int = 0
    refunded: int = 0


@dataclass(frozen=True, slots=True)
class OrderReading:
    """An order: its capture, what the chain holds for it now, and everything the platform wrote about it, in order.

    `order` is None until the capture is mirrored.
    """

    capture: Instruction | None
    order: Order | None
    instructions: Sequence[Instruction]
    leaves: dict[bytes, list[Leaf]]
    """Allocations of each settled split, by split id."""
    totals: dict[RecordKind, int]
    """Sum of the settled amounts per kind, minor units."""
    expired: int
    """What of it was released by expiry, minor units."""
    missed: int
    """What of it was refunded because its condition was missed, minor units."""
    freezes: dict[bytes, list[Freeze]]
    """What is frozen of the order and its splits, by id."""
    condition: ConditionReading | None


@dataclass(frozen=True, slots=True)
class Terms:
    """What an order was captured with."""

    order_id: bytes
    currency: str
    merchant: bytes
    rule_id: bytes
    rule_version: int
    bindings: tuple[bytes, ...]
    hold_until: int
    expires_at: int
    amount: int
    facts: bytes


def terms_of(reading: OrderReading) -> Terms:
    """The terms of an order: as mirrored, else as asked."""
    order = reading.order
    if order is not None:
        captured = capture_of(order)
    elif reading.capture is not None:
        captured = capture_from(reading.capture.payload)
    else:
        raise ValueError("a reading has an order or its capture")
    return Terms(
        captured.order_id,
        captured.currency,
        captured.merchant,
        captured.rule_id,
        captured.rule_version,
        captured.bindings,
        captured.hold_until,
        captured.expires_at,
        captured.amount,
        captured.facts,
    )


async def instruction_named(
    session: AsyncSession, namespace: bytes, kind: InstructionType, reference: str
) -> Instruction:
    """An instruction. Raises UnknownOrderReference, UnknownSplitReference or UnknownInstruction."""
    found = await find(session, namespace, kind, reference)
    if found is None:
        raise _UNKNOWN.get(kind, UnknownInstruction)(reference)
    return found


async def leaves_of(session: AsyncSession, instructions: Sequence[Instruction]) -> dict[bytes, list[Leaf]]:
    """Allocations of settled splits, releases and returns by instruction id, in leaf order; takes of refunds.

    A refund that found no leaf has an empty list.
    """
    ids = [instruction.id for instruction in instructions if instruction.type != InstructionType.CAPTURE]
    amounts: dict[bytes, list[tuple[bytes, int]]] = defaultdict(list)
    returned: dict[tuple[bytes, int], int] = {}
    settled = (RecordKind.SPLIT, RecordKind.RELEASE, RecordKind.RETURN, RecordKind.REFUND)
    # Records, those of returns as well, are found by their order: the index is on it.
    orders = {instruction.order_id for instruction in instructions if instruction.order_id is not None}
    refunded = await refunded_leaves(session, orders)
    for chunk in chunks(ids):
        query = (
            select(Record.instruction_id, Allocation.recipient, Allocation.amount)
            .join(Allocation, Record.id == Allocation.record_id, isouter=True)
            .where(Record.order_id.in_(orders), Record.instruction_id.in_(chunk))
            .where(Record.canonical.is_(True), Record.kind.in_(settled))
            .order_by(Record.instruction_id, Allocation.leaf)
        )
        for instruction_id, recipient, amount in await session.execute(query):
            leaves = amounts[instruction_id]
            if recipient is not None:
                leaves.append((recipient, amount))
        taken = (
            select(Record.split_id, Allocation.leaf, func.sum(Allocation.amount))
            .join(Record, Record.id == Allocation.record_id)
            .where(
                Record.split_id.in_(chunk),
                Record.canonical.is_(True),
                Record.kind == RecordKind.RETURN,
                Record.order_id.in_(orders),
            )
            .group_by(Record.split_id, Allocation.leaf)
        )
        for split_id, leaf, total in await session.execute(taken):
            returned[split_id or b"", leaf] = int(total)
    return {
        instruction_id: [
            Leaf(
                recipient,
                amount,
                returned.get((instruction_id, leaf), 0),
                refunded.get((instruction_id, leaf), 0),
            )
            for leaf, (recipient, amount) in enumerate(found)
        ]
        for instruction_id, found in amounts.items()
    }


async def refunded_leaves(
    session: AsyncSession, order_ids: Collection[bytes]
) -> dict[tuple[bytes, int], int]:
    """What refunds took from each leaf of splits and releases, by instruction id and leaf."""
    found: defaultdict[tuple[bytes, int], int] = defaultdict(int)
    for chunk in chunks(sorted(order_ids)):
        refunds = select(Record.order_id).where(
            Record.order_id.in_(chunk), Record.canonical.is_(True), Record.kind == RecordKind.REFUND
        )
        refunded = sorted(set((await session.execute(refunds)).scalars()))
        query = (
            select(Record.order_id, Record.kind, Record.instruction_id, Allocation.leaf, Allocation.amount)
            .join(Record, Record.id == Allocation.record_id)
            .where(
                Record.order_id.in_(refunded),
                Record.canonical.is_(True),
                Record.kind.in_((RecordKind.SPLIT, RecordKind.RELEASE, RecordKind.REFUND)),
            )
            .order_by(Record.id, Allocation.leaf)
        )
        leaves: defaultdict[bytes, list[tuple[bytes, int]]] = defaultdict(list)
        for order_id, kind, instruction_id, leaf, amount in await session.execute(query) if refunded else ():
            if kind == RecordKind.REFUND:
                found[leaves[order_id][leaf]] += amount
            else:
                leaves[order_id].append((instruction_id, leaf))
    return found


async def order_named(session: AsyncSession, platform_id: bytes, reference: str) -> OrderReading:
    """An order of the platform. Raises UnknownOrderReference."""
    order_id = identifiers.order_id(platform_id, reference)
    order = await session.get(Order, order_id)
    if order is not None and order.platform_id != platform_id:
        order = None  # ids are the attestor's word: somebody else's order may bear this one
    written = (
        select(Instruction)
        .where(Instruction.order_id == order_id, Instruction.platform_id == platform_id)
        .order_by(Instruction.seq)
    )
    instructions = (await session.execute(written)).scalars().all()
    capture = next((i for i in instructions if i.type == InstructionType.CAPTURE), None)
    if capture is None and order is None:
        raise UnknownOrderReference(reference)
    by_order = (
        Record.instruction_id == Record.order_id
    )  # what nobody instructed, a release or refund by `expire`, has the order's id, as a capture has
    query = (
        select(Record.kind, by_order, *half_sums(Record.amount))
        .where(Record.order_id == order_id, Record.canonical.is_(True))
        .group_by(Record.kind, by_order)
    )
    sums = {
        (RecordKind(kind), bool(own)): whole(high, low)
        for kind, own, high, low in await session.execute(query)
    }
    return OrderReading(
        capture=capture,
        order=order,
        instructions=instructions,
        leaves=await leaves_of(session, instructions),
        totals={kind: sums.get((kind, False), 0) + sums.get((kind, True), 0) for kind in RecordKind},
        expired=sums.get((RecordKind.RELEASE, True), 0),
        missed=sums.get((RecordKind.REFUND, True), 0),
        freezes=await freezes_of(session, [order_id, *(i.id for i in instructions)]),
        condition=await _condition(session, platform_id, order, capture),
    )


async def _condition(
    session: AsyncSession, platform_id: bytes, order: Order | None, capture: Instruction | None
) -> ConditionReading | None:
    """What the order waits for, or waited."""
    if order is not None:
        found = order.condition_id or NOTHING
    else:
        found = NOTHING if capture is None else capture_from(capture.payload).condition
    return None if found == NOTHING else await condition_with_id(session, platform_id, found)


async def share_out_of(session: AsyncSession, order_id: bytes, merchant: bytes) -> int:
    """What an order's splits gave to others than its merchant, less what was returned and refunded, minor units."""
    query = (
        select(Record.kind, *half_sums(Allocation.amount))
        .join(Record, Record.id == Allocation.record_id)
        .where(Record.order_id == order_id, Record.canonical.is_(True), Allocation.recipient != merchant)
        .group_by(Record.kind)
    )
    sums = {kind: whole(high, low) for kind, high, low in await session.execute(query)}
    back = sums.get(RecordKind.RETURN, 0) + sums.get(RecordKind.REFUND, 0)
    return sums.get(RecordKind.SPLIT, 0) - back


async def references_of(session: AsyncSession, platform_id: bytes, ids: Iterable[bytes]) -> dict[bytes, str]:
    """The platform's own references of participants, by id; of suspense positions, those of the participants."""
    found: dict[bytes, str] = {}
    named = set(ids)
    for chunk in chunks(sorted(named | set(map(suspense_id, named)))):
        query = select(Participant.platform_id, Participant.id, Participant.reference).where(
            Participant.id.in_(chunk)
        )
        found |= {row[1]: row[2] for row in await session.execute(query) if row[0] == platform_id}
    return found


async def own_orders(
    session: AsyncSession, platform_id: bytes, order_ids: Iterable[bytes]
) -> frozenset[bytes]:
    """Which of these orders are the platform's: captured for it, or, while they are not captured, written by it."""
    owners: dict[bytes, bytes] = {}
    for chunk in chunks(sorted(set(order_ids))):
        written = select(Instruction.id, Instruction.platform_id).where(
            Instruction.id.in_(chunk), Instruction.type == InstructionType.CAPTURE
        )
        captured = select(Order.order_id, Order.platform_id).where(Order.order_id.in_(chunk))
        for query in (written, captured):  # an id is the attestor's word: what was captured counts
            owners |= {
                row[0]: row[1]
                for row in await session.execute(query)
                if query is captured or row[1] == platform_id
            }
    return frozenset(order_id for order_id, owner in owners.items() if owner == platform_id)


async def references_of_instructions(
    session: AsyncSession, platform_id: bytes, ids: Iterable[bytes]
) -> dict[tuple[str, bytes], str]:
    """The platform's own references of its instructions, by type and id."""
    found: dict[tuple[str, bytes], str] = {}
    for chunk in chunks(sorted(set(ids))):
        query = select(
            Instruction.platform_id, Instruction.type, Instruction.id, Instruction.reference
        ).where(Instruction.id.in_(chunk))
        found |= {
            (kind, id_): reference
            for owner, kind, id_, reference in await session.execute(query)
            if owner == platform_id
        }
    return found
