"""Enrolments and rules go out one by one and in order, and the mirror settles them."""

from __future__ import annotations

import pytest

from fenzhang.chain.eip712 import proposal_hash
from fenzhang.domain.records import ParticipantStatus
from fenzhang.domain.rules import Leg, LegKind
from fenzhang.store import payloads, tables
from fenzhang.store.payloads import Approval, Enrollment, Proposal, Retirement, StandingChange
from fenzhang.store.tables import InstructionType
from pipeline.harness import Pipeline
from support.parties import MALL, MARKET, MERCHANT, RuleRef, party

pytestmark = pytest.mark.either_database

LEGS = (Leg(-1, LegKind.SHARE, 100, role="agent"), Leg(-1, LegKind.REMAINDER, role="merchant"))


def _proposal(pipeline: Pipeline, version: int = 1) -> Proposal:
    rule_id = pipeline.world.fresh("rule")
    return Proposal(MALL.id, rule_id, version, 0, LEGS)


def _content(proposal: Proposal) -> bytes:
    return proposal_hash(
        proposal.platform, proposal.rule_id, proposal.version, proposal.effective_from, proposal.legs
    )


async def _propose(pipeline: Pipeline, proposal: Proposal) -> int:
    async with pipeline.database.write() as session:
        session.add(
            tables.RuleVersion(
                platform_id=proposal.platform,
                rule_id=proposal.rule_id,
                version=proposal.version,
                reference=proposal.rule_id.hex(),
                legs=payloads.legs_to_json(proposal.legs),
                effective_from=proposal.effective_from,
                content_hash=_content(proposal),
            )
        )
    return await pipeline.ask(InstructionType.PROPOSE, proposal.platform, proposal)


async def _approve(pipeline: Pipeline, proposal: Proposal) -> int:
    approval = Approval(proposal.platform, proposal.rule_id, proposal.version, _content(proposal))
    return await pipeline.ask(InstructionType.APPROVE, proposal.platform, approval)


async def test_enrolments_share_a_block(pipeline: Pipeline) -> None:
    people = [party(f"new {n}") for n in range(5)]
    seqs = []
    for each in people:
        async with pipeline.database.write() as session:
            session.add(tables.Participant(id=each.id, platform_id=MALL.id, reference=each.name, status=0))
        seqs.append(await pipeline.ask(InstructionType.ENROLL, MALL.id, Enrollment(each.id, None, MALL.id)))

    await pipeline.round()

    assert await pipeline.states(*seqs) == ["SETTLED"] * 5
    blocks = {(await pipeline.instruction(seq)).block_number for seq in seqs}
    assert len(blocks) == 1
    rows = await pipeline.rows(tables.Participant, tables.Participant.id.in_([each.id for each in people]))
    assert {row.status for row in rows} == {ParticipantStatus.ACTIVE}


async def test_a_rule_is_proposed_approved_and_retired_in_that_order(pipeline: Pipeline) -> None:
    proposal = _proposal(pipeline)
    proposed = await _propose(pipeline, proposal)
    approved = await _approve(pipeline, proposal)
    retired = await pipeline.ask(
        InstructionType.RETIRE, MALL.id, Retirement(proposal.platform, proposal.rule_id)
    )

    await pipeline.submit()
    # Other keys send the approval and the retirement: each waits for what it builds on.
    assert await pipeline.states(proposed, approved, retired) == ["SUBMITTED", "ACCEPTED", "ACCEPTED"]
    await pipeline.settle_all()

    assert await pipeline.states(proposed, approved, retired) == ["SETTLED"] * 3
    [rule] = await pipeline.rows(tables.RuleVersion, tables.RuleVersion.rule_id == proposal.rule_id)
    assert (rule.proposed, rule.approved, rule.retired) == (True, True, True)
    blocks = [(await pipeline.instruction(seq)).block_number or 0 for seq in (proposed, approved, retired)]
    assert blocks == sorted(blocks)


async def test_rules_of_different_content_do_not_wait_for_each_other(pipeline: Pipeline) -> None:
    first, second = _proposal(pipeline), _proposal(pipeline)
    await _propose(pipeline, first)
    await pipeline.settle_all()
    seqs = [await _approve(pipeline, first), await _propose(pipeline, second)]

    await pipeline.round()

    assert await pipeline.states(*seqs) == ["SETTLED", "SETTLED"]


async def test_a_refused_governance_call_is_rejected_with_the_contract_s_reason(pipeline: Pipeline) -> None:
    again = await pipeline.ask(InstructionType.ENROLL, MALL.id, Enrollment(MERCHANT.id, None, MALL.id))
    nobody = await pipeline.ask(
        InstructionType.SUSPEND, MALL.id, StandingChange(pipeline.world.fresh("nobody"))
    )
    fine = await pipeline.ask(InstructionType.SUSPEND, MALL.id, StandingChange(MERCHANT.id))

    await pipeline.settle_all()

    assert await pipeline.reasons(again, nobody) == ["already_enrolled", "unknown_participant"]
    assert await pipeline.states(fine) == ["SETTLED"]
    rejected = await pipeline.instruction(again)
    assert rejected.reason is not None
    assert rejected.reason["values"] == {"participant": "0x" + MERCHANT.id.hex()}
    assert rejected.block_number is not None
    completions = await pipeline.rows(tables.Completion)
    assert {(c.instruction_seq, c.state) for c in completions} == {
        (again, "REJECTED"),
        (nobody, "REJECTED"),
        (fine, "SETTLED"),
    }


async def test_suspend_and_resume_follow_each_other(pipeline: Pipeline) -> None:
    seqs = [
        await pipeline.ask(kind, MALL.id, StandingChange(MERCHANT.id))
        for kind in (InstructionType.SUSPEND, InstructionType.RESUME)
    ]
    await pipeline.settle_all()

    assert await pipeline.states(*seqs) == ["SETTLED", "SETTLED"]
    [row] = await pipeline.rows(tables.Participant, tables.Participant.id == MERCHANT.id)
    assert row.status == ParticipantStatus.ACTIVE


async def test_a_proposal_that_somebody_else_relayed_settles_ours(pipeline: Pipeline) -> None:
    rule = RuleRef(MALL, pipeline.world.fresh("rule"), 1, LEGS)
    proposal = Proposal(MALL.id, rule.rule_id, 1, 0, LEGS)
    seq = await _propose(pipeline, proposal)
    assert await pipeline.submitter._ready()
    await pipeline.submitter.prepare_and_store()
    pipeline.world.propose(rule)

    await pipeline.settle_all()
    await pipeline.round()

    assert await pipeline.states(seq) == ["SETTLED"]
    assert [t.state for t in await pipeline.transactions()] == ["REVERTED"]


async def test_the_client_s_own_signature_on_a_proposal_is_used(pipeline: Pipeline) -> None:
    rule = RuleRef(MALL, pipeline.world.fresh("rule"), 1, LEGS)
    _, signature = pipeline.world.proposal(rule)
    good = await _propose(pipeline, Proposal(MALL.id, rule.rule_id, 1, 0, LEGS, signature))
    bad = await _propose(pipeline, Proposal(MALL.id, rule.rule_id, 2, 0, LEGS, signature))

    await pipeline.settle_all()

    assert await pipeline.states(good, bad) == ["SETTLED", "REJECTED"]
    assert await pipeline.reasons(bad) == ["invalid_signature"]


async def test_governance_survives_a_reorganisation(pipeline: Pipeline) -> None:
    pipeline.mine(4)
    proposal = _proposal(pipeline)
    seqs = [await _propose(pipeline, proposal)]
    await pipeline.settle_all()
    again = await pipeline.ask(InstructionType.ENROLL, MALL.id, Enrollment(MERCHANT.id, None, MALL.id))
    await pipeline.settle_all()
    assert await pipeline.states(*seqs, again) == ["SETTLED", "REJECTED"]

    pipeline.world.node.request("anvil_reorg", 3, [])
    await pipeline.follow()

    assert await pipeline.states(*seqs, again) == ["SUBMITTED", "SUBMITTED"]
    [rule] = await pipeline.rows(tables.RuleVersion, tables.RuleVersion.rule_id == proposal.rule_id)
    assert not rule.proposed
    await pipeline.settle_all()
    assert await pipeline.states(*seqs, again) == ["SETTLED", "REJECTED"]
    [rule] = await pipeline.rows(tables.RuleVersion, tables.RuleVersion.rule_id == proposal.rule_id)
    assert rule.proposed


async def test_rules_already_on_chain_are_marked_by_a_mirror_that_begins_late(pipeline: Pipeline) -> None:
    await pipeline.follow()

    [rule] = await pipeline.rows(tables.RuleVersion, tables.RuleVersion.rule_id == MARKET.rule_id)
    assert (rule.proposed, rule.approved, rule.retired) == (True, True, False)
