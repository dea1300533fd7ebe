"""How far the mirror is behind the node, in blocks and in seconds, by what this process has seen of both.

Seconds do not come from timestamps of blocks: a chain without transactions may not mine, and its clock is its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Lag:
    """Compares the node's newest block with the mirrored one whenever it is told both."""

    clock: Callable[[], float] = time.monotonic
    _behind: int | None = field(default=None, init=False)
    _awaited: tuple[int, float] | None = field(default=None, init=False)
    """A block that was seen before it was mirrored, and when."""

    def saw(self, head: int | None, mirrored: int | None) -> None:
        """The node's newest block, None when it did not say, and the mirrored one, None before the first."""
        reached = -1 if mirrored is None else mirrored
        if self._awaited is not None and reached >= self._awaited[0]:
            self._awaited = None
        self._behind = None if head is None else max(0, head - reached)
        if head is None:
            return
        if head <= reached:
            self._awaited = None
        elif self._awaited is None or head < self._awaited[0]:
            # A head below the awaited block: the chain has turned, the wait goes on.
            self._awaited = (head, self._awaited[1] if self._awaited else self.clock())

    @property
    def blocks(self) -> int | None:
        """Blocks of the node that are not mirrored; None while the node does not say."""
        return self._behind

    @property
    def seconds(self) -> float:
        """How long a block has been waiting to be mirrored; 0 when none is known to wait."""
        return 0.0 if self._awaited is None else self.clock() - self._awaited[1]
