"""`POST /oauth/token`: access tokens for apps (OAuth2 client credentials)."""

from __future__ import annotations

import base64
import binascii
import hmac
from hashlib import sha256
from typing import Any

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException

from fenzhang.api.documentation import operation
from fenzhang.api.errors import InvalidClient, InvalidScope, InvalidTokenRequest, UnsupportedGrantType
from fenzhang.api.responses import OrjsonResponse
from fenzhang.api.routing import PublicRoute
from fenzhang.api.schemas.answers import TokenAnswer
from fenzhang.api.services import services_of
from fenzhang.intake.actor import Scope
from fenzhang.store.tables import App

router = APIRouter(route_class=PublicRoute, tags=["Access"])

_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": {
                    "type": "object",
                    "required": ["grant_type"],
                    "properties": {
                        "grant_type": {"type": "string", "enum": ["client_credentials"]},
                        "scope": {
                            "type": "string",
                            "description": "Space separated; all the app's by default.",
                        },
                        "client_id": {"type": "string", "description": "Unless sent by HTTP Basic."},
                        "client_secret": {"type": "string", "description": "Unless sent by HTTP Basic."},
                    },
                }
            }
        },
    }
}
_DOCUMENTED: dict[str, Any] = operation({200: TokenAnswer}, 400, 401, 413, 415, 429, 503)
_DOCUMENTED["openapi_extra"] = _FORM


@router.post("/oauth/token", **_DOCUMENTED)
async def issue_token(request: Request) -> OrjsonResponse:
    """An access token for the app that presents its id and secret, by HTTP Basic or in the form."""
    services = services_of(request)
    form = await _form(request)
    grant = form.get("grant_type")
    if grant is None:
        raise InvalidTokenRequest("grant_type is missing")
    if grant != "client_credentials":
        raise UnsupportedGrantType("only client_credentials is on offer")
    client_id, secret = _credentials(request, form)
    async with services.database.read() as session:
        app = await session.get(App, client_id)
    # The comparison takes the same time whether or not the app exists.
    stored = app.secret_hash if app is not None else bytes(32)
    if not hmac.compare_digest(stored, sha256(secret.encode()).digest()) or app is None:
        raise InvalidClient("the client id or secret is wrong")
    scopes = _scopes(app, form.get("scope", ""))
    answer = {
        "access_token": services.tokens.issue(app, scopes),
        "token_type": "Bearer",
        "expires_in": services.tokens.ttl_s,
        "scope": " ".join(scopes),
    }
    return OrjsonResponse(answer, headers={"Cache-Control": "no-store"})


async def _form(request: Request) -> dict[str, str]:
    try:
        found = await request.form()
    except HTTPException:
        raise InvalidTokenRequest("the form cannot be read") from None
    return {name: value for name, value in found.items() if isinstance(value, str)}


def _credentials(request: Request, form: dict[str, str]) -> tuple[str, str]:
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            client_id, separator, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise InvalidClient("the Basic credentials cannot be read") from None
        if not separator:
            raise InvalidClient("the Basic credentials cannot be read")
        return _text(client_id), secret
    if "client_id" not in form or "client_secret" not in form:
        raise InvalidClient("send client id and secret by HTTP Basic or in the form")
    return _text(form["client_id"]), form["client_secret"]


def _text(value: str) -> str:
    # PostgreSQL's text holds no NUL; such an id can be nobody's.
    if "\0" in value:
        raise InvalidClient("the client id or secret is wrong")
    return value


def _scopes(app: App, asked: str) -> list[Scope]:
    granted = [Scope(scope) for scope in app.scopes.split()]
    wanted = asked.split()
    if not wanted:
        return granted
    if not set(wanted) <= {scope.value for scope in granted}:
        raise InvalidScope("the app does not have all of these scopes")
    return [scope for scope in granted if scope.value in wanted]
