"""Whether the rows of records, allocations and postings are still what the chain recorded."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.chain.abi import role_text
from fenzhang.chain.codec import decode_revert
from fenzhang.chain.eip712 import capture_hash, cycle_words_hash
from fenzhang.chain.evidence import (
    ZERO_HEAD,
    content_of_payout,
    content_of_payout_end,
    content_of_refund,
    content_of_rejection,
    content_of_release,
    content_of_resolution,
    content_of_return,
    content_of_split,
    next_head,
    record_leaf,
)
from fenzhang.domain.allocation import Allocation
from fenzhang.domain.money import MAX_AMOUNT
from fenzhang.domain.past import add_up, held_change
from fenzhang.domain.records import NOTHING, Capture, RecordKind
from fenzhang.ledger.chart import AccountKey
from fenzhang.ledger.differences import Check, Difference
from fenzhang.ledger.posting import draft
from fenzhang.store import tables
from fenzhang.store.clearingtables import CycleRow, as_on_chain
from fenzhang.store.orders import capture_of
from fenzhang.store.reasons import bank_reason_to_json, reason_to_json

_Entry = tuple[AccountKey | int, AccountKey | int, int]
"""Debit account, credit account (its number if there is no such account), amount."""
_OF_CYCLES = frozenset(
    {
        RecordKind.CYCLE,
        RecordKind.PAYOUT,
        RecordKind.PAYOUT_PAID,
        RecordKind.PAYOUT_FAILED,
        RecordKind.PAYOUT_RETURNED,
    }
)
_OF_NO_ORDER = _OF_CYCLES | {RecordKind.REJECTION, RecordKind.RESOLUTION}
"""What says nothing of an order's money: it is not part of any order's history."""
_PAGE = 2_000


@dataclass(slots=True)
class Book:
    """An order's row, and what its canonical records make of it."""

    capture: Capture
    row_held: int
    row_head: bytes
    held: int = 0
    head: bytes = ZERO_HEAD


@dataclass(slots=True)
class Evidence:
    """What all records come to."""

    books: dict[bytes, Book]
    cycles: dict[bytes, CycleRow] = field(default_factory=dict)
    batches: defaultdict[int, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    """Leaves of canonical records by batch, in order."""
    differences: list[Difference] = field(default_factory=list)


async def load_books(session: AsyncSession, until: int | None = None) -> dict[bytes, Book]:
    """All orders' rows; with `until`, of those that were captured up to the end of that block."""
    books: dict[bytes, Book] = {}
    query = select(tables.Order)
    if until is not None:
        captured = select(tables.Record.order_id).where(
            tables.Record.kind == RecordKind.CAPTURE,
            tables.Record.canonical.is_(True),
            tables.Record.block_number <= until,
        )
        query = query.where(tables.Order.order_id.in_(captured))
    for order in (await session.execute(query)).scalars():
        books[order.order_id] = Book(capture_of(order), order.held, order.head)
    return books


async def examine(
    session: AsyncSession,
    books: dict[bytes, Book],
    cycles: Iterable[CycleRow],
    accounts: Mapping[int, AccountKey],
    until: int | None = None,
) -> Evidence:
    """Read all records with their allocations and postings, and compare each with its leaf.

    With `until`, the records up to the end of that block.
    """
    evidence = Evidence(books, {cycle.cycle_id: cycle for cycle in cycles})
    async for records, leaves, postings in _pages(session, until):
        for record in records:
            allocations = tuple(leaves.get(record.id, ()))
            posted = postings.get(record.id, [])
            _check_leaf(evidence, record, allocations, _currency_of(posted, accounts))
            _check_postings(evidence, record, allocations, posted, accounts)
            if record.canonical:
                _take(evidence, record, allocations)
    return evidence


async def _pages(
    session: AsyncSession, until: int | None
) -> AsyncIterator[tuple[Sequence[Row[Any]], dict[int, list[Allocation]], dict[int, list[Row[Any]]]]]:
    record, allocation, posting = (
        tables.Record.__table__.c,
        tables.Allocation.__table__.c,
        tables.Posting.__table__.c,
    )
    after = 0
    while True:
        query = select(tables.Record.__table__).where(record.id > after).order_by(record.id).limit(_PAGE)
        if until is not None:
            query = query.where(record.block_number <= until)
        records = (await session.execute(query)).all()
        if not records:
            return
        last = records[-1].id
        leaves = await session.execute(
            select(allocation.record_id, allocation.recipient, allocation.amount)
            .where(allocation.record_id > after, allocation.record_id <= last)
            .order_by(allocation.record_id, allocation.leaf)
        )
        postings = await session.execute(
            select(tables.Posting.__table__)
            .where(posting.record_id > after, posting.record_id <= last)
            .order_by(posting.record_id, posting.id)
        )
        yield (
            records,
            {
                key: [Allocation(row.recipient, row.amount) for row in rows]
                for key, rows in groupby(leaves, lambda row: row.record_id)
            },
            {key: list(rows) for key, rows in groupby(postings, lambda row: row.record_id)},
        )
        after = last


def _check_leaf(
    evidence: Evidence, record: Row[Any], allocations: tuple[Allocation, ...], currency: str
) -> None:
    book = evidence.books.get(record.order_id)
    amount = (record.reason or {}).get("amount", record.amount)
    if RecordKind(record.kind) in _OF_CYCLES:
        cycle = evidence.cycles.get(record.cycle_id or NOTHING)
        if cycle is not None and record.kind == RecordKind.CYCLE and amount == MAX_AMOUNT:
            amount = cycle.signed_total
        content = _content_of_cycle(record, cycle, allocations, currency)
    else:
        content = _content(record, book, allocations, currency)
    if content is None:
        # An orphaned record of an order or cycle that is not there (any more): its leaf cannot be made again.
        return
    leaf = record_leaf(RecordKind(record.kind), record.instruction_id, record.order_id, amount, content)
    if (
        leaf != record.leaf
        or not add_up(RecordKind(record.kind), record.amount, allocations)
        or not _reason_holds(record)
    ):
        evidence.differences.append(
            Difference(
                Check.RECORD,
                chain="0x" + record.leaf.hex(),
                ledger="0x" + leaf.hex(),
                currency=book.capture.currency if book else None,
                subject=_subject(record),
            )
        )


def _subject(record: Row[Any]) -> str:
    if record.cycle_id is not None:
        return f"{record.id} of cycle 0x{record.cycle_id.hex()}"
    return f"{record.id} of order 0x{record.order_id.hex()}"


def _reason_holds(record: Row[Any]) -> bool:
    """Whether a reason's code, message and values are those of the bytes that the chain recorded."""
    if not record.reason:
        return True
    data = bytes.fromhex(record.reason.get("data", "0x")[2:])
    if record.kind == RecordKind.REJECTION:
        said = reason_to_json(decode_revert(data))
    else:
        said = bank_reason_to_json(role_text(data), data)
    return said == {key: record.reason.get(key) for key in said}


def _content_of_cycle(
    record: Row[Any], cycle: CycleRow | None, allocations: tuple[Allocation, ...], currency: str
) -> bytes | None:
    """Content of a closed cycle, or of what became of a payout."""
    kind = RecordKind(record.kind)
    if kind is RecordKind.CYCLE:
        return cycle_words_hash(cycle.encoded) if cycle and record.canonical else None
    known = as_on_chain(cycle.currency) if cycle else currency
    if not known or not allocations:
        return None
    owner = (record.cycle_id or NOTHING, known, allocations[0].recipient)
    if kind in {RecordKind.PAYOUT, RecordKind.PAYOUT_PAID}:
        return content_of_payout(*owner)
    return content_of_payout_end(
        *owner, role_text(bytes.fromhex((record.reason or {}).get("data", "0x")[2:]))
    )


def _content(
    record: Row[Any], book: Book | None, allocations: tuple[Allocation, ...], currency: str
) -> bytes | None:
    content: bytes | None
    match RecordKind(record.kind):
        case RecordKind.CAPTURE:
            content = capture_hash(book.capture) if book and record.canonical else None
        case RecordKind.SPLIT:
            content = content_of_split(allocations)
        case RecordKind.RELEASE:
            content = content_of_release(allocations[0].recipient if allocations else NOTHING)
        case RecordKind.RETURN:
            content = content_of_return(record.split_id or NOTHING, allocations)
        case RecordKind.REFUND:
            content = content_of_refund(allocations)
        case RecordKind.RESOLUTION:
            # Without its postings and allocations, which are differences themselves, it cannot be made again.
            known = currency and allocations
            content = content_of_resolution(currency, allocations[-1].recipient) if known else None
        case _:
            content = content_of_rejection(bytes.fromhex((record.reason or {}).get("data", "0x")[2:]))
    return content


def _check_postings(
    evidence: Evidence,
    record: Row[Any],
    allocations: tuple[Allocation, ...],
    postings: Sequence[Row[Any]],
    accounts: Mapping[int, AccountKey],
) -> None:
    def name(account_id: int) -> AccountKey | int:
        return accounts.get(account_id, account_id)

    originals = [row for row in postings if row.reverses_id is None]
    actual: Counter[_Entry] = Counter(
        (name(r.debit_account_id), name(r.credit_account_id), r.amount) for r in originals
    )
    book = evidence.books.get(record.order_id)
    # The currency of an orphaned order is known only from what was posted for it.
    currency = book.capture.currency if book else _currency_of(originals, accounts)
    expected: Counter[_Entry] = Counter(
        (item.debit, item.credit, item.amount)
        for item in draft(
            RecordKind(record.kind),
            currency=currency,
            amount=record.amount,
            allocations=allocations,
            record_id=record.id,
            block_number=record.block_number,
        )
    )
    undone = {row.reverses_id: row for row in postings if row.reverses_id is not None}
    must_undo = set() if record.canonical else {row.id for row in originals}
    swapped = all(
        row.id in undone
        and (row.debit_account_id, row.credit_account_id, row.amount)
        == (undone[row.id].credit_account_id, undone[row.id].debit_account_id, undone[row.id].amount)
        for row in originals
        if row.id in must_undo
    )
    # A posting in another block would falsify past balances, although today's were right.
    in_block = all(row.block_number == record.block_number for row in postings)
    if actual == expected and undone.keys() == must_undo and swapped and in_block:
        return
    evidence.differences.append(
        Difference(
            Check.POSTING,
            chain=_describe(expected),
            ledger=_describe(actual)
            + (f", {len(undone)} reversed" if undone or must_undo else "")
            + ("" if in_block else f", not in block {record.block_number}"),
            currency=currency or None,
            subject=f"record {_subject(record)}",
        )
    )


def _currency_of(postings: Sequence[Row[Any]], accounts: Mapping[int, AccountKey]) -> str:
    known = [accounts[row.debit_account_id].currency for row in postings if row.debit_account_id in accounts]
    return known[0] if known else ""


def _describe(postings: Counter[_Entry]) -> str:
    if not postings:
        return "nothing"
    return "; ".join(
        f"{amount} from {_account(debit)} to {_account(credit)}"
        for (debit, credit, amount), count in postings.items()
        for _ in range(count)
    )


def _account(account: AccountKey | int) -> str:
    if isinstance(account, int):
        return f"unknown account {account}"
    owner = f" 0x{account.participant_id.hex()}" if any(account.participant_id) else ""
    return f"{account.kind}{owner}"


def _take(evidence: Evidence, record: Row[Any], allocations: tuple[Allocation, ...]) -> None:
    evidence.batches[record.batch].append(record.leaf)
    if (record.kind in _OF_CYCLES or record.cycle_id) and record.cycle_id not in evidence.cycles:
        subject = "0x" + (record.cycle_id or b"").hex()
        evidence.differences.append(Difference(Check.CYCLE, "closed", "no row", subject=subject))
    if record.kind in _OF_NO_ORDER:
        return
    book = evidence.books.get(record.order_id)
    if book is None:
        subject = "0x" + record.order_id.hex()
        evidence.differences.append(Difference(Check.ORDER, "captured", "no row", subject=subject))
        return
    taken = sum(allocation.amount for allocation in allocations)
    book.held += held_change(RecordKind(record.kind), record.amount, taken)
    if record.kind != RecordKind.CAPTURE:
        book.head = next_head(book.head, record.leaf)
