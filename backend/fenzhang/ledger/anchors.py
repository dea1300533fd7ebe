"""Heads of the journal that cycles anchored on the chain: whether the journal still has them.

Whoever changes postings and then makes all links anew has a hash chain that fits, and other heads than those that the
clearing bank signed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.domain.journal import NO_LINK, Link
from fenzhang.ledger.links import head_at
from fenzhang.store.clearingtables import CycleRow


class Anchor(NamedTuple):
    """The head of the journal at the end of block `at_block`, as a cycle anchored it."""

    cycle_id: bytes
    currency: str
    scheme: str
    number: int
    at_block: int
    journal_head: bytes

    def __str__(self) -> str:
        return f"cycle {self.currency}/{self.scheme}/{self.number}"


class Compared(NamedTuple):
    """An anchor, and the link that the journal has there."""

    anchor: Anchor
    link: Link

    @property
    def agrees(self) -> bool:
        """Whether it is the one that was anchored."""
        return self.anchor.journal_head == self.link.hash


_ANCHORS = select(
    CycleRow.cycle_id,
    CycleRow.currency,
    CycleRow.scheme,
    CycleRow.number,
    CycleRow.at_block,
    CycleRow.journal_head,
)


async def newest_anchor(session: AsyncSession) -> Compared | None:
    """What the cycle that was closed last anchored, None before the first."""
    query = _ANCHORS.order_by(CycleRow.block_number.desc(), CycleRow.batch.desc()).limit(1)
    found = (await session.execute(query)).first()
    if found is None:
        return None
    anchor = Anchor._make(found)
    return Compared(anchor, await head_at(session, anchor.at_block))


class Anchors:
    """All anchors, compared with links that come one after the other."""

    def __init__(self, anchors: Sequence[Anchor]) -> None:
        self._anchors = sorted(anchors, key=lambda each: each.at_block)
        self._blocks = [each.at_block for each in self._anchors]
        self._last = [NO_LINK] * len(anchors)
        """Of each anchor: the last link of a block that no anchor before it reaches."""

    @classmethod
    async def load(cls, session: AsyncSession) -> Anchors:
        """Those of all closed cycles."""
        return cls([Anchor._make(row) for row in await session.execute(_ANCHORS)])

    def __len__(self) -> int:
        return len(self._anchors)

    def take(self, link: Link) -> None:
        """The next link of the journal."""
        place = bisect_left(self._blocks, link.block_number)
        if place < len(self._last):
            self._last[place] = link

    def first_broken(self) -> Compared | None:
        """The first anchor whose head the journal has not, after all links."""
        last = NO_LINK
        for anchor, link in zip(self._anchors, self._last, strict=True):
            # After a reorganisation links go back, so that the last one need not be of the highest block.
            last = max(last, link)
            compared = Compared(anchor, last)
            if not compared.agrees:
                return compared
        return None
