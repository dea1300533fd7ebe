"""Reconciliation is clean after everything that may happen, and names every row that was changed behind its back."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update

from fenzhang.chain.keccak import keccak
from fenzhang.domain.records import RecordKind
from fenzhang.ledger.differences import Check, Difference
from fenzhang.ledger.reconcile import (
    CheckpointUnknown,
    NothingMirrored,
    reconciliation,
)
from fenzhang.store import tables
from fenzhang.store.tables import AccountKind
from pipeline.comparing import ON_SQLITE, change, differences, play
from pipeline.harness import Pipeline
from pipeline.histories import Play
from support.parties import MERCHANT

SPLITS = select(tables.Record.id).where(tables.Record.kind == int(RecordKind.SPLIT))


@pytest.fixture(scope="module")
def played() -> Play:
    """What the tests go on from."""
    return play


@pytest.fixture
def market(continued: Pipeline) -> Pipeline:
    """Orders with all that can happen to one, in a database that lets itself be changed."""
    return continued


async def test_nothing_differs_after_a_day_of_trade(market: Pipeline) -> None:
    result = await reconciliation(market.database, market.node, market.world.system.deployment)

    assert result.differences == []
    assert result.orders == 3
    assert result.batches == len(await market.transactions())
    assert result.block_number == market.mirror.checkpoint


async def test_a_changed_posting_is_named_with_its_accounts(market: Pipeline) -> None:
    [posting, *_] = await market.rows(tables.Posting, tables.Posting.record_id.in_(SPLITS))
    await change(
        market,
        update(tables.Posting).where(tables.Posting.id == posting.id).values(amount=posting.amount + 1),
    )

    found = await differences(market)

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
    for posting, more in ((first, 1), (second, -1)):
        await change(
            market,
            update(tables.Posting)
            .where(tables.Posting.id == posting.id)
            .values(amount=posting.amount + more),
        )

    *changed, journal = await differences(market)
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
    await change(market, delete(tables.Posting).where(tables.Posting.id == last.id))

    assert Check.POSTING in {difference.check for difference in await differences(market)}


@ON_SQLITE
async def test_a_posting_moved_to_another_block_is_found(market: Pipeline) -> None:
    """Only balances of the past would show it."""
    [posting, *_] = await market.rows(tables.Posting, tables.Posting.record_id.in_(SPLITS))
    await change(
        market,
        update(tables.Posting)
        .where(tables.Posting.id == posting.id)
        .values(block_number=posting.block_number + 1),
    )

    difference, journal = await differences(market)

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
    await change(market, insert(tables.Posting).values(copy))

    checks = {difference.check for difference in await differences(market)}
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
    await change(market, update(tables.Order).where(tables.Order.order_id == order.order_id).values(values))

    found = await differences(market)

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
    await change(market, delete(tables.Order).where(tables.Order.order_id == order.order_id))

    assert Difference(Check.ORDER, "captured", "no row", subject="0x" + order.order_id.hex()) in (
        await differences(market)
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
    await change(market, update(tables.Record).where(tables.Record.id == record.id).values(values))

    found = await differences(market)

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
    await change(market, update(tables.Record).where(tables.Record.id == record.id).values(reason=lie))

    assert [difference.check for difference in await differences(market)] == [Check.RECORD]


@ON_SQLITE
async def test_a_changed_allocation_is_found(market: Pipeline) -> None:
    [allocation, *_] = await market.rows(tables.Allocation)
    await change(
        market,
        update(tables.Allocation)
        .where(tables.Allocation.record_id == allocation.record_id, tables.Allocation.leaf == allocation.leaf)
        .values(amount=allocation.amount + 1),
    )

    checks = {difference.check for difference in await differences(market)}
    assert checks == {Check.RECORD, Check.POSTING}


@ON_SQLITE
async def test_an_account_given_to_somebody_else_is_found(market: Pipeline) -> None:
    [account, *_] = await market.rows(
        tables.Account, tables.Account.kind == AccountKind.RECIPIENT_PAYABLE.value
    )
    await change(
        market,
        update(tables.Account).where(tables.Account.id == account.id).values(participant_id=b"\1" * 32),
    )

    checks = {difference.check for difference in await differences(market)}
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

    [difference] = await differences(market)

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
        await differences(pipeline)


async def test_a_block_that_the_node_does_not_have_is_not_compared(market: Pipeline) -> None:
    await change(
        market,
        update(tables.Block).where(tables.Block.number == market.mirror.checkpoint).values(hash=bytes(32)),
    )
    with pytest.raises(CheckpointUnknown):
        await differences(market)
