"""Keccak-256, the hash of the chain: the one place that says which implementation is used.

Everything that is signed or sealed is hashed, about twenty times per split. The C module `sha3` takes a microsecond for
a short input where eth-hash with pycryptodome takes seven.
"""

from __future__ import annotations

from sha3 import keccak_256  # type: ignore[import-untyped]  # a C module


def keccak(data: bytes) -> bytes:
    """Keccak-256 of `data`, 32 bytes."""
    digest: bytes = keccak_256(data).digest()
    return digest
