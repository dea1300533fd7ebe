"""Suspense positions in the mirror and the ledger: records, postings, and what reconciles with the chain."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fenzhang.domain.records import RecordKind
from fenzhang.domain.rules import RuleTerms
from fenzhang.domain.suspense import suspense_id
from fenzhang.ledger.balances import in_suspense, position
from fenzhang.ledger.reconcile import reconcile
from fenzhang.store import tables
from pipeline.harness import Pipeline
from support.parties import COURIER, MALL, MERCHANT, PAIR, PROMOTER, ident
from support.system import GUARDIAN, OUTSIDER

pytestmark = pytest.mark.either_database

PARKING = replace(PAIR, rule_id=ident("rule", "parking"), terms=RuleTerms(park=True))


async def _parked(pipeline: Pipeline) -> tuple[bytes, bytes]:
    """An order of 1,000 and its split, half of which waits for the promoter."""
    world = pipeline.world
    world.put_in_force(PARKING)
    await pipeline.add_rules(PARKING)
    order = world.capture(1_000, rule=PARKING, bindings=(PROMOTER.id, MERCHANT.id))
    split = world.split(order.order_id, 1_000)
    await pipeline.accept(order)
    await pipeline.settle_all()
    world.register("suspend", PROMOTER.id)
    seqs = await pipeline.accept(split)
    await pipeline.settle_all()
    assert await pipeline.states(*seqs) == ["SETTLED"]
    return order.order_id, split.id


async def test_what_waits_is_told_apart_and_moves_by_a_record(pipeline: Pipeline) -> None:
    world = pipeline.world
    order_id, split_id = await _parked(pipeline)
    suspense = suspense_id(PROMOTER.id)
    async with pipeline.database.read() as session:
        assert await position(session, [suspense, PROMOTER.id]) == {(suspense, "CNY"): 500}
        waiting = await in_suspense(session, MALL.id)
    assert [(each.participant_id, each.currency, each.amount) for each in waiting] == [
        (PROMOTER.id, "CNY", 500)
    ]

    world.register("close", PROMOTER.id)
    world.act(GUARDIAN, "ParticipantRegistry", "nameHeir", PROMOTER.id, COURIER.id)
    world.act(OUTSIDER, "ClearingHouse", "resolve", b"CNY", PROMOTER.id)
    await pipeline.settle_all()
    async with pipeline.database.read() as session:
        assert await in_suspense(session, MALL.id) == []
        assert (await position(session, [COURIER.id]))[COURIER.id, "CNY"] == 500
    [resolution] = [r for r in await pipeline.rows(tables.Record) if r.kind == RecordKind.RESOLUTION]
    assert (resolution.instruction_id, resolution.amount) == (PROMOTER.id, 500)

    seqs = await pipeline.accept(world.give_back(order_id, split_id, 1_000))
    await pipeline.settle_all()
    assert await pipeline.states(*seqs) == ["SETTLED"]
    async with pipeline.database.read() as session:
        assert (await position(session, [COURIER.id]))[COURIER.id, "CNY"] == 0
    assert await reconcile(pipeline.database, pipeline.node, world.system.deployment) == []
