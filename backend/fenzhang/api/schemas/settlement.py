"""Requests that money follows: captures, splits, releases, returns, refunds, and batches of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, GetJsonSchemaHandler, TypeAdapter, ValidationError, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from fenzhang.api.errors import RequestInvalid
from fenzhang.api.problems import field_errors
from fenzhang.api.schemas.constraints import exactly_one, examples, needs
from fenzhang.api.types import (
    Address,
    Amount,
    Bindings,
    Currency,
    FactCode,
    GivenAmounts,
    LeafAmount,
    Model,
    Nonce,
    ParticipantName,
    Reference,
    SignatureBytes,
    Timestamp,
    Version,
)
from fenzhang.domain.errors import FenzhangError, InvalidAmount, InvalidInput
from fenzhang.domain.facts import FACTS, NO_FACTS, Facts
from fenzhang.domain.money import check_amount
from fenzhang.domain.rules import MAX_LEAVES
from fenzhang.intake.channels import check_channel
from fenzhang.intake.limits import MAX_BATCH
from fenzhang.intake.requests import (
    CaptureRequest,
    ClientSignature,
    RefundRequest,
    ReleaseRequest,
    ReturnRequest,
    SettlementRequest,
    SplitRequest,
)

ORDER_EXAMPLE = {
    "out_order_no": "mall-20261111-000001",
    "out_rule_no": "retail-standard",
    "merchant": "merchant-001",
    "currency": "CNY",
    "amount": 9900,
    "channel": "bank-gateway",
    "bindings": {
        "platform": "mall",
        "logistics": "logistics-001",
        "promoter": "promoter-001",
        "merchant": "merchant-001",
    },
}
SPLIT_EXAMPLE = {
    "out_split_no": "mall-20261111-000001-S1",
    "out_order_no": "mall-20261111-000001",
    "amount": 6600,
}
RELEASE_EXAMPLE = {"out_release_no": "mall-20261111-000001-R1", "out_order_no": "mall-20261111-000001"}
RETURN_EXAMPLE = {
    "out_return_no": "mall-20261111-000001-B1",
    "out_split_no": "mall-20261111-000001-S1",
    "amount": 1200,
}
REFUND_EXAMPLE = {
    "out_refund_no": "mall-20261111-000001-F1",
    "out_order_no": "mall-20261111-000001",
    "amount": 4500,
}


# ------------------------------------------------------------------------------ signatures


class AuthorizationBody(Model):
    """The platform authority's EIP-712 signature over all instructions of the request, in order."""

    nonce: Nonce
    deadline: Timestamp
    signature: SignatureBytes

    def signature_given(self) -> ClientSignature:
        """What intake verifies."""
        return ClientSignature(nonce=self.nonce, deadline=self.deadline, signature=self.signature)


class AttestationBody(Model):
    """An attestor's EIP-712 signature over all captures of the request, in order."""

    attestor: Address
    nonce: Nonce
    deadline: Timestamp
    signature: SignatureBytes

    def signature_given(self, field: str) -> ClientSignature:
        """What intake verifies, from this field of a request."""
        return ClientSignature(
            nonce=self.nonce,
            deadline=self.deadline,
            signature=self.signature,
            attestor=self.attestor,
            field=field,
        )


# ------------------------------------------------------------------------------ items


class FactsBody(Model):
    """What the platform states about an order for its schedule to look at. What is left out states nothing."""

    model_config = examples({"promotion": "618", "category": "tea"})
    promotion: FactCode | None = None
    category: FactCode | None = None
    member_tier: FactCode | None = None
    channel: FactCode | None = None

    def facts(self) -> Facts:
        """What intake takes."""
        return Facts(**{name: getattr(self, name) or "" for name in FACTS})


class OrderItem(Model):
    """Capture an order: its money was received through `channel`, and is split by this rule and these bindings.

    While the platform has a schedule in force, the schedule says by which rule, and `out_rule_no` may be left out.
    """

    model_config = examples(ORDER_EXAMPLE, **needs("rule_version", "out_rule_no"))
    out_order_no: Reference
    out_rule_no: Reference | None = None
    rule_version: Version | None = None
    """The version in force when left out."""
    merchant: ParticipantName
    currency: Currency
    amount: Amount
    channel: Literal["alipay", "bank-gateway", "sandbox", "unionpay", "wechat"]
    bindings: Bindings = Field(default_factory=dict)
    hold_until: Timestamp = 0
    """Nothing may be done on the order before this time; 0 for none."""
    expires_at: Timestamp = 0
    """What the order still holds at this time is released to its merchant; 0 for never."""
    condition_no: Reference | None = None
    """A condition of the platform: the order is not split or released before it is reached, and refunded if missed."""
    facts: FactsBody | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.rule_version is not None and self.out_rule_no is None:
            raise ValueError("a version is named with its rule")
        return self

    def request(self) -> CaptureRequest:
        """What intake accepts."""
        return CaptureRequest(
            reference=self.out_order_no,
            rule=self.out_rule_no,
            rule_version=self.rule_version,
            merchant=self.merchant,
            currency=self.currency,
            amount=self.amount,
            channel=check_channel("channel", self.channel),
            bindings=self.bindings,
            hold_until=self.hold_until,
            expires_at=self.expires_at,
            condition=self.condition_no,
            facts=NO_FACTS if self.facts is None else self.facts.facts(),
        )


class SplitItem(Model):
    """Split an amount of an order by its rule version; `bindings` fill roles that the order left open.

    `given` says what each GIVEN leg of the rule takes, in leg order; rules without such legs take none.
    """

    model_config = examples(SPLIT_EXAMPLE)
    out_split_no: Reference
    out_order_no: Reference
    amount: Amount
    currency: Currency | None = None
    bindings: Bindings = Field(default_factory=dict)
    given: GivenAmounts | None = None

    def request(self) -> SplitRequest:
        """What intake accepts."""
        return SplitRequest(
            reference=self.out_split_no,
            order=self.out_order_no,
            amount=self.amount,
            currency=self.currency,
            bindings=self.bindings,
            given=tuple(self.given or ()),
        )


class ReleaseItem(Model):
    """Close an order: what it still holds goes to its merchant."""

    model_config = examples(RELEASE_EXAMPLE)
    out_release_no: Reference
    out_order_no: Reference

    def request(self) -> ReleaseRequest:
        """What intake accepts."""
        return ReleaseRequest(reference=self.out_release_no, order=self.out_order_no)


class ReturnItem(Model):
    """Take an amount back from a split: `amount` from its leaves in proportion, or `amounts`, one per leaf."""

    model_config = examples(RETURN_EXAMPLE, **exactly_one("amount", "amounts"))
    out_return_no: Reference
    out_split_no: Reference
    amount: Amount | None = None
    currency: Currency | None = None
    amounts: Annotated[list[LeafAmount], Field(min_length=1, max_length=MAX_LEAVES)] | None = None

    def request(self) -> ReturnRequest:
        """What intake accepts. Raises InvalidAmount for amounts that do not sum to the amount beside them."""
        amount = sum(self.amounts) if self.amounts is not None else self.amount
        if self.amount not in {None, amount}:
            raise InvalidAmount("amounts", "they must sum to amount", sum=amount)
        return ReturnRequest(
            reference=self.out_return_no,
            split=self.out_split_no,
            amount=check_amount("amount" if self.amounts is None else "amounts", amount),
            currency=self.currency,
            amounts=None if self.amounts is None else tuple(self.amounts),
        )


class RefundItem(Model):
    """Give an amount of an order back to its buyer: from what it holds, then in proportion from all that it gave."""

    model_config = examples(REFUND_EXAMPLE)
    out_refund_no: Reference
    out_order_no: Reference
    amount: Amount
    currency: Currency | None = None

    def request(self) -> RefundRequest:
        """What intake accepts."""
        return RefundRequest(
            reference=self.out_refund_no,
            order=self.out_order_no,
            amount=self.amount,
            currency=self.currency,
        )


class TypedOrderItem(OrderItem):
    """A capture in a mixed batch."""

    model_config = examples({"type": "CAPTURE", **ORDER_EXAMPLE}, **needs("rule_version", "out_rule_no"))
    type: Literal["CAPTURE"]


class TypedSplitItem(SplitItem):
    """A split in a mixed batch."""

    model_config = examples({"type": "SPLIT", **SPLIT_EXAMPLE})
    type: Literal["SPLIT"]


class TypedReleaseItem(ReleaseItem):
    """A release in a mixed batch."""

    model_config = examples({"type": "RELEASE", **RELEASE_EXAMPLE})
    type: Literal["RELEASE"]


class TypedReturnItem(ReturnItem):
    """A return in a mixed batch."""

    model_config = examples({"type": "RETURN", **RETURN_EXAMPLE})
    type: Literal["RETURN"]


class TypedRefundItem(RefundItem):
    """A refund in a mixed batch."""

    model_config = examples({"type": "REFUND", **REFUND_EXAMPLE})
    type: Literal["REFUND"]


TypedItem = Annotated[
    TypedOrderItem | TypedSplitItem | TypedReleaseItem | TypedReturnItem | TypedRefundItem,
    Field(discriminator="type"),
]
AnyItem = OrderItem | SplitItem | ReleaseItem | ReturnItem | RefundItem


# ------------------------------------------------------------------------------ single requests


class OrderBody(OrderItem):
    """An order; without `authorization` the keystore's attestor key signs the capture."""

    authorization: AttestationBody | None = None


class SplitBody(SplitItem):
    """A split; without `authorization` the platform's key in the keystore signs it."""

    authorization: AuthorizationBody | None = None


class ReleaseBody(ReleaseItem):
    """A release; without `authorization` the platform's key in the keystore signs it."""

    authorization: AuthorizationBody | None = None


class ReturnBody(ReturnItem):
    """A return; without `authorization` the platform's key in the keystore signs it."""

    authorization: AuthorizationBody | None = None


class RefundBody(RefundItem):
    """A refund; without `authorization` the platform's key in the keystore signs it."""

    authorization: AuthorizationBody | None = None


# ------------------------------------------------------------------------------ batches


class _Lenient:
    """An item of a batch: documented as `item`, and looked at one by one, so that neighbours do not suffer."""

    def __init__(self, item: Any) -> None:
        self.adapter: TypeAdapter[AnyItem] = TypeAdapter(item)

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> CoreSchema:
        return core_schema.any_schema()

    def __get_pydantic_json_schema__(
        self, _schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [handler(self.adapter.core_schema), {}]}


_ORDER = _Lenient(OrderItem)
_SPLIT = _Lenient(SplitItem)
_TYPED = _Lenient(TypedItem)
_Limits = Field(min_length=1, max_length=MAX_BATCH)


class OrderBatch(Model):
    """Up to 1,000 orders; each is answered by itself. With `authorization` it is all or nothing."""

    model_config = examples({"items": [ORDER_EXAMPLE]})
    items: Annotated[list[Annotated[Any, _ORDER]], _Limits]
    authorization: AttestationBody | None = None

    def requests(self) -> list[SettlementRequest | FenzhangError]:
        """What intake accepts, in order; malformed items as the reason."""
        return _requests(_ORDER, self.items)


class SplitBatch(Model):
    """Up to 1,000 splits; each is answered by itself. With `authorization` it is all or nothing."""

    model_config = examples({"items": [SPLIT_EXAMPLE]})
    items: Annotated[list[Annotated[Any, _SPLIT]], _Limits]
    authorization: AuthorizationBody | None = None

    def requests(self) -> list[SettlementRequest | FenzhangError]:
        """What intake accepts, in order; malformed items as the reason."""
        return _requests(_SPLIT, self.items)


class InstructionBatch(Model):
    """Up to 1,000 captures, splits, releases, returns and refunds in order; an item may refer to those before it.

    `attestation` covers captures, `authorization` everything else. With either it is all or nothing.
    """

    model_config = examples(
        {
            "items": [
                {"type": "CAPTURE", **ORDER_EXAMPLE},
                {"type": "SPLIT", **SPLIT_EXAMPLE},
                {"type": "RETURN", **RETURN_EXAMPLE},
                {"type": "RELEASE", **RELEASE_EXAMPLE},
                {"type": "REFUND", **REFUND_EXAMPLE},
            ]
        }
    )
    items: Annotated[list[Annotated[Any, _TYPED]], _Limits]
    authorization: AuthorizationBody | None = None
    attestation: AttestationBody | None = None

    def requests(self) -> list[SettlementRequest | FenzhangError]:
        """What intake accepts, in order; malformed items as the reason."""
        return _requests(_TYPED, self.items)


def _requests(lenient: _Lenient, items: list[Any]) -> list[SettlementRequest | FenzhangError]:
    return [_request(lenient, item, index) for index, item in enumerate(items)]


def _request(lenient: _Lenient, item: Any, index: int) -> SettlementRequest | FenzhangError:
    try:
        return lenient.adapter.validate_python(item).request()
    except ValidationError as error:
        return RequestInvalid(field_errors(error.errors(include_url=False), f"items[{index}]"))
    except InvalidInput as error:
        return error
