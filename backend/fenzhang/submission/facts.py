"""What the mirror knows of the orders that pending instructions touch: the witnesses, and what a split costs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.domain.allocation import Allocation
from fenzhang.domain.past import order_leaves
from fenzhang.domain.records import Capture, PastRecord, RecordKind
from fenzhang.domain.rules import MAX_LEAVES, MAX_LEGS, leaf_indices
from fenzhang.domain.schedules import SCHEDULE
from fenzhang.store import payloads, tables
from fenzhang.store.bulk import chunks
from fenzhang.store.orders import capture_of
from fenzhang.submission.picking import Unit

RuleKey = tuple[bytes, bytes, int]
"""Platform, rule id, version."""
_ID_SIZE = 32


@dataclass(frozen=True, slots=True)
class KnownOrder:
    """A captured order as the mirror has it. `past` is opened only for orders with a pending return or refund."""

    capture: Capture
    head: bytes
    past: tuple[PastRecord, ...] = ()

    @property
    def past_leaves(self) -> int:
        """Allocations in all records of the past."""
        return sum(len(record.allocations) for record in self.past)

    @property
    def leaves(self) -> list[Allocation]:
        """All that a refund may take from."""
        return order_leaves(self.past, self.capture.merchant)


@dataclass(frozen=True, slots=True)
class Shape:
    """What the cost of a split depends on. `recipients` are those that the rule itself names."""

    legs: int
    leaves: int
    recipients: tuple[bytes, ...]
    capped: bool = False


LARGEST_SHAPE = Shape(MAX_LEGS, MAX_LEAVES, (), capped=True)
"""Of a rule that this database does not have."""


@dataclass(slots=True)
class Facts:
    """Everything that planning looks up."""

    orders: dict[bytes, KnownOrder] = field(default_factory=dict)
    shapes: dict[RuleKey, Shape] = field(default_factory=dict)
    capped_platforms: frozenset[bytes] = frozenset()
    entries: dict[bytes, int] = field(default_factory=dict)
    """Of platforms with a schedule: how many entries it has at most."""

    def is_capped(self, capture: Capture) -> bool:
        """Whether splits of an order are under a cap."""
        return self.shape_of(capture).capped or capture.platform in self.capped_platforms

    def shape_of(self, capture: Capture) -> Shape:
        """Shape of the rule version that an order is split by."""
        return self.shapes.get(rule_key(capture), LARGEST_SHAPE)


def rule_key(capture: Capture) -> RuleKey:
    """The rule version of an order."""
    return capture.platform, capture.rule_id, capture.rule_version


class FactsLoader:
    """Loads facts in bulk. Versions of rules never change, so their shapes are remembered."""

    def __init__(self) -> None:
        self._shapes: dict[RuleKey, Shape] = {}

    async def load(self, session: AsyncSession, units: Sequence[Unit]) -> Facts:
        """What is known of the orders of `units`."""
        items = [item for unit in units for item in unit.items]
        orders = await _load_orders(session, {item.order_id for item in items})
        opened = {
            item.order_id
            for item in items
            if not isinstance(item.what, Capture) and item.what.kind.opens_past
        }
        for order_id, past in (await _load_past(session, opened & orders.keys())).items():
            orders[order_id] = KnownOrder(orders[order_id].capture, orders[order_id].head, past)
        captures = [item.what for item in items if isinstance(item.what, Capture)]
        captures += [order.capture for order in orders.values()]
        await self._load_shapes(session, {rule_key(capture) for capture in captures})
        platforms = {capture.platform for capture in captures}
        capped = await _capped_platforms(session, platforms)
        return Facts(orders, self._shapes, capped, await _entries(session, platforms))

    async def _load_shapes(self, session: AsyncSession, keys: Iterable[RuleKey]) -> None:
        version = tables.RuleVersion
        for chunk in chunks(sorted(set(keys) - self._shapes.keys()), 200):
            query = select(
                version.platform_id, version.rule_id, version.version, version.legs, version.terms
            ).where(tuple_(version.platform_id, version.rule_id, version.version).in_(list(chunk)))
            for platform, rule_id, number, stored, terms in await session.execute(query):
                legs = payloads.legs_from_json(stored)
                fixed = {leg.recipient for leg in legs if leg.recipient is not None}
                self._shapes[platform, rule_id, number] = Shape(
                    len(legs),
                    len(leaf_indices(legs)),
                    tuple(sorted(fixed)),
                    capped=payloads.terms_from_json(terms).max_share_out != 0,
                )


async def _capped_platforms(session: AsyncSession, platforms: Collection[bytes]) -> frozenset[bytes]:
    found: set[bytes] = set()
    for chunk in chunks(sorted(platforms)):
        query = select(tables.Participant.id).where(
            tables.Participant.id.in_(chunk), tables.Participant.max_share_out != 0
        )
        found.update((await session.execute(query)).scalars())
    return frozenset(found)


async def _entries(session: AsyncSession, platforms: Collection[bytes]) -> dict[bytes, int]:
    """The largest version counts, for any of them may be in force by the time of capture."""
    version = tables.RuleVersion
    found: dict[bytes, int] = {}
    for chunk in chunks(sorted(platforms)):
        query = select(version.platform_id, version.entries).where(
            version.platform_id.in_(chunk),
            version.rule_id == SCHEDULE,
            version.proposed,
            version.vetoed.is_(False),
            version.retired.is_(False),
        )
        for platform, entries in await session.execute(query):
            found[platform] = max(found.get(platform, 0), len(entries))
    return found


async def _load_orders(session: AsyncSession, order_ids: Collection[bytes]) -> dict[bytes, KnownOrder]:
    found: dict[bytes, KnownOrder] = {}
    for chunk in chunks(sorted(order_ids)):
        query = select(tables.Order).where(tables.Order.order_id.in_(chunk))
        for order in (await session.execute(query)).scalars():
            found[order.order_id] = KnownOrder(capture_of(order), order.head)
    return found


async def _load_past(
    session: AsyncSession, order_ids: Collection[bytes]
) -> dict[bytes, tuple[PastRecord, ...]]:
    """The settled records of orders after their captures, opened, in order."""
    past: dict[bytes, list[PastRecord]] = {order_id: [] for order_id in order_ids}
    for chunk in chunks(sorted(order_ids), 200):
        record = tables.Record
        rows = (
            await session.execute(
                select(
                    record.id,
                    record.kind,
                    record.instruction_id,
                    record.order_id,
                    record.split_id,
                    record.amount,
                )
                .where(
                    record.order_id.in_(chunk),
                    record.canonical.is_(True),
                    record.kind.not_in([int(RecordKind.CAPTURE), int(RecordKind.REJECTION)]),
                )
                .order_by(record.id)
            )
        ).all()
        leaves = await _load_allocations(session, [row.id for row in rows])
        for row in rows:
            kind = RecordKind(row.kind)
            past[row.order_id].append(
                PastRecord(
                    kind=kind,
                    id=row.instruction_id,
                    amount=row.amount,
                    split_id=row.split_id or bytes(_ID_SIZE),
                    # A release is told by the merchant alone.
                    allocations=() if kind is RecordKind.RELEASE else tuple(leaves[row.id]),
                )
            )
    return {order_id: tuple(records) for order_id, records in past.items()}


async def _load_allocations(session: AsyncSession, record_ids: Sequence[int]) -> dict[int, list[Allocation]]:
    leaves: dict[int, list[Allocation]] = {record_id: [] for record_id in record_ids}
    allocation = tables.Allocation
    for chunk in chunks(record_ids):
        query = (
            select(allocation.record_id, allocation.recipient, allocation.amount)
            .where(allocation.record_id.in_(chunk))
            .order_by(allocation.record_id, allocation.leaf)
        )
        for record_id, recipient, amount in await session.execute(query):
            leaves[record_id].append(Allocation(recipient, amount))
    return leaves
