"""What a draft of a rule would have made of orders that are settled: `domain.whatif` over the mirrored records.

Looked at are the orders of one rule, whichever version they were captured with, that were captured in a period, with
everything that has happened to them until now. Nothing is written. Orders are read in pieces, each in a transaction of
its own, so that a long replay holds nobody up; an order that goes on meanwhile is seen as it is when its turn comes.

Counted are the splits that the draft can allocate, after returns and refunds, on both sides. Those that it cannot are
left out on both sides and listed by reason, for then there is nothing to compare.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.domain.allocation import Allocation
from fenzhang.domain.errors import GivenCount, RoleNotBound
from fenzhang.domain.records import PastRecord, RecordKind
from fenzhang.domain.rules import Leg
from fenzhang.domain.whatif import Holders, Refusal, Replayed, replay
from fenzhang.ledger.captures import captured_in, span_of, windows
from fenzhang.ledger.period import Period
from fenzhang.store import payloads, tables
from fenzhang.store.bulk import chunks
from fenzhang.store.session import Database
from fenzhang.store.tables import RuleVersion

MAX_ORDERS = 50_000
"""Orders that one replay looks at: so many take some ten seconds."""
EXAMPLES = 5
"""Orders named for each reason."""
_WINDOW = 2_000
"""Records looked through for captures at a time."""
_ORDERS = 200
"""Orders replayed without a pause for others: a few hundredths of a second."""
_ID_SIZE = 32
_SETTLED = (RecordKind.SPLIT, RecordKind.RELEASE, RecordKind.RETURN, RecordKind.REFUND)


@dataclass(frozen=True, slots=True)
class Question:
    """The legs to try, on at most `limit` orders of a rule that were captured in a period; the earliest first."""

    platform_id: bytes
    rule_id: bytes
    draft: Sequence[Leg]
    period: Period
    limit: int = MAX_ORDERS


@dataclass(frozen=True, slots=True)
class Why:
    """Why splits could not be replayed.

    `code` is that of the error by which the chain would refuse them, with its `role` or `leg` (index in the draft);
    `given_count`: the draft has GIVEN legs and the order's own version another number of them, so nobody knows what
    they would have been given; or `unknown_version`: that version is not in this database, nor who held its roles.
    """

    code: str
    role: str | None = None
    leg: int | None = None


@dataclass(slots=True)
class NotReplayed:
    """How many splits of how many orders, and the ids of the first few of the orders."""

    splits: int = 0
    orders: int = 0
    examples: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class Sums:
    """Of one participant in one currency, minor units, after returns and refunds."""

    actual: int = 0
    hypothetical: int = 0

    @property
    def difference(self) -> int:
        """What the participant would have more."""
        return self.hypothetical - self.actual


@dataclass(slots=True)
class Totals:
    """Of one currency, minor units. Both sides of what was replayed come to `amount` - `returned` - `refunded`."""

    splits: int = 0
    amount: int = 0
    returned: int = 0
    refunded: int = 0
    """From the allocations of replayed splits."""
    splits_not_replayed: int = 0
    amount_not_replayed: int = 0
    releases: int = 0
    released: int = 0
    """To the orders' merchants, which no version changes: not in the sums of participants."""


@dataclass(slots=True)
class WhatIf:
    """What came out. `complete` is false when the period has more orders than were looked at."""

    orders: int = 0
    complete: bool = True
    returns: int = 0
    """Returns from splits that were replayed."""
    returns_respread: int = 0
    """Those that named amounts which the draft's leaves do not fit; they were spread in proportion instead."""
    sums: dict[tuple[str, bytes], Sums] = field(default_factory=lambda: defaultdict(Sums))
    """By currency and participant."""
    totals: dict[str, Totals] = field(default_factory=lambda: defaultdict(Totals))
    """By currency."""
    not_replayed: dict[Why, NotReplayed] = field(default_factory=lambda: defaultdict(NotReplayed))


async def what_if(database: Database, question: Question) -> WhatIf:
    """Replay the orders that `question` asks for. Raises DatabaseUnavailable."""
    result = WhatIf()
    async with database.read() as session:
        versions = await _holders_by_version(session, question)
        span = await span_of(session, question.period)
    for window in windows(span, _WINDOW):
        async with database.read() as session:
            orders = await captured_in(session, question.platform_id, question.rule_id, window)
            wanted = orders[: question.limit - result.orders]
            for chunk in chunks(wanted, _ORDERS):
                pasts = await _pasts(session, [order.order_id for order in chunk])
                for order in chunk:
                    _take(result, order, pasts.get(order.order_id, []), versions, question.draft)
        if len(wanted) < len(orders):
            result.complete = False
            break
    return result


# ------------------------------------------------------------------------------ reading


async def _holders_by_version(session: AsyncSession, question: Question) -> dict[int, Holders]:
    query = select(RuleVersion.version, RuleVersion.legs).where(
        RuleVersion.platform_id == question.platform_id,
        RuleVersion.rule_id == question.rule_id,
        RuleVersion.proposed.is_(True),
    )
    return {
        version: Holders.of(payloads.legs_from_json(legs)) for version, legs in await session.execute(query)
    }


async def _pasts(session: AsyncSession, order_ids: Sequence[bytes]) -> dict[bytes, list[PastRecord]]:
    """The settled records of orders since their captures, in order."""
    record, leaf = tables.Record, tables.Allocation
    query = (
        select(
            record.order_id,
            record.id,
            record.kind,
            record.instruction_id,
            record.amount,
            record.split_id,
            leaf.recipient,
            leaf.amount.label("share"),
        )
        .outerjoin(leaf, leaf.record_id == record.id)
        .where(record.order_id.in_(order_ids), record.canonical.is_(True), record.kind.in_(_SETTLED))
        .order_by(record.order_id, record.id, leaf.leaf)
    )
    found: dict[bytes, list[PastRecord]] = defaultdict(list)
    for (order_id, _), rows in groupby(await session.execute(query), lambda row: (row.order_id, row.id)):
        found[order_id].append(_past_record(list(rows)))
    return found


def _past_record(rows: Sequence[Any]) -> PastRecord:
    first = rows[0]
    return PastRecord(
        RecordKind(first.kind),
        first.instruction_id,
        first.amount,
        first.split_id or bytes(_ID_SIZE),
        tuple(Allocation(row.recipient, row.share) for row in rows if row.recipient is not None),
    )


# ------------------------------------------------------------------------------ adding up


def _take(
    result: WhatIf,
    order: Any,
    past: Sequence[PastRecord],
    versions: Mapping[int, Holders],
    draft: Sequence[Leg],
) -> None:
    result.orders += 1
    totals = result.totals[order.currency]
    for record in past:
        if record.kind is RecordKind.RELEASE:
            totals.releases += 1
            totals.released += record.amount
    refused: defaultdict[Why, int] = defaultdict(int)
    holders = versions.get(order.rule_version)
    if holders is None:
        amounts = [record.amount for record in past if record.kind is RecordKind.SPLIT]
        totals.splits_not_replayed += len(amounts)
        totals.amount_not_replayed += sum(amounts)
        refused |= {Why("unknown_version"): len(amounts)} if amounts else {}
    else:
        packed: bytes = order.bindings
        bound = [packed[at : at + _ID_SIZE] for at in range(0, len(packed), _ID_SIZE)]
        for split in replay(past, holders, bound, draft):
            if split.refusal is None:
                _add(result, order.currency, totals, split)
            else:
                totals.splits_not_replayed += 1
                totals.amount_not_replayed += split.amount
                refused[_why(split.refusal)] += 1
    for why, splits in refused.items():
        _refuse(result.not_replayed[why], order.order_id, splits)


def _add(result: WhatIf, currency: str, totals: Totals, split: Replayed) -> None:
    totals.splits += 1
    totals.amount += split.amount
    totals.returned += split.returned
    totals.refunded += split.refunded
    result.returns += split.returns
    result.returns_respread += split.respread
    for leaf in split.actual:
        result.sums[currency, leaf.recipient].actual += leaf.amount
    for leaf in split.hypothetical or ():
        result.sums[currency, leaf.recipient].hypothetical += leaf.amount


def _refuse(entry: NotReplayed, order_id: bytes, splits: int) -> None:
    entry.splits += splits
    entry.orders += 1
    if len(entry.examples) < EXAMPLES:
        entry.examples.append(order_id)


def _why(refusal: Refusal) -> Why:
    if isinstance(refusal, RoleNotBound):
        return Why(refusal.code, role=str(refusal.values["role"]))
    return Why(refusal.code) if isinstance(refusal, GivenCount) else Why(refusal.code, leg=refusal.leg)
