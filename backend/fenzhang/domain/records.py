"""What is signed and what is recorded, as plain values: the Python twins of the structs in ISplitLedger.sol."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from fenzhang.domain.allocation import Allocation

NOTHING = bytes(32)
"""In place of an id or of facts: there are none."""


class InstructionKind(IntEnum):
    """What an instruction asks for. The numbers are those of the contracts."""

    SPLIT = 0
    RELEASE = 1
    RETURN = 2
    REFUND = 3

    @property
    def opens_past(self) -> bool:
        """Whether deciding it takes the order's opened past, and so it stands first for its order."""
        return self >= InstructionKind.RETURN

    @property
    def needs_condition(self) -> bool:
        """Whether it waits for the order's condition: it lets recipients or the merchant have what is held."""
        return self <= InstructionKind.RELEASE

    @property
    def record(self) -> RecordKind:
        """Kind of the record that it makes when it settles."""
        return RecordKind[self.name]


class RecordKind(IntEnum):
    """What a record tells. The numbers are those of the contracts."""

    CAPTURE = 0
    SPLIT = 1
    RELEASE = 2
    RETURN = 3
    REJECTION = 4
    REFUND = 5
    RESOLUTION = 6
    CYCLE = 7
    PAYOUT = 8
    PAYOUT_PAID = 9
    PAYOUT_FAILED = 10
    PAYOUT_RETURNED = 11


class RuleState(IntEnum):
    """Whether a rule version may be used for an order captured now. The numbers are those of the contracts."""

    UNKNOWN = 0
    PROPOSED = 1
    NOT_EFFECTIVE = 2
    IN_FORCE = 3
    SUPERSEDED = 4
    RETIRED = 5
    VETOED = 6


class ParticipantStatus(IntEnum):
    """Standing of a participant. The numbers are those of the contracts."""

    UNKNOWN = 0
    ACTIVE = 1
    SUSPENDED = 2
    CLOSED = 3


@dataclass(frozen=True, slots=True)
class Capture:
    """What an attestor signs about one order.

    `bindings` follow the rule version's roles; 32 zero bytes leave one open. Before `hold_until` nothing may be done on
    the order; from `expires_at` on it is not split any more, and anybody may release what it holds. Both are Unix
    seconds, 0 for none. `facts` and `condition` are 32 bytes, zero for none.
    """

    order_id: bytes
    platform: bytes
    merchant: bytes
    rule_id: bytes
    rule_version: int
    currency: str
    amount: int
    bindings: tuple[bytes, ...]
    hold_until: int = 0
    expires_at: int = 0
    facts: bytes = NOTHING
    condition: bytes = NOTHING

    def is_on_hold(self, now: int) -> bool:
        """Whether nothing may be done on the order at `now` (Unix seconds)."""
        return now < self.hold_until

    def has_expired(self, now: int) -> bool:
        """Whether what the order holds may be released by anybody at `now` (Unix seconds)."""
        return 0 < self.expires_at <= now


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction of a platform; fields that its kind does not use are zero or empty.

    `amounts`: what a SPLIT gives each GIVEN leg, or what a RETURN takes from each leaf, in leg order.
    """

    kind: InstructionKind
    id: bytes
    order_id: bytes
    split_id: bytes = bytes(32)
    amount: int = 0
    bindings: tuple[bytes, ...] = ()
    amounts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Attestation:
    """A list of captures signed by an attestor (20-byte address). `deadline` is Unix seconds."""

    attestor: bytes
    nonce: int
    deadline: int
    captures: tuple[Capture, ...]
    signature: bytes = b""


@dataclass(frozen=True, slots=True)
class Authorization:
    """A list of instructions signed by a platform's authority. `deadline` is Unix seconds."""

    platform: bytes
    nonce: int
    deadline: int
    instructions: tuple[Instruction, ...]
    signature: bytes = b""


@dataclass(frozen=True, slots=True)
class PastRecord:
    """A settled record of an order, opened. `split_id` is used by RETURN only; a RELEASE has no allocations.

    Those of a REFUND are what it took from the order's leaves, one each; the rest of its amount was held.
    """

    kind: RecordKind
    id: bytes
    amount: int
    split_id: bytes = bytes(32)
    allocations: tuple[Allocation, ...] = ()


@dataclass(frozen=True, slots=True)
class OrderWitness:
    """The known past of an order, checked by the chain against the order's slot."""

    capture: Capture
    head: bytes
    past: tuple[PastRecord, ...] = field(default=())
