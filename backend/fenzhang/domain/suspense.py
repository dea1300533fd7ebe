"""Suspense positions: shares that wait because their recipient was not active when the order was split."""

from __future__ import annotations

from fenzhang.domain.errors import NothingParked, RecipientNotActive
from fenzhang.domain.records import ParticipantStatus
from fenzhang.domain.world import World


def suspense_id(participant: bytes) -> bytes:
    """The id under which the suspense position of a participant stands, and back: its complement."""
    return bytes(byte ^ 0xFF for byte in participant)


def resolve(world: World, currency: str, participant: bytes) -> tuple[bytes, int]:
    """Give all that waits for a participant to itself, or to the heir of a closed one: to whom, and how much.

    Raises RecipientNotActive while whoever would get it is not, NothingParked.
    """
    heir = world.heir_of(participant)
    if heir is None or world.status_of(heir) is not ParticipantStatus.ACTIVE:
        raise RecipientNotActive(participant)
    suspense = (currency, suspense_id(participant))
    waiting = world.positions.get(suspense, 0)
    if waiting <= 0:
        raise NothingParked(currency, participant)
    world.positions[suspense] = 0
    world.positions[currency, heir] += waiting
    return heir, waiting
