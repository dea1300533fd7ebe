"""What-if over what a real chain settled: the actual version gives exactly what was allocated, a draft what it says."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from fenzhang.domain.records import Capture, RecordKind
from fenzhang.domain.rules import ROOT, Leg, LegKind
from fenzhang.ledger.period import Period
from fenzhang.ledger.whatif import Question, Sums, WhatIf, Why, what_if
from fenzhang.store import tables
from pipeline.harness import Pipeline
from support.parties import (
    COURIER,
    MALL,
    MARKET,
    MERCHANT,
    NOBODY,
    PAIR,
    PROMOTER,
    SUPPLIER,
    VENDING,
    RuleRef,
)

pytestmark = pytest.mark.either_database

ALWAYS = Period(0, 2**53)
CHEAPER = (
    Leg(ROOT, LegKind.FIXED, 20, recipient=MALL.id),
    Leg(ROOT, LegKind.SHARE, 500, role="promoter"),
    Leg(ROOT, LegKind.REMAINDER, role="merchant"),
)
"""Of MARKET: a smaller fee, half of the promotion, no courier."""


async def _asked(pipeline: Pipeline, draft: tuple[Leg, ...], rule: RuleRef = MARKET, **more: Any) -> WhatIf:
    question = Question(rule.platform.id, rule.rule_id, draft, more.pop("period", ALWAYS), **more)
    return await what_if(pipeline.database, question)


async def _allocated(pipeline: Pipeline, *orders: Capture) -> dict[tuple[str, bytes], int]:
    """What the chain allocated by splits and took back by returns, from its own events as they were mirrored."""
    found: dict[tuple[str, bytes], int] = defaultdict(int)
    signs = {RecordKind.SPLIT: 1, RecordKind.RETURN: -1}
    async with pipeline.database.read() as session:
        query = (
            select(
                tables.Record.kind,
                tables.Order.currency,
                tables.Allocation.recipient,
                tables.Allocation.amount,
            )
            .join(tables.Record, tables.Record.id == tables.Allocation.record_id)
            .join(tables.Order, tables.Order.order_id == tables.Record.order_id)
            .where(tables.Record.canonical.is_(True), tables.Record.kind.in_(signs))
            .where(tables.Record.order_id.in_([order.order_id for order in orders]))
        )
        for kind, currency, recipient, amount in await session.execute(query):
            found[currency, recipient] += signs[RecordKind(kind)] * amount
    return dict(found)


async def _busy_day(pipeline: Pipeline) -> list[Capture]:
    """Orders of MARKET that were split, returned in both ways and released, and orders of other rules."""
    world = pipeline.world
    plain, parts = world.capture(1_000), world.capture(2_000, currency="JPY")
    open_role = world.capture(500, bindings=(NOBODY, COURIER.id, MERCHANT.id))
    others = [world.capture(300, rule=PAIR), world.capture(300, rule=VENDING)]
    splits = [world.split(plain.order_id, 700), world.split(parts.order_id, 999)]
    splits.append(world.split(parts.order_id, 1_001))
    splits.append(world.split(open_role.order_id, 500, bindings=(SUPPLIER.id, NOBODY, NOBODY)))
    splits += [world.split(other.order_id, 300) for other in others]
    pipeline.owners[others[1].order_id] = VENDING.platform.id
    await pipeline.accept(plain, parts, open_role, *others, *splits)
    await pipeline.settle_all()
    returns = [
        world.give_back(plain.order_id, splits[0].id, 77),
        world.give_back(parts.order_id, splits[1].id, 31, (30, 1, 0, 0)),
    ]
    await pipeline.accept(*returns, world.release(plain.order_id), world.release(parts.order_id))
    await pipeline.settle_all()
    assert {row.state for row in await pipeline.rows(tables.Instruction)} == {"SETTLED"}
    return [plain, parts, open_role]


async def test_the_actual_version_gives_exactly_what_the_chain_allocated(pipeline: Pipeline) -> None:
    orders = await _busy_day(pipeline)

    found = await _asked(pipeline, MARKET.legs)

    actual = await _allocated(pipeline, *orders)
    assert found.sums == {key: Sums(amount, amount) for key, amount in actual.items()}
    assert actual["CNY", SUPPLIER.id] > 0
    assert (found.orders, found.complete, found.returns, found.returns_respread) == (3, True, 2, 0)
    assert not found.not_replayed
    cny, jpy = found.totals["CNY"], found.totals["JPY"]
    assert (cny.splits, cny.amount, cny.returned, cny.releases, cny.released) == (2, 1_200, 77, 1, 377)
    assert (jpy.splits, jpy.amount, jpy.returned, jpy.releases, jpy.released) == (2, 2_000, 31, 1, 31)


async def test_a_draft_gives_what_its_legs_make_of_the_same_amounts(pipeline: Pipeline) -> None:
    orders = await _busy_day(pipeline)

    found = await _asked(pipeline, CHEAPER)

    assert {key: sums.actual for key, sums in found.sums.items()} == await _allocated(pipeline, *orders)
    # 700 less a return of 77: fee 20, promoter 35, merchant 645 give 2, 4, 71. And 500, whose split named its promoter.
    assert {who: sums.hypothetical for (currency, who), sums in found.sums.items() if currency == "CNY"} == {
        MALL.id: 18 + 20,
        PROMOTER.id: 31,
        SUPPLIER.id: 25,
        COURIER.id: 0,
        MERCHANT.id: 574 + 455,
    }
    for currency, totals in found.totals.items():
        net = totals.amount - totals.returned
        sides = [(s.actual, s.hypothetical) for (c, _), s in found.sums.items() if c == currency]
        assert [sum(side) for side in zip(*sides, strict=True)] == [net, net]
    # The amounts per leaf of MARKET mean nothing to three leaves.
    assert found.returns_respread == 1


async def test_what_the_draft_cannot_allocate_is_left_out_and_named(pipeline: Pipeline) -> None:
    plain, parts, open_role = await _busy_day(pipeline)

    unbound = await _asked(pipeline, (Leg(ROOT, LegKind.SHARE, 100, role="insurer"), *CHEAPER[2:]))
    dear = await _asked(pipeline, (replace(CHEAPER[0], value=700), *CHEAPER[1:]))

    [(why, missing)] = unbound.not_replayed.items()
    assert why == Why("role_not_bound", role="insurer")
    assert (missing.splits, missing.orders) == (4, 3)
    assert sorted(missing.examples) == sorted(order.order_id for order in (plain, parts, open_role))
    assert not unbound.sums
    assert (unbound.totals["JPY"].splits_not_replayed, unbound.totals["JPY"].amount_not_replayed) == (
        2,
        2_000,
    )
    # 700 leave nothing of 700 for the promoter's 35, and 500 are not enough for the fee.
    assert {why: entry.examples for why, entry in dear.not_replayed.items()} == {
        Why("leg_exceeds_remaining", leg=1): [plain.order_id],
        Why("leg_exceeds_remaining", leg=0): [open_role.order_id],
    }
    assert {currency for currency, _ in dear.sums} == {"JPY"}


async def test_orders_of_a_version_that_nobody_knows_here_are_named(pipeline: Pipeline) -> None:
    orders = await _busy_day(pipeline)
    async with pipeline.database.write() as session:
        for row in (await session.execute(select(tables.RuleVersion))).scalars():
            row.proposed = False

    found = await _asked(pipeline, MARKET.legs)

    assert {why: entry.orders for why, entry in found.not_replayed.items()} == {
        Why("unknown_version"): len(orders)
    }
    assert not found.sums


async def test_the_period_is_that_of_captures_and_ends_before_its_end(pipeline: Pipeline) -> None:
    world = pipeline.world
    captures = []
    for _ in range(4):
        captures.append(world.capture(1_000))
        await pipeline.accept(captures[-1])
        await pipeline.settle_all()
        pipeline.mine(2)
    # Split much later than captured.
    await pipeline.accept(*(world.split(capture.order_id, 1_000) for capture in captures))
    await pipeline.settle_all()
    times = await _capture_times(pipeline)
    assert sorted(times) == sorted(set(times))

    for first, last in ((0, 3), (1, 3), (1, 2), (2, 2), (3, 3)):
        at = Period(times[first], times[last] + 1)
        assert (await _asked(pipeline, MARKET.legs, period=at)).orders == last - first + 1
        if first < last:
            shorter = Period(times[first] + 1, times[last])
            assert (await _asked(pipeline, MARKET.legs, period=shorter)).orders == last - first - 1
    for nothing in (Period(0, times[0]), Period(times[3] + 1, 2**53), Period(2**52, 2**53)):
        assert (await _asked(pipeline, MARKET.legs, period=nothing)).orders == 0


async def test_more_orders_than_the_limit_are_not_looked_at_and_that_is_said(pipeline: Pipeline) -> None:
    await _busy_day(pipeline)
    for limit, complete in ((2, False), (3, True), (4, True)):
        found = await _asked(pipeline, MARKET.legs, limit=limit)
        assert (found.orders, found.complete) == (min(limit, 3), complete)


async def test_pieces_of_any_size_come_to_the_same(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _busy_day(pipeline)
    whole = await _asked(pipeline, CHEAPER)
    whole_limited = await _asked(pipeline, CHEAPER, limit=2)
    for records, orders in ((1, 1), (2, 1), (3, 2)):
        monkeypatch.setattr("fenzhang.ledger.whatif._WINDOW", records)
        monkeypatch.setattr("fenzhang.ledger.whatif._ORDERS", orders)
        assert await _asked(pipeline, CHEAPER) == whole
        assert await _asked(pipeline, CHEAPER, limit=2) == whole_limited


async def test_what_a_reorganisation_undid_is_not_replayed(pipeline: Pipeline) -> None:
    world = pipeline.world
    kept, lost = world.capture(1_000), world.capture(800)
    await pipeline.accept(kept, world.split(kept.order_id, 100))
    await pipeline.round()
    await pipeline.accept(lost, world.split(kept.order_id, 200), world.split(lost.order_id, 800))
    await pipeline.round()
    assert (await _asked(pipeline, MARKET.legs)).totals["CNY"].amount == 1_100

    pipeline.world.node.request("anvil_reorg", 1, [])
    await pipeline.follow()
    undone = await _asked(pipeline, MARKET.legs)
    await pipeline.settle_all()
    again = await _asked(pipeline, MARKET.legs)

    assert (undone.orders, undone.totals["CNY"].amount) == (1, 100)
    assert (again.orders, again.totals["CNY"].amount) == (2, 1_100)
    assert {key: sums.actual for key, sums in again.sums.items()} == await _allocated(pipeline, kept, lost)


async def test_an_empty_database_has_nothing_to_replay(pipeline: Pipeline) -> None:
    assert await _asked(pipeline, MARKET.legs) == WhatIf()


async def _capture_times(pipeline: Pipeline) -> list[int]:
    async with pipeline.database.read() as session:
        query = (
            select(tables.Block.timestamp)
            .join(tables.Record, tables.Record.block_number == tables.Block.number)
            .where(tables.Record.kind == RecordKind.CAPTURE)
            .order_by(tables.Record.id)
        )
        return list((await session.execute(query)).scalars())
