"""Instructions against the ledger, and the ledger against the chain: clean after a day, and a break for what is not."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import delete, select, update

from fenzhang.chain.views import ChainView
from fenzhang.clearing.reconciliation.chain import Chain
from fenzhang.clearing.reconciliation.model import KINDS, kind_of
from fenzhang.clearing.reconciliation.running import Reconciler, Run
from fenzhang.clearing.reconciliation.sides import sides
from fenzhang.clearing.reconciliation.terms import Terms
from fenzhang.domain.records import RecordKind
from fenzhang.ledger.differences import Check
from fenzhang.store import tables
from fenzhang.store.reconciliationtables import Break, Comparison
from fenzhang.store.tables import InstructionState, InstructionType
from pipeline.harness import Pipeline
from pipeline.histories import eventful
from support.databases import drop_triggers

pytestmark = pytest.mark.either_database

ASKED, CHAIN = Comparison.INSTRUCTIONS, Comparison.CHAIN


@pytest.fixture
async def market(pipeline: Pipeline) -> Pipeline:
    """Orders with all that can happen to one, and a rejection."""
    await pipeline.accept(*eventful(pipeline.world, 1_000))
    await pipeline.settle_all()
    return pipeline


def reconciler_of(pipeline: Pipeline, overdue_blocks: int = 100) -> Reconciler:
    deployment = pipeline.world.system.deployment
    return Reconciler(
        pipeline.database, Terms(overdue_blocks=overdue_blocks), Chain(pipeline.node, deployment)
    )


async def present(pipeline: Pipeline) -> dict[str, list[Break]]:
    """Breaks that are there, by kind."""
    found: dict[str, list[Break]] = {}
    for row in await pipeline.rows(Break, Break.present):
        found.setdefault(row.kind, []).append(row)
    return found


async def change(pipeline: Pipeline, *statements: Any) -> None:
    await drop_triggers(pipeline.database)
    async with pipeline.database.write() as session:
        for statement in statements:
            await session.execute(statement.execution_options(synchronize_session=False))


@pytest.mark.parametrize("at_close", [False, True])
async def test_nothing_breaks_after_a_day_of_trade(market: Pipeline, *, at_close: bool) -> None:
    reconciler = reconciler_of(market)
    runs: dict[Comparison, Run] = {}
    for comparison in (ASKED, CHAIN):
        runs[comparison] = await reconciler.run(comparison, at_close=at_close)

    assert await present(market) == {}
    assert runs[ASKED].looked_at == 5
    again = [await reconciler.run(comparison) for comparison in (ASKED, CHAIN)]
    assert [run.looked_at for run in again] == [0, 0]


async def test_what_platforms_asked_for_is_held_against_records_and_orders(market: Pipeline) -> None:
    reconciler = reconciler_of(market)
    await reconciler.run(ASKED)
    record, instruction, order = tables.Record, tables.Instruction, tables.Order
    await change(
        market,
        update(record).where(record.kind == int(RecordKind.SPLIT)).values(amount=601),
        update(record).where(record.kind == int(RecordKind.RELEASE)).values(canonical=False),
        update(record).where(record.kind == int(RecordKind.REJECTION)).values(canonical=False),
        delete(tables.Rejection),
        update(order).values(captured=999),
    )
    await reconciler.run(ASKED)
    assert await present(market) == {}, "a run during the day looks at what is new"

    await reconciler.run(ASKED, at_close=True)

    found = await present(market)
    assert [(row.amount, row.owner) for row in found["AMOUNT_DIFFERS"]] == [
        (-1, "platform"),
        (1, "platform"),
    ]
    assert sorted(row.details["problem"] for row in found["OUTCOME_DIFFERS"]) == [
        "it has 0 records in place of one",
        "no rejection is kept",
    ]
    await change_back(market)
    run = await reconciler.run(ASKED)
    assert len(run.registered.resolved) == 4, "and at the breaks that are there"
    assert (await market.rows(instruction))[0].state == InstructionState.SETTLED


async def change_back(market: Pipeline) -> None:
    record = tables.Record
    async with market.database.write() as session:
        for statement in (
            update(record).where(record.kind == int(RecordKind.SPLIT)).values(amount=600),
            update(record).values(canonical=True),
            update(tables.Order).values(captured=1_000),
        ):
            await session.execute(statement.execution_options(synchronize_session=False))


async def test_an_instruction_without_an_outcome_is_overdue_after_so_many_blocks(market: Pipeline) -> None:
    reconciler = reconciler_of(market, overdue_blocks=2)
    await market.accept(market.world.capture(70))
    newest = select(tables.Block.timestamp).order_by(tables.Block.number.desc()).limit(1).scalar_subquery()
    await change(
        market,
        update(tables.Instruction).where(tables.Instruction.state == "ACCEPTED").values(accepted_at=newest),
    )
    market.mine(1)
    await market.follow()
    await reconciler.run(ASKED)
    assert await present(market) == {}

    market.mine(3)
    await market.follow()
    await reconciler.run(ASKED)
    [row] = (await present(market))["INSTRUCTION_OVERDUE"]
    assert (row.owner, row.details["state"]) == ("operator", "ACCEPTED")
    assert row.subject.startswith(InstructionType.CAPTURE)

    await market.settle_all()
    assert len((await reconciler.run(ASKED)).registered.resolved) == 1


async def test_differences_between_ledger_and_chain_are_breaks_of_their_own_kinds(market: Pipeline) -> None:
    reconciler = reconciler_of(market)
    posting = select(tables.Posting.id).order_by(tables.Posting.id.desc()).limit(1).scalar_subquery()
    await change(market, update(tables.Posting).where(tables.Posting.id == posting).values(amount=1))

    await reconciler.run(CHAIN)
    by_day = await present(market)
    assert set(by_day) == {"CHAIN_ORDER_HELD", "CHAIN_RECIPIENT_PAYABLE"}
    assert all(row.currency == "CNY" and row.amount for row in by_day["CHAIN_ORDER_HELD"])

    await reconciler.run(CHAIN, at_close=True)
    assert set(await present(market)) == {*by_day, "CHAIN_POSTING", "CHAIN_JOURNAL"}
    await reconciler.run(CHAIN)
    assert set(await present(market)) == {*by_day, "CHAIN_POSTING", "CHAIN_JOURNAL"}


def test_every_check_is_a_kind_of_break() -> None:
    assert {kind_of(check) for check in Check} <= set(KINDS)
    assert max(map(len, KINDS)) <= 32


async def test_the_sides_say_the_same_of_each_currency(market: Pipeline) -> None:
    async with market.database.read() as session:
        view = ChainView(market.node, market.world.system.deployment)
        [(currency, each)] = (await sides(session, view)).items()

    assert currency == "CNY"
    assert each.orders == {"captured": 1_000, "held": 0}
    assert each.chain == {"captured": 1_000, "held": 0, "refunded": 0}
    assert (each.ledger["bank_custody"], each.ledger["recipient_payable"]) == (1_000, 1_000)
    assert each.bank == {}
