"""What may leave an order's merchant by splits: the cap of its rule version and its platform, and what is left of it.

The chain keeps the sum of an order only while it is under a cap, from its first split under it. A split that leaves
nothing on an order without a sum need not be counted, and neither need what a refund takes from splits, which it does
when the order holds nothing: what makes it hold money again is a return, which adds up anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fenzhang.domain.allocation import Allocation
from fenzhang.domain.errors import ShareOutAboveCap
from fenzhang.domain.records import PastRecord, RecordKind
from fenzhang.domain.rules import BASIS_POINTS
from fenzhang.domain.world import Order, World


def to_others(allocations: Iterable[Allocation], merchant: bytes) -> int:
    """What allocations give to others than the merchant, minor units."""
    return sum(leaf.amount for leaf in allocations if leaf.recipient != merchant)


def most_share_out(captured: int, cap: int) -> int:
    """The most that may leave the merchant of an order under a cap in basis points, minor units."""
    return captured * cap // BASIS_POINTS


def shared_out(past: Sequence[PastRecord], merchant: bytes) -> int:
    """What splits of an order gave to others than its merchant, less what was returned and refunded, minor units."""
    signs = {RecordKind.SPLIT: 1, RecordKind.RETURN: -1, RecordKind.REFUND: -1}
    return sum(
        signs[record.kind] * to_others(record.allocations, merchant)
        for record in past
        if record.kind in signs
    )


def check_share_out(world: World, order: Order, allocations: Iterable[Allocation]) -> None:
    """Raises ShareOutAboveCap for a split that gives more to others than the order's cap still allows."""
    capture, cap = order.capture, world.cap_of(order.capture)
    if not cap:
        return
    leaving = to_others(allocations, capture.merchant)
    left = max(most_share_out(capture.amount, cap) - world.shared_out[capture.order_id], 0)
    if leaving > left:
        raise ShareOutAboveCap(capture.order_id, leaving, left)


def count_share_out(world: World, order: Order, record: PastRecord) -> None:
    """Take a record of an order into the sum that the chain keeps, after its past and held money took it in."""
    capture = order.capture
    if record.kind not in {RecordKind.SPLIT, RecordKind.RETURN} or not world.cap_of(capture):
        return
    if record.kind is RecordKind.RETURN:
        world.shared_out[capture.order_id] = shared_out(order.past, capture.merchant)
    elif order.held or world.shared_out[capture.order_id]:
        world.shared_out[capture.order_id] += to_others(record.allocations, capture.merchant)
