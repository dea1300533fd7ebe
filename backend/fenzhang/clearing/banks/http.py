"""A bank over HTTP, as the sandbox bank speaks it: files and statements in either format, questions in JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import httpx

from fenzhang.clearing.banks.interface import Accepted, Refused, Submission, Unknown
from fenzhang.clearing.errors import BankUnavailable
from fenzhang.clearing.formats import Format
from fenzhang.clearing.model import REASON, UNEXPLAINED, PayoutState, PayoutStatus

ASKED_AT_ONCE: Final = 1_000
"""Payouts in one question."""
_PERHAPS_LATER: Final = frozenset({408, 425, 429})
"""Answers of 4xx that refuse the moment and not the file."""


class HttpBank:
    """A bank at `url` where this system is `customer`. Close it, or use it as a context manager."""

    def __init__(
        self,
        name: str,
        url: str,
        bank_format: Format,
        *,
        customer: str,
        timeout_s: float = 10.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.name = name
        self.format = bank_format
        self._customer = customer
        self._client = httpx.AsyncClient(base_url=url, timeout=timeout_s, transport=transport)

    async def submit(self, message_id: str, content: bytes) -> Submission:
        """POST it. Only an answer that says so means that the file was taken or refused."""
        headers = {"Content-Type": self.format.content_type}
        try:
            answer = await self._client.post("/files", content=content, headers=headers)
        except httpx.HTTPError as error:
            return Unknown(type(error).__name__)
        if answer.status_code == httpx.codes.ACCEPTED and _object(answer).get("message_id") == message_id:
            return Accepted()
        told = _object(answer)
        if answer.is_client_error and answer.status_code not in _PERHAPS_LATER and "reason" in told:
            return Refused(_reason(told["reason"]))
        return Unknown(f"HTTP {answer.status_code}")

    async def statuses(self, end_to_end_ids: Sequence[str]) -> Mapping[str, PayoutStatus]:
        """Asked in parts."""
        found: dict[str, PayoutStatus] = {}
        for start in range(0, len(end_to_end_ids), ASKED_AT_ONCE):
            asked = end_to_end_ids[start : start + ASKED_AT_ONCE]
            answer = await self._ask("POST", "/payments/query", json={"end_to_end_ids": asked})
            for each in asked:
                status = _status(answer.get(each))
                if status is None:
                    raise BankUnavailable(f"{self.name} does not answer about {each}")
                found[each] = status
        return found

    async def documents(self, since: date) -> Sequence[bytes]:
        """The statements of this customer's accounts."""
        path = f"/customers/{quote(self._customer, safe='')}/statements"
        answer = await self._ask("GET", path, params={"since": since.isoformat(), "format": self.format.name})
        told = answer.get("documents")
        if not isinstance(told, list) or not all(isinstance(each, str) for each in told):
            raise BankUnavailable(f"{self.name} does not answer with documents")
        return [each.encode() for each in told]

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _ask(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        try:
            answer = await self._client.request(method, path, **content)
        except httpx.HTTPError as error:
            raise BankUnavailable(f"{self.name} does not answer: {type(error).__name__}") from None
        if answer.status_code != httpx.codes.OK:
            raise BankUnavailable(f"{self.name} does not answer: HTTP {answer.status_code}")
        return _object(answer)


def _object(answer: httpx.Response) -> dict[str, Any]:
    try:
        told = answer.json()
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _status(told: object) -> PayoutStatus | None:
    """What the answer says of a payout, None if it says nothing that is known here."""
    if not isinstance(told, dict) or told.get("state") not in list(PayoutState):
        return None
    state = PayoutState(told["state"])
    return PayoutStatus(state, _reason(told.get("reason")) if state is PayoutState.FAILED else None)


def _reason(told: object) -> str:
    """A reason code; ISO 20022's NARR where the bank tells what is none."""
    return told if isinstance(told, str) and REASON.fullmatch(told) else UNEXPLAINED
