"""Orders as the mirror keeps them: loaded and stored in bulk, and recomputed after a reorganisation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.chain.evidence import ZERO_HEAD, next_head
from fenzhang.domain.past import held_change
from fenzhang.domain.records import NOTHING, RecordKind
from fenzhang.mirror.entries import OrderState
from fenzhang.store.bulk import chunks, insert_rows, update_rows
from fenzhang.store.orders import capture_of
from fenzhang.store.tables import Allocation, Order, Record


async def load_orders(session: AsyncSession, order_ids: Collection[bytes]) -> dict[bytes, OrderState]:
    """Those of the orders that have been captured."""
    found: dict[bytes, OrderState] = {}
    for chunk in chunks(sorted(order_ids)):
        for order in (await session.execute(select(Order).where(Order.order_id.in_(chunk)))).scalars():
            found[order.order_id] = OrderState(capture_of(order), order.held, order.head)
    return found


async def store_orders(session: AsyncSession, orders: Collection[OrderState]) -> None:
    """Write orders that were captured or changed."""
    await insert_rows(
        session,
        Order,
        [
            {
                "order_id": order.capture.order_id,
                "platform_id": order.capture.platform,
                "merchant": order.capture.merchant,
                "rule_id": order.capture.rule_id,
                "rule_version": order.capture.rule_version,
                "currency": order.capture.currency,
                "bindings": b"".join(order.capture.bindings),
                "captured": order.capture.amount,
                "held": order.held,
                "head": order.head,
                "hold_until": order.capture.hold_until,
                "expires_at": order.capture.expires_at,
                "facts": _unless_nothing(order.capture.facts),
                "condition_id": _unless_nothing(order.capture.condition),
            }
            for order in orders
            if order.is_new
        ],
    )
    await update_rows(
        session,
        Order,
        "order_id",
        [
            {"order_id": order.capture.order_id, "held": order.held, "head": order.head}
            for order in orders
            if not order.is_new
        ],
    )


async def recompute_orders(session: AsyncSession, order_ids: Sequence[bytes]) -> None:
    """Bring orders to what their canonical records make of them; an order without a capture goes."""
    for chunk in chunks(order_ids):
        taken = (
            select(func.coalesce(func.sum(Allocation.amount), 0))
            .where(Allocation.record_id == Record.id)
            .scalar_subquery()
        )
        query = (
            select(Record.order_id, Record.kind, Record.amount, taken, Record.leaf)
            .where(Record.order_id.in_(chunk), Record.canonical.is_(True))
            .where(Record.kind != RecordKind.REJECTION)
            .order_by(Record.id)
        )
        records: dict[bytes, list[tuple[int, int, int, bytes]]] = defaultdict(list)
        for order_id, kind, amount, takes, leaf in await session.execute(query):
            records[order_id].append((kind, amount, int(takes), leaf))
        gone = [order_id for order_id in chunk if order_id not in records]
        await session.execute(delete(Order).where(Order.order_id.in_(gone)))
        rows = []
        for order_id, settled in records.items():
            held, head = fold(settled)
            rows.append({"order_id": order_id, "held": held, "head": head})
        await update_rows(session, Order, "order_id", rows)


def fold(records: Sequence[tuple[int, int, int, bytes]]) -> tuple[int, bytes]:
    """Held amount and head of an order from (kind, amount, sum of allocations, leaf) of its records in order."""
    held, head = 0, ZERO_HEAD
    for kind, amount, taken, leaf in records:
        held += held_change(RecordKind(kind), amount, taken)
        if kind != RecordKind.CAPTURE:
            head = next_head(head, leaf)
    return held, head


def _unless_nothing(word: bytes) -> bytes | None:
    return None if word == NOTHING else word
