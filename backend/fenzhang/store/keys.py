"""The keystore's rows: encrypted key files by label. Nothing here can decrypt them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.store.tables import KeystoreKey

ATTESTOR = "attestor"
CLEARING_BANK = "clearing_bank"
"""Signs cycles and what became of their payouts."""
APPROVER = "approver"
GUARDIAN = "guardian"
SECOND_GUARDIAN = "second-guardian"
"""Undoes what the first one froze: that takes another account."""
REGISTRAR = "registrar"
SUBMITTER = "submitter"
"""Sends transactions; further ones are `submitter:1`, `submitter:2` …"""
MAX_SUBMITTERS = 64


def submitter_label(number: int) -> str:
    """Label of the `number`-th key that sends settlements, counted from 0."""
    return f"{SUBMITTER}:{number}" if number else SUBMITTER


def operator_labels() -> list[str]:
    """Labels of the keys that the operator keeps; all others are platforms'."""
    return [
        REGISTRAR,
        APPROVER,
        GUARDIAN,
        SECOND_GUARDIAN,
        ATTESTOR,
        CLEARING_BANK,
        *map(submitter_label, range(MAX_SUBMITTERS)),
    ]


def platform_label(platform_id: bytes) -> str:
    """Label of a platform's key."""
    return f"platform:{platform_id.hex()}"


async def by_label(session: AsyncSession, label: str) -> KeystoreKey | None:
    """The key with this label."""
    return (await session.execute(select(KeystoreKey).where(KeystoreKey.label == label))).scalar_one_or_none()


async def by_labels(session: AsyncSession, labels: Iterable[str]) -> Sequence[KeystoreKey]:
    """Those of the keys that exist, in no particular order."""
    return (
        (await session.execute(select(KeystoreKey).where(KeystoreKey.label.in_(list(labels)))))
        .scalars()
        .all()
    )


async def has(session: AsyncSession, label: str) -> bool:
    """Whether a key with this label exists."""
    query = select(KeystoreKey.address).where(KeystoreKey.label == label)
    return (await session.execute(query)).scalar_one_or_none() is not None


def add(session: AsyncSession, label: str, address: bytes, keyfile: dict[str, Any]) -> None:
    """Add an encrypted key. A label or address that is taken shows as an IntegrityError on flush."""
    session.add(KeystoreKey(label=label, address=address, keyfile=keyfile, created_at=int(time.time())))
