"""What can be asked of the API, as flows. `Client` and `AsyncClient` offer each of them under the same name.

Every flow raises ApiError (a subclass by kind of refusal), ApiUnreachable when patience ran out, and UnexpectedAnswer.
`wait_s` asks the API to answer only when the state is terminal, or after so many seconds (60 at most).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from fenzhang.client import models
from fenzhang.client.bills import BillOperations
from fenzhang.client.changes import RuleDiff, WhatIf
from fenzhang.client.conditions import ConditionOperations
from fenzhang.client.cycles import CycleOperations
from fenzhang.client.errors import ApiError, ApiUnreachable, NotFound, UnexpectedAnswer, WaitTimeout
from fenzhang.client.files import LONGEST_WAIT_S, FileOperations
from fenzhang.client.flow import Flow
from fenzhang.client.freezes import FreezeOperations
from fenzhang.client.ledger import LedgerOperations
from fenzhang.client.models import (
    Completion,
    CompletionPage,
    Instruction,
    InstructionType,
    NewApp,
    NewInstruction,
    NewOrder,
    NewRefund,
    NewRelease,
    NewReturn,
    NewRule,
    NewSplit,
    OrderView,
    ParticipantPage,
    ParticipantView,
    QuoteView,
    Refused,
    RuleVersion,
    RuleView,
    State,
    body_of,
    legs_body,
)
from fenzhang.client.reading import reader
from fenzhang.client.schedules import ScheduleOperations
from fenzhang.client.session import Call, Repeat, Session
from fenzhang.client.signatures import Signatures
from fenzhang.client.signing import PlatformKey
from fenzhang.client.suspense import SuspenseOperations
from fenzhang.domain.facts import NO_FACTS, Facts
from fenzhang.domain.rules import NO_TERMS, Leg

T = TypeVar("T")
Key = tuple[InstructionType, str]
"""What a write is known by within its platform: its type and the client's own reference."""

PAGE = 1_000
_PATHS = {
    InstructionType.CAPTURE: "/v1/orders",
    InstructionType.SPLIT: "/v1/splits",
    InstructionType.RELEASE: "/v1/releases",
    InstructionType.RETURN: "/v1/returns",
    InstructionType.REFUND: "/v1/refunds",
}


class Operations(
    BillOperations,
    ConditionOperations,
    CycleOperations,
    FileOperations,
    FreezeOperations,
    LedgerOperations,
    ScheduleOperations,
    SuspenseOperations,
):
    """The API as flows over one session. `key` signs for a platform; without one its keystore key does."""

    def __init__(self, session: Session, key: PlatformKey | None = None) -> None:
        super().__init__(session)
        self._signatures = Signatures(self, key) if key is not None else None

    # -------------------------------------------------------------------------- operator

    def create_app(self, name: str, scopes: Sequence[str], platform: str | None = None) -> Flow[NewApp]:
        """Create an API client; the answer shows its secret, once. A lost answer is not asked for again."""
        body = {"name": name, "scopes": list(scopes), **({} if platform is None else {"platform": platform})}
        return (yield from self._call("POST", "/v1/apps", NewApp, body=body, repeat=Repeat.IF_NEVER_SENT))

    def enrol_platform(self, reference: str, authority: str | None = None) -> Flow[ParticipantView]:
        """Enrol a platform that signs with `authority` (0x address), or with a key made into the keystore."""
        signs = {"generate_key": True} if authority is None else {"authority": authority}
        body = {"out_participant_no": reference, **signs}
        return (yield from self._call("POST", "/v1/platforms", ParticipantView, body=body))

    def get_platform(self, reference: str, *, wait_s: float = 0.0) -> Flow[ParticipantView]:
        """A platform and its standing."""
        path = f"/v1/platforms/{reference}"
        return (yield from self._call("GET", path, ParticipantView, wait_s=wait_s))

    def suspend_platform(self, reference: str, out_request_no: str) -> Flow[Instruction]:
        """Suspend a platform."""
        return (yield from self._request_change(f"/v1/platforms/{reference}/suspend", out_request_no))

    def resume_platform(self, reference: str, out_request_no: str) -> Flow[Instruction]:
        """Resume a suspended platform."""
        return (yield from self._request_change(f"/v1/platforms/{reference}/resume", out_request_no))

    # -------------------------------------------------------------------------- participants

    def enrol_participant(self, reference: str) -> Flow[ParticipantView]:
        """Enrol a participant that agreed to receive from the platform."""
        body = {"out_participant_no": reference}
        return (yield from self._call("POST", "/v1/participants", ParticipantView, body=body))

    def get_participant(self, reference: str, *, wait_s: float = 0.0) -> Flow[ParticipantView]:
        """A participant, by reference or 0x id."""
        path = f"/v1/participants/{reference}"
        return (yield from self._call("GET", path, ParticipantView, wait_s=wait_s))

    def list_participants(self) -> Flow[list[ParticipantView]]:
        """The platform and all its participants."""
        found: list[ParticipantView] = []
        after: str | None = ""
        while after is not None:
            query: dict[str, str | int] = {"limit": PAGE, **({"after": after} if after else {})}
            page = yield from self._call("GET", "/v1/participants", ParticipantPage, query=query)
            found += page.participants
            after = page.next
        return found

    def suspend_participant(self, reference: str, out_request_no: str) -> Flow[Instruction]:
        """Suspend a participant: until it is resumed it cannot receive."""
        return (yield from self._request_change(f"/v1/participants/{reference}/suspend", out_request_no))

    def resume_participant(self, reference: str, out_request_no: str) -> Flow[Instruction]:
        """Resume a suspended participant."""
        return (yield from self._request_change(f"/v1/participants/{reference}/resume", out_request_no))

    def close_participant(self, reference: str, out_request_no: str) -> Flow[Instruction]:
        """Close a participant, for ever."""
        return (yield from self._request_change(f"/v1/participants/{reference}/close", out_request_no))

    def place_participant(self, reference: str, parent: str | None, out_request_no: str) -> Flow[Instruction]:
        """Put a participant directly below `parent`, or with None at the top."""
        body = {"out_request_no": out_request_no, "out_parent_no": parent}
        return (yield from self._call("POST", f"/v1/participants/{reference}/place", Instruction, body=body))

    def change_consent(self, reference: str, out_request_no: str, *, granted: bool) -> Flow[Instruction]:
        """Record whether a participant agrees to receive from the platform, for orders from then on."""
        body = {"out_request_no": out_request_no, "granted": granted}
        path = f"/v1/participants/{reference}/consent"
        return (yield from self._call("POST", path, Instruction, body=body))

    def cap_platform(self, reference: str, out_request_no: str, max_share_out: int) -> Flow[Instruction]:
        """Cap what a platform's splits give to others, in basis points, 0 for no cap; for guardians."""
        body = {"out_request_no": out_request_no, "max_share_out": max_share_out}
        return (yield from self._call("POST", f"/v1/platforms/{reference}/cap", Instruction, body=body))

    def _request_change(self, path: str, out_request_no: str) -> Flow[Instruction]:
        return (yield from self._call("POST", path, Instruction, body={"out_request_no": out_request_no}))

    # -------------------------------------------------------------------------- rules

    def propose_rule(self, rule: NewRule) -> Flow[Instruction]:
        """Propose a version of a rule. With a client-side key it is signed here, and needs `version`."""
        body: dict[str, Any] = {
            "out_request_no": rule.out_request_no,
            "out_rule_no": rule.out_rule_no,
            "legs": legs_body(rule.legs, rule.recipients),
        }
        if rule.terms != NO_TERMS:
            body["terms"] = asdict(rule.terms)
        named = {"version": rule.version, "effective_from": rule.effective_from}
        body |= {name: value for name, value in named.items() if value is not None}
        if self._signatures is not None:
            body |= yield from self._signatures.proposal(rule)
        return (yield from self._call("POST", "/v1/rules", Instruction, body=body))

    def veto_rule(
        self, out_request_no: str, platform: str, version: RuleVersion, reason_code: str
    ) -> Flow[Instruction]:
        """Veto exactly this version before it takes effect; for guardians.

        The reason code is 1 to 32 of a-z, 0-9, _ and -.
        """
        path = f"/v1/rules/{version.out_rule_no}/versions/{version.version}/veto"
        body = {
            "out_request_no": out_request_no,
            "platform": platform,
            "content_hash": version.content_hash,
            "reason_code": reason_code,
        }
        return (yield from self._call("POST", path, Instruction, body=body))

    def approve_rule(self, out_request_no: str, platform: str, version: RuleVersion) -> Flow[Instruction]:
        """Approve exactly this version; for approvers."""
        path = f"/v1/rules/{version.out_rule_no}/versions/{version.version}/approve"
        body = {
            "out_request_no": out_request_no,
            "platform": platform,
            "content_hash": version.content_hash,
        }
        return (yield from self._call("POST", path, Instruction, body=body))

    def retire_rule(self, reference: str, out_request_no: str) -> Flow[Instruction]:
        """Retire a rule for new orders, for ever."""
        body: dict[str, Any] = {"out_request_no": out_request_no}
        if self._signatures is not None:
            body["signature"] = yield from self._signatures.retirement(reference)
        return (yield from self._call("POST", f"/v1/rules/{reference}/retire", Instruction, body=body))

    def get_rule(self, reference: str, platform: str | None = None) -> Flow[RuleView]:
        """A rule with its versions; approvers and auditors name the platform."""
        query = {} if platform is None else {"platform": platform}
        return (yield from self._call("GET", f"/v1/rules/{reference}", RuleView, query=query))

    def find_rule(self, reference: str, platform: str | None = None) -> Flow[RuleView | None]:
        """A rule as `get_rule` has it, None if there is none."""
        try:
            return (yield from self.get_rule(reference, platform))
        except NotFound:
            return None

    def quote(
        self,
        amount: int,
        *,
        rule: str | None = None,
        legs: Sequence[Leg] | None = None,
        order: str | None = None,
        given: Sequence[int] = (),
        currency: str | None = None,
        facts: Facts = NO_FACTS,
    ) -> Flow[QuoteView]:
        """A dry run of a rule of the platform, of any legs, or of a split of an order, on `amount`.

        With a `currency` instead, of the rule that the platform's schedule selects for an order with these `facts`.
        `given` is for GIVEN legs, in leg order.
        """
        body: dict[str, Any] = {"amount": amount, **({"given": list(given)} if given else {})}
        if order is not None:
            body["out_order_no"] = order
        elif currency is not None:
            body |= {"currency": currency, "facts": facts.stated()}
        else:
            body |= {"out_rule_no": rule} if legs is None else {"legs": legs_body(legs)}
        return (yield from self._call("POST", "/v1/quote", QuoteView, body=body))

    def diff_rule(
        self, reference: str, before: int, after: int, platform: str | None = None
    ) -> Flow[RuleDiff]:
        """What makes version `after` of version `before`; approvers and auditors name the platform."""
        query: dict[str, str | int] = {"from": before, "to": after}
        query |= {} if platform is None else {"platform": platform}
        return (yield from self._call("GET", f"/v1/rules/{reference}/diff", RuleDiff, query=query))

    def what_if(
        self,
        reference: str,
        draft: int | Sequence[Leg],
        begin: int,
        end: int,
        *,
        limit: int | None = None,
        platform: str | None = None,
    ) -> Flow[WhatIf]:
        """What a draft (legs, or the number of a version) would have made of settled orders of the rule.

        Those captured from `begin` to before `end` (Unix seconds), at most 31 days; approvers name the platform.
        """
        asked = {"version": draft} if isinstance(draft, int) else {"legs": legs_body(draft)}
        body = {**asked, "from": begin, "to": end, **({} if limit is None else {"limit": limit})}
        query = {} if platform is None else {"platform": platform}
        path = f"/v1/rules/{reference}/what-if"
        # Many orders take their time, and a question that is given up is asked again.
        call = Call(
            method="POST", path=path, read=reader(WhatIf), query=query, body=body, wait_s=LONGEST_WAIT_S
        )
        return (yield from self._session.perform(call))

    # -------------------------------------------------------------------------- settlement

    def create_order(self, order: NewOrder) -> Flow[Instruction]:
        """Capture an order. The bank's key in the keystore attests it."""
        return (yield from self._call("POST", "/v1/orders", Instruction, body=body_of(order)))

    def get_order(self, reference: str, *, wait_s: float = 0.0) -> Flow[OrderView]:
        """An order: what it holds, and everything written about it."""
        return (yield from self._call("GET", f"/v1/orders/{reference}", OrderView, wait_s=wait_s))

    def split(self, split: NewSplit, *, deadline: int | None = None) -> Flow[Instruction]:
        """Split an amount of an order. `deadline` (Unix seconds) is that of a client-side signature."""
        return (yield from self._write(split, deadline))

    def release(self, release: NewRelease, *, deadline: int | None = None) -> Flow[Instruction]:
        """Close an order."""
        return (yield from self._write(release, deadline))

    def return_(self, new: NewReturn, *, deadline: int | None = None) -> Flow[Instruction]:
        """Take an amount back from a split."""
        return (yield from self._write(new, deadline))

    def refund(self, refund: NewRefund, *, deadline: int | None = None) -> Flow[Instruction]:
        """Give an amount of an order back to its buyer."""
        return (yield from self._write(refund, deadline))

    def _write(
        self, item: NewSplit | NewRelease | NewReturn | NewRefund, deadline: int | None
    ) -> Flow[Instruction]:
        body = body_of(item)
        if self._signatures is not None:
            body["authorization"] = yield from self._signatures.authorization([item], deadline)
        return (yield from self._call("POST", _PATHS[item.type], Instruction, body=body))

    def submit(
        self, items: Sequence[NewInstruction], *, deadline: int | None = None
    ) -> Flow[list[Instruction | Refused]]:
        """Up to 1,000 writes in order, each answered by itself; an item may refer to those before it.

        With a client-side key, which signs everything but captures, it is all or nothing: the first refusal is raised,
        its `values["item"]` saying which item it is.
        """
        body: dict[str, Any] = {"items": [{"type": item.type.value, **body_of(item)} for item in items]}
        if self._signatures is not None and any(not isinstance(item, NewOrder) for item in items):
            body["authorization"] = yield from self._signatures.authorization(items, deadline)
        call = Call(method="POST", path="/v1/instructions/batch", read=_read_batch, body=body)
        return (yield from self._session.perform(call))

    def get_instruction(
        self,
        kind: InstructionType,
        reference: str,
        *,
        wait_s: float = 0.0,
        state: State | None = None,
        platform: str | None = None,
    ) -> Flow[Instruction]:
        """Any write as it stands. With `state`, waiting ends as soon as it is in another one.

        A split, release, return or refund that is settled comes with its allocations. `platform` is for approvers.
        """
        detailed = _PATHS.get(kind) if kind is not InstructionType.CAPTURE else None
        path = f"{detailed or '/v1/instructions/' + kind.value}/{reference}"
        query: dict[str, str] = {} if state is None else {"state": state.value}
        query |= {} if platform is None else {"platform": platform}
        return (yield from self._call("GET", path, Instruction, query=query, wait_s=wait_s))

    def wait_for(
        self, kind: InstructionType, reference: str, *, timeout_s: float = 60.0, platform: str | None = None
    ) -> Flow[Instruction]:
        """A write once it is settled or rejected. Raises WaitTimeout."""
        deadline = self._session.clock() + timeout_s
        while True:
            wait_s = min(LONGEST_WAIT_S, max(0.0, deadline - self._session.clock()))
            found = yield from self.get_instruction(kind, reference, wait_s=wait_s, platform=platform)
            if found.state.is_terminal:
                return found
            if self._session.clock() >= deadline:
                raise WaitTimeout(
                    f"{kind.value} {reference} is {found.state.value} after {timeout_s:g} s",
                    reference=reference,
                    state=found.state.value,
                )

    def completions(self, after: int = 0, *, limit: int = PAGE, wait_s: float = 0.0) -> Flow[CompletionPage]:
        """State changes of the platform after a cursor, in the order of the feed; `wait_s` waits for the first."""
        query = {"after": after, "limit": limit}
        return (yield from self._call("GET", "/v1/completions", CompletionPage, query=query, wait_s=wait_s))

    def wait_all(
        self, keys: Iterable[Key], *, after: int = 0, timeout_s: float = 60.0
    ) -> Flow[dict[Key, Completion]]:
        """The newest completion of each of these writes, once all are settled or rejected. Raises WaitTimeout.

        Reads the feed from the cursor `after`, which must lie before the writes.
        """
        missing = set(keys)
        wanted = frozenset(missing)
        found: dict[Key, Completion] = {}
        deadline = self._session.clock() + timeout_s
        while missing:
            remaining = deadline - self._session.clock()
            page = yield from self.completions(after, wait_s=min(LONGEST_WAIT_S, max(0.0, remaining)))
            for completion in page.completions:
                key = (completion.instruction.type, completion.instruction.reference)
                if key in wanted:
                    found[key] = completion
                    # A chain that reorganises takes a decision back, and makes it again.
                    (missing.discard if completion.state.is_terminal else missing.add)(key)
            after = page.next
            if missing and not page.completions and self._session.clock() >= deadline:
                raise WaitTimeout(
                    f"{len(missing)} of {len(wanted)} are undecided after {timeout_s:g} s",
                    missing=[f"{kind.value} {reference}" for kind, reference in sorted(missing)],
                )
        return found

    # -------------------------------------------------------------------------- network

    def get_network(self) -> Flow[models.Network]:
        """The chain and contracts that the API works with."""
        return (yield from self._call("GET", "/v1/network", models.Network))

    def is_ready(self) -> Flow[bool]:
        """Whether the API accepts writes now. It does not wait, and False is no error."""
        call = Call(method="GET", path="/readyz", read=bool, public=True, repeat=Repeat.NEVER)
        try:
            return (yield from self._session.perform(call))
        except (ApiError, ApiUnreachable, UnexpectedAnswer):
            return False

    # -------------------------------------------------------------------------- calls

    def _call(
        self,
        method: str,
        path: str,
        kind: type[T],
        *,
        query: Mapping[str, str | int | float] | None = None,
        body: Any = None,
        wait_s: float = 0.0,
        repeat: Repeat = Repeat.ALWAYS,
    ) -> Flow[T]:
        asked = dict(query or {}) | ({"wait": wait_s} if wait_s > 0 else {})
        return (
            yield from self._session.perform(
                Call(
                    method=method,
                    path=path,
                    read=reader(kind),
                    query=asked,
                    body=body,
                    wait_s=wait_s,
                    repeat=repeat,
                )
            )
        )


_read_instruction = reader(Instruction)
_read_refused = reader(Refused)


def _read_batch(answer: Any) -> list[Instruction | Refused]:
    return [_read_instruction(item) if "state" in item else _read_refused(item) for item in answer["items"]]
