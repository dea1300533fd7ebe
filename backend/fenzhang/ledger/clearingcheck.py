"""Cycles and payouts as the mirror keeps them, against ClearingHouse and against the records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.chain.clearing import payout_id
from fenzhang.chain.eip712 import cycle_words
from fenzhang.chain.views import ChainView
from fenzhang.domain.clearing import Cycle, CycleState, Payout, PayoutState
from fenzhang.domain.identifiers import hex_id
from fenzhang.domain.money import MAX_AMOUNT
from fenzhang.domain.records import RecordKind
from fenzhang.ledger.differences import Check, Difference
from fenzhang.store.clearingtables import (
    STATE_AFTER,
    CycleRow,
    PayoutRow,
    PayoutRowState,
    as_on_chain,
)
from fenzhang.store.tables import Record

_ON_CHAIN = {
    PayoutRowState.IN_TRANSIT: PayoutState.IN_TRANSIT,
    PayoutRowState.PAID: PayoutState.PAID,
    PayoutRowState.REFUSED: PayoutState.ENDED,
    PayoutRowState.FAILED: PayoutState.ENDED,
    PayoutRowState.RETURNED: PayoutState.ENDED,
}


@dataclass(frozen=True, slots=True)
class KnownPayout:
    """A payout by its row and by its records; one of them may be missing."""

    payout_id: bytes
    row: PayoutRow | None
    recorded: PayoutRowState | None
    reason: str | None
    """By its records, as is:"""
    amount: int
    """Minor units; of a refused one it may be more than the row can hold."""


async def load_cycles(session: AsyncSession, until: int | None) -> list[CycleRow]:
    """All cycles; with `until`, those that were closed up to the end of that block."""
    query = select(CycleRow).order_by(CycleRow.currency, CycleRow.scheme, CycleRow.number)
    if until is not None:
        query = query.where(CycleRow.block_number <= until)
    return list((await session.execute(query)).scalars())


async def load_payouts(session: AsyncSession, until: int | None) -> list[KnownPayout]:
    """All payouts; with `until`, those with a record up to the end of that block, as they were then."""
    query = (
        select(Record.instruction_id, Record.kind, Record.amount, Record.reason)
        .where(Record.cycle_id.is_not(None), Record.canonical.is_(True), Record.kind != RecordKind.CYCLE)
        .order_by(Record.id)
    )
    if until is not None:
        query = query.where(Record.block_number <= until)
    recorded: dict[bytes, tuple[PayoutRowState | None, str | None, int]] = {}
    for number, kind, amount, told in await session.execute(query):
        reason = told or {}
        recorded[number] = STATE_AFTER.get(kind), reason.get("code"), reason.get("amount", amount)
    rows = {row.payout_id: row for row in (await session.execute(select(PayoutRow))).scalars()}
    wanted = recorded.keys() if until is not None else recorded.keys() | rows.keys()
    found = []
    for number in sorted(wanted):
        row = rows.get(number)
        state, code, amount = recorded.get(number, (None, None, row.amount if row else 0))
        found.append(KnownPayout(number, row, state, code, amount))
    return found


async def compare_clearing(
    view: ChainView, cycles: Sequence[CycleRow], payouts: Sequence[KnownPayout], *, past: bool
) -> list[Difference]:
    """Everything on which rows, records and the chain at the view's block disagree.

    Of the past the records tell in which state a payout was. Raises NodeUnavailable, RpcError.
    """
    differences = await _compare_cycles(view, cycles, payouts)
    sound: defaultdict[bytes, list[tuple[PayoutRow, PayoutRowState]]] = defaultdict(list)
    for known in payouts:
        row, recorded = known.row, known.recorded
        expected = _with_reason(recorded, known.reason) if recorded else "no record"
        said = _with_reason(row.state, row.reason) if row else "no row"
        if row is None or recorded is None or not (past or said == expected):
            differences.append(_different_payout(known.payout_id, expected, said))
        elif not _is_itself(row, known.amount):
            said = f"{row.index} of {hex_id(row.cycle_id)}: {row.amount} for {hex_id(row.participant_id)}"
            differences.append(_different_payout(row.payout_id, "what its id is made of", said))
        else:
            sound[row.cycle_id].append((row, recorded))
    for cycle_id, found in sound.items():
        states = await view.payout_states(cycle_id, [row.index for row, _ in found])
        differences += [
            _different_payout(row.payout_id, state.name, recorded.value)
            for (row, recorded), state in zip(found, states, strict=True)
            if _ON_CHAIN[recorded] is not state
        ]
    return differences


def _with_reason(state: str, reason: str | None) -> str:
    return state if reason is None else f"{state} {reason}"


def _is_itself(row: PayoutRow, amount: int) -> bool:
    """Whether a row says what its payout's id is made of; `amount` is that of its records."""
    number = payout_id(row.cycle_id, Payout(row.index, row.participant_id, amount))
    return number == row.payout_id and row.amount == min(amount, MAX_AMOUNT)


def _different_payout(number: bytes, chain: str, ledger: str) -> Difference:
    return Difference(Check.PAYOUT, chain, ledger, subject=hex_id(number))


async def _compare_cycles(
    view: ChainView, cycles: Sequence[CycleRow], payouts: Sequence[KnownPayout]
) -> list[Difference]:
    taken: defaultdict[bytes, int] = defaultdict(int)
    for known in payouts:
        if known.row is not None and known.recorded is not PayoutRowState.REFUSED:
            taken[known.row.cycle_id] += known.amount
    differences = []
    last: dict[tuple[str, str], int] = {}
    states = await view.cycles_of([row.cycle_id for row in cycles])
    for row, state in zip(cycles, states, strict=True):
        expected, found = _said_by(state), _said_of(row, taken[row.cycle_id])
        if expected == found:
            expected, found = hex_id(row.encoded), hex_id(cycle_words(_cycle_of(row)))
        if expected != found:
            differences.append(
                Difference(Check.CYCLE, expected, found, row.currency, f"{row.scheme} {row.number}")
            )
        key = as_on_chain(row.currency), as_on_chain(row.scheme)
        last[key] = last.get(key, 0) + 1
    for (currency, scheme), count in last.items():
        number = (await view.last_cycle(currency, scheme)).number
        if number != count:
            differences.append(Difference(Check.CYCLES, number, count, currency, scheme))
    return differences


def _said_by(state: CycleState) -> str:
    return _said(state.number, state.currency, state.payouts, state.total, state.taken, state.payout_root)


def _said_of(row: CycleRow, taken: int) -> str:
    currency = as_on_chain(row.currency)
    return _said(row.number, currency, row.payouts, _cycle_of(row).total, taken, row.payout_root)


def _said(  # noqa: PLR0917 -- what the contract keeps of a cycle
    number: int, currency: str, payouts: int, total: int, taken: int, root: bytes
) -> str:
    return f"number {number}, {payouts} payouts of {total} {currency} under {hex_id(root)}, {taken} taken"


def _cycle_of(row: CycleRow) -> Cycle:
    """What was signed, from the columns, and from the encoding what no column has: the deadline, and a larger total."""
    return Cycle(
        as_on_chain(row.currency),
        as_on_chain(row.scheme),
        row.number,
        row.to_block,
        row.at_block,
        row.payouts,
        row.signed_total if row.total == MAX_AMOUNT else row.total,
        row.payout_root,
        row.bill_root,
        row.journal_head,
        row.deadline,
    )
