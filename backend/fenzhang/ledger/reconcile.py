"""Reconciliation: the clearing ledger against the chain, account by account, at the mirror's checkpoint or before it.

Nothing is trusted that can be recomputed: balances come from postings, order states from rows and from records,
leaves from what the rows say, roots from leaves; and each is compared with what the contracts answer at that block.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.chain.deployments import Deployment, check_deployment
from fenzhang.chain.eip712 import capture_hash
from fenzhang.chain.errors import RpcError
from fenzhang.chain.evidence import HELD_BITS, held_of_slot, merkle_root, order_slot
from fenzhang.chain.node import NodeClient
from fenzhang.chain.views import ChainView, Totals
from fenzhang.domain.clearing import IN_TRANSIT, PAID
from fenzhang.domain.errors import FenzhangError, InvalidInput
from fenzhang.domain.records import NOTHING
from fenzhang.ledger.balances import TrialBalanceRow, trial_balance
from fenzhang.ledger.clearingcheck import compare_clearing, load_cycles, load_payouts
from fenzhang.ledger.conditioncheck import compare_conditions
from fenzhang.ledger.differences import Check, Difference
from fenzhang.ledger.evidence import Book, Evidence, examine, load_books
from fenzhang.ledger.linkcheck import examine_journal
from fenzhang.ledger.moments import BlockNotMirrored
from fenzhang.store.chain_binding import check_chain
from fenzhang.store.session import Database
from fenzhang.store.snapshots import freeze
from fenzhang.store.tables import AccountKind, Block

_ATTEMPTS = 5
"""A node that keeps few past states may drop the checkpoint's while it is asked; then the next checkpoint is taken."""


class NothingMirrored(FenzhangError):
    """The database has no block of the chain, so there is nothing to compare."""

    code = "nothing_mirrored"


class CheckpointUnknown(FenzhangError):
    """The node does not have the mirrored block: it is behind, or the mirror has a reorganisation to follow."""

    code = "checkpoint_unknown"


class StateNotKept(FenzhangError):
    """The node has the block, and not the state of the contracts at its end any more."""

    code = "state_not_kept"


class ContractsMissing(InvalidInput):
    """At the end of that block not all contracts were there yet, so there is nothing to compare."""

    code = "contracts_missing"


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """Result of a comparison at a block. Clean if there are no differences."""

    block_number: int
    block_hash: bytes
    orders: int
    accounts: int
    batches: int
    cycles: int
    payouts: int
    differences: list[Difference]


@dataclass(frozen=True, slots=True)
class _ChainSide:
    totals: dict[str, Totals]
    cleared: dict[str, tuple[int, int]]
    """In transit and paid."""
    positions: dict[tuple[str, bytes], int]
    slots: dict[bytes, int]
    roots: list[bytes]
    """Of batches 1, 2, …"""


async def reconcile(database: Database, node: NodeClient, deployment: Deployment) -> list[Difference]:
    """Everything on which chain and ledger disagree. Errors as `reconciliation`."""
    return (await reconciliation(database, node, deployment)).differences


async def reconciliation(
    database: Database,
    node: NodeClient,
    deployment: Deployment,
    at_block: int | None = None,
    *,
    accounts_only: bool = False,
) -> Reconciliation:
    """Compare ledger and chain at the mirror's checkpoint, or at the end of block `at_block`.

    `accounts_only` compares no more than the ACCOUNT_CHECKS are about. Of the past, what the ledger has posted and
    recorded up to that block is compared; the present state of orders' rows tells nothing about it.

    Raises NothingMirrored, CheckpointUnknown, DeploymentMismatch, DatabaseOfOtherChain, NodeUnavailable, RpcError;
    with `at_block` also BlockNotMirrored, ContractsMissing and StateNotKept.
    """
    await check_deployment(node, deployment)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            async with database.read() as session:
                await freeze(session)
                return await _compare(session, node, deployment, at_block, accounts_only=accounts_only)
        except (RpcError, CheckpointUnknown):
            if attempt == _ATTEMPTS:
                raise
    raise AssertionError("the last attempt returns or raises")


async def _compare(
    session: AsyncSession,
    node: NodeClient,
    deployment: Deployment,
    at_block: int | None,
    *,
    accounts_only: bool,
) -> Reconciliation:
    await check_chain(session, deployment.chain_id, deployment.split_ledger, deployment.genesis_hash)
    point = await _point(session, node, deployment, at_block)
    past = point.number if point.is_past else None
    books = {} if accounts_only else await load_books(session, past)
    rows = await trial_balance(session, past)
    # The node's turn comes as early as possible: it keeps the state of this block for a while only.
    view = ChainView(node, deployment, "0x" + point.hash.hex())
    chain = await _ask(view, books, rows, with_batches=not accounts_only)
    balances = [*_compare_accounts(chain, rows), *_compare_trial_balance(rows)]
    if accounts_only:
        return Reconciliation(point.number, point.hash, 0, len(rows), 0, 0, 0, balances)
    named = {(book.capture.platform, book.capture.condition) for book in books.values()}
    conditions = await compare_conditions(
        session, view, {key for key in named if key[1] != NOTHING}, point.number, past=point.is_past
    )
    cycles = await load_cycles(session, past)
    payouts = await load_payouts(session, past)
    clearing = await compare_clearing(view, cycles, payouts, past=point.is_past)
    accounts = {row.account_id: row.key for row in rows}
    evidence = await examine(session, books, cycles, accounts, past)
    if point.is_past:
        _forget_rows(books)
    broken = (await examine_journal(session)).fault
    differences = [
        *balances,
        *_compare_orders(chain, books),
        *_compare_batches(chain, evidence),
        *conditions,
        *clearing,
        *evidence.differences,
        *(
            [Difference(Check.JOURNAL, broken.expected, broken.found, subject=broken.subject)]
            if broken
            else []
        ),
    ]
    return Reconciliation(
        block_number=point.number,
        block_hash=point.hash,
        orders=len(books),
        accounts=len(rows),
        batches=len(chain.roots),
        cycles=len(cycles),
        payouts=len(payouts),
        differences=differences,
    )


@dataclass(frozen=True, slots=True)
class _Point:
    """The block at whose end both sides are compared."""

    number: int
    hash: bytes
    is_past: bool


async def _point(
    session: AsyncSession, node: NodeClient, deployment: Deployment, at_block: int | None
) -> _Point:
    newest = (await session.execute(select(Block).order_by(Block.number.desc()).limit(1))).scalar()
    if newest is None:
        raise NothingMirrored("the database has no block yet: start the mirror first")
    if at_block is None or at_block == newest.number:
        await _require_same(node, newest)
        return _Point(newest.number, newest.hash, is_past=False)
    if at_block > newest.number:
        raise BlockNotMirrored(at_block, newest.number)
    if at_block < deployment.block_number:
        raise ContractsMissing("at", f"the contracts were deployed from block {deployment.block_number} on")
    # Blocks without records are forgotten after a while; the next one that is known tells whether it is the same chain.
    query = select(Block).where(Block.number >= at_block).order_by(Block.number).limit(1)
    await _require_same(node, (await session.execute(query)).scalar_one())
    header = await node.block(at_block)
    if header is None:
        raise CheckpointUnknown(f"the node does not have block {at_block}")
    await _require_state(node, deployment, at_block)
    return _Point(at_block, header.hash, is_past=True)


async def _require_same(node: NodeClient, block: Block) -> None:
    header = await node.block(block.number)
    if header is None or header.hash != block.hash:
        raise CheckpointUnknown(f"the node does not have block {block.number} as it was mirrored")


async def _require_state(node: NodeClient, deployment: Deployment, number: int) -> None:
    for name, address in deployment.addresses.items():
        try:
            code = await node.code(address, number)
        except RpcError as error:
            raise StateNotKept(
                f"the node {node.name} does not keep the state of block {number} any more; ask one that keeps all "
                f"states (an archive node): {error.message}",
                block_number=number,
            ) from None
        if not code:
            raise ContractsMissing("at", f"{name} was not there yet at the end of block {number}")


def _forget_rows(books: dict[bytes, Book]) -> None:
    """Orders' rows say what is now: of the past their records alone tell."""
    for book in books.values():
        book.row_held, book.row_head = book.held, book.head


async def _ask(
    view: ChainView, books: dict[bytes, Book], rows: Sequence[TrialBalanceRow], *, with_batches: bool
) -> _ChainSide:
    currencies = {book.capture.currency for book in books.values()} | {row.currency for row in rows}
    participants: dict[str, list[bytes]] = defaultdict(list)
    for row in rows:
        if row.kind is AccountKind.RECIPIENT_PAYABLE:
            participants[row.currency].append(row.participant_id)
    totals = {currency: await view.totals(currency) for currency in sorted(currencies)}
    cleared: dict[str, tuple[int, int]] = {}
    for currency in totals:
        in_transit, paid = await view.positions(currency, (IN_TRANSIT, PAID))
        cleared[currency] = in_transit, paid
    positions: dict[tuple[str, bytes], int] = {}
    for currency, ids in participants.items():
        found = await view.positions(currency, ids)
        positions |= {(currency, owner): amount for owner, amount in zip(ids, found, strict=True)}
    order_ids = list(books)
    slots = dict(zip(order_ids, await view.order_slots(order_ids), strict=True))
    roots = await view.batch_roots(range(1, (await view.batch_count() if with_batches else 0) + 1))
    return _ChainSide(totals, cleared, positions, slots, roots)


def _compare_accounts(chain: _ChainSide, rows: Sequence[TrialBalanceRow]) -> list[Difference]:
    found: list[Difference] = []
    balances = {row.key: row.balance for row in rows}
    kinds: dict[tuple[str, str], int] = defaultdict(int)
    for key, balance in balances.items():
        kinds[key.kind, key.currency] += balance
    for currency, totals in chain.totals.items():
        in_transit, paid = chain.cleared[currency]
        for check, kind, expected in (
            (Check.BANK_CUSTODY, AccountKind.BANK_CUSTODY, totals.captured - paid),
            (Check.IN_TRANSIT, AccountKind.IN_TRANSIT, in_transit),
            (Check.ORDER_HELD, AccountKind.ORDER_HELD, totals.held),
            (Check.BUYER_REFUND_PAYABLE, AccountKind.BUYER_REFUND_PAYABLE, totals.refunded),
        ):
            if kinds[kind, currency] != expected:
                found.append(Difference(check, expected, kinds[kind, currency], currency))
        known = sum(amount for (where, _), amount in chain.positions.items() if where == currency)
        payable = totals.captured - totals.held - totals.refunded - in_transit - paid
        if known != payable:
            found.append(Difference(Check.POSITIONS, payable, known, currency))
    for row in rows:
        if row.kind is not AccountKind.RECIPIENT_PAYABLE:
            continue
        expected = chain.positions[row.currency, row.participant_id]
        if row.balance != expected:
            subject = "0x" + row.participant_id.hex()
            found.append(Difference(Check.RECIPIENT_PAYABLE, expected, row.balance, row.currency, subject))
    return found


def _compare_trial_balance(rows: Sequence[TrialBalanceRow]) -> list[Difference]:
    debits: dict[str, int] = defaultdict(int)
    credits_: dict[str, int] = defaultdict(int)
    for row in rows:
        debits[row.currency] += row.debit
        credits_[row.currency] += row.credit
    return [
        Difference(Check.TRIAL_BALANCE, debits[currency], credits_[currency], currency)
        for currency in sorted(debits)
        if debits[currency] != credits_[currency]
    ]


def _compare_orders(chain: _ChainSide, books: dict[bytes, Book]) -> list[Difference]:
    found: list[Difference] = []
    for order_id, book in books.items():
        subject, currency = "0x" + order_id.hex(), book.capture.currency
        slot = chain.slots[order_id]
        held = held_of_slot(slot)
        if held != book.row_held:
            found.append(Difference(Check.ORDER, held, book.row_held, currency, subject))
        if book.held != book.row_held:
            found.append(Difference(Check.ORDER_RECORDS, book.held, book.row_held, currency, subject))
        commitment = slot >> HELD_BITS
        for head in {book.row_head, book.head}:
            computed = order_slot(capture_hash(book.capture), head, 0) >> HELD_BITS
            if computed != commitment:
                found.append(
                    Difference(Check.ORDER_COMMITMENT, hex(commitment), hex(computed), currency, subject)
                )
    return found


def _compare_batches(chain: _ChainSide, evidence: Evidence) -> list[Difference]:
    found: list[Difference] = []
    highest = max(evidence.batches, default=0)
    if highest != len(chain.roots):
        found.append(Difference(Check.BATCHES, len(chain.roots), highest))
    for batch, root in enumerate(chain.roots, start=1):
        leaves = evidence.batches.get(batch, [])
        computed = merkle_root(leaves) if leaves else bytes(32)
        if computed != root:
            found.append(
                Difference(Check.BATCH, "0x" + root.hex(), "0x" + computed.hex(), subject=str(batch))
            )
    return found
