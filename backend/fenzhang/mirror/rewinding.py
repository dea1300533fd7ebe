"""Back to the common ancestor when the chain reorganised.

Records of orphaned blocks stay, marked as not canonical, and their postings are reversed by linked ones. Orders and
payouts are recomputed from the records that remain. Transactions return to SENT, so that submission broadcasts them
again, and instructions that orphaned events made terminal return to SUBMITTED, or to ACCEPTED where no live transaction
carries them. Participants and rules: see `governance`.
"""

from __future__ import annotations

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.chain.node import NodeClient
from fenzhang.domain.records import NOTHING
from fenzhang.ledger.posting import reverse_after
from fenzhang.mirror import governance
from fenzhang.mirror.clearing import rewind_clearing
from fenzhang.mirror.conditions import rewind_conditions
from fenzhang.mirror.errors import ReorgTooDeep
from fenzhang.mirror.fetching import BlockRef
from fenzhang.mirror.freezes import rewind_freezes
from fenzhang.mirror.orders import recompute_orders
from fenzhang.store import feed, rejections
from fenzhang.store.bulk import update_tuples
from fenzhang.store.feed import Change
from fenzhang.store.tables import (
    TERMINAL_STATES,
    Block,
    Instruction,
    InstructionState,
    Record,
    Transaction,
    TransactionState,
)

_LIVE = (TransactionState.SIGNED.value, TransactionState.SENT.value)


async def find_ancestor(session: AsyncSession, node: NodeClient, tip: BlockRef, kept_blocks: int) -> BlockRef:
    """The newest mirrored block that the node's chain still has. Raises ReorgTooDeep."""
    query = (
        select(Block.number, Block.hash)
        .where(Block.number <= tip.number, Block.number > tip.number - kept_blocks)
        .order_by(Block.number.desc())
    )
    remembered = [BlockRef(number, block_hash) for number, block_hash in await session.execute(query)]
    headers = await node.blocks([block.number for block in remembered])
    for block, header in zip(remembered, headers, strict=True):
        if header is not None and header.hash == block.hash:
            return block
    raise ReorgTooDeep(
        f"none of the last {len(remembered)} mirrored blocks is on the node's chain; the newest was {tip.number}. "
        "Mirror this chain into a fresh database",
        checkpoint=tip.number,
        remembered=len(remembered),
    )


async def rewind(session: AsyncSession, ancestor: BlockRef, standing: governance.Standing) -> int:
    """Undo everything above `ancestor`. Returns how many records lost their block.

    `standing` is what the contracts say of participants and rules now.
    """
    # First, so that a submission that relies on one of these blocks has committed before its rows are looked at.
    await session.execute(delete(Block).where(Block.number > ancestor.number))
    await reverse_after(session, ancestor.number)
    orphaned = (Record.block_number > ancestor.number, Record.canonical.is_(True))
    order_ids = (await session.execute(select(Record.order_id).where(*orphaned).distinct())).scalars().all()
    lost = await session.execute(update(Record).where(*orphaned).values(canonical=False).returning(Record.id))
    count = len(lost.all())
    await recompute_orders(session, sorted(set(order_ids) - {NOTHING}))
    await rewind_clearing(session, ancestor.number)
    await session.execute(
        update(Transaction)
        .where(Transaction.block_number > ancestor.number)
        .values(state=TransactionState.SENT.value, block_number=None, gas_used=None)
    )
    await governance.restore(session, standing)
    await rewind_freezes(session, ancestor.number)
    await rewind_conditions(session, ancestor.number, standing.conditions)
    await rejections.rewind(session, ancestor.number)
    await _reopen_instructions(session, ancestor.number)
    return count


async def _reopen_instructions(session: AsyncSession, ancestor: int) -> None:
    query = (
        select(Instruction.seq, Instruction.platform_id, Transaction.state)
        .outerjoin(Transaction, Transaction.id == Instruction.transaction_id)
        .where(Instruction.block_number > ancestor, Instruction.state.in_(TERMINAL_STATES))
        .order_by(Instruction.seq)
    )
    rows, changes = [], []
    for seq, platform_id, carried_by in await session.execute(query):
        state = InstructionState.SUBMITTED if carried_by in _LIVE else InstructionState.ACCEPTED
        rows.append((state.value, None, None, None, seq))
        changes.append(Change(platform_id, seq, state))
    await update_tuples(session, Instruction, ("state", "reason", "block_number", "tx_hash", "seq"), rows)
    await feed.append(session, changes)
