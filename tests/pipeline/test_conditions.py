"""Conditions from stored instructions to the chain: what waits, what goes with the missing capture, what ends."""

from __future__ import annotations

import pytest
from sqlalchemy import delete, update

from fenzhang.chain.codec import EXPIRE_SELECTOR
from fenzhang.domain.conditions import ConditionState
from fenzhang.domain.records import Capture, Instruction, RecordKind
from fenzhang.ledger.differences import Check, Difference
from fenzhang.ledger.reconcile import reconcile
from fenzhang.store import tables
from fenzhang.store.conditions import condition_of
from fenzhang.store.payloads import ConditionConfirmation, ConditionOpening
from fenzhang.store.tables import AccountKind, InstructionType
from pipeline.harness import Pipeline
from support.parties import MALL, PAIR, SHOP, STRANGER
from support.system import OUTSIDER
from support.world import World

pytestmark = pytest.mark.either_database


async def opened(
    pipeline: Pipeline, needed: int, deadline: int = 2**40, confirmer: bytes = bytes(32)
) -> bytes:
    """A condition that was asked for, opened and mirrored."""
    condition_id = pipeline.world.fresh("condition")
    opening = ConditionOpening(MALL.id, condition_id, needed, deadline, confirmer)
    seq = await pipeline.ask(InstructionType.CONDITION, MALL.id, opening)
    await pipeline.settle_all()
    assert await pipeline.states(seq) == ["SETTLED"]
    return condition_id


def order_of(world: World, condition: bytes, amount: int = 100) -> tuple[Capture, Instruction]:
    """An order under a condition, and a split of all of it."""
    order = world.capture(amount, rule=PAIR, condition=condition)
    return order, world.split(order.order_id, amount)


async def row_of(pipeline: Pipeline, condition: bytes) -> tables.Condition:
    [row] = await pipeline.rows(tables.Condition, tables.Condition.condition_id == condition)
    assert isinstance(row, tables.Condition)
    return row


async def state_of(pipeline: Pipeline, condition: bytes) -> tuple[int, bool, ConditionState]:
    row = await row_of(pipeline, condition)
    return row.count, row.reached, condition_of(row).state_at(pipeline.world.node.now)


async def reach(pipeline: Pipeline, timestamp: int) -> None:
    """A block of this time, mirrored."""
    pipeline.world.node.next_block_at(timestamp)
    pipeline.mine()
    await pipeline.follow()


async def held(pipeline: Pipeline) -> list[int]:
    return [row.held for row in await pipeline.rows(tables.Order)]


async def test_a_split_goes_with_the_capture_that_was_missing(pipeline: Pipeline) -> None:
    group = await opened(pipeline, 2)
    first, its_split = order_of(pipeline.world, group)
    captured, waiting = await pipeline.accept(first, its_split)
    await pipeline.round()
    await pipeline.round()
    assert await pipeline.states(captured, waiting) == ["SETTLED", "ACCEPTED"]
    before = len(await pipeline.transactions())
    await pipeline.round()
    assert len(await pipeline.transactions()) == before, "nothing is sent that the chain would skip"
    assert await state_of(pipeline, group) == (1, False, ConditionState.OPEN)

    last, split = order_of(pipeline.world, group)
    seqs = await pipeline.accept(last, split)
    await pipeline.round()

    assert await pipeline.states(waiting, *seqs) == ["SETTLED"] * 3
    assert len(await pipeline.transactions()) == before + 1
    assert await state_of(pipeline, group) == (2, True, ConditionState.REACHED)
    await pipeline.check_reconciled()


async def test_a_group_that_comes_at_once_is_captured_and_split_in_one_transaction(
    pipeline: Pipeline,
) -> None:
    group = await opened(pipeline, 3)
    before = len(await pipeline.transactions())
    items = [item for _ in range(3) for item in order_of(pipeline.world, group)]
    seqs = await pipeline.accept(*items)
    await pipeline.round()
    assert await pipeline.states(*seqs) == ["SETTLED"] * 6
    assert len(await pipeline.transactions()) == before + 1


async def test_what_a_client_signed_in_advance_waits_as_well(pipeline: Pipeline) -> None:
    world = pipeline.world
    group = await opened(pipeline, 2)
    first, its_split = order_of(world, group)
    free = world.capture(50, rule=PAIR)
    await pipeline.accept(first, free)
    signed = world.authorize(its_split, world.split(free.order_id, 50))
    seqs = await pipeline.accept_signed(signed)
    await pipeline.round()
    await pipeline.round()
    assert await pipeline.states(*seqs) == ["ACCEPTED"] * 2
    # What came later for the other order waits behind it; a refund of the waiting one does not.
    later = await pipeline.accept(world.release(free.order_id))
    refund = await pipeline.accept(world.refund(first.order_id, 100))
    await pipeline.round()
    assert await pipeline.states(*later, *refund) == ["ACCEPTED", "SETTLED"]

    await pipeline.accept(world.capture(7, condition=group))
    await pipeline.settle_all()
    assert await pipeline.reasons(*seqs, *later) == ["insufficient_held", None, "nothing_held"]


async def test_a_confirmation_lets_the_splits_go(pipeline: Pipeline) -> None:
    delivery = await opened(pipeline, 0, confirmer=SHOP.id)
    order, split = order_of(pipeline.world, delivery)
    _, waiting = await pipeline.accept(order, split)
    await pipeline.round()
    await pipeline.round()
    assert await pipeline.states(waiting) == ["ACCEPTED"]

    confirmation = ConditionConfirmation(MALL.id, delivery, SHOP.id)
    seq = await pipeline.ask(InstructionType.CONFIRMATION, MALL.id, confirmation)
    await pipeline.settle_all()

    assert await pipeline.states(seq, waiting) == ["SETTLED"] * 2
    assert (await row_of(pipeline, delivery)).confirmed
    await pipeline.check_reconciled()


@pytest.mark.parametrize("downtime", [False, True])
async def test_a_missed_group_is_refunded_by_itself(pipeline: Pipeline, downtime: bool) -> None:  # noqa: FBT001 -- a parameter
    deadline = pipeline.world.node.now + 100
    group = await opened(pipeline, 3, deadline)
    first, its_split = order_of(pipeline.world, group)
    other, _ = order_of(pipeline.world, group, 70)
    *_, waiting = await pipeline.accept(first, other, its_split)
    await pipeline.round()
    if downtime:
        pipeline.world.node.next_block_at(deadline + 1_000)
        pipeline.mine(5)
        await pipeline.take_over()
        await pipeline.follow()
    else:
        await reach(pipeline, deadline)
        await pipeline.submit()
        assert sum(await held(pipeline)) == 170, "that second is in time"
        await reach(pipeline, deadline + 1)
    await pipeline.settle_all()
    for _ in range(3):
        await pipeline.round()

    assert await held(pipeline) == [0, 0]
    assert await pipeline.reasons(waiting) == ["condition_missed"]
    refunds = await pipeline.rows(tables.Record, tables.Record.kind == int(RecordKind.REFUND))
    assert {(row.instruction_id, row.amount) for row in refunds} == {
        (first.order_id, 100),
        (other.order_id, 70),
    }
    [account] = await pipeline.rows(
        tables.Account, tables.Account.kind == AccountKind.BUYER_REFUND_PAYABLE.value
    )
    postings = await pipeline.rows(tables.Posting, tables.Posting.credit_account_id == account.id)
    assert sum(posting.amount for posting in postings) == 170
    expiring = [row for row in await pipeline.transactions() if EXPIRE_SELECTOR in row.raw]
    assert 1 <= len(expiring) <= 2
    assert await pipeline.submit() == 0
    await pipeline.check_reconciled()


async def test_an_expired_order_waits_for_its_condition(pipeline: Pipeline) -> None:
    world = pipeline.world
    deadline, expires_at = world.node.now + 200, world.node.now + 100
    group = await opened(pipeline, 2, deadline)
    order = world.capture(100, rule=PAIR, condition=group, expires_at=expires_at)
    await pipeline.accept(order)
    await pipeline.settle_all()
    await reach(pipeline, expires_at)
    assert await pipeline.submit() == 0
    await pipeline.accept(world.capture(5, condition=group))
    await pipeline.settle_all()
    await pipeline.round()
    assert sorted(await held(pipeline)) == [0, 5], "reached, so its merchant has it"
    released = await pipeline.rows(tables.Record, tables.Record.kind == int(RecordKind.RELEASE))
    assert [row.order_id for row in released] == [order.order_id]


async def test_a_condition_that_somebody_else_brought_settles_the_request(pipeline: Pipeline) -> None:
    world = pipeline.world
    values, signature = world.condition(4, confirmer=STRANGER)
    platform, condition, needed, deadline, confirmer = values
    opening = ConditionOpening(platform, condition, needed, deadline, confirmer, signature)
    async with pipeline.database.write() as session:
        row = pipeline.unsent(InstructionType.CONDITION, values[1], MALL.id, opening)
        session.add(row)
        await session.flush()
        seq = row.seq
    world.act(OUTSIDER, "Conditions", "open", values, signature)
    await pipeline.follow()
    assert await pipeline.states(seq) == ["SETTLED"]
    found = await row_of(pipeline, values[1])
    assert (found.platform_id, found.needed, found.confirmer) == (MALL.id, 4, STRANGER.id)


async def test_a_refused_condition_has_the_chain_s_reason(pipeline: Pipeline) -> None:
    group = await opened(pipeline, 1)
    again = await pipeline.ask(InstructionType.CONDITION, MALL.id, ConditionOpening(MALL.id, group, 2, 2**40))
    await pipeline.settle_all()
    assert await pipeline.states(again) == ["REJECTED"]
    [row] = await pipeline.rows(tables.Instruction, tables.Instruction.seq == again)
    assert row.reason["values"]["conditionId"] == "0x" + group.hex()


async def test_a_reorganisation_takes_back_what_joined(pipeline: Pipeline) -> None:
    world = pipeline.world
    group = await opened(pipeline, 2)
    snapshot = world.node.snapshot()
    first, its_split = order_of(world, group)
    last, _ = order_of(world, group)
    _, split, _ = await pipeline.accept(first, its_split, last)
    await pipeline.settle_all()
    assert await state_of(pipeline, group) == (2, True, ConditionState.REACHED)

    world.node.revert(snapshot)
    pipeline.mine(6)
    await pipeline.follow()
    assert await state_of(pipeline, group) == (0, False, ConditionState.OPEN)
    await pipeline.check_reconciled()

    await pipeline.settle_all()
    assert await pipeline.states(split) == ["SETTLED"]
    assert await state_of(pipeline, group) == (2, True, ConditionState.REACHED)
    await pipeline.check_reconciled()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"count": 2}, "2 orders by 1099511627776: 2 joined"),
        ({"needed": 1, "reached": True}, "1 orders by 1099511627776: 1 joined, reached"),
        ({"deadline": 5}, "2 orders by 5: 1 joined"),
        (
            {"confirmer": STRANGER.id},
            f"2 orders by 1099511627776, confirmed by 0x{STRANGER.id.hex()}: 1 joined",
        ),
        (None, "no row"),
    ],
    ids=["count", "needed", "deadline", "confirmer", "row"],
)
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_reconciliation_names_a_condition_that_was_changed(
    pipeline: Pipeline, values: dict[str, object] | None, said: str
) -> None:
    group = await opened(pipeline, 2)
    await pipeline.accept(order_of(pipeline.world, group)[0])
    await pipeline.settle_all()
    await pipeline.check_reconciled()

    row = tables.Condition.condition_id == group
    async with pipeline.database.write() as session:
        await session.execute(
            delete(tables.Condition).where(row)
            if values is None
            else update(tables.Condition).where(row).values(values)
        )

    found = await reconcile(pipeline.database, pipeline.node, pipeline.world.system.deployment)
    named = "0x" + group.hex()
    assert found == [Difference(Check.CONDITION, "2 orders by 1099511627776: 1 joined", said, subject=named)]
