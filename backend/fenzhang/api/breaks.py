"""Breaks as answers."""

from __future__ import annotations

from typing import Any

from fenzhang.api.problems import plain
from fenzhang.clearing.reconciliation.telling import Told
from fenzhang.store.reconciliationtables import Break


def break_answer(row: Break) -> dict[str, Any]:
    """A break."""
    return {
        "break_id": row.id,
        "comparison": row.comparison,
        "kind": row.kind,
        "subject": row.subject,
        "currency": row.currency,
        "amount": plain(row.amount),
        "details": plain(row.details),
        "owner": row.owner,
        "state": row.state,
        "present": row.present,
        "first_seen": row.first_seen,
        "last_seen": row.last_seen,
        "explanation": row.explanation,
        "explained_by": row.explained_by,
        "previous_break_id": row.previous_id,
    }


def told_answer(told: Told) -> dict[str, Any]:
    """A break with all that is known about it."""
    return break_answer(told.row) | {
        "events": [
            {
                "kind": event.kind,
                "at": event.at,
                "who": event.who,
                "run": event.run_id,
                "note": event.note,
                "amount": plain(event.amount),
            }
            for event in told.events
        ],
        "corrections": [
            {
                "kind": each.target,
                "id": each.target_id,
                "currency": each.currency,
                "amount": plain(each.amount),
            }
            for each in told.corrections
        ],
        "lines": [
            {
                "line": line.id,
                "booked_on": line.booked_on,
                "amount": line.amount,
                "end_to_end_id": line.end_to_end_id,
                "reference": line.reference,
            }
            for line in told.lines
        ],
    }
