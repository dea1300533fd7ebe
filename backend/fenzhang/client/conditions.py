"""Conditions, as flows: open them, see how far they are, and confirm them."""

from __future__ import annotations

from typing import Any

from fenzhang.client.flow import Flow
from fenzhang.client.models import ConditionPage, ConditionView, Instruction, NewCondition
from fenzhang.client.reading import reader
from fenzhang.client.session import Call, Session
from fenzhang.client.signatures import Signatures

_PAGE = 1_000
_PATH = "/v1/conditions"


class ConditionOperations:
    """The part of the API that is about conditions, as flows over one session. `wait_s` waits for the chain."""

    _session: Session
    _signatures: Signatures | None

    def open_condition(self, wanted: NewCondition) -> Flow[Instruction]:
        """Open a condition. With a client-side key it is signed here, and `confirmer` is then its 0x id."""
        named = {name: getattr(wanted, name) for name in wanted.__slots__}
        body: dict[str, Any] = {name: value for name, value in named.items() if value}
        if self._signatures is not None:
            body["signature"] = yield from self._signatures.condition(wanted)
        call = Call(method="POST", path=_PATH, read=reader(Instruction), body=body)
        return (yield from self._session.perform(call))

    def get_condition(
        self, out_condition_no: str, platform: str | None = None, *, wait_s: float = 0.0
    ) -> Flow[ConditionView]:
        """A condition as it stands; who confirms it, and auditors, name its platform."""
        query: dict[str, str | float] = {"wait": wait_s} if wait_s > 0 else {}
        query |= {} if platform is None else {"platform": platform}
        path, read = f"{_PATH}/{out_condition_no}", reader(ConditionView)
        call = Call(method="GET", path=path, read=read, query=query, wait_s=wait_s)
        return (yield from self._session.perform(call))

    def list_conditions(self) -> Flow[list[ConditionView]]:
        """All conditions of the platform."""
        found: list[ConditionView] = []
        after: int | None = 0
        while after is not None:
            query: dict[str, str | int] = {"limit": _PAGE, "after": after}
            call = Call(method="GET", path=_PATH, read=reader(ConditionPage), query=query)
            page = yield from self._session.perform(call)
            found += page.conditions
            after = page.next
        return found

    def confirm_condition(
        self, out_request_no: str, platform: str, out_condition_no: str, signature: str | None = None
    ) -> Flow[Instruction]:
        """Confirm a condition of `platform`: as its confirmer, or with the confirmer's `signature` (0x hex)."""
        body = {"out_request_no": out_request_no, "platform": platform}
        if signature is None and self._signatures is not None:
            found = yield from self.get_condition(out_condition_no, platform)
            signature = yield from self._signatures.confirmation(found)
        if signature is not None:
            body["signature"] = signature
        path = f"{_PATH}/{out_condition_no}/confirmation"
        call = Call(method="POST", path=path, read=reader(Instruction), body=body)
        return (yield from self._session.perform(call))
