"""From accepted instructions to rows, postings and states."""

from __future__ import annotations

from fenzhang.domain.records import RecordKind
from fenzhang.ledger.balances import balances, position, trial_balance
from fenzhang.ledger.chart import custody, order_held, payable
from fenzhang.store import tables
from fenzhang.store.tables import TransactionState
from pipeline.harness import Pipeline
from support.parties import COURIER, MALL, MERCHANT, PROMOTER, SHOP, VENDING, VENDOR


async def test_capture_and_split_settle_in_one_transaction(pipeline: Pipeline) -> None:
    capture = pipeline.world.capture(1_000)
    split = pipeline.world.split(capture.order_id, 600)
    seqs = await pipeline.accept(capture, split)

    await pipeline.round()

    assert await pipeline.states(*seqs) == ["SETTLED", "SETTLED"]
    [transaction] = await pipeline.transactions()
    assert transaction.state == TransactionState.MINED
    assert transaction.gas_used
    assert transaction.gas_used < transaction.gas_limit
    [order] = await pipeline.rows(tables.Order)
    assert (order.order_id, order.captured, order.held) == (capture.order_id, 1_000, 400)
    records = await pipeline.rows(tables.Record)
    assert [(r.kind, r.amount, r.batch, r.leaf_index) for r in records] == [
        (RecordKind.CAPTURE, 1_000, 1, 0),
        (RecordKind.SPLIT, 600, 1, 1),
    ]


async def test_postings_follow_every_kind_of_record(pipeline: Pipeline) -> None:
    world = pipeline.world
    capture = world.capture(1_000)
    split = world.split(capture.order_id, 600)
    back = world.give_back(capture.order_id, split.id, 100)
    release = world.release(capture.order_id)
    await pipeline.accept(capture, split, back, release)

    await pipeline.settle_all()

    # MARKET of 600: fee 30, promoter 60, courier 127, merchant 383; a return of 100 takes 5, 10, 21, 64.
    expected = {
        custody("CNY"): 1_000,
        order_held("CNY"): 0,
        payable("CNY", MALL.id): 25,
        payable("CNY", PROMOTER.id): 50,
        payable("CNY", COURIER.id): 127 - 21,
        payable("CNY", MERCHANT.id): 383 - 64 + 500,
    }
    async with pipeline.database.read() as session:
        found = await balances(session)
        rows = await trial_balance(session)
        merchant = await position(session, [MERCHANT.id])
    assert {key: amount for key, amount in found.items() if key in expected} == expected
    assert sum(row.debit for row in rows) == sum(row.credit for row in rows) > 0
    assert merchant == {(MERCHANT.id, "CNY"): 819}
    await pipeline.check_reconciled()


async def test_a_return_waits_until_the_split_is_mirrored(pipeline: Pipeline) -> None:
    world = pipeline.world
    capture = world.capture(1_000)
    split = world.split(capture.order_id, 600)
    back = world.give_back(capture.order_id, split.id, 100)
    again = world.split(capture.order_id, 50)
    seqs = await pipeline.accept(capture, split, back, again)

    await pipeline.submit()

    assert await pipeline.states(*seqs) == ["SUBMITTED", "SUBMITTED", "ACCEPTED", "ACCEPTED"]
    await pipeline.settle_all()
    assert await pipeline.states(*seqs) == ["SETTLED"] * 4
    await pipeline.check_reconciled()


async def test_platforms_with_keys_of_their_own_share_a_transaction(pipeline: Pipeline) -> None:
    world = pipeline.world
    mall, shop = world.capture(1_000), world.capture(500, rule=VENDING)
    pipeline.owners[shop.order_id] = SHOP.id
    await pipeline.accept(mall, shop)
    signed = world.authorize(world.split(mall.order_id, 700), world.release(mall.order_id))
    keystore = world.split(shop.order_id, 500)
    seqs = await pipeline.accept_signed(signed) + await pipeline.accept(keystore)

    await pipeline.settle_all()

    assert len(await pipeline.transactions()) == 1
    assert await pipeline.states(*seqs) == ["SETTLED"] * 3
    async with pipeline.database.read() as session:
        assert await position(session, [VENDOR.id]) == {(VENDOR.id, "CNY"): 500}
    await pipeline.check_reconciled()


async def test_a_client_s_attestation_is_relayed_as_it_was_signed(pipeline: Pipeline) -> None:
    capture = pipeline.world.capture(1_000)
    attestation = pipeline.world.attest(capture)
    seqs = await pipeline.accept_signed(attestation)

    await pipeline.settle_all()

    assert await pipeline.states(*seqs) == ["SETTLED"]
    [row] = await pipeline.rows(tables.Authorization)
    assert row.signature == attestation.signature


async def test_rejections_carry_the_chain_s_reason_and_leave_neighbours_alone(pipeline: Pipeline) -> None:
    world = pipeline.world
    capture = world.capture(1_000)
    fine, too_much = world.split(capture.order_id, 600), world.split(capture.order_id, 401)
    nowhere = world.split(world.fresh("order"), 5)
    bad_currency = world.capture(10, currency="GBP")
    seqs = await pipeline.accept(capture, fine, too_much, nowhere, bad_currency)

    await pipeline.settle_all()

    assert await pipeline.states(*seqs) == ["SETTLED", "SETTLED", "REJECTED", "REJECTED", "REJECTED"]
    assert await pipeline.reasons(*seqs) == [
        None,
        None,
        "insufficient_held",
        "unknown_order",
        "currency_not_enabled",
    ]
    rejected = await pipeline.instruction(seqs[2])
    assert rejected.reason is not None
    assert rejected.reason["values"] == {
        "order_id": "0x" + capture.order_id.hex(),
        "amount": 401,
        "held": 400,
    }
    [transaction] = await pipeline.transactions()
    assert (rejected.block_number, rejected.tx_hash) == (transaction.block_number, transaction.hash)
    await pipeline.check_reconciled()


async def test_many_orders_go_out_in_several_transactions_at_once(pipeline: Pipeline) -> None:
    world = pipeline.world
    captures = [world.capture(1_000 + n) for n in range(400)]
    splits = [world.split(capture.order_id, 900) for capture in captures]
    await pipeline.accept(*captures, *splits)

    await pipeline.submit()

    transactions = await pipeline.transactions()
    assert len(transactions) >= 2
    assert [t.state for t in transactions] == ["SENT"] * len(transactions)
    assert max(len(t.raw) for t in transactions) <= 128 * 1024
    await pipeline.settle_all()
    assert all(t.gas_used and t.gas_used < t.gas_limit for t in await pipeline.transactions())
    await pipeline.check_reconciled()


async def test_completions_are_numbered_in_order(pipeline: Pipeline) -> None:
    capture = pipeline.world.capture(1_000)
    seqs = await pipeline.accept(capture, pipeline.world.split(capture.order_id, 600))

    await pipeline.settle_all()

    completions = await pipeline.rows(tables.Completion)
    assert [(c.id, c.instruction_seq, c.state) for c in completions] == [
        (1, seqs[0], "SETTLED"),
        (2, seqs[1], "SETTLED"),
    ]
