"""Suspense positions, as flows: what waits for participants that are not active, and who gets it."""

from __future__ import annotations

from dataclasses import dataclass

from fenzhang.client.flow import Flow
from fenzhang.client.models import Instruction
from fenzhang.client.reading import reader
from fenzhang.client.session import Call, Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What waits for a participant, minor units."""

    out_participant_no: str
    participant_id: str
    currency: str
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingList:
    """All that waits for participants of the platform."""

    suspense: tuple[Waiting, ...]


class SuspenseOperations:
    """The part of the API that is about suspense positions, as flows over one session."""

    _session: Session

    def list_suspense(self) -> Flow[tuple[Waiting, ...]]:
        """What waits for participants of the platform, by currency."""
        call = Call(method="GET", path="/v1/suspense", read=reader(WaitingList))
        return (yield from self._session.perform(call)).suspense

    def resolve_suspense(
        self, out_participant_no: str, currency: str, out_request_no: str
    ) -> Flow[Instruction]:
        """Give what waits for a participant to it, or to the heir of a closed one."""
        body = {
            "out_request_no": out_request_no,
            "out_participant_no": out_participant_no,
            "currency": currency,
        }
        call = Call(method="POST", path="/v1/suspense", read=reader(Instruction), body=body)
        return (yield from self._session.perform(call))

    def name_heir(
        self, platform: str, out_participant_no: str, out_heir_no: str, out_request_no: str
    ) -> Flow[Instruction]:
        """Name who gets what waits for a closed participant; for guardians."""
        body = {
            "out_request_no": out_request_no,
            "platform": platform,
            "out_participant_no": out_participant_no,
            "out_heir_no": out_heir_no,
        }
        call = Call(method="POST", path="/v1/heirs", read=reader(Instruction), body=body)
        return (yield from self._session.perform(call))
