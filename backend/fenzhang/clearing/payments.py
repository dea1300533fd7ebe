"""Payouts on their way to the bank, stored so that none is paid twice and none is forgotten.

A file is stored before it is sent, and marked as perhaps sent before its first byte leaves. From then on only the bank
can say whether it has it: it is asked for the end-to-end ids, and gets the same bytes again only when it knows none of
them and the last attempt is long ago. Functions with a session do not commit.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import CursorResult, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from fenzhang.clearing.errors import BankDataUnreadable, DuplicatePayout
from fenzhang.clearing.formats import Format
from fenzhang.clearing.model import PayoutFile, PayoutState, PayoutStatus
from fenzhang.clearing.states import FOLLOWED, SENDABLE, after
from fenzhang.clearing.vault import Vault
from fenzhang.store.banktables import BankFile, BankFileState, BankPayment, BankPaymentState
from fenzhang.store.bulk import chunks, insert_tuples, table_of

log = logging.getLogger("fenzhang.clearing")
_FILES: Final = 100
"""Looked at in one go."""
_SENDABLE_FILE: Final = (BankFileState.PREPARED, BankFileState.UNKNOWN)


@dataclass(frozen=True, slots=True)
class ToSend:
    """A file as it is handed to the bank, and which attempt this is."""

    file_id: int
    message_id: str
    content: bytes
    attempt: int


async def prepare(
    session: AsyncSession, vault: Vault, bank: str, bank_format: Format, file: PayoutFile, *, now: int
) -> int:
    """Store a file and its payouts; its id. Raises DuplicatePayout if any of its ids was ever used before.

    Two that prepare the same id at the same moment: one gets an IntegrityError.
    """
    ids = [payout.end_to_end_id for payout in file.payouts]
    known = await payments(session, ids)
    if known:
        raise DuplicatePayout(f"{min(known)} was prepared before", end_to_end_id=min(known))
    same = select(BankFile.id).where(BankFile.message_id == file.message_id)
    if (await session.execute(same)).scalar_one_or_none() is not None:
        raise DuplicatePayout(f"a file {file.message_id} was prepared before", message_id=file.message_id)
    content = bank_format.write_payouts(file)
    row = BankFile(
        message_id=file.message_id,
        bank=bank,
        format=bank_format.name,
        currency=file.currency,
        payouts=len(file.payouts),
        total=file.total,
        content=vault.seal(content, file_context(file.message_id)),
        sha256=sha256(content).digest(),
        state=BankFileState.PREPARED,
        created_at=now,
    )
    session.add(row)
    await session.flush()
    await insert_tuples(
        session,
        BankPayment,
        ("end_to_end_id", "file_id", "amount", "state", "reason", "changed_at"),
        [
            (payout.end_to_end_id, row.id, payout.amount, BankPaymentState.PREPARED.value, None, now)
            for payout in file.payouts
        ],
    )
    return row.id


def file_context(message_id: str) -> bytes:
    """What a stored file's encryption is bound to."""
    return b"bank_files\0" + message_id.encode()


async def payments(session: AsyncSession, end_to_end_ids: Sequence[str]) -> dict[str, BankPayment]:
    """Those of the payouts that exist."""
    found: dict[str, BankPayment] = {}
    for part in chunks(end_to_end_ids):
        rows = await session.execute(select(BankPayment).where(BankPayment.end_to_end_id.in_(part)))
        found |= {row.end_to_end_id: row for row in rows.scalars()}
    return found


async def undecided(session: AsyncSession, bank: str, behind: int) -> Sequence[BankFile]:
    """Some of a bank's files of which is not known that they have arrived, by id, those behind `behind`.

    Without their content.
    """
    query = select(BankFile).where(
        BankFile.state.in_(_SENDABLE_FILE), BankFile.bank == bank, BankFile.id > behind
    )
    query = query.order_by(BankFile.id).limit(_FILES).options(defer(BankFile.content, raiseload=True))
    return (await session.execute(query)).scalars().all()


async def ids_of(session: AsyncSession, file_id: int) -> list[str]:
    """End-to-end ids of a file's payouts."""
    query = select(BankPayment.end_to_end_id).where(BankPayment.file_id == file_id)
    return list((await session.execute(query.order_by(BankPayment.end_to_end_id))).scalars())


async def followed(session: AsyncSession, bank: str, behind: str, limit: int) -> list[str]:
    """Payouts that the bank has and has not decided, by id, those behind `behind`."""
    query = (
        select(BankPayment.end_to_end_id)
        .join(BankFile, BankFile.id == BankPayment.file_id)
        .where(
            BankPayment.state.in_(sorted(FOLLOWED)), BankFile.bank == bank, BankPayment.end_to_end_id > behind
        )
        .order_by(BankPayment.end_to_end_id)
        .limit(limit)
    )
    return list((await session.execute(query)).scalars())


async def begin_attempt(
    session: AsyncSession, vault: Vault, file_id: int, attempt: int, *, now: int
) -> ToSend | None:
    """Mark a file as perhaps sent, for the attempt of this number. To be committed before a byte leaves.

    None if another process made this attempt, or if the bank has decided about the file or any of its payouts.
    Raises BankDataUnreadable.
    """
    others = select(BankPayment.end_to_end_id).where(
        BankPayment.file_id == file_id, BankPayment.state.not_in(sorted(SENDABLE))
    )
    marked = await session.execute(
        update(BankFile)
        .where(
            BankFile.id == file_id,
            BankFile.attempts == attempt - 1,
            BankFile.state.in_(_SENDABLE_FILE),
            ~others.exists(),
        )
        .values(state=BankFileState.UNKNOWN, reason=None, attempts=attempt, attempted_at=now)
        .execution_options(synchronize_session=False)
    )
    if _count(marked) != 1:
        return None
    await session.execute(
        update(BankPayment)
        .where(BankPayment.file_id == file_id, BankPayment.state == BankPaymentState.PREPARED)
        .values(state=BankPaymentState.UNKNOWN, changed_at=now)
        .execution_options(synchronize_session=False)
    )
    row = (
        await session.execute(
            select(BankFile.message_id, BankFile.content, BankFile.sha256).where(BankFile.id == file_id)
        )
    ).one()
    content = vault.open(row.content, file_context(row.message_id))
    if sha256(content).digest() != row.sha256:
        raise BankDataUnreadable(f"the stored file {row.message_id} is not what was prepared")
    return ToSend(file_id, row.message_id, content, attempt)


async def accept(session: AsyncSession, file_id: int, *, now: int) -> None:
    """The bank has the file. Nothing happens if that was known."""
    if await _decide(session, file_id, BankFileState.ACCEPTED, None):
        await session.execute(
            update(BankPayment)
            .where(BankPayment.file_id == file_id, BankPayment.state.in_(sorted(SENDABLE)))
            .values(state=BankPaymentState.SENT, changed_at=now)
            .execution_options(synchronize_session=False)
        )


async def note_refusal(session: AsyncSession, file_id: int, attempt: int, reason: str) -> None:
    """The bank said at this attempt that it does not take the file. Whether that counts is seen by asking."""
    await session.execute(
        update(BankFile)
        .where(BankFile.id == file_id, BankFile.attempts == attempt, BankFile.state == BankFileState.UNKNOWN)
        .values(reason=reason)
        .execution_options(synchronize_session=False)
    )


async def refuse(session: AsyncSession, file_id: int, attempt: int, reason: str, *, now: int) -> None:
    """The bank refused the last attempt, and was asked long after: it knows none of the payouts."""
    if await _decide(session, file_id, BankFileState.REFUSED, reason, attempt=attempt):
        ids = await ids_of(session, file_id)
        await apply(session, {each: [PayoutStatus(PayoutState.FAILED, reason)] for each in ids}, now=now)


async def apply(session: AsyncSession, said: Mapping[str, Sequence[PayoutStatus]], *, now: int) -> int:
    """Change states by what the bank said of payouts, in the order in which it happened; how many changed.

    Where it knows one payout it has the file. Payouts that nobody prepared are passed over.
    """
    files: set[int] = set()
    changes: list[dict[str, Any]] = []
    for row in (await payments(session, sorted(said))).values():
        before, statuses = BankPaymentState(row.state), said[row.end_to_end_id]
        state = reduce(after, (status.state for status in statuses), before)
        if state is before:
            continue
        if state is BankPaymentState.DISPUTED:
            log.error("the bank paid %s after it had said that it failed", row.end_to_end_id)
        reasons = [status.reason for status in statuses if status.state is PayoutState.FAILED]
        files.add(row.file_id)
        changes.append(
            {
                "b_id": row.end_to_end_id,
                "b_before": before.value,
                "b_state": state.value,
                "b_reason": reasons[-1] if reasons else None,
                "b_now": now,
            }
        )
    if changes:
        table = table_of(BankPayment)
        # Where somebody else was faster nothing changes: what the bank said is asked for again.
        statement = (
            update(table)
            .where(table.c.end_to_end_id == bindparam("b_id"), table.c.state == bindparam("b_before"))
            .values(state=bindparam("b_state"), reason=bindparam("b_reason"), changed_at=bindparam("b_now"))
        )
        await (await session.connection()).execute(statement, changes)
        for file_id in sorted(files):
            await accept(session, file_id, now=now)
        session.expire_all()  # or a second call in this transaction would see the states before the first
    return len(changes)


async def _decide(
    session: AsyncSession,
    file_id: int,
    state: BankFileState,
    reason: str | None,
    *,
    attempt: int | None = None,
) -> bool:
    """Whether the file was not decided before, and `attempt` is the last one if it is given."""
    statement = update(BankFile).where(BankFile.id == file_id, BankFile.state.in_(_SENDABLE_FILE))
    if attempt is not None:
        statement = statement.where(BankFile.attempts == attempt)
    decided = await session.execute(
        statement.values(state=state, reason=reason).execution_options(synchronize_session=False)
    )
    return _count(decided) == 1


def _count(result: Any) -> int:
    return result.rowcount if isinstance(result, CursorResult) else 0
