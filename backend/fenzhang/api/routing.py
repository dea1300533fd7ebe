"""Routes that know who calls before they read what is said, and read JSON strictly."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from fenzhang.api.auth import authenticate
from fenzhang.api.services import services_of
from fenzhang.intake import strictjson
from fenzhang.telemetry import requestid


class StrictRequest(Request):
    """Reads JSON of one meaning only."""

    async def json(self) -> Any:
        """The body. Raises json.JSONDecodeError, which orjson's error is."""
        return strictjson.loads(await self.body())


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
