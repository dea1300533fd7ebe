"""A database belongs to one chain and one set of contracts, for ever."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.store.errors import DatabaseOfOtherChain
from fenzhang.store.tables import ChainInfo


async def check_chain(
    session: AsyncSession, chain_id: int, ledger_address: bytes, genesis_hash: bytes
) -> bool:
    """Whether the database is bound to this chain; False when it is bound to none yet.

    Raises DatabaseOfOtherChain.
    """
    bound = (await session.execute(select(ChainInfo))).scalars().all()
    for info in bound:
        if (info.chain_id, info.ledger_address, info.genesis_hash) != (
            chain_id,
            ledger_address,
            genesis_hash,
        ):
            raise DatabaseOfOtherChain(
                "the database mirrors another chain or other contracts; give this deployment its own",
                found_chain_id=info.chain_id,
                found_ledger="0x" + info.ledger_address.hex(),
                expected_chain_id=chain_id,
                expected_ledger="0x" + ledger_address.hex(),
            )
    return bool(bound)


async def bind_chain(
    session: AsyncSession, chain_id: int, ledger_address: bytes, genesis_hash: bytes
) -> None:
    """Bind a fresh database to this chain. Needs a write transaction. Raises DatabaseOfOtherChain."""
    if await check_chain(session, chain_id, ledger_address, genesis_hash):
        return
    try:
        async with session.begin_nested():
            session.add(
                ChainInfo(chain_id=chain_id, ledger_address=ledger_address, genesis_hash=genesis_hash)
            )
    except IntegrityError:
        # Another process of this start was faster.
        await check_chain(session, chain_id, ledger_address, genesis_hash)
