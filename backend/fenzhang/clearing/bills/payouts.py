"""What became of payouts, as a bill tells it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.clearing.bills.lines import REJECTED, SETTLED, Happening, Key, PayoutFacts
from fenzhang.domain.allocation import Allocation
from fenzhang.domain.records import RecordKind
from fenzhang.store.bulk import chunks
from fenzhang.store.clearingtables import CycleRow, PayoutRow
from fenzhang.store.tables import Record

Leaves = Mapping[int, tuple[Allocation, ...]]
"""Allocations by record."""


async def payout_facts(
    session: AsyncSession, records: Sequence[Record], leaves: Leaves
) -> dict[int, PayoutFacts]:
    """Which payouts these records are about, by record. That a cycle was closed is not about one."""
    cycles = await _cycles(session, {record.cycle_id for record in records if record.cycle_id is not None})
    # Of the others their allocation says whose they are.
    refused = await _refused(session, [r.instruction_id for r in records if r.kind == RecordKind.REJECTION])
    found: dict[int, PayoutFacts] = {}
    for record in records:
        leaf = leaves.get(record.id)
        participant = leaf[0].recipient if leaf else refused.get(record.instruction_id)
        cycle = cycles.get(record.cycle_id or b"")
        if participant is not None and cycle is not None:
            found[record.id] = PayoutFacts(record.instruction_id, participant, *cycle)
    return found


async def _cycles(session: AsyncSession, ids: Collection[bytes]) -> dict[bytes, tuple[bytes, str, str, int]]:
    found: dict[bytes, tuple[bytes, str, str, int]] = {}
    for chunk in chunks(sorted(ids)):
        query = select(CycleRow.cycle_id, CycleRow.currency, CycleRow.scheme, CycleRow.number)
        rows = await session.execute(query.where(CycleRow.cycle_id.in_(chunk)))
        found |= {row.cycle_id: (row.cycle_id, row.currency, row.scheme, row.number) for row in rows}
    return found


async def _refused(session: AsyncSession, payout_ids: Sequence[bytes]) -> dict[bytes, bytes]:
    """Participants by payout."""
    found: dict[bytes, bytes] = {}
    for chunk in chunks(payout_ids):
        query = select(PayoutRow.payout_id, PayoutRow.participant_id).where(PayoutRow.payout_id.in_(chunk))
        found |= {row.payout_id: row.participant_id for row in await session.execute(query)}
    return found


def happening_of_payout(
    record: Record,
    key: Key,
    facts: PayoutFacts,
    platform_id: bytes | None,
    leaves: tuple[Allocation, ...],
) -> Happening:
    """What a record says of a payout. A refused one is a payout that was rejected."""
    refused = record.kind == RecordKind.REJECTION
    return Happening(
        key,
        RecordKind.PAYOUT.name if refused else RecordKind(record.kind).name,
        REJECTED if refused else SETTLED,
        platform_id,
        int((record.reason or {}).get("amount", record.amount)),
        facts.currency,
        key[0],
        record.block_number,
        record.log_index,
        record.tx_hash,
        reason=record.reason,
        batch=record.batch,
        leaf_index=record.leaf_index,
        leaf=record.leaf,
        concerns=frozenset({facts.participant}),
        allocations=leaves,
        payout=facts,
    )
