"""What netting needs to know, read from the ledger: dues by membership, positions, and who cannot be paid.

Membership goes by the platform of an order: its postings are the scheme's that the platform belongs to. What a suspense
position gave away is the platform's whose participant it waited for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, SQLColumnExpression, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from fenzhang.domain.netting import Dues, LeftOut
from fenzhang.domain.records import ParticipantStatus, RecordKind
from fenzhang.domain.schemes import STANDARD, Schemes
from fenzhang.domain.suspense import suspense_id
from fenzhang.ledger.balances import position
from fenzhang.store.banktables import BankAccountRow
from fenzhang.store.bulk import chunks
from fenzhang.store.clearingtables import CycleRow
from fenzhang.store.cycletables import CyclePlan, PlannedPayout
from fenzhang.store.sums import half_sums, whole
from fenzhang.store.tables import (
    Account,
    AccountKind,
    Freeze,
    Order,
    Participant,
    Posting,
    Record,
)

Sums = dict[bytes, int]
"""Minor units by participant."""
_ENROLLED = frozenset({ParticipantStatus.ACTIVE, ParticipantStatus.CLOSED})
"""Closed ones are paid what they have."""


@dataclass(frozen=True, slots=True)
class Membership:
    """Whose postings belong to a cycle: those of a scheme, in a currency."""

    schemes: Schemes
    scheme: str

    @property
    def currency(self) -> str:
        """Its letter code."""
        return self.schemes.currency

    def has(self, platform: SQLColumnExpression[Any]) -> ColumnElement[bool]:
        """Condition on a column with the platform."""
        if self.scheme == STANDARD:
            # Of no platform that is known here: standard as well.
            return or_(platform.is_(None), platform.not_in(sorted(self.schemes.named)))
        return platform.in_(sorted(self.schemes.by_name[self.scheme].platforms))


@dataclass(frozen=True, slots=True)
class Before:
    """How things stood after the cycle before: what was due, and the blocks that it looked at."""

    due: Mapping[bytes, int]
    to_block: int
    at_block: int


async def dues(
    session: AsyncSession, member: Membership, before: Before, to_block: int, at_block: int
) -> list[Dues]:
    """Of everybody who was due something or moved since, for a cycle of the blocks up to `to_block`.

    Positions, and what payouts took and gave back, are those at the end of `at_block`.
    """
    credits_, debits = await movements(session, member, before.to_block, to_block)
    given_back, taken = await paid(session, member, before.at_block, at_block)
    found = set(before.due) | credits_.keys() | debits.keys() | given_back.keys() | taken.keys()
    ids = sorted(found - await _suspense_positions(session, found))
    positions = await position(session, ids, at_block)
    return [
        Dues(
            each,
            before.due.get(each, 0) + given_back.get(each, 0) - taken.get(each, 0),
            credits_.get(each, 0),
            debits.get(each, 0),
            positions.get((each, member.currency), 0),
        )
        for each in ids
    ]


async def before(session: AsyncSession, member: Membership) -> tuple[int, Before]:
    """Number of the scheme's last cycle, 0 for none, and how things stood after it.

    That is told by its plan; for a cycle that somebody else planned it is summed from all postings.
    """
    query = select(CycleRow.number, CycleRow.to_block, CycleRow.at_block, CyclePlan.id)
    query = query.outerjoin(
        CyclePlan,
        and_(CyclePlan.cycle_id == CycleRow.cycle_id, CyclePlan.payout_root == CycleRow.payout_root)
        & (CyclePlan.at_block == CycleRow.at_block),
    ).where(CycleRow.currency == member.currency, CycleRow.scheme == member.scheme)
    last: Any = (await session.execute(query.order_by(CycleRow.number.desc(), CyclePlan.id).limit(1))).first()
    if last is None:
        return 0, Before({}, 0, 0)
    number, to_block, at_block, plan = last
    if plan is None:
        return number, Before(await summed(session, member, to_block, at_block), to_block, at_block)
    rows = await session.execute(
        select(PlannedPayout.participant_id, PlannedPayout.due).where(PlannedPayout.plan_id == plan)
    )
    return number, Before({participant: due for participant, due in rows if due}, to_block, at_block)


async def summed(session: AsyncSession, member: Membership, to_block: int, at_block: int) -> Sums:
    """What was due after a cycle with these blocks, summed from all postings."""
    credits_, debits = await movements(session, member, -1, to_block)
    given_back, taken = await paid(session, member, -1, at_block)
    found: defaultdict[bytes, int] = defaultdict(int)
    for sums, sign in ((credits_, 1), (debits, -1), (given_back, 1), (taken, -1)):
        for participant, amount in sums.items():
            found[participant] += sign * amount
    return {participant: due for participant, due in found.items() if due}


async def movements(session: AsyncSession, member: Membership, after: int, last: int) -> tuple[Sums, Sums]:
    """Credits and debits of positions by records of the scheme, of the blocks behind `after` up to `last`."""
    platform = func.coalesce(Order.platform_id, Participant.platform_id)

    def query(side: InstrumentedAttribute[int]) -> Select[Any]:
        return (
            _sums(side, member.currency, after, last)
            .outerjoin(Order, Order.order_id == Record.order_id)
            .outerjoin(
                Participant,
                and_(Participant.id == Record.instruction_id, Record.kind == RecordKind.RESOLUTION),
            )
            .where(Record.cycle_id.is_(None), member.has(platform))
        )

    return await _by_participant(session, query(Posting.credit_account_id)), await _by_participant(
        session, query(Posting.debit_account_id)
    )


async def paid(session: AsyncSession, member: Membership, after: int, last: int) -> tuple[Sums, Sums]:
    """What payouts of the scheme's cycles gave back to positions, and what they took from them, in these blocks."""
    cycles = select(CycleRow.cycle_id).where(
        CycleRow.currency == member.currency, CycleRow.scheme == member.scheme
    )

    def query(side: InstrumentedAttribute[int]) -> Select[Any]:
        return _sums(side, member.currency, after, last).where(Record.cycle_id.in_(cycles))

    return await _by_participant(session, query(Posting.credit_account_id)), await _by_participant(
        session, query(Posting.debit_account_id)
    )


def _sums(side: InstrumentedAttribute[int], currency: str, after: int, last: int) -> Select[Any]:
    """Amounts on one side of positions, of what stands on the chain."""
    return (
        select(Account.participant_id, *half_sums(Posting.amount))
        .select_from(Posting)
        .join(Account, Account.id == side)
        .join(Record, Record.id == Posting.record_id)
        .where(
            Account.kind == AccountKind.RECIPIENT_PAYABLE.value,
            Account.currency == currency,
            Posting.block_number > after,
            Posting.block_number <= last,
            Posting.reverses_id.is_(None),
            Record.canonical.is_(True),
        )
        .group_by(Account.participant_id)
    )


async def _by_participant(session: AsyncSession, query: Select[Any]) -> Sums:
    return {owner: whole(high, low) for owner, high, low in await session.execute(query)}


async def _suspense_positions(session: AsyncSession, ids: Collection[bytes]) -> set[bytes]:
    """Those of the ids under which something waits for a participant: nobody is paid from them."""
    found: set[bytes] = set()
    for chunk in chunks(sorted(suspense_id(each) for each in ids)):
        rows = await session.execute(select(Participant.id).where(Participant.id.in_(chunk)))
        found |= {suspense_id(each) for each in rows.scalars()}
    return found


async def obstacles(
    session: AsyncSession, ids: Collection[bytes], currency: str
) -> dict[bytes, frozenset[LeftOut]]:
    """What stands in the way of paying these participants now. Those who can be paid are left out."""
    found: defaultdict[bytes, set[LeftOut]] = defaultdict(set)
    payable: set[bytes] = set()
    for chunk in chunks(sorted(ids)):
        query = select(Participant.id, Participant.status, Participant.consents)
        for row in await session.execute(query.where(Participant.id.in_(chunk))):
            if row.status not in _ENROLLED:
                found[row.id].add(LeftOut.SUSPENDED)
            if not row.consents:
                found[row.id].add(LeftOut.NOT_CONSENTED)
        frozen = select(Freeze.target_id).where(
            Freeze.target_id.in_(chunk), Freeze.order_id.is_(None), Freeze.ended_block.is_(None)
        )
        for target in (await session.execute(frozen)).scalars():
            found[target].add(LeftOut.FROZEN)
        stored = select(BankAccountRow.participant_id).where(
            BankAccountRow.participant_id.in_(chunk), BankAccountRow.currency == currency
        )
        payable |= set((await session.execute(stored)).scalars())
    for each in ids:
        if each not in payable:
            found[each].add(LeftOut.NO_ACCOUNT)
    return {each: frozenset(reasons) for each, reasons in found.items()}
