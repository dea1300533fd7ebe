"""Diffs of rule versions and what-ifs as answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from fenzhang.api.problems import plain
from fenzhang.domain.identifiers import hex_id
from fenzhang.domain.rulediff import FieldChange, PlacedLeg, diff, diff_terms
from fenzhang.domain.rules import Leg
from fenzhang.intake import rulestate
from fenzhang.ledger.whatif import NotReplayed, Sums, Totals, WhatIf, Why
from fenzhang.store import payloads
from fenzhang.store.tables import RuleVersion


def diff_answer(
    before: RuleVersion, after: RuleVersion, siblings: Sequence[RuleVersion], now: int
) -> dict[str, Any]:
    """Two versions of a rule, compared; `siblings` are all its versions."""
    found = diff(payloads.legs_from_json(before.legs), payloads.legs_from_json(after.legs))
    legs = payloads.legs_from_json(after.legs)
    terms = diff_terms(payloads.terms_from_json(before.terms), payloads.terms_from_json(after.terms))
    return {
        "out_rule_no": after.reference,
        "rule_id": hex_id(after.rule_id),
        "before": _compared(before, siblings, now),
        "after": _compared(after, siblings, now),
        "same_legs": found.is_empty,
        "terms": [_field(change) for change in terms],
        "added": [_placed(leg) for leg in found.added],
        "removed": [_placed(leg) for leg in found.removed],
        "changed": [
            {
                "before": leg.before,
                "after": leg.after,
                **_receiver(legs[leg.after]),
                "fields": [_field(change) for change in leg.fields],
            }
            for leg in found.changed
        ],
        "moved": [
            {
                "before": leg.before,
                "after": leg.after,
                "parent_before": leg.parent_before,
                "parent_after": leg.parent_after,
                **_receiver(legs[leg.after]),
            }
            for leg in found.moved
        ],
    }


def _compared(version: RuleVersion, siblings: Sequence[RuleVersion], now: int) -> dict[str, Any]:
    return {
        "version": version.version,
        "state": rulestate.state_of(version, siblings, now).name,
        "effective_from": version.effective_from,
        "content_hash": hex_id(version.content_hash),
    }


def _field(change: FieldChange) -> dict[str, Any]:
    return {"field": change.field, "before": plain(change.before), "after": plain(change.after)}


def _placed(placed: PlacedLeg) -> dict[str, Any]:
    [shown] = payloads.legs_to_json([placed.leg])
    return {"index": placed.index, "leg": plain(shown)}


def _receiver(leg: Leg) -> dict[str, Any]:
    return {"recipient": plain(leg.recipient), "role": leg.role}


def what_if_answer(found: WhatIf, names: Mapping[bytes, str], orders: Mapping[bytes, str]) -> dict[str, Any]:
    """What came of a replay, the largest difference first. `names` and `orders` are the platform's references by id."""
    ranked = sorted(found.sums.items(), key=lambda item: (item[0][0], -abs(item[1].difference), item[0][1]))
    redistributed: dict[str, int] = defaultdict(int)
    kept: dict[str, int] = defaultdict(int)
    for (currency, _), sums in found.sums.items():
        redistributed[currency] += max(sums.difference, 0)
        kept[currency] += sums.hypothetical
    totals = sorted(found.totals.items())
    return {
        "complete": found.complete,
        "orders": found.orders,
        "splits_replayed": sum(of_currency.splits for _, of_currency in totals),
        "splits_not_replayed": sum(of_currency.splits_not_replayed for _, of_currency in totals),
        "returns_replayed": found.returns,
        "returns_respread": found.returns_respread,
        "participants": [
            _participant(currency, participant, sums, names.get(participant))
            for (currency, participant), sums in ranked
        ],
        "totals": [
            _totals(currency, of_currency, kept[currency], redistributed[currency])
            for currency, of_currency in totals
        ],
        "not_replayed": [
            _not_replayed(why, missing, orders)
            for why, missing in sorted(found.not_replayed.items(), key=lambda item: _rank(item[0]))
        ],
    }


def _participant(currency: str, participant: bytes, sums: Sums, name: str | None) -> dict[str, Any]:
    return {
        "participant_id": hex_id(participant),
        "out_participant_no": name,
        "currency": currency,
        "actual": plain(sums.actual),
        "hypothetical": plain(sums.hypothetical),
        "difference": plain(sums.difference),
    }


def _totals(currency: str, totals: Totals, hypothetical: int, redistributed: int) -> dict[str, Any]:
    return {
        "currency": currency,
        "splits": totals.splits,
        "amount": plain(totals.amount),
        "returned": plain(totals.returned),
        "refunded": plain(totals.refunded),
        "actual": plain(totals.amount - totals.returned - totals.refunded),
        "hypothetical": plain(hypothetical),
        "redistributed": plain(redistributed),
        "splits_not_replayed": totals.splits_not_replayed,
        "amount_not_replayed": plain(totals.amount_not_replayed),
        "releases": totals.releases,
        "released": plain(totals.released),
    }


def _rank(why: Why) -> tuple[str, str, int]:
    return why.code, why.role or "", -1 if why.leg is None else why.leg


def _not_replayed(why: Why, missing: NotReplayed, orders: Mapping[bytes, str]) -> dict[str, Any]:
    return {
        "reason": why.code,
        "role": why.role,
        "leg": why.leg,
        "splits": missing.splits,
        "orders": missing.orders,
        "examples": [
            {"order_id": hex_id(order_id), "out_order_no": orders.get(order_id)}
            for order_id in missing.examples
        ],
    }
