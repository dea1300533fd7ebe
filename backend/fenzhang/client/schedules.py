"""A platform's schedule: what is proposed and read, and the flows for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from fenzhang.client.flow import Flow
from fenzhang.client.models import Instruction, Selection, Veto
from fenzhang.client.reading import reader
from fenzhang.client.session import Call, Session
from fenzhang.domain.facts import NO_FACTS, Facts
from fenzhang.domain.identifiers import rule_id
from fenzhang.domain.schedules import Entry

if TYPE_CHECKING:
    from fenzhang.client.signatures import Signatures


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEntry:
    """The orders of which a rule is. What is left out states nothing.

    Amounts are minor units from `amount_from` to below `amount_below`; times are Unix seconds of the capture, from
    `valid_from` to before `valid_until`. An end of 0 is none.
    """

    out_rule_no: str
    facts: Facts = NO_FACTS
    currency: str = ""
    amount_from: int = 0
    amount_below: int = 0
    valid_from: int = 0
    valid_until: int = 0

    def body(self) -> dict[str, Any]:
        """The JSON of the entry."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values["facts"] = self.facts.stated()
        return {name: value for name, value in values.items() if value}

    def entry(self, platform: bytes) -> Entry:
        """The entry as it is signed."""
        return Entry(
            rule_id(platform, self.out_rule_no),
            self.facts.pack(),
            self.currency,
            self.amount_from,
            self.amount_below,
            self.valid_from,
            self.valid_until,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSchedule:
    """Propose a version of the platform's schedule: entries in order of precedence, the last one stating nothing.

    Left out, `version` is the next one, and the version is in force as soon as it is approved.
    """

    out_request_no: str
    entries: Sequence[NewEntry]
    version: int | None = None
    effective_from: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleEntry:
    """An entry of a schedule, and the criteria that it states, the weightiest first."""

    rule_id: str
    criteria: tuple[str, ...]
    facts: Mapping[str, str]
    amount_from: int
    amount_below: int
    valid_from: int
    valid_until: int
    out_rule_no: str | None = None
    currency: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleVersion:
    """A version of a schedule as it stands on the chain; `veto` is there if it was vetoed."""

    version: int
    state: str
    effective_from: int
    content_hash: str
    entries: tuple[ScheduleEntry, ...]
    veto: Veto | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleView:
    """A platform's schedule: its versions, and the number of the one in force. Without versions it never had one."""

    platform_id: str
    retired: bool
    approval_lock: int
    earliest_effect: int
    versions: tuple[ScheduleVersion, ...]
    in_force: int | None = None
    latest: int | None = None


class ScheduleOperations:
    """The part of the API that is about schedules, as flows over one session."""

    _session: Session
    _signatures: Signatures | None

    def propose_schedule(self, schedule: NewSchedule) -> Flow[Instruction]:
        """Propose a version of the schedule. With a client-side key it is signed here, and needs `version`."""
        named = {"version": schedule.version, "effective_from": schedule.effective_from}
        body: dict[str, Any] = {
            "out_request_no": schedule.out_request_no,
            "entries": [entry.body() for entry in schedule.entries],
            **{name: value for name, value in named.items() if value is not None},
        }
        if self._signatures is not None:
            body |= yield from self._signatures.schedule(schedule)
        return (yield from self._change_schedule("", body))

    def approve_schedule(
        self, out_request_no: str, platform: str, version: ScheduleVersion
    ) -> Flow[Instruction]:
        """Approve exactly this version; for approvers."""
        body = {
            "out_request_no": out_request_no,
            "platform": platform,
            "content_hash": version.content_hash,
        }
        return (yield from self._change_schedule(f"/{version.version}/approve", body))

    def veto_schedule(
        self, out_request_no: str, platform: str, version: ScheduleVersion, reason_code: str
    ) -> Flow[Instruction]:
        """Veto exactly this version before it takes effect; for guardians."""
        body = {
            "out_request_no": out_request_no,
            "platform": platform,
            "content_hash": version.content_hash,
            "reason_code": reason_code,
        }
        return (yield from self._change_schedule(f"/{version.version}/veto", body))

    def retire_schedule(self, out_request_no: str) -> Flow[Instruction]:
        """Retire the schedule, for ever: from then on the platform names the rule of each order."""
        body: dict[str, Any] = {"out_request_no": out_request_no}
        if self._signatures is not None:
            body["signature"] = yield from self._signatures.schedule_retirement()
        return (yield from self._change_schedule("/retire", body))

    def get_schedule(self, platform: str | None = None) -> Flow[ScheduleView]:
        """A platform's schedule with its versions; approvers, guardians and auditors name the platform."""
        query = {} if platform is None else {"platform": platform}
        call = Call(method="GET", path="/v1/schedules", read=reader(ScheduleView), query=query)
        return (yield from self._session.perform(call))

    def select_rule(
        self, amount: int, currency: str, facts: Facts = NO_FACTS, *, platform: str | None = None
    ) -> Flow[Selection]:
        """Which rule an order captured now would be of, and why."""
        query: dict[str, str | int] = {"amount": amount, "currency": currency, **facts.stated()}
        query |= {} if platform is None else {"platform": platform}
        call = Call(method="GET", path="/v1/schedules/select", read=reader(Selection), query=query)
        return (yield from self._session.perform(call))

    def _change_schedule(self, path: str, body: Mapping[str, Any]) -> Flow[Instruction]:
        call = Call(method="POST", path=f"/v1/schedules{path}", read=reader(Instruction), body=body)
        return (yield from self._session.perform(call))
