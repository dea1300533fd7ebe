"""Freezes from stored instructions to the chain, what the mirror makes of them, and what they stop."""

from __future__ import annotations

import pytest

from fenzhang.domain.records import Capture, Instruction
from fenzhang.domain.world import WHOLE_ORDER
from fenzhang.store import payloads, tables
from fenzhang.store.payloads import FreezeChange
from fenzhang.store.tables import InstructionType
from pipeline.harness import Pipeline
from support.parties import MALL, PAIR, PROMOTER
from support.system import GUARDIAN, SECOND_GUARDIAN

pytestmark = pytest.mark.either_database


async def split_order(pipeline: Pipeline) -> tuple[Capture, Instruction]:
    """An order of 1,000 of which 600 are split; it expires soon."""
    world = pipeline.world
    order = world.capture(1_000, rule=PAIR, expires_at=world.node.now + 200)
    split = world.split(order.order_id, 600)
    await pipeline.accept(order, split)
    await pipeline.settle_all()
    return order, split


async def ask(pipeline: Pipeline, *changes: FreezeChange) -> list[int]:
    return [
        await pipeline.ask(
            InstructionType.FREEZE if change.frozen else InstructionType.UNFREEZE, MALL.id, change
        )
        for change in changes
    ]


def changes(order: Capture, split: Instruction, *, frozen: bool) -> list[FreezeChange]:
    """Of the order, the split and a participant."""
    return [
        FreezeChange(frozen=frozen, reason="dispute", order_id=order.order_id, split_id=WHOLE_ORDER),
        FreezeChange(frozen=frozen, reason="dispute", order_id=order.order_id, split_id=split.id),
        FreezeChange(frozen=frozen, reason="dispute", participant=PROMOTER.id),
    ]


async def lasting(pipeline: Pipeline) -> list[tuple[bytes, bytes | None, bytes, str]]:
    rows = await pipeline.rows(tables.Freeze, tables.Freeze.ended_block.is_(None))
    return [(row.target_id, row.order_id, row.guardian, row.reason) for row in rows]


async def test_freezes_are_sent_by_one_guardian_and_undone_by_the_other(pipeline: Pipeline) -> None:
    order, split = await split_order(pipeline)
    seqs = await ask(pipeline, *changes(order, split, frozen=True))
    seqs += await ask(pipeline, *changes(order, split, frozen=False))
    await pipeline.submit()
    pipeline.mine()
    await pipeline.follow()

    assert await pipeline.states(*seqs[:3]) == ["SETTLED"] * 3
    assert await pipeline.states(*seqs[3:]) == ["ACCEPTED"] * 3, "they wait for what they undo"
    assert await lasting(pipeline) == [
        (order.order_id, order.order_id, GUARDIAN.address, "dispute"),
        (split.id, order.order_id, GUARDIAN.address, "dispute"),
        (PROMOTER.id, None, GUARDIAN.address, "dispute"),
    ]
    await pipeline.check_reconciled()

    await pipeline.settle_all()

    assert await pipeline.states(*seqs) == ["SETTLED"] * 6
    assert await lasting(pipeline) == []
    ended = await pipeline.rows(tables.Freeze)
    assert {(row.ended_by, row.ended_reason) for row in ended} == {(SECOND_GUARDIAN.address, "dispute")}
    await pipeline.check_reconciled()


async def test_what_is_frozen_is_rejected_with_the_chain_s_reason(pipeline: Pipeline) -> None:
    world = pipeline.world
    order, split = await split_order(pipeline)
    whole, part, promoter = changes(order, split, frozen=True)
    reasons = []
    for change in (promoter, part, whole):
        await ask(pipeline, change)
        await pipeline.settle_all()
        [seq] = await pipeline.accept(world.give_back(order.order_id, split.id, 10))
        await pipeline.settle_all()
        reasons += await pipeline.reasons(seq)
    assert reasons == ["participant_frozen", "split_frozen", "order_frozen"]
    twice = await ask(pipeline, whole)
    await pipeline.settle_all()
    assert await pipeline.reasons(*twice) == ["already_frozen"]


async def test_a_frozen_order_is_not_expired_before_it_is_thawed(pipeline: Pipeline) -> None:
    order, split = await split_order(pipeline)
    await ask(pipeline, changes(order, split, frozen=True)[0])
    await pipeline.settle_all()
    pipeline.world.node.next_block_at(order.expires_at)
    pipeline.mine()
    await pipeline.follow()
    assert await pipeline.submit() == 0

    await ask(pipeline, changes(order, split, frozen=False)[0])
    await pipeline.settle_all()
    await pipeline.round()

    [row] = await pipeline.rows(tables.Order, tables.Order.order_id == order.order_id)
    assert row.held == 0
    await pipeline.check_reconciled()


async def test_a_freeze_and_its_end_are_unmade_with_their_blocks(pipeline: Pipeline) -> None:
    node = pipeline.world.node
    order, split = await split_order(pipeline)
    before_all = node.snapshot()
    await ask(pipeline, *changes(order, split, frozen=True))
    await pipeline.settle_all()
    frozen = await lasting(pipeline)
    before_end = node.snapshot()
    await ask(pipeline, *changes(order, split, frozen=False))
    await pipeline.settle_all()
    assert await lasting(pipeline) == []

    node.revert(before_end)
    pipeline.mine(3)
    await pipeline.follow()
    await pipeline.follow()
    assert await lasting(pipeline) == frozen

    node.revert(before_all)
    pipeline.mine(6)
    await pipeline.follow()
    await pipeline.follow()
    assert await pipeline.rows(tables.Freeze) == []
    for _ in range(4):
        await pipeline.round()
    await pipeline.settle_all()
    # What undoes them has another sender and may come before them now; then it is rejected for good.
    assert len(await pipeline.rows(tables.Freeze)) == len(frozen)
    await pipeline.check_reconciled()


def test_a_change_survives_its_storage() -> None:
    for change in (
        FreezeChange(frozen=True, reason="a", order_id=b"o" * 32, split_id=WHOLE_ORDER),
        FreezeChange(frozen=False, reason="b", participant=b"p" * 32),
    ):
        assert payloads.freeze_change_from(payloads.to_json(change)) == change
