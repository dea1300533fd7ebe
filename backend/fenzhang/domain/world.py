"""The state of the world that decisions rest on: what the registry, the rule book and the ledger hold at a moment."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from fenzhang.domain.clearing import CycleState, LastCycle, PayoutState
from fenzhang.domain.conditions import Condition, ConditionState
from fenzhang.domain.places import Places
from fenzhang.domain.records import NOTHING, Capture, ParticipantStatus, PastRecord, RuleState
from fenzhang.domain.rules import NO_TERMS, Leg, RuleTerms, smaller_cap
from fenzhang.domain.schedules import SCHEDULE, Entry, Selection, select

NO_AUTHORITY = bytes(20)
"""Authority of a participant that never signs."""
WHOLE_ORDER = bytes(32)
"""In place of a split's id: the order itself is frozen."""


@dataclass(slots=True)
class Participant:
    """Standing and signing address (20 bytes) of an enrolled participant, and the cap of a platform.

    `max_share_out`: basis points of what an order captured that its splits may give to others than its merchant; 0
    means no cap.
    """

    status: ParticipantStatus = ParticipantStatus.ACTIVE
    authority: bytes = NO_AUTHORITY
    max_share_out: int = 0


@dataclass(slots=True)
class Version:
    """A proposed version of a rule, which has `legs`, or of a schedule, which has `entries`.

    `effective_from` is Unix seconds, `proposer` the authority that signed it.
    """

    legs: tuple[Leg, ...]
    effective_from: int
    approved: bool = False
    proposer: bytes = NO_AUTHORITY
    terms: RuleTerms = NO_TERMS
    vetoed: bool = False
    entries: tuple[Entry, ...] = ()

    def veto(self) -> None:
        """Take it out for ever. What was approved is not any more."""
        self.approved, self.vetoed = False, True


@dataclass(slots=True)
class Rule:
    """A platform's rule, or its schedule: its versions by number, and whether it is retired for new orders."""

    versions: dict[int, Version] = field(default_factory=dict)
    retired: bool = False

    def state_of(self, version: int, now: int) -> RuleState:
        """Whether a version may be used for an order captured at `now` (Unix seconds)."""
        found = self.versions.get(version)
        if found is None:
            return RuleState.UNKNOWN
        if not found.approved:
            return RuleState.VETOED if found.vetoed else RuleState.PROPOSED
        if self.retired:
            return RuleState.RETIRED
        if found.effective_from > now:
            return RuleState.NOT_EFFECTIVE
        if any(
            number > version and later.approved and later.effective_from <= now
            for number, later in self.versions.items()
        ):
            return RuleState.SUPERSEDED
        return RuleState.IN_FORCE

    def in_force(self, now: int) -> int:
        """The version in force at `now` (Unix seconds), 0 for none."""
        if self.retired:
            return 0
        effective = (
            number
            for number, version in self.versions.items()
            if version.approved and version.effective_from <= now
        )
        return max(effective, default=0)

    def earliest_effect(self) -> int:
        """The effective time that the next version may not come before: that of the last one that was not vetoed."""
        live = [number for number, version in self.versions.items() if not version.vetoed]
        return self.versions[max(live)].effective_from if live else 0


@dataclass(slots=True)
class Order:
    """A captured order: its capture, what it still holds (minor units), and its settled records since, in order."""

    capture: Capture
    held: int
    past: list[PastRecord] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Freeze:
    """Who froze something (20 bytes), and why: an ASCII name."""

    guardian: bytes
    reason: str


@dataclass(slots=True)
class Totals:
    """Of one currency, minor units: ever captured, held on open orders, and ever refunded to buyers."""

    captured: int = 0
    held: int = 0
    refunded: int = 0


@dataclass(slots=True)
class World:
    """Everything that decisions are made from and that they change.

    Ids are 32 bytes, attestors 20 bytes; a nonce is used up per signer (platform id, or attestor left-padded to 32
    bytes).
    """

    participants: dict[bytes, Participant] = field(default_factory=dict)
    consents: set[tuple[bytes, bytes]] = field(default_factory=set)
    """Pairs of recipient and platform."""
    rules: dict[tuple[bytes, bytes], Rule] = field(default_factory=dict)
    """By platform and rule id. A platform's schedule stands under SCHEDULE."""
    approval_lock: int = 0
    """Least number of seconds between the approval of a rule version and its effect."""
    attestors: set[bytes] = field(default_factory=set)
    currencies: set[str] = field(default_factory=set)
    """Open for captures."""
    nonces: set[tuple[bytes, int]] = field(default_factory=set)
    """Used ones, by signer."""
    places: Places = field(default_factory=Places)
    """Who stands above whom."""
    orders: dict[bytes, Order] = field(default_factory=dict)
    shared_out: defaultdict[bytes, int] = field(default_factory=lambda: defaultdict(int))
    """What splits gave to others than the order's merchant, as far as the chain keeps it; minor units, by order id."""
    positions: defaultdict[tuple[str, bytes], int] = field(default_factory=lambda: defaultdict(int))
    """Payable to a participant in a currency, minor units; negative is what it owes."""
    totals: defaultdict[str, Totals] = field(default_factory=lambda: defaultdict(Totals))
    """By currency."""
    frozen_orders: dict[tuple[bytes, bytes], Freeze] = field(default_factory=dict)
    """Orders, with 32 zero bytes, and splits: by order and split id."""
    frozen_participants: dict[bytes, Freeze] = field(default_factory=dict)
    conditions: dict[tuple[bytes, bytes], Condition] = field(default_factory=dict)
    """By platform and condition id."""
    heirs: dict[bytes, bytes] = field(default_factory=dict)
    """Who gets what waits for closed participants."""
    clearing_banks: set[bytes] = field(default_factory=set)
    """Accounts (20 bytes) whose signature closes cycles and reports outcomes."""
    cycles: dict[bytes, CycleState] = field(default_factory=dict)
    """Closed cycles by their ids."""
    last_cycles: dict[tuple[str, str], LastCycle] = field(default_factory=dict)
    """The newest cycle by currency and scheme."""
    payouts: dict[tuple[bytes, int], PayoutState] = field(default_factory=dict)
    """States by cycle id and index; NONE where there is no entry."""

    def status_of(self, participant: bytes) -> ParticipantStatus:
        """Standing of a participant; UNKNOWN when never enrolled."""
        found = self.participants.get(participant)
        return ParticipantStatus.UNKNOWN if found is None else found.status

    def authority_of(self, participant: bytes) -> bytes:
        """Signing address of a participant, 20 zero bytes for none."""
        found = self.participants.get(participant)
        return NO_AUTHORITY if found is None else found.authority

    def heir_of(self, participant: bytes) -> bytes | None:
        """Who gets what waits for a participant: itself, or for a closed one its named heir; None for nobody."""
        match self.status_of(participant):
            case ParticipantStatus.UNKNOWN:
                return None
            case ParticipantStatus.CLOSED:
                return self.heirs.get(participant)
            case _:
                return participant

    def is_frozen(self, order_id: bytes) -> bool:
        """Whether a guardian has frozen an order as a whole."""
        return (order_id, WHOLE_ORDER) in self.frozen_orders

    def condition_of(self, capture: Capture) -> Condition | None:
        """The condition that an order is captured with, if its platform has opened it."""
        return self.conditions.get((capture.platform, capture.condition))

    def condition_state(self, capture: Capture, now: int) -> ConditionState:
        """State of an order's condition at `now` (Unix seconds); an order without one has reached it."""
        if capture.condition == NOTHING:
            return ConditionState.REACHED
        found = self.condition_of(capture)
        return ConditionState.UNKNOWN if found is None else found.state_at(now)

    def cap_of(self, capture: Capture) -> int:
        """The cap that splits of an order are under now: the smaller of its rule version's and its platform's.

        Basis points of what was captured; 0 means no cap.
        """
        platform = self.participants.get(capture.platform)
        of_platform = 0 if platform is None else platform.max_share_out
        return smaller_cap(self.version_of(capture).terms.max_share_out, of_platform)

    def is_second_party(self, approver: bytes, platform: bytes, version: Version) -> bool:
        """Whether an account may approve a version: neither the authority now nor the one that proposed it."""
        return approver not in {self.authority_of(platform), version.proposer}

    def may_be_approved(self, version: Version, now: int) -> bool:
        """Whether the approval lock lets a version be approved at `now`."""
        return not self.approval_lock or version.effective_from >= now + self.approval_lock

    def has_consent(self, recipient: bytes, platform: bytes) -> bool:
        """Whether a recipient agreed to receive from a platform. A platform always agrees to itself."""
        return recipient == platform or (recipient, platform) in self.consents

    def rule_state(self, platform: bytes, rule_id: bytes, version: int, now: int) -> RuleState:
        """Whether a rule version may be used for an order captured at `now`."""
        rule = self.rules.get((platform, rule_id))
        if rule is None or rule_id == SCHEDULE:
            return RuleState.UNKNOWN
        return rule.state_of(version, now)

    def selection(
        self, platform: bytes, facts: bytes, currency: str, amount: int, now: int
    ) -> tuple[int, Selection] | None:
        """The version of a platform's schedule that is in force at `now`, and what it selects; None without one."""
        schedule = self.rules.get((platform, SCHEDULE), Rule())
        version = schedule.in_force(now)
        entries = schedule.versions[version].entries if version else ()
        selected = select(entries, facts, currency, amount, now)
        return None if selected is None else (version, selected)

    def legs_of(self, capture: Capture) -> tuple[Leg, ...]:
        """The legs by which an order is split: those of the version that it was captured with, for ever."""
        return self.version_of(capture).legs

    def version_of(self, capture: Capture) -> Version:
        """The rule version that an order was captured with."""
        return self.rules[capture.platform, capture.rule_id].versions[capture.rule_version]
