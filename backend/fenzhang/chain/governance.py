"""Calldata of the writes that change who takes part and by which rules."""

from __future__ import annotations

from collections.abc import Sequence

from fenzhang.chain.abi import currency_bytes, role_bytes
from fenzhang.chain.codec import encode_call, leg_values, terms_values
from fenzhang.domain.rules import NO_TERMS, Leg, RuleTerms

NO_AUTHORITY = bytes(20)
"""Authority of a participant that never signs."""


def enroll_call(participant: bytes, authority: bytes = NO_AUTHORITY) -> bytes:
    """ParticipantRegistry.enroll, the registrar's."""
    return encode_call("ParticipantRegistry", "enroll", participant, authority)


def enroll_recipient_call(participant: bytes, platform: bytes) -> bytes:
    """ParticipantRegistry.enrollRecipient: enrolled and consenting to `platform`, the registrar's."""
    return encode_call("ParticipantRegistry", "enrollRecipient", participant, platform)


def suspend_call(participant: bytes) -> bytes:
    """ParticipantRegistry.suspend, the registrar's."""
    return encode_call("ParticipantRegistry", "suspend", participant)


def resume_call(participant: bytes) -> bytes:
    """ParticipantRegistry.resume, the registrar's."""
    return encode_call("ParticipantRegistry", "resume", participant)


def close_call(participant: bytes) -> bytes:
    """ParticipantRegistry.close, the registrar's."""
    return encode_call("ParticipantRegistry", "close", participant)


def name_heir_call(participant: bytes, heir: bytes) -> bytes:
    """ParticipantRegistry.nameHeir, a guardian's."""
    return encode_call("ParticipantRegistry", "nameHeir", participant, heir)


def resolve_call(currency: str, participant: bytes) -> bytes:
    """ClearingHouse.resolve; anyone may send it."""
    return encode_call("ClearingHouse", "resolve", currency_bytes(currency), participant)


def place_call(participant: bytes, parent: bytes) -> bytes:
    """ParticipantRegistry.place, the registrar's."""
    return encode_call("ParticipantRegistry", "place", participant, parent)


def rotate_authority_call(participant: bytes, authority: bytes) -> bytes:
    """ParticipantRegistry.rotateAuthority, the present authority's or the registrar's."""
    return encode_call("ParticipantRegistry", "rotateAuthority", participant, authority)


def set_consent_call(recipient: bytes, platform: bytes, *, granted: bool) -> bytes:
    """ParticipantRegistry.setConsent, the recipient's own authority's or the registrar's."""
    return encode_call("ParticipantRegistry", "setConsent", recipient, platform, granted)


def set_order_frozen_call(order_id: bytes, split_id: bytes, reason: str, *, frozen: bool) -> bytes:
    """Conditions.setFrozen of an order (`split_id` zero) or a split of it, a guardian's."""
    return encode_call("Conditions", "setFrozen", order_id, split_id, frozen, role_bytes(reason))


def set_participant_frozen_call(participant: bytes, reason: str, *, frozen: bool) -> bytes:
    """ParticipantRegistry.setFrozen, a guardian's."""
    return encode_call("ParticipantRegistry", "setFrozen", participant, frozen, role_bytes(reason))


def open_condition_call(  # noqa: PLR0917 -- the fields of Condition in its order
    platform: bytes, condition_id: bytes, needed: int, deadline: int, confirmer: bytes, signature: bytes
) -> bytes:
    """Conditions.open; anyone may send it. `deadline` is Unix seconds, `confirmer` 32 zero bytes for nobody."""
    condition = (platform, condition_id, needed, deadline, confirmer)
    return encode_call("Conditions", "open", condition, signature)


def confirm_condition_call(platform: bytes, condition_id: bytes, signature: bytes) -> bytes:
    """Conditions.confirm; anyone may send it."""
    return encode_call("Conditions", "confirm", platform, condition_id, signature)


def set_max_share_out_call(platform: bytes, max_share_out: int) -> bytes:
    """ParticipantRegistry.setMaxShareOut, a guardian's. Basis points; 0 lifts the cap."""
    return encode_call("ParticipantRegistry", "setMaxShareOut", platform, max_share_out)


def propose_call(
    *,
    platform: bytes,
    rule_id: bytes,
    version: int,
    effective_from: int,
    legs: Sequence[Leg],
    signature: bytes,
    terms: RuleTerms = NO_TERMS,
) -> bytes:
    """RuleBook.propose; anyone may send it."""
    content = (list(map(leg_values, legs)), terms_values(terms))
    proposal = (platform, rule_id, version, effective_from, *content)
    return encode_call("RuleBook", "propose", proposal, signature)


def approve_call(platform: bytes, rule_id: bytes, version: int, content_hash: bytes) -> bytes:
    """RuleBook.approve, a rule approver's."""
    return encode_call("RuleBook", "approve", platform, rule_id, version, content_hash)


def veto_call(platform: bytes, rule_id: bytes, version: int, content_hash: bytes, reason: bytes) -> bytes:
    """RuleBook.veto, a guardian's. `reason` is 32 bytes."""
    return encode_call("RuleBook", "veto", platform, rule_id, version, content_hash, reason)


def set_approval_lock_call(seconds: int) -> bytes:
    """RuleBook.setApprovalLock, the administrator's."""
    return encode_call("RuleBook", "setApprovalLock", seconds)


def retire_call(platform: bytes, rule_id: bytes, signature: bytes) -> bytes:
    """RuleBook.retire; anyone may send it."""
    return encode_call("RuleBook", "retire", platform, rule_id, signature)
