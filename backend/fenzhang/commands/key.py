"""`fenzhang key`: the keystore, where the operator's signing keys are kept encrypted."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fenzhang.commands.keyfile import PASSWORD_VARIABLE, read_key
from fenzhang.commands.output import print_json
from fenzhang.domain.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fenzhang.chain.signer import LocalKey
    from fenzhang.settings import Settings
    from fenzhang.store.tables import KeystoreKey

app = typer.Typer(no_args_is_help=True, help="Signing keys of the operator, kept encrypted in the database.")
Label = Annotated[
    str,
    typer.Argument(
        help="submitter, submitter:1 …, registrar, approver, guardian, second-guardian or attestor."
    ),
]


@app.command("create")
def create(label: Label) -> None:
    """Make a random key and print its address, which then needs its role on chain."""
    from fenzhang.chain.signer import LocalKey

    _add(label, LocalKey(secrets.token_bytes(32)))


@app.command("import")
def import_(
    label: Label,
    file: Annotated[
        Path,
        typer.Argument(
            help="A key file (Web3 secret storage) or 64 hexadecimal digits. Its password is asked for, "
            f"or read from {PASSWORD_VARIABLE}."
        ),
    ],
) -> None:
    """Take over a key from a file and print its address."""
    _add(label, read_key(file))


@app.command("list")
def list_() -> None:
    """Print labels and addresses. Keys of platforms are not listed."""
    from fenzhang.settings import Settings

    rows = asyncio.run(_operator_keys(Settings()))
    print_json([{"label": row.label, "address": "0x" + row.address.hex()} for row in rows])


def _add(label: str, key: LocalKey) -> None:
    from fenzhang.settings import Settings
    from fenzhang.store import keys

    if label not in keys.operator_labels():
        raise InvalidInput(
            "label",
            "it is submitter, submitter:1 …, registrar, approver, guardian, second-guardian or attestor",
        )
    asyncio.run(_store(Settings().prepared(), label, key))
    print_json({"label": label, "address": "0x" + key.address.hex()})


async def _store(settings: Settings, label: str, key: LocalKey) -> None:
    from sqlalchemy.exc import IntegrityError

    from fenzhang.chain.deployments import load
    from fenzhang.chain.keystore import encrypt_key, refuse_dev_key
    from fenzhang.store import keys
    from fenzhang.store.session import Database

    refuse_dev_key(key.address, load(settings.deployment).chain_id)
    keyfile = encrypt_key(key, settings.keystore_secret(), work_factor=settings.keystore_work_factor)
    async with Database(settings.database) as database:
        await database.check()
        try:
            async with database.write() as session:
                keys.add(session, label, key.address, keyfile)
        except IntegrityError:
            raise InvalidInput(
                "label", f"there is a key {label!r} already, or this key has another label"
            ) from None


async def _operator_keys(settings: Settings) -> Sequence[KeystoreKey]:
    from fenzhang.store import keys
    from fenzhang.store.session import Database

    async with Database(settings.database) as database:
        await database.check()
        async with database.read() as session:
            return sorted(await keys.by_labels(session, keys.operator_labels()), key=lambda row: row.label)
