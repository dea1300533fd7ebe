"""Whose signature closes cycles and reports what became of payouts: the clearing bank's, wherever its key is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fenzhang.chain.eip712 import SigningDomain, cycle_digest, report_digest
from fenzhang.chain.signer import LocalKey
from fenzhang.clearing.banks.interface import Refused
from fenzhang.domain.clearing import Cycle, Outcome, Payout


@dataclass(frozen=True, slots=True)
class Signed:
    """The bank's account on the chain (20 bytes), and its signature."""

    bank: bytes
    signature: bytes


class Signatory(Protocol):
    """Signs, or refuses with a reason code. Asking again for the same is harmless: the chain does things once."""

    async def sign_cycle(self, cycle: Cycle, payouts: Sequence[Payout]) -> Signed | Refused:
        """Close a cycle that pays `payouts`, which are in order of their indices. Raises BankUnavailable."""

    async def sign_report(self, cycle_id: bytes, outcomes: Sequence[Outcome]) -> Signed | Refused:
        """Report what became of payouts of a cycle. Raises BankUnavailable."""


class LocalSignatory:
    """Signs with a key that this process has, whatever it is asked: where bank and operator are one."""

    def __init__(self, key: LocalKey, domain: SigningDomain) -> None:
        self._key = key
        self._domain = domain

    async def sign_cycle(self, cycle: Cycle, payouts: Sequence[Payout]) -> Signed | Refused:  # noqa: ARG002 -- it trusts
        """The key's signature."""
        return Signed(self._key.address, self._key.sign_digest(cycle_digest(self._domain, cycle)))

    async def sign_report(self, cycle_id: bytes, outcomes: Sequence[Outcome]) -> Signed | Refused:
        """The key's signature."""
        digest = report_digest(self._domain, cycle_id, outcomes)
        return Signed(self._key.address, self._key.sign_digest(digest))
