"""OAuth2 client credentials: access tokens (JWT, HS256), and who may call what."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import jwt
from fastapi import Request

from fenzhang.api.errors import InsufficientScope, InvalidToken
from fenzhang.intake.actor import Actor, Scope
from fenzhang.store.tables import App

_ALGORITHM = "HS256"
_ISSUER = "fenzhang"
_AUDIENCE = "fenzhang-api"
_REMEMBERED = 10_000
_CLAIMS = ["iss", "aud", "sub", "exp", "scope"]


@dataclass(frozen=True, slots=True)
class Tokens:
    """Issues and reads access tokens. All API processes share `key`."""

    key: str
    ttl_s: int
    _read: dict[str, tuple[Actor, float]] = field(default_factory=dict, repr=False)
    """What tokens said that were valid, and until when they are: clients show the same one with every request."""

    def issue(self, app: App, scopes: Sequence[Scope]) -> str:
        """A token for `app` with `scopes`."""
        now = int(time.time())
        claims = {
            "iss": _ISSUER,
            "aud": _AUDIENCE,
            "sub": app.client_id,
            "iat": now,
            "exp": now + self.ttl_s,
            "scope": " ".join(scopes),
        }
        if app.platform_id is not None:
            claims["platform"] = app.platform_id.hex()
        return jwt.encode(claims, self.key, algorithm=_ALGORITHM)

    def read(self, token: str) -> Actor:
        """Who presents `token`. Raises InvalidToken."""
        known = self._read.get(token)
        if known is not None and time.time() < known[1]:
            return known[0]
        found, expires_at = self._decode(token)
        if len(self._read) >= _REMEMBERED:
            self._read.clear()
        self._read[token] = found, expires_at
        return found

    def _decode(self, token: str) -> tuple[Actor, float]:
        try:
            claims = jwt.decode(
                token,
                self.key,
                algorithms=[_ALGORITHM],
                audience=_AUDIENCE,
                issuer=_ISSUER,
                # Not when it was issued: processes side by side have clocks of their own, and clocks are set back.
                options={"require": _CLAIMS, "verify_iat": False},
            )
            platform = claims.get("platform")
            found = Actor(
                client_id=claims["sub"],
                scopes=frozenset(Scope(scope) for scope in claims["scope"].split()),
                platform_id=None if platform is None else bytes.fromhex(platform),
            )
            return found, float(claims["exp"])
        except jwt.ExpiredSignatureError:
            raise InvalidToken("the access token has expired") from None
        except (jwt.InvalidTokenError, ValueError, AttributeError):
            raise InvalidToken("the access token is not valid") from None


def authenticate(request: Request, tokens: Tokens) -> Actor:
    """Who calls. Raises InvalidToken."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise InvalidToken("send an access token: Authorization: Bearer …")
    return tokens.read(token.strip())


def allow(*scopes: Scope) -> Callable[[Request], Awaitable[Actor]]:
    """A dependency: the calling app, if its token has one of `scopes`. Raises InsufficientScope."""
    wanted = frozenset(scopes)

    async def actor(request: Request) -> Actor:  # FastAPI runs what is not async in a thread of its own
        calling: Actor = request.state.actor
        if not calling.scopes & wanted:
            names = " or ".join(sorted(wanted))
            raise InsufficientScope(f"this needs the scope {names}", scopes=sorted(wanted))
        return calling

    return actor
