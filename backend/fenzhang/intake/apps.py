"""Apps: API clients, each with a secret that is shown once and kept as a hash."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.intake import participants
from fenzhang.intake.actor import Scope
from fenzhang.intake.errors import AppExists
from fenzhang.store.tables import App

_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class NewApp:
    """An app that was just created; `secret` cannot be read again."""

    client_id: str
    secret: str
    name: str
    scopes: tuple[Scope, ...]
    platform: str | None


async def create_app(
    session: AsyncSession, name: str, scopes: Sequence[Scope], platform: str | None
) -> NewApp:
    """Create an app, for the platform with this reference if it is one's. Raises AppExists, UnknownPlatform."""
    platform_id = None if platform is None else (await participants.platform_named(session, platform)).id
    taken = select(App.client_id).where(App.name == name)
    if (await session.execute(taken)).scalar_one_or_none() is not None:
        raise AppExists(f"an app {name!r} exists", name=name)
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    app = App(
        client_id=f"app_{secrets.token_hex(12)}",
        name=name,
        # Random and long: a slow hash would protect nothing more.
        secret_hash=sha256(secret.encode()).digest(),
        scopes=" ".join(scope.value for scope in scopes),
        platform_id=platform_id,
        created_at=int(time.time()),
    )
    try:
        async with session.begin_nested():
            session.add(app)
    except IntegrityError:
        raise AppExists(f"an app {name!r} exists", name=name) from None
    return NewApp(app.client_id, secret, name, tuple(scopes), platform)
