"""The lines of a bill, made from what happened. Nothing is read or written here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from fenzhang.domain.allocation import Allocation
from fenzhang.domain.days import Day
from fenzhang.domain.identifiers import hex_id
from fenzhang.domain.money import EXPONENTS
from fenzhang.domain.records import NOTHING, RecordKind
from fenzhang.domain.suspense import suspense_id


class BillKind(StrEnum):
    """Whom a bill is for."""

    PLATFORM = "PLATFORM"
    """All that happened on the orders of a platform, and what of its instructions was rejected."""
    MERCHANT = "MERCHANT"
    """The same for the orders of one merchant of the platform."""
    PARTICIPANT = "PARTICIPANT"
    """What a participant was given and what was taken from it, by whichever platform; with its positions."""


class LineKind(StrEnum):
    """What a line tells."""

    BILL = "BILL"
    """The first: which bill this is. `kind` is a BillKind, `time` the beginning of the day."""
    RECORD = "RECORD"
    """What became of an instruction."""
    ALLOCATION = "ALLOCATION"
    """One allocation of a record."""
    TOTAL = "TOTAL"
    """How many lines of a kind, state and currency there are, and their sum."""
    OPENING = "OPENING"
    """A position before the day."""
    CLOSING = "CLOSING"
    """A position after the day."""
    END = "END"
    """The last: so many `lines` stand before it, `time` is the end of the day."""


SETTLED, REJECTED = "SETTLED", "REJECTED"
_GIVES = frozenset(
    kind.name
    for kind in (
        RecordKind.SPLIT,
        RecordKind.RELEASE,
        RecordKind.PAYOUT_FAILED,
        RecordKind.PAYOUT_RETURNED,
    )
)


class Line(NamedTuple):
    """A line, whose fields are the columns of a bill. What does not apply is None."""

    line: str
    time: int | None = None
    local_time: str | None = None
    kind: str | None = None
    state: str | None = None
    reason: str | None = None
    message: str | None = None
    out_order_no: str | None = None
    out_split_no: str | None = None
    out_release_no: str | None = None
    out_return_no: str | None = None
    out_refund_no: str | None = None
    out_request_no: str | None = None
    allocation: int | None = None
    out_participant_no: str | None = None
    participant_id: str | None = None
    parked: bool | None = None
    currency: str | None = None
    exponent: int | None = None
    amount: int | None = None
    change: int | None = None
    lines: int | None = None
    order_id: str | None = None
    instruction_id: str | None = None
    split_id: str | None = None
    payout_id: str | None = None
    cycle_id: str | None = None
    scheme: str | None = None
    cycle: int | None = None
    block_number: int | None = None
    log_index: int | None = None
    tx_hash: str | None = None
    batch: int | None = None
    leaf_index: int | None = None
    leaf: str | None = None
    platform_id: str | None = None
    day: str | None = None
    time_zone: str | None = None


Key = tuple[int, int, int, int]
"""Where something stands in a bill: time, block, log, and the instruction where one log is about several."""


class PayoutFacts(NamedTuple):
    """Which payout a record is about: whose it is, and by which cycle."""

    payout_id: bytes
    participant: bytes
    cycle_id: bytes
    currency: str
    scheme: str
    number: int


@dataclass(slots=True)
class Happening:
    """What became of an instruction or payout, or a record that no instruction of this backend asked for."""

    key: Key
    kind: str
    state: str
    platform_id: bytes | None
    """Whose order it is; of a rejection, whose instruction; of a payout, who enrolled the participant."""
    amount: int
    currency: str | None
    time: int
    block_number: int | None
    log_index: int | None
    tx_hash: bytes
    reason: Mapping[str, Any] | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    """What the platform calls it, by column."""
    order_id: bytes | None = None
    instruction_id: bytes | None = None
    split_id: bytes | None = None
    batch: int | None = None
    leaf_index: int | None = None
    leaf: bytes | None = None
    merchant: bytes | None = None
    concerns: frozenset[bytes] = frozenset()
    """Of a rejection: whom the order names."""
    allocations: tuple[Allocation, ...] = ()
    payout: PayoutFacts | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a bill is for: a platform, or a merchant or participant that the platform enrolled."""

    kind: BillKind
    platform_id: bytes
    platform: str
    """The platform's reference."""
    participant_id: bytes | None = None
    participant: str | None = None
    """What the platform calls it."""

    @property
    def positions(self) -> tuple[bytes, ...]:
        """Of a participant's bill: the ids of its own and its suspense position."""
        if self.kind is not BillKind.PARTICIPANT or self.participant_id is None:
            return ()
        return self.participant_id, suspense_id(self.participant_id)


class Owner(NamedTuple):
    """Who enrolled a participant, and as what."""

    platform_id: bytes
    reference: str


@dataclass(frozen=True, slots=True)
class Shaper:
    """Makes the lines of a bill. It shows what belongs to other platforms without their names and ids."""

    subject: Subject
    day: Day

    def first(self) -> Line:
        """The line that says which bill it is."""
        subject = self.subject
        return Line(
            LineKind.BILL,
            self.day.begin,
            self.day.local(self.day.begin),
            subject.kind.value,
            participant_id=None if subject.participant_id is None else hex_id(subject.participant_id),
            out_participant_no=subject.participant,
            platform_id=hex_id(subject.platform_id),
            day=self.day.date.isoformat(),
            time_zone=self.day.zone.key,
        )

    def last(self, count: int) -> Line:
        """The line that says that nothing is missing."""
        return Line(LineKind.END, self.day.end, self.day.local(self.day.end), lines=count)

    def lines(self, happening: Happening, owners: Mapping[bytes, Owner]) -> list[Line]:
        """What the bill says of a happening: nothing if it is none of the subject's business."""
        subject = self.subject
        is_own = happening.platform_id == subject.platform_id
        base = self._base(happening) if is_own else self._foreign(happening)
        if happening.payout is not None and happening.state == REJECTED:
            # Nothing was moved, so there is no allocation to say whose it is.
            base = self._named(base, happening.payout.participant, owners)
        if subject.kind is BillKind.PARTICIPANT:
            if happening.state == REJECTED:
                return [base] if is_own and subject.participant_id in happening.concerns else []
            found = self._allocations(base, happening, owners)
            return [line for line, recipient in found if recipient in subject.positions]
        if not is_own or (subject.kind is BillKind.MERCHANT and happening.merchant != subject.participant_id):
            return []
        return [base, *(line for line, _ in self._allocations(base, happening, owners))]

    def _base(self, happening: Happening) -> Line:
        names: dict[str, Any] = dict(happening.names)
        return self._foreign(happening)._replace(
            **names,
            message=None if happening.reason is None else happening.reason["message"],
            order_id=_hex(happening.order_id),
            instruction_id=_hex(happening.instruction_id),
            split_id=_hex(happening.split_id),
            platform_id=_hex(happening.platform_id),
            **_of_payout(happening.payout),
        )

    def _foreign(self, happening: Happening) -> Line:
        return Line(
            LineKind.RECORD,
            happening.time,
            self.day.local(happening.time),
            happening.kind,
            happening.state,
            None if happening.reason is None else happening.reason["code"],
            currency=happening.currency,
            exponent=None if happening.currency is None else EXPONENTS.get(happening.currency),
            amount=happening.amount,
            block_number=happening.block_number,
            log_index=happening.log_index,
            tx_hash=_hex(happening.tx_hash),
            batch=happening.batch,
            leaf_index=happening.leaf_index,
            leaf=_hex(happening.leaf),
        )

    def _allocations(
        self, base: Line, happening: Happening, owners: Mapping[bytes, Owner]
    ) -> Iterator[tuple[Line, bytes]]:
        for place, allocation in enumerate(happening.allocations):
            recipient, amount = allocation.recipient, allocation.amount
            parked = recipient not in owners and suspense_id(recipient) in owners
            line = base._replace(
                line=LineKind.ALLOCATION,
                allocation=place,
                parked=parked,
                amount=amount,
                change=_direction(happening.kind, place) * amount,
            )
            yield self._named(line, suspense_id(recipient) if parked else recipient, owners), recipient

    def _named(self, line: Line, participant: bytes, owners: Mapping[bytes, Owner]) -> Line:
        """The line with whom it is about, and what the platform calls its own."""
        owner = owners.get(participant)
        is_named = owner is not None and owner.platform_id == self.subject.platform_id
        return line._replace(
            participant_id=_hex(participant),
            out_participant_no=owner.reference if owner is not None and is_named else None,
        )


def _direction(kind: str, place: int) -> int:
    """Whether an allocation raises a position (1), lowers it (-1), or tells of what had left it before (0)."""
    if kind == RecordKind.PAYOUT_PAID.name:
        return 0
    return 1 if kind in _GIVES or (kind == RecordKind.RESOLUTION.name and place > 0) else -1


def _of_payout(facts: PayoutFacts | None) -> dict[str, Any]:
    if facts is None:
        return {}
    return {
        "payout_id": hex_id(facts.payout_id),
        "cycle_id": hex_id(facts.cycle_id),
        "scheme": facts.scheme,
        "cycle": facts.number,
    }


@dataclass(slots=True)
class Sums:
    """How many lines there are of something, and what they come to."""

    count: int = 0
    amount: int = 0
    change: int = 0


TotalKey = tuple[str, str, str, bool]
"""Kind, state, currency (empty where it is not known) and whether a suspense position is meant."""


@dataclass(slots=True)
class Totals:
    """What the lines of a bill come to: of a participant's bill all of them, else the records."""

    kind: BillKind
    sums: dict[TotalKey, Sums] = field(default_factory=dict)

    def add(self, line: Line) -> None:
        """Count a line."""
        if line.line == LineKind.ALLOCATION and self.kind is not BillKind.PARTICIPANT:
            return
        key = (line.kind or "", line.state or "", line.currency or "", bool(line.parked))
        found = self.sums.setdefault(key, Sums())
        found.count += 1
        found.amount += line.amount or 0
        found.change += line.change or 0

    def change(self, currency: str, *, parked: bool) -> int:
        """What the day did to a position."""
        return sum(each.change for key, each in self.sums.items() if key[2] == currency and key[3] is parked)

    def lines(self) -> Iterator[Line]:
        """The totals, in order of kind, state, currency and position."""
        is_participant = self.kind is BillKind.PARTICIPANT
        for key in sorted(self.sums):
            kind, state, currency, parked = key
            found = self.sums[key]
            moves = is_participant and state == SETTLED
            yield Line(
                LineKind.TOTAL,
                kind=kind,
                state=state,
                currency=currency or None,
                exponent=EXPONENTS.get(currency),
                amount=found.amount,
                lines=found.count,
                parked=parked if moves else None,
                change=found.change if moves else None,
            )


@dataclass(frozen=True, slots=True)
class Balance:
    """A position before and after the day, minor units; negative is what is owed."""

    currency: str
    parked: bool
    opening: int
    closing: int

    def lines(self, subject: Subject) -> Iterator[Line]:
        """Opening and closing."""
        for kind, amount in ((LineKind.OPENING, self.opening), (LineKind.CLOSING, self.closing)):
            yield Line(
                kind,
                out_participant_no=subject.participant,
                participant_id=_hex(subject.participant_id),
                parked=self.parked,
                currency=self.currency,
                exponent=EXPONENTS.get(self.currency),
                amount=amount,
            )


def _hex(value: bytes | None) -> str | None:
    return None if value is None or value == NOTHING else hex_id(value)
