"""Every rejection of an instruction, kept whatever becomes of the instruction later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.store.bulk import insert_tuples
from fenzhang.store.tables import Rejection


class Rejected(NamedTuple):
    """An instruction that was rejected, as the columns of `Rejection` say."""

    instruction_seq: int
    time: int
    block_number: int | None
    log_index: int | None
    tx_hash: bytes
    reason: dict[str, Any]


async def append(session: AsyncSession, rejected: Sequence[Rejected]) -> None:
    """Keep these rejections."""
    await insert_tuples(session, Rejection, Rejected._fields, rejected)


async def rewind(session: AsyncSession, block_number: int) -> None:
    """Forget those of the blocks above `block_number`, which are not on the chain any more."""
    await session.execute(delete(Rejection).where(Rejection.block_number > block_number))
