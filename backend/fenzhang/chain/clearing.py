"""Cycles and payouts on chain: ids, the tree of a cycle's payouts, leaves of records, calldata of ClearingHouse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fenzhang.chain.abi import WORD, Reader, currency_bytes, currency_text, role_bytes, role_text, word
from fenzhang.chain.calldata import arguments_of
from fenzhang.chain.codec import encode_call, selector_of
from fenzhang.chain.eip712 import cycle_hash
from fenzhang.chain.errors import Undecodable
from fenzhang.chain.eventtypes import (
    CycleClosed,
    PayoutEvent,
    PayoutFailed,
    PayoutPaid,
    PayoutRefused,
    PayoutReturned,
    PayoutTaken,
)
from fenzhang.chain.evidence import (
    content_of_payout,
    content_of_payout_end,
    content_of_rejection,
    merkle_proofs,
    merkle_root,
    record_leaf,
)
from fenzhang.chain.keccak import keccak
from fenzhang.domain.clearing import Cycle, Outcome, OutcomeKind, Payout
from fenzhang.domain.records import NOTHING, RecordKind

CONTRACT = "ClearingHouse"
CYCLE_WORDS = 11
_STRUCT_WORDS = 3
"""Of a Payout and of an Outcome."""
NO_PAYOUTS = bytes(32)
"""Root of a cycle that pays nothing."""


def cycle_id(currency: str, scheme: str, number: int) -> bytes:
    """Id of a cycle: keccak256(abi.encode(currency, scheme, number))."""
    return keccak(currency_bytes(currency).ljust(32, b"\0") + role_bytes(scheme) + word(number))


def payout_id(cycle: bytes, payout: Payout) -> bytes:
    """Id of a payout of the cycle with the id `cycle`: its leaf in the tree of the cycle's payouts."""
    return keccak(keccak(cycle + word(payout.index) + payout.participant + word(payout.amount)))


def payout_root(cycle: bytes, payouts: Sequence[Payout]) -> bytes:
    """Root over a cycle's payouts, which stand in the order of their indices; 32 zero bytes for none."""
    return merkle_root(_leaves(cycle, payouts)) if payouts else NO_PAYOUTS


def payout_proofs(cycle: bytes, payouts: Sequence[Payout], indices: Sequence[int]) -> list[list[bytes]]:
    """Paths of the payouts at `indices` up to the root over all `payouts` of the cycle. Raises IndexError."""
    return merkle_proofs(_leaves(cycle, payouts), indices)


def payout_proof(cycle: bytes, payouts: Sequence[Payout], index: int) -> list[bytes]:
    """As `payout_proofs`, of one payout."""
    [proof] = payout_proofs(cycle, payouts, [index])
    return proof


def _leaves(cycle: bytes, payouts: Sequence[Payout]) -> list[bytes]:
    return [payout_id(cycle, payout) for payout in payouts]


# ------------------------------------------------------------------------------ records

RECORD_KINDS: dict[type[PayoutEvent], RecordKind] = {
    PayoutTaken: RecordKind.PAYOUT,
    PayoutRefused: RecordKind.REJECTION,
    PayoutPaid: RecordKind.PAYOUT_PAID,
    PayoutFailed: RecordKind.PAYOUT_FAILED,
    PayoutReturned: RecordKind.PAYOUT_RETURNED,
}
"""Kind of the record that each event of a payout tells of. Its id is the payout's, and it belongs to no order."""


def cycle_leaf(event: CycleClosed) -> bytes:
    """Leaf of the record that a cycle was closed."""
    return record_leaf(RecordKind.CYCLE, event.cycle_id, NOTHING, event.cycle.total, cycle_hash(event.cycle))


def payout_leaf(event: PayoutEvent, currency: str) -> bytes:
    """Leaf of the record that an event of a payout tells of; `currency` is the cycle's."""
    match event:
        case PayoutRefused():
            content = content_of_rejection(event.reason)
        case PayoutTaken() | PayoutPaid():
            content = content_of_payout(event.cycle_id, currency, event.participant)
        case _:
            content = content_of_payout_end(event.cycle_id, currency, event.participant, event.reason)
    return record_leaf(RECORD_KINDS[type(event)], event.payout_id, NOTHING, event.amount, content)


# ------------------------------------------------------------------------------ calldata


@dataclass(frozen=True, slots=True)
class CloseCall:
    """Arguments of `closeCycle`. `bank` is an address."""

    cycle: Cycle
    bank: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class TakeCall:
    """Arguments of `take` as they were sent: payouts, and the path of each to the cycle's root.

    The contract does not look at the path and the amount of a payout that it passes over, so they may be anything.
    """

    cycle_id: bytes
    payouts: tuple[Payout, ...]
    _paths: Reader

    def path(self, place: int) -> tuple[bytes, ...]:
        """The path of the payout at a place of the list. Raises Undecodable."""
        return self._paths.words(place)


@dataclass(frozen=True, slots=True)
class ReportCall:
    """Arguments of `report`: outcomes, and the payout of each with its path to the cycle's root."""

    cycle_id: bytes
    outcomes: tuple[Outcome, ...]
    payouts: tuple[Payout, ...]
    proofs: tuple[tuple[bytes, ...], ...]
    bank: bytes
    signature: bytes


def close_cycle_call(cycle: Cycle, bank: bytes, signature: bytes) -> bytes:
    """ClearingHouse.closeCycle; anyone may send it. `bank` (20 bytes) is who signed."""
    return encode_call(CONTRACT, "closeCycle", cycle_values(cycle), bank, signature)


def take_call(cycle: bytes, payouts: Sequence[Payout], proofs: Sequence[Sequence[bytes]]) -> bytes:
    """ClearingHouse.take; anyone may send it. It is cheapest with participants in ascending order."""
    return encode_call(CONTRACT, "take", cycle, list(map(_payout_values, payouts)), proofs)


def report_call(  # noqa: PLR0917 -- the parameters of the contract's function in its order
    cycle: bytes,
    outcomes: Sequence[Outcome],
    payouts: Sequence[Payout],
    proofs: Sequence[Sequence[bytes]],
    bank: bytes,
    signature: bytes,
) -> bytes:
    """ClearingHouse.report; anyone may send it. `bank` (20 bytes) is who signed the outcomes."""
    told = [(outcome.payout_id, outcome.kind, role_bytes(outcome.reason)) for outcome in outcomes]
    return encode_call(
        CONTRACT, "report", cycle, told, list(map(_payout_values, payouts)), proofs, bank, signature
    )


def cycle_values(cycle: Cycle) -> tuple[Any, ...]:
    """A cycle as the tuple that `encode_call` takes."""
    return (
        currency_bytes(cycle.currency),
        role_bytes(cycle.scheme),
        cycle.number,
        cycle.to_block,
        cycle.at_block,
        cycle.payouts,
        cycle.total,
        cycle.payout_root,
        cycle.bill_root,
        cycle.journal_head,
        cycle.deadline,
    )


def _payout_values(payout: Payout) -> tuple[int, bytes, int]:
    return payout.index, payout.participant, payout.amount


# ------------------------------------------------------------------------------ calldata as anybody may have written it


def decode_close_cycle(calldata: bytes) -> CloseCall:
    """The arguments of a `closeCycle`. Raises Undecodable."""
    sent = _arguments(calldata, "closeCycle")
    return CloseCall(read_cycle(sent, 0), sent.address(CYCLE_WORDS), sent.blob(CYCLE_WORDS + 1))


def decode_take(calldata: bytes) -> TakeCall:
    """The arguments of a `take`. Raises Undecodable."""
    sent = _arguments(calldata, "take")
    payouts, (count, paths) = _payouts(sent, 1), sent.array(2)
    if count != len(payouts):
        raise Undecodable(f"{len(payouts)} payouts come with {count} paths")
    return TakeCall(sent.raw(0), payouts, paths)


def decode_report(calldata: bytes) -> ReportCall:
    """The arguments of a `report`. Raises Undecodable."""
    sent = _arguments(calldata, "report")
    count, told = sent.array(1, element_words=_STRUCT_WORDS)
    outcomes = tuple(_outcome(_struct(told, place)) for place in range(count))
    payouts, (paths, given) = _payouts(sent, 2), sent.array(3)
    if not count == len(payouts) == paths:
        raise Undecodable(f"{count} outcomes come with {len(payouts)} payouts and {paths} paths")
    proofs = tuple(given.words(place) for place in range(paths))
    return ReportCall(sent.raw(0), outcomes, payouts, proofs, sent.address(4), sent.blob(5))


def read_cycle(reader: Reader, slot: int) -> Cycle:
    """The Cycle whose first word stands at `slot`. Raises Undecodable."""
    return Cycle(
        currency=currency_text(reader.fixed(slot, 3)),
        scheme=role_text(reader.raw(slot + 1)),
        number=reader.uint(slot + 2, 32),
        to_block=reader.uint(slot + 3, 64),
        at_block=reader.uint(slot + 4, 64),
        payouts=reader.uint(slot + 5, 32),
        total=reader.uint(slot + 6, 128),
        payout_root=reader.raw(slot + 7),
        bill_root=reader.raw(slot + 8),
        journal_head=reader.raw(slot + 9),
        deadline=reader.uint(slot + 10, 64),
    )


def _arguments(calldata: bytes, function: str) -> Reader:
    return arguments_of(calldata, selector_of(CONTRACT, function), function)


def _struct(body: Reader, place: int) -> Reader:
    """A Payout or Outcome of an array."""
    return Reader(body.data, body.base + _STRUCT_WORDS * WORD * place)


def _payouts(reader: Reader, slot: int) -> tuple[Payout, ...]:
    count, body = reader.array(slot, element_words=_STRUCT_WORDS)
    each = (_struct(body, place) for place in range(count))
    return tuple(Payout(payout.uint(0, 32), payout.raw(1), payout.uint(2)) for payout in each)


def _outcome(outcome: Reader) -> Outcome:
    kind = outcome.uint(1, 8)
    if kind >= len(OutcomeKind):
        raise Undecodable(f"there is no kind {kind} of outcome")
    return Outcome(outcome.raw(0), OutcomeKind(kind), role_text(outcome.raw(2)))
