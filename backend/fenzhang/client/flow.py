"""How the two clients share everything but the waiting.

A flow is a generator that yields what it wants done, an exchange over HTTP or a pause, and gets back what came of
it. It knows nothing of threads or event loops; `Client` and `AsyncClient` each have one small loop that carries flows
out.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

import httpx

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Send:
    """Send this request and give back the answer, read to its end, or the error of the transport."""

    request: httpx.Request


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait for so many seconds."""

    seconds: float


Wish = Send | Pause
Outcome = httpx.Response | httpx.TransportError | None
Flow = Generator[Wish, Outcome, T]
