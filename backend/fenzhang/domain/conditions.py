"""Conditions of orders: what must happen, until when, before their money is split. Twin of contracts/Conditions.sol."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from fenzhang.domain.records import NOTHING


class ConditionState(IntEnum):
    """How far a condition is. The numbers are those of the contracts."""

    UNKNOWN = 0
    OPEN = 1
    REACHED = 2
    MISSED = 3


@dataclass(slots=True)
class Condition:
    """A condition that a platform opened: `needed` orders captured, and confirmed by `confirmer` if it is not NOTHING.

    Both in time, which `deadline` (Unix seconds) still is. `count` is how many orders have joined in time.
    """

    needed: int
    deadline: int
    confirmer: bytes = NOTHING
    count: int = 0
    confirmed: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether all that it asks for has happened. Nothing counts after the deadline, so this never changes back."""
        return self.count >= self.needed and (self.confirmer == NOTHING or self.confirmed)

    @property
    def is_opened(self) -> bool:
        """Whether it is there at all: what the chain answers about another has no deadline."""
        return self.deadline > 0

    @property
    def is_reached(self) -> bool:
        """Whether it is there and complete."""
        return self.is_opened and self.is_complete

    def may_reach(self, further: int) -> bool:
        """Whether so many further orders in time would complete it."""
        confirmed = self.confirmer == NOTHING or self.confirmed
        return confirmed and self.count + further >= self.needed

    def is_in_time(self, now: int) -> bool:
        """Whether what happens at `now` (Unix seconds) counts."""
        return now <= self.deadline

    def state_at(self, now: int) -> ConditionState:
        """State at `now` (Unix seconds)."""
        if self.is_complete:
            return ConditionState.REACHED
        return ConditionState.OPEN if self.is_in_time(now) else ConditionState.MISSED

    def join(self, now: int) -> None:
        """Count an order that is captured at `now` (Unix seconds)."""
        self.count += self.is_in_time(now)
