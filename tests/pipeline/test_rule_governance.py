"""Vetoes, consent, caps and the lock: out to the chain, back through the mirror, and through a reorganisation."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fenzhang.chain.eip712 import proposal_hash
from fenzhang.domain.records import Capture
from fenzhang.domain.rules import RuleTerms
from fenzhang.store import chainsettings, tables
from fenzhang.store.payloads import Cap, ConsentChange, Veto
from fenzhang.store.tables import InstructionType
from pipeline.harness import Pipeline
from support.parties import MALL, MARKET, MERCHANT, PAIR, PROMOTER, RuleRef
from support.system import ADMIN, GUARDIAN
from support.world import World

pytestmark = pytest.mark.either_database

WHY = b"share_too_high".ljust(32, b"\0")
BOUND = (PROMOTER.id, MERCHANT.id)


async def _lock(pipeline: Pipeline) -> int:
    async with pipeline.database.read() as session:
        return await chainsettings.read(session, chainsettings.APPROVAL_LOCK)


def _set_lock(world: World, seconds: int) -> None:
    world.act(ADMIN, "RuleBook", "setApprovalLock", seconds)


async def _proposed(pipeline: Pipeline) -> tuple[RuleRef, Veto]:
    """A version that is proposed, in the database too, and its veto."""
    rule = replace(PAIR, rule_id=pipeline.world.fresh("rule"), terms=RuleTerms(4_000))
    await pipeline.add_rules(rule)
    pipeline.world.propose(rule)
    content = proposal_hash(MALL.id, rule.rule_id, 1, 0, rule.legs, rule.terms)
    return rule, Veto(MALL.id, rule.rule_id, 1, content, WHY)


async def _row(pipeline: Pipeline, rule: RuleRef) -> tables.RuleVersion:
    [row] = await pipeline.rows(tables.RuleVersion, tables.RuleVersion.rule_id == rule.rule_id)
    assert isinstance(row, tables.RuleVersion)
    return row


async def test_a_veto_goes_out_and_is_mirrored_with_its_reason(pipeline: Pipeline) -> None:
    rule, veto = await _proposed(pipeline)
    seq = await pipeline.ask(InstructionType.VETO, MALL.id, veto)

    await pipeline.settle_all()

    assert await pipeline.states(seq) == ["SETTLED"]
    row = await _row(pipeline, rule)
    assert (row.proposed, row.approved, row.vetoed) == (True, False, True)
    assert row.veto is not None
    assert row.veto["guardian"] == "0x" + GUARDIAN.address.hex()
    assert row.veto["reason_code"] == "share_too_high"


async def test_a_second_veto_is_rejected_with_the_contracts_reason(pipeline: Pipeline) -> None:
    _, veto = await _proposed(pipeline)
    first = await pipeline.ask(InstructionType.VETO, MALL.id, veto)
    await pipeline.settle_all()
    second = await pipeline.ask(InstructionType.VETO, MALL.id, veto)

    await pipeline.settle_all()

    assert await pipeline.states(first, second) == ["SETTLED", "REJECTED"]
    assert await pipeline.reasons(second) == ["already_vetoed"]


async def test_the_lock_consent_and_caps_are_mirrored(pipeline: Pipeline) -> None:
    _set_lock(pipeline.world, 3_600)
    seqs = [
        await pipeline.ask(
            InstructionType.CONSENT, MALL.id, ConsentChange(MERCHANT.id, MALL.id, granted=False)
        ),
        await pipeline.ask(InstructionType.CAP, MALL.id, Cap(MALL.id, 2_500)),
    ]

    await pipeline.settle_all()

    assert await pipeline.states(*seqs) == ["SETTLED", "SETTLED"]
    assert await _lock(pipeline) == 3_600
    rows = {row.id: row for row in await pipeline.rows(tables.Participant)}
    assert (rows[MERCHANT.id].consents, rows[PROMOTER.id].consents) == (False, True)
    assert (rows[MALL.id].max_share_out, rows[MERCHANT.id].max_share_out) == (2_500, 0)
    again = ConsentChange(MERCHANT.id, MALL.id, granted=True)
    await pipeline.ask(InstructionType.CONSENT, MALL.id, again)
    await pipeline.settle_all()
    [merchant] = await pipeline.rows(tables.Participant, tables.Participant.id == MERCHANT.id)
    assert merchant.consents


async def test_an_order_captured_before_consent_was_taken_back_is_split_as_ever(pipeline: Pipeline) -> None:
    world = pipeline.world
    order = world.capture(1_000)
    await pipeline.accept(order)
    await pipeline.settle_all()
    revoked = ConsentChange(MERCHANT.id, MALL.id, granted=False)
    await pipeline.ask(InstructionType.CONSENT, MALL.id, revoked)
    await pipeline.settle_all()
    split, release = world.split(order.order_id, 600), world.release(order.order_id)
    late = world.capture(1_000)

    seqs = [*await pipeline.accept(split), *await pipeline.accept(release), *await pipeline.accept(late)]
    await pipeline.settle_all()

    assert await pipeline.states(*seqs) == ["SETTLED", "SETTLED", "REJECTED"]
    assert await pipeline.reasons(seqs[2]) == ["recipient_not_consented"]


async def test_a_split_above_the_cap_is_rejected_and_what_is_within_settles(pipeline: Pipeline) -> None:
    world = pipeline.world
    rule = replace(PAIR, rule_id=world.fresh("rule"), terms=RuleTerms(3_000))
    world.put_in_force(rule)
    await pipeline.add_rules(rule)
    order: Capture = world.capture(1_000, rule=rule, bindings=BOUND)
    await pipeline.accept(order)
    parts = [world.split(order.order_id, amount) for amount in (500, 300, 100)]

    seqs = [seq for part in parts for seq in await pipeline.accept(part)]
    await pipeline.settle_all()

    assert await pipeline.states(*seqs) == ["SETTLED", "REJECTED", "SETTLED"]
    assert await pipeline.reasons(seqs[1]) == ["share_out_above_cap"]
    rejected = await pipeline.instruction(seqs[1])
    assert rejected.reason is not None
    assert (rejected.reason["values"]["leaving"], rejected.reason["values"]["left"]) == (150, 50)
    await pipeline.check_reconciled()


async def test_what_a_reorganisation_undoes_is_undone_here(pipeline: Pipeline) -> None:
    rule, veto = await _proposed(pipeline)
    await pipeline.follow()
    before = pipeline.world.node.snapshot()
    approval = (veto.platform, veto.rule_id, veto.version, veto.content_hash)
    pipeline.world.act(GUARDIAN, "RuleBook", "veto", *approval, WHY)
    pipeline.world.act(GUARDIAN, "ParticipantRegistry", "setMaxShareOut", MALL.id, 100)
    pipeline.world.consent(MERCHANT, MALL, granted=False)
    _set_lock(pipeline.world, 60)
    await pipeline.follow()
    assert (await _row(pipeline, rule)).vetoed
    assert await _lock(pipeline) == 60

    pipeline.world.node.revert(before)
    pipeline.mine(8)
    await pipeline.follow()

    row = await _row(pipeline, rule)
    assert (row.proposed, row.vetoed) == (True, False)
    assert await _lock(pipeline) == 0
    rows = {found.id: found for found in await pipeline.rows(tables.Participant)}
    assert (rows[MALL.id].max_share_out, rows[MERCHANT.id].consents) == (0, True)
    assert MARKET.rule_id != rule.rule_id
