"""What the end of a demo's day came to, as plain values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

from fenzhang.clearing.reconciliation.sides import Sides
from fenzhang.replay.run import ReplayReport
from fenzhang.store.clearingtables import PayoutRowState
from fenzhang.store.reconciliationtables import BreakState

FINAL: Final = frozenset(each.value for each in PayoutRowState if each is not PayoutRowState.IN_TRANSIT)
"""States of payouts that are decided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleReport:
    """A cycle that was closed: its payouts by what became of them, and who got none by the reason. Minor units."""

    currency: str
    scheme: str
    number: int
    closes: int
    payouts: int
    total: int
    states: dict[str, int]
    left_out: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakReport:
    """A break, and how it stands at the end of the day."""

    number: int
    kind: str
    owner: str
    currency: str | None
    amount: int | None
    state: str
    note: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DayEnd:
    """What the end of the day came to."""

    cycles: list[CycleReport]
    afternoon: ReplayReport | None
    breaks: list[BreakReport]
    sides: dict[str, Sides]
    bills: dict[str, str]
    """SHA-256 of each file."""
    repaired: int
    """Accounts that could not be paid to at noon, and can in the evening."""
    paid_twice: int
    """Payouts; there must be none."""
    seconds: dict[str, float]

    @property
    def clean(self) -> bool:
        """Whether everything came to an end, nothing was paid twice, and each break is explained."""
        decided = all(set(cycle.states) <= FINAL for cycle in self.cycles)
        explained = all(each.state != BreakState.OPEN for each in self.breaks)
        played = self.afternoon is None or self.afternoon.complete
        return decided and explained and played and not self.paid_twice

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "cycles": [asdict(cycle) for cycle in self.cycles],
            "afternoon": None if self.afternoon is None else self.afternoon.to_json(),
            "breaks": [asdict(each) for each in self.breaks],
            "sides": {currency: asdict(each) for currency, each in self.sides.items()},
            "bills": self.bills,
            "repaired_accounts": self.repaired,
            "paid_twice": self.paid_twice,
        }
