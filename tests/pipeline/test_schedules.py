"""Schedules: out to the chain, back through the mirror, and through a reorganisation; and the orders they bind."""

from __future__ import annotations

import pytest

from fenzhang.chain.schedules import schedule_hash
from fenzhang.domain.facts import Facts
from fenzhang.domain.schedules import SCHEDULE, Entry
from fenzhang.store import payloads, tables
from fenzhang.store.payloads import Approval, Proposal, Retirement, Veto
from fenzhang.store.tables import SCHEDULE_REFERENCE, InstructionType
from pipeline.harness import Pipeline
from support.parties import MALL, MARKET, PAIR, ScheduleRef

pytestmark = pytest.mark.either_database

TEA = Facts(category="tea").pack()
ENTRIES = (Entry(PAIR.rule_id, TEA, "CNY", 100, 10_000, 5, 0), Entry(MARKET.rule_id))
FIRST = ScheduleRef(MALL, 1, ENTRIES)
CONTENT = schedule_hash(MALL.id, 1, 0, ENTRIES)
APPROVAL = Approval(MALL.id, SCHEDULE, 1, CONTENT)


async def _row(pipeline: Pipeline) -> tables.RuleVersion:
    [row] = await pipeline.rows(tables.RuleVersion, tables.RuleVersion.rule_id == SCHEDULE)
    assert isinstance(row, tables.RuleVersion)
    return row


async def _asked(pipeline: Pipeline, kind: InstructionType, payload: payloads.Payload) -> str:
    seq = await pipeline.ask(kind, MALL.id, payload)
    await pipeline.settle_all()
    [state] = await pipeline.states(seq)
    return state


async def test_a_schedule_goes_out_is_mirrored_and_binds_orders_until_it_is_retired(
    pipeline: Pipeline,
) -> None:
    world = pipeline.world
    proposal = Proposal(MALL.id, SCHEDULE, 1, 0, (), entries=ENTRIES)
    assert await _asked(pipeline, InstructionType.PROPOSE, proposal) == "SETTLED"
    row = await _row(pipeline)
    assert (row.proposed, row.approved, row.content_hash) == (True, False, CONTENT)
    assert row.reference == SCHEDULE_REFERENCE
    assert payloads.entries_from_json(row.entries or []) == ENTRIES
    assert await _asked(pipeline, InstructionType.APPROVE, APPROVAL) == "SETTLED"
    assert (await _row(pipeline)).approved

    right, wrong = world.capture(rule=PAIR, facts=TEA), world.capture(rule=PAIR)
    seqs = await pipeline.accept(right, wrong)
    await pipeline.settle_all()
    assert await pipeline.states(*seqs) == ["SETTLED", "REJECTED"]
    assert await pipeline.reasons(*seqs) == [None, "rule_not_selected"]
    [order] = await pipeline.rows(tables.Order)
    assert (order.rule_id, order.rule_version, order.facts) == (PAIR.rule_id, 1, TEA)

    assert await _asked(pipeline, InstructionType.RETIRE, Retirement(MALL.id, SCHEDULE)) == "SETTLED"
    assert (await _row(pipeline)).retired
    [seq] = await pipeline.accept(world.capture(rule=PAIR))
    await pipeline.settle_all()
    assert await pipeline.states(seq) == ["SETTLED"]
    await pipeline.check_reconciled()


async def test_a_schedule_that_somebody_else_proposed_is_known_too(pipeline: Pipeline) -> None:
    pipeline.world.put_in_force(FIRST, 7)
    await pipeline.follow()

    row = await _row(pipeline)
    assert (row.proposed, row.approved, row.vetoed, row.retired) == (True, True, False, False)
    assert (row.effective_from, row.content_hash) == (7, schedule_hash(MALL.id, 1, 7, ENTRIES))
    assert payloads.entries_from_json(row.entries or []) == ENTRIES


async def test_what_is_on_the_chain_replaces_another_proposal_of_the_same_version(pipeline: Pipeline) -> None:
    other = (Entry(MARKET.rule_id),)
    pipeline.world.propose(ScheduleRef(MALL, 1, other))
    lost = Proposal(MALL.id, SCHEDULE, 1, 0, (), entries=ENTRIES)

    assert await _asked(pipeline, InstructionType.PROPOSE, lost) == "REJECTED"

    assert payloads.entries_from_json((await _row(pipeline)).entries or []) == other


async def test_a_veto_is_mirrored_and_a_reorganisation_undoes_it(pipeline: Pipeline) -> None:
    pipeline.world.propose(FIRST)
    await pipeline.follow()
    before = pipeline.world.node.snapshot()
    veto = Veto(MALL.id, SCHEDULE, 1, CONTENT, b"why".ljust(32, b"\0"))
    assert await _asked(pipeline, InstructionType.VETO, veto) == "SETTLED"
    assert (await _row(pipeline)).vetoed

    pipeline.world.node.revert(before)
    pipeline.mine(30)
    await pipeline.follow()

    row = await _row(pipeline)
    assert (row.proposed, row.approved, row.vetoed) == (True, False, False)


async def test_a_proposal_that_somebody_else_relayed_settles_ours(pipeline: Pipeline) -> None:
    pipeline.world.propose(FIRST)
    proposal = Proposal(MALL.id, SCHEDULE, 1, 0, (), entries=ENTRIES)
    seq = await pipeline.ask(InstructionType.PROPOSE, MALL.id, proposal)
    await pipeline.follow()

    assert await pipeline.states(seq) == ["SETTLED"]
