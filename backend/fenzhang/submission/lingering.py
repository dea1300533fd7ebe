"""A capture that came alone waits a moment for its split, which its client sends as soon as the capture is accepted.

Together they take one transaction. Apart the split waits until the capture is mined and mirrored: a block more.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Sequence

from fenzhang.domain.records import Capture
from fenzhang.submission.picking import Unit


class Lingering:
    """Which captures are new. Kept in memory: after a restart all are, once more for `linger_s`."""

    def __init__(self, linger_s: float) -> None:
        self._linger_s = linger_s
        self._seen: deque[tuple[float, int]] = deque()
        """When something was looked at, and the newest seq that it had."""
        self._old = 0
        """Up to this seq nothing is new."""

    def without_new(self, units: Sequence[Unit]) -> list[Unit]:
        """The units, but for captures that are new and alone. What is left out has to be offered again."""
        if not self._linger_s or not units:
            return list(units)
        now = time.monotonic()
        self._seen.append((now, max(item.seq for unit in units for item in unit.items)))
        while self._seen and self._seen[0][0] <= now - self._linger_s:
            self._old = max(self._old, self._seen.popleft()[1])
        touching = Counter(order for unit in units for order in unit.order_ids)
        return [unit for unit in units if not (self._is_new(unit) and touching[unit.items[0].order_id] == 1)]

    def _is_new(self, unit: Unit) -> bool:
        """Of one capture that nobody else has signed; a signed unit is whole as it is."""
        first = unit.items[0]
        return unit.signed is None and isinstance(first.what, Capture) and first.seq > self._old
