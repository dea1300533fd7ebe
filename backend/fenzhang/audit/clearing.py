"""Cycles and payouts: `closeCycle`, `take` and `report` decided again from calldata, and what their events change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fenzhang.audit.calls import Call
from fenzhang.audit.differences import Code, Findings
from fenzhang.audit.model import Model, PayoutTrail
from fenzhang.audit.reading import Transaction
from fenzhang.audit.records import Records
from fenzhang.audit.settling import take_seal
from fenzhang.audit.signatures import SignatureChecker
from fenzhang.audit.tape import NOWHERE, OutOfStep, Tape
from fenzhang.chain import clearing
from fenzhang.chain.clearing import CloseCall, ReportCall, TakeCall, cycle_leaf, payout_leaf
from fenzhang.chain.codec import encode_rejection, selector_of
from fenzhang.chain.eip712 import cycle_digest, report_digest
from fenzhang.chain.eventtypes import (
    ClearingEvent,
    CycleClosed,
    OutcomePassedOver,
    PayoutEvent,
    PayoutFailed,
    PayoutPaid,
    PayoutRefused,
    PayoutReturned,
    PayoutTaken,
)
from fenzhang.chain.evidence import verify_proof
from fenzhang.chain.wallets import WalletQuestion
from fenzhang.domain.clearing import IN_TRANSIT, PAID, OutcomeKind, Payout, PayoutState
from fenzhang.domain.cycles import (
    ClearingRefused,
    Followed,
    Presented,
    Taken,
    apply_cycle,
    apply_outcome,
    apply_taken,
    check_bank,
    check_cycle,
    decide_report,
    decide_take,
    refusal_of,
    state_before,
)

FUNCTIONS = ("closeCycle", "take", "report")
"""Functions of ClearingHouse about cycles."""
PayoutOutcome = PayoutPaid | PayoutFailed | PayoutReturned
_KINDS: dict[type[PayoutOutcome], OutcomeKind] = {
    PayoutPaid: OutcomeKind.PAID,
    PayoutFailed: OutcomeKind.FAILED,
    PayoutReturned: OutcomeKind.RETURNED,
}


def function_of(call: Call, house: bytes) -> str | None:
    """Which of FUNCTIONS a call is of, None for any other call."""
    if call.to != house:
        return None
    return next((name for name in FUNCTIONS if selector_of(clearing.CONTRACT, name) == call.selector), None)


@dataclass(slots=True)
class ClearingAudit:
    """Takes up what ClearingHouse did, and reports what no clearing bank signed or no state allowed."""

    model: Model
    findings: Findings
    records: Records
    signatures: SignatureChecker

    # -------------------------------------------------------------------------- from calldata

    async def replay(self, function: str, call: Call, tape: Tape) -> None:
        """Take up all events of a call. Raises Undecodable, and OutOfStep where they tell of something else."""
        self._know_banks(tape.transaction)
        match function:
            case "closeCycle":
                await self._close(clearing.decode_close_cycle(call.data), tape)
            case "take":
                self._take(clearing.decode_take(call.data), tape)
            case _:
                await self._report(clearing.decode_report(call.data), tape)
        take_seal(self.model, self.records, tape)

    def _know_banks(self, at: Transaction) -> None:
        self.model.world.clearing_banks = self.model.access.clearing_banks(at.timestamp)

    async def _close(self, sent: CloseCall, tape: Tape) -> None:
        cycle = sent.cycle
        number = clearing.cycle_id(cycle.currency, cycle.scheme, cycle.number)
        digest = cycle_digest(self.model.deployment.clearing_domain(), cycle)
        signed = await self._is_signed(sent.bank, digest, sent.signature, tape.transaction)
        expected = CycleClosed(NOWHERE, number, cycle, sent.bank)
        event = tape.expect(expected, Code.CYCLE_INVALID, "a cycle was closed as another than was signed")
        if isinstance(event, CycleClosed):
            self._closed(event, tape.transaction, signed=signed)

    def _take(self, sent: TakeCall, tape: Tape) -> None:
        presented = self._to_be_taken(sent)
        paths = {each.payout_id: place for place, each in enumerate(presented) if each.proven}
        try:
            decided = decide_take(self.model.world, sent.cycle_id, presented)
        except ClearingRefused as refused:
            self._refused(refused, "payouts were taken that must not be", sent.cycle_id, tape.transaction)
            raise OutOfStep from None
        for each in decided:
            expected = _told_of_take(sent.cycle_id, each)
            what = f"payout 0x{each.presented.payout_id.hex()} was taken or refused otherwise"
            participant = each.presented.payout.participant
            event = tape.expect(expected, Code.PAYOUT_INVALID, what, participant=participant)
            self._apply(event, tape.transaction)
            self.model.focus.show_path(each.presented.payout_id, sent.path(paths[each.presented.payout_id]))

    async def _report(self, sent: ReportCall, tape: Tape) -> None:
        digest = report_digest(self.model.deployment.clearing_domain(), sent.cycle_id, sent.outcomes)
        signed = await self._is_signed(sent.bank, digest, sent.signature, tape.transaction)
        presented = [
            self._presented(sent.cycle_id, payout, path)
            for payout, path in zip(sent.payouts, sent.proofs, strict=True)
        ]
        try:
            decided = decide_report(
                self.model.world, sent.cycle_id, sent.outcomes, presented, bank=sent.bank, signed=signed
            )
        except ClearingRefused as refused:
            self._refused(refused, "a report was followed that must not be", sent.cycle_id, tape.transaction)
            raise OutOfStep from None
        for each in decided:
            what = f"the outcome of payout 0x{each.outcome.payout_id.hex()} was followed otherwise"
            expected = _told_of_report(sent.cycle_id, each)
            participant = each.payout.participant
            event = tape.expect(expected, Code.PAYOUT_INVALID, what, participant=participant)
            self._apply(event, tape.transaction)

    def _to_be_taken(self, sent: TakeCall) -> list[Presented]:
        """The payouts, with whether their paths lead to the root, which is only looked at where the contract looks."""
        found: list[Presented] = []
        seen: set[int] = set()
        for place, payout in enumerate(sent.payouts):
            state = self.model.world.payouts.get((sent.cycle_id, payout.index), PayoutState.NONE)
            if state is PayoutState.NONE and payout.index not in seen:
                found.append(self._presented(sent.cycle_id, payout, sent.path(place)))
            else:
                found.append(Presented(clearing.payout_id(sent.cycle_id, payout), payout, proven=False))
            seen.add(payout.index)
        return found

    def _presented(self, cycle_id: bytes, payout: Payout, path: Sequence[bytes]) -> Presented:
        """A payout with whether its path leads to the root that was signed."""
        cycle = self.model.world.cycles.get(cycle_id)
        root = clearing.NO_PAYOUTS if cycle is None else cycle.payout_root
        number = clearing.payout_id(cycle_id, payout)
        return Presented(number, payout, verify_proof(root, number, path))

    async def _is_signed(self, bank: bytes, digest: bytes, signature: bytes, at: Transaction) -> bool:
        question = WalletQuestion(bank, digest, signature)
        return await self.signatures.is_valid(question, at, taken=True)

    # -------------------------------------------------------------------------- from events alone

    def follow(self, event: ClearingEvent, at: Transaction) -> None:
        """Take up an event whose calldata does not show: what can still be checked is, the rest is believed."""
        self._know_banks(at)
        if isinstance(event, CycleClosed):
            self._closed(event, at, signed=True)
            return
        if isinstance(event, PayoutTaken | PayoutRefused):
            self._check_standing(event, at)
        self._apply(event, at)

    def _check_standing(self, event: PayoutTaken | PayoutRefused, at: Transaction) -> None:
        cycle = self.model.world.cycles.get(event.cycle_id)
        if cycle is None:
            return  # reported with the payout
        payout = Payout(event.index, event.participant, event.amount)
        refusal = refusal_of(self.model.world, cycle.currency, payout)
        reason = encode_rejection(refusal) if refusal is not None else b""
        if reason != (event.reason if isinstance(event, PayoutRefused) else b""):
            self._bad_payout(event, at, "was taken or refused otherwise than its participant's standing says")

    # -------------------------------------------------------------------------- what an event changes

    def _closed(self, event: CycleClosed, at: Transaction, *, signed: bool) -> None:
        world, cycle = self.model.world, event.cycle
        what = f"cycle {cycle.number} of {cycle.currency} {cycle.scheme} was closed"
        if event.cycle_id != clearing.cycle_id(cycle.currency, cycle.scheme, cycle.number):
            self._bad_cycle(event, at, f"{what} under another id than its own")
        try:
            check_bank(world, event.bank, signed=signed)
            check_cycle(world, cycle, at.timestamp, at.block_number)
        except ClearingRefused as refused:
            self._refused(refused, what, event.cycle_id, at, Code.CYCLE_INVALID)
        apply_cycle(world, cycle, event.cycle_id)
        self.model.focus.close(event)
        self.records.add(cycle_leaf(event))
        self.findings.count("cycles")

    def _apply(self, event: object, at: Transaction) -> None:
        match event:
            case PayoutTaken() | PayoutRefused():
                self._taken(event, at)
            case PayoutPaid() | PayoutFailed() | PayoutReturned():
                self._ended(event, at)
            case OutcomePassedOver():
                self._passed_over(event, at)
            case _:
                pass

    def _taken(self, event: PayoutTaken | PayoutRefused, at: Transaction) -> None:
        world, payout = self.model.world, Payout(event.index, event.participant, event.amount)
        cycle = world.cycles.get(event.cycle_id)
        if cycle is None:
            self._bad_payout(event, at, "belongs to a cycle that was never closed")
            self.records.add(payout_leaf(event, _NO_CURRENCY))
            return
        known = world.payouts.get((event.cycle_id, event.index), PayoutState.NONE)
        if known is not PayoutState.NONE or event.index >= cycle.payouts:
            self._bad_payout(event, at, "has an index that was taken before, or that its cycle does not have")
        if event.payout_id != clearing.payout_id(event.cycle_id, payout):
            self._bad_payout(event, at, "has another id than its own")
        apply_taken(world, event.cycle_id, payout, refused=isinstance(event, PayoutRefused))
        if cycle.taken > cycle.total:
            self._bad_payout(event, at, "takes more than its cycle's total")
        self.model.payouts[event.payout_id] = PayoutTrail(event.cycle_id, payout)
        self.model.focus.begin(event.payout_id, event.cycle_id, payout)
        self.model.paid |= {event.participant, IN_TRANSIT, PAID}
        self._record(event, cycle.currency, at)
        self.findings.count("payouts")

    def _ended(self, event: PayoutOutcome, at: Transaction) -> None:
        world, trail, kind = self.model.world, self.model.payouts.get(event.payout_id), _KINDS[type(event)]
        cycle = world.cycles.get(event.cycle_id)
        if trail is None or cycle is None or trail.cycle_id != event.cycle_id:
            self._bad_payout(event, at, "was never taken")
            self.records.add(payout_leaf(event, _NO_CURRENCY if cycle is None else cycle.currency))
            return
        payout = trail.payout
        if world.payouts[trail.cycle_id, payout.index] is not state_before(kind):
            self._bad_payout(event, at, f"was not in the state that {kind.name} follows on")
        if (event.participant, event.amount) != (payout.participant, payout.amount):
            self._bad_payout(event, at, "ended as another than was taken")
        told = Payout(payout.index, event.participant, event.amount)
        apply_outcome(world, trail.cycle_id, told, kind)
        self.model.paid.add(event.participant)
        self._record(event, cycle.currency, at)
        self.findings.count("outcomes")

    def _passed_over(self, event: OutcomePassedOver, at: Transaction) -> None:
        trail = self.model.payouts.get(event.payout_id)
        state = PayoutState.NONE
        if trail is not None:
            state = self.model.world.payouts[trail.cycle_id, trail.payout.index]
        if event.state is not state or state is state_before(event.kind):
            self._bad_payout(event, at, f"had an outcome passed over that follows on {state.name}")
        self.findings.count("outcomes")

    def _record(
        self, event: PayoutTaken | PayoutRefused | PayoutOutcome, currency: str, at: Transaction
    ) -> None:
        self.records.tell_payout(event, at)
        self.records.add(payout_leaf(event, currency))

    # -------------------------------------------------------------------------- differences

    def _refused(
        self,
        refused: ClearingRefused,
        what: str,
        cycle_id: bytes,
        at: Transaction,
        code: Code = Code.PAYOUT_INVALID,
    ) -> None:
        if refused.error in {"NotClearingBank", "InvalidSignature"}:
            code = Code.SIGNATURE_INVALID
        self.findings.report(
            code,
            f"{what}: {refused.error}",
            at,
            expected=refused.values,
            found=cycle_id,
        )

    def _bad_cycle(self, event: CycleClosed, at: Transaction, what: str) -> None:
        self.findings.report(Code.CYCLE_INVALID, what, at, currency=event.cycle.currency, found=event)

    def _bad_payout(self, event: PayoutEvent | OutcomePassedOver, at: Transaction, what: str) -> None:
        self.findings.report(
            Code.PAYOUT_INVALID,
            f"payout 0x{event.payout_id.hex()} {what}",
            at,
            participant=None if isinstance(event, OutcomePassedOver) else event.participant,
            found=event,
        )


_NO_CURRENCY = "\0\0\0"
"""Of a payout that belongs to no cycle."""


def _told_of_take(cycle_id: bytes, taken: Taken) -> PayoutTaken | PayoutRefused:
    payout, number = taken.presented.payout, taken.presented.payout_id
    what = (NOWHERE, cycle_id, number, payout.index, payout.participant, payout.amount)
    if taken.refusal is None:
        return PayoutTaken(*what)
    return PayoutRefused(*what, encode_rejection(taken.refusal))


def _told_of_report(cycle_id: bytes, followed: Followed) -> PayoutOutcome | OutcomePassedOver:
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


def check_clearing(model: Model, findings: Findings) -> None:
    """By the events: what is in transit and paid is the sum of the payouts that are, and no more than was captured."""
    sums: dict[tuple[str, PayoutState], int] = {}
    for trail in model.payouts.values():
        state = model.world.payouts[trail.cycle_id, trail.payout.index]
        key = (model.world.cycles[trail.cycle_id].currency, state)
        sums[key] = sums.get(key, 0) + trail.payout.amount
    for currency in sorted({cycle.currency for cycle in model.world.cycles.values()}):
        for state, position in ((PayoutState.IN_TRANSIT, IN_TRANSIT), (PayoutState.PAID, PAID)):
            expected = sums.get((currency, state), 0)
            found = model.world.positions.get((currency, position), 0)
            captured = model.world.totals[currency].captured if currency in model.world.totals else 0
            if found != expected or not 0 <= found <= captured:
                findings.report(
                    Code.CURRENCY_NOT_CONSERVED,
                    f"by the events, {state.name} in {currency} is not what its payouts sum up to",
                    currency=currency,
                    expected=expected,
                    found=found,
                )
