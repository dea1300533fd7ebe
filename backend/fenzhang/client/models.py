"""What the API takes and answers, as dataclasses with the API's own field names.

Amounts are minor units, times Unix seconds, ids 0x hex. Readers of answers ignore what they do not know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from fenzhang.domain.facts import NO_FACTS, Facts
from fenzhang.domain.rules import NO_TERMS, Leg, RuleTerms


class InstructionType(StrEnum):
    """What a write asks for."""

    CAPTURE = "CAPTURE"
    SPLIT = "SPLIT"
    RELEASE = "RELEASE"
    RETURN = "RETURN"
    REFUND = "REFUND"
    ENROLL = "ENROLL"
    SUSPEND = "SUSPEND"
    RESUME = "RESUME"
    PLACE = "PLACE"
    PROPOSE = "PROPOSE"
    APPROVE = "APPROVE"
    RETIRE = "RETIRE"
    VETO = "VETO"
    FREEZE = "FREEZE"
    UNFREEZE = "UNFREEZE"
    CONSENT = "CONSENT"
    CAP = "CAP"
    CONDITION = "CONDITION"
    CONFIRMATION = "CONFIRMATION"
    CLOSE = "CLOSE"
    HEIR = "HEIR"
    RESOLVE = "RESOLVE"
    CLOSE_CYCLE = "CLOSE_CYCLE"
    TAKE = "TAKE"
    REPORT = "REPORT"


class State(StrEnum):
    """Where a write stands."""

    ACCEPTED = "ACCEPTED"
    """Durably stored, not in a live transaction."""
    SUBMITTED = "SUBMITTED"
    """In a stored, signed transaction."""
    SETTLED = "SETTLED"
    """On the chain."""
    REJECTED = "REJECTED"
    """Refused by the chain; `reason` says why."""

    @property
    def is_terminal(self) -> bool:
        """Whether it is decided, unless the chain itself reorganises."""
        return self in {State.SETTLED, State.REJECTED}


# ------------------------------------------------------------------------------ writes


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOrder:
    """Capture an order. `rule_version` None takes the version in force; `bindings` is participant by role.

    `facts` are what the platform's schedule looks at; it says by which rule, so then `out_rule_no` may be left out.
    Nothing may be done on it before `hold_until`; what it holds at `expires_at` is released to the merchant. It is not
    split or released before the condition `condition_no` is reached, and refunded if that is missed.
    """

    type: ClassVar[InstructionType] = InstructionType.CAPTURE
    out_order_no: str
    out_rule_no: str | None = None
    merchant: str
    currency: str
    amount: int
    channel: str
    bindings: Mapping[str, str] = field(default_factory=dict)
    rule_version: int | None = None
    hold_until: int | None = None
    expires_at: int | None = None
    condition_no: str | None = None
    facts: Facts = NO_FACTS

    @property
    def reference(self) -> str:
        """The client's own reference."""
        return self.out_order_no


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSplit:
    """Split an amount of an order by its rule version. `bindings` fill the roles that the order left open.

    `given` is what each GIVEN leg of the rule takes, in leg order.
    """

    type: ClassVar[InstructionType] = InstructionType.SPLIT
    out_split_no: str
    out_order_no: str
    amount: int
    currency: str | None = None
    bindings: Mapping[str, str] = field(default_factory=dict)
    given: Sequence[int] | None = None

    @property
    def reference(self) -> str:
        """The client's own reference."""
        return self.out_split_no


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRelease:
    """Close an order: what it still holds goes to its merchant."""

    type: ClassVar[InstructionType] = InstructionType.RELEASE
    out_release_no: str
    out_order_no: str

    @property
    def reference(self) -> str:
        """The client's own reference."""
        return self.out_release_no


@dataclass(frozen=True, slots=True, kw_only=True)
class NewReturn:
    """Take an amount back from a split; `amounts` says how much from each of its leaves."""

    type: ClassVar[InstructionType] = InstructionType.RETURN
    out_return_no: str
    out_split_no: str
    amount: int
    currency: str | None = None
    amounts: Sequence[int] | None = None

    @property
    def reference(self) -> str:
        """The client's own reference."""
        return self.out_return_no


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRefund:
    """Give an amount of an order back to its buyer: from what it holds, then from all that it gave."""

    type: ClassVar[InstructionType] = InstructionType.REFUND
    out_refund_no: str
    out_order_no: str
    amount: int
    currency: str | None = None

    @property
    def reference(self) -> str:
        """The client's own reference."""
        return self.out_refund_no


NewInstruction = NewOrder | NewSplit | NewRelease | NewReturn | NewRefund


def body_of(item: NewInstruction) -> dict[str, Any]:
    """The JSON of a write, without what was left out."""
    found = {name: getattr(item, name) for name in item.__slots__}
    left_out: tuple[object, ...] = (None, {}, NO_FACTS)
    return {name: _plain(value) for name, value in found.items() if value not in left_out}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Facts):
        return value.stated()
    return value if isinstance(value, str | int) else list(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFreeze:
    """Freeze or unfreeze an order, a split of an order, or a participant of a platform. `reason` is an ASCII name."""

    out_request_no: str
    platform: str
    reason: str
    out_order_no: str | None = None
    out_split_no: str | None = None
    out_participant_no: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCondition:
    """Open a condition: `needed` captured orders, the confirmation of `confirmer`, or both, until `deadline`."""

    out_condition_no: str
    deadline: int
    needed: int = 0
    confirmer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRule:
    """Propose a rule version. `legs` name fixed recipients by reference in `recipients` (leg index to reference).

    Left out, `version` is the next one, and the version is in force as soon as it is approved.
    """

    out_request_no: str
    out_rule_no: str
    legs: Sequence[Leg]
    recipients: Mapping[int, str] = field(default_factory=dict)
    terms: RuleTerms = NO_TERMS
    version: int | None = None
    effective_from: int | None = None


def legs_body(legs: Sequence[Leg], recipients: Mapping[int, str] | None = None) -> list[dict[str, Any]]:
    """The JSON of legs."""
    named = recipients or {}
    return [
        {
            "parent": leg.parent,
            "kind": leg.kind.name,
            "value": leg.value,
            "min": leg.min,
            "max": leg.max,
            **({"role": leg.role} if leg.role is not None else {}),
            **({"recipient": "0x" + leg.recipient.hex()} if leg.recipient is not None else {}),
            **({"recipient": named[index]} if index in named else {}),
        }
        for index, leg in enumerate(legs)
    ]


# ------------------------------------------------------------------------------ answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why the chain refused."""

    code: str
    message: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeView:
    """A freeze that lasts: by which account (0x hex), why, and since which block."""

    guardian: str
    reason: str
    block_number: int
    tx_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenThing:
    """What is frozen: `kind` is ORDER, SPLIT or PARTICIPANT, `id` its 0x id."""

    kind: str
    id: str
    guardian: str
    reason: str
    block_number: int
    tx_hash: str
    order_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezePage:
    """A page of what is frozen; `next` is the cursor of the next one, None on the last."""

    freezes: tuple[FrozenThing, ...]
    next: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafAllocation:
    """One leaf of a settled split, release, return or refund; `returnable` is what a return can still take from it."""

    leaf: int
    participant_id: str
    amount: int
    returned: int
    returnable: int
    refunded: int = 0
    out_participant_no: str | None = None
    parked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectedEntry:
    """The entry (counted from 0) of a version of the platform's schedule that an order is of, and what it states."""

    version: int
    entry: int
    criteria: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """A write as it stands. `from_held` of a settled refund is what its order held, `allocations` what leaves gave.

    `waits_for` is the open condition that keeps a split or release from being sent.
    """

    type: InstructionType
    id: str
    state: State
    accepted_at: int
    reason: Reason | None = None
    order_id: str | None = None
    block_number: int | None = None
    tx_hash: str | None = None
    out_order_no: str | None = None
    out_split_no: str | None = None
    out_release_no: str | None = None
    out_return_no: str | None = None
    out_refund_no: str | None = None
    out_participant_no: str | None = None
    out_rule_no: str | None = None
    out_request_no: str | None = None
    out_condition_no: str | None = None
    amount: int | None = None
    currency: str | None = None
    from_held: int | None = None
    allocations: tuple[LeafAllocation, ...] | None = None
    frozen: FreezeView | None = None
    waits_for: str | None = None
    rule_version: int | None = None
    schedule: SelectedEntry | None = None

    @property
    def reference(self) -> str:
        """The client's own reference of this write."""
        match self.type:
            case InstructionType.CAPTURE:
                own = self.out_order_no
            case InstructionType.SPLIT:
                own = self.out_split_no
            case InstructionType.RELEASE:
                own = self.out_release_no
            case InstructionType.RETURN:
                own = self.out_return_no
            case InstructionType.REFUND:
                own = self.out_refund_no
            case InstructionType.ENROLL:
                own = self.out_participant_no
            case InstructionType.CONDITION:
                own = self.out_condition_no
            case _:
                own = self.out_request_no
        return own or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionView:
    """A condition: `state` is OPEN, REACHED or MISSED, and UNKNOWN while it is not on the chain.

    `count` is how many orders were captured in time; `confirmer` a reference or 0x id. `opening` is the write.
    """

    condition_id: str
    platform_id: str
    state: str
    needed: int
    deadline: int
    count: int
    confirmed: bool
    out_condition_no: str | None = None
    confirmer: str | None = None
    opening: Instruction | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionPage:
    """A page of conditions; `next` is the cursor of the next one, None on the last."""

    conditions: tuple[ConditionView, ...]
    next: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareOut:
    """A cap on what splits give to others than the order's merchant, in basis points of what was captured: `most`.

    `shared_out` is what they gave, less what was returned; so much is `left` for further splits. Minor units.
    """

    max_share_out: int
    most: int
    shared_out: int
    left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderView:
    """An order: what was captured, what it still holds, and what happened to it. `state` is its capture's."""

    out_order_no: str
    order_id: str
    state: State
    currency: str
    merchant: str
    rule_id: str
    rule_version: int
    bindings: Mapping[str, str | None]
    captured: int
    held: int
    split: int
    returned: int
    released: int
    refunded: int = 0
    share_out: ShareOut | None = None
    instructions: tuple[Instruction, ...] = ()
    reason: Reason | None = None
    hold_until: int | None = None
    expires_at: int | None = None
    released_by_expiry: int = 0
    refunded_as_missed: int = 0
    condition: ConditionView | None = None
    frozen: FreezeView | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    schedule: SelectedEntry | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticipantView:
    """A participant and its standing on the chain: UNKNOWN, ACTIVE, SUSPENDED or CLOSED.

    `consents`: it agrees to receive from its platform. `max_share_out`: a platform's cap in basis points, 0 for none.
    """

    out_participant_no: str
    participant_id: str
    status: str
    authority: str | None = None
    parent_id: str | None = None
    level: int = 1
    consents: bool = True
    max_share_out: int = 0
    enrolment: Instruction | None = None
    frozen: FreezeView | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticipantPage:
    """A page of participants; `next` is the cursor of the next one, None on the last."""

    participants: tuple[ParticipantView, ...]
    next: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Veto:
    """Who vetoed a version (0x address), with which reason, in which block."""

    guardian: str
    reason_code: str
    block_number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleVersion:
    """A version of a rule as it stands on the chain; `veto` is there if it was vetoed."""

    out_rule_no: str
    rule_id: str
    version: int
    state: str
    effective_from: int
    content_hash: str
    roles: tuple[str, ...]
    legs: tuple[Mapping[str, Any], ...]
    terms: RuleTerms
    veto: Veto | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleView:
    """A rule: its versions, and the number of the one that orders captured now are split by.

    A version that is approved now takes effect at `earliest_effect` (Unix seconds) or later: `approval_lock` seconds
    must lie between.
    """

    out_rule_no: str
    rule_id: str
    platform_id: str
    retired: bool
    latest: int
    approval_lock: int
    earliest_effect: int
    versions: tuple[RuleVersion, ...]
    in_force: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which rule an order captured now would be of: the entry that won, what it states, and the rule in force.

    All is None when the platform has no schedule in force.
    """

    version: int | None = None
    entry: int | None = None
    criteria: tuple[str, ...] | None = None
    out_rule_no: str | None = None
    rule_id: str | None = None
    rule: RuleVersion | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteSide:
    """Amount per leaf in leg order, or the first leg that fails."""

    leaves: tuple[int, ...] | None = None
    error_leg: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenLeg:
    """What a GIVEN leg (by index) may take: `least` to `most`, and not more than `remaining` of its pool.

    None is for what depends on an amount that was not given.
    """

    leg: int
    least: int
    most: int | None = None
    remaining: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotedShareOut:
    """A cap and what is left of it (see ShareOut), and what this split of an order would give to others.

    Without an order, the amount counts as all that was captured, and `leaving` and `fits` are None.
    """

    max_share_out: int
    most: int
    shared_out: int
    left: int
    leaving: int | None = None
    fits: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteView:
    """The Python specification's answer and the contract's; `reason` is why the split would be rejected.

    `given` says what each GIVEN leg may take, `selection` what the schedule selected where no rule was named.
    """

    python: QuoteSide
    chain: QuoteSide
    agree: bool
    reason: Reason | None = None
    given: tuple[GivenLeg, ...] = ()
    terms: RuleTerms | None = None
    share_out: QuotedShareOut | None = None
    selection: Selection | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A state change, with its instruction as it is now."""

    id: int
    state: State
    at: int
    instruction: Instruction


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionPage:
    """State changes after a cursor; go on with `next`."""

    completions: tuple[Completion, ...]
    next: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewApp:
    """A new app. The secret is shown this once."""

    client_id: str
    client_secret: str = field(repr=False)
    name: str
    scopes: tuple[str, ...]
    platform: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The chain, and addresses (0x hex) of its contracts by name."""

    chain_id: int
    contracts: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The problem that stands in a batch's answer in place of an item."""

    code: str
    detail: str
    status: int
    values: Mapping[str, Any] = field(default_factory=dict)
    field: str | None = None
