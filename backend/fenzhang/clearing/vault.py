"""Encryption of what must not be readable from the database alone: AES-256-GCM, the keys kept elsewhere.

What was sealed begins with the id of its key and a random nonce. The context (which row it belongs to) is
authenticated with it, so a ciphertext that is moved to another row cannot be opened there.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from Crypto.Cipher import AES
from Crypto.Cipher._mode_gcm import GcmMode

from fenzhang.clearing.errors import BankDataUnreadable
from fenzhang.domain.errors import InvalidInput

KEY_SIZE: Final = 32
_ID_SIZE, _NONCE_SIZE, _TAG_SIZE = 8, 12, 16


class Vault:
    """Seals with the first of its keys (32 bytes each), opens with any. Never shows one."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys or any(len(key) != KEY_SIZE for key in keys):
            raise InvalidInput("bank_keys", f"one key or more of {KEY_SIZE} bytes")
        self._keys = {key_id(key): key for key in keys}
        self.current = key_id(keys[0])
        """Id of the key that seals."""

    @classmethod
    def from_text(cls, text: str) -> Vault:
        """Keys as 64 hexadecimal digits each, the newest first, with commas or white space between. InvalidInput."""
        try:
            return cls([bytes.fromhex(each) for each in text.replace(",", " ").split()])
        except ValueError:
            raise InvalidInput("bank_keys", "keys are 64 hexadecimal digits each") from None

    def seal(self, plain: bytes, context: bytes) -> bytes:
        """Encrypt; `context` must be given again to open."""
        nonce = secrets.token_bytes(_NONCE_SIZE)
        sealed, tag = self._cipher(self.current, nonce, context).encrypt_and_digest(plain)
        return self.current + nonce + sealed + tag

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """Decrypt. Raises BankDataUnreadable."""
        identity, nonce = sealed[:_ID_SIZE], sealed[_ID_SIZE : _ID_SIZE + _NONCE_SIZE]
        if identity not in self._keys:
            raise BankDataUnreadable(
                f"what is stored is encrypted with the key {identity.hex()}, which is not here",
                key_id=identity.hex(),
            )
        try:
            return self._cipher(identity, nonce, context).decrypt_and_verify(
                sealed[_ID_SIZE + _NONCE_SIZE : -_TAG_SIZE], sealed[-_TAG_SIZE:]
            )
        except ValueError:
            raise BankDataUnreadable(
                "what is stored is not what was written there", key_id=identity.hex()
            ) from None

    def is_current(self, sealed: bytes) -> bool:
        """Whether it was sealed with the newest key."""
        return sealed[:_ID_SIZE] == self.current

    def __repr__(self) -> str:
        return f"Vault({', '.join(each.hex() for each in self._keys)})"

    def _cipher(self, identity: bytes, nonce: bytes, context: bytes) -> GcmMode:
        cipher: GcmMode = AES.new(self._keys[identity], AES.MODE_GCM, nonce=nonce, mac_len=_TAG_SIZE)
        cipher.update(identity + context)
        return cipher


def key_id(key: bytes) -> bytes:
    """Eight bytes that name a key and say nothing about it."""
    return sha256(b"fenzhang bank key\0" + key).digest()[:_ID_SIZE]
