"""Cycles and payouts as plain values: the Python twins of the structs in IClearingHouse.sol."""

from __future__ import annotations

from base64 import b32decode, b32encode
from dataclasses import dataclass
from enum import IntEnum

from fenzhang.domain.errors import InvalidInput

IN_TRANSIT = bytes.fromhex("58a40bbfdb5cb9ab6ce174e7558f6ab3d8b365ffe1c4e82aa7f129926c1e1acd")
"""Id of the position where the money of payouts stands that were taken and not reported yet. Nobody has it."""
PAID = bytes.fromhex("0a63ab5997acec0ea93292373623fc1b1e3233276d29b942d1d59a46663fec8b")
"""Id of the position where the money of payouts stands that reached their accounts. Nobody has it."""


_BANKS_PREFIX = "FZ"
_BANKS_SIZE = 20


def end_to_end_id(payout: bytes) -> str:
    """What banks call a payout, by its id on the chain: FZ and 32 letters and digits."""
    return _BANKS_PREFIX + b32encode(payout[:_BANKS_SIZE]).decode()


def parse_end_to_end_id(value: str) -> bytes:
    """The first 20 bytes of the payout's id. Raises InvalidInput."""
    try:
        found = b32decode(value.removeprefix(_BANKS_PREFIX))
    except ValueError:
        found = b""
    if not value.startswith(_BANKS_PREFIX) or len(found) != _BANKS_SIZE:
        raise InvalidInput("payout", f"banks call a payout {_BANKS_PREFIX} and 32 letters and digits")
    return found


class PayoutState(IntEnum):
    """Where a payout is. ENDED: it was refused, failed or returned. The numbers are those of the contracts."""

    NONE = 0
    IN_TRANSIT = 1
    PAID = 2
    ENDED = 3


class OutcomeKind(IntEnum):
    """What became of a payout, as the bank reports it. The numbers are those of the contracts."""

    PAID = 0
    FAILED = 1
    RETURNED = 2


@dataclass(frozen=True, slots=True)
class Cycle:
    """What the clearing bank signs to close a cycle.

    `number` counts the cycles of a currency and scheme from 1. Records up to block `to_block` are members of the cycle,
    and positions were netted as of block `at_block`. `total` is the sum of its `payouts` in minor units, `payout_root`
    their root; a cycle that pays nothing has zeros there. The closing may be relayed until `deadline` (Unix seconds).
    """

    currency: str
    scheme: str
    number: int
    to_block: int
    at_block: int
    payouts: int
    total: int
    payout_root: bytes
    bill_root: bytes
    journal_head: bytes
    deadline: int


@dataclass(frozen=True, slots=True)
class Payout:
    """One payout of a cycle: its place in it, from 0, whom it is for, and how much (minor units)."""

    index: int
    participant: bytes
    amount: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a payout. `reason` is the bank's code, such as AC04; empty for PAID."""

    payout_id: bytes
    kind: OutcomeKind
    reason: str = ""


@dataclass(frozen=True, slots=True)
class LastCycle:
    """Number and last block of the newest cycle of a currency and scheme; zeros when there is none."""

    number: int = 0
    to_block: int = 0


@dataclass(slots=True)
class CycleState:
    """What the chain keeps of a closed cycle. `taken` is the sum of the payouts that were taken so far, minor units."""

    payout_root: bytes
    total: int
    taken: int
    currency: str
    number: int
    payouts: int
