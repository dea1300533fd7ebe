"""JSON answers, written by orjson."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.responses import JSONResponse


class OrjsonResponse(JSONResponse):
    """A JSON answer. Integers within 64 bits stay integers; larger ones are strings before they get here."""

    def render(self, content: Any) -> bytes:
        """The body."""
        return orjson.dumps(content)
