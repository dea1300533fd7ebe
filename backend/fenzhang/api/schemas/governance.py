"""Requests about who takes part and by which rules."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from fenzhang.api.schemas.constraints import examples, needs
from fenzhang.api.schemas.settlement import FactsBody
from fenzhang.api.types import (
    Address,
    Amount,
    Bindings,
    Currency,
    GivenAmounts,
    HexId,
    LeafAmount,
    Model,
    ParticipantName,
    Reference,
    RoleName,
    SignatureBytes,
    Timestamp,
    Version,
)
from fenzhang.domain.rules import BASIS_POINTS, MAX_LEGS, Leg, LegKind, RuleTerms
from fenzhang.intake.actor import Scope
from fenzhang.intake.conditions import ConditionRequest
from fenzhang.intake.freezes import FreezeRequest
from fenzhang.intake.rules import NamedLeg

LEGS_EXAMPLE: list[dict[str, Any]] = [
    {"parent": -1, "kind": "SHARE", "value": 500, "min": 10, "max": 20000, "role": "platform"},
    {"parent": -1, "kind": "FIXED", "value": 300, "role": "logistics"},
    {"parent": -1, "kind": "SHARE", "value": 200, "role": "promoter"},
    {"parent": -1, "kind": "REMAINDER", "role": "merchant"},
]

CONTENT_HASH_EXAMPLE = "0x6f4c2b1e0d9a8877665544332211ffeeddccbbaa99887766554433221100abcd"


class AppBody(Model):
    """A new API client. An app with the scope `platform` belongs to one."""

    model_config = examples(
        {"name": "mall-backend", "scopes": ["platform"], "platform": "mall"},
        oneOf=[
            {
                "required": ["platform"],
                "properties": {"platform": {"type": "string"}, "scopes": {"contains": {"const": "platform"}}},
            },
            {
                "properties": {
                    "platform": {"type": "null"},
                    "scopes": {"not": {"contains": {"const": "platform"}}},
                }
            },
        ],
    )
    name: Reference
    scopes: Annotated[
        list[Literal["operator", "platform", "approver", "guardian", "auditor"]],
        Field(min_length=1, max_length=5),
    ]
    platform: Reference | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if ("platform" in self.scopes) != (self.platform is not None):
            raise ValueError("platform is named exactly when the scope platform is asked for")
        return self

    def granted(self) -> list[Scope]:
        """The scopes, each once, in a fixed order."""
        return sorted({Scope(scope) for scope in self.scopes})


class PlatformBody(Model):
    """A new platform, which signs with its own `authority`, or with a key made into the keystore."""

    model_config = examples(
        {"out_participant_no": "haitao", "generate_key": True},
        oneOf=[
            {
                "required": ["authority"],
                "properties": {"authority": {"type": "string"}, "generate_key": {"const": False}},
            },
            {
                "required": ["generate_key"],
                "properties": {"generate_key": {"const": True}, "authority": {"type": "null"}},
            },
        ],
    )
    out_participant_no: Reference
    authority: Address | None = None
    generate_key: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.generate_key == (self.authority is not None):
            raise ValueError("give either authority or generate_key")
        return self


class ParticipantBody(Model):
    """A new participant that agreed to receive from the platform."""

    model_config = examples({"out_participant_no": "merchant-002"})
    out_participant_no: Reference


class FreezeBody(Model):
    """What to freeze or unfreeze: an order, a split of an order, or a participant, of a platform."""

    model_config = examples(
        {
            "out_request_no": "case-17",
            "platform": "mall",
            "reason": "buyer-dispute",
            "out_participant_no": "promoter-001",
        },
        oneOf=[
            {
                "required": ["out_order_no"],
                "properties": {"out_order_no": {"type": "string"}, "out_participant_no": {"type": "null"}},
            },
            {
                "required": ["out_participant_no"],
                "properties": {
                    "out_participant_no": {"type": "string"},
                    "out_order_no": {"type": "null"},
                    "out_split_no": {"type": "null"},
                },
            },
        ],
    )
    out_request_no: Reference
    platform: Reference
    reason: Annotated[str, Field(pattern="^[a-z0-9_-]{1,32}$")]
    out_order_no: Reference | None = None
    out_split_no: Reference | None = None
    """With `out_order_no`: this split of the order, and not the order."""
    out_participant_no: ParticipantName | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.out_order_no is None) == (self.out_participant_no is None):
            raise ValueError("name either an order or a participant")
        if self.out_split_no is not None and self.out_order_no is None:
            raise ValueError("a split is named with its order")
        return self

    def request(self, *, frozen: bool) -> FreezeRequest:
        """What intake accepts."""
        return FreezeRequest(
            reference=self.out_request_no,
            frozen=frozen,
            reason=self.reason,
            order=self.out_order_no,
            split=self.out_split_no,
            participant=self.out_participant_no,
        )


class ConsentBody(Model):
    """Whether a participant agrees to receive from the platform from now on."""

    model_config = examples({"out_request_no": "consent-000001", "granted": False})
    out_request_no: Reference
    granted: bool


class ConditionBody(Model):
    """What orders are to wait for, until `deadline`: so many of them captured, a confirmation, or both.

    `confirmer` is a participant with an authority of its own. A `signature` is the platform authority's over Condition.
    """

    model_config = examples(
        {"out_condition_no": "group-20261122-1", "needed": 3, "deadline": 4102444800},
        {"out_condition_no": "delivery-000001", "confirmer": "shop", "deadline": 4102444800},
        anyOf=[
            {"required": ["needed"], "properties": {"needed": {"minimum": 1}}},
            {"required": ["confirmer"], "properties": {"confirmer": {"type": "string"}}},
        ],
    )
    out_condition_no: Reference
    needed: Annotated[int, Field(ge=0, le=2**32 - 1, description="Captured orders; 0 for none.")] = 0
    deadline: Timestamp
    confirmer: ParticipantName | None = None
    signature: SignatureBytes | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.needed and self.confirmer is None:
            raise ValueError("a condition needs orders or a confirmer")
        return self

    def request(self) -> ConditionRequest:
        """What intake accepts."""
        return ConditionRequest(
            reference=self.out_condition_no,
            needed=self.needed,
            deadline=self.deadline,
            confirmer=self.confirmer,
            signature=self.signature,
        )


class ConfirmationBody(Model):
    """Confirm a condition of `platform`. The `signature` is its confirmer's over Confirmation.

    The confirmer's own app may leave it out: then the keystore key of the confirmer signs.
    """

    model_config = examples({"out_request_no": "delivered-000001", "platform": "mall"})
    out_request_no: Reference
    platform: Reference
    signature: SignatureBytes | None = None


class CapBody(Model):
    """Basis points of an order's captured amount that a platform's splits may give to others; 0 lifts the cap."""

    model_config = examples({"out_request_no": "cap-000001", "max_share_out": 3000})
    out_request_no: Reference
    max_share_out: Annotated[int, Field(ge=0, le=BASIS_POINTS)]


class HeirBody(Model):
    """Who gets what waits for a closed participant of a platform."""

    model_config = examples(
        {
            "out_request_no": "heir-000001",
            "platform": "mall-001",
            "out_participant_no": "promoter-001",
            "out_heir_no": "merchant-001",
        }
    )
    out_request_no: Reference
    platform: Reference
    out_participant_no: ParticipantName
    out_heir_no: ParticipantName


class ResolutionBody(Model):
    """For whom what waits in a currency is to be given out."""

    model_config = examples(
        {"out_request_no": "resolve-000001", "out_participant_no": "promoter-001", "currency": "CNY"}
    )
    out_request_no: Reference
    out_participant_no: ParticipantName
    currency: Currency


class RequestBody(Model):
    """A change that needs no more than the client's own reference for it."""

    model_config = examples({"out_request_no": "request-000001"})
    out_request_no: Reference


class PlaceBody(Model):
    """Below whom a participant is to stand; null is at the top."""

    model_config = examples({"out_request_no": "place-000001", "out_parent_no": "merchant-001"})
    out_request_no: Reference
    out_parent_no: ParticipantName | None


class LegBody(Model):
    """One leg of a rule. Amounts are minor units; the `value` of a SHARE is basis points.

    A GIVEN leg takes what the split gives it: from `min` to `max`, and at most `value` basis points of its pool.
    """

    parent: Annotated[int, Field(ge=-1, lt=MAX_LEGS, description="Index of an earlier leg; -1 is the root.")]
    kind: Literal["FIXED", "SHARE", "REMAINDER", "GIVEN"]
    value: LeafAmount = 0
    min: LeafAmount = 0
    max: LeafAmount = 0
    recipient: ParticipantName | None = None
    role: RoleName | None = None

    def named(self) -> NamedLeg:
        """What intake takes."""
        leg = Leg(
            parent=self.parent,
            kind=LegKind[self.kind],
            value=self.value,
            min=self.min,
            max=self.max,
            role=self.role,
        )
        return NamedLeg(leg, self.recipient)


Legs = Annotated[list[LegBody], Field(min_length=1, max_length=MAX_LEGS)]


class TermsBody(Model):
    """What a version says beside its legs.

    `max_share_out`: basis points of an order's captured amount that its splits may give to others than its merchant;
    0 means no cap. `may_owe`: a return may make a recipient's position negative. `park`: shares of recipients that are
    suspended or closed wait in suspense positions; without it such splits are rejected.
    """

    max_share_out: Annotated[int, Field(ge=0, le=BASIS_POINTS)] = 0
    may_owe: bool = False
    park: bool = False

    def terms(self) -> RuleTerms:
        """What intake takes."""
        return RuleTerms(max_share_out=self.max_share_out, may_owe=self.may_owe, park=self.park)


class RuleBody(Model):
    """Propose a rule version. A `signature` is the authority's EIP-712 signature over RuleProposal.

    Left out, `version` is the next one and `effective_from` the moment of approval; a signed proposal names both.
    """

    model_config = examples(
        {"out_request_no": "propose-group-buy", "out_rule_no": "group-buy", "legs": LEGS_EXAMPLE},
        **needs("signature", "version", "effective_from"),
    )
    out_request_no: Reference
    out_rule_no: Reference
    legs: Legs
    terms: TermsBody = Field(default_factory=TermsBody)
    version: Version | None = None
    effective_from: Timestamp | None = None
    signature: SignatureBytes | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.signature is not None and None in {self.version, self.effective_from}:
            raise ValueError("a signed proposal names version and effective_from")
        return self


class ApprovalBody(Model):
    """Approve exactly the content that `content_hash` names."""

    model_config = examples(
        {"out_request_no": "approve-000001", "platform": "mall", "content_hash": CONTENT_HASH_EXAMPLE}
    )
    out_request_no: Reference
    platform: Reference
    content_hash: HexId


class VetoBody(Model):
    """Veto exactly the content that `content_hash` names, for the reason that `reason_code` stands for on the chain."""

    model_config = examples(
        {
            "out_request_no": "veto-000001",
            "platform": "mall",
            "content_hash": CONTENT_HASH_EXAMPLE,
            "reason_code": "share_too_high",
        }
    )
    out_request_no: Reference
    platform: Reference
    content_hash: HexId
    reason_code: RoleName


class RetirementBody(Model):
    """Retire a rule for new orders, for ever. A `signature` is the authority's over RuleRetirement."""

    model_config = examples({"out_request_no": "retire-retail-standard"})
    out_request_no: Reference
    signature: SignatureBytes | None = None


_NO_SCHEDULE = {"currency": {"type": "null"}, "facts": {"type": "null"}}
"""Quotes that do not ask the schedule."""


class QuoteBody(Model):
    """A dry run: an order, a version of a rule, or any legs, on an amount. `bindings` add who would receive what.

    With a `currency` in place of these, it is of the rule that the platform's schedule selects now for an order with
    this amount and these `facts`.
    `given` is what the split would give GIVEN legs, in leg order; without it, the answer says what it may give.
    """

    model_config = examples(
        {"out_rule_no": "retail-standard", "amount": 9900},
        {
            "legs": [
                {"parent": -1, "kind": "SHARE", "value": 500},
                {"parent": -1, "kind": "REMAINDER"},
            ],
            "amount": 99,
        },
        {"out_order_no": "order-000001", "amount": 9900},
        {"currency": "CNY", "facts": {"category": "tea"}, "amount": 9900},
        oneOf=[
            {
                "required": ["out_rule_no"],
                "properties": {
                    "out_rule_no": {"type": "string"},
                    "legs": {"type": "null"},
                    "out_order_no": {"type": "null"},
                    **_NO_SCHEDULE,
                },
            },
            {
                "required": ["legs"],
                "properties": {
                    "legs": {"type": "array"},
                    "out_rule_no": {"type": "null"},
                    "version": {"type": "null"},
                    "out_order_no": {"type": "null"},
                    **_NO_SCHEDULE,
                },
            },
            {
                "required": ["out_order_no"],
                "properties": {
                    "out_order_no": {"type": "string"},
                    "out_rule_no": {"type": "null"},
                    "version": {"type": "null"},
                    "legs": {"type": "null"},
                    **_NO_SCHEDULE,
                },
            },
            {
                "required": ["currency"],
                "properties": {
                    "currency": {"type": "string"},
                    "out_order_no": {"type": "null"},
                    "out_rule_no": {"type": "null"},
                    "version": {"type": "null"},
                    "legs": {"type": "null"},
                },
            },
        ],
    )
    amount: Amount
    out_rule_no: Reference | None = None
    version: Version | None = None
    legs: Legs | None = None
    out_order_no: Reference | None = None
    currency: Currency | None = None
    facts: FactsBody | None = None
    bindings: Bindings = Field(default_factory=dict)
    given: GivenAmounts | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        alternatives = (self.out_rule_no, self.legs, self.out_order_no, self.currency)
        if alternatives.count(None) != len(alternatives) - 1:
            raise ValueError("give one of out_rule_no, legs, out_order_no and currency")
        if self.facts is not None and self.currency is None:
            raise ValueError("only a schedule looks at facts: give a currency and no rule")
        if self.version is not None and self.out_rule_no is None:
            raise ValueError("only a rule has versions")
        return self
