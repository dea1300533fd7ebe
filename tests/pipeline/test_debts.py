"""Debts in the ledger: negative positions on the chain are debit balances here, and both sides agree on them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fenzhang.domain.rules import RuleTerms
from fenzhang.ledger.balances import Debt, debts, position
from fenzhang.ledger.chart import Chart, payable
from fenzhang.ledger.differences import Check
from fenzhang.ledger.posting import Draft, post
from fenzhang.ledger.reconcile import reconcile
from fenzhang.store import tables
from pipeline.harness import Pipeline
from support.parties import MERCHANT, PAIR, PROMOTER, ident
from support.positions import write_position

pytestmark = pytest.mark.either_database

CNY = "CNY"
LENIENT = replace(PAIR, rule_id=ident("rule", "lenient"), terms=RuleTerms(may_owe=True))


async def _assign(pipeline: Pipeline, amount: int) -> None:
    """The promoter's money goes to the merchant, on both sides, as nothing that the system does."""
    world, [record, *_] = pipeline.world, await pipeline.rows(tables.Record)
    for who, sign in ((PROMOTER, -1), (MERCHANT, 1)):
        write_position(world, who, world.position(who) + sign * amount)
    assigned = Draft(
        payable(CNY, PROMOTER.id), payable(CNY, MERCHANT.id), amount, record.id, record.block_number
    )
    async with pipeline.database.write() as session:
        await post(session, Chart(), [assigned], {record.id: record.leaf})


async def test_a_debt_is_a_debit_balance_until_allocations_have_paid_it(pipeline: Pipeline) -> None:
    world = pipeline.world
    world.put_in_force(LENIENT)
    await pipeline.add_rules(LENIENT)
    terms: dict[str, Any] = {"rule": LENIENT, "bindings": (PROMOTER.id, MERCHANT.id)}
    order, other = world.capture(1_000, **terms), world.capture(1_000, **terms)
    split = world.split(order.order_id, 800)
    await pipeline.accept(order, other, split)
    await pipeline.settle_all()
    await _assign(pipeline, 350)
    seqs = await pipeline.accept(
        world.give_back(order.order_id, split.id, 200), world.refund(order.order_id, 500)
    )
    await pipeline.settle_all()
    assert await pipeline.states(*seqs) == ["SETTLED", "SETTLED"]

    # 400 less 350, 100 returned; then 400 of the refund are held, and each of the two gives 50.
    assert world.position(PROMOTER) == -100
    async with pipeline.database.read() as session:
        found = await position(session, [PROMOTER.id, MERCHANT.id])
        owed = await debts(session)
    assert found == {(PROMOTER.id, CNY): -100, (MERCHANT.id, CNY): 600}
    assert owed == [Debt(CNY, PROMOTER.id, 100)]
    # The stand-in for a payout has no record of its own, and that is all that differs.
    differences = await reconcile(pipeline.database, pipeline.node, world.system.deployment)
    assert [difference.check for difference in differences] == [Check.POSTING]

    await pipeline.accept(world.split(other.order_id, 240))
    await pipeline.settle_all()
    async with pipeline.database.read() as session:
        assert await debts(session) == []
        assert (await position(session, [PROMOTER.id]))[PROMOTER.id, CNY] == 20
