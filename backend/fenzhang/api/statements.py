"""Statements, moments and trial balances as answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.api.problems import plain
from fenzhang.domain.identifiers import hex_id
from fenzhang.domain.records import NOTHING, RecordKind
from fenzhang.intake.reading import own_orders, references_of_instructions
from fenzhang.ledger.balances import Debt, TrialBalanceRow, by_kind
from fenzhang.ledger.chart import NO_PARTICIPANT
from fenzhang.ledger.entries import Entry
from fenzhang.ledger.moments import Moment
from fenzhang.ledger.statement import Line, Statement
from fenzhang.store.tables import InstructionType

_FIELD_OF = {
    RecordKind.SPLIT: "out_split_no",
    RecordKind.RELEASE: "out_release_no",
    RecordKind.RETURN: "out_return_no",
    RecordKind.REFUND: "out_refund_no",
}
_CAPTURE = InstructionType.CAPTURE.value


@dataclass(frozen=True, slots=True)
class Names:
    """What a platform calls the orders and instructions that are its own."""

    orders: frozenset[bytes] = frozenset()
    references: dict[tuple[str, bytes], str] = field(default_factory=dict)
    """By type and id of the instruction."""

    def of(self, entry: Entry) -> dict[str, Any]:
        """Ids and references of an entry's order and instruction; those of other platforms are none of its business."""
        if entry.order_id not in self.orders:
            return {"order_id": None, "instruction_id": None}
        named = {"out_order_no": self.references.get((_CAPTURE, entry.order_id))}
        if entry.kind in _FIELD_OF:
            named[_FIELD_OF[entry.kind]] = self.references.get((entry.kind.name, entry.instruction_id))
        return {**ids_of(entry), **named}


async def names_of(session: AsyncSession, platform_id: bytes, lines: Sequence[Line]) -> Names:
    """How the platform calls what is behind the lines of a statement."""
    order_ids = {line.entry.order_id for line in lines}
    instruction_ids = {line.entry.instruction_id for line in lines}
    return Names(
        await own_orders(session, platform_id, order_ids),
        await references_of_instructions(session, platform_id, order_ids | instruction_ids),
    )


def ids_of(entry: Entry) -> dict[str, Any]:
    """Ids of an entry's order and instruction, for those who see every platform."""
    order_id = None if entry.order_id == NOTHING else hex_id(entry.order_id)
    return {"order_id": order_id, "instruction_id": hex_id(entry.instruction_id)}


def moment_answer(moment: Moment) -> dict[str, Any]:
    """As of which block an answer is."""
    return {"block_number": moment.block_number, "block_time": moment.time}


def statement_answer(found: Statement, reference: str | None, names: Names | None) -> dict[str, Any]:
    """A page of a statement. Without `names` every id is shown, and no reference."""
    return {
        "account": found.account.kind,
        "currency": found.account.currency,
        "participant_id": owner_of(found.account.participant_id),
        "out_participant_no": reference,
        "from_block": found.blocks.first,
        "to_block": found.blocks.last,
        "opening": plain(found.opening),
        "debit": plain(found.debit),
        "credit": plain(found.credit),
        "closing": plain(found.closing),
        "lines": [_line(line, names) for line in found.lines],
        "next": None if found.next is None else str(found.next),
    }


def _line(line: Line, names: Names | None) -> dict[str, Any]:
    entry = line.entry
    counter = entry.credit if line.is_debit else entry.debit
    return {
        "posting": entry.posting,
        "side": "DEBIT" if line.is_debit else "CREDIT",
        "amount": entry.amount,
        "balance": plain(line.balance),
        "counter_account": counter.kind,
        "counter_participant_id": owner_of(counter.participant_id),
        "kind": entry.kind.name,
        "record": entry.record,
        "block_number": entry.block_number,
        "time": entry.time,
        "batch": entry.batch,
        "tx_hash": hex_id(entry.tx_hash),
        "reverses": entry.reverses,
        "reversed_by": entry.reversed_by,
        "cycle_id": None if entry.cycle_id is None else hex_id(entry.cycle_id),
        "payout_id": None if entry.cycle_id is None else hex_id(entry.instruction_id),
        "reason": entry.reason,
        **(ids_of(entry) if names is None else names.of(entry)),
    }


def trial_balance_answer(rows: Sequence[TrialBalanceRow], moment: Moment) -> dict[str, Any]:
    """A trial balance: every account, one line for all of a kind, and both columns of each currency."""
    kinds = by_kind(rows)
    totals: dict[str, list[int]] = {}
    for kind in kinds:
        total = totals.setdefault(kind.currency, [0, 0])
        total[0] += kind.debit
        total[1] += kind.credit
    return {
        **moment_answer(moment),
        "accounts": [
            {
                "kind": row.kind.value,
                "currency": row.currency,
                "participant_id": owner_of(row.participant_id),
                "debit": plain(row.debit),
                "credit": plain(row.credit),
            }
            for row in rows
        ],
        "kinds": [
            {
                "kind": kind.kind.value,
                "currency": kind.currency,
                "accounts": kind.accounts,
                "debit": plain(kind.debit),
                "credit": plain(kind.credit),
                "balance": plain(kind.balance),
            }
            for kind in kinds
        ],
        "totals": [
            {"currency": currency, "debit": plain(debit), "credit": plain(credit)}
            for currency, (debit, credit) in sorted(totals.items())
        ],
    }


def debts_answer(
    found: Sequence[Debt], owners: Mapping[bytes, tuple[bytes, str]], after: str, limit: int, *, named: bool
) -> dict[str, Any]:
    """The page of debts behind the cursor `after`, and the totals of all. References are shown if `named`."""
    totals: dict[str, list[int]] = {}
    for debt in found:
        total = totals.setdefault(debt.currency, [0, 0])
        total[0] += 1
        total[1] += debt.amount
    rest = [debt for debt in found if _debt_cursor(debt) > after]
    return {
        "debts": [_debt(debt, owners.get(debt.participant_id), named=named) for debt in rest[:limit]],
        "totals": [
            {"currency": currency, "participants": count, "debt": plain(amount)}
            for currency, (count, amount) in totals.items()
        ],
        "next": _debt_cursor(rest[limit - 1]) if len(rest) > limit else None,
    }


def _debt_cursor(debt: Debt) -> str:
    return f"{debt.currency}-{hex_id(debt.participant_id)}"


def _debt(debt: Debt, owner: tuple[bytes, str] | None, *, named: bool) -> dict[str, Any]:
    return {
        "participant_id": hex_id(debt.participant_id),
        "out_participant_no": owner[1] if named and owner is not None else None,
        "platform_id": None if owner is None else hex_id(owner[0]),
        "currency": debt.currency,
        "debt": plain(debt.amount),
    }


def owner_of(participant_id: bytes) -> str | None:
    """Whose account it is; None for those that belong to nobody in particular."""
    return None if participant_id == NO_PARTICIPANT else hex_id(participant_id)
