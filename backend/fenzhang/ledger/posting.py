"""Which posting each kind of record makes, and how postings are written and reversed.

CAPTURE: debit bank custody, credit order held. SPLIT and RELEASE: debit order held, credit recipient payable.
RETURN: debit recipient payable, credit order held. REFUND: debit order held and recipient payable, credit buyer refund
payable. RESOLUTION: debit recipient payable of the suspense position, credit that of who gets it. PAYOUT: debit
recipient payable, credit in transit. PAYOUT_PAID: debit in transit, credit bank custody. PAYOUT_FAILED: debit in
transit, credit recipient payable. PAYOUT_RETURNED: debit bank custody, credit recipient payable. CYCLE and REJECTION:
none. A leaf of 0 makes none either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.domain.allocation import Allocation
from fenzhang.domain.journal import Link, links, new_lines
from fenzhang.domain.records import RecordKind
from fenzhang.ledger.chart import (
    AccountKey,
    Chart,
    buyer_refund_payable,
    custody,
    in_transit,
    order_held,
    payable,
)
from fenzhang.ledger.links import head, insert_links, link_stored
from fenzhang.store.bulk import insert_rows, insert_tuples
from fenzhang.store.tables import Posting, Record

_COLUMNS = ("id", "debit_account_id", "credit_account_id", "amount", "record_id", "block_number")


class Draft(NamedTuple):
    """A posting to be written: `amount` minor units from the debit to the credit account, because of a record."""

    debit: AccountKey
    credit: AccountKey
    amount: int
    record_id: int
    block_number: int


def draft(
    kind: RecordKind,
    *,
    currency: str,
    amount: int,
    allocations: Iterable[Allocation],
    record_id: int,
    block_number: int,
) -> list[Draft]:
    """The postings of one record.

    `allocations` are those of a SPLIT or RETURN, or a REFUND's takes; a RELEASE has one, the merchant's; a RESOLUTION
    two, the suspense position and who gets what was in it; those of a payout one, its participant's.
    """
    held = order_held(currency)
    match kind:
        case RecordKind.CAPTURE:
            return [Draft(custody(currency), held, amount, record_id, block_number)]
        case RecordKind.SPLIT | RecordKind.RELEASE:
            return [
                Draft(held, payable(currency, leaf.recipient), leaf.amount, record_id, block_number)
                for leaf in allocations
                if leaf.amount
            ]
        case RecordKind.REFUND:
            buyer, leaves = buyer_refund_payable(currency), list(allocations)
            from_held = amount - sum(leaf.amount for leaf in leaves)
            taken = [
                (held, from_held),
                *((payable(currency, leaf.recipient), leaf.amount) for leaf in leaves),
            ]
            return [Draft(debit, buyer, take, record_id, block_number) for debit, take in taken if take]
        case RecordKind.RESOLUTION:
            suspense, heir = (payable(currency, leaf.recipient) for leaf in allocations)
            return [Draft(suspense, heir, amount, record_id, block_number)]
        case RecordKind.CYCLE | RecordKind.REJECTION:
            return []
        case _:
            return [
                Draft(*_accounts(kind, currency, leaf.recipient), leaf.amount, record_id, block_number)
                for leaf in allocations
                if leaf.amount
            ]


def _accounts(kind: RecordKind, currency: str, participant: bytes) -> tuple[AccountKey, AccountKey]:
    """Debit and credit for an allocation of a RETURN, or of a payout's records."""
    position, transit = payable(currency, participant), in_transit(currency)
    match kind:
        case RecordKind.RETURN:
            return position, order_held(currency)
        case RecordKind.PAYOUT:
            return position, transit
        case RecordKind.PAYOUT_PAID:
            return transit, custody(currency)
        case RecordKind.PAYOUT_FAILED:
            return transit, position
        case _:
            return custody(currency), position


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of postings and of their links, numbered, to be written by the next write transaction of their writer."""

    rows: Sequence[tuple[int, ...]] = ()
    links: Sequence[Link] = ()


async def post(
    session: AsyncSession, chart: Chart, drafts: Sequence[Draft], leaves: Mapping[int, bytes]
) -> None:
    """Write postings and their links in bulk, and the accounts that they need. `leaves` are their records', by id."""
    await write_page(session, chart, await number(session, chart, drafts, leaves))


async def number(
    session: AsyncSession, chart: Chart, drafts: Sequence[Draft], leaves: Mapping[int, bytes]
) -> Page:
    """Number postings and link them; nothing is written. There is one writer, the mirror, so that the numbers hold."""
    await chart.assign(session, {key for item in drafts for key in (item.debit, item.credit)})
    if not drafts:
        return Page()
    first = await _last_id(session) + 1
    id_of = chart.id_of
    rows = [
        (number, id_of(debit), id_of(credit), amount, record_id, block_number)
        for number, (debit, credit, amount, record_id, block_number) in enumerate(drafts, first)
    ]
    lines = new_lines(
        first,
        (
            (debit, credit, amount, leaves[record_id], block_number)
            for debit, credit, amount, record_id, block_number in drafts
        ),
    )
    return Page(rows, list(links(await head(session), lines)))


async def write_page(session: AsyncSession, chart: Chart, page: Page) -> None:
    """Insert what `number` came to, and the accounts that it needed."""
    await chart.open(session)
    await insert_tuples(session, Posting, _COLUMNS, page.rows)
    await insert_links(session, page.links)


async def reverse_after(session: AsyncSession, block_number: int) -> int:
    """Write reversing postings, and their links, for those of canonical records above `block_number`.

    Returns how many.

    Call it before those records lose `canonical`: a record is orphaned once, so a posting is reversed once.
    """
    query = (
        select(
            Posting.id,
            Posting.debit_account_id,
            Posting.credit_account_id,
            Posting.amount,
            Posting.record_id,
            Posting.block_number,
        )
        .join(Record, Record.id == Posting.record_id)
        .where(Record.block_number > block_number, Record.canonical.is_(True), Posting.reverses_id.is_(None))
        .order_by(Posting.id)
    )
    originals = (await session.execute(query)).all()
    if not originals:
        return 0
    number = await _last_id(session)
    await insert_rows(
        session,
        Posting,
        [
            {
                "id": number + place,
                "debit_account_id": original.credit_account_id,
                "credit_account_id": original.debit_account_id,
                "amount": original.amount,
                "record_id": original.record_id,
                "block_number": original.block_number,
                "reverses_id": original.id,
            }
            for place, original in enumerate(originals, start=1)
        ],
    )
    await link_stored(session, number + 1)
    return len(originals)


async def _last_id(session: AsyncSession) -> int:
    return (await session.execute(select(func.max(Posting.id)))).scalar() or 0
