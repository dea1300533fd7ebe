"""Where the scenario's platforms stand on the chain: read from a node, with no help of the API or its database."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from fenzhang.chain.deployments import Deployment, check_deployment
from fenzhang.chain.errors import RpcError
from fenzhang.chain.events import decode_logs
from fenzhang.chain.eventtypes import (
    CycleClosed,
    Event,
    OrderCaptured,
    OrderRefunded,
    OrderReleased,
    OrderSplit,
    PayoutFailed,
    PayoutReturned,
    PayoutTaken,
    SuspenseResolved,
)
from fenzhang.chain.evidence import held_of_slot
from fenzhang.chain.node import NodeClient
from fenzhang.chain.views import ChainView
from fenzhang.domain.suspense import suspense_id

HELD = "(held)"
REFUNDED = "(refunded)"
CAPTURED = "(captured)"
PAID_OUT = "(paid out)"
WAITS = "(waits)"
"""Behind the name of a participant: its suspense position."""
_RANGE = 256
"""Blocks in one question for logs, at first."""
_ATTEMPTS = 3
"""A node that keeps few past states may drop a block's while it is asked; then a newer one is taken."""


@dataclass(frozen=True, slots=True)
class CurrencyStanding:
    """Of one currency, minor units. `positions` is by the scenario's name, summed over its platforms."""

    positions: Mapping[str, int]
    held: int
    refunded: int
    captured: int
    paid_out: int = 0
    """In transit to accounts, or there."""

    @property
    def conserved(self) -> bool:
        """Whether positions, held, refunded and paid out money are what was captured."""
        return sum(self.positions.values()) + self.held + self.refunded + self.paid_out == self.captured

    def to_json(self) -> dict[str, int]:
        """Name to amount; `(held)`, `(refunded)` and `(captured)` beside the names, `(paid out)` if there is any."""
        others = {HELD: self.held, REFUNDED: self.refunded, CAPTURED: self.captured}
        if self.paid_out:
            others[PAID_OUT] = self.paid_out
        return {**dict(sorted(self.positions.items())), **others}


@dataclass(slots=True)
class _Seen:
    """What the events tell: orders and their amounts by currency, and who was ever allocated something."""

    orders: dict[bytes, str] = field(default_factory=dict)
    captured: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    refunded: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    recipients: defaultdict[str, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    cycles: dict[bytes, str] = field(default_factory=dict)
    """Currencies of cycles."""
    paid_out: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))

    def take(self, event: Event, platforms: frozenset[bytes]) -> None:
        match event:
            case OrderCaptured() if event.platform in platforms:
                self.orders[event.order_id] = event.currency
                self.captured[event.currency] += event.amount
            case OrderSplit() if event.order_id in self.orders:
                self.recipients[self.orders[event.order_id]].update(
                    allocation.recipient for allocation in event.allocations
                )
            case OrderReleased() if event.order_id in self.orders:
                self.recipients[self.orders[event.order_id]].add(event.merchant)
            case OrderRefunded() if event.order_id in self.orders:
                self.refunded[self.orders[event.order_id]] += event.amount
            case SuspenseResolved() if suspense_id(event.participant) in self.recipients[event.currency]:
                self.recipients[event.currency].add(event.heir)
            case CycleClosed():
                self.cycles[event.cycle_id] = event.cycle.currency
            case PayoutTaken() | PayoutFailed() | PayoutReturned():
                currency = self.cycles[event.cycle_id]
                if event.participant in self.recipients[currency]:
                    self.paid_out[currency] += (
                        event.amount if isinstance(event, PayoutTaken) else -event.amount
                    )


async def read_standing(
    node: NodeClient, deployment: Deployment, platforms: Sequence[bytes], names: Mapping[bytes, str]
) -> dict[str, CurrencyStanding]:
    """Positions, held and captured money of all orders of `platforms` (ids), by currency, at one block.

    `names` is the scenario's name of each participant; one that is not in it goes by its 0x id.
    Raises DeploymentMismatch, NodeUnavailable, RpcError.
    """
    await check_deployment(node, deployment)
    for attempt in range(1, _ATTEMPTS + 1):
        block = await node.block_number()
        try:
            return await _read(ChainView(node, deployment, block), block, frozenset(platforms), names)
        except RpcError:
            if attempt == _ATTEMPTS:
                raise
    raise AssertionError("the last attempt returns or raises")


async def _read(
    view: ChainView, block: int, platforms: frozenset[bytes], names: Mapping[bytes, str]
) -> dict[str, CurrencyStanding]:
    seen = _Seen()
    async for event in _events(view.node, view.deployment, block):
        seen.take(event, platforms)
    held: defaultdict[str, int] = defaultdict(int)
    slots = await view.order_slots(list(seen.orders))
    for currency, slot in zip(seen.orders.values(), slots, strict=True):
        held[currency] += held_of_slot(slot)
    standing = {}
    for currency in sorted(seen.captured):
        ids = sorted(seen.recipients[currency])
        positions: defaultdict[str, int] = defaultdict(int)
        for recipient, amount in zip(ids, await view.positions(currency, ids), strict=True):
            positions[names.get(recipient, "0x" + recipient.hex())] += amount
        standing[currency] = CurrencyStanding(
            positions,
            held[currency],
            seen.refunded[currency],
            seen.captured[currency],
            seen.paid_out[currency],
        )
    return standing


async def _events(node: NodeClient, deployment: Deployment, last: int) -> AsyncIterator[Event]:
    """All events of the ledger and the clearing house up to a block, in order."""
    edges = [*range(deployment.block_number, last + 1, _RANGE), last + 1]
    for first, after in pairwise(edges):
        logs = await node.logs([deployment.split_ledger, deployment.clearing_house], first, after - 1)
        for event in decode_logs(logs, deployment.contracts):
            yield event
