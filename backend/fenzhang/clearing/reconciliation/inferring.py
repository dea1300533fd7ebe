"""Lines that name no payout, matched where amount, currency, day and file leave no choice. Pure.

As many lines as payouts of an amount leave none either: whichever belongs to which, all of them are paid. What lines
come to here explains them; that a payout is paid the bank says itself, or a line that names it. Only money that came
back changes a payout, for nobody asks the bank about one that it paid.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, TypeVar

from fenzhang.clearing.model import PayoutState, PayoutStatus
from fenzhang.clearing.reconciliation.matching import Line, Match, Matching, Payout, reversals, sets_of
from fenzhang.clearing.reconciliation.model import BreakKind
from fenzhang.store.banktables import BankPaymentState as State
from fenzhang.store.reconciliationtables import MatchedBy

EARLIEST: Final = timedelta(days=1)
"""Before the day on which a payout was sent, by our clock: the bank's day may be another one."""
LATEST: Final = timedelta(days=10)
"""After it: what is booked later needs a reference."""
_LIVE: Final = frozenset({State.UNKNOWN, State.SENT, State.PAID, State.DISPUTED, State.RETURNED})
"""A payout of these may stand behind a line. Of one that is UNKNOWN the bank first has to say that it has it."""
_Key = TypeVar("_Key", bound=Hashable)
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Open:
    """What inference chooses from: payouts that no line explains yet, and those that lines say were paid."""

    unexplained: Sequence[Payout]
    paid: Sequence[Payout] = ()
    """And did not come back."""


@dataclass(slots=True)
class _Claim:
    """Lines that are explained by payouts, if nobody else claims these."""

    lines: Sequence[Line]
    payouts: Sequence[Payout]
    by: MatchedBy
    returned: Sequence[Line] = ()
    """Of as many payouts, the last ones."""


@dataclass(slots=True)
class _Pool:
    """What is left of lines and payouts."""

    debits: list[Line]
    returns: list[Line]
    unexplained: list[Payout]
    paid: list[Payout]
    claims: list[_Claim] = field(default_factory=list)


def infer(lines: Sequence[Line], open_: Open, *, funding: bool) -> Matching:
    """Match lines without end-to-end ids. `funding`: money that came in without any reference is for captures.

    Lines that were matched before are there to be taken back, and stay as they are otherwise.
    """
    found = Matching()
    for pair in reversals(sorted(lines, key=lambda line: (line.matched_by is not None, line.id))):
        found.match(pair, MatchedBy.REVERSAL)
    left = [line for line in lines if line.id not in found.matches and line.matched_by is None]
    returns = [line for line in left if line.is_return and not line.reversal]
    debits = [line for line in left if line.amount < 0 and not line.reversal]
    for line in left:
        if line.reversal or (line.amount >= 0 and not line.is_return):
            if funding and not line.reversal:
                found.match([line], MatchedBy.FUNDING)
            else:
                found.see(BreakKind.LINE_WITHOUT_PAYOUT, _subject(line), [line])
    pool = _Pool(debits, returns, list(open_.unexplained), list(open_.paid))
    while _round(pool, found):
        pass
    _leave(pool, found)
    return found


def _subject(line: Line) -> str:
    return f"line {line.id}"


def _round(pool: _Pool, found: Matching) -> bool:
    """Match what leaves no choice now; whether anything did. What is matched may leave less choice to the others."""
    claims = [*_claims_of_one(pool), *_claims_of_files(pool), *_claims_of_returns(pool)]
    payouts = Counter(payout.end_to_end_id for claim in claims for payout in claim.payouts)
    lines = Counter(line.id for claim in claims for line in (*claim.lines, *claim.returned))
    sure = [
        claim
        for claim in claims
        if all(payouts[each.end_to_end_id] == 1 and each.state is not State.UNKNOWN for each in claim.payouts)
        and all(lines[line.id] == 1 for line in (*claim.lines, *claim.returned))
    ]
    for claim in sure:
        _settle(pool, claim, found)
    return bool(sure)


def _settle(pool: _Pool, claim: _Claim, found: Matching) -> None:
    names = {payout.end_to_end_id for payout in claim.payouts}
    back = dict(zip((each.end_to_end_id for each in claim.payouts[::-1]), claim.returned, strict=False))
    if claim.by is MatchedBy.FILE:
        [line] = claim.lines
        shares = tuple((payout.end_to_end_id, -payout.amount) for payout in claim.payouts)
        found.matches[line.id] = Match(claim.by, shares)
    else:
        for line, payout in zip(claim.lines, claim.payouts, strict=False):
            found.match([line], claim.by, payout.end_to_end_id)
    for name, line in back.items():
        found.match([line], claim.by, name)
        found.said[name] = [PayoutStatus(PayoutState.PAID), PayoutStatus(PayoutState.FAILED, line.reason)]
    done = {line.id for line in (*claim.lines, *claim.returned)}
    pool.debits = [line for line in pool.debits if line.id not in done]
    pool.returns = [line for line in pool.returns if line.id not in done]
    pool.paid += [each for each in claim.payouts if claim.lines and each.end_to_end_id not in back]
    pool.paid = [each for each in pool.paid if each.end_to_end_id not in back]
    pool.unexplained = [each for each in pool.unexplained if each.end_to_end_id not in names]


# ------------------------------------------------------------------------------ claims


def _claims_of_one(pool: _Pool) -> Iterable[_Claim]:
    """Lines of an amount, and all payouts of this amount that they may be."""
    debits = _grouped(pool.debits, lambda line: (line.bank, line.currency, -line.amount))
    returns = _grouped(pool.returns, lambda line: (line.bank, line.currency, line.amount))
    payouts = _grouped(pool.unexplained, lambda each: (each.bank, each.currency, each.amount))
    paid = _grouped(pool.paid, lambda each: (each.bank, each.currency, each.amount))
    for key, lines in debits.items():
        for some, of_file in _by_file(lines):
            known = [each for each in payouts.get(key, ()) if of_file in {None, each.message_id}]
            live = [each for each in known if each.state in _LIVE]
            failed = [each for each in known if each.state is State.FAILED]
            back = returns.get(key, [])
            pairs = _paired(some, live)
            returned: list[Line] = []
            all_failed = [each for each in payouts.get(key, ()) if each.state is State.FAILED]
            if back and len(back) == len(failed) == len(all_failed) and not paid.get(key):
                # What the bank said had failed was paid, and came back.
                pairs, returned = _paired(some, [*live, *failed]), back
            if pairs is not None and not any(_sum_of_several(pool, line) for line in some):
                pairs.sort(key=lambda pair: pair[1].state is State.FAILED)
                chosen = [payout for _, payout in pairs]
                yield _Claim([line for line, _ in pairs], chosen, MatchedBy.AMOUNT, returned)


def _by_file(lines: Sequence[Line]) -> Iterable[tuple[list[Line], str | None]]:
    """Lines that name the message id of their file, file by file, and the others."""
    for message_id, some in _grouped(lines, lambda line: line.message_id or "").items():
        yield some, message_id or None


def _paired(lines: Sequence[Line], payouts: Sequence[Payout]) -> list[tuple[Line, Payout]] | None:
    """Each line with a payout, if there are as many payouts that any of them may be. All are of one amount."""
    may_be = [payout for payout in payouts if any(_fits(line, payout) for line in lines)]
    if len(may_be) != len(lines):
        return None
    # Days in order: if any way of pairing fits, this one does.
    ordered = sorted(lines, key=lambda line: (line.booked_on, line.id))
    may_be.sort(key=lambda payout: (payout.sent_on, payout.end_to_end_id))
    pairs = list(zip(ordered, may_be, strict=True))
    return pairs if all(_fits(line, payout) for line, payout in pairs) else None


def _fits(line: Line, payout: Payout) -> bool:
    """Whether bank, currency, file and day allow it."""
    return (
        (line.bank, line.currency) == (payout.bank, payout.currency)
        and line.message_id in {None, payout.message_id}
        and payout.sent_on - EARLIEST <= line.booked_on <= payout.sent_on + LATEST
    )


def _claims_of_files(pool: _Pool) -> Iterable[_Claim]:
    """Lines that are the sum of some payouts of one file, and in one way only."""
    for line in pool.debits:
        if line.is_part or any(_is_one(line, payout) for payout in pool.unexplained):
            continue
        ways = _sums(pool, line)
        if ways is not None and len(ways) == 1:
            yield _Claim([line], ways[0], MatchedBy.FILE)


def _is_one(line: Line, payout: Payout) -> bool:
    return payout.amount == -line.amount and payout.state in _LIVE and _fits(line, payout)


def _sum_of_several(pool: _Pool, line: Line) -> bool:
    """Whether a line may be several payouts at once, or that cannot be told."""
    if line.is_part:
        return False
    ways = _sums(pool, line)
    return ways is None or any(len(way) > 1 for way in ways)


def _sums(pool: _Pool, line: Line) -> list[list[Payout]] | None:
    """Payouts of one file that add up to a line: no such way, one or some. None when that cannot be told."""
    files = _grouped(
        [each for each in pool.unexplained if each.state in _LIVE and _fits(line, each)],
        lambda each: each.message_id,
    )
    ways: list[list[Payout]] = []
    for payouts in files.values():
        found = sets_of([each.amount for each in payouts], -line.amount)
        if found is None:
            return None
        ways += [[payouts[place] for place in way] for way in found]
    return ways


def _claims_of_returns(pool: _Pool) -> Iterable[_Claim]:
    """Money that came back, where all that was paid of this amount did, and no other payout can be meant."""
    paid = _grouped(pool.paid, lambda each: (each.bank, each.currency, each.amount))
    others = {(each.bank, each.currency, each.amount) for each in pool.unexplained}
    returns = _grouped(pool.returns, lambda line: (line.bank, line.currency, line.amount))
    for key, lines in returns.items():
        payouts = paid.get(key, [])
        if len(payouts) == len(lines) and key not in others:
            yield _Claim((), payouts, MatchedBy.AMOUNT, lines)


def _grouped(items: Iterable[_Item], key: Callable[[_Item], _Key]) -> dict[_Key, list[_Item]]:
    groups: defaultdict[_Key, list[_Item]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return groups


# ------------------------------------------------------------------------------ what is left


def _leave(pool: _Pool, found: Matching) -> None:
    """What several payouts might explain is ambiguous, what none does has no payout."""
    for line in pool.debits:
        possible = [
            each
            for each in pool.unexplained
            if each.state in _LIVE and each.amount == -line.amount and _fits(line, each)
        ]
        if possible or _sum_of_several(pool, line):
            names = [each.end_to_end_id for each in possible[:10]]
            found.see(BreakKind.AMBIGUOUS, _subject(line), [line], payouts=names)
        elif not line.is_part and line.message_id is not None:
            found.see(BreakKind.AMOUNT_DIFFERS, _subject(line), [line], message_id=line.message_id)
        else:
            found.see(BreakKind.LINE_WITHOUT_PAYOUT, _subject(line), [line])
    for line in pool.returns:
        possible = [each for each in pool.paid if each.amount == line.amount and each.bank == line.bank]
        names = [each.end_to_end_id for each in possible if each.currency == line.currency]
        kind = BreakKind.AMBIGUOUS if names else BreakKind.RETURN_UNKNOWN
        found.see(kind, _subject(line), [line], payouts=names[:10])
