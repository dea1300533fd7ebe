"""Requests and answers about schedules: which of a platform's rules applies to which orders."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, model_validator

from fenzhang.api.schemas.answers import Criterion, SelectionAnswer, VetoAnswer
from fenzhang.api.schemas.constraints import examples, needs
from fenzhang.api.schemas.settlement import FactsBody
from fenzhang.api.types import Currency, LeafAmount, Model, Reference, SignatureBytes, Timestamp, Version
from fenzhang.domain.schedules import MAX_ENTRIES
from fenzhang.intake.schedules import NamedEntry


class EntryBody(Model):
    """The orders of which a rule is. What is left out states nothing.

    Amounts are minor units: from `amount_from` to below `amount_below`. Times are Unix seconds of the capture: from
    `valid_from` to before `valid_until`. An end of 0 is none.
    """

    out_rule_no: Reference
    facts: FactsBody | None = None
    currency: Currency | None = None
    amount_from: LeafAmount = 0
    amount_below: LeafAmount = 0
    valid_from: Timestamp = 0
    valid_until: Timestamp = 0

    def named(self) -> NamedEntry:
        """What intake takes."""
        return NamedEntry(
            rule=self.out_rule_no,
            facts=(self.facts or FactsBody()).facts(),
            currency=self.currency or "",
            amount_from=self.amount_from,
            amount_below=self.amount_below,
            valid_from=self.valid_from,
            valid_until=self.valid_until,
        )


class ScheduleBody(Model):
    """Propose a version of the platform's schedule: entries in order of precedence, the last one stating nothing.

    A `signature` is the authority's EIP-712 signature over ScheduleProposal. Left out, `version` is the next one and
    `effective_from` the moment of approval; a signed proposal names both.
    """

    model_config = examples(
        {
            "out_request_no": "schedule-2026-11",
            "entries": [
                {"out_rule_no": "group-buy", "facts": {"promotion": "1111", "category": "tea"}},
                {"out_rule_no": "group-buy", "facts": {"channel": "group"}},
                {"out_rule_no": "retail-standard"},
            ],
        },
        **needs("signature", "version", "effective_from"),
    )
    out_request_no: Reference
    entries: Annotated[list[EntryBody], Field(min_length=1, max_length=MAX_ENTRIES)]
    version: Version | None = None
    effective_from: Timestamp | None = None
    signature: SignatureBytes | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.signature is not None and None in {self.version, self.effective_from}:
            raise ValueError("a signed proposal names version and effective_from")
        return self


class EntryAnswer(BaseModel):
    """An entry, with the criteria that it states, the weightiest first. `out_rule_no` is null for an unknown rule."""

    out_rule_no: str | None
    rule_id: str
    criteria: list[Criterion]
    facts: dict[str, str]
    currency: str | None
    amount_from: int
    amount_below: int
    valid_from: int
    valid_until: int


class ScheduleVersionAnswer(BaseModel):
    """A version of a schedule as it stands on the chain; `veto` is null unless it was vetoed."""

    version: int
    state: Literal["UNKNOWN", "PROPOSED", "NOT_EFFECTIVE", "IN_FORCE", "SUPERSEDED", "RETIRED", "VETOED"]
    effective_from: int
    content_hash: str
    entries: list[EntryAnswer]
    veto: VetoAnswer | None


class ScheduleAnswer(BaseModel):
    """A platform's schedule with all its versions; without any, it never had one.

    A version that is approved now takes effect at `earliest_effect` or later, `approval_lock` seconds from now.
    """

    platform_id: str
    retired: bool
    in_force: int | None
    latest: int | None
    approval_lock: int
    earliest_effect: int
    versions: list[ScheduleVersionAnswer]


class SelectAnswer(SelectionAnswer):
    """Which rule an order captured now would be of. All but the platform is null when no schedule is in force."""

    platform_id: str
