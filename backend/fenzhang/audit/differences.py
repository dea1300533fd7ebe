"""What a verification finds: differences, each with a stable code and its place on the chain, and what was counted."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from fenzhang.domain.errors import FenzhangError


class Area(StrEnum):
    """Part of the verification. Every difference belongs to one."""

    CONTRACTS = "contracts"
    """The code at the addresses, and what the contracts are wired to."""
    HISTORY = "history"
    """Whether what happened can be read and explained from calldata."""
    SIGNATURES = "signatures"
    """Who signed what, and whether it was theirs to sign."""
    GOVERNANCE = "governance"
    """Participants, consent, rule versions and their approval, roles, currencies."""
    DECISIONS = "decisions"
    """What settled with which amounts, and what was rejected for which reason."""
    EVIDENCE = "evidence"
    """Batches, Merkle roots and proofs."""
    CONSERVATION = "conservation"
    """No money appears or vanishes, per order and per currency."""
    STORAGE = "storage"
    """What the contracts hold now, against what their history leads to."""


class Code(StrEnum):
    """Kind of a difference. A value never changes once published."""

    CODE_DIFFERS = "code_differs"
    """A contract's code is not the compiled one."""
    WIRING_DIFFERS = "wiring_differs"
    """A contract relies on another contract or signing domain than the deployment's."""
    UNKNOWN_EVENT = "unknown_event"
    """A log of a contract is none of its events."""
    NOT_VERIFIABLE = "not_verifiable"
    """A transaction reached the ledger through another contract, so its calldata does not show what was signed."""
    CALLDATA_UNREADABLE = "calldata_unreadable"
    """Calldata that a contract accepted does not decode."""
    EVENT_MISSING = "event_missing"
    """The calldata leads to an event that was not emitted."""
    EVENT_UNEXPECTED = "event_unexpected"
    """An event was emitted that the calldata does not lead to."""
    SIGNATURE_NOT_VERIFIABLE = "signature_not_verifiable"
    """A contract account signed, and the node can no longer tell what that contract said then."""
    SIGNATURE_INVALID = "signature_invalid"
    """A rule or condition was changed without the signature of the party whose it is to change."""
    AUTHORIZATION_DIFFERS = "authorization_differs"
    """An attestation or authorization was taken, refused or skipped against the rules."""
    NOT_ALLOWED = "not_allowed"
    """Somebody did what only another role, or the party itself, may do."""
    TWO_PARTY_RULE = "two_party_rule"
    """A rule version was approved by its own platform, or so that the chain does not show by whom."""
    PARTICIPANT_TRANSITION = "participant_transition"
    """A participant's standing, authority or consent changed in a way that the registry does not allow."""
    SUSPENSE_TRANSITION = "suspense_transition"
    """A suspense position was resolved to another than may have it, or not whole; or the wrong heir was named."""
    CYCLE_INVALID = "cycle_invalid"
    """A cycle was closed that does not follow on the last one, or without the signature of a clearing bank."""
    PAYOUT_INVALID = "payout_invalid"
    """A payout was taken or its outcome followed that no signed cycle or report allows, or out of its turn."""
    FREEZE_TRANSITION = "freeze_transition"
    """Something was frozen twice, or unfrozen that was not frozen or by the account that had frozen it."""
    CONDITION_INVALID = "condition_invalid"
    """A condition was opened, joined, confirmed or reached in a way that the rules do not allow."""
    RULE_INVALID = "rule_invalid"
    """A rule version is no rule, out of turn, approved as something else, or used after its retirement."""
    RULE_LOCKED = "rule_locked"
    """A rule version was approved later than the approval lock allows before its effect, or vetoed when it had one."""
    CONTENT_HASH_DIFFERS = "content_hash_differs"
    """The content hash of a rule version is not the hash of its content."""
    DECISION_DIFFERS = "decision_differs"
    """A capture or instruction settled, or was rejected, otherwise than the specification says."""
    ALLOCATION_DIFFERS = "allocation_differs"
    """Allocations are not those of the order's rule version."""
    BATCH_DIFFERS = "batch_differs"
    """A batch has another number, root or count of records than its transaction's records."""
    BATCH_MISSING = "batch_missing"
    """A transaction left records and sealed no batch."""
    PROOF_FAILS = "proof_fails"
    """A record's Merkle proof does not lead to the root that the chain holds."""
    ORDER_NOT_CONSERVED = "order_not_conserved"
    """An order gave more than was captured, or a leaf more than it got."""
    CURRENCY_NOT_CONSERVED = "currency_not_conserved"
    """Positions, money in transit, paid, held and refunded of a currency are not what was captured."""
    ORDER_SLOT = "order_slot"
    """An order's slot holds another commitment or held amount."""
    SHARED_OUT = "shared_out"
    """What is kept of what left an order's merchant under a cap is another sum."""
    POSITION = "position"
    """A participant's position is another one."""
    CYCLE = "cycle"
    """What is kept of a cycle, or which one is the newest of its currency and scheme, is another."""
    PAYOUT_STATE = "payout_state"
    """A payout is in another state."""
    TOTALS = "totals"
    """The captured, held or refunded total of a currency is another one."""
    CURRENCY_SWITCH = "currency_switch"
    """A currency is open or closed against its history."""
    BATCH_ROOT = "batch_root"
    """The stored root of a batch, or the number of batches, is another one."""
    NONCES = "nonces"
    """The used nonces of a signer are others."""
    PARTICIPANT = "participant"
    """A participant's status, authority or cap is another one."""
    FREEZE = "freeze"
    """An order, split or participant is frozen, or not, against its history."""
    CONDITION = "condition"
    """What a condition needs, how many orders joined it, or whether it is reached, is against its history."""
    PLACE = "place"
    """A participant stands below another one, on another level, or has another number below it."""
    CONSENT = "consent"
    """A recipient's consent is another one."""
    RULE_HEADER = "rule_header"
    """A rule's latest version or retirement, or a version's header or veto, is another one."""
    APPROVAL_LOCK = "approval_lock"
    """The least time between the approval of a rule version and its effect is another one."""
    RULE_LEGS = "rule_legs"
    """The stored legs, roles or terms of a rule version are others."""
    SCHEDULE_ENTRIES = "schedule_entries"
    """The stored entries of a version of a schedule are others."""
    SCHEDULE_STATE = "schedule_state"
    """A version of a schedule is in force, or not, against its history."""
    UNREADABLE = "unreadable"
    """A view of a contract reverts, or answers what it never could."""
    ROLE = "role"
    """An account's membership of a role, or the role that a function needs, is another one."""


_AREAS: Mapping[Area, Sequence[Code]] = {
    Area.CONTRACTS: (Code.CODE_DIFFERS, Code.WIRING_DIFFERS),
    Area.HISTORY: (
        Code.UNKNOWN_EVENT,
        Code.NOT_VERIFIABLE,
        Code.CALLDATA_UNREADABLE,
        Code.EVENT_MISSING,
        Code.EVENT_UNEXPECTED,
    ),
    Area.SIGNATURES: (
        Code.SIGNATURE_NOT_VERIFIABLE,
        Code.SIGNATURE_INVALID,
        Code.AUTHORIZATION_DIFFERS,
    ),
    Area.GOVERNANCE: (
        Code.NOT_ALLOWED,
        Code.TWO_PARTY_RULE,
        Code.PARTICIPANT_TRANSITION,
        Code.FREEZE_TRANSITION,
        Code.CONDITION_INVALID,
        Code.SUSPENSE_TRANSITION,
        Code.RULE_INVALID,
        Code.RULE_LOCKED,
        Code.CONTENT_HASH_DIFFERS,
    ),
    Area.DECISIONS: (
        Code.DECISION_DIFFERS,
        Code.ALLOCATION_DIFFERS,
        Code.CYCLE_INVALID,
        Code.PAYOUT_INVALID,
    ),
    Area.EVIDENCE: (Code.BATCH_DIFFERS, Code.BATCH_MISSING, Code.PROOF_FAILS),
    Area.CONSERVATION: (Code.ORDER_NOT_CONSERVED, Code.CURRENCY_NOT_CONSERVED),
}
_AREA_OF = {code: area for area, codes in _AREAS.items() for code in codes}


def area_of(code: Code) -> Area:
    """The part of the verification that finds differences of this code."""
    return _AREA_OF.get(code, Area.STORAGE)


COUNTED: Mapping[Area, Sequence[str]] = {
    Area.CONTRACTS: ("contracts",),
    Area.HISTORY: ("blocks", "transactions", "events"),
    Area.SIGNATURES: ("signatures", "authorizations_without_effect"),
    Area.GOVERNANCE: ("governance_events", "rule_versions", "conditions"),
    Area.DECISIONS: (
        *("captures", "splits", "releases", "returns", "refunds", "rejections"),
        *("cycles", "payouts", "outcomes"),
    ),
    Area.EVIDENCE: ("records", "batches", "proofs"),
    Area.CONSERVATION: ("orders_conserved", "currencies_conserved"),
    Area.STORAGE: (
        "order_slots",
        "positions",
        "payout_states",
        "totals",
        "batch_roots",
        "nonce_words",
        "participants",
        "consents",
        "freezes",
        "rule_headers",
        "roles",
    ),
}
"""What is counted in each part of the verification."""


class Place(Protocol):
    """Where something happened: block and transaction."""

    @property
    def block_number(self) -> int:
        """Number of the block."""

    @property
    def tx_hash(self) -> bytes:
        """Hash of the transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that is not as it must be. What does not apply is None; amounts are minor units."""

    code: Code
    message: str
    block: int | None = None
    transaction: bytes | None = None
    order: bytes | None = None
    participant: bytes | None = None
    currency: str | None = None
    rule: bytes | None = None
    batch: int | None = None
    expected: object = None
    found: object = None

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values: bytes as 0x digits, events as objects."""
        return {"area": area_of(self.code).value} | {
            entry.name: plain(getattr(self, entry.name)) for entry in dataclasses.fields(self)
        }


@dataclass(slots=True)
class Findings:
    """What was found and counted so far."""

    differences: list[Difference] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    """How many of each kind of thing were checked."""
    unexplained_nonces: bool = False
    """The chain holds a nonce for used, and no transaction with events used it."""

    def report(self, code: Code, message: str, at: Place | None = None, **details: Any) -> None:
        """Add a difference. `details` are further fields of Difference."""
        if at is not None:
            details |= {"block": at.block_number, "transaction": at.tx_hash}
        self.differences.append(Difference(code=code, message=message, **details))

    def count(self, what: str, number: int = 1) -> None:
        """Say that `number` more of something were checked."""
        self.counts[what] += number


def plain(value: object) -> Any:
    """A value as JSON has it: bytes as 0x digits, errors and events as objects, the rest as it is."""
    shown: Any = value
    if isinstance(value, bytes):
        shown = "0x" + value.hex()
    elif isinstance(value, StrEnum):
        shown = value.value
    elif isinstance(value, FenzhangError):
        shown = {"code": value.code, "message": value.message}
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        shown = {"type": type(value).__name__} | dict(_fields(value))
    elif isinstance(value, Mapping):
        shown = {str(plain(key)): plain(item) for key, item in value.items()}
    elif isinstance(value, list | tuple | set | frozenset):
        shown = [plain(item) for item in value]
    return shown


def _fields(value: Any) -> Iterator[tuple[str, Any]]:
    for entry in dataclasses.fields(value):
        if entry.name != "at":  # the place of an event is the difference's own
            yield entry.name, plain(getattr(value, entry.name))
