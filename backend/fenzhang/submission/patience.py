"""How long an authorization that does not get through waits before it is tried again.

Kept in memory: after a restart it is tried at once, which costs gas and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from fenzhang.submission.config import SubmissionConfig

_FREE_SKIPS = 3
"""An outdated witness happens when others relay to the same order; that often it is retried at once."""


@dataclass(slots=True)
class _Trouble:
    skips: int = 0
    delay_s: float = 0.0
    until: float = 0.0


class Patience:
    """Authorizations in trouble, by id."""

    def __init__(self, config: SubmissionConfig) -> None:
        self._config = config
        self._troubles: dict[int, _Trouble] = {}

    def skipped(self, ids: Iterable[int]) -> None:
        """The chain passed them over."""
        for authorization_id in ids:
            trouble = self._troubles.setdefault(authorization_id, _Trouble())
            trouble.skips += 1
            if trouble.skips > _FREE_SKIPS:
                self._delay(trouble)

    def failed(self, ids: Iterable[int]) -> None:
        """Their transactions reverted with nothing else in them."""
        for authorization_id in ids:
            self._delay(self._troubles.setdefault(authorization_id, _Trouble()))

    def held_back(self) -> set[int]:
        """Those that are not to be tried now."""
        now = time.monotonic()
        forget = now - self._config.longest_backoff_s
        self._troubles = {
            key: trouble for key, trouble in self._troubles.items() if not 0 < trouble.until < forget
        }
        return {key for key, trouble in self._troubles.items() if trouble.until > now}

    def _delay(self, trouble: _Trouble) -> None:
        doubled = 2 * trouble.delay_s or self._config.first_backoff_s
        trouble.delay_s = min(doubled, self._config.longest_backoff_s)
        trouble.until = time.monotonic() + trouble.delay_s
