"""What became of payouts, as a bill tells it."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.clearing.bills.lines import REJECTED, SETTLED, Happening, Key, PayoutFacts
from fenzhang.domain.allocation import Allocation
from fenzhang.domain.records import RecordKind
from fenzhang.store.bulk import chunks
from fenzhang.store.clearingtables import CycleRow, PayoutRow
from fenzhang.store.tables import Record


async def payout_facts(session: AsyncSession, records: Sequence[Record]) -> dict[bytes, PayoutFacts]:
    """Which payouts these records are about, by payout id."""
    found: dict[bytes, PayoutFacts] = {}
    for chunk in chunks(sorted({record.instruction_id for record in records})):
        query = (
            select(
                PayoutRow.payout_id,
                PayoutRow.participant_id,
                PayoutRow.cycle_id,
                CycleRow.currency,
                CycleRow.scheme,
                CycleRow.number,
            )
            .join(CycleRow, CycleRow.cycle_id == PayoutRow.cycle_id)
            .where(PayoutRow.payout_id.in_(chunk))
        )
        found |= {row.payout_id: PayoutFacts._make(row) for row in await session.execute(query)}
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
