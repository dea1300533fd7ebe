"""A ledger with many postings: how long its answers take.

The postings are written by the code that the mirror posts with, for orders that nobody captured, into a database of
their own. The rows of the records hold what postings and answers need, and are no evidence of anything.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from hashlib import sha256

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.bench.figures import Answer, Books
from fenzhang.domain.allocation import Allocation
from fenzhang.domain.records import RecordKind
from fenzhang.ledger.balances import position, trial_balance
from fenzhang.ledger.chart import AccountKey, Chart, custody, payable
from fenzhang.ledger.moments import BlockRange
from fenzhang.ledger.posting import Draft, draft, post
from fenzhang.ledger.statement import Place, beginning, statement
from fenzhang.store.bulk import insert_tuples
from fenzhang.store.session import Database
from fenzhang.store.snapshots import freeze
from fenzhang.store.tables import Block, Record

POSTINGS_PER_ORDER = 6
"""One for the capture, and one for each of five recipients."""
_ORDERS_PER_BLOCK = 500
_RECIPIENTS = 100
_REPEATS = 20
_PAGE = 100
_RECORD_COLUMNS = (
    "id",
    "kind",
    "instruction_id",
    "order_id",
    "amount",
    "leaf",
    "batch",
    "leaf_index",
    "block_number",
    "tx_hash",
    "log_index",
    "canonical",
)


async def measure_books(url: str, postings: int) -> Books:
    """Fill a fresh database with so many postings, and ask it."""
    orders = max(1, postings // POSTINGS_PER_ORDER)
    blocks = -(-orders // _ORDERS_PER_BLOCK)
    async with Database(url) as database:
        await database.upgrade()
        began = time.perf_counter()
        chart = Chart()
        for block in range(1, blocks + 1):
            first = (block - 1) * _ORDERS_PER_BLOCK
            async with database.write() as session:
                await _fill(session, chart, block, range(first, min(first + _ORDERS_PER_BLOCK, orders)))
            chart.keep()
        filled = time.perf_counter() - began
        if not database.is_sqlite:
            async with database.write() as session:
                await session.execute(text("ANALYZE"))  # what autovacuum does within a minute
        answers = [await _asked(database, name, question) for name, question in _questions(blocks).items()]
    return Books(postings=orders * POSTINGS_PER_ORDER, fill_seconds=filled, answers=answers)


async def _fill(session: AsyncSession, chart: Chart, block: int, orders: range) -> None:
    await insert_tuples(
        session,
        Block,
        ("number", "hash", "parent_hash", "timestamp"),
        [(block, _word("block", block), _word("block", block - 1), 1_700_000_000 + block)],
    )
    records, drafts, leaves = [], list[Draft](), dict[int, bytes]()
    for order in orders:
        shares = [Allocation(_recipient(order + place), 1_980) for place in range(5)]
        for place, kind in enumerate((RecordKind.CAPTURE, RecordKind.SPLIT), start=1):
            number = 2 * order + place
            leaves[number] = _word("leaf", number)
            records.append(
                (
                    number,
                    int(kind),
                    _word("instruction", number),
                    _word("order", order),
                    9_900,
                    leaves[number],
                    block,
                    number,
                    block,
                    _word("transaction", block),
                    number,
                    True,
                )
            )
            drafts += draft(
                kind,
                currency="CNY",
                amount=9_900,
                allocations=shares,
                record_id=number,
                block_number=block,
            )
    await insert_tuples(session, Record, _RECORD_COLUMNS, records)
    await post(session, chart, drafts, leaves)


def _word(what: str, number: int) -> bytes:
    return sha256(f"{what} {number}".encode()).digest()


def _recipient(number: int) -> bytes:
    return _word("recipient", number % _RECIPIENTS)


Question = Callable[[AsyncSession], Awaitable[object]]


def _questions(blocks: int) -> dict[str, Question]:
    """What is asked. Custody is the account with the most postings."""
    middle = blocks // 2
    every = BlockRange(0, blocks)

    def page(account: AccountKey, first: int, posting: int = 0) -> Question:
        async def ask(session: AsyncSession) -> object:
            begun = await beginning(session, every)
            place = Place(begun.first, begun.last, begun.newest, first, posting)
            return await statement(session, account, place, _PAGE)

        return ask

    far = middle * _ORDERS_PER_BLOCK * POSTINGS_PER_ORDER
    return {
        "trial balance": trial_balance,
        "trial balance of a past block": lambda session: trial_balance(session, middle),
        "position": lambda session: position(session, [_recipient(0)]),
        "position at a past block": lambda session: position(session, [_recipient(0)], middle),
        "statement of a recipient, first page": page(payable("CNY", _recipient(0)), 0),
        "statement of a recipient, in the middle": page(payable("CNY", _recipient(0)), middle, far),
        "statement of custody, first page": page(custody("CNY"), 0),
        "statement of custody, in the middle": page(custody("CNY"), middle, far),
    }


async def _asked(database: Database, name: str, question: Question) -> Answer:
    seconds = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        async with database.read() as session:
            await freeze(session)
            await question(session)
        seconds.append(time.perf_counter() - began)
    seconds.sort()
    return Answer(name, seconds[len(seconds) // 2], seconds[-1])
