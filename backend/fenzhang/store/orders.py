"""Orders' rows as what was attested about them."""

from __future__ import annotations

from fenzhang.domain.records import NOTHING, Capture
from fenzhang.store.tables import Order

_ID_SIZE = 32


def capture_of(order: Order) -> Capture:
    """The capture of an order."""
    return Capture(
        order_id=order.order_id,
        platform=order.platform_id,
        merchant=order.merchant,
        rule_id=order.rule_id,
        rule_version=order.rule_version,
        currency=order.currency,
        amount=order.captured,
        bindings=bindings_of(order),
        hold_until=order.hold_until,
        expires_at=order.expires_at,
        facts=order.facts or NOTHING,
        condition=order.condition_id or NOTHING,
    )


def bindings_of(order: Order) -> tuple[bytes, ...]:
    """Participant ids bound at the capture, in order of the rule's roles."""
    packed = order.bindings
    return tuple(packed[at : at + _ID_SIZE] for at in range(0, len(packed), _ID_SIZE))
