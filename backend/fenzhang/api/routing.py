"""Routes that know who calls before they read what is said, and read JSON strictly."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import orjson
from fastapi import Request, Response
from fastapi.routing import APIRoute

from fenzhang.api.auth import authenticate
from fenzhang.api.services import services_of
from fenzhang.telemetry import requestid

_MAX_NAME = 64


class StrictRequest(Request):
    """Reads JSON of one meaning only: no NaN, no lone surrogates, no endless nesting, no name twice in an object."""

    async def json(self) -> Any:
        """The body. Raises json.JSONDecodeError, which orjson's error is."""
        body = await self.body()
        found = orjson.loads(body)
        try:
            # orjson takes the last of two values for a name; whoever signed or logged the request may take the first.
            json.loads(body, object_pairs_hook=_unique)
        except RecursionError:
            raise json.JSONDecodeError("nested too deeply", "", 0) from None
        return found


def _unique(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise json.JSONDecodeError(f"the name {name[:_MAX_NAME]!r} twice in one object", "", 0)
        seen.add(name)


class PublicRoute(APIRoute):
    """A route without a token."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            return await handler(StrictRequest(request.scope, request.receive))

        return handle


class SecuredRoute(PublicRoute):
    """A route that needs a token. Who has none is told so whatever the body is."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            actor = authenticate(request, services_of(request).tokens)
            request.state.actor = replace(actor, request_id=requestid.current.get())
            return await handler(request)

        return handle
