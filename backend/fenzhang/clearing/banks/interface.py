"""What clearing asks of a bank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from fenzhang.clearing.formats import Format
from fenzhang.clearing.model import PayoutStatus


@dataclass(frozen=True, slots=True)
class Accepted:
    """The bank has the file."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The bank says that it does not take the file, with a reason code."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody can say whether the bank has the file. It is asked for its payouts, and never sent it blindly again."""

    why: str


Submission = Accepted | Refused | Unknown


class Bank(Protocol):
    """An adapter. It keeps nothing that is needed after a crash, and repeats nothing by itself."""

    @property
    def name(self) -> str:
        """Which bank, 1 to 64 characters; stored beside the files that go there."""

    @property
    def format(self) -> Format:
        """Of its files and documents."""

    async def submit(self, message_id: str, content: bytes) -> Submission:
        """Hand over a file, once. Whatever goes wrong on the way is Unknown, never an exception."""

    async def statuses(self, end_to_end_ids: Sequence[str]) -> Mapping[str, PayoutStatus]:
        """What the bank says of payouts. Those that it says nothing about, not even NOT_KNOWN, are left out.

        Raises BankUnavailable, also for an answer that is none.
        """

    async def documents(self, since: date) -> Sequence[bytes]:
        """Its statements from a day on. Raises BankUnavailable."""
