"""The past of an order: what its records made of its held money, and what its leaves can still give back.

contracts/libraries/Past.sol says the same of an opened past.
"""

from __future__ import annotations

from collections.abc import Sequence

from fenzhang.domain.allocation import Allocation
from fenzhang.domain.records import PastRecord, RecordKind


def held_change(kind: RecordKind, amount: int, taken: int) -> int:
    """What a settled record adds to the held money of its order. `taken`: the sum of its allocations."""
    match kind:
        case RecordKind.CAPTURE | RecordKind.RETURN:
            return amount
        case RecordKind.REFUND:
            return taken - amount
        case RecordKind.SPLIT | RecordKind.RELEASE:
            return -amount
        case _:
            return 0


def add_up(kind: RecordKind, amount: int, allocations: Sequence[Allocation]) -> bool:
    """Whether a record's allocations, if it has any, come to its amount; those of a REFUND to no more than it.

    Those of a RESOLUTION are from where and to whom, each the whole amount.
    """
    total = sum(allocation.amount for allocation in allocations)
    match kind:
        case RecordKind.REFUND:
            return total <= amount
        case RecordKind.RESOLUTION:
            return [allocation.amount for allocation in allocations] == [amount, amount]
        case _:
            return not allocations or total == amount


def order_leaves(past: Sequence[PastRecord], merchant: bytes) -> list[Allocation]:
    """What each leaf of an order can still give back: what it got, less what was returned and refunded from it.

    Leaves are those of all its splits, and for each release one that is the order's merchant, in the order of the
    records. So many of them as were there then, a refund took from.
    """
    leaves: list[Allocation] = []
    for record in past:
        match record.kind:
            case RecordKind.SPLIT:
                leaves += record.allocations
            case RecordKind.RELEASE:
                leaves.append(Allocation(merchant, record.amount))
            case RecordKind.RETURN:
                place = split_place(past, record.split_id)
                _take_from(leaves, 0 if place is None else place.start, record.allocations)
            case _:
                _take_from(leaves, 0, record.allocations)
    return leaves


def _take_from(leaves: list[Allocation], first: int, takes: Sequence[Allocation]) -> None:
    for place, taken in enumerate(takes, first):
        leaf = leaves[place]
        leaves[place] = Allocation(leaf.recipient, leaf.amount - taken.amount)


def split_place(past: Sequence[PastRecord], split_id: bytes) -> slice | None:
    """Where the leaves of a split stand among those of its order; None when the order has no such split.

    Should an order have several splits of one id, the first is meant, and every return of that id counts against it.
    """
    first = 0
    for record in past:
        if record.kind is RecordKind.SPLIT:
            count = len(record.allocations)
            if record.id == split_id:
                return slice(first, first + count)
            first += count
        first += record.kind is RecordKind.RELEASE
    return None


def returnable(past: Sequence[PastRecord], split_id: bytes) -> list[Allocation] | None:
    """What each leaf of a split can still give back; None when the order has no such split."""
    place = split_place(past, split_id)
    return None if place is None else order_leaves(past, bytes(32))[place]
