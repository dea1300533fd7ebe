"""What became of broadcast transactions: receipts in bulk, believed once the mirror has their block.

A transaction counts as mined when the block of its receipt is a mirrored one. Then its instructions have their outcome
from the mirror; those that do not were passed over (AuthorizationSkipped) and are ACCEPTED again, with the
authorization they have. So are those of a reverted transaction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.chain.node import Receipt
from fenzhang.domain.errors import FenzhangError
from fenzhang.store import feed, rejections
from fenzhang.store.blocks import newest_time
from fenzhang.store.bulk import chunks, update_rows
from fenzhang.store.feed import Change
from fenzhang.store.reasons import reason_to_json
from fenzhang.store.rejections import Rejected
from fenzhang.store.tables import (
    SETTLEMENT_TYPES,
    Block,
    Instruction,
    InstructionState,
    Transaction,
    TransactionState,
)

LIVE_STATES = (TransactionState.SIGNED.value, TransactionState.SENT.value)
"""States of a transaction whose end is not known."""
_SETTLEMENT = frozenset(kind.value for kind in SETTLEMENT_TYPES)


@dataclass(frozen=True, slots=True)
class Live:
    """A stored transaction whose end is not known."""

    id: int
    sender: bytes
    nonce: int
    hash: bytes
    state: str
    gas_limit: int


@dataclass(frozen=True, slots=True)
class End:
    """How a transaction ended. Without a receipt its nonce was used by another one, so that it never will be mined."""

    transaction: Live
    receipt: Receipt | None

    @property
    def state(self) -> TransactionState:
        """State to be stored."""
        mined = self.receipt is not None and self.receipt.succeeded
        return TransactionState.MINED if mined else TransactionState.REVERTED


@dataclass(frozen=True, slots=True)
class Carried:
    """An instruction that is still SUBMITTED in a transaction that has ended."""

    seq: int
    platform_id: bytes
    type: str
    payload: dict[str, Any]
    transaction_id: int
    authorization_id: int | None

    @property
    def is_governance(self) -> bool:
        """Whether it is no settlement."""
        return self.type not in _SETTLEMENT


@dataclass(slots=True)
class Retries:
    """Authorizations to be tried again: passed over by the chain, or reverted alone in their transaction."""

    skipped: set[int] = field(default_factory=set)
    failed_alone: dict[int, End] = field(default_factory=dict)


async def load_live(session: AsyncSession, senders: Sequence[bytes]) -> list[Live]:
    """Transactions of these senders without an end, in order of sender and nonce."""
    query = (
        select(
            Transaction.id,
            Transaction.sender,
            Transaction.nonce,
            Transaction.hash,
            Transaction.state,
            Transaction.gas_limit,
        )
        .where(Transaction.state.in_(LIVE_STATES), Transaction.sender.in_(senders))
        .order_by(Transaction.sender, Transaction.nonce)
    )
    return [Live(*row) for row in await session.execute(query)]


async def mirrored(session: AsyncSession, ends: Sequence[End], final_depth: int) -> list[End]:
    """Those of the ends whose block the mirror has, or had so long ago that it forgot the header.

    In a write transaction their blocks cannot be rewound before it ends.
    """
    numbers = sorted({end.receipt.block_number for end in ends if end.receipt})
    if not numbers:
        return []
    hashes: dict[int, bytes] = {}
    for chunk in chunks(numbers):
        query = select(Block.number, Block.hash).where(Block.number.in_(chunk)).order_by(Block.number)
        rows = (await session.execute(query.with_for_update(read=True))).all()
        hashes |= {row.number: row.hash for row in rows}
    checkpoint = await newest_block(session)
    known = []
    for end in ends:
        if end.receipt is None:
            continue
        number = end.receipt.block_number
        if hashes.get(number) == end.receipt.block_hash or (
            number not in hashes and number <= checkpoint - final_depth
        ):
            known.append(end)
    return known


async def newest_block(session: AsyncSession) -> int:
    """The mirror's checkpoint, 0 before the first block."""
    return (await session.execute(select(func.max(Block.number)))).scalar() or 0


async def load_carried(session: AsyncSession, transaction_ids: Sequence[int]) -> list[Carried]:
    """Instructions that are SUBMITTED in these transactions, in order of acceptance."""
    found: list[Carried] = []
    for chunk in chunks(transaction_ids):
        query = select(
            Instruction.seq,
            Instruction.platform_id,
            Instruction.type,
            Instruction.payload,
            Instruction.transaction_id,
            Instruction.authorization_id,
        ).where(Instruction.transaction_id.in_(chunk), Instruction.state == InstructionState.SUBMITTED.value)
        found += [Carried(*row) for row in await session.execute(query)]
    return sorted(found, key=lambda carried: carried.seq)


async def finish(
    session: AsyncSession, ends: Sequence[End], carried: Sequence[Carried], refusals: dict[int, FenzhangError]
) -> Retries:
    """Store how transactions ended; what they left SUBMITTED goes back to ACCEPTED, or is REJECTED.

    `refusals` are the reasons for governance instructions, by seq, whose transaction reverted.
    """
    await update_rows(
        session,
        Transaction,
        "id",
        [
            {
                "id": end.transaction.id,
                "state": end.state.value,
                "block_number": end.receipt.block_number if end.receipt else None,
                "gas_used": end.receipt.gas_used if end.receipt else None,
            }
            for end in ends
        ],
    )
    by_transaction = {end.transaction.id: end for end in ends}
    again = [item for item in carried if item.seq not in refusals]
    await update_rows(
        session,
        Instruction,
        "seq",
        [{"seq": item.seq, "state": InstructionState.ACCEPTED.value} for item in again],
    )
    await reject(
        session,
        [
            (item, by_transaction[item.transaction_id], refusals[item.seq])
            for item in carried
            if item.seq in refusals
        ],
    )
    return _retries(by_transaction, again)


async def reject(session: AsyncSession, rejected: Sequence[tuple[Carried, End, FenzhangError]]) -> None:
    """Store rejections that come from a reverted transaction, and announce them."""
    await update_rows(
        session,
        Instruction,
        "seq",
        [
            {
                "seq": item.seq,
                "state": InstructionState.REJECTED.value,
                "reason": reason_to_json(error),
                "block_number": end.receipt.block_number if end.receipt else None,
                "tx_hash": end.transaction.hash,
            }
            for item, end, error in rejected
        ],
    )
    # A transaction that reverted a while ago counts where it became known: bills of days before stay as they are.
    now = await newest_time(session) if rejected else 0
    await rejections.append(
        session,
        [
            Rejected(
                item.seq,
                now,
                end.receipt.block_number if end.receipt else None,
                None,
                end.transaction.hash,
                reason_to_json(error),
            )
            for item, end, error in rejected
        ],
    )
    changes = [Change(item.platform_id, item.seq, InstructionState.REJECTED) for item, _, _ in rejected]
    await feed.append(session, changes)


def _retries(by_transaction: dict[int, End], again: Sequence[Carried]) -> Retries:
    retries = Retries()
    authorizations: dict[int, set[int]] = defaultdict(set)
    for item in again:
        if item.authorization_id is not None:
            authorizations[item.transaction_id].add(item.authorization_id)
    for transaction_id, ids in authorizations.items():
        end = by_transaction[transaction_id]
        if end.state is TransactionState.MINED:
            retries.skipped |= ids
        elif len(ids) == 1 and end.receipt is not None:
            retries.failed_alone[ids.pop()] = end
    return retries
