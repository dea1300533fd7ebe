"""Keccak-256, the hash of the chain: the one place that says which implementation is used."""

from __future__ import annotations

from eth_hash.auto import keccak as _keccak


def keccak(data: bytes) -> bytes:
    """Keccak-256 of `data`, 32 bytes."""
    return _keccak(data)
