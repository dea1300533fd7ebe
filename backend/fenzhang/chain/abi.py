"""The pieces of ABI coding that the hot paths need, on bytes: words, arrays, a reader that follows offsets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fenzhang.chain.errors import Undecodable

WORD = 32
CURRENCY_SIZE = 3
_TWO_256 = 1 << 256


def word(value: int) -> bytes:
    """An unsigned integer as a word (32 bytes, big endian)."""
    return value.to_bytes(WORD, "big")


def signed_word(value: int) -> bytes:
    """A signed integer as a word."""
    return value.to_bytes(WORD, "big", signed=True)


def currency_bytes(currency: str) -> bytes:
    """A currency as the contracts hold it (`bytes3`). Three characters up to U+00FF survive the way back."""
    raw = currency.encode("latin-1")
    if len(raw) != CURRENCY_SIZE:
        raise ValueError(f"a currency has three letters, not {currency!r}")
    return raw


def currency_text(raw: bytes) -> str:
    """A `bytes3` currency as text; the inverse of `currency_bytes`."""
    return raw.decode("latin-1")


def role_bytes(role: str | None) -> bytes:
    """A role name as the contracts hold it (`bytes32`, left aligned); zero for none."""
    raw = (role or "").encode("latin-1")
    if len(raw) > WORD:
        raise ValueError(f"a role name has at most 32 characters, not {len(raw)}")
    return raw.ljust(WORD, b"\0")


def role_text(raw: bytes) -> str:
    """A `bytes32` role name as text; the inverse of `role_bytes`."""
    return raw.rstrip(b"\0").decode("latin-1")


def encode_words(values: Sequence[bytes]) -> bytes:
    """Body of an array of one-word elements that are words already (`bytes32[]`)."""
    return word(len(values)) + b"".join(values)


def encode_bytes(value: bytes) -> bytes:
    """Body of a `bytes`."""
    return word(len(value)) + value + bytes(-len(value) % WORD)


def encode_tails(bodies: Sequence[bytes]) -> bytes:
    """Body of an array of dynamic elements: the length, an offset to each, and the elements."""
    offset = len(bodies) * WORD
    parts = [word(len(bodies))]
    for body in bodies:
        parts.append(word(offset))
        offset += len(body)
    parts.extend(bodies)
    return b"".join(parts)


@dataclass(slots=True)
class Meter:
    """How many words of arrays may still be read from some data."""

    words: int

    def take(self, words: int) -> None:
        """Read some. Raises Undecodable when there are no more."""
        self.words -= words
        if self.words < 0:
            raise Undecodable("arrays overlap, and are together many times larger than the data")


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads ABI data as the EVM does: offsets are relative to `base` and wrap at 2**256.

    It takes every encoding that a contract takes, also those no honest encoder writes, and raises Undecodable
    where the data ends too early or a value does not fit its type. With a `meter`, also where arrays overlap so much
    that they would be many times larger than the data.
    """

    data: bytes
    base: int = 0
    meter: Meter | None = None

    def raw(self, slot: int) -> bytes:
        """The word at place `slot` of this tuple or array body."""
        start = self.base + slot * WORD
        found = self.data[start : start + WORD]
        if len(found) != WORD:
            raise Undecodable(f"the data ends before word {slot} at byte {start}")
        return found

    def uint(self, slot: int, bits: int = 256) -> int:
        """An unsigned integer of at most `bits` bits."""
        value = int.from_bytes(self.raw(slot), "big")
        if value >> bits:
            raise Undecodable(f"{value} does not fit uint{bits}")
        return value

    def sint(self, slot: int, bits: int) -> int:
        """A signed integer of at most `bits` bits."""
        value = int.from_bytes(self.raw(slot), "big", signed=True)
        if not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
            raise Undecodable(f"{value} does not fit int{bits}")
        return value

    def fixed(self, slot: int, size: int) -> bytes:
        """A left-aligned `bytes<size>`."""
        found = self.raw(slot)
        if any(found[size:]):
            raise Undecodable(f"0x{found.hex()} does not fit bytes{size}")
        return found[:size]

    def address(self, slot: int) -> bytes:
        """An address, 20 bytes."""
        found = self.raw(slot)
        if any(found[:12]):
            raise Undecodable(f"0x{found.hex()} is no address")
        return found[12:]

    def flag(self, slot: int) -> bool:
        """A bool."""
        return bool(self.uint(slot, 1))

    def follow(self, slot: int) -> Reader:
        """The dynamic value whose offset stands at `slot`."""
        target = (self.base + self.uint(slot)) % _TWO_256
        if target > len(self.data):
            raise Undecodable(f"an offset leads to byte {target} of {len(self.data)}")
        return Reader(self.data, target, self.meter)

    def array(self, slot: int, element_words: int = 1) -> tuple[int, Reader]:
        """Length of the array at `slot`, and a reader at its first element. Elements take `element_words`."""
        head = self.follow(slot)
        length = head.uint(0)
        body = Reader(self.data, head.base + WORD, self.meter)
        if body.base + length * element_words * WORD > len(self.data):
            raise Undecodable(f"the data ends before {length} elements at byte {body.base}")
        if self.meter is not None:
            self.meter.take(length * element_words)
        return length, body

    def words(self, slot: int) -> tuple[bytes, ...]:
        """A `bytes32[]`."""
        length, body = self.array(slot)
        start = body.base
        return tuple(self.data[at : at + WORD] for at in range(start, start + length * WORD, WORD))

    def tails(self, slot: int) -> list[Reader]:
        """Readers of the elements of an array of dynamic elements."""
        length, body = self.array(slot)
        return [body.follow(index) for index in range(length)]

    def blob(self, slot: int) -> bytes:
        """A `bytes`; its padding is not looked at, as contracts do not either."""
        head = self.follow(slot)
        length = head.uint(0)
        start = head.base + WORD
        if start + length > len(self.data):
            raise Undecodable(f"the data ends before {length} bytes at byte {start}")
        if self.meter is not None:
            self.meter.take(length // WORD)
        return self.data[start : start + length]
