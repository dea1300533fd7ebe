"""Errors as types: one class per reason, each with a stable `code` that the API and the records show.

A class that mirrors a contract's custom error carries that error's name in `contract_error` and its values, in the
order of the Solidity declaration, in `values`. The reason a record was rejected is therefore the same thing on
chain, in the database and in an HTTP answer.
"""

from __future__ import annotations

from typing import ClassVar


class FenzhangError(Exception):
    """Anything fenzhang refuses or cannot do, with a stable code and the offending values by name."""

    code: ClassVar[str] = "error"
    """Stable, lower-case name of the reason. Never changes once published."""
    contract_error: ClassVar[str | None] = None
    """Name of the Solidity custom error that says the same, if there is one."""

    def __init__(self, message: str, **values: object) -> None:
        super().__init__(message)
        self.message = message
        self.values = values


class InvalidInput(FenzhangError):
    """A value is malformed whatever the state of the world. `field` names it."""

    code = "invalid_input"

    def __init__(self, field: str, message: str, **values: object) -> None:
        super().__init__(f"{field}: {message}", field=field, **values)
        self.field = field


class InvalidReference(InvalidInput):
    """A client's reference has forbidden characters, or is empty or too long."""

    code = "invalid_reference"


class InvalidAmount(InvalidInput):
    """An amount is not a whole number of minor units within the limits."""

    code = "invalid_amount"


class UnknownCurrency(InvalidInput):
    """Not an ISO 4217 letter code that is in use."""

    code = "unknown_currency"


class InvalidRule(FenzhangError):
    """The legs do not form a rule; `leg` is the index of the first offending leg, -1 for the tree as a whole."""

    code = "invalid_rule"

    def __init__(self, leg: int, message: str) -> None:
        super().__init__(f"leg {leg}: {message}" if leg >= 0 else message, leg=leg)
        self.leg = leg


class InvalidSchedule(FenzhangError):
    """The entries do not form a schedule; `entry` is the index of the first offending one, -1 for all together."""

    code = "invalid_schedule"

    def __init__(self, entry: int, message: str) -> None:
        super().__init__(f"entry {entry}: {message}" if entry >= 0 else message, entry=entry)
        self.entry = entry


class Rejection(FenzhangError):
    """A reason for which the chain refuses an instruction or authorization. Subclasses mirror SplitLedger's errors."""

    code = "rejected"
    fields: ClassVar[tuple[str, ...]] = ()
    """Names of the Solidity error's arguments, in declaration order."""

    def __init__(self, *args: object) -> None:
        if len(args) != len(self.fields):
            raise TypeError(f"{type(self).__name__} takes {self.fields}")
        values = dict(zip(self.fields, args, strict=True))
        shown = ", ".join(f"{name} {_show(value)}" for name, value in values.items())
        summary = (type(self).__doc__ or self.code).strip().splitlines()[0].rstrip(".")
        super().__init__(f"{summary} ({shown})" if shown else summary, **values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rejection) and type(self) is type(other) and self.values == other.values

    def __hash__(self) -> int:
        return hash((type(self), tuple(self.values.items())))


def _show(value: object) -> str:
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)


class InvalidSignature(Rejection):
    """The signature is not the signer's."""

    code = "invalid_signature"
    contract_error = "SplitLedger_InvalidSignature"
    fields = ("signer",)


class DeadlinePassed(Rejection):
    """The authorization's deadline has passed."""

    code = "deadline_passed"
    contract_error = "SplitLedger_DeadlinePassed"
    fields = ("deadline", "timestamp")


class NonceUsed(Rejection):
    """An authorization with this nonce has already taken effect."""

    code = "nonce_used"
    contract_error = "SplitLedger_NonceUsed"
    fields = ("nonce",)


class NotAttestor(Rejection):
    """The signer of a capture is not an attestor."""

    code = "not_attestor"
    contract_error = "SplitLedger_NotAttestor"
    fields = ("attestor",)


class PlatformNotActive(Rejection):
    """The platform is not an active participant with an authority."""

    code = "platform_not_active"
    contract_error = "SplitLedger_PlatformNotActive"
    fields = ("platform",)


class EmptyAuthorization(Rejection):
    """The authorization lists nothing."""

    code = "empty_authorization"
    contract_error = "SplitLedger_EmptyAuthorization"
    fields = ("nonce",)


class ZeroAmount(Rejection):
    """The amount is zero."""

    code = "zero_amount"
    contract_error = "SplitLedger_ZeroAmount"


class AmountAboveLimit(Rejection):
    """The amount is above the limit of one capture."""

    code = "amount_above_limit"
    contract_error = "SplitLedger_AmountAboveLimit"
    fields = ("amount", "limit")


class CurrencyNotEnabled(Rejection):
    """The currency is not open for captures."""

    code = "currency_not_enabled"
    contract_error = "SplitLedger_CurrencyNotEnabled"
    fields = ("currency",)


class OrderAlreadyCaptured(Rejection):
    """The order has already been captured."""

    code = "order_already_captured"
    contract_error = "SplitLedger_OrderAlreadyCaptured"
    fields = ("order_id",)


class RuleNotInForce(Rejection):
    """The rule version is not in force (unknown, not approved, not yet effective, superseded or retired)."""

    code = "rule_not_in_force"
    contract_error = "SplitLedger_RuleNotInForce"
    fields = ("rule_id", "version", "state")


class RuleNotSelected(Rejection):
    """The platform's schedule selects another rule for the order."""

    code = "rule_not_selected"
    contract_error = "SplitLedger_RuleNotSelected"
    fields = ("rule_id", "selected")


class BindingCount(Rejection):
    """The number of bindings is not the number of roles."""

    code = "binding_count"
    contract_error = "SplitLedger_BindingCount"
    fields = ("count", "expected")


class RecipientNotActive(Rejection):
    """A recipient is not an active participant."""

    code = "recipient_not_active"
    contract_error = "SplitLedger_RecipientNotActive"
    fields = ("recipient",)


class RecipientNotConsented(Rejection):
    """A recipient has not agreed to receive from the platform."""

    code = "recipient_not_consented"
    contract_error = "SplitLedger_RecipientNotConsented"
    fields = ("recipient", "platform")


class HoldBeyondExpiry(Rejection):
    """The order would expire before its hold ends."""

    code = "hold_beyond_expiry"
    contract_error = "SplitLedger_HoldBeyondExpiry"
    fields = ("hold_until", "expires_at")


class UnknownOrder(Rejection):
    """The order has not been captured."""

    code = "unknown_order"
    contract_error = "SplitLedger_UnknownOrder"
    fields = ("order_id",)


class NotOrderPlatform(Rejection):
    """The order belongs to another platform."""

    code = "not_order_platform"
    contract_error = "SplitLedger_NotOrderPlatform"
    fields = ("order_id", "platform")


class MalformedInstruction(Rejection):
    """The instruction has fields that its kind does not use, or lacks some."""

    code = "malformed_instruction"
    contract_error = "SplitLedger_MalformedInstruction"
    fields = ("id",)


class InsufficientHeld(Rejection):
    """The split is larger than what the order still holds."""

    code = "insufficient_held"
    contract_error = "SplitLedger_InsufficientHeld"
    fields = ("order_id", "amount", "held")


class ShareOutAboveCap(Rejection):
    """The split gives others than the order's merchant more than the cap of the rule or platform still allows."""

    code = "share_out_above_cap"
    contract_error = "SplitLedger_ShareOutAboveCap"
    fields = ("order_id", "leaving", "left")


class RoleNotBound(Rejection):
    """A role of the rule is bound to nobody."""

    code = "role_not_bound"
    contract_error = "SplitLedger_RoleNotBound"
    fields = ("role",)


class RoleAlreadyBound(Rejection):
    """The split binds a role that the order has bound to somebody else."""

    code = "role_already_bound"
    contract_error = "SplitLedger_RoleAlreadyBound"
    fields = ("role", "recipient")


class LegExceedsRemaining(Rejection):
    """A leg would take more than what remains of its pool."""

    code = "leg_exceeds_remaining"
    contract_error = "SplitLedger_LegExceedsRemaining"
    fields = ("leg", "taken", "remaining")

    leg: int

    def __init__(self, leg: int, taken: int, remaining: int) -> None:
        super().__init__(leg, taken, remaining)
        self.leg = leg


class GivenCount(Rejection):
    """The split does not give one amount per GIVEN leg of its rule."""

    code = "given_count"
    contract_error = "SplitLedger_GivenCount"
    fields = ("count", "expected")


class GivenOutOfBounds(Rejection):
    """A given amount is not within what the rule lets its leg take."""

    code = "given_out_of_bounds"
    contract_error = "SplitLedger_GivenOutOfBounds"
    fields = ("leg", "amount", "least", "most")

    leg: int

    def __init__(self, leg: int, amount: int, least: int, most: int) -> None:
        super().__init__(leg, amount, least, most)
        self.leg = leg


class NothingHeld(Rejection):
    """The order holds nothing that could be released."""

    code = "nothing_held"
    contract_error = "SplitLedger_NothingHeld"
    fields = ("order_id",)


class OnHold(Rejection):
    """Nothing may be done on the order yet."""

    code = "on_hold"
    contract_error = "SplitLedger_OnHold"
    fields = ("order_id", "hold_until")


class OrderExpired(Rejection):
    """The order has expired and is not split any more."""

    code = "order_expired"
    contract_error = "SplitLedger_OrderExpired"
    fields = ("order_id", "expires_at")


class UnknownCondition(Rejection):
    """The platform has opened no such condition."""

    code = "unknown_condition"
    contract_error = "SplitLedger_UnknownCondition"
    fields = ("condition",)


class ConditionOpen(Rejection):
    """The order's condition is neither reached nor missed. An authorization waits for it: the chain skips it."""

    code = "condition_open"
    contract_error = "SplitLedger_ConditionOpen"
    fields = ("order_id", "condition")


class ConditionMissed(Rejection):
    """The order's condition was missed: what it holds is its buyer's."""

    code = "condition_missed"
    contract_error = "SplitLedger_ConditionMissed"
    fields = ("order_id", "condition")


class OrderFrozen(Rejection):
    """A guardian has frozen the order."""

    code = "order_frozen"
    contract_error = "SplitLedger_OrderFrozen"
    fields = ("order_id",)


class SplitFrozen(Rejection):
    """A guardian has frozen the split."""

    code = "split_frozen"
    contract_error = "SplitLedger_SplitFrozen"
    fields = ("order_id", "split_id")


class ParticipantFrozen(Rejection):
    """A guardian has frozen the participant."""

    code = "participant_frozen"
    contract_error = "SplitLedger_ParticipantFrozen"
    fields = ("participant",)


class OrderNotExpired(Rejection):
    """The order has not expired."""

    code = "order_not_expired"
    contract_error = "SplitLedger_OrderNotExpired"
    fields = ("order_id", "expires_at")


class OutdatedWitness(Rejection):
    """The witness is not of the order as it is now."""

    code = "outdated_witness"
    contract_error = "SplitLedger_OutdatedWitness"
    fields = ("order_id",)


class ReturnNotFirst(Rejection):
    """A return or refund stands behind another instruction of the same order in one authorization."""

    code = "return_not_first"
    contract_error = "SplitLedger_ReturnNotFirst"
    fields = ("order_id",)


class UnknownSplit(Rejection):
    """The order has no such settled split."""

    code = "unknown_split"
    contract_error = "SplitLedger_UnknownSplit"
    fields = ("order_id", "split_id")


class InsufficientReturnable(Rejection):
    """The return is larger than what the split still has to give back."""

    code = "insufficient_returnable"
    contract_error = "SplitLedger_InsufficientReturnable"
    fields = ("split_id", "amount", "returnable")


class LeafNotReturnable(Rejection):
    """The return takes more from a leaf than it still has to give back."""

    code = "leaf_not_returnable"
    contract_error = "SplitLedger_LeafNotReturnable"
    fields = ("split_id", "leaf", "amount", "returnable")


class InsufficientRefundable(Rejection):
    """The refund is larger than what the order holds and its leaves still have to give back."""

    code = "insufficient_refundable"
    contract_error = "SplitLedger_InsufficientRefundable"
    fields = ("order_id", "amount", "refundable")


class InsufficientPosition(Rejection):
    """The recipient's position does not cover what it must give back, and the rule lets nobody owe."""

    code = "insufficient_position"
    contract_error = "SplitLedger_InsufficientPosition"
    fields = ("recipient", "amount", "position")


class NothingParked(Rejection):
    """Nothing waits for the participant in this currency."""

    code = "nothing_parked"
    contract_error = "SplitLedger_NothingParked"
    fields = ("currency", "participant")


def _rejections(base: type[Rejection]) -> dict[str, type[Rejection]]:
    return {cls.contract_error: cls for cls in base.__subclasses__() if cls.contract_error}


REJECTIONS: dict[str, type[Rejection]] = _rejections(Rejection)
"""Solidity error name to its Python class."""
