"""Lanes: signing keys that send settlements side by side, and which of them sends what.

Platforms are divided by their ids, which are random. An order is its platform's, so what belongs to one order is sent
by one key, in the order of acceptance. How the platforms are divided may differ for a moment between processes (a key
was added): each instruction is still stored in one transaction only, and an order in flight keeps all lanes waiting.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, SQLColumnExpression, and_, func, true

from fenzhang.store import keys
from fenzhang.store.tables import Instruction, Order

_ID_SPACE = 1 << 256
_ID_SIZE = 32


@dataclass(frozen=True, slots=True)
class Lane:
    """The `number`-th of `count` lanes, counted from 0. Lane 0 also sends what administers participants and rules."""

    number: int = 0
    count: int = 1

    @property
    def label(self) -> str:
        """Label of its key in the keystore."""
        return keys.submitter_label(self.number)

    @property
    def governs(self) -> bool:
        """Whether enrolments, rules and the like go out here."""
        return self.number == 0

    def carries(self) -> ColumnElement[bool]:
        """Condition on instructions: those of this lane's platforms."""
        return self._owns(Instruction.platform_id)

    def _owns(self, platform_id: SQLColumnExpression[bytes]) -> ColumnElement[bool]:
        first, end = self._bound(self.number), self._bound(self.number + 1)
        conditions: list[ColumnElement[bool]] = []
        if self.number:
            conditions.append(platform_id >= first)
        if self.number + 1 < self.count:
            conditions.append(platform_id < end)
        return and_(true(), *conditions)

    def carries_order(self) -> ColumnElement[bool]:
        """Condition on orders: those of this lane's platforms."""
        # Not the bare column: its index would be walked instead of that of expiring orders.
        return self._owns(func.coalesce(Order.platform_id, Order.platform_id))

    def _bound(self, number: int) -> bytes:
        return min(number * _ID_SPACE // self.count, _ID_SPACE - 1).to_bytes(_ID_SIZE, "big")
