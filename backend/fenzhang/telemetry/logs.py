"""Logs for people (text) or for machines (a JSON object per line), without secrets.

Fields beside the message are given as `extra=fields(...)`. A line belongs to a batch; what is long is cut in text.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

from fenzhang.telemetry import requestid

LogFormat = Literal["text", "json"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
_QUIET = ("httpx", "httpcore", "aiosqlite", "alembic", "uvicorn", "asyncio")
"""Libraries that log every request, with whole URLs, or every statement, with what a client sent."""
LISTED = 500
"""Ids in one field. A transaction has about as many instructions, and requests often bring several."""
_SHOWN = 3
"""How much of a list a line of text shows."""
_SECRETS = (
    (re.compile(r"(\w://[^\s:/@]*):[^\s@]+@"), r"\1:***@"),
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]+", re.IGNORECASE), r"\1 ***"),
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*"), "***"),
    (
        re.compile(
            r"""(['"]?\b\w*(?:password|passwd|secret|private_?key|ciphertext)\w*['"]?\s*[:=]\s*)"""
            r"""('[^']*'|"[^"]*"|[^\s,;&})]+)""",
            re.IGNORECASE,
        ),
        r"\1***",
    ),
)
"""Passwords in URLs, credentials of HTTP, tokens, and what is named like a secret."""


def scrub(text: str) -> str:
    """`text` without what looks like a secret. A net below the rule that no secret is logged, not in its place."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def fields(**values: Any) -> dict[str, Any]:
    """`extra` of a log call: fields that stand beside the message."""
    return {"fields": values}


def some(ids: Iterable[str]) -> list[str]:
    """Distinct ids in order, for a field of a line: at most LISTED, and then how many more there are."""
    distinct = list(dict.fromkeys(ids))
    more = len(distinct) - LISTED
    return [*distinct[:LISTED], f"and {more} more"] if more > 0 else distinct


def configure(form: LogFormat, level: LogLevel) -> None:
    """Log to standard error, this process's only handler."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time (UTC), level, logger, message, request_id when there is one, fields, error."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": scrub(record.getMessage()),
        }
        request_id = requestid.current.get()
        if request_id is not None:
            line["request_id"] = request_id
        given: dict[str, Any] = getattr(record, "fields", {})
        line |= {name: scrub(it) if isinstance(it, str) else it for name, it in given.items()}
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = scrub("".join(traceback.format_exception(record.exc_info[1])))
        return orjson.dumps(line, default=str).decode()


class TextFormatter(logging.Formatter):
    """A line for people, the fields behind the message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 -- the name of its base
        """The line without an error's traceback."""
        shown = dict(getattr(record, "fields", {}))
        request_id = requestid.current.get()
        if request_id is not None:
            shown = {"request_id": request_id, **shown}
        line = super().formatMessage(record)
        return (
            f"{line} ({', '.join(f'{name} {_short(it)}' for name, it in shown.items())})" if shown else line
        )

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return scrub(super().format(record))


def _short(value: Any) -> str:
    if not isinstance(value, list | tuple):
        return str(value)
    more = f" and {len(value) - _SHOWN} more" if len(value) > _SHOWN else ""
    return " ".join(map(str, value[:_SHOWN])) + more
