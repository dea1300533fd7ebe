"""Breaks of the reconciliation, as flows: for operators, and to look at for auditors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fenzhang.client.flow import Flow
from fenzhang.client.reading import reader
from fenzhang.client.session import Call, Session

_PAGE = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakView:
    """Something on which two sides do not agree. `amount` in minor units; times are Unix seconds."""

    break_id: int
    comparison: str
    kind: str
    subject: str
    owner: str
    state: str
    present: bool
    first_seen: int
    last_seen: int
    details: Mapping[str, Any]
    currency: str | None = None
    amount: int | None = None
    explanation: str | None = None
    explained_by: str | None = None
    previous_break_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakPage:
    """A page of breaks; `next` is the cursor of the next one, None on the last."""

    breaks: tuple[BreakView, ...]
    next: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakEvent:
    """What happened to a break."""

    kind: str
    at: int
    who: str
    run: int | None = None
    note: str | None = None
    amount: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """What makes up for a break: a posting, record, payout or break, and its number or end-to-end id."""

    kind: str
    id: str
    currency: str | None = None
    amount: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakStory(BreakView):
    """A break, what happened to it, and what makes up for it."""

    events: tuple[BreakEvent, ...]
    corrections: tuple[Correction, ...]


class BreakOperations:
    """The part of the API that is about breaks, as flows over one session."""

    _session: Session

    def list_breaks(
        self, *, state: str | None = None, kind: str | None = None, after: int = 0, limit: int = _PAGE
    ) -> Flow[BreakPage]:
        """Breaks of a state and kind, the oldest first; without a state those that are not resolved."""
        query: dict[str, str | int] = {"after": after, "limit": limit}
        query |= {name: value for name, value in (("state", state), ("kind", kind)) if value is not None}
        call = Call(method="GET", path="/v1/breaks", read=reader(BreakPage), query=query)
        return (yield from self._session.perform(call))

    def get_break(self, break_id: int) -> Flow[BreakStory]:
        """All about a break."""
        call = Call(method="GET", path=f"/v1/breaks/{break_id}", read=reader(BreakStory))
        return (yield from self._session.perform(call))

    def explain_break(self, break_id: int, explanation: str, out_request_no: str) -> Flow[BreakView]:
        """Say what a break is."""
        body = {"out_request_no": out_request_no, "explanation": explanation}
        path = f"/v1/breaks/{break_id}/explanations"
        call = Call(method="POST", path=path, read=reader(BreakView), body=body)
        return (yield from self._session.perform(call))

    def resolve_break(
        self, break_id: int, note: str, out_request_no: str, correction: Correction | None = None
    ) -> Flow[BreakView]:
        """Resolve a break that was explained, with what makes up for it if anything does."""
        body: dict[str, Any] = {"out_request_no": out_request_no, "note": note}
        if correction is not None:
            body["correction"] = {"kind": correction.kind, "id": correction.id}
        path = f"/v1/breaks/{break_id}/resolutions"
        call = Call(method="POST", path=path, read=reader(BreakView), body=body)
        return (yield from self._session.perform(call))
