"""What guardians do, as flows: freeze, unfreeze, and see what is frozen."""

from __future__ import annotations

from typing import Any

from fenzhang.client.flow import Flow
from fenzhang.client.models import FreezePage, FrozenThing, Instruction, NewFreeze
from fenzhang.client.reading import reader
from fenzhang.client.session import Call, Session

_PAGE = 1_000


class FreezeOperations:
    """The part of the API that is about freezes, as flows over one session. `wait_s` waits for the chain."""

    _session: Session

    def freeze(self, wanted: NewFreeze) -> Flow[Instruction]:
        """Freeze something; for guardians."""
        return (yield from self._change("/v1/freezes", wanted))

    def unfreeze(self, wanted: NewFreeze) -> Flow[Instruction]:
        """Undo what another guardian froze."""
        return (yield from self._change("/v1/unfreezes", wanted))

    def get_freeze(self, out_request_no: str, platform: str, *, wait_s: float = 0.0) -> Flow[Instruction]:
        """A freeze as it stands."""
        return (yield from self._stand("/v1/freezes", out_request_no, platform, wait_s))

    def get_unfreeze(self, out_request_no: str, platform: str, *, wait_s: float = 0.0) -> Flow[Instruction]:
        """An unfreeze as it stands."""
        return (yield from self._stand("/v1/unfreezes", out_request_no, platform, wait_s))

    def list_freezes(self) -> Flow[list[FrozenThing]]:
        """All that is frozen now; for guardians, operators and auditors."""
        found: list[FrozenThing] = []
        after: int | None = 0
        while after is not None:
            query: dict[str, str | int] = {"limit": _PAGE, "after": after}
            call = Call(method="GET", path="/v1/freezes", read=reader(FreezePage), query=query)
            page = yield from self._session.perform(call)
            found += page.freezes
            after = page.next
        return found

    def _change(self, path: str, wanted: NewFreeze) -> Flow[Instruction]:
        named = {name: getattr(wanted, name) for name in wanted.__slots__}
        body: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
        call = Call(method="POST", path=path, read=reader(Instruction), body=body)
        return (yield from self._session.perform(call))

    def _stand(self, path: str, reference: str, platform: str, wait_s: float) -> Flow[Instruction]:
        query: dict[str, str | float] = {"platform": platform, **({"wait": wait_s} if wait_s > 0 else {})}
        read = reader(Instruction)
        call = Call(method="GET", path=f"{path}/{reference}", read=read, query=query, wait_s=wait_s)
        return (yield from self._session.perform(call))
