"""What a fresh local system needs before its first request: tables, the devnet's keys, and its first apps.

Everything here may be repeated: what is there already stays as it is.
"""

from __future__ import annotations

import hmac
import json
import secrets
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.chain.keystore import encrypt_key
from fenzhang.chain.signer import LocalKey
from fenzhang.devnet import dev_account
from fenzhang.intake.actor import Scope
from fenzhang.intake.apps import create_app
from fenzhang.intake.errors import AppExists
from fenzhang.privatefile import write_private
from fenzhang.settings import Settings
from fenzhang.store import keys
from fenzhang.store.session import Database
from fenzhang.store.tables import App

DEVNET_KEYS: Final = {
    keys.REGISTRAR: "registrar",
    keys.APPROVER: "rule-approver",
    keys.GUARDIAN: "guardian",
    keys.SECOND_GUARDIAN: "second-guardian",
    keys.ATTESTOR: "bank-attestor",
    keys.CLEARING_BANK: "clearing-bank",
    keys.SUBMITTER: "submitter",
}
"""Label in the keystore to purpose of the devnet account."""
APPS: Final = {
    "operator": [Scope.OPERATOR],
    "approver": [Scope.APPROVER],
    "guardian": [Scope.GUARDIAN],
    "second-guardian": [Scope.GUARDIAN],
}
"""The apps that a local system begins with. Nobody approves what he set up himself, or undoes his own freeze."""
DEVNET_WORK_FACTOR: Final = 1 << 12
"""scrypt's n for keys of the devnet. Everybody knows most of them, and time spent guarding them would be wasted."""


async def bootstrap(settings: Settings, apps_file: Path) -> None:
    """Bring the database to this version, put the devnet's keys into its keystore, and write `apps_file` (0600).

    Raises DatabaseError, SecretUnreadable.
    """
    async with Database(settings.prepared().database) as database:
        await database.upgrade()
        async with database.write() as session:
            await _import_keys(session, settings.keystore_secret())
        async with database.write() as session:
            await _make_apps(session, apps_file)


async def _import_keys(session: AsyncSession, password: str) -> None:
    for label, purpose in DEVNET_KEYS.items():
        if not await keys.has(session, label):
            key = LocalKey(bytes.fromhex(dev_account(purpose).private_key.removeprefix("0x")))
            keyfile = encrypt_key(key, password, work_factor=DEVNET_WORK_FACTOR)
            keys.add(session, label, key.address, keyfile)


async def _make_apps(session: AsyncSession, apps_file: Path) -> None:
    """Make the apps whose secrets are not in the file, and write it before they are committed."""
    known = _read(apps_file)
    found = dict(known)
    for name, scopes in APPS.items():
        if not await _is_good(session, known.get(name)):
            found[name] = await _make_app(session, name, scopes)
    if found != known:
        write_private(apps_file, found)


async def _make_app(session: AsyncSession, name: str, scopes: list[Scope]) -> dict[str, str]:
    try:
        made = await create_app(session, name, scopes, None)
    except AppExists:
        # Its secret was shown once, and its file is gone.
        made = await create_app(session, f"{name}-{secrets.token_hex(4)}", scopes, None)
    return {"client_id": made.client_id, "client_secret": made.secret}


async def _is_good(session: AsyncSession, credentials: Any) -> bool:
    if not isinstance(credentials, dict):
        return False
    app = await session.get(App, str(credentials.get("client_id")))
    digest = sha256(str(credentials.get("client_secret")).encode()).digest()
    return app is not None and hmac.compare_digest(app.secret_hash, digest)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
