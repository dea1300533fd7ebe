"""Netting: what a cycle pays to whom, and why it pays nothing to others. Amounts are minor units of one currency.

What a participant is due is told by records and blocks alone, never by a clock, and payouts come in order of
participant ids, so whoever computes a cycle from the same facts gets the same payouts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fenzhang.domain.errors import InvalidInput
from fenzhang.domain.money import MAX_AMOUNT

MAX_PAYOUT: Final = 10**18 - 1
"""Largest payout: banks have 18 digits. What is due beyond it is carried forward."""
MAX_TOTAL: Final = MAX_AMOUNT
"""Largest sum of a cycle's payouts; the same holds for what is beyond."""


class LeftOut(StrEnum):
    """Why a cycle pays nothing to somebody. What is due stays due, and a later cycle looks again."""

    DEBT_ABOVE_CAP = "DEBT_ABOVE_CAP"
    """It owes more than the scheme's net debit cap."""
    IN_DEBT = "IN_DEBT"
    """It owes, or what it is due is used up by what it owes elsewhere."""
    FROZEN = "FROZEN"
    SUSPENDED = "SUSPENDED"
    """It is suspended on the chain, or not enrolled there."""
    NOT_CONSENTED = "NOT_CONSENTED"
    """It agrees to receive from no platform any more."""
    NO_ACCOUNT = "NO_ACCOUNT"
    """No bank account is stored for it in this currency."""
    BELOW_MINIMUM = "BELOW_MINIMUM"
    """It is due less than the scheme's smallest payout, or more than fits into one cycle."""


OBSTACLES: Final = (LeftOut.FROZEN, LeftOut.SUSPENDED, LeftOut.NOT_CONSENTED, LeftOut.NO_ACCOUNT)
"""What stands in the way of a participant's payouts whatever the amount; the first that applies is told."""


@dataclass(frozen=True, slots=True)
class Dues:
    """What a participant's accounts say, for one cycle of one scheme."""

    participant: bytes
    brought_forward: int
    """Due before the cycle, less what payouts of the scheme took and did not give back; may be negative."""
    credit: int
    """Gross, of the cycle's blocks."""
    debit: int
    """The same, as a positive number."""
    position: int
    """On all schemes together, at the block as of which is netted; a debt is below 0."""

    @property
    def due(self) -> int:
        """By membership, before anything else is looked at."""
        return self.brought_forward + self.credit - self.debit


@dataclass(frozen=True, slots=True)
class Net:
    """What a cycle does for a participant. Either it pays, or `left_out` says why not, or nothing was due."""

    dues: Dues
    amount: int
    left_out: LeftOut | None = None

    @property
    def carried_forward(self) -> int:
        """What a later cycle finds as brought forward, if nothing happens in between."""
        return self.dues.due - self.amount


@dataclass(frozen=True, slots=True)
class Netting:
    """All that a cycle does, by participant id. Payouts have the indices 0, 1, 2 … in this order."""

    nets: tuple[Net, ...]

    @property
    def payouts(self) -> tuple[Net, ...]:
        """Those that are paid."""
        return tuple(net for net in self.nets if net.amount)

    @property
    def total(self) -> int:
        """Sum of the payouts."""
        return sum(net.amount for net in self.nets)

    @property
    def breaches(self) -> tuple[Net, ...]:
        """Debts above the net debit cap."""
        return tuple(net for net in self.nets if net.left_out is LeftOut.DEBT_ABOVE_CAP)


def net(
    dues: Iterable[Dues],
    obstacles: Mapping[bytes, frozenset[LeftOut]],
    *,
    min_payout: int = 1,
    net_debit_cap: int | None = None,
) -> Netting:
    """Net a cycle. `obstacles` are those of participants that have some. Raises InvalidInput for one who comes twice.

    Participants with nothing to tell about, no movement and nothing due, are not in the result.
    """
    nets: list[Net] = []
    room = MAX_TOTAL
    for each in sorted(dues, key=lambda each: each.participant):
        if nets and nets[-1].dues.participant == each.participant:
            raise InvalidInput("dues", f"0x{each.participant.hex()} comes twice")
        found = _net(
            each, obstacles.get(each.participant, frozenset()), room, max(min_payout, 1), net_debit_cap
        )
        room -= found.amount
        nets.append(found)
    return Netting(tuple(found for found in nets if _is_worth_telling(found)))


def _net(
    dues: Dues, obstacles: frozenset[LeftOut], room: int, min_payout: int, net_debit_cap: int | None
) -> Net:
    if dues.position < 0:
        above = net_debit_cap is not None and -dues.position > net_debit_cap
        return Net(dues, 0, LeftOut.DEBT_ABOVE_CAP if above else LeftOut.IN_DEBT)
    if dues.due == 0:
        return Net(dues, 0)
    payable = min(dues.due, dues.position)
    if payable <= 0:
        return Net(dues, 0, LeftOut.IN_DEBT)
    for obstacle in OBSTACLES:
        if obstacle in obstacles:
            return Net(dues, 0, obstacle)
    amount = min(payable, MAX_PAYOUT, room)
    return Net(dues, amount) if amount >= min_payout else Net(dues, 0, LeftOut.BELOW_MINIMUM)


def _is_worth_telling(net: Net) -> bool:
    dues = net.dues
    return bool(net.amount or dues.due or dues.credit or dues.debit or net.left_out)
