"""What comes back. Fields that do not apply are null or left out."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from fenzhang.api.schemas.ledger import BLOCK_NUMBER, BLOCK_TIME, Sum

State = Literal["ACCEPTED", "SUBMITTED", "SETTLED", "REJECTED"]
Type = Literal[
    "CAPTURE",
    "SPLIT",
    "RELEASE",
    "RETURN",
    "REFUND",
    "ENROLL",
    "SUSPEND",
    "RESUME",
    "PLACE",
    "PROPOSE",
    "APPROVE",
    "RETIRE",
    "VETO",
    "FREEZE",
    "UNFREEZE",
    "CONSENT",
    "CAP",
    "CONDITION",
    "CONFIRMATION",
    "CLOSE",
    "HEIR",
    "RESOLVE",
    "CLOSE_CYCLE",
    "TAKE",
    "REPORT",
]
Standing = Literal["UNKNOWN", "ACTIVE", "SUSPENDED", "CLOSED"]


class FieldError(BaseModel):
    """One field that does not fit."""

    field: str
    code: str
    message: str


class Problem(BaseModel):
    """RFC 9457 problem details. `code` is stable; programs decide by it."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    field: str | None = None
    values: dict[str, Any] | None = None
    request_id: str | None = None
    errors: list[FieldError] | None = None
    error: str | None = Field(
        default=None, description="OAuth2's own name of the error, at the token endpoint."
    )
    error_description: str | None = None


class Reason(BaseModel):
    """Why the chain refused an instruction."""

    code: str
    message: str
    values: dict[str, Any]


class FreezeAnswer(BaseModel):
    """A freeze that lasts: by which account, why, and since which block."""

    guardian: str
    reason: str
    block_number: int
    tx_hash: str


class FrozenThing(FreezeAnswer):
    """What is frozen: an order, a split of an order, or a participant."""

    kind: Literal["ORDER", "SPLIT", "PARTICIPANT"]
    id: str
    order_id: str | None


class FreezeList(BaseModel):
    """What is frozen now, oldest first; `next` is the cursor of the next page, null on the last."""

    freezes: list[FrozenThing]
    next: int | None


class LeafAnswer(BaseModel):
    """One leaf of a settled record, minor units. `returned` and `refunded` is what it has given back since.

    `returnable` is what a return can still take from it. `parked`: it waits in the participant's suspense position.
    """

    leaf: int
    participant_id: str
    out_participant_no: str | None
    parked: bool
    amount: int
    returned: int
    refunded: int
    returnable: int


Criterion = Literal["promotion", "category", "member_tier", "channel", "currency", "amount", "time"]
"""What an entry of a schedule may state, the weightiest first."""


class SelectedAnswer(BaseModel):
    """The entry (counted from 0) of a version of the platform's schedule that an order is of, and what it states."""

    version: int
    entry: int
    criteria: list[Criterion]


class InstructionAnswer(BaseModel):
    """One write as it stands: the request in the client's own names, and what became of it."""

    type: Type
    id: str
    state: State
    reason: Reason | None
    order_id: str | None
    accepted_at: int
    block_number: int | None
    tx_hash: str | None
    request_id: str | None = Field(default=None, description="X-Request-Id of the request that brought it.")
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
    from_held: int | None = Field(
        default=None, description="Of a settled refund: what its order held. The rest is in `allocations`."
    )
    allocations: list[LeafAnswer] | None = None
    frozen: FreezeAnswer | None = Field(default=None, description="Of a split that a guardian has frozen.")
    schedule: SelectedAnswer | None = Field(
        default=None, description="Of an order: which entry of the platform's schedule said by which rule."
    )
    waits_for: str | None = Field(
        default=None,
        description="Of a split or release: the open condition of its order, by reference or 0x id.",
    )


class ConditionAnswer(BaseModel):
    """A condition: what was asked for, and how far it is. `state` is UNKNOWN while it is not on the chain.

    `count` is how many orders were captured in time; `confirmer` a reference or 0x id. `opening` is the write that
    opened it, null if that was not made here.
    """

    out_condition_no: str | None
    condition_id: str
    platform_id: str
    state: Literal["UNKNOWN", "OPEN", "REACHED", "MISSED"]
    needed: int
    deadline: int
    confirmer: str | None
    count: int
    confirmed: bool
    opening: InstructionAnswer | None


class ConditionList(BaseModel):
    """Conditions, oldest first; `next` is the cursor of the next page, null on the last."""

    conditions: list[ConditionAnswer]
    next: int | None


class BatchAnswer(BaseModel):
    """One element per item, in order: the instruction, or the problem that stands in its place."""

    items: list[InstructionAnswer | Problem]


class ShareOutAnswer(BaseModel):
    """A cap on what splits give to others than the order's merchant, of its rule version or platform, minor units.

    `max_share_out`: basis points of what was captured, which make `most`. `shared_out`: what splits gave, less what was
    returned; so much is `left` for further splits.
    """

    max_share_out: int
    most: int
    shared_out: int
    left: int


class OrderAnswer(BaseModel):
    """An order: what was captured, what it still holds (can be split or released), and what happened to it.

    `share_out` is null without a cap.
    """

    out_order_no: str
    order_id: str
    state: State
    reason: Reason | None
    currency: str
    merchant: str
    rule_id: str
    rule_version: int
    bindings: dict[str, str | None]
    hold_until: int | None = Field(description="Nothing may be done on the order before, Unix seconds.")
    expires_at: int | None = Field(
        description="What it holds then is released to the merchant, Unix seconds."
    )
    facts: dict[str, str] = Field(description="What was stated about the order, by name.")
    schedule: SelectedAnswer | None = Field(
        description="Which entry of the platform's schedule said by which rule."
    )
    captured: int
    held: int
    split: Sum
    returned: Sum
    released: Sum
    refunded: Sum
    released_by_expiry: Sum
    refunded_as_missed: Sum
    condition: ConditionAnswer | None = Field(description="What the order waits for, or waited.")
    frozen: FreezeAnswer | None = Field(description="While a guardian has frozen the order.")
    share_out: ShareOutAnswer | None
    instructions: list[InstructionAnswer]


class ParticipantAnswer(BaseModel):
    """A participant and its standing on the chain; `enrolment` is the instruction that enrolled it.

    `consents`: it agrees to receive from the platform. `max_share_out`: a platform's cap in basis points, 0 for none.
    """

    out_participant_no: str
    participant_id: str
    status: Standing
    authority: str | None
    frozen: FreezeAnswer | None = Field(description="While a guardian has frozen the participant.")
    parent_id: str | None
    level: int
    consents: bool
    max_share_out: int
    enrolment: InstructionAnswer | None


class ParticipantList(BaseModel):
    """A page; `next` is the cursor of the next one, null on the last."""

    participants: list[ParticipantAnswer]
    next: str | None


class TermsAnswer(BaseModel):
    """What a version says beside its legs, as it was proposed."""

    max_share_out: int
    may_owe: bool
    park: bool = False


class VetoAnswer(BaseModel):
    """Who vetoed a version, with which reason, in which block."""

    guardian: str
    reason_code: str
    block_number: int


class RuleVersionAnswer(BaseModel):
    """A version of a rule as it stands on the chain; `veto` is null unless it was vetoed."""

    out_rule_no: str
    rule_id: str
    version: int
    state: Literal["UNKNOWN", "PROPOSED", "NOT_EFFECTIVE", "IN_FORCE", "SUPERSEDED", "RETIRED", "VETOED"]
    effective_from: int
    content_hash: str
    roles: list[str]
    legs: list[dict[str, Any]]
    terms: TermsAnswer
    veto: VetoAnswer | None


class RuleAnswer(BaseModel):
    """A rule: its newest version, and the one that orders captured now are split by.

    A version is approved at least `approval_lock` seconds before it takes effect: one that is approved now takes effect
    at `earliest_effect` or later.
    """

    out_rule_no: str
    rule_id: str
    platform_id: str
    retired: bool
    in_force: int | None
    latest: int
    approval_lock: int
    earliest_effect: int
    versions: list[RuleVersionAnswer]


class RuleList(BaseModel):
    """All rules of a platform."""

    rules: list[RuleAnswer]


class SelectionAnswer(BaseModel):
    """Which rule an order captured now would be of, by which `entry` of which version of the platform's schedule.

    `criteria` is what the entry states, and so why it won: no entry that states more, or weightier criteria, matches.
    `rule` is the version in force, null when there is none. All is null when no schedule is in force.
    """

    version: int | None
    entry: int | None
    criteria: list[Criterion] | None
    out_rule_no: str | None
    rule_id: str | None
    rule: RuleVersionAnswer | None


class QuoteSide(BaseModel):
    """Amount per leaf in leg order, or the first leg that fails."""

    leaves: list[int] | None
    error_leg: int | None


class QuoteLeaf(BaseModel):
    """Who would receive what."""

    participant_id: str | None
    role: str | None
    amount: int


class GivenLeg(BaseModel):
    """What a GIVEN leg (by index) may take: `least` to `most`, and not more than `remaining` of its pool.

    `most` and `remaining` are null while they depend on an amount that was not given, or a leg before fails.
    """

    leg: int
    least: int
    most: int | None
    remaining: int | None


class QuotedShareOut(ShareOutAnswer):
    """A cap and what is left of it, and what this split would give to others: whether it `fits`.

    `leaving` and `fits` are null unless an order is quoted; then `amount` counts as all that was captured.
    """

    leaving: int | None
    fits: bool | None


class QuoteAnswer(BaseModel):
    """The Python specification's answer and the contract's. `reason`: why the split would be rejected.

    They `agree` when amounts, or reasons with all their values, are the same. `terms` are those of the quoted rule
    version, and `share_out` is null without a cap. `selection` is what the schedule selects where a quote
    names no rule; then they agree on it as well.
    """

    python: QuoteSide
    chain: QuoteSide
    agree: bool
    reason: Reason | None
    allocations: list[QuoteLeaf] | None
    terms: TermsAnswer | None
    share_out: QuotedShareOut | None
    given: list[GivenLeg]
    selection: SelectionAnswer | None = None


class PositionAnswer(BaseModel):
    """What is payable to a participant, minor units. Negative is what it owes, and `debt` says so; else it is 0."""

    out_participant_no: str
    participant_id: str
    currency: str
    amount: Sum
    debt: Sum


class PositionList(BaseModel):
    """Positions of a page of participants; `next` is the cursor of the next page, null on the last."""

    positions: list[PositionAnswer]
    next: str | None = None
    block_number: int = BLOCK_NUMBER
    block_time: int | None = BLOCK_TIME


class SuspenseAnswer(BaseModel):
    """What waits for a participant, minor units."""

    out_participant_no: str
    participant_id: str
    currency: str
    amount: int


class SuspenseList(BaseModel):
    """All that waits for participants of the platform."""

    suspense: list[SuspenseAnswer]


class DebtAnswer(BaseModel):
    """What a participant owes, minor units. `out_participant_no` is the platform's own; others see ids alone."""

    participant_id: str
    out_participant_no: str | None
    platform_id: str | None
    currency: str
    debt: Sum


class DebtTotal(BaseModel):
    """All debts of a currency, minor units."""

    currency: str
    participants: int
    debt: Sum


class DebtList(BaseModel):
    """A page of debts by currency and participant id, and the totals of all pages; `next` is null on the last."""

    debts: list[DebtAnswer]
    totals: list[DebtTotal]
    next: str | None
    block_number: int = BLOCK_NUMBER
    block_time: int | None = BLOCK_TIME


class CompletionAnswer(BaseModel):
    """A state change, in the order of the feed."""

    id: int
    state: State
    at: int
    instruction: InstructionAnswer


class CompletionList(BaseModel):
    """State changes after the cursor; go on with `next`."""

    completions: list[CompletionAnswer]
    next: int


class AppAnswer(BaseModel):
    """A new app. The secret is shown this once."""

    client_id: str
    client_secret: str
    name: str
    scopes: list[str]
    platform: str | None


class TokenAnswer(BaseModel):
    """An access token, as RFC 6749 has it."""

    access_token: str
    token_type: Literal["Bearer"]
    expires_in: int
    scope: str


class DomainAnswer(BaseModel):
    """An EIP-712 domain."""

    name: str
    version: str
    chainId: int  # noqa: N815 -- EIP-712's own name
    verifyingContract: str  # noqa: N815 -- EIP-712's own name


class NetworkAnswer(BaseModel):
    """What a client needs to sign."""

    chain_id: int
    contracts: dict[str, str]
    domains: dict[str, DomainAnswer]


class HealthAnswer(BaseModel):
    """The process is there."""

    status: Literal["ok"]


class NodeHealth(BaseModel):
    """The chain node as this process meets it; `breaker` open or half_open means that it is being left alone."""

    reachable: bool
    head: int | None
    breaker: Literal["closed", "open", "half_open"]
    retry_after_s: float
    error: str | None


class MirrorHealth(BaseModel):
    """The newest mirrored block. `lag_s`: how long a newer one has been known; `lag_blocks`: null without a node."""

    block: int
    timestamp: int
    age_s: int
    lag_blocks: int | None
    lag_s: float


class QueueHealth(BaseModel):
    """Instructions without an outcome by state, and the number at which intake answers 429."""

    accepted: int
    submitted: int
    limit: int


class ReadyAnswer(BaseModel):
    """The process accepts writes; `degraded` names parts that fail. `mirror` is null before the first block."""

    status: Literal["ready"]
    degraded: list[Literal["node", "mirror", "queue"]]
    node: NodeHealth
    mirror: MirrorHealth | None
    queue: QueueHealth
    open_instructions: int
