"""Settlement schemes: on which terms the platforms of a currency are settled."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fenzhang.domain.calendar import SettlementCalendar

STANDARD: Final = "standard"
"""The scheme of all platforms that no other one names."""
SCHEME_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
"""On the chain it is ASCII in 32 bytes."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """When the cycles of some platforms close, and what they pay. Amounts are minor units."""

    name: str
    calendar: SettlementCalendar
    platforms: frozenset[bytes] = frozenset()
    """Ids of those that it names; STANDARD names none."""
    min_payout: int = 1
    """Less than this is not paid out and carried forward."""
    net_debit_cap: int | None = None
    """A participant's debt above this is a breach."""


@dataclass(frozen=True, slots=True)
class Schemes:
    """The schemes of a currency, by name. Each platform belongs to one."""

    currency: str
    by_name: Mapping[str, Scheme]

    @property
    def named(self) -> frozenset[bytes]:
        """Platforms that a scheme names; all others are STANDARD's."""
        return frozenset().union(*(scheme.platforms for scheme in self.by_name.values()))

    def of(self, platform: bytes) -> Scheme:
        """The scheme of a platform."""
        found = (scheme for scheme in self.by_name.values() if platform in scheme.platforms)
        return next(found, self.by_name[STANDARD])
