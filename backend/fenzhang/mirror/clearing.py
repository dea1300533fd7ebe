"""Cycles and payouts: the records that ClearingHouse makes of them, and their rows.

A row of a payout has its present state only. Records stay, so after a reorganisation it is made anew from those that
remain.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.chain.abi import role_bytes
from fenzhang.chain.clearing import RECORD_KINDS, cycle_leaf, payout_leaf
from fenzhang.chain.codec import decode_revert
from fenzhang.chain.eip712 import cycle_words
from fenzhang.chain.events import (
    CycleClosed,
    LogPosition,
    PayoutEvent,
    PayoutFailed,
    PayoutRefused,
    PayoutReturned,
    PayoutTaken,
)
from fenzhang.domain.allocation import Allocation
from fenzhang.domain.money import MAX_AMOUNT
from fenzhang.domain.records import NOTHING, RecordKind
from fenzhang.mirror.entries import Entry
from fenzhang.mirror.outcomes import Asked, Verdicts, instruction_columns
from fenzhang.store import payloads
from fenzhang.store.bulk import chunks, insert_rows, update_tuples
from fenzhang.store.clearingtables import STATE_AFTER, CycleRow, PayoutRow, as_on_chain, storable
from fenzhang.store.reasons import bank_reason_to_json
from fenzhang.store.tables import OF_NO_ORDER, TERMINAL_STATES, Instruction, InstructionType, Record

Cleared = tuple[CycleClosed | PayoutEvent, Entry]
"""An event of ClearingHouse and its record."""

# ------------------------------------------------------------------------------ records


def entry_of(event: CycleClosed | PayoutEvent, currency: str, number: int) -> Entry:
    """The record that an event tells of, a record of no order. `number` is its own, `currency` the cycle's.

    The allocation of a payout's record is whom it is for; a refused one has none, for nothing was moved.
    """
    if isinstance(event, CycleClosed):
        kind, subject, amount, leaf = RecordKind.CYCLE, event.cycle_id, event.cycle.total, cycle_leaf(event)
    else:
        kind, subject, amount = RECORD_KINDS[type(event)], event.payout_id, event.amount
        leaf = payout_leaf(event, currency)
    entry = Entry(
        id=number,
        kind=kind,
        instruction_id=subject,
        order_id=NOTHING,
        split_id=None,
        amount=amount,
        leaf=leaf,
        at=event.at,
        cycle_id=event.cycle_id,
    )
    if isinstance(event, PayoutRefused):
        entry.reason = event.reason
    elif not isinstance(event, CycleClosed):
        entry.allocations = (Allocation(event.participant, amount),)
    if isinstance(event, PayoutFailed | PayoutReturned):
        entry.told = bank_reason_to_json(event.reason, role_bytes(event.reason))
    return entry


# ------------------------------------------------------------------------------ rows


async def load_currencies(session: AsyncSession, cycle_ids: Collection[bytes]) -> dict[bytes, str]:
    """Currencies of those of the cycles that are closed."""
    found: dict[bytes, str] = {}
    for chunk in chunks(sorted(cycle_ids)):
        query = select(CycleRow.cycle_id, CycleRow.currency).where(CycleRow.cycle_id.in_(chunk))
        rows = await session.execute(query)
        found |= {row.cycle_id: as_on_chain(row.currency) for row in rows}
    return found


async def follow(session: AsyncSession, cleared: Sequence[Cleared], verdicts: Verdicts) -> None:
    """Write what the events changed, and add to `verdicts` what somebody else brought to the chain."""
    if not cleared:
        return
    closed = [_cycle_row(event, entry) for event, entry in cleared if isinstance(event, CycleClosed)]
    await insert_rows(session, CycleRow, closed)
    await _write_payouts(session, cleared)
    await _settle_relayed(session, cleared, verdicts)


def _cycle_row(event: CycleClosed, entry: Entry) -> dict[str, Any]:
    cycle = event.cycle
    return {
        "cycle_id": event.cycle_id,
        "currency": storable(cycle.currency),
        "scheme": storable(cycle.scheme),
        "number": cycle.number,
        "to_block": cycle.to_block,
        "at_block": cycle.at_block,
        "payouts": cycle.payouts,
        "total": min(cycle.total, MAX_AMOUNT),
        "payout_root": cycle.payout_root,
        "bill_root": cycle.bill_root,
        "journal_head": cycle.journal_head,
        "encoded": cycle_words(cycle),
        "bank": event.bank,
        "batch": entry.batch,
        "block_number": event.at.block_number,
    }


async def _write_payouts(session: AsyncSession, cleared: Sequence[Cleared]) -> None:
    begun: dict[bytes, dict[str, Any]] = {}
    changed: dict[bytes, tuple[str, str | None, int, bytes]] = {}
    for event, entry in cleared:
        if isinstance(event, CycleClosed):
            continue
        state, block = STATE_AFTER[entry.kind].value, event.at.block_number
        reason = entry.told["code"] if entry.told else None
        if isinstance(event, PayoutTaken | PayoutRefused):
            begun[event.payout_id] = {
                "payout_id": event.payout_id,
                "cycle_id": event.cycle_id,
                "index": event.index,
                "participant_id": event.participant,
                "amount": min(event.amount, MAX_AMOUNT),
                "state": state,
                "reason": None if entry.reason is None else decode_revert(entry.reason).code,
                "block_number": block,
            }
        elif event.payout_id in begun:
            begun[event.payout_id] |= {"state": state, "reason": reason, "block_number": block}
        else:
            changed[event.payout_id] = (state, reason, block, event.payout_id)
    await insert_rows(session, PayoutRow, list(begun.values()))
    await update_tuples(session, PayoutRow, _STANDING, list(changed.values()))


_STANDING = ("state", "reason", "block_number", "payout_id")


async def rewind_clearing(session: AsyncSession, ancestor: int) -> None:
    """Undo what blocks above `ancestor` did, whose records are not canonical any more."""
    query = select(PayoutRow.payout_id).where(PayoutRow.block_number > ancestor)
    lost = (await session.execute(query)).scalars().all()
    for chunk in chunks(lost):
        records = (
            select(Record.instruction_id, Record.kind, Record.reason, Record.block_number)
            .where(Record.instruction_id.in_(chunk), OF_NO_ORDER)
            .where(Record.canonical.is_(True), Record.kind.in_(STATE_AFTER))
            .order_by(Record.id)
        )
        last = {row.instruction_id: row for row in await session.execute(records)}
        rows = [
            (STATE_AFTER[row.kind].value, (row.reason or {}).get("code"), row.block_number, payout)
            for payout, row in last.items()
        ]
        await update_tuples(session, PayoutRow, _STANDING, rows)
        gone = [payout for payout in chunk if payout not in last]
        await session.execute(delete(PayoutRow).where(PayoutRow.payout_id.in_(gone)))
    await session.execute(delete(CycleRow).where(CycleRow.block_number > ancestor))


# ------------------------------------------------------------------------------ instructions


async def _settle_relayed(session: AsyncSession, cleared: Sequence[Cleared], verdicts: Verdicts) -> None:
    """Anybody may take the payouts of a closed cycle: then nothing is left to do for whoever was to take them here."""
    last = {
        event.cycle_id: event.at for event, _ in cleared if isinstance(event, PayoutTaken | PayoutRefused)
    }
    asked: defaultdict[bytes, list[Asked]] = defaultdict(list)
    for chunk in chunks(sorted(last)):
        query = instruction_columns().where(
            Instruction.id.in_(chunk),
            Instruction.type == InstructionType.TAKE.value,
            Instruction.state.not_in(TERMINAL_STATES),
        )
        for row in await session.execute(query):
            found = Asked._make(row)
            if verdicts.state_of(found) not in TERMINAL_STATES:
                asked[found.id].append(found)
    for cycle_id, takes in asked.items():
        for take in takes:
            await _settle_taken(session, take, last[cycle_id], verdicts)


async def _settle_taken(session: AsyncSession, take: Asked, at: LogPosition, verdicts: Verdicts) -> None:
    wanted = payloads.taking_from(take.payload)
    query = select(func.count()).where(
        PayoutRow.cycle_id == wanted.cycle_id,
        PayoutRow.index >= wanted.first,
        PayoutRow.index < wanted.end,
    )
    if (await session.execute(query)).scalar_one() == wanted.end - wanted.first:
        verdicts.settle(take, at)
