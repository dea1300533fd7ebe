"""Which lines of statements belong to which payouts. Pure; nothing else decides it.

Lines that name an end-to-end id are taken together by it: they may be split, merged, doubled and reversed, and what
they come to is the payout's story. Lines that name none are matched only where nothing else is possible (`guessless`).
Every line ends either matched or in one sighting.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import reduce
from itertools import accumulate
from typing import Any

from fenzhang.clearing.model import PayoutState, PayoutStatus
from fenzhang.clearing.reconciliation.model import BreakKind, Sighting
from fenzhang.clearing.states import after
from fenzhang.store.banktables import BankPaymentState
from fenzhang.store.reconciliationtables import Comparison, MatchedBy


@dataclass(frozen=True, slots=True)
class Line:
    """A booked line of a statement, or a payment in one, as `statement_lines` has it."""

    id: int
    bank: str
    currency: str
    booked_on: date
    amount: int
    end_to_end_id: str | None = None
    reference: str | None = None
    message_id: str | None = None
    reason: str | None = None
    reversal: bool = False
    is_part: bool = True
    matched_by: MatchedBy | None = None
    """As it was stored before."""

    @property
    def is_return(self) -> bool:
        """Whether money came back with a reason, or that is taken back."""
        return self.amount < 0 if self.reversal else self.reason is not None and self.amount > 0


@dataclass(frozen=True, slots=True)
class Payout:
    """A payout as it was prepared. `sent_on` is the day on which it may have been sent first."""

    end_to_end_id: str
    message_id: str
    bank: str
    currency: str
    amount: int
    sent_on: date
    state: BankPaymentState


@dataclass(frozen=True, slots=True)
class Match:
    """What a line belongs to: payouts and how much of it is for each. No payout: a reversal, or funding."""

    by: MatchedBy
    shares: tuple[tuple[str, int], ...] = ()


@dataclass(slots=True)
class Matching:
    """What came of lines, by id, and what it says of payouts, in order."""

    matches: dict[int, Match] = field(default_factory=dict)
    sightings: list[Sighting] = field(default_factory=list)
    said: dict[str, list[PayoutStatus]] = field(default_factory=dict)

    def match(self, lines: Iterable[Line], by: MatchedBy, end_to_end_id: str | None = None) -> None:
        """Each line as a whole."""
        for line in lines:
            shares = () if end_to_end_id is None else ((end_to_end_id, line.amount),)
            self.matches[line.id] = Match(by, shares)

    def see(
        self, kind: BreakKind, subject: str, lines: Sequence[Line], amount: int | None = None, **details: Any
    ) -> None:
        """These lines are a break, of what they come to unless `amount` says otherwise."""
        total = sum(line.amount for line in lines)
        told = {"lines": total, "booked_on": min(line.booked_on for line in lines).isoformat()}
        references = sorted({line.reference for line in lines if line.reference is not None})
        if references:
            told["references"] = references[:10]
        self.sightings.append(
            Sighting(
                Comparison.BANK,
                kind.value,
                subject,
                lines[0].currency,
                total if amount is None else amount,
                told | details,
                tuple(line.id for line in lines),
            )
        )

    def is_news(self, lines: Iterable[Line], payouts: Mapping[str, Payout]) -> bool:
        """Whether it changes what is stored about these lines, or a state of these payouts."""
        for line in lines:
            match = self.matches.get(line.id)
            if (None if match is None else match.by) != line.matched_by:
                return True
        return any(
            reduce(after, (status.state for status in said), payouts[name].state) != payouts[name].state
            for name, said in self.said.items()
        )


# ------------------------------------------------------------------------------ lines that name a payout


def stories(lines: Iterable[Line], payouts: Mapping[str, Payout]) -> Matching:
    """What lines that name an end-to-end id say together. They must be all of those that name it."""
    groups: defaultdict[str, list[Line]] = defaultdict(list)
    for line in lines:
        if line.end_to_end_id is not None:
            groups[line.end_to_end_id].append(line)
    found = Matching()
    for name, group in groups.items():
        group.sort(key=lambda line: (line.booked_on, line.id))
        _story(found, name, group, payouts.get(name))
    return found


def _story(found: Matching, name: str, group: list[Line], payout: Payout | None) -> None:
    if payout is None:
        for currency in sorted({line.currency for line in group}):
            told = [line for line in group if line.currency == currency]
            came_back = all(line.is_return for line in told)
            kind = BreakKind.RETURN_UNKNOWN if came_back else BreakKind.LINE_WITHOUT_PAYOUT
            found.see(kind, name, told)
        return
    foreign = [line for line in group if line.currency != payout.currency]
    for currency in sorted({line.currency for line in foreign}):
        told = [line for line in foreign if line.currency == currency]
        found.see(BreakKind.CURRENCY_DIFFERS, name, told, payout=payout.amount, expected=payout.currency)
    own = [line for line in group if line.currency == payout.currency]
    if own:
        _own_story(found, payout, own)


def _own_story(found: Matching, payout: Payout, lines: list[Line]) -> None:
    """Paid as often as it came back, or once more, is a payout's story. Anything else is a break."""
    name, amount = payout.end_to_end_id, payout.amount
    returns = [line for line in lines if line.is_return]
    payments = [line for line in lines if not line.is_return]
    out, back = -sum(line.amount for line in payments), sum(line.amount for line in returns)
    reasons = [line.reason for line in returns if line.reason is not None]
    paid = PayoutStatus(PayoutState.PAID)
    came_back = PayoutStatus(PayoutState.FAILED, reasons[-1] if reasons else None)
    whole = out % amount == 0 and back % amount == 0
    # A return alone says that it was paid before, on a statement that nobody has.
    if whole and out >= 0 and (out - back in {0, amount} or (out, back) == (0, amount)):
        found.match(lines, MatchedBy.REFERENCE, name)
        found.said[name] = [paid] * (out + back > 0) + [came_back] * (back > 0 and out <= back)
        return
    first = _first_payment(payments, amount)
    if out < amount or first is None:
        kind = BreakKind.RETURN_UNKNOWN if out == 0 else BreakKind.AMOUNT_DIFFERS
        found.see(kind, name, lines, payout=amount)
        return
    # It was paid, whatever else happened.
    found.match(first, MatchedBy.REFERENCE, name)
    found.said[name] = [paid]
    rest = [line for line in lines if line not in first]
    if out == amount or (whole and back >= out):
        kind = BreakKind.RETURN_UNKNOWN
    else:
        kind = BreakKind.PAID_TWICE if whole else BreakKind.AMOUNT_DIFFERS
    found.see(kind, name, rest, payout=amount)


def _first_payment(lines: list[Line], amount: int) -> list[Line] | None:
    """The first lines that together are the payout; or any that are."""
    for count, total in enumerate(accumulate(line.amount for line in lines), 1):
        if total == -amount:
            return lines[:count]
    debits = [line for line in lines if line.amount < 0]
    chosen = sets_of([-line.amount for line in debits], amount)
    return [debits[place] for place in chosen[0]] if chosen else None


# ------------------------------------------------------------------------------ lines that name nothing


def reversals(lines: Sequence[Line]) -> list[tuple[Line, Line]]:
    """Lines without end-to-end ids that take each other back: the bank's own reversal, and what it names."""
    left: defaultdict[tuple[str, str, str | None, int], list[Line]] = defaultdict(list)
    for line in lines:
        if not line.reversal:
            left[line.bank, line.currency, line.reference, line.amount].append(line)
    found: list[tuple[Line, Line]] = []
    for line in lines:
        if line.reversal:
            booked = left[line.bank, line.currency, line.reference, -line.amount]
            if booked:
                found.append((line, booked.pop(0)))
    return found


WORK = 20_000
"""Sums that are looked at for one line before it is given up as ambiguous."""


def sets_of(amounts: Sequence[int], total: int) -> list[tuple[int, ...]] | None:
    """Places of amounts (all above zero) that add up to `total`: none, one or two of such sets.

    None when finding out would take too long.
    """
    everything = sum(amounts)
    if total == everything:
        return [tuple(range(len(amounts)))] if amounts else []
    if not 0 < total < everything:
        return []
    aim = min(total, everything - total)
    sums: dict[int, list[tuple[int, ...]]] = {0: [()]}
    for place, amount in enumerate(amounts):
        for before, ways in [(each, tuple(ways)) for each, ways in sums.items() if each + amount <= aim]:
            known = sums.setdefault(before + amount, [])
            known += [(*way, place) for way in ways][: 2 - len(known)]
        if len(sums) > WORK:
            return None
    found = sums.get(aim, [])
    if aim == total:
        return found
    return [tuple(sorted(set(range(len(amounts))).difference(way))) for way in found]
