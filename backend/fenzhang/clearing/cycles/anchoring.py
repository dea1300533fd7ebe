"""Bills that became final are anchored: the root over their hashes is part of the next cycle of the platform's scheme.

A leaf is the double hash of StandardMerkleTree over (owner, day, format, sha256): the platform's id, and day and format
as ASCII in 32 bytes. Anchored are the bills of platforms, of days with records, in both formats.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from tempfile import TemporaryFile
from zoneinfo import ZoneInfo

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.chain.abi import role_bytes
from fenzhang.chain.evidence import merkle_proofs, merkle_root
from fenzhang.chain.keccak import keccak
from fenzhang.clearing.bills.errors import BillDoesNotAddUp, DayNotFinal
from fenzhang.clearing.bills.formats import BillFormat
from fenzhang.clearing.bills.lines import BillKind, Subject
from fenzhang.clearing.bills.making import Bill, make
from fenzhang.clearing.cycles.facts import Membership
from fenzhang.domain.days import Day
from fenzhang.domain.records import NOTHING
from fenzhang.ledger.moments import first_block_from
from fenzhang.store.cycletables import AnchoredBill
from fenzhang.store.session import Database
from fenzhang.store.tables import Block, Order, Participant, Record

log = logging.getLogger("fenzhang.clearing")
ZoneOf = Callable[[str], ZoneInfo]
"""Whose dates are the days of a platform's bills, by its reference."""


def bill_leaf(owner: bytes, day: str, form: str, sha256: bytes) -> bytes:
    """Leaf of a bill."""
    return keccak(keccak(owner + role_bytes(day) + role_bytes(form) + sha256))


async def hash_final_days(database: Database, zone_of: ZoneOf, depth: int) -> int:
    """Make the bills of days that became final and keep their hashes; of how many days.

    What is kept already is not made again, so it may be called at any time and by several.
    """
    count = 0
    for platform in await _platforms(database):
        zone = zone_of(platform.reference)
        after = await _last_day(database, platform.id, zone)
        while (day := await _next_day(database, platform.id, zone, after)) is not None:
            try:
                await _hash_day(database, platform, day, depth)
            except DayNotFinal:
                break
            except BillDoesNotAddUp:
                # Reconciliation finds out why; nobody waits for money meanwhile.
                log.exception("the bills of %s are not anchored", platform.reference)
                break
            count += 1
            after = day.end
    return count


async def anchor(session: AsyncSession, member: Membership, plan_id: int) -> bytes:
    """Let a plan anchor the bills of its scheme's platforms that no other one does. Returns their root, or zero."""
    query = select(AnchoredBill).where(AnchoredBill.plan_id.is_(None), member.has(AnchoredBill.owner))
    order = (AnchoredBill.owner, AnchoredBill.day, AnchoredBill.format)
    rows = (await session.execute(query.order_by(*order))).scalars().all()
    leaves = [bill_leaf(row.owner, row.day, row.format, row.sha256) for row in rows]
    for index, (row, proof) in enumerate(zip(rows, merkle_proofs(leaves, range(len(leaves))), strict=True)):
        row.plan_id, row.index, row.proof = plan_id, index, b"".join(proof)
    await session.flush()
    return merkle_root(leaves) if leaves else NOTHING


async def is_anything_to_anchor(session: AsyncSession, member: Membership) -> bool:
    """Whether `anchor` would find a bill."""
    query = select(AnchoredBill.day).where(AnchoredBill.plan_id.is_(None), member.has(AnchoredBill.owner))
    return (await session.execute(query.limit(1))).scalar() is not None


async def release(session: AsyncSession, plan_id: int) -> None:
    """The plan is void: another one anchors its bills."""
    await session.execute(
        update(AnchoredBill)
        .where(AnchoredBill.plan_id == plan_id)
        .values(plan_id=None, index=None, proof=None)
        .execution_options(synchronize_session=False)
    )


async def _platforms(database: Database) -> Iterable[Participant]:
    """Those with orders."""
    async with database.read() as session:
        having = select(Order.platform_id).where(Order.platform_id == Participant.id).exists()
        query = select(Participant).where(Participant.id == Participant.platform_id, having)
        return (await session.execute(query.order_by(Participant.id))).scalars().all()


async def _last_day(database: Database, platform: bytes, zone: ZoneInfo) -> int:
    """The end of the last day whose bills are kept, 0 for none."""
    async with database.read() as session:
        query = select(func.max(AnchoredBill.day)).where(AnchoredBill.owner == platform)
        last = (await session.execute(query)).scalar()
    return 0 if last is None else Day.of(last, zone).end


async def _next_day(database: Database, platform: bytes, zone: ZoneInfo, after: int) -> Day | None:
    """The first day from `after` on that has a record of an order of the platform."""
    async with database.read() as session:
        first = await first_block_from(session, after)
        if first is None:
            return None
        query = (
            select(Block.timestamp)
            .join(Record, Record.block_number == Block.number)
            .join(Order, Order.order_id == Record.order_id)
            .where(Block.number >= first, Order.platform_id == platform, Record.canonical.is_(True))
            .order_by(Block.number)
            .limit(1)
        )
        found = (await session.execute(query)).scalar()
    return None if found is None else Day.at(found, zone)


async def _hash_day(database: Database, platform: Participant, day: Day, depth: int) -> None:
    subject = Subject(BillKind.PLATFORM, platform.id, platform.reference)
    made: dict[str, bytes] = {}
    for form in BillFormat:
        with TemporaryFile() as file:
            made[form.value] = (await make(database, Bill(subject, day, form), depth, file)).sha256
    async with database.write() as session:
        for name, digest in made.items():
            known = await session.get(AnchoredBill, (platform.id, day.date.isoformat(), name))
            if known is None:
                session.add(
                    AnchoredBill(owner=platform.id, day=day.date.isoformat(), format=name, sha256=digest)
                )
        await session.flush()
