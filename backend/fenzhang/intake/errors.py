"""Why intake refuses a write: unknown names, conflicts with what is known, signatures that do not fit.

What depends on an order's money (a split above what is left, a second release) is not refused here. The chain decides
it, and its reason is the rejection of the instruction.
"""

from __future__ import annotations

from fenzhang.domain.errors import FenzhangError, InvalidInput
from fenzhang.domain.records import ParticipantStatus


class Unknown(FenzhangError):
    """Something the request names does not exist, or belongs to somebody else."""

    code = "unknown"
    what = "thing"

    def __init__(self, reference: str, field: str = "") -> None:
        values = {"field": field} if field else {}
        super().__init__(f"no {self.what} {reference!r} is known here", reference=reference, **values)


class UnknownOrderReference(Unknown):
    """The platform has no such order."""

    code = "unknown_order"
    what = "order"


class UnknownConditionReference(Unknown):
    """The platform has no such condition."""

    code = "unknown_condition"
    what = "condition"


class UnknownParticipant(Unknown):
    """The platform knows no such participant."""

    code = "unknown_participant"
    what = "participant"


class UnknownPlatform(Unknown):
    """No platform with this reference is enrolled."""

    code = "unknown_platform"
    what = "platform"


class UnknownRule(Unknown):
    """The platform has no such rule, or the rule no such version."""

    code = "unknown_rule"
    what = "rule"


class UnknownSplitReference(Unknown):
    """The platform has no such split."""

    code = "unknown_split"
    what = "split"


class UnknownInstruction(Unknown):
    """The platform has written nothing of this type under this reference."""

    code = "unknown_instruction"
    what = "instruction"


class Conflict(FenzhangError):
    """The request is well formed, but what is already known forbids it."""

    code = "conflict"


class ReferenceConflict(Conflict):
    """The reference stands for a request with other content."""

    code = "reference_conflict"

    def __init__(self, kind: str, reference: str) -> None:
        super().__init__(
            f"the reference {reference!r} already stands for a {kind} with other content",
            reference=reference,
            type=kind,
        )


class AppExists(Conflict):
    """An app with this name exists; its secret was shown once, when it was made."""

    code = "app_exists"


class AlreadyEnrolled(Conflict):
    """The reference is already the platform's own name or another participant's."""

    code = "already_enrolled"


class KeyExists(Conflict):
    """The address or label already has a key in the keystore."""

    code = "key_exists"


class RuleNotApproved(Conflict):
    """The rule version has not been approved."""

    code = "rule_not_approved"


class RuleNotEffective(Conflict):
    """The rule version is approved and not yet in force."""

    code = "rule_not_effective"


class RuleSuperseded(Conflict):
    """A later version of the rule is in force."""

    code = "rule_superseded"


class RuleRetired(Conflict):
    """The rule takes no further orders."""

    code = "rule_retired"


class RuleNotSelected(Conflict):
    """The platform's schedule selects another rule for the order."""

    code = "rule_not_selected"


class NoScheduleInForce(Conflict):
    """No rule is named, and the platform has no schedule in force that would select one."""

    code = "no_schedule_in_force"

    def __init__(self) -> None:
        super().__init__("name a rule: the platform has no schedule in force", field="out_rule_no")


class RuleAlreadyApproved(Conflict):
    """The rule version has been approved before."""

    code = "rule_already_approved"


class RuleNotProposed(Conflict):
    """The proposal of the rule version is not on the chain yet, or was refused there."""

    code = "rule_not_proposed"


class VersionNotNext(Conflict):
    """The version is not the next one of its rule."""

    code = "version_not_next"


class EffectiveBeforePrevious(Conflict):
    """The version would be in force before the version it follows."""

    code = "effective_before_previous"


class EffectiveWithinLock(Conflict):
    """The version would take effect sooner after its approval than the approval lock allows."""

    code = "effective_within_lock"


class RuleVetoed(Conflict):
    """The rule version was vetoed, and is never used."""

    code = "rule_vetoed"


class RuleInEffect(Conflict):
    """The rule version is in effect, or was: it cannot be vetoed any more, only followed by another or retired."""

    code = "rule_in_effect"


class ContentMismatch(Conflict):
    """The content hash is not that of the rule version."""

    code = "content_mismatch"


class ApproverIsProposer(Conflict):
    """The app that proposed a rule version, or any app of its platform, cannot approve it."""

    code = "approver_is_proposer"


class UnboundRole(Conflict):
    """A role of the rule is bound neither by the order nor by the split."""

    code = "role_not_bound"


class RoleNotInRule(Conflict):
    """The rule has no such role."""

    code = "role_not_in_rule"


class RoleBoundByOrder(Conflict):
    """The order binds this role to somebody else."""

    code = "role_already_bound"


def _not_active(what: str, reference: str, status: ParticipantStatus) -> str:
    if status is ParticipantStatus.UNKNOWN:
        return f"the enrolment of {what} {reference!r} is not on the chain yet; wait for it"
    return f"{what} {reference!r} is {status.name.lower()}"


class ParticipantNotActive(Conflict):
    """The participant is suspended, closed, or its enrolment is not on the chain yet."""

    code = "participant_not_active"

    def __init__(self, reference: str, status: ParticipantStatus, **more: object) -> None:
        message = _not_active("participant", reference, status)
        super().__init__(message, reference=reference, status=status.name, **more)


class RecipientNotConsented(Conflict):
    """The participant does not agree, or no longer agrees, to receive from the platform."""

    code = "recipient_not_consented"


class ParticipantNotSuspended(Conflict):
    """Only a suspended participant can be resumed."""

    code = "participant_not_suspended"


class HeirNotPossible(Conflict):
    """Nobody, or not this one, can stand in for the participant."""

    code = "heir_not_possible"

    def __init__(self, reference: str, why: str) -> None:
        super().__init__(f"{reference!r} cannot get this heir: {why}", reference=reference)


class PlaceNotPossible(Conflict):
    """The participant cannot stand there: others stand below it, or it would stand too deep or below itself."""

    code = "place_not_possible"

    def __init__(self, reference: str, why: str) -> None:
        super().__init__(f"participant {reference!r} cannot be placed there: {why}", reference=reference)


class PlatformNotActive(Conflict):
    """The platform is suspended, closed, or its enrolment is not on the chain yet."""

    code = "platform_not_active"

    def __init__(self, reference: str, status: ParticipantStatus) -> None:
        message = _not_active("platform", reference, status)
        super().__init__(message, reference=reference, status=status.name)


class CurrencyMismatch(Conflict):
    """The currency is not the order's."""

    code = "currency_mismatch"


class OrderNotCaptured(Conflict):
    """The order's capture was rejected, so it holds no money."""

    code = "order_not_captured"


class OrderOnHold(Conflict):
    """Nothing may be done on the order yet."""

    code = "on_hold"


class OrderExpired(Conflict):
    """The order has expired and is not split any more."""

    code = "order_expired"


class OrderFrozen(Conflict):
    """A guardian has frozen the order."""

    code = "order_frozen"


class SplitFrozen(Conflict):
    """A guardian has frozen the split."""

    code = "split_frozen"


class ConditionNotOpened(Conflict):
    """The condition is not on the chain yet, or was refused there."""

    code = "condition_not_opened"


class ConditionMissed(Conflict):
    """The deadline of the condition passed before it was reached."""

    code = "condition_missed"


class NoConfirmer(Conflict):
    """The condition only counts orders: there is nothing to confirm."""

    code = "no_confirmer"


class ConditionAlreadyConfirmed(Conflict):
    """The condition has been confirmed."""

    code = "already_confirmed"


class ConfirmerCannotSign(Conflict):
    """Who is to confirm is not active, or has no key that the chain knows."""

    code = "confirmer_cannot_sign"


class AlreadyFrozen(Conflict):
    """A guardian has frozen it already."""

    code = "already_frozen"


class NotFrozen(Conflict):
    """It is not frozen."""

    code = "not_frozen"


class GuardianIsFreezer(Conflict):
    """What a guardian froze is unfrozen by another one."""

    code = "guardian_is_freezer"


class SplitRejected(Conflict):
    """The split was rejected, so nothing can be returned from it."""

    code = "split_rejected"


class LeafCount(Conflict):
    """The return does not name one amount per leaf of the split."""

    code = "leaf_count"


class TooManyInstructions(Conflict):
    """The order has as many instructions as it can have."""

    code = "too_many_instructions"


class NoSigningKey(Conflict):
    """The request is not signed, and the keystore has no key that could sign it."""

    code = "no_signing_key"


class AuthorizationMixed(Conflict):
    """Some instructions of a signed request are accepted already, so the signature cannot stand for all of them."""

    code = "authorization_mixed"


class AuthorizationExpired(Conflict):
    """The deadline of the authorization has passed, or is too near for it to reach the chain."""

    code = "deadline_passed"


class NonceTaken(Conflict):
    """The nonce belongs to another authorization of this signer."""

    code = "nonce_used"


class AuthorizationTooLarge(Conflict):
    """One signature holds more than fits one transaction."""

    code = "authorization_too_large"


class SignatureRefused(FenzhangError):
    """The signature is not the signer's for this content, chain and contract."""

    code = "invalid_signature"


class ReturnNotFirst(InvalidInput):
    """A signed request has a return or refund behind another instruction of its order, which could not settle."""

    code = "return_not_first"


class GivenCount(InvalidInput):
    """The split does not give one amount per GIVEN leg of its rule."""

    code = "given_count"


class GivenOutOfBounds(InvalidInput):
    """A given amount is not within what the rule lets its leg take."""

    code = "given_out_of_bounds"


class DeadlineNotAhead(InvalidInput):
    """The deadline of the condition is not ahead."""

    code = "deadline_passed"


class HoldBeyondExpiry(InvalidInput):
    """The order would expire before its hold ends."""

    code = "hold_beyond_expiry"


class ShareOutAboveCap(InvalidInput):
    """This split alone gives others than the order's merchant more than the cap of the rule or platform allows."""

    code = "share_out_above_cap"


class LegExceedsRemaining(InvalidInput):
    """With these given amounts a leg of the rule would take more than remains of its pool."""

    code = "leg_exceeds_remaining"


class AuthorizationMissing(InvalidInput):
    """A signed request has instructions that none of its signatures covers, or a signature that covers nothing."""

    code = "authorization_missing"
