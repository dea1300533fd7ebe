"""Orders that still hold money and have expired, or whose condition was missed: submission ends them by itself.

It releases or refunds them without an instruction. What decides is the chain's time, as the newest mirrored block
tells it: so that happens on time, and after any downtime. An order is in one transaction at a time (table `expiries`).
One that a transaction passed over is tried again at once if the order has changed since, and otherwise after a pause
that doubles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, and_, exists, insert, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.domain.records import Capture, OrderWitness, ParticipantStatus
from fenzhang.store.orders import capture_of
from fenzhang.store.tables import (
    Block,
    Condition,
    Expiry,
    Freeze,
    Instruction,
    InstructionState,
    Order,
    Participant,
    Transaction,
    TransactionState,
)
from fenzhang.submission import gas as model
from fenzhang.submission.config import SubmissionConfig
from fenzhang.submission.errors import Superseded
from fenzhang.submission.lanes import Lane
from fenzhang.submission.tracking import LIVE_STATES, newest_block

_MOST_DOUBLINGS = 20


@dataclass(frozen=True, slots=True)
class Try:
    """An order that is to be expired. `before` is the transaction of the try before this one, None for none.

    `tries` counts this one too, since the order has its present head; `alone`: that transaction reverted.
    """

    capture: Capture
    head: bytes
    tries: int
    before: int | None
    alone: bool


@dataclass(frozen=True, slots=True)
class Expiring:
    """One transaction's orders, chosen at `now`, the time of the newest mirrored block (Unix seconds)."""

    tries: tuple[Try, ...]
    now: int

    @property
    def order_ids(self) -> set[bytes]:
        """Orders that it touches."""
        return {each.capture.order_id for each in self.tries}

    @property
    def witnesses(self) -> list[OrderWitness]:
        """What the contract checks the orders by."""
        return [OrderWitness(each.capture, each.head) for each in self.tries]

    def gas_limit(self, config: SubmissionConfig) -> int:
        """The model's upper bound, or all there is for an order that is tried alone."""
        if self.tries[0].alone:
            return config.gas_cap
        gas = model.TRANSACTION + sum(model.expiry_gas(each.capture) for each in self.tries)
        return min(gas, config.gas_cap)


class ExpiryPicker:
    """Picks what is due in a lane. It looks once per mirrored block, for nothing becomes due in between."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._nothing_at: int | None = None
        """Newest block when nothing was due."""

    async def is_anything_due(self, session: AsyncSession) -> bool:
        """Whether it is worth picking."""
        return await self._due_since(session) is not None

    async def _due_since(self, session: AsyncSession) -> int | None:
        """Time of the newest block if something is due by then, as far as one quick look tells; else None."""
        newest = select(Block.number, Block.timestamp).order_by(Block.number.desc()).limit(1)
        block = (await session.execute(newest)).first()
        if block is None or block.number == self._nothing_at:
            return None
        expired = select(Order.order_id).where(_EXPIRING, Order.expires_at <= block.timestamp)
        missed = select(Order.order_id).where(_WAITING, _missed(block.timestamp))
        if not (await session.execute(select(or_(expired.exists(), missed.exists())))).scalar_one():
            self._nothing_at = block.number
            return None
        return int(block.timestamp)

    async def pick(self, session: AsyncSession, config: SubmissionConfig, room: int) -> list[Expiring]:
        """At most `room` transactions with what is due now."""
        now = await self._due_since(session)
        if now is None:
            return []
        found = [
            _try(*row)
            for due in (_due_expired(self._lane, now), _due_missed(self._lane, now))
            for row in await session.execute(due.limit(config.max_orders))
        ][: config.max_orders]
        if not found:
            self._nothing_at = await newest_block(session)
        together = _fitting([each for each in found if not each.alone], config)
        alone = [(each,) for each in found if each.alone]
        return [Expiring(tries, now) for tries in (together, *alone) if tries][:room]


_EXPIRING = text("orders.expires_at > 0 AND orders.held > 0")
"""Written out: the partial index on expiring orders serves only a query that names its condition literally."""
_WAITING = text("orders.condition_id IS NOT NULL AND orders.held > 0")
"""Written out, likewise."""


def _condition_of_order() -> ColumnElement[bool]:
    return and_(Condition.condition_id == Order.condition_id, Condition.platform_id == Order.platform_id)


def _missed(now: int) -> ColumnElement[bool]:
    """Whether the condition of an order was missed."""
    return exists().where(_condition_of_order(), Condition.reached.is_(False), Condition.deadline < now)


def _due_expired(lane: Lane, now: int) -> Select[Order, Expiry, str]:
    """Expired orders that hold money, if their condition was reached and their merchant can receive."""
    cannot_receive = exists().where(
        Participant.id == Order.merchant, Participant.status != int(ParticipantStatus.ACTIVE)
    )
    waits = exists().where(_condition_of_order(), Condition.reached.is_(False))
    due = _due(lane, now).where(_EXPIRING, Order.expires_at <= now, ~cannot_receive, ~waits)
    return due.order_by(Order.expires_at)


def _due_missed(lane: Lane, now: int) -> Select[Order, Expiry, str]:
    """Orders that hold money and whose condition was missed."""
    return _due(lane, now).where(_WAITING, _missed(now))


def _due(lane: Lane, now: int) -> Select[Order, Expiry, str]:
    """Orders without those that would be passed over or that a transaction carries.

    With the last try and how its transaction ended, None for the first.
    """
    # A row of a split has another target than the order.
    frozen = exists().where(Freeze.target_id == Order.order_id, Freeze.ended_block.is_(None))
    carried = exists().where(
        Instruction.order_id == Order.order_id, Instruction.state == InstructionState.SUBMITTED.value
    )
    return (
        select(Order, Expiry, Transaction.state)
        .outerjoin(Expiry, Expiry.order_id == Order.order_id)
        .outerjoin(Transaction, Transaction.id == Expiry.transaction_id)
        .where(
            lane.carries_order(),
            ~frozen,
            ~carried,
            or_(Transaction.state.is_(None), Transaction.state.not_in(LIVE_STATES)),
            or_(Expiry.head.is_(None), Expiry.head != Order.head, Expiry.not_before <= now),
        )
    )


def _try(order: Order, last: Expiry | None, ended: str | None) -> Try:
    again = last is not None and last.head == order.head
    return Try(
        capture=capture_of(order),
        head=order.head,
        tries=last.tries + 1 if last is not None and again else 1,
        before=None if last is None else last.transaction_id,
        alone=again and ended == TransactionState.REVERTED.value,
    )


def _fitting(tries: Sequence[Try], config: SubmissionConfig) -> tuple[Try, ...]:
    """As many as one transaction has room for."""
    gas, size = model.TRANSACTION, model.TRANSACTION_BYTES
    for count, each in enumerate(tries):
        gas += model.expiry_gas(each.capture)
        size += model.witness_bytes(each.capture)
        if count and (gas > config.target_gas or size > config.max_calldata_bytes):
            return tuple(tries[:count])
    return tuple(tries)


async def orders_in_expiry(session: AsyncSession) -> set[bytes]:
    """Orders that live transactions are about to expire."""
    query = (
        select(Expiry.order_id)
        .join(Transaction, Transaction.id == Expiry.transaction_id)
        .where(Transaction.state.in_(LIVE_STATES))
    )
    return set((await session.execute(query)).scalars())


async def store_tries(
    session: AsyncSession, expiring: Expiring, transaction_id: int, config: SubmissionConfig
) -> None:
    """Store that a transaction carries these orders. Raises Superseded when another one does meanwhile."""
    for each in expiring.tries:
        pause = config.first_backoff_s * 2 ** min(each.tries - 1, _MOST_DOUBLINGS)
        values = {
            "transaction_id": transaction_id,
            "head": each.head,
            "tries": each.tries,
            "not_before": expiring.now + int(min(pause, config.longest_backoff_s)),
        }
        order_id = each.capture.order_id
        if each.before is None:
            await session.execute(insert(Expiry).values(order_id=order_id, **values))
            continue
        kept = await session.execute(
            update(Expiry)
            .where(Expiry.order_id == order_id, Expiry.transaction_id == each.before)
            .values(values)
            .returning(Expiry.order_id)
            .execution_options(synchronize_session=False)
        )
        if not kept.all():
            raise Superseded("another transaction expires the order", order_id=order_id)
