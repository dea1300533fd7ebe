"""The keystore's keys, opened once and kept in memory of the submitting process."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.chain.keystore import decrypt_key, refuse_dev_key
from fenzhang.chain.signer import LocalKey
from fenzhang.store import keys
from fenzhang.submission.errors import SigningKeyMissing


class Keyring:
    """Keys by label. `given` keys need no keystore row; all others are opened with `password`.

    Raises DevKeyRefused for a key that everybody knows on any chain but the devnet.
    """

    def __init__(
        self, chain_id: int, password: str = "", given: Mapping[str, LocalKey] | None = None
    ) -> None:
        self._chain_id = chain_id
        self._password = password
        self._keys: dict[str, LocalKey] = {}
        for label, key in (given or {}).items():
            self._keep(label, key)

    async def find(self, session: AsyncSession, label: str) -> LocalKey | None:
        """The key with this label, None if there is none. Raises WrongPassword, KeyFileInvalid, DevKeyRefused."""
        known = self._keys.get(label)
        if known is not None:
            return known
        row = await keys.by_label(session, label)
        if row is None:
            return None
        # scrypt is slow on purpose; the event loop need not wait for it.
        return self._keep(label, await asyncio.to_thread(decrypt_key, row.keyfile, self._password))

    async def get(self, session: AsyncSession, label: str) -> LocalKey:
        """As `find`, but raises SigningKeyMissing."""
        key = await self.find(session, label)
        if key is None:
            raise SigningKeyMissing(f"the keystore has no key {label!r}", label=label)
        return key

    async def count_submitters(self, session: AsyncSession) -> int:
        """How many keys `submitter`, `submitter:1`, `submitter:2` … there are, up to the first that is missing."""
        labels = [keys.submitter_label(number) for number in range(keys.MAX_SUBMITTERS)]
        there = {row.label for row in await keys.by_labels(session, labels)}.union(self._keys)
        return next((number for number, label in enumerate(labels) if label not in there), len(labels))

    def _keep(self, label: str, key: LocalKey) -> LocalKey:
        refuse_dev_key(key.address, self._chain_id)
        self._keys[label] = key
        return key
