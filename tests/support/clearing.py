"""Cycles in a world: closed, taken and reported on the chain, and compared with what the specification says."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from fenzhang.chain import clearing
from fenzhang.chain.clearing import cycle_leaf, payout_leaf
from fenzhang.chain.codec import encode_rejection
from fenzhang.chain.eip712 import cycle_digest, report_digest
from fenzhang.chain.errors import contract_error_class
from fenzhang.chain.events import (
    BatchSealed,
    CycleClosed,
    Event,
    OutcomePassedOver,
    PayoutEvent,
    PayoutFailed,
    PayoutPaid,
    PayoutRefused,
    PayoutReturned,
    PayoutTaken,
)
from fenzhang.chain.evidence import merkle_root, verify_proof
from fenzhang.chain.signer import LocalKey
from fenzhang.domain import cycles
from fenzhang.domain.clearing import IN_TRANSIT, PAID, Cycle, Outcome, OutcomeKind, Payout
from fenzhang.domain.cycles import ClearingRefused, Followed, Presented, Taken
from fenzhang.domain.errors import FenzhangError
from support.parties import Party
from support.system import CLEARING_BANK, OUTSIDER
from support.twin import NOWHERE, Twin
from support.world import FAR, Settled, World

T = TypeVar("T")
Proofs = Sequence[Sequence[bytes]]
BANK_CODE = "AC04"


class ClearingTwin:
    """ClearingHouse in Python, upon the twin of the other contracts."""

    def __init__(self, twin: Twin) -> None:
        self._twin = twin
        self._world = twin.world

    def close(self, call: clearing.CloseCall, now: int, block: int) -> list[Event]:
        """The events of a `closeCycle`. Raises the contract's error."""
        cycle = call.cycle
        number = clearing.cycle_id(cycle.currency, cycle.scheme, cycle.number)
        digest = cycle_digest(self._twin.deployment.clearing_domain(), cycle)
        signed = self._twin.accepts(call.bank, digest, call.signature)
        _refused_alike(
            lambda: cycles.close_cycle(
                self._world, cycle, number, bank=call.bank, signed=signed, now=now, block=block
            )
        )
        told = CycleClosed(NOWHERE, number, cycle, call.bank)
        return self._sealed([told], [cycle_leaf(told)])

    def take(self, call: Take) -> list[Event]:
        """The events of a `take`. Raises the contract's error."""
        taken: list[Taken] = _refused_alike(
            lambda: cycles.take(
                self._world, call.cycle_id, self._presented(call.cycle_id, call.payouts, call.proofs)
            )
        )
        return self._recorded(call.cycle_id, [_told_of_take(call.cycle_id, each) for each in taken])

    def report(self, call: clearing.ReportCall) -> list[Event]:
        """The events of a `report`. Raises the contract's error."""
        digest = report_digest(self._twin.deployment.clearing_domain(), call.cycle_id, call.outcomes)
        signed = self._twin.accepts(call.bank, digest, call.signature)
        followed: list[Followed] = _refused_alike(
            lambda: cycles.report(
                self._world,
                call.cycle_id,
                call.outcomes,
                self._presented(call.cycle_id, call.payouts, call.proofs),
                bank=call.bank,
                signed=signed,
            )
        )
        return self._recorded(call.cycle_id, [_told_of_report(call.cycle_id, each) for each in followed])

    def _presented(self, cycle_id: bytes, payouts: Sequence[Payout], proofs: Proofs) -> list[Presented]:
        cycle = self._world.cycles.get(cycle_id)
        root = bytes(32) if cycle is None else cycle.payout_root
        numbers = [clearing.payout_id(cycle_id, payout) for payout in payouts]
        return [
            Presented(number, payout, verify_proof(root, number, proof))
            for number, payout, proof in zip(numbers, payouts, proofs, strict=True)
        ]

    def _recorded(self, cycle_id: bytes, events: list[Event]) -> list[Event]:
        currency = self._world.cycles[cycle_id].currency
        leaves = [payout_leaf(event, currency) for event in events if isinstance(event, PayoutEvent)]
        return self._sealed(events, leaves)

    def _sealed(self, events: list[Event], leaves: list[bytes]) -> list[Event]:
        if not leaves:
            return events
        batches = self._twin.batches
        batches.append(merkle_root(leaves))
        return [*events, BatchSealed(NOWHERE, len(batches), batches[-1], len(leaves))]


def _refused_alike(decide: Callable[[], T]) -> T:
    """What was decided; a refusal as the contract's error."""
    try:
        return decide()
    except ClearingRefused as refused:
        values = {
            re.sub("_(.)", lambda m: m[1].upper(), name): value for name, value in refused.values.items()
        }
        raise contract_error_class(f"ClearingHouse_{refused.error}")("", **values) from None


def _told_of_take(cycle_id: bytes, taken: Taken) -> Event:
    payout = taken.presented.payout
    what = (NOWHERE, cycle_id, taken.presented.payout_id, payout.index, payout.participant, payout.amount)
    return (
        PayoutTaken(*what) if taken.refusal is None else PayoutRefused(*what, encode_rejection(taken.refusal))
    )


def _told_of_report(cycle_id: bytes, followed: Followed) -> Event:
    outcome, payout = followed.outcome, followed.payout
    if followed.passed_over:
        return OutcomePassedOver(NOWHERE, cycle_id, outcome.payout_id, outcome.kind, followed.state)
    what = (NOWHERE, cycle_id, outcome.payout_id, payout.participant, payout.amount)
    match outcome.kind:
        case OutcomeKind.PAID:
            return PayoutPaid(*what)
        case OutcomeKind.FAILED:
            return PayoutFailed(*what, outcome.reason)
        case OutcomeKind.RETURNED:
            return PayoutReturned(*what, outcome.reason)


@dataclass(frozen=True, slots=True)
class Take:
    """Arguments of a `take`."""

    cycle_id: bytes
    payouts: tuple[Payout, ...]
    proofs: Proofs


@dataclass(slots=True)
class Desk:
    """Closes cycles of a world in its turn, and remembers their payouts."""

    world: World
    scheme: str = "standard"
    currency: str = "CNY"
    payouts: dict[bytes, tuple[Payout, ...]] = field(default_factory=dict)
    """By cycle id."""

    # -------------------------------------------------------------------------- cycles

    def cycle(self, *sums: tuple[Party | bytes, int], **other: object) -> tuple[Cycle, tuple[Payout, ...]]:
        """The next cycle with such payouts; `other` replaces fields of it."""
        last = self.world.twin.world.last_cycles.get((self.currency, self.scheme))
        number = 1 if last is None else last.number + 1
        payouts = tuple(
            Payout(index, who if isinstance(who, bytes) else who.id, amount)
            for index, (who, amount) in enumerate(sums)
        )
        head = self._head()
        cycle = Cycle(
            currency=self.currency,
            scheme=self.scheme,
            number=number,
            to_block=head,
            at_block=head,
            payouts=len(payouts),
            total=sum(payout.amount for payout in payouts),
            payout_root=clearing.payout_root(clearing.cycle_id(self.currency, self.scheme, number), payouts),
            bill_root=b"\x0b" * 32,
            journal_head=b"\x0c" * 32,
            deadline=FAR,
        )
        return replace(cycle, **other), payouts  # type: ignore[arg-type]  # fields by name

    def _head(self) -> int:
        return int(self.world.node.request("eth_blockNumber"), 16)

    def signed(
        self, cycle: Cycle, key: LocalKey = CLEARING_BANK, bank: bytes | None = None
    ) -> clearing.CloseCall:
        """The closing of a cycle, signed by `key` in the name of `bank`."""
        digest = cycle_digest(self.world.system.deployment.clearing_domain(), cycle)
        return clearing.CloseCall(cycle, bank or key.address, key.sign_digest(digest))

    def attempt_close(self, call: clearing.CloseCall) -> Settled | FenzhangError:
        """Mine a `closeCycle` and compare."""
        data = clearing.close_cycle_call(call.cycle, call.bank, call.signature)
        return self._attempt(data, lambda twin, now, block: twin.close(call, now, block))

    def close(self, *sums: tuple[Party | bytes, int], **other: object) -> bytes:
        """Close the next cycle with such payouts: its id."""
        number, _ = self.closing(*sums, **other)
        return number

    def closing(self, *sums: tuple[Party | bytes, int], **other: object) -> tuple[bytes, Settled]:
        """As `close`, with what the chain told."""
        cycle, payouts = self.cycle(*sums, **other)
        closed = _succeeded(self.attempt_close(self.signed(cycle)))
        number = clearing.cycle_id(cycle.currency, cycle.scheme, cycle.number)
        self.payouts[number] = payouts
        return number, closed

    # -------------------------------------------------------------------------- payouts

    def take_call(self, cycle_id: bytes, *indices: int) -> Take:
        """A `take` of payouts of a cycle by their indices; of all of them when none is named."""
        payouts = self.payouts[cycle_id]
        chosen = indices or range(len(payouts))
        proofs = clearing.payout_proofs(cycle_id, payouts, chosen)
        return Take(cycle_id, tuple(payouts[index] for index in chosen), tuple(map(tuple, proofs)))

    def attempt_take(self, call: Take) -> Settled | FenzhangError:
        """Mine a `take` and compare."""
        data = clearing.take_call(call.cycle_id, call.payouts, call.proofs)
        return self._attempt(data, lambda twin, *_: twin.take(call))

    def take(self, cycle_id: bytes, *indices: int) -> Settled:
        """Take payouts of a cycle by their indices, or all of them."""
        return _succeeded(self.attempt_take(self.take_call(cycle_id, *indices)))

    def report_call(
        self, cycle_id: bytes, *told: tuple[int, OutcomeKind], key: LocalKey = CLEARING_BANK
    ) -> clearing.ReportCall:
        """A report of outcomes by the payouts' indices."""
        payouts = self.payouts[cycle_id]
        chosen = [index for index, _ in told]
        outcomes = tuple(
            Outcome(
                clearing.payout_id(cycle_id, payouts[index]),
                kind,
                "" if kind is OutcomeKind.PAID else BANK_CODE,
            )
            for index, kind in told
        )
        proofs = clearing.payout_proofs(cycle_id, payouts, chosen)
        call = clearing.ReportCall(
            cycle_id,
            outcomes,
            tuple(payouts[index] for index in chosen),
            tuple(map(tuple, proofs)),
            key.address,
            b"",
        )
        return self.signed_report(call, key)

    def signed_report(self, call: clearing.ReportCall, key: LocalKey = CLEARING_BANK) -> clearing.ReportCall:
        """The report signed by `key`, in the name that it has."""
        digest = report_digest(self.world.system.deployment.clearing_domain(), call.cycle_id, call.outcomes)
        return replace(call, signature=key.sign_digest(digest))

    def attempt_report(self, call: clearing.ReportCall) -> Settled | FenzhangError:
        """Mine a `report` and compare."""
        data = clearing.report_call(
            call.cycle_id, call.outcomes, call.payouts, call.proofs, call.bank, call.signature
        )
        return self._attempt(data, lambda twin, *_: twin.report(call))

    def report(self, cycle_id: bytes, *told: tuple[int, OutcomeKind]) -> Settled:
        """Report outcomes by the payouts' indices."""
        return _succeeded(self.attempt_report(self.report_call(cycle_id, *told)))

    # -------------------------------------------------------------------------- what the chain holds

    def moving(self) -> tuple[int, int]:
        """In transit and paid, in the desk's currency."""
        found = self.world.system.call("LedgerView", "positions", self.currency.encode(), [IN_TRANSIT, PAID])
        in_transit, paid = found
        return int(in_transit), int(paid)

    def _attempt(
        self, data: bytes, expect: Callable[[ClearingTwin, int, int], list[Event]]
    ) -> Settled | FenzhangError:
        house = self.world.system.deployment.clearing_house
        mined = self.world.node.transact(OUTSIDER.address, house, data)
        twin = ClearingTwin(self.world.twin)
        return self.world.compared(mined, lambda: expect(twin, mined.timestamp, mined.block_number))


def _succeeded(outcome: Settled | FenzhangError) -> Settled:
    if isinstance(outcome, FenzhangError):
        raise outcome
    return outcome
