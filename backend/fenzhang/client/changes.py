"""What the API answers about a change of a rule: a diff of two versions, and a draft tried on settled orders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedVersion:
    """One of the two versions, as it stands on the chain."""

    version: int
    state: str
    effective_from: int
    content_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedLeg:
    """A leg that only one version has, and its index there."""

    index: int
    leg: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldChange:
    """A field of a leg, or a term, in both versions. Numbers beyond 64 bits are text."""

    field: str
    before: Any = None
    after: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedLeg:
    """A leg with other values: its index in both versions, and whom it pays in the later one."""

    before: int
    after: int
    fields: tuple[FieldChange, ...]
    recipient: str | None = None
    role: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedLeg:
    """A leg in another pool or at another place: its index in both versions, and that of its pool (-1: the root)."""

    before: int
    after: int
    parent_before: int
    parent_after: int
    recipient: str | None = None
    role: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleDiff:
    """What makes one version of another. Legs that are not named stay, in their order."""

    out_rule_no: str
    rule_id: str
    before: ComparedVersion
    after: ComparedVersion
    same_legs: bool
    terms: tuple[FieldChange, ...] = ()
    added: tuple[PlacedLeg, ...] = ()
    removed: tuple[PlacedLeg, ...] = ()
    changed: tuple[ChangedLeg, ...] = ()
    moved: tuple[MovedLeg, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticipantChange:
    """What a participant got, and would have got, by the replayed splits after returns and refunds, minor units."""

    participant_id: str
    currency: str
    actual: int
    hypothetical: int
    difference: int
    out_participant_no: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrencyChange:
    """Totals of a currency, minor units. `redistributed` is how much goes to others than it went to."""

    currency: str
    splits: int
    amount: int
    returned: int
    actual: int
    hypothetical: int
    redistributed: int
    splits_not_replayed: int
    amount_not_replayed: int
    releases: int
    released: int
    refunded: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderExample:
    """An order; approvers see its id alone."""

    order_id: str
    out_order_no: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotReplayed:
    """Splits that the draft cannot allocate, for one reason: a `role` that nobody held, a `leg` that cannot be paid.

    `given_count`: what the draft's GIVEN legs would have been given is not known.
    """

    reason: str
    splits: int
    orders: int
    examples: tuple[OrderExample, ...]
    role: str | None = None
    leg: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """What a draft would have made of the orders; `complete` is false if the period has more than were looked at."""

    out_rule_no: str
    rule_id: str
    captured_from: int
    captured_before: int
    complete: bool
    orders: int
    splits_replayed: int
    splits_not_replayed: int
    returns_replayed: int
    returns_respread: int
    participants: tuple[ParticipantChange, ...]
    totals: tuple[CurrencyChange, ...]
    not_replayed: tuple[NotReplayed, ...]
    version: int | None = None
