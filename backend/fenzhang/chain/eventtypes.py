"""What the contracts tell: one class per event. Decoding is in `fenzhang.chain.events`.

Ids are 32 bytes, addresses 20 bytes, amounts minor units, times Unix seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from fenzhang.domain.allocation import Allocation
from fenzhang.domain.clearing import Cycle, OutcomeKind, PayoutState
from fenzhang.domain.records import NOTHING, Capture, ParticipantStatus, RecordKind
from fenzhang.domain.rules import NO_TERMS, Leg, RuleTerms
from fenzhang.domain.schedules import SCHEDULE, Entry


@dataclass(frozen=True, slots=True)
class LogPosition:
    """Where a log stands: its block and transaction, and its number among the logs of the block."""

    block_number: int
    block_hash: bytes
    tx_hash: bytes
    tx_index: int
    log_index: int


@dataclass(frozen=True, slots=True)
class ParticipantEnrolled:
    """A participant was enrolled and is ACTIVE. `authority` is 20 zero bytes for one that never signs."""

    at: LogPosition
    participant: bytes
    authority: bytes


@dataclass(frozen=True, slots=True)
class ParticipantStatusChanged:
    """The standing of a participant changed."""

    at: LogPosition
    participant: bytes
    status: ParticipantStatus


@dataclass(frozen=True, slots=True)
class AuthorityRotated:
    """A participant's signing address changed."""

    at: LogPosition
    participant: bytes
    previous: bytes
    next: bytes


@dataclass(frozen=True, slots=True)
class ConsentChanged:
    """A recipient agreed, or no longer agrees, to receive from a platform."""

    at: LogPosition
    recipient: bytes
    platform: bytes
    granted: bool


@dataclass(frozen=True, slots=True)
class HeirNamed:
    """A guardian named who gets what waits for a closed participant."""

    at: LogPosition
    participant: bytes
    heir: bytes
    guardian: bytes


@dataclass(frozen=True, slots=True)
class ParticipantPlaced:
    """A participant stands directly below `parent` now (32 zero bytes for nobody), on `level` from the top."""

    at: LogPosition
    participant: bytes
    parent: bytes
    level: int


@dataclass(frozen=True, slots=True)
class MaxShareOutChanged:
    """A platform's cap changed: basis points that splits may give to others than the order's merchant, 0 for none."""

    at: LogPosition
    platform: bytes
    max_share_out: int


@dataclass(frozen=True, slots=True)
class RuleProposed:
    """A rule version was proposed."""

    at: LogPosition
    platform: bytes
    rule_id: bytes
    version: int
    effective_from: int
    content_hash: bytes
    legs: tuple[Leg, ...]
    terms: RuleTerms = NO_TERMS


@dataclass(frozen=True, slots=True)
class ScheduleProposed:
    """A version of a platform's schedule was proposed."""

    at: LogPosition
    platform: bytes
    version: int
    effective_from: int
    content_hash: bytes
    entries: tuple[Entry, ...]

    @property
    def rule_id(self) -> bytes:
        """Under which its versions stand, approved, vetoed and retired as those of a rule are."""
        return SCHEDULE


@dataclass(frozen=True, slots=True)
class RuleApproved:
    """A rule version was approved by `approver`."""

    at: LogPosition
    platform: bytes
    rule_id: bytes
    version: int
    content_hash: bytes
    approver: bytes


@dataclass(frozen=True, slots=True)
class RuleVetoed:
    """A rule version was vetoed by `guardian`, for ever. `reason` is what it gave as its reason, 32 bytes."""

    at: LogPosition
    platform: bytes
    rule_id: bytes
    version: int
    content_hash: bytes
    guardian: bytes
    reason: bytes


@dataclass(frozen=True, slots=True)
class ApprovalLockChanged:
    """From now on, a version is approved at least `lock` seconds before it takes effect."""

    at: LogPosition
    lock: int


@dataclass(frozen=True, slots=True)
class RuleRetired:
    """A rule takes no further orders."""

    at: LogPosition
    platform: bytes
    rule_id: bytes


@dataclass(frozen=True, slots=True)
class OrderTerms:
    """Terms of the order that the next event captures. Decoding joins it to that event; alone it has no meaning."""

    at: LogPosition
    order_id: bytes
    hold_until: int
    expires_at: int
    facts: bytes
    condition: bytes


@dataclass(frozen=True, slots=True)
class OrderCaptured:
    """An order's money was attested and is held. Terms are those of the OrderTerms before it, zero without one."""

    at: LogPosition
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

    @property
    def capture(self) -> Capture:
        """What was attested."""
        return Capture(
            order_id=self.order_id,
            platform=self.platform,
            merchant=self.merchant,
            rule_id=self.rule_id,
            rule_version=self.rule_version,
            currency=self.currency,
            amount=self.amount,
            bindings=self.bindings,
            hold_until=self.hold_until,
            expires_at=self.expires_at,
            facts=self.facts,
            condition=self.condition,
        )


@dataclass(frozen=True, slots=True)
class OrderSplit:
    """A part of an order was split; one allocation per leaf, zeros included."""

    at: LogPosition
    order_id: bytes
    split_id: bytes
    amount: int
    allocations: tuple[Allocation, ...]


@dataclass(frozen=True, slots=True)
class OrderReleased:
    """What an order still held went to its merchant."""

    at: LogPosition
    order_id: bytes
    release_id: bytes
    merchant: bytes
    amount: int

    @property
    def by_expiry(self) -> bool:
        """Whether it was released because it expired, and not by its platform's instruction."""
        return self.release_id == self.order_id


@dataclass(frozen=True, slots=True)
class ExpiryPassedOver:
    """An order given to `expire` was left as it is. `reason` is an encoded custom error."""

    at: LogPosition
    order_id: bytes
    reason: bytes


@dataclass(frozen=True, slots=True)
class SplitReturned:
    """A part of a split was taken back and is held again; one allocation per leaf."""

    at: LogPosition
    order_id: bytes
    return_id: bytes
    split_id: bytes
    amount: int
    allocations: tuple[Allocation, ...]


@dataclass(frozen=True, slots=True)
class OrderRefunded:
    """A part of an order is its buyer's again: `from_held` of what it held, `takes` from each of its leaves."""

    at: LogPosition
    order_id: bytes
    refund_id: bytes
    amount: int
    from_held: int
    takes: tuple[Allocation, ...]

    @property
    def by_expiry(self) -> bool:
        """Whether it was refunded because its condition was missed, and not by its platform's instruction."""
        return self.refund_id == self.order_id


@dataclass(frozen=True, slots=True)
class InstructionRejected:
    """An instruction (or capture, then `id` is the order's) was refused. `reason` is an encoded custom error."""

    at: LogPosition
    signer: bytes
    id: bytes
    order_id: bytes
    kind: RecordKind
    amount: int
    reason: bytes


@dataclass(frozen=True, slots=True)
class AuthorizationRejected:
    """An attestation or authorization was refused as a whole. `digest` is what was to be signed."""

    at: LogPosition
    signer: bytes
    digest: bytes
    nonce: int
    reason: bytes


@dataclass(frozen=True, slots=True)
class AuthorizationSkipped:
    """An authorization was passed over because the witness of `order_id` did not match, or its condition is open.

    It stays valid.
    """

    at: LogPosition
    signer: bytes
    digest: bytes
    nonce: int
    order_id: bytes


@dataclass(frozen=True, slots=True)
class ConditionOpened:
    """A platform opened a condition. `confirmer` is 32 zero bytes for nobody."""

    at: LogPosition
    platform: bytes
    condition_id: bytes
    needed: int
    deadline: int
    confirmer: bytes


@dataclass(frozen=True, slots=True)
class ConditionJoined:
    """An order was captured in time, the `count`-th one of the condition. Its capture follows."""

    at: LogPosition
    platform: bytes
    condition_id: bytes
    order_id: bytes
    count: int


@dataclass(frozen=True, slots=True)
class ConditionConfirmed:
    """The confirmer of a condition confirmed it."""

    at: LogPosition
    platform: bytes
    condition_id: bytes


@dataclass(frozen=True, slots=True)
class ConditionReached:
    """A condition is reached, for ever."""

    at: LogPosition
    platform: bytes
    condition_id: bytes


@dataclass(frozen=True, slots=True)
class FreezeChanged:
    """A guardian froze an order (`split_id` zero) or a split of it, or another one undid that.

    `reason` is an ASCII name.
    """

    at: LogPosition
    order_id: bytes
    split_id: bytes
    guardian: bytes
    frozen: bool
    reason: str


@dataclass(frozen=True, slots=True)
class ParticipantFreezeChanged:
    """A guardian froze a participant, or another one undid that. `reason` is an ASCII name."""

    at: LogPosition
    participant: bytes
    guardian: bytes
    frozen: bool
    reason: str


@dataclass(frozen=True, slots=True)
class BatchSealed:
    """The records of a transaction were sealed under `root`."""

    at: LogPosition
    batch: int
    root: bytes
    records: int


@dataclass(frozen=True, slots=True)
class CurrencyChanged:
    """A currency was opened or closed for captures."""

    at: LogPosition
    currency: str
    enabled: bool


@dataclass(frozen=True, slots=True)
class SuspenseResolved:
    """All that waited in a participant's suspense position went to `heir`: itself, or a closed one's heir."""

    at: LogPosition
    currency: str
    participant: bytes
    heir: bytes
    amount: int


@dataclass(frozen=True, slots=True)
class CycleClosed:
    """A cycle was closed; `bank` (20 bytes) signed it."""

    at: LogPosition
    cycle_id: bytes
    cycle: Cycle
    bank: bytes


@dataclass(frozen=True, slots=True)
class PayoutTaken:
    """A payout was taken from its participant's position and is in transit."""

    at: LogPosition
    cycle_id: bytes
    payout_id: bytes
    index: int
    participant: bytes
    amount: int


@dataclass(frozen=True, slots=True)
class PayoutRefused:
    """A payout was refused for good. `reason` is the ABI encoding of a custom error."""

    at: LogPosition
    cycle_id: bytes
    payout_id: bytes
    index: int
    participant: bytes
    amount: int
    reason: bytes


@dataclass(frozen=True, slots=True)
class PayoutPaid:
    """A payout in transit reached its account."""

    at: LogPosition
    cycle_id: bytes
    payout_id: bytes
    participant: bytes
    amount: int


@dataclass(frozen=True, slots=True)
class PayoutFailed:
    """A payout in transit failed: its money is in the position again. `reason` is the bank's code."""

    at: LogPosition
    cycle_id: bytes
    payout_id: bytes
    participant: bytes
    amount: int
    reason: str


@dataclass(frozen=True, slots=True)
class PayoutReturned:
    """A payout that was paid came back: its money is in the position again. `reason` is the bank's code."""

    at: LogPosition
    cycle_id: bytes
    payout_id: bytes
    participant: bytes
    amount: int
    reason: str


@dataclass(frozen=True, slots=True)
class OutcomePassedOver:
    """An outcome does not follow from the `state` of its payout, and changed nothing."""

    at: LogPosition
    cycle_id: bytes
    payout_id: bytes
    kind: OutcomeKind
    state: PayoutState


@dataclass(frozen=True, slots=True)
class RoleGranted:
    """An account has a role from `since` on (Unix seconds). `delay` is its execution delay in seconds."""

    at: LogPosition
    role_id: int
    account: bytes
    delay: int
    since: int
    new_member: bool


@dataclass(frozen=True, slots=True)
class RoleRevoked:
    """An account lost a role."""

    at: LogPosition
    role_id: int
    account: bytes


@dataclass(frozen=True, slots=True)
class AdministrationChanged:
    """Any other event of access management, by its Solidity name, with its values as eth-abi gives them."""

    at: LogPosition
    name: str
    values: tuple[object, ...]


LedgerEvent = (
    OrderTerms
    | OrderCaptured
    | OrderSplit
    | OrderReleased
    | ExpiryPassedOver
    | SplitReturned
    | OrderRefunded
    | InstructionRejected
    | AuthorizationRejected
    | AuthorizationSkipped
    | BatchSealed
    | CurrencyChanged
)
"""Events of SplitLedger."""
PayoutEvent = PayoutTaken | PayoutRefused | PayoutPaid | PayoutFailed | PayoutReturned
"""Events of ClearingHouse that are records of a payout."""
ClearingEvent = CycleClosed | PayoutEvent | OutcomePassedOver
"""Events of ClearingHouse about cycles."""
ConditionEvent = ConditionOpened | ConditionJoined | ConditionConfirmed | ConditionReached
"""Events of Conditions about conditions."""
Event = (
    LedgerEvent
    | ClearingEvent
    | SuspenseResolved
    | ConditionEvent
    | FreezeChanged
    | ParticipantEnrolled
    | ParticipantStatusChanged
    | AuthorityRotated
    | ParticipantFreezeChanged
    | ConsentChanged
    | ParticipantPlaced
    | HeirNamed
    | MaxShareOutChanged
    | RuleProposed
    | ScheduleProposed
    | RuleApproved
    | RuleVetoed
    | ApprovalLockChanged
    | RuleRetired
    | RoleGranted
    | RoleRevoked
    | AdministrationChanged
)
