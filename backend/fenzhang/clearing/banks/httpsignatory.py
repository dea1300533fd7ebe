"""A clearing bank that signs over HTTP: it is asked in JSON, and answers with a signature or a reason."""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self

import httpx

from fenzhang.chain.eip712 import SigningDomain
from fenzhang.clearing.banks.interface import Refused
from fenzhang.clearing.banks.signatory import Signed
from fenzhang.clearing.errors import BankUnavailable
from fenzhang.clearing.model import REASON, UNEXPLAINED
from fenzhang.domain.clearing import Cycle, Outcome, Payout

CYCLES_PATH: Final = "/signatures/cycles"
REPORTS_PATH: Final = "/signatures/reports"
_ADDRESS: Final = re.compile(r"0x[0-9a-f]{40}")
_SIGNATURE: Final = re.compile(r"0x[0-9a-f]{2,4096}")


class HttpSignatory:
    """The bank at `url` signs for the contract of `domain`. Close it, or use it as a context manager."""

    def __init__(
        self,
        url: str,
        domain: SigningDomain,
        *,
        timeout_s: float = 30.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._url = url
        self._domain = domain
        self._client = httpx.AsyncClient(base_url=url, timeout=timeout_s, transport=transport)

    async def sign_cycle(self, cycle: Cycle, payouts: Sequence[Payout]) -> Signed | Refused:
        """The bank recomputes root and total before it signs."""
        rows = [[payout.index, _hex(payout.participant), payout.amount] for payout in payouts]
        return await self._ask(CYCLES_PATH, {"cycle": cycle_to_json(cycle), "payouts": rows})

    async def sign_report(self, cycle_id: bytes, outcomes: Sequence[Outcome]) -> Signed | Refused:
        """The bank compares with its own books before it signs."""
        rows = [[_hex(each.payout_id), each.kind.name, each.reason] for each in outcomes]
        return await self._ask(REPORTS_PATH, {"cycle_id": _hex(cycle_id), "outcomes": rows})

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _ask(self, path: str, asked: dict[str, Any]) -> Signed | Refused:
        where = {"chain_id": self._domain.chain_id, "contract": _hex(self._domain.verifying_contract)}
        try:
            answer = await self._client.post(path, json={**where, **asked})
            told = answer.json()
        except httpx.HTTPError as error:
            raise BankUnavailable(f"the clearing bank does not answer: {type(error).__name__}") from None
        except ValueError:
            raise BankUnavailable("the clearing bank does not answer in JSON") from None
        if answer.status_code == httpx.codes.OK and isinstance(told, dict):
            bank, signature = str(told.get("bank")), str(told.get("signature"))
            if _ADDRESS.fullmatch(bank) and _SIGNATURE.fullmatch(signature):
                return Signed(bytes.fromhex(bank[2:]), bytes.fromhex(signature[2:]))
        if answer.is_client_error and isinstance(told, dict) and "reason" in told:
            reason = str(told["reason"])
            return Refused(reason if REASON.fullmatch(reason) else UNEXPLAINED)
        raise BankUnavailable(f"the clearing bank does not answer: HTTP {answer.status_code}")


def cycle_to_json(cycle: Cycle) -> dict[str, Any]:
    """A cycle as the bank is told it: bytes as 0x hex."""
    found = {name: getattr(cycle, name) for name in cycle.__slots__}
    return {name: _hex(value) if isinstance(value, bytes) else value for name, value in found.items()}


def _hex(value: bytes) -> str:
    return "0x" + value.hex()
