"""Schedules: a clean history verifies, and what the contracts would not have allowed, or hold otherwise, is found."""

from __future__ import annotations

from dataclasses import replace

import pytest
from eth_abi.abi import encode

from audit.auditing import (
    FORWARDER,
    Slots,
    code_of,
    codes,
    forwarded,
    install_forwarder,
    lied_to_about,
    mapped,
    only,
    peek,
    poke,
    verified,
    word,
)
from fenzhang.audit.differences import Code
from fenzhang.chain.codec import encode_settle
from fenzhang.chain.schedules import entry_values
from fenzhang.chain.views import RULE_APPROVER_ROLE
from fenzhang.domain.errors import RuleNotSelected
from fenzhang.domain.facts import Facts
from fenzhang.domain.schedules import SCHEDULE, Entry
from support.parties import MALL, MARKET, PAIR, ScheduleRef
from support.system import ADMIN, GUARDIAN, OUTSIDER, SUBMITTER
from support.world import World

TEA = Facts(category="tea").pack()
FIRST = ScheduleRef(MALL, 1, (Entry(PAIR.rule_id, TEA), Entry(MARKET.rule_id)))
SECOND = ScheduleRef(MALL, 2, (Entry(MARKET.rule_id),))
WHY = b"why".ljust(32, b"\0")
DAY = 86_400


def schedule_slot(offset: int) -> int:
    """Slot of the mall's schedule: 0 holds latest, retired and the newest approved version, 1 its versions."""
    return mapped(Slots.RULES, MALL.id, SCHEDULE) + offset


def version_slot(number: int, offset: int) -> int:
    """Slot of a version: 0 holds the content hash, 1 the entries' address, effective time and approval."""
    return mapped(schedule_slot(1), word(number)) + offset


def replace_rule(world: World, before: bytes, after: bytes) -> None:
    """Overwrite the rule that entries of the first version name."""
    blob = (peek(world, "RuleBook", version_slot(1, 1)) & (1 << 160) - 1).to_bytes(20, "big")
    code = code_of(world, blob)
    assert before in code
    world.node.set_code(blob, code.replace(before, after))


async def test_a_history_with_schedules_verifies(world: World) -> None:
    soon = world.node.now + 1_000
    world.put_in_force(FIRST, soon)
    early = world.captured(rule=PAIR)
    world.put_in_force(SECOND, soon + 500)
    world.act(GUARDIAN, "RuleBook", "veto", *world.approval(SECOND, soon + 500), WHY)
    world.node.next_block_at(soon)
    assert world.settle(world.attest(world.capture(rule=PAIR))).reasons == [
        RuleNotSelected(PAIR.rule_id, MARKET.rule_id)
    ]
    world.captured(rule=PAIR, facts=TEA)
    world.did(world.split(early.order_id, 400))
    world.retire(FIRST)
    world.captured(rule=PAIR)

    report = await verified(world)

    assert report.differences == ()
    assert report.counts["rule_versions"] == 5


# ------------------------------------------------------------------------------ captures


async def test_a_capture_by_another_rule_than_the_schedule_selects(world: World) -> None:
    """The entry named another rule at the time: the chain took it, and nothing in its events shows why."""
    world.put_in_force(FIRST)
    replace_rule(world, MARKET.rule_id, PAIR.rule_id)
    entries = world.twin.world.rules[MALL.id, SCHEDULE].versions[1].entries
    world.twin.world.rules[MALL.id, SCHEDULE].versions[1].entries = (entries[0], Entry(PAIR.rule_id))
    order = world.captured(rule=PAIR)
    replace_rule(world, PAIR.rule_id, MARKET.rule_id)

    report = await verified(world)

    found = only(report, Code.DECISION_DIFFERS)
    assert found.order == order.order_id
    assert only(report, Code.SCHEDULE_ENTRIES).participant == MALL.id  # both entries name MARKET now


async def test_a_capture_past_a_schedule_that_the_chain_lost_for_a_while(world: World) -> None:
    world.put_in_force(FIRST)
    header = poke(world, "RuleBook", schedule_slot(0), 0)
    known = world.twin.world.rules.pop((MALL.id, SCHEDULE))
    order = world.captured(rule=PAIR)
    world.twin.world.rules[MALL.id, SCHEDULE] = known
    poke(world, "RuleBook", schedule_slot(0), header)

    report = await verified(world)

    assert codes(report) == {Code.DECISION_DIFFERS: 1}
    assert only(report, Code.DECISION_DIFFERS).order == order.order_id


async def test_a_capture_that_was_refused_without_a_schedule(world: World) -> None:
    world.put_in_force(FIRST)
    world.retire(FIRST)
    header = poke(
        world, "RuleBook", schedule_slot(0), peek(world, "RuleBook", schedule_slot(0)) & ~(0xFF << 32)
    )
    world.twin.world.rules[MALL.id, SCHEDULE].retired = False
    assert len(world.settle(world.attest(world.capture(rule=PAIR))).reasons) == 1
    poke(world, "RuleBook", schedule_slot(0), header)

    assert codes(await verified(world)) == {Code.DECISION_DIFFERS: 1}


async def test_a_capture_through_another_contract_is_held_against_the_schedule_too(world: World) -> None:
    install_forwarder(world.node)
    world.put_in_force(FIRST)
    captured = world.capture(rule=PAIR)
    header = poke(world, "RuleBook", schedule_slot(0), 0)
    call = world.complete([world.attest(captured)])
    data = encode_settle(call.attestations, call.authorizations, call.witnesses, call.order_index)
    world.node.transact(SUBMITTER.address, FORWARDER, forwarded(world.system.deployment.split_ledger, data))
    poke(world, "RuleBook", schedule_slot(0), header)

    report = await verified(world)

    assert codes(report) == {Code.NOT_VERIFIABLE: 1, Code.DECISION_DIFFERS: 1}
    assert only(report, Code.DECISION_DIFFERS).order == captured.order_id


# ------------------------------------------------------------------------------ versions


async def test_a_schedule_proposed_with_a_forged_signature(world: World) -> None:
    slot = mapped(Slots.PARTICIPANTS, MALL.id)
    forger = int.from_bytes(OUTSIDER.address, "big")
    before = poke(world, "ParticipantRegistry", slot, 1 << 160 | forger)
    proposal = world.schedule_proposal(FIRST, key=OUTSIDER)
    world.act(SUBMITTER, "RuleBook", "proposeSchedule", *proposal)
    poke(world, "ParticipantRegistry", slot, before)

    found = only(await verified(world), Code.SIGNATURE_INVALID)
    assert (found.rule, found.participant) == (SCHEDULE, MALL.id)


async def test_a_schedule_out_of_turn(world: World) -> None:
    poke(world, "RuleBook", schedule_slot(0), 4)
    world.propose(replace(FIRST, version=5))

    report = await verified(world)

    assert codes(report) == {Code.RULE_INVALID: 1}
    assert only(report, Code.RULE_INVALID).rule == SCHEDULE


async def test_an_event_that_tells_other_entries_than_were_proposed(world: World) -> None:
    """Two entries, one behind the other in the log of the event, in the other order: no schedule, and not signed."""
    world.propose(FIRST)
    truth, claim = (
        encode(["(bytes32,bytes3,uint96,uint96,uint64,uint64,bytes32)[]"], [each]).hex()
        for each in (
            list(map(entry_values, FIRST.entries)),
            list(map(entry_values, reversed(FIRST.entries))),
        )
    )

    report = await lied_to_about(world, truth[64:], claim[64:], "eth_getLogs", "eth_getBlockReceipts")

    found = codes(report)
    assert found[Code.EVENT_UNEXPECTED] == 1
    assert found[Code.RULE_INVALID] == 1
    assert found[Code.CONTENT_HASH_DIFFERS] == 1


async def test_an_approval_within_the_lock(world: World) -> None:
    world.act(ADMIN, "RuleBook", "setApprovalLock", DAY)
    world.propose(FIRST)
    lock = poke(world, "RuleBook", Slots.RULES + 1, 0)
    world.approve(FIRST)
    poke(world, "RuleBook", Slots.RULES + 1, lock)

    report = await verified(world)

    assert codes(report) == {Code.RULE_LOCKED: 1}
    assert only(report, Code.RULE_LOCKED).rule == SCHEDULE


async def test_an_approval_by_the_platform_itself(world: World) -> None:
    slot = mapped(Slots.PARTICIPANTS, MALL.id)
    world.propose(FIRST)
    world.act(ADMIN, "AccessManager", "grantRole", RULE_APPROVER_ROLE, MALL.key.address, 0)
    before = poke(world, "ParticipantRegistry", slot, 1 << 160)
    signed = poke(world, "RuleBook", version_slot(1, 2), 0)
    world.node.impersonate(MALL.key.address)
    world.act(MALL.key.address, "RuleBook", "approve", *world.approval(FIRST))
    poke(world, "ParticipantRegistry", slot, before)
    poke(world, "RuleBook", version_slot(1, 2), signed)

    report = await verified(world)

    assert codes(report) == {Code.TWO_PARTY_RULE: 1}


async def test_a_veto_of_what_was_in_effect(world: World) -> None:
    world.put_in_force(FIRST)
    slot = version_slot(1, 1)
    before = poke(world, "RuleBook", slot, peek(world, "RuleBook", slot) | 0xFFFF_FFFF_FFFF_FFFF << 160)
    world.act(GUARDIAN, "RuleBook", "veto", *world.approval(FIRST), WHY)
    poke(world, "RuleBook", slot, before & ~(0xFF << 224))

    assert codes(await verified(world)) == {Code.RULE_LOCKED: 1}


async def test_a_retirement_with_a_forged_signature(world: World) -> None:
    world.put_in_force(FIRST)
    slot = mapped(Slots.PARTICIPANTS, MALL.id)
    forger = int.from_bytes(OUTSIDER.address, "big")
    before = poke(world, "ParticipantRegistry", slot, 1 << 160 | forger)
    world.act(SUBMITTER, "RuleBook", "retire", *world.retirement(FIRST, OUTSIDER))
    poke(world, "ParticipantRegistry", slot, before)

    assert only(await verified(world), Code.SIGNATURE_INVALID).rule == SCHEDULE


# ------------------------------------------------------------------------------ storage


async def test_entries_in_storage(world: World) -> None:
    world.put_in_force(FIRST)
    replace_rule(world, PAIR.rule_id, MARKET.rule_id)

    difference = only(await verified(world), Code.SCHEDULE_ENTRIES)
    assert difference.participant == MALL.id
    assert isinstance(difference.expected, tuple)
    assert isinstance(difference.found, tuple)
    assert [entry.rule_id for entry in difference.expected] == [PAIR.rule_id, MARKET.rule_id]
    assert [entry.rule_id for entry in difference.found] == [MARKET.rule_id, MARKET.rule_id]


@pytest.mark.parametrize(
    ("slot", "bits", "code"),
    [
        (version_slot(1, 0), 1, Code.RULE_HEADER),
        (version_slot(1, 1), 1 << 160, Code.RULE_HEADER),
        (version_slot(1, 1), 1 << 224, Code.RULE_HEADER),
        (schedule_slot(0), 1 << 32, Code.RULE_HEADER),
        (schedule_slot(0), 1, Code.RULE_HEADER),
    ],
    ids=["content hash", "effective time", "approval", "retirement", "latest version"],
)
async def test_the_header_of_a_schedule(world: World, slot: int, bits: int, code: Code) -> None:
    world.put_in_force(FIRST)
    poke(world, "RuleBook", slot, peek(world, "RuleBook", slot) ^ bits)

    assert only(await verified(world), code).rule == SCHEDULE


async def test_which_version_is_in_force(world: World) -> None:
    """The list of approved versions begins with the first one again; each header is as it was."""
    world.put_in_force(FIRST)
    world.put_in_force(SECOND)
    header = peek(world, "RuleBook", schedule_slot(0))
    poke(world, "RuleBook", schedule_slot(0), header & ~(0xFFFF_FFFF << 40) | 1 << 40)

    report = await verified(world)

    assert codes(report) == {Code.SCHEDULE_STATE: 2}


async def test_one_order_is_concerned_by_its_platforms_schedule(world: World) -> None:
    world.put_in_force(FIRST)
    order = world.captured()
    replace_rule(world, PAIR.rule_id, MARKET.rule_id)

    report = await verified(world, "0x" + order.order_id.hex())

    assert codes(report) == {Code.SCHEDULE_ENTRIES: 1}
