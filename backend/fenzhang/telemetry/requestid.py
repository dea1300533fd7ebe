"""The id that follows a request: answer, instruction, transaction, posting. The client's own, or made here."""

from __future__ import annotations

import re
import secrets
from contextvars import ContextVar

HEADER = "X-Request-Id"
MAX_LENGTH = 64
_SAFE = re.compile(rf"[A-Za-z0-9._:-]{{1,{MAX_LENGTH}}}")

current: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Id of the request that this task answers; None outside of one."""


def given_or_new(given: str | None) -> str:
    """The client's id if it is 1 to 64 safe characters (letters, digits and `._:-`), else a new one."""
    if given is not None and _SAFE.fullmatch(given):
        return given
    return secrets.token_hex(16)
