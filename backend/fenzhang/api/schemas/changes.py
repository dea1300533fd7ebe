"""What a change of a rule is: two versions compared, and a draft tried on settled orders."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from fenzhang.api.schemas.constraints import examples
from fenzhang.api.schemas.governance import LEGS_EXAMPLE, Legs
from fenzhang.api.schemas.ledger import Sum
from fenzhang.api.types import Model, Timestamp, Version
from fenzhang.domain.errors import InvalidInput
from fenzhang.ledger.period import Period
from fenzhang.ledger.whatif import MAX_ORDERS

_NULL = {"type": "null"}
_DRAFTS: dict[str, dict[str, Any]] = {"legs": {"type": "array"}, "version": {"type": "integer"}}
_PERIODS: tuple[dict[str, dict[str, Any]], ...] = (
    {"day": {"type": "string"}},
    {"from": {"type": "integer"}, "to": {"type": "integer"}},
)


def _combination(draft: str, period: dict[str, dict[str, Any]]) -> dict[str, Any]:
    others = dict.fromkeys((*_DRAFTS, *_PERIODS[0], *_PERIODS[1]), _NULL)
    given = {draft: _DRAFTS[draft], **period}
    return {"required": list(given), "properties": others | given}


class WhatIfBody(Model):
    """A draft, which is `legs` or a `version` of the rule, and a period, which is a `day` in UTC or `from` and `to`.

    `from` is in the period, `to` is not; it is at most 31 days long.
    """

    model_config = examples(
        {"legs": LEGS_EXAMPLE, "day": "2026-11-11"},
        {"version": 1, "from": 1_794_355_200, "to": 1_794_441_600, "limit": 1000},
        oneOf=[_combination(draft, period) for draft in _DRAFTS for period in _PERIODS],
    )
    legs: Legs | None = None
    version: Version | None = None
    day: Annotated[str, Field(json_schema_extra={"format": "date"}, description="YYYY-MM-DD.")] | None = None
    begin: Annotated[Timestamp | None, Field(alias="from")] = None
    end: Annotated[Timestamp | None, Field(alias="to")] = None
    limit: Annotated[
        int, Field(ge=1, le=MAX_ORDERS, description="Orders to look at, the earliest first.")
    ] = MAX_ORDERS

    @property
    def period(self) -> Period:
        """The period. Raises InvalidInput naming the field that is missing, too much, or no good."""
        return Period.of(self.begin, self.end, self.day)

    def check(self) -> None:
        """Raises InvalidInput unless there is one draft and one period."""
        if (self.legs is None) == (self.version is None):
            raise InvalidInput("legs", "give either legs or version")
        _ = self.period


# ------------------------------------------------------------------------------ answers


class ComparedVersion(BaseModel):
    """A version of the two, as it stands on the chain now."""

    version: int
    state: Literal["UNKNOWN", "PROPOSED", "NOT_EFFECTIVE", "IN_FORCE", "SUPERSEDED", "RETIRED", "VETOED"]
    effective_from: int
    content_hash: str


class PlacedLegAnswer(BaseModel):
    """A leg that one version has and the other has not; `index` is its place in that version."""

    index: int
    leg: dict[str, Any]


class FieldChangeAnswer(BaseModel):
    """A field of a leg in both versions."""

    field: Literal["kind", "value", "min", "max", "recipient", "role"]
    before: Any
    after: Any


class TermChangeAnswer(BaseModel):
    """A term in both versions."""

    field: Literal["max_share_out", "may_owe", "park"]
    before: int | bool
    after: int | bool


class ChangedLegAnswer(BaseModel):
    """A leg with other values: its index in both versions, whom it now pays, and what is different."""

    before: int
    after: int
    recipient: str | None
    role: str | None
    fields: list[FieldChangeAnswer]


class MovedLegAnswer(BaseModel):
    """A leg in another pool or at another place: its index in both versions, and that of its pool (-1: the root)."""

    before: int
    after: int
    parent_before: int
    parent_after: int
    recipient: str | None
    role: str | None


class RuleDiffAnswer(BaseModel):
    """What makes the later version of the earlier one. Legs that are not named stay, in their order."""

    out_rule_no: str
    rule_id: str
    before: ComparedVersion
    after: ComparedVersion
    same_legs: bool
    terms: list[TermChangeAnswer]
    added: list[PlacedLegAnswer]
    removed: list[PlacedLegAnswer]
    changed: list[ChangedLegAnswer]
    moved: list[MovedLegAnswer]


class ParticipantChange(BaseModel):
    """What a participant got and would have got by the replayed splits, after returns and refunds, minor units.

    Approvers see ids alone; `out_participant_no` is the platform's own.
    """

    participant_id: str
    out_participant_no: str | None
    currency: str
    actual: Sum
    hypothetical: Sum
    difference: Sum


class CurrencyChange(BaseModel):
    """A currency's totals, minor units. Of what was replayed, both sides are `amount` - `returned` - `refunded`.

    `redistributed` is how much goes to others than it went to. Releases are the same by every version.
    """

    currency: str
    splits: int
    amount: Sum
    returned: Sum
    refunded: Sum
    actual: Sum
    hypothetical: Sum
    redistributed: Sum
    splits_not_replayed: int
    amount_not_replayed: Sum
    releases: int
    released: Sum


class OrderExample(BaseModel):
    """An order, with the platform's own reference for the platform itself."""

    order_id: str
    out_order_no: str | None


class NotReplayedAnswer(BaseModel):
    """Splits that are on neither side, and why.

    The draft has a role that nobody held, a leg (by index) that takes more than remains or was given what it may not
    take, or GIVEN legs in another number than the order's version; or this backend does not know that version.
    """

    reason: Literal[
        "role_not_bound", "leg_exceeds_remaining", "given_out_of_bounds", "given_count", "unknown_version"
    ]
    role: str | None
    leg: int | None
    splits: int
    orders: int
    examples: list[OrderExample]


class WhatIfAnswer(BaseModel):
    """What the draft would have made of the orders; `complete` is false if the period has more than `limit`."""

    out_rule_no: str
    rule_id: str
    version: int | None
    captured_from: int
    captured_before: int
    complete: bool
    orders: int
    splits_replayed: int
    splits_not_replayed: int
    returns_replayed: int
    returns_respread: int
    participants: list[ParticipantChange]
    totals: list[CurrencyChange]
    not_replayed: list[NotReplayedAnswer]
