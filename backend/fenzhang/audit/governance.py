"""Participants, consent, rules and currencies: what calldata leads to, and whether each change was allowed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from fenzhang.audit.calls import Call
from fenzhang.audit.conditions import CONTRACT as _CONDITIONS
from fenzhang.audit.conditions import ConditionKeeper, condition_events, condition_signature
from fenzhang.audit.differences import Code, Findings
from fenzhang.audit.freezing import FreezeEvent, freeze_event, take_up_freeze
from fenzhang.audit.model import Model
from fenzhang.audit.proposals import (
    Proposed,
    hash_of,
    problem_of,
    rule_proposed,
    schedule_proposed,
    version_of,
)
from fenzhang.audit.reading import Transaction
from fenzhang.audit.resolving import resolution_event, take_up_heir, take_up_resolution
from fenzhang.audit.signatures import SignatureChecker, is_partys
from fenzhang.audit.tape import NOWHERE
from fenzhang.chain.abi import currency_text
from fenzhang.chain.calldata import decode_proposal, decode_retirement
from fenzhang.chain.clearing import CONTRACT as CLEARING_HOUSE
from fenzhang.chain.codec import decode_arguments, selector_of
from fenzhang.chain.eip712 import retirement_digest
from fenzhang.chain.eventtypes import (
    ApprovalLockChanged,
    AuthorityRotated,
    ConditionEvent,
    ConsentChanged,
    CurrencyChanged,
    Event,
    FreezeChanged,
    HeirNamed,
    MaxShareOutChanged,
    ParticipantEnrolled,
    ParticipantPlaced,
    ParticipantStatusChanged,
    RuleApproved,
    RuleProposed,
    RuleRetired,
    RuleVetoed,
    ScheduleProposed,
    SuspenseResolved,
)
from fenzhang.chain.schedules import decode_schedule
from fenzhang.domain.places import TOP
from fenzhang.domain.records import ParticipantStatus
from fenzhang.domain.rules import BASIS_POINTS
from fenzhang.domain.world import NO_AUTHORITY, Participant, Rule, Version

RuleEvent = Proposed | RuleApproved | RuleVetoed | ApprovalLockChanged | RuleRetired
GovernanceEvent = (
    ParticipantEnrolled
    | ParticipantStatusChanged
    | AuthorityRotated
    | ConsentChanged
    | ParticipantPlaced
    | MaxShareOutChanged
    | RuleEvent
    | CurrencyChanged
    | FreezeEvent
    | ConditionEvent
    | HeirNamed
    | SuspenseResolved
)
_REGISTRY = "ParticipantRegistry"
_RULES = "RuleBook"
_LEDGER = "SplitLedger"
_FUNCTIONS = {
    _REGISTRY: (
        *("enroll", "enrollRecipient", "suspend", "resume", "close", "place", "setMaxShareOut"),
        *("rotateAuthority", "setConsent", "setFrozen", "nameHeir"),
    ),
    _RULES: ("propose", "proposeSchedule", "approve", "retire", "veto", "setApprovalLock"),
    _CONDITIONS: ("open", "confirm", "setFrozen"),
    _LEDGER: ("setCurrencies",),
    CLEARING_HOUSE: ("resolve",),
}
_TOLD_AS_ASKED = {"setConsent": ConsentChanged, "setMaxShareOut": MaxShareOutChanged}
_STATUS_FUNCTIONS = {
    ParticipantStatus.ACTIVE: "resume",
    ParticipantStatus.SUSPENDED: "suspend",
    ParticipantStatus.CLOSED: "close",
}
_TRANSITIONS = {
    (ParticipantStatus.ACTIVE, ParticipantStatus.SUSPENDED),
    (ParticipantStatus.SUSPENDED, ParticipantStatus.ACTIVE),
    (ParticipantStatus.ACTIVE, ParticipantStatus.CLOSED),
    (ParticipantStatus.SUSPENDED, ParticipantStatus.CLOSED),
}


@cache
def _selectors() -> dict[tuple[str, bytes], str]:
    return {
        (contract, selector_of(contract, function)): function
        for contract, functions in _FUNCTIONS.items()
        for function in functions
    }


# ------------------------------------------------------------------------------ what calldata leads to


def expected_events(call: Call, model: Model) -> Iterator[GovernanceEvent]:
    """The events that a governance call emits, in order; none for a call that changes nothing. Raises Undecodable."""
    contract = model.deployment.contracts[call.to]
    function = _selectors().get((contract, call.selector))
    if function is None:
        return
    if contract == _RULES:
        yield _rule_event(function, call)
        return
    if function in {"open", "confirm"}:
        yield from condition_events(call, model)
        return
    arguments = decode_arguments(contract, function, call.data)
    if function == "setFrozen":
        yield freeze_event(arguments, call.sender)
    elif function == "resolve":
        yield resolution_event(arguments, model)
    elif function == "nameHeir":
        participant, heir = arguments
        yield HeirNamed(NOWHERE, participant, heir, call.sender)
    elif function == "setCurrencies":
        currencies, enabled = arguments
        for currency in currencies:
            yield CurrencyChanged(NOWHERE, currency_text(currency), enabled)
    else:
        yield from _registry_events(function, arguments, model)


def _registry_events(function: str, arguments: tuple[Any, ...], model: Model) -> Iterator[GovernanceEvent]:
    match function:
        case "enroll":
            yield ParticipantEnrolled(NOWHERE, *arguments)
        case "enrollRecipient":
            recipient, platform = arguments
            yield ParticipantEnrolled(NOWHERE, recipient, NO_AUTHORITY)
            yield ConsentChanged(NOWHERE, recipient, platform, granted=True)
        case "suspend" | "resume" | "close":
            [status] = [status for status, name in _STATUS_FUNCTIONS.items() if name == function]
            yield ParticipantStatusChanged(NOWHERE, arguments[0], status)
        case "rotateAuthority":
            participant, authority = arguments
            yield AuthorityRotated(NOWHERE, participant, model.world.authority_of(participant), authority)
        case "setConsent" | "setMaxShareOut":
            yield _TOLD_AS_ASKED[function](NOWHERE, *arguments)
        case "place":
            participant, parent = arguments
            level = 1 if parent == TOP else model.world.places.level_of(parent) + 1
            yield ParticipantPlaced(NOWHERE, participant, parent, level)


def _rule_event(function: str, call: Call) -> GovernanceEvent:
    match function:
        case "propose":
            return rule_proposed(call.data)
        case "proposeSchedule":
            return schedule_proposed(call.data)
        case "approve":
            platform, rule_id, version, content_hash = decode_arguments(_RULES, function, call.data)
            return RuleApproved(NOWHERE, platform, rule_id, version, content_hash, call.sender)
        case "veto":
            platform, rule_id, version, content_hash, reason = decode_arguments(_RULES, function, call.data)
            return RuleVetoed(NOWHERE, platform, rule_id, version, content_hash, call.sender, reason)
        case "setApprovalLock":
            return ApprovalLockChanged(NOWHERE, *decode_arguments(_RULES, function, call.data))
        case _:
            retired = decode_retirement(call.data)
            return RuleRetired(NOWHERE, retired.platform, retired.rule_id)


def signature_in(call: Call, model: Model) -> bytes | None:
    """The signature in a call that changes a rule or a condition, None in any other. Raises Undecodable."""
    contract = model.deployment.contracts[call.to]
    function = _selectors().get((contract, call.selector))
    match function:
        case "propose":
            return decode_proposal(call.data).signature
        case "proposeSchedule":
            return decode_schedule(call.data).signature
        case "retire":
            return decode_retirement(call.data).signature
        case "open" | "confirm":
            return condition_signature(call)
        case _:
            return None


# ------------------------------------------------------------------------------ what an event changes


@dataclass(slots=True)
class Governance:
    """Takes up governance events into the model, and reports those that the rules do not allow."""

    model: Model
    findings: Findings
    signatures: SignatureChecker

    async def apply(
        self, event: GovernanceEvent, at: Transaction, actor: bytes, signature: bytes | None
    ) -> None:
        """Take up one event. `actor` brought it about; `signature` is what a rule event's calldata carries."""
        self.findings.count("governance_events")
        if isinstance(event, FreezeEvent):
            self._frozen(event, at, actor)
            return
        if isinstance(event, HeirNamed | SuspenseResolved):
            self._suspended(event, at, actor)
            return
        match event:
            case ParticipantEnrolled():
                self._enrolled(event, at, actor)
            case ParticipantStatusChanged():
                self._status_changed(event, at, actor)
            case AuthorityRotated():
                self._rotated(event, at, actor)
            case ConsentChanged():
                self._consent_changed(event, at, actor)
            case ParticipantPlaced():
                self._placed(event, at, actor)
            case MaxShareOutChanged():
                self._capped(event, at, actor)
            case CurrencyChanged():
                self._currency_changed(event, at, actor)
            case _:
                await self._apply_signed(event, at, actor, signature)

    async def _apply_signed(
        self, event: RuleEvent | ConditionEvent, at: Transaction, actor: bytes, signature: bytes | None
    ) -> None:
        if isinstance(event, ConditionEvent):
            keeper = ConditionKeeper(self.model, self.findings)
            await keeper.apply(event, at, self.signatures, signature)
            return
        match event:
            case RuleProposed() | ScheduleProposed():
                await self._proposed(event, at, signature)
            case RuleApproved():
                self._approved(event, at, actor)
            case RuleVetoed():
                self._vetoed(event, at, actor)
            case ApprovalLockChanged():
                self._check_role(_RULES, ("setApprovalLock",), at, actor)
                self.model.world.approval_lock = event.lock
            case RuleRetired():
                await self._retired(event, at, signature)

    # -------------------------------------------------------------------------- participants

    def _enrolled(self, event: ParticipantEnrolled, at: Transaction, actor: bytes) -> None:
        world, participant = self.model.world, event.participant
        self._check_role(_REGISTRY, ("enroll", "enrollRecipient"), at, actor, participant=participant)
        if participant in world.participants or not any(participant):
            self._bad_transition(event, at, participant, "was enrolled a second time, or is nobody")
        world.participants[participant] = Participant(authority=event.authority)
        self.model.focus.meet(participant)

    def _status_changed(self, event: ParticipantStatusChanged, at: Transaction, actor: bytes) -> None:
        world, participant = self.model.world, event.participant
        function = _STATUS_FUNCTIONS.get(event.status)
        if function is not None:
            self._check_role(_REGISTRY, (function,), at, actor, participant=participant)
        before = world.status_of(participant)
        if (before, event.status) not in _TRANSITIONS:
            self._bad_transition(event, at, participant, f"went from {before.name} to {event.status.name}")
        world.participants.setdefault(participant, Participant()).status = event.status

    def _rotated(self, event: AuthorityRotated, at: Transaction, actor: bytes) -> None:
        world, participant = self.model.world, event.participant
        if actor != event.previous:
            self._check_role(_REGISTRY, ("rotateAuthority",), at, actor, participant=participant)
        known = participant in world.participants
        if not known or event.previous != world.authority_of(participant) or event.next == NO_AUTHORITY:
            self._bad_transition(event, at, participant, "has an authority that cannot follow the last one")
        world.participants.setdefault(participant, Participant()).authority = event.next

    def _consent_changed(self, event: ConsentChanged, at: Transaction, actor: bytes) -> None:
        world, recipient = self.model.world, event.recipient
        authority = world.authority_of(recipient)
        if authority == NO_AUTHORITY or actor != authority:
            functions = ("setConsent", "enrollRecipient")
            self._check_role(_REGISTRY, functions, at, actor, participant=recipient)
        if recipient not in world.participants or event.platform not in world.participants:
            self._bad_transition(event, at, recipient, "gave consent, and one of the two was never enrolled")
        pair = (recipient, event.platform)
        self.model.consents_seen.add(pair)
        (world.consents.add if event.granted else world.consents.discard)(pair)

    def _frozen(self, event: FreezeEvent, at: Transaction, actor: bytes) -> None:
        contract = _CONDITIONS if isinstance(event, FreezeChanged) else _REGISTRY
        # What the AccessManager carries out was its actor's doing.
        hidden = event.guardian == self.model.deployment.access_manager
        self._check_role(contract, ("setFrozen",), at, actor if hidden else event.guardian)
        take_up_freeze(event, at, self.model, self.findings)

    def _suspended(self, event: HeirNamed | SuspenseResolved, at: Transaction, actor: bytes) -> None:
        if isinstance(event, SuspenseResolved):
            take_up_resolution(event, at, self.model, self.findings)
            return
        hidden = event.guardian == self.model.deployment.access_manager
        self._check_role(_REGISTRY, ("nameHeir",), at, actor if hidden else event.guardian)
        take_up_heir(event, at, self.model, self.findings)

    def _placed(self, event: ParticipantPlaced, at: Transaction, actor: bytes) -> None:
        world, participant, parent = self.model.world, event.participant, event.parent
        self._check_role(_REGISTRY, ("place",), at, actor, participant=participant)
        if participant not in world.participants or parent not in {TOP, *world.participants}:
            self._bad_transition(event, at, participant, "was placed, and one of the two was never enrolled")
            return
        problem = world.places.problem_of(participant, parent)
        if problem is not None:
            # A ring of parents has no levels: the model keeps its own tree, and storage is going to differ.
            self._bad_transition(event, at, participant, f"was placed where it {problem}")
            return
        world.places.put(participant, parent)
        if event.level != world.places.level_of(participant):
            self._bad_transition(
                event, at, participant, f"was placed on level {event.level}, which it is not"
            )

    def _capped(self, event: MaxShareOutChanged, at: Transaction, actor: bytes) -> None:
        world, platform = self.model.world, event.platform
        self._check_role(_REGISTRY, ("setMaxShareOut",), at, actor, participant=platform)
        if platform not in world.participants or event.max_share_out > BASIS_POINTS:
            self._bad_transition(
                event, at, platform, "was given a cap, and is unknown, or the cap above the whole"
            )
        world.participants.setdefault(platform, Participant()).max_share_out = event.max_share_out

    def _bad_transition(self, event: Event, at: Transaction, participant: bytes, what: str) -> None:
        self.findings.report(
            Code.PARTICIPANT_TRANSITION,
            f"participant 0x{participant.hex()} {what}",
            at,
            participant=participant,
            found=event,
        )

    # -------------------------------------------------------------------------- rules

    async def _proposed(self, event: Proposed, at: Transaction, signature: bytes | None) -> None:
        platform, rule_id, version = event.platform, event.rule_id, event.version
        content_hash = hash_of(event)
        if content_hash != event.content_hash:
            self.findings.report(
                Code.CONTENT_HASH_DIFFERS,
                f"version {version} was proposed under a hash that is not its content's",
                at,
                rule=rule_id,
                expected=content_hash,
                found=event.content_hash,
            )
        digest = self.model.deployment.rule_domain().digest(content_hash)
        await self._check_signature(platform, rule_id, digest, signature, at)
        rule = self.model.world.rules.setdefault((platform, rule_id), Rule())
        problem = problem_of(event, rule)
        if problem is not None:
            self._bad_rule(event, at, f"version {version} {problem}")
        proposer = self.model.world.authority_of(platform)
        rule.versions[version] = version_of(event, proposer)
        self.model.content_hashes[platform, rule_id, version] = content_hash
        self.findings.count("rule_versions")

    def _approved(self, event: RuleApproved, at: Transaction, actor: bytes) -> None:
        platform, rule_id, number = event.platform, event.rule_id, event.version
        # The contract refuses what the AccessManager carries out, which hides who approves: its actor did.
        hidden = event.approver == self.model.deployment.access_manager
        approver = actor if hidden else event.approver
        self._check_role(_RULES, ("approve",), at, approver, rule=rule_id)
        version = self._version(event)
        if version is None or version.approved or version.vetoed:
            self._bad_rule(
                event, at, f"version {number} was approved twice, vetoed before, or never proposed"
            )
        if version is None:
            return
        if not self.model.world.may_be_approved(version, at.timestamp):
            what = "was approved later than the approval lock allows before it takes effect"
            self._locked(event, at, what, version.effective_from)
        if hidden or not self.model.world.is_second_party(approver, platform, version):
            who = "through the AccessManager" if hidden else "an authority of its own platform"
            self.findings.report(
                Code.TWO_PARTY_RULE,
                f"version {number} was approved by 0x{approver.hex()}, {who}",
                at,
                participant=platform,
                rule=rule_id,
                found=approver,
            )
        version.approved = True
        self._check_content(event, at, "approved")

    def _vetoed(self, event: RuleVetoed, at: Transaction, actor: bytes) -> None:
        hidden = event.guardian == self.model.deployment.access_manager
        self._check_role(_RULES, ("veto",), at, actor if hidden else event.guardian, rule=event.rule_id)
        version = self._version(event)
        if hidden or version is None or version.vetoed:
            self._bad_rule(
                event, at, f"version {event.version} was vetoed twice, or unsaid by whom, or never proposed"
            )
        if version is None:
            return
        if version.approved and version.effective_from <= at.timestamp:
            self._locked(event, at, "was vetoed when it was in effect", version.effective_from)
        version.veto()
        self._check_content(event, at, "vetoed")

    def _version(self, event: RuleApproved | RuleVetoed) -> Version | None:
        rule = self.model.world.rules.get((event.platform, event.rule_id))
        return None if rule is None else rule.versions.get(event.version)

    def _locked(self, event: RuleApproved | RuleVetoed, at: Transaction, what: str, found: int) -> None:
        self.findings.report(
            Code.RULE_LOCKED,
            f"version {event.version} {what}",
            at,
            participant=event.platform,
            rule=event.rule_id,
            expected=at.timestamp + self.model.world.approval_lock,
            found=found,
        )

    def _check_content(self, event: RuleApproved | RuleVetoed, at: Transaction, what: str) -> None:
        content_hash = self.model.content_hashes[event.platform, event.rule_id, event.version]
        if event.content_hash != content_hash:
            self.findings.report(
                Code.CONTENT_HASH_DIFFERS,
                f"version {event.version} was {what} under a hash that is not its content's",
                at,
                rule=event.rule_id,
                expected=content_hash,
                found=event.content_hash,
            )

    async def _retired(self, event: RuleRetired, at: Transaction, signature: bytes | None) -> None:
        digest = retirement_digest(self.model.deployment.rule_domain(), event.platform, event.rule_id)
        await self._check_signature(event.platform, event.rule_id, digest, signature, at)
        rule = self.model.world.rules.get((event.platform, event.rule_id))
        if rule is None or rule.retired:
            self._bad_rule(event, at, "the rule was retired twice, or never proposed")
        if rule is not None:
            rule.retired = True

    async def _check_signature(
        self, platform: bytes, rule_id: bytes, digest: bytes, signature: bytes | None, at: Transaction
    ) -> None:
        world = self.model.world
        if not await is_partys(self.signatures, world, platform, digest, signature, at):
            self.findings.report(
                Code.SIGNATURE_INVALID,
                f"a rule was changed without the signature of its platform 0x{platform.hex()}",
                at,
                participant=platform,
                rule=rule_id,
                expected=world.authority_of(platform),
            )

    def _bad_rule(
        self, event: Proposed | RuleApproved | RuleVetoed | RuleRetired, at: Transaction, what: str
    ) -> None:
        self.findings.report(
            Code.RULE_INVALID, what, at, participant=event.platform, rule=event.rule_id, found=event
        )

    # -------------------------------------------------------------------------- currencies and roles

    def _currency_changed(self, event: CurrencyChanged, at: Transaction, actor: bytes) -> None:
        self._check_role(_LEDGER, ("setCurrencies",), at, actor, currency=event.currency)
        currencies = self.model.world.currencies
        self.model.switched.add(event.currency)
        (currencies.add if event.enabled else currencies.discard)(event.currency)

    def _check_role(
        self, contract: str, functions: tuple[str, ...], at: Transaction, actor: bytes, **details: object
    ) -> None:
        target, access = self.model.deployment.addresses[contract], self.model.access
        selectors = [selector_of(contract, function) for function in functions]
        if not any(access.may_call(actor, target, each, at.timestamp) for each in selectors):
            self.findings.report(
                Code.NOT_ALLOWED,
                f"0x{actor.hex()} did not have the role for {contract}.{functions[0]}",
                at,
                found=actor,
                **details,
            )
