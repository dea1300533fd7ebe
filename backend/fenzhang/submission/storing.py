"""Signed transactions go into the database with everything they carry, before any node sees them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.store.bulk import chunks, update_rows
from fenzhang.store.tables import Authorization, Instruction, InstructionState, Transaction, TransactionState
from fenzhang.submission.building import Built
from fenzhang.submission.config import SubmissionConfig
from fenzhang.submission.errors import Superseded
from fenzhang.submission.expiring import store_tries


async def store(
    session: AsyncSession, transactions: Sequence[Built], config: SubmissionConfig
) -> dict[int, str]:
    """Store transactions as SIGNED, their authorizations, and their instructions as SUBMITTED, in one write.

    Returns ids of the requests that brought the instructions, by seq. Raises Superseded when one of the instructions
    is not ACCEPTED any more, or another transaction expires one of the orders.
    """
    requests = await _lock_accepted(session, [seq for built in transactions for seq in built.seqs])
    for built in transactions:
        transaction_id = await _insert_transaction(session, built)
        taken = await _store_authorizations(session, built, transaction_id)
        submitted = {"state": InstructionState.SUBMITTED.value, "transaction_id": transaction_id}
        fresh = [{"seq": seq, **submitted, **taken[seq]} for seq in built.seqs if seq in taken]
        await update_rows(session, Instruction, "seq", fresh)
        signed = [{"seq": seq, **submitted} for seq in built.seqs if seq not in taken]
        await update_rows(session, Instruction, "seq", signed)
        if built.expiring is not None:
            await store_tries(session, built.expiring, transaction_id, config)
    return requests


async def _lock_accepted(session: AsyncSession, seqs: Sequence[int]) -> dict[int, str]:
    found = 0
    requests: dict[int, str] = {}
    for chunk in chunks(sorted(seqs)):
        query = (
            select(Instruction.seq, Instruction.request_id)
            .where(Instruction.seq.in_(chunk), Instruction.state == InstructionState.ACCEPTED.value)
            .order_by(Instruction.seq)
            .with_for_update()
        )
        rows = (await session.execute(query)).all()
        found += len(rows)
        requests |= {row.seq: row.request_id for row in rows if row.request_id is not None}
    if found != len(seqs):
        raise Superseded("an instruction was settled or submitted meanwhile", expected=len(seqs), found=found)
    return requests


async def _insert_transaction(session: AsyncSession, built: Built) -> int:
    query = (
        insert(Transaction)
        .values(
            sender=built.sender,
            nonce=built.nonce,
            hash=built.signed.hash,
            raw=built.signed.raw,
            gas_limit=built.gas_limit,
            state=TransactionState.SIGNED.value,
            created_at=int(time.time()),
        )
        .returning(Transaction.id)
    )
    return (await session.execute(query)).scalar_one()


async def _store_authorizations(
    session: AsyncSession, built: Built, transaction_id: int
) -> dict[int, dict[str, Any]]:
    """Returns the place in its authorization of every instruction that was signed just now, by seq."""
    if built.stored_authorizations:
        await session.execute(
            update(Authorization)
            .where(Authorization.id.in_(built.stored_authorizations))
            .values(transaction_id=transaction_id)
            .execution_options(synchronize_session=False)
        )
    taken: dict[int, dict[str, Any]] = {}
    for authorization in built.new_authorizations:
        query = (
            insert(Authorization)
            .values(
                signer=authorization.signer,
                is_attestation=authorization.is_attestation,
                nonce=authorization.nonce.to_bytes(32, "big"),
                deadline=authorization.deadline,
                digest=authorization.digest,
                signature=authorization.signature,
                transaction_id=transaction_id,
            )
            .returning(Authorization.id)
        )
        authorization_id = (await session.execute(query)).scalar_one()
        for position, seq in enumerate(authorization.seqs):
            taken[seq] = {"authorization_id": authorization_id, "position": position}
    return taken
