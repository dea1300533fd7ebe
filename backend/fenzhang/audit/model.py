"""The independent model: what the contracts must hold after the history read so far."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from fenzhang.audit.access import Access
from fenzhang.audit.stories import Entry, Focus
from fenzhang.chain.deployments import Deployment
from fenzhang.chain.evidence import ZERO_HEAD, order_slot
from fenzhang.domain.clearing import Payout
from fenzhang.domain.world import Order, World


@dataclass(slots=True)
class Trail:
    """The evidence of one order, and sums over its events (minor units)."""

    capture_hash: bytes
    head: bytes = ZERO_HEAD
    captured: int = 0
    split: int = 0
    released: int = 0
    returned: int = 0
    refunded: int = 0
    from_held: int = 0
    """Of `refunded`, what was held."""

    @property
    def held(self) -> int:
        """What the events leave on the order."""
        return self.captured - self.split - self.released + self.returned - self.from_held


@dataclass(frozen=True, slots=True)
class PayoutTrail:
    """A payout of a cycle, as it was taken or refused."""

    cycle_id: bytes
    payout: Payout


@dataclass(slots=True)
class OpenBatch:
    """Records of the transaction at hand that no batch has sealed yet."""

    leaves: list[bytes] = field(default_factory=list)
    told: list[tuple[int, Entry]] = field(default_factory=list)
    """Entries of stories, by the place of their leaf."""

    def clear(self) -> None:
        """Begin the next batch."""
        self.leaves, self.told = [], []


@dataclass(slots=True)
class Model:
    """The world by the specification, and beside it what only the chain has: evidence, roles, batches."""

    deployment: Deployment
    world: World = field(default_factory=World)
    access: Access = field(default_factory=Access)
    trails: dict[bytes, Trail] = field(default_factory=dict)
    """By order id."""
    roots: list[bytes] = field(default_factory=list)
    """Of batch 1, 2, …, recomputed from their records."""
    open: OpenBatch = field(default_factory=OpenBatch)
    focus: Focus = field(default_factory=Focus)
    content_hashes: dict[tuple[bytes, bytes, int], bytes] = field(default_factory=dict)
    """Recomputed, by platform, rule id and version."""
    consents_seen: set[tuple[bytes, bytes]] = field(default_factory=set)
    """Pairs of recipient and platform whose consent was ever given or taken back."""
    freezes_seen: set[tuple[bytes, bytes]] = field(default_factory=set)
    """Orders (with 32 zero bytes) and splits that were ever frozen: by order and split id."""
    participant_freezes_seen: set[bytes] = field(default_factory=set)
    """Participants that were ever frozen."""
    reached: set[tuple[bytes, bytes]] = field(default_factory=set)
    """Conditions of which was told that they are reached: by platform and condition id."""
    paid: set[bytes] = field(default_factory=set)
    """Participants that were ever allocated or released money."""
    switched: set[str] = field(default_factory=set)
    """Currencies that were ever opened or closed."""
    uncaptured: set[bytes] = field(default_factory=set)
    """Orders that a rejection names and that were not captured then."""
    opaque_signers: set[bytes] = field(default_factory=set)
    """Signers some of whose nonces may have been used where calldata does not show it."""

    payouts: dict[bytes, PayoutTrail] = field(default_factory=dict)
    """Payouts that were taken or refused, by their ids."""

    def slot_of(self, order_id: bytes) -> int:
        """The storage slot that an order must have; 0 when it was never captured."""
        order, trail = self.world.orders.get(order_id), self.trails.get(order_id)
        if order is None or trail is None:
            return 0
        # Negative after a split that should have been refused; no slot can hold that, so one will differ.
        return order_slot(trail.capture_hash, trail.head, max(order.held, 0))

    def orders_of(self, currency: str) -> Iterator[Order]:
        """Orders captured in a currency."""
        return (order for order in self.world.orders.values() if order.capture.currency == currency)

    @property
    def currencies(self) -> list[str]:
        """Currencies ever captured or switched, sorted."""
        return sorted(self.switched | set(self.world.totals))

    @property
    def captured_currencies(self) -> list[str]:
        """Currencies ever captured, sorted."""
        return sorted(self.world.totals)
