"""The bloom filter in a block's header: whether a contract may have logged something in that block."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from fenzhang.chain.keccak import keccak

SIZE = 256
_BITS = SIZE * 8
_PAIRS = (0, 2, 4)
_EMPTY = bytes(SIZE)


def may_have_logs(bloom: bytes, addresses: Iterable[bytes]) -> bool:
    """False only if none of the contracts has a log in the block. True may be chance."""
    if bloom == _EMPTY:
        return False
    return any(all(bloom[place] & bit for place, bit in _bits(address)) for address in addresses)


@lru_cache(maxsize=64)
def _bits(address: bytes) -> tuple[tuple[int, int], ...]:
    """Byte and bit in it of the three bits that stand for an address (Ethereum yellow paper, section 4.3.1)."""
    digest = keccak(address)
    numbers = [int.from_bytes(digest[pair : pair + 2], "big") % _BITS for pair in _PAIRS]
    return tuple((SIZE - 1 - number // 8, 1 << number % 8) for number in numbers)
