"""The JSON of `instructions.payload`, of legs and of entries, and back: ids as 0x hex, amounts as integers.

CAPTURE, SPLIT, RELEASE, RETURN and REFUND carry the fields of domain.records.Capture and Instruction. The other types
carry the arguments of the contract call that they ask for, given here as dataclasses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from fenzhang.domain.clearing import Outcome, OutcomeKind
from fenzhang.domain.records import NOTHING, Capture, Instruction, InstructionKind
from fenzhang.domain.rules import NO_TERMS, Leg, LegKind, RuleTerms
from fenzhang.domain.schedules import Entry


@dataclass(frozen=True, slots=True)
class Enrollment:
    """ENROLL: enroll for a platform, or enrollRecipient. Exactly one of `authority` and `platform` is set.

    `authority` (20 bytes) signs for a platform; a recipient agrees to receive from `platform`.
    """

    participant: bytes
    authority: bytes | None
    platform: bytes | None


@dataclass(frozen=True, slots=True)
class StandingChange:
    """SUSPEND, RESUME and CLOSE: ParticipantRegistry.suspend, resume or close."""

    participant: bytes


@dataclass(frozen=True, slots=True)
class Placement:
    """PLACE: ParticipantRegistry.place. `parent` is 32 zero bytes for nobody."""

    participant: bytes
    parent: bytes


@dataclass(frozen=True, slots=True)
class ConsentChange:
    """CONSENT: ParticipantRegistry.setConsent, attested by the registrar."""

    participant: bytes
    platform: bytes
    granted: bool


@dataclass(frozen=True, slots=True)
class Cap:
    """CAP: ParticipantRegistry.setMaxShareOut of the platform `participant`. Basis points; 0 lifts the cap."""

    participant: bytes
    max_share_out: int


@dataclass(frozen=True, slots=True)
class HeirNaming:
    """HEIR: ParticipantRegistry.nameHeir."""

    participant: bytes
    heir: bytes


@dataclass(frozen=True, slots=True)
class Resolution:
    """RESOLVE: ClearingHouse.resolve. `currency` is its letter code."""

    participant: bytes
    currency: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """PROPOSE: RuleBook.propose, or with `entries` in place of legs RuleBook.proposeSchedule.

    An empty `signature` means that the platform's keystore key signs on submission.
    """

    platform: bytes
    rule_id: bytes
    version: int
    effective_from: int
    legs: tuple[Leg, ...]
    signature: bytes = b""
    terms: RuleTerms = NO_TERMS
    entries: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True)
class Approval:
    """APPROVE: RuleBook.approve."""

    platform: bytes
    rule_id: bytes
    version: int
    content_hash: bytes


@dataclass(frozen=True, slots=True)
class Veto:
    """VETO: RuleBook.veto. `reason` is the reason code as the 32 bytes that the chain has."""

    platform: bytes
    rule_id: bytes
    version: int
    content_hash: bytes
    reason: bytes


@dataclass(frozen=True, slots=True)
class Retirement:
    """RETIRE: RuleBook.retire.

    An empty `signature` means that the platform's keystore key signs on submission.
    """

    platform: bytes
    rule_id: bytes
    signature: bytes = b""


@dataclass(frozen=True, slots=True)
class FreezeChange:
    """FREEZE and UNFREEZE: setFrozen of Conditions, for an order or a split of it, or of ParticipantRegistry.

    `reason` is an ASCII name. Either `order_id` or `participant` is set; `split_id` is zero for the order itself.
    """

    frozen: bool
    reason: str
    order_id: bytes | None = None
    split_id: bytes | None = None
    participant: bytes | None = None


@dataclass(frozen=True, slots=True)
class ConditionOpening:
    """CONDITION: Conditions.open. `confirmer` is 32 zero bytes for nobody.

    An empty `signature` means that the platform's keystore key signs on submission.
    """

    platform: bytes
    condition_id: bytes
    needed: int
    deadline: int
    confirmer: bytes = NOTHING
    signature: bytes = b""


@dataclass(frozen=True, slots=True)
class ConditionConfirmation:
    """CONFIRMATION: Conditions.confirm, signed by `confirmer`.

    An empty `signature` means that the confirmer's keystore key signs on submission.
    """

    platform: bytes
    condition_id: bytes
    confirmer: bytes
    signature: bytes = b""


@dataclass(frozen=True, slots=True)
class CycleClosing:
    """CLOSE_CYCLE: ClearingHouse.closeCycle of a plan (store.cycletables.CyclePlan), which has the signature."""

    plan: int
    cycle_id: bytes


@dataclass(frozen=True, slots=True)
class Taking:
    """TAKE: ClearingHouse.take of the payouts of a plan with the indices from `first` to before `end`."""

    plan: int
    cycle_id: bytes
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Reporting:
    """REPORT: ClearingHouse.report of what became of payouts of a plan. `bank` (20 bytes) signed it."""

    plan: int
    cycle_id: bytes
    outcomes: tuple[Outcome, ...]
    bank: bytes
    signature: bytes


Payload = (
    FreezeChange
    | ConditionOpening
    | ConditionConfirmation
    | Capture
    | Instruction
    | Enrollment
    | StandingChange
    | Placement
    | ConsentChange
    | Cap
    | HeirNaming
    | Resolution
    | CycleClosing
    | Taking
    | Reporting
    | Proposal
    | Approval
    | Veto
    | Retirement
)


def to_json(payload: Payload) -> dict[str, Any]:
    """What is stored for `payload`."""
    match payload:
        case Instruction():
            # Nine of ten payloads are these two; written out, they cost a tenth of walking the fields.
            return {
                "kind": int(payload.kind),
                "id": _hex(payload.id),
                "order_id": _hex(payload.order_id),
                "split_id": _hex(payload.split_id),
                "amount": payload.amount,
                "bindings": [_hex(binding) for binding in payload.bindings],
                "amounts": list(payload.amounts),
            }
        case Capture():
            times = {"hold_until": payload.hold_until, "expires_at": payload.expires_at}
            words = {"facts": payload.facts, "condition": payload.condition}
            return {
                "order_id": _hex(payload.order_id),
                "platform": _hex(payload.platform),
                "merchant": _hex(payload.merchant),
                "rule_id": _hex(payload.rule_id),
                "rule_version": payload.rule_version,
                "currency": payload.currency,
                "amount": payload.amount,
                "bindings": [_hex(binding) for binding in payload.bindings],
                **{name: time for name, time in times.items() if time},
                **{name: _hex(word) for name, word in words.items() if word != NOTHING},
            }
        case Reporting():
            return {
                "plan": payload.plan,
                "cycle_id": _hex(payload.cycle_id),
                "outcomes": [
                    {"payout_id": _hex(each.payout_id), "kind": each.kind.name, "reason": each.reason}
                    for each in payload.outcomes
                ],
                "bank": _hex(payload.bank),
                "signature": _hex(payload.signature),
            }
        case Proposal():
            return {
                "platform": _hex(payload.platform),
                "rule_id": _hex(payload.rule_id),
                "version": payload.version,
                "effective_from": payload.effective_from,
                "legs": legs_to_json(payload.legs),
                "terms": terms_to_json(payload.terms),
                **({"entries": entries_to_json(payload.entries)} if payload.entries else {}),
                "signature": _hex(payload.signature),
            }
    return {name: _plain(getattr(payload, name)) for name in payload.__slots__}


def capture_from(data: dict[str, Any]) -> Capture:
    """The capture of a CAPTURE instruction."""
    return Capture(
        order_id=_bytes(data["order_id"]),
        platform=_bytes(data["platform"]),
        merchant=_bytes(data["merchant"]),
        rule_id=_bytes(data["rule_id"]),
        rule_version=data["rule_version"],
        currency=data["currency"],
        amount=data["amount"],
        bindings=tuple(map(_bytes, data["bindings"])),
        hold_until=data.get("hold_until", 0),
        expires_at=data.get("expires_at", 0),
        facts=_bytes(data["facts"]) if "facts" in data else NOTHING,
        condition=_bytes(data["condition"]) if "condition" in data else NOTHING,
    )


def instruction_from(data: dict[str, Any]) -> Instruction:
    """The instruction of a SPLIT, RELEASE, RETURN or REFUND."""
    return Instruction(
        kind=InstructionKind(data["kind"]),
        id=_bytes(data["id"]),
        order_id=_bytes(data["order_id"]),
        split_id=_bytes(data["split_id"]),
        amount=data["amount"],
        bindings=tuple(map(_bytes, data["bindings"])),
        amounts=tuple(data["amounts"]),
    )


def enrollment_from(data: dict[str, Any]) -> Enrollment:
    """The call of an ENROLL."""
    authority, platform = data["authority"], data["platform"]
    return Enrollment(
        participant=_bytes(data["participant"]),
        authority=None if authority is None else _bytes(authority),
        platform=None if platform is None else _bytes(platform),
    )


def standing_change_from(data: dict[str, Any]) -> StandingChange:
    """The call of a SUSPEND, RESUME or CLOSE."""
    return StandingChange(participant=_bytes(data["participant"]))


def placement_from(data: dict[str, Any]) -> Placement:
    """The call of a PLACE."""
    return Placement(participant=_bytes(data["participant"]), parent=_bytes(data["parent"]))


def consent_change_from(data: dict[str, Any]) -> ConsentChange:
    """The call of a CONSENT."""
    return ConsentChange(_bytes(data["participant"]), _bytes(data["platform"]), data["granted"])


def cap_from(data: dict[str, Any]) -> Cap:
    """The call of a CAP."""
    return Cap(_bytes(data["participant"]), data["max_share_out"])


def heir_naming_from(data: dict[str, Any]) -> HeirNaming:
    """The call of a HEIR."""
    return HeirNaming(_bytes(data["participant"]), _bytes(data["heir"]))


def resolution_from(data: dict[str, Any]) -> Resolution:
    """The call of a RESOLVE."""
    return Resolution(_bytes(data["participant"]), data["currency"])


def cycle_closing_from(data: dict[str, Any]) -> CycleClosing:
    """The call of a CLOSE_CYCLE."""
    return CycleClosing(data["plan"], _bytes(data["cycle_id"]))


def taking_from(data: dict[str, Any]) -> Taking:
    """The call of a TAKE."""
    return Taking(data["plan"], _bytes(data["cycle_id"]), data["first"], data["end"])


def reporting_from(data: dict[str, Any]) -> Reporting:
    """The call of a REPORT."""
    outcomes = tuple(
        Outcome(_bytes(each["payout_id"]), OutcomeKind[each["kind"]], each["reason"])
        for each in data["outcomes"]
    )
    return Reporting(
        data["plan"], _bytes(data["cycle_id"]), outcomes, _bytes(data["bank"]), _bytes(data["signature"])
    )


def proposal_from(data: dict[str, Any]) -> Proposal:
    """The call of a PROPOSE."""
    return Proposal(
        platform=_bytes(data["platform"]),
        rule_id=_bytes(data["rule_id"]),
        version=data["version"],
        effective_from=data["effective_from"],
        legs=legs_from_json(data["legs"]),
        terms=terms_from_json(data["terms"]),
        entries=entries_from_json(data.get("entries", ())),
        signature=_bytes(data["signature"]),
    )


def freeze_change_from(data: dict[str, Any]) -> FreezeChange:
    """The call of a FREEZE or UNFREEZE."""
    ids = {
        name: None if data[name] is None else _bytes(data[name])
        for name in ("order_id", "split_id", "participant")
    }
    return FreezeChange(frozen=data["frozen"], reason=data["reason"], **ids)


def condition_opening_from(data: dict[str, Any]) -> ConditionOpening:
    """The call of a CONDITION."""
    return ConditionOpening(
        platform=_bytes(data["platform"]),
        condition_id=_bytes(data["condition_id"]),
        needed=data["needed"],
        deadline=data["deadline"],
        confirmer=_bytes(data["confirmer"]),
        signature=_bytes(data["signature"]),
    )


def condition_confirmation_from(data: dict[str, Any]) -> ConditionConfirmation:
    """The call of a CONFIRMATION."""
    names = ("platform", "condition_id", "confirmer", "signature")
    return ConditionConfirmation(*(_bytes(data[name]) for name in names))


def approval_from(data: dict[str, Any]) -> Approval:
    """The call of an APPROVE."""
    return Approval(
        platform=_bytes(data["platform"]),
        rule_id=_bytes(data["rule_id"]),
        version=data["version"],
        content_hash=_bytes(data["content_hash"]),
    )


def veto_from(data: dict[str, Any]) -> Veto:
    """The call of a VETO."""
    return Veto(
        platform=_bytes(data["platform"]),
        rule_id=_bytes(data["rule_id"]),
        version=data["version"],
        content_hash=_bytes(data["content_hash"]),
        reason=_bytes(data["reason"]),
    )


def retirement_from(data: dict[str, Any]) -> Retirement:
    """The call of a RETIRE."""
    return Retirement(
        platform=_bytes(data["platform"]),
        rule_id=_bytes(data["rule_id"]),
        signature=_bytes(data["signature"]),
    )


def legs_to_json(legs: Sequence[Leg]) -> list[dict[str, Any]]:
    """Legs as `rule_versions.legs` holds them."""
    return [
        {
            "parent": leg.parent,
            "kind": leg.kind.name,
            "value": leg.value,
            "min": leg.min,
            "max": leg.max,
            "recipient": None if leg.recipient is None else _hex(leg.recipient),
            "role": leg.role,
        }
        for leg in legs
    ]


def legs_from_json(data: Sequence[dict[str, Any]]) -> tuple[Leg, ...]:
    """The inverse of `legs_to_json`."""
    return tuple(
        Leg(
            parent=leg["parent"],
            kind=LegKind[leg["kind"]],
            value=leg["value"],
            min=leg["min"],
            max=leg["max"],
            recipient=None if leg["recipient"] is None else _bytes(leg["recipient"]),
            role=leg["role"],
        )
        for leg in data
    )


def entries_to_json(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Entries of a schedule as `rule_versions.entries` holds them."""
    names = [field.name for field in fields(Entry)]
    return [{name: _plain(getattr(entry, name)) for name in names} for entry in entries]


def entries_from_json(data: Sequence[dict[str, Any]]) -> tuple[Entry, ...]:
    """The inverse of `entries_to_json`."""
    return tuple(
        Entry(**{**entry, "rule_id": _bytes(entry["rule_id"]), "facts": _bytes(entry["facts"])})
        for entry in data
    )


def terms_to_json(terms: RuleTerms) -> dict[str, Any]:
    """Terms as `rule_versions.terms` holds them."""
    return {"max_share_out": terms.max_share_out, "may_owe": terms.may_owe, "park": terms.park}


def terms_from_json(data: dict[str, Any]) -> RuleTerms:
    """The inverse of `terms_to_json`."""
    return RuleTerms(**data)


def _hex(value: bytes) -> str:
    return "0x" + value.hex()


def _bytes(value: str) -> bytes:
    return bytes.fromhex(value[2:])


def _plain(value: object) -> object:
    return _hex(value) if isinstance(value, bytes) else value
