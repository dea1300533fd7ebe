"""Reconciliation is clean after everything that may happen, and names every row that was changed behind its back."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import CursorResult, delete, insert, select, update

from fenzhang.chain.keccak import keccak
from fenzhang.domain.records import RecordKind
from fenzhang.ledger.differences import Check, Difference
from fenzhang.ledger.moments import BlockNotMirrored
from fenzhang.ledger.reconcile import (
    CheckpointUnknown,
    ContractsMissing,
    NothingMirrored,
    Reconciliation,
    StateNotKept,
    reconcile,
    reconciliation,
)
from fenzhang.store import tables
from fenzhang.store.tables import AccountKind
from pipeline.conftest import KEPT_STATES
from pipeline.harness import Pipeline
from support.databases import drop_triggers
from support.parties import MERCHANT

SPLITS = select(tables.Record.id).where(tables.Record.kind == int(RecordKind.SPLIT))
ON_SQLITE = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
"""What was changed is found by the same comparison whatever the database."""


@pytest.fixture
async def market(pipeline: Pipeline) -> Pipeline:
    """Orders with all that can happen to one, in a database that lets itself be changed."""
    world = pipeline.world
    pipeline.mine()
    for n in range(3):
        capture = world.capture(1_000 + n, currency=("CNY", "USD", "CNY")[n])
        split = world.split(capture.order_id, 600)
        await pipeline.accept(
            capture,
            split,
            world.split(capture.order_id, 5_000),
            world.give_back(capture.order_id, split.id, 100),
            *([world.release(capture.order_id)] if n == 2 else []),
        )
    await pipeline.settle_all()
    await drop_triggers(pipeline.database)
    return pipeline


async def _differences(pipeline: Pipeline) -> list[Difference]:
    return await reconcile(pipeline.database, pipeline.node, pipeline.world.system.deployment)


async def _change(pipeline: Pipeline, statement: Any) -> None:
    async with pipeline.database.write() as session:
        result = await session.execute(statement.execution_options(synchronize_session=False))
        assert isinstance(result, CursorResult)
        assert result.rowcount == 1


async def test_nothing_differs_after_a_day_of_trade(market: Pipeline) -> None:
    result = await reconciliation(market.database, market.node, market.world.system.deployment)

    assert result.differences == []
    assert result.orders == 3
    assert result.batches == len(await market.transactions())
    assert result.block_number == market.mirror.checkpoint


async def test_a_changed_posting_is_named_with_its_accounts(market: Pipeline) -> None:
    [posting, *_] = await market.rows(tables.Posting, tables.Posting.record_id.in_(SPLITS))
    await _change(
        market,
        update(tables.Posting).where(tables.Posting.id == posting.id).values(amount=posting.amount + 1),
    )

    found = await _differences(market)

    checks = {difference.check for difference in found}
    assert {Check.ORDER_HELD, Check.RECIPIENT_PAYABLE, Check.POSTING} <= checks
    [payable] = [d for d in found if d.check is Check.RECIPIENT_PAYABLE]
    assert isinstance(payable.chain, int)
    assert payable.ledger == payable.chain + 1
    [account] = await market.rows(tables.Account, tables.Account.id == posting.credit_account_id)
    assert (payable.currency, payable.subject) == (account.currency, "0x" + account.participant_id.hex())
    [named] = [d for d in found if d.check is Check.POSTING]
    assert named.subject is not None
    assert named.subject.startswith(f"record {posting.record_id} ")


@ON_SQLITE
async def test_two_changes_that_even_out_are_found(market: Pipeline) -> None:
    """Sums alone would not show it."""
    first, second, *_ = [
        posting
        for posting in await market.rows(tables.Posting, tables.Posting.record_id.in_(SPLITS))
        if posting.credit_account_id == await _account(market, MERCHANT.id, "CNY")
    ]
    for posting, change in ((first, 1), (second, -1)):
        await _change(
            market,
            update(tables.Posting)
            .where(tables.Posting.id == posting.id)
            .values(amount=posting.amount + change),
        )

    *changed, journal = await _differences(market)
    assert [difference.check for difference in changed] == [Check.POSTING, Check.POSTING]
    assert (journal.check, journal.subject) == (Check.JOURNAL, f"posting {first.id}")


async def _account(pipeline: Pipeline, participant: bytes, currency: str) -> int:
    [account] = await pipeline.rows(
        tables.Account, tables.Account.participant_id == participant, tables.Account.currency == currency
    )
    return int(account.id)


@ON_SQLITE
async def test_a_deleted_posting_is_found(market: Pipeline) -> None:
    [*_, last] = await market.rows(tables.Posting)
    await _change(market, delete(tables.Posting).where(tables.Posting.id == last.id))

    assert Check.POSTING in {difference.check for difference in await _differences(market)}


@ON_SQLITE
async def test_a_posting_moved_to_another_block_is_found(market: Pipeline) -> None:
    """Only balances of the past would show it."""
    [posting, *_] = await market.rows(tables.Posting, tables.Posting.record_id.in_(SPLITS))
    await _change(
        market,
        update(tables.Posting)
        .where(tables.Posting.id == posting.id)
        .values(block_number=posting.block_number + 1),
    )

    difference, journal = await _differences(market)

    assert (journal.check, journal.subject) == (Check.JOURNAL, f"posting {posting.id}")
    assert difference.check is Check.POSTING
    assert str(difference.ledger).endswith(f"not in block {posting.block_number}")


@ON_SQLITE
async def test_an_invented_posting_is_found(market: Pipeline) -> None:
    [*_, last] = await market.rows(tables.Posting)
    copy = {
        "id": last.id + 1,
        "debit_account_id": last.debit_account_id,
        "credit_account_id": last.credit_account_id,
        "amount": 5,
        "record_id": last.record_id,
        "block_number": last.block_number,
    }
    await _change(market, insert(tables.Posting).values(copy))

    checks = {difference.check for difference in await _differences(market)}
    assert {Check.POSTING, Check.RECIPIENT_PAYABLE} <= checks


@ON_SQLITE
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"held": 7}, {Check.ORDER, Check.ORDER_RECORDS}),
        ({"head": bytes(32)}, {Check.ORDER_COMMITMENT}),
        ({"captured": 1}, {Check.ORDER_COMMITMENT, Check.RECORD}),
        ({"merchant": bytes(32)}, {Check.ORDER_COMMITMENT, Check.RECORD}),
        ({"currency": "EUR"}, {Check.ORDER_COMMITMENT, Check.RECORD, Check.POSTING}),
    ],
    ids=["held", "head", "captured", "merchant", "currency"],
)
async def test_a_changed_order_is_named(
    market: Pipeline, values: dict[str, Any], expected: set[Check]
) -> None:
    [order, *_] = await market.rows(tables.Order)
    await _change(market, update(tables.Order).where(tables.Order.order_id == order.order_id).values(values))

    found = await _differences(market)

    assert {difference.check for difference in found} == expected
    for difference in found:
        assert difference.subject is not None
        assert order.order_id.hex() in difference.subject
    if "held" in values:
        [held] = [d for d in found if d.check is Check.ORDER]
        assert (held.chain, held.ledger) == (order.held, 7)


@ON_SQLITE
async def test_a_deleted_order_is_found(market: Pipeline) -> None:
    [order, *_] = await market.rows(tables.Order)
    await _change(market, delete(tables.Order).where(tables.Order.order_id == order.order_id))

    assert Difference(Check.ORDER, "captured", "no row", subject="0x" + order.order_id.hex()) in (
        await _differences(market)
    )


@ON_SQLITE
@pytest.mark.parametrize(
    "kind", [RecordKind.SPLIT, RecordKind.RETURN, RecordKind.RELEASE, RecordKind.REJECTION]
)
@pytest.mark.parametrize(
    "values",
    [{"amount": 3}, {"instruction_id": bytes(32)}, {"leaf": bytes(32)}, {"canonical": False}],
    ids=["amount", "instruction_id", "leaf", "canonical"],
)
async def test_a_changed_record_is_named(market: Pipeline, kind: RecordKind, values: dict[str, Any]) -> None:
    [record, *_] = await market.rows(tables.Record, tables.Record.kind == int(kind))
    await _change(market, update(tables.Record).where(tables.Record.id == record.id).values(values))

    found = await _differences(market)

    checks = {difference.check for difference in found}
    if "amount" in values or "instruction_id" in values:
        assert Check.RECORD in checks
        assert any((d.subject or "").startswith(f"{record.id} ") for d in found)
    else:
        assert Check.BATCH in checks
        assert str(record.batch) in {d.subject for d in found if d.check is Check.BATCH}


@ON_SQLITE
async def test_a_changed_reason_is_found(market: Pipeline) -> None:
    [record, *_] = await market.rows(tables.Record, tables.Record.kind == int(RecordKind.REJECTION))
    lie = {**record.reason, "code": "unknown_order"}
    await _change(market, update(tables.Record).where(tables.Record.id == record.id).values(reason=lie))

    assert [difference.check for difference in await _differences(market)] == [Check.RECORD]


@ON_SQLITE
async def test_a_changed_allocation_is_found(market: Pipeline) -> None:
    [allocation, *_] = await market.rows(tables.Allocation)
    await _change(
        market,
        update(tables.Allocation)
        .where(tables.Allocation.record_id == allocation.record_id, tables.Allocation.leaf == allocation.leaf)
        .values(amount=allocation.amount + 1),
    )

    checks = {difference.check for difference in await _differences(market)}
    assert checks == {Check.RECORD, Check.POSTING}


@ON_SQLITE
async def test_an_account_given_to_somebody_else_is_found(market: Pipeline) -> None:
    [account, *_] = await market.rows(
        tables.Account, tables.Account.kind == AccountKind.RECIPIENT_PAYABLE.value
    )
    await _change(
        market,
        update(tables.Account).where(tables.Account.id == account.id).values(participant_id=b"\1" * 32),
    )

    checks = {difference.check for difference in await _differences(market)}
    assert {Check.RECIPIENT_PAYABLE, Check.POSITIONS, Check.POSTING} <= checks


@ON_SQLITE
async def test_a_changed_slot_on_chain_is_found(market: Pipeline) -> None:
    """The chain's side of the same comparison: a position is set behind the contract's back."""
    deployment = market.world.system.deployment
    address = "0x" + deployment.split_ledger.hex()
    node = market.world.node
    [order, *_] = await market.rows(tables.Order, tables.Order.held > 0)
    slot = await _slot_of_order(market, order.order_id)
    value = int(node.request("eth_getStorageAt", address, slot, "latest"), 16)
    node.request("anvil_setStorageAt", address, slot, f"0x{value + 1:064x}")
    market.mine()
    await market.follow()

    [difference] = await _differences(market)

    assert difference.check is Check.ORDER
    assert (difference.chain, difference.ledger) == (order.held + 1, order.held)


async def _slot_of_order(market: Pipeline, order_id: bytes) -> str:
    """Storage slot of an order: the mapping is looked for among the first slots of the contract."""
    address = "0x" + market.world.system.deployment.split_ledger.hex()
    for base in range(10):
        slot = "0x" + keccak(order_id + base.to_bytes(32, "big")).hex()
        if int(market.world.node.request("eth_getStorageAt", address, slot, "latest"), 16):
            return slot
    raise AssertionError("the order's slot was not found")


async def test_before_anything_is_mirrored_there_is_nothing_to_compare(pipeline: Pipeline) -> None:
    with pytest.raises(NothingMirrored):
        await _differences(pipeline)


async def test_a_block_that_the_node_does_not_have_is_not_compared(market: Pipeline) -> None:
    await _change(
        market,
        update(tables.Block).where(tables.Block.number == market.mirror.checkpoint).values(hash=bytes(32)),
    )
    with pytest.raises(CheckpointUnknown):
        await _differences(market)


# ------------------------------------------------------------------------------ as of a block


async def _at(pipeline: Pipeline, block_number: int) -> Reconciliation:
    return await reconciliation(
        pipeline.database, pipeline.node, pipeline.world.system.deployment, block_number
    )


async def test_every_block_of_the_day_agrees_as_it_was_then(market: Pipeline) -> None:
    """Later blocks have changed balances, orders and positions since."""
    order, *_ = await market.rows(tables.Order)
    for _ in range(3):
        await market.accept(market.world.split(order.order_id, 40), market.world.refund(order.order_id, 30))
        await market.settle_all()
    newest = market.mirror.checkpoint
    assert newest is not None
    first = min(record.block_number for record in await market.rows(tables.Record))
    assert newest - first > 3

    found = [await _at(market, number) for number in range(first - 1, newest + 1)]

    assert [result.differences for result in found] == [[]] * len(found)
    assert [result.block_number for result in found] == list(range(first - 1, newest + 1))
    assert (found[0].orders, found[0].batches) == (0, 0)
    assert (found[-1].orders, found[-1].batches) == (3, len(await market.transactions()))
    assert [result.batches for result in found] == sorted(result.batches for result in found)
    now = await reconciliation(market.database, market.node, market.world.system.deployment)
    assert (found[-1].block_hash, found[-1].accounts) == (now.block_hash, now.accounts)


@ON_SQLITE
async def test_what_was_changed_is_named_from_its_block_on(market: Pipeline) -> None:
    [*_, posting] = await market.rows(tables.Posting)
    await _change(
        market,
        update(tables.Posting).where(tables.Posting.id == posting.id).values(amount=posting.amount + 1),
    )

    before, then = [await _at(market, posting.block_number + change) for change in (-1, 0)]

    assert [difference.check for difference in before.differences] == [Check.JOURNAL]
    assert {Check.POSTING, Check.RECIPIENT_PAYABLE} <= {each.check for each in then.differences}


@ON_SQLITE
async def test_the_present_row_of_an_order_says_nothing_about_the_past(market: Pipeline) -> None:
    [order, *_] = await market.rows(tables.Order)
    await _change(market, update(tables.Order).where(tables.Order.order_id == order.order_id).values(held=7))

    market.mine()
    await market.follow()

    assert market.mirror.checkpoint is not None
    assert (await _at(market, market.mirror.checkpoint - 1)).differences == []
    assert (await _at(market, market.mirror.checkpoint)).differences != []


@ON_SQLITE
async def test_a_block_that_cannot_be_compared_is_refused(market: Pipeline) -> None:
    newest = market.mirror.checkpoint
    assert newest is not None
    deployed = market.world.system.deployment.block_number

    with pytest.raises(BlockNotMirrored) as ahead:
        await _at(market, newest + 1)
    with pytest.raises(ContractsMissing) as early:
        await _at(market, deployed - 1)

    assert ahead.value.values == {"block_number": newest + 1, "newest": newest}
    assert early.value.field == "at"


@ON_SQLITE
async def test_a_node_that_has_dropped_the_state_says_so(market: Pipeline) -> None:
    newest = market.mirror.checkpoint
    assert newest is not None
    market.world.node.request("anvil_mine", hex(2 * KEPT_STATES))
    await market.follow()

    with pytest.raises(StateNotKept) as refused:
        await _at(market, newest)

    assert refused.value.values == {"block_number": newest}
    assert "archive node" in refused.value.message
    assert await _differences(market) == []
