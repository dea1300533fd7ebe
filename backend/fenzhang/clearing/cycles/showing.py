"""What can be told of cycles and payouts: plans, and what the chain says of them. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import Row, Select, and_, select, tuple_, union
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.domain.errors import FenzhangError
from fenzhang.store.bulk import chunks
from fenzhang.store.clearingtables import CycleRow, PayoutRow
from fenzhang.store.cycletables import CyclePlan, PlannedPayout, PlanState
from fenzhang.store.tables import Participant


class UnknownCycle(FenzhangError):
    """No cycle of this currency, scheme and number is planned or closed."""

    code = "unknown_cycle"


class UnknownPayout(FenzhangError):
    """The cycle has nothing to tell about this participant."""

    code = "unknown_payout"


class CycleState(StrEnum):
    """How far a cycle has come."""

    PLANNED = "PLANNED"
    """It waits for the clearing bank's signature."""
    SIGNED = "SIGNED"
    """It waits to be closed on the chain."""
    CLOSED = "CLOSED"
    """Closed on the chain; its payouts are being taken."""
    TAKEN = "TAKEN"
    """Each of its payouts was taken or refused."""


class CycleName(NamedTuple):
    """Which cycle, and its place in lists."""

    currency: str
    scheme: str
    number: int

    def __str__(self) -> str:
        return f"{self.currency}-{self.number}-{self.scheme}"


@dataclass(frozen=True, slots=True)
class ShownCycle:
    """A cycle: what was planned, and how it is closed on the chain. Either is None where it does not exist."""

    name: CycleName
    plan: CyclePlan | None
    closed: CycleRow | None

    @property
    def state(self) -> CycleState:
        """How far it has come."""
        if self.plan is not None and self.plan.state == PlanState.TAKEN:
            return CycleState.TAKEN
        if self.closed is not None:
            return CycleState.CLOSED
        signed = self.plan is not None and self.plan.state == PlanState.SIGNED
        return CycleState.SIGNED if signed else CycleState.PLANNED

    @property
    def content(self) -> CyclePlan | CycleRow:
        """What it pays and vouches for: as the chain has it, else as it was planned."""
        found = self.closed or self.plan
        if found is None:
            raise ValueError("a cycle is planned or closed")
        return found


@dataclass(frozen=True, slots=True)
class ShownPayout:
    """What a cycle does for a participant, and what became of its payout on the chain (None: nothing yet)."""

    name: CycleName
    planned: PlannedPayout
    reference: str | None
    """What its platform calls the participant; None for one that is not known here."""
    platform_id: bytes | None
    state: str | None
    reason: str | None


async def cycles(
    session: AsyncSession,
    limit: int,
    *,
    currency: str | None = None,
    scheme: str | None = None,
    after: CycleName | None = None,
) -> list[ShownCycle]:
    """Up to `limit` cycles by currency, scheme and number, those behind `after`. Void plans are left out."""
    keys = union(
        select(CyclePlan.currency, CyclePlan.scheme, CyclePlan.number).where(
            CyclePlan.state != PlanState.VOID.value
        ),
        select(CycleRow.currency, CycleRow.scheme, CycleRow.number),
    ).subquery()
    query: Select[Any] = select(keys.c.currency, keys.c.scheme, keys.c.number)
    if currency is not None:
        query = query.where(keys.c.currency == currency)
    if scheme is not None:
        query = query.where(keys.c.scheme == scheme)
    order = (keys.c.currency, keys.c.scheme, keys.c.number)
    if after is not None:
        query = query.where(tuple_(*order) > tuple(after))
    rows = await session.execute(query.order_by(*order).limit(limit))
    return [await _shown(session, CycleName(*row)) for row in rows.all()]


async def cycle(session: AsyncSession, name: CycleName) -> ShownCycle:
    """A cycle. Raises UnknownCycle."""
    found = await _shown(session, name)
    if found.plan is None and found.closed is None:
        raise UnknownCycle(f"there is no cycle {name.number} of {name.currency} {name.scheme}")
    return found


async def _shown(session: AsyncSession, name: CycleName) -> ShownCycle:
    plan = select(CyclePlan).where(
        CyclePlan.currency == name.currency,
        CyclePlan.scheme == name.scheme,
        CyclePlan.number == name.number,
        CyclePlan.state != PlanState.VOID.value,
    )
    closed = select(CycleRow).where(
        CycleRow.currency == name.currency, CycleRow.scheme == name.scheme, CycleRow.number == name.number
    )
    return ShownCycle(
        name,
        (await session.execute(plan)).scalar_one_or_none(),
        (await session.execute(closed)).scalar_one_or_none(),
    )


async def payouts_of_cycle(
    session: AsyncSession, plan: CyclePlan, platform_id: bytes | None, after: bytes, limit: int
) -> list[ShownPayout]:
    """Up to `limit` participants of a plan, by id, those behind `after`: a platform's, or with None all.

    Those left out are among them.
    """
    query = _payouts().where(PlannedPayout.plan_id == plan.id, PlannedPayout.participant_id > after)
    query = _of(query, platform_id).order_by(PlannedPayout.participant_id).limit(limit)
    return [_payout(row) for row in await session.execute(query)]


async def payout_of_participant(session: AsyncSession, plan: CyclePlan, participant_id: bytes) -> ShownPayout:
    """What a plan does for a participant. Raises UnknownPayout."""
    query = _payouts().where(PlannedPayout.plan_id == plan.id, PlannedPayout.participant_id == participant_id)
    row = (await session.execute(query)).first()
    if row is None:
        raise UnknownPayout("the cycle has nothing to tell about this participant")
    return _payout(row)


async def payouts(
    session: AsyncSession,
    platform_id: bytes | None,
    after: tuple[int, int],
    limit: int,
    participant_id: bytes | None = None,
) -> list[ShownPayout]:
    """Up to `limit` payouts by plan and index, those behind `after`: a platform's, or with None all."""
    place = tuple_(PlannedPayout.plan_id, PlannedPayout.index)
    query = _of(_payouts(), platform_id).where(PlannedPayout.index.is_not(None), place > after)
    if participant_id is not None:
        query = query.where(PlannedPayout.participant_id == participant_id)
    query = query.order_by(PlannedPayout.plan_id, PlannedPayout.index).limit(limit)
    return [_payout(row) for row in await session.execute(query)]


async def left_out_counts(session: AsyncSession, plan_ids: Sequence[int]) -> dict[int, dict[str, int]]:
    """How many participants plans leave out, by plan and reason."""
    found: dict[int, dict[str, int]] = {}
    for chunk in chunks(plan_ids):
        query = select(PlannedPayout.plan_id, PlannedPayout.left_out).where(
            PlannedPayout.plan_id.in_(chunk), PlannedPayout.left_out.is_not(None)
        )
        for plan_id, reason in await session.execute(query):
            reasons = found.setdefault(plan_id, {})
            reasons[reason or ""] = reasons.get(reason or "", 0) + 1
    return found


def _payouts() -> Select[*tuple[Any, ...]]:
    return (
        select(
            PlannedPayout,
            CyclePlan.currency,
            CyclePlan.scheme,
            CyclePlan.number,
            Participant.reference,
            Participant.platform_id,
            PayoutRow.state,
            PayoutRow.reason,
        )
        .join(
            CyclePlan,
            and_(CyclePlan.id == PlannedPayout.plan_id, CyclePlan.state != PlanState.VOID.value),
        )
        .outerjoin(Participant, Participant.id == PlannedPayout.participant_id)
        .outerjoin(PayoutRow, PayoutRow.payout_id == PlannedPayout.payout_id)
    )


def _of(query: Select[*tuple[Any, ...]], platform_id: bytes | None) -> Select[*tuple[Any, ...]]:
    return query if platform_id is None else query.where(Participant.platform_id == platform_id)


def _payout(row: Row[*tuple[Any, ...]]) -> ShownPayout:
    planned, currency, scheme, number, reference, platform_id, state, reason = tuple(row)
    return ShownPayout(CycleName(currency, scheme, number), planned, reference, platform_id, state, reason)
