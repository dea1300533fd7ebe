"""The life of single orders and payouts: every record that names them, each with its place and its proof."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from fenzhang.audit.differences import plain
from fenzhang.audit.reading import Transaction
from fenzhang.chain.clearing import RECORD_KINDS
from fenzhang.chain.codec import decode_revert
from fenzhang.chain.eventtypes import (
    AuthorizationRejected,
    AuthorizationSkipped,
    CycleClosed,
    FreezeChanged,
    InstructionRejected,
    OrderCaptured,
    OrderRefunded,
    OrderReleased,
    OrderSplit,
    PayoutEvent,
    PayoutFailed,
    PayoutRefused,
    PayoutReturned,
    SplitReturned,
)
from fenzhang.chain.evidence import merkle_proof, verify_proof
from fenzhang.domain.allocation import Allocation
from fenzhang.domain.clearing import Payout, PayoutState, parse_end_to_end_id
from fenzhang.domain.identifiers import check_reference, order_id, parse_id
from fenzhang.domain.records import Capture, Instruction
from fenzhang.domain.world import WHOLE_ORDER

RecordEvent = OrderCaptured | OrderSplit | OrderReleased | SplitReturned | OrderRefunded | InstructionRejected
"""Events that leave a record."""
AuthorizationEvent = AuthorizationRejected | AuthorizationSkipped
"""Events of authorizations that had no effect."""

ID_LENGTH = 66
"""Characters of an on-chain id: 0x and 64 digits. No reference is that long."""


@dataclass(slots=True, kw_only=True)
class Entry:
    """One thing that happened to an order. Amounts are minor units, times Unix seconds.

    A record has a batch, its place in it, its leaf and its proof. An authorization that was refused or skipped as a
    whole left no record, and neither does a freeze or its end, whose `signer` is the guardian: these have none of them.
    """

    kind: str
    id: bytes
    block: int
    timestamp: int
    transaction: bytes
    amount: int | None = None
    allocations: tuple[Allocation, ...] = ()
    split_id: bytes | None = None
    reason: dict[str, Any] | None = None
    signer: bytes | None = None
    batch: int | None = None
    index: int | None = None
    leaf: bytes | None = None
    proof: list[bytes] = field(default_factory=list)
    proven: bool | None = None
    """Whether the proof leads to the root that the chain holds."""

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        shown: dict[str, Any] = plain(self)
        del shown["type"]
        for allocation in shown["allocations"]:
            del allocation["type"]
        return shown


@dataclass(slots=True)
class Story:
    """One order, from its capture on. `capture` is None for an order that was never captured."""

    order_id: bytes
    capture: Capture | None = None
    held: int = 0
    captured: int = 0
    split: int = 0
    released: int = 0
    returned: int = 0
    refunded: int = 0
    slot: int | None = None
    entries: list[Entry] = field(default_factory=list)

    @property
    def parties(self) -> set[bytes]:
        """Participants that the order's money concerns."""
        parties = {one.recipient for entry in self.entries for one in entry.allocations}
        if self.capture is not None:
            parties |= {self.capture.platform, self.capture.merchant, *self.capture.bindings}
        return parties

    @property
    def transactions(self) -> set[bytes]:
        """Hashes of the transactions that are told of."""
        return {entry.transaction for entry in self.entries}

    @property
    def currency(self) -> str | None:
        """Currency of the order, None when it was never captured."""
        return None if self.capture is None else self.capture.currency

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        capture = None if self.capture is None else plain(self.capture)
        if capture is not None:
            del capture["type"]
        return {
            "order_id": plain(self.order_id),
            "capture": capture,
            "captured": self.captured,
            "split": self.split,
            "released": self.released,
            "returned": self.returned,
            "refunded": self.refunded,
            "held": self.held,
            "slot": None if self.slot is None else f"0x{self.slot:064x}",
            "records": [entry.to_json() for entry in self.entries],
        }


@dataclass(slots=True)
class PayoutStory:
    """One payout, from the cycle that it belongs to on: when it was taken, and what became of it.

    `path` leads from the payout's id, which is its leaf, to the payout root that the clearing bank signed; `under_root`
    says whether it does, None where calldata does not show it.
    """

    payout_id: bytes
    payout: Payout | None = None
    closed: CycleClosed | None = None
    state: PayoutState = PayoutState.NONE
    path: list[bytes] = field(default_factory=list)
    under_root: bool | None = None
    entries: list[Entry] = field(default_factory=list)

    @property
    def transactions(self) -> set[bytes]:
        """Hashes of the transactions that are told of, that of the cycle's closing among them."""
        closing = set() if self.closed is None else {self.closed.at.tx_hash}
        return closing | {entry.transaction for entry in self.entries}

    @property
    def currency(self) -> str | None:
        """Currency of the cycle."""
        return None if self.closed is None else self.closed.cycle.currency

    @property
    def parties(self) -> set[bytes]:
        """Participants that the payout concerns."""
        return set() if self.payout is None else {self.payout.participant}

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        cycle = None if self.closed is None else plain(self.closed)
        if cycle is not None:
            del cycle["type"], cycle["cycle"]["type"]
        payout = None if self.payout is None else plain(self.payout)
        if payout is not None:
            del payout["type"]
        return {
            "payout_id": plain(self.payout_id),
            "payout": payout,
            "cycle": cycle,
            "state": self.state.name,
            "path": plain(self.path),
            "under_root": self.under_root,
            "records": [entry.to_json() for entry in self.entries],
        }


@dataclass(slots=True)
class Focus:
    """The orders whose story is told: one id, or what a reference means to each platform."""

    reference: str | None = None
    stories: dict[bytes, Story] = field(default_factory=dict)

    payouts: dict[bytes, PayoutStory] = field(default_factory=dict)
    """Payouts whose story is told, by their ids."""
    payout: bytes | None = None
    """Id of the payout whose story is told, or how it begins."""
    _cycles: dict[bytes, CycleClosed] = field(default_factory=dict)

    @classmethod
    def on_payout(cls, given: str) -> Self:
        """The payout with this id (0x and 64 digits), or with this name among banks. Raises InvalidInput."""
        named = not given.startswith("0x")
        return cls(payout=parse_end_to_end_id(given) if named else parse_id("payout", given.lower()))

    @classmethod
    def on(cls, given: str) -> Self:
        """The order with this id (0x and 64 digits) or reference. Raises InvalidInput for neither."""
        if given.startswith("0x") and len(given) == ID_LENGTH:
            order = parse_id("order", given.lower())
            return cls(None, {order: Story(order)})
        return cls(check_reference("order", given))

    def meet(self, participant: bytes) -> None:
        """A participant was enrolled: it may be the platform that gave the reference."""
        if self.reference is not None:
            order = order_id(participant, self.reference)
            self.stories.setdefault(order, Story(order))

    def close(self, event: CycleClosed) -> None:
        """A cycle was closed: the payout that is told of may be its own, which shows when it is taken."""
        if self.payout is not None:
            self._cycles[event.cycle_id] = event

    def begin(self, payout_id: bytes, cycle_id: bytes, payout: Payout) -> None:
        """A payout was taken or refused: it is told of if it is the one."""
        if self.payout is not None and payout_id.startswith(self.payout):
            closed = self._cycles.get(cycle_id)
            self.payouts.setdefault(payout_id, PayoutStory(payout_id, payout, closed))

    def show_path(self, payout_id: bytes, path: Sequence[bytes]) -> None:
        """Calldata gave the path of a payout to its cycle's root."""
        story = self.payouts.get(payout_id)
        if story is not None and story.closed is not None:
            story.path = list(path)
            story.under_root = verify_proof(story.closed.cycle.payout_root, payout_id, path)

    def add(self, order: bytes, entry: Entry) -> None:
        """Add to the story of an order, if it is told."""
        story = self.stories.get(order)
        if story is not None:
            story.entries.append(entry)

    def seal(self, batch: int, leaves: list[bytes], pending: list[tuple[int, Entry]]) -> None:
        """Give the records of a batch their proofs."""
        for index, entry in pending:
            entry.batch, entry.index, entry.leaf = batch, index, leaves[index]
            entry.proof = merkle_proof(leaves, index)

    def told(self) -> list[Story]:
        """Stories of orders that something happened to."""
        return [story for story in self.stories.values() if story.entries]


def entry_of(event: RecordEvent, at: Transaction) -> Entry:
    """The entry that tells of a record."""
    kind, record_id, details = _told(event)
    return Entry(
        kind=kind,
        id=record_id,
        block=at.block_number,
        timestamp=at.timestamp,
        transaction=at.tx_hash,
        amount=event.amount,
        **details,
    )


def _told(event: RecordEvent) -> tuple[str, bytes, dict[str, Any]]:
    """Kind and id of a record, and the further fields of its entry."""
    match event:
        case OrderCaptured():
            return "CAPTURE", event.order_id, {}
        case OrderSplit():
            return "SPLIT", event.split_id, {"allocations": event.allocations}
        case OrderReleased():
            given = (Allocation(event.merchant, event.amount),)
            return "RELEASE", event.release_id, {"allocations": given}
        case SplitReturned():
            details = {"allocations": event.allocations, "split_id": event.split_id}
            return "RETURN", event.return_id, details
        case OrderRefunded():
            return "REFUND", event.refund_id, {"allocations": event.takes}
        case InstructionRejected():
            reason = {"of": event.kind.name} | reason_of(event.reason)
            return "REJECTION", event.id, {"reason": reason, "signer": event.signer}


def entry_of_payout(event: PayoutEvent, at: Transaction) -> Entry:
    """The entry that tells of a record of a payout."""
    kind = RECORD_KINDS[type(event)].name
    reason = None
    if isinstance(event, PayoutRefused):
        reason = {"of": "PAYOUT"} | reason_of(event.reason)
    elif isinstance(event, PayoutFailed | PayoutReturned):
        reason = {"of": "PAYOUT", "code": event.reason, "message": event.reason}
    return Entry(
        kind=kind,
        id=event.payout_id,
        block=at.block_number,
        timestamp=at.timestamp,
        transaction=at.tx_hash,
        amount=event.amount,
        allocations=() if reason else (Allocation(event.participant, event.amount),),
        reason=reason,
    )


def entry_without_record(event: AuthorizationEvent, instruction: Instruction, at: Transaction) -> Entry:
    """The entry of an instruction whose authorization was refused or skipped as a whole."""
    if isinstance(event, AuthorizationRejected):
        kind, reason = "REFUSED", reason_of(event.reason)
    else:
        kind, reason = (
            "SKIPPED",
            {"code": "outdated_witness", "message": "It stays valid and can be relayed again"},
        )
    return Entry(
        kind=kind,
        id=instruction.id,
        block=at.block_number,
        timestamp=at.timestamp,
        transaction=at.tx_hash,
        amount=instruction.amount,
        reason={"of": instruction.kind.name} | reason,
        signer=event.signer,
    )


def entry_of_freeze(event: FreezeChanged, at: Transaction) -> Entry:
    """The entry of a freeze of an order or one of its splits, or of its end."""
    whole = event.split_id == WHOLE_ORDER
    message = f"{event.reason}, by the guardian 0x{event.guardian.hex()}"
    return Entry(
        kind="FREEZE" if event.frozen else "UNFREEZE",
        id=event.order_id if whole else event.split_id,
        block=at.block_number,
        timestamp=at.timestamp,
        transaction=at.tx_hash,
        split_id=None if whole else event.split_id,
        reason={"of": "ORDER" if whole else "SPLIT", "code": event.reason, "message": message},
        signer=event.guardian,
    )


def reason_of(reason: bytes) -> dict[str, str]:
    """Code and message of an encoded custom error."""
    error = decode_revert(reason)
    return {"code": error.code, "message": error.message}
