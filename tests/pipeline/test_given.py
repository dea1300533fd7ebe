"""Given amounts from stored instructions to postings, and back from what was mirrored into what-ifs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from fenzhang.domain.records import Capture
from fenzhang.domain.rules import Leg, LegKind
from fenzhang.ledger.balances import position
from fenzhang.ledger.period import Period
from fenzhang.ledger.whatif import Question, Sums, WhatIf, Why, what_if
from fenzhang.store import tables
from pipeline.harness import Pipeline
from support.parties import AGENCY, COURIER, MALL, MERCHANT, PAIR, PROMOTER

pytestmark = pytest.mark.either_database

CNY = "CNY"


async def _settled(pipeline: Pipeline) -> Capture:
    """An order of AGENCY, split in two parts of which some came back; its rule is known here."""
    world = pipeline.world
    world.put_in_force(AGENCY)
    await pipeline.add_rules(AGENCY)
    order = world.capture(1_000, rule=AGENCY)
    first = world.split(order.order_id, 600, given=(70, 300, 150))
    second = world.split(order.order_id, 400, given=(3, 0, 0))
    await pipeline.accept(order, first, second)
    await pipeline.settle_all()
    await pipeline.accept(world.give_back(order.order_id, first.id, 60))
    await pipeline.settle_all()
    return order


async def test_given_amounts_become_positions(pipeline: Pipeline) -> None:
    order = await _settled(pipeline)

    # 600: promoter 70, merchant 230, courier 150, mall 150; 60 of it come back as 7, 23, 15, 15. 400: 3, 397, 0, 0.
    async with pipeline.database.read() as session:
        found = await position(session, [PROMOTER.id, MERCHANT.id, COURIER.id, MALL.id])
    assert found == {
        (PROMOTER.id, CNY): 66,
        (MERCHANT.id, CNY): 604,
        (COURIER.id, CNY): 135,
        (MALL.id, CNY): 135,
    }
    [row] = await pipeline.rows(tables.Order, tables.Order.order_id == order.order_id)
    assert row.held == 60
    await pipeline.check_reconciled()


async def test_the_chain_s_reasons_are_the_instructions_reasons(pipeline: Pipeline) -> None:
    world = pipeline.world
    world.put_in_force(AGENCY)
    order, plain = world.capture(1_000, rule=AGENCY), world.capture(1_000, rule=PAIR)
    splits = [world.split(order.order_id, 100, given=given) for given in ((21, 0, 0), (3, 0), (20, 60, 30))]
    splits.append(world.split(plain.order_id, 100, given=(1,)))
    seqs = await pipeline.accept(order, plain, *splits)

    await pipeline.settle_all()

    assert await pipeline.reasons(*seqs[2:]) == [
        "given_out_of_bounds",
        "given_count",
        None,
        "malformed_instruction",
    ]
    refused = await pipeline.instruction(seqs[2])
    assert refused.reason is not None
    assert refused.reason["values"] == {"leg": 0, "amount": 21, "least": 3, "most": 20}
    await pipeline.check_reconciled()


async def _tried(pipeline: Pipeline, draft: Sequence[Leg]) -> WhatIf:
    return await what_if(pipeline.database, Question(MALL.id, AGENCY.rule_id, draft, Period(0, 2**53)))


async def test_a_what_if_gives_a_draft_what_its_splits_were_given(pipeline: Pipeline) -> None:
    await _settled(pipeline)

    same = await _tried(pipeline, AGENCY.legs)
    assert same.sums == {
        (CNY, who.id): Sums(amount, amount)
        for who, amount in ((PROMOTER, 66), (MERCHANT, 604), (COURIER, 135), (MALL, 135))
    }

    # A tenth of the promotion pool to the merchant: of 300 the courier still gets its 150, and the mall 120.
    draft = [*AGENCY.legs[:3], Leg(1, LegKind.SHARE, 1_000, role="merchant"), *AGENCY.legs[3:]]
    changed = await _tried(pipeline, draft)
    assert not changed.not_replayed
    assert changed.sums[CNY, COURIER.id] == Sums(135, 135)
    assert changed.sums[CNY, MALL.id].hypothetical == 120 - 12


async def test_what_a_what_if_cannot_know_is_named(pipeline: Pipeline) -> None:
    order = await _settled(pipeline)

    lower = [replace(AGENCY.legs[0], max=50), *AGENCY.legs[1:]]
    fewer = [Leg(-1, LegKind.GIVEN, 2_000, role="promoter"), Leg(-1, LegKind.REMAINDER, role="merchant")]
    none = [Leg(-1, LegKind.SHARE, 1_000, role="promoter"), Leg(-1, LegKind.REMAINDER, role="merchant")]

    [(why, missing)] = (await _tried(pipeline, lower)).not_replayed.items()
    assert (why, missing.splits) == (Why("given_out_of_bounds", leg=0), 1)
    [(why, missing)] = (await _tried(pipeline, fewer)).not_replayed.items()
    assert (why, missing.splits, missing.examples) == (Why("given_count"), 2, [order.order_id])
    assert not (await _tried(pipeline, none)).not_replayed
