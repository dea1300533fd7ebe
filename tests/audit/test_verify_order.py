"""The life of one order: every record with its proof, and every difference that concerns it."""

from __future__ import annotations

import json

import pytest

from audit.auditing import Slots, codes, left, mapped, poke, set_status, verified, word
from fenzhang.audit.differences import Code
from fenzhang.audit.errors import OrderNotOnChain
from fenzhang.audit.verification import AuditReport
from fenzhang.chain.evidence import verify_proof
from fenzhang.commands.verify_text import print_report
from fenzhang.domain.errors import InvalidReference
from fenzhang.domain.identifiers import hex_id, order_id
from fenzhang.domain.records import Capture
from support.parties import MALL, MERCHANT, PROMOTER, SHOP, VENDING, VENDOR, ident
from support.system import GUARDIAN, SECOND_GUARDIAN
from support.world import World

REFERENCE = "2026-11-11:no1"


@pytest.fixture
def order(world: World) -> Capture:
    """An order with a life: split twice, once in vain, returned in part, released, in company of another order."""
    captured = world.captured(1_000, order_id=order_id(MALL.id, REFERENCE))
    other = world.captured(500)
    split = world.split(captured.order_id, 600)
    world.settle(world.authorize(world.split(other.order_id, 50), split, world.split(captured.order_id, 401)))
    world.did(world.give_back(captured.order_id, split.id, 60))
    world.settle(world.authorize(world.release(captured.order_id), key=SHOP.key))
    world.did(world.release(captured.order_id), world.release(other.order_id))
    return captured


async def test_an_order_is_found_by_the_reference_that_its_platform_gave_it(
    world: World, order: Capture
) -> None:
    report = await verified(world, REFERENCE)

    [story] = report.stories
    assert report.held
    assert story.order_id == order.order_id
    assert story.capture == order
    sums = (story.captured, story.split, story.returned, story.released, story.held)
    assert sums == (1_000, 600, 60, 460, 0)
    kinds = ["CAPTURE", "SPLIT", "REJECTION", "RETURN", "REFUSED", "RELEASE"]
    assert [entry.kind for entry in story.entries] == kinds


async def test_an_order_is_found_by_its_id(world: World, order: Capture) -> None:
    by_reference, by_id = await verified(world, REFERENCE), await verified(world, hex_id(order.order_id))

    assert by_id.stories == by_reference.stories


async def test_every_record_is_proven_against_the_chain(world: World, order: Capture) -> None:
    [story] = (await verified(world, hex_id(order.order_id))).stories

    records = [entry for entry in story.entries if entry.kind != "REFUSED"]
    assert len(records) == 5
    for entry in records:
        assert entry.proven
        assert entry.leaf is not None
        assert world.system.call("LedgerView", "isRecorded", entry.batch, entry.leaf, entry.proof)
        root = world.system.call("LedgerView", "batchRoot", entry.batch)
        assert verify_proof(root, entry.leaf, entry.proof)


async def test_the_story_says_why_an_instruction_was_refused(world: World, order: Capture) -> None:
    [story] = (await verified(world, hex_id(order.order_id))).stories

    reasons = [entry.reason for entry in story.entries if entry.reason is not None]
    assert [(reason["of"], reason["code"]) for reason in reasons] == [
        ("SPLIT", "insufficient_held"),
        ("RELEASE", "invalid_signature"),
    ]


async def test_a_reference_that_two_platforms_gave_means_both_orders(world: World, order: Capture) -> None:
    theirs = world.captured(70, rule=VENDING, order_id=order_id(SHOP.id, REFERENCE))

    report = await verified(world, REFERENCE)

    assert {story.order_id for story in report.stories} == {order.order_id, theirs.order_id}


async def test_an_order_that_was_only_ever_refused_has_a_story(world: World) -> None:
    missing = order_id(MALL.id, "never-captured")
    world.settle(world.authorize(world.split(missing, 5)))

    [story] = (await verified(world, "never-captured")).stories

    assert story.capture is None
    assert [entry.kind for entry in story.entries] == ["REJECTION"]


async def test_freezes_of_the_order_and_its_splits_are_part_of_its_life(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    captured, other = world.captured(1_000), world.captured(1_000)
    split = world.split(captured.order_id, 600)
    world.did(split)
    world.freeze(captured.order_id, split.id)
    world.freeze(other.order_id)
    world.freeze(captured.order_id)
    assert world.settle(world.authorize(world.split(captured.order_id, 100))).reasons
    world.unfreeze(captured.order_id)
    world.did(world.split(captured.order_id, 100))

    report = await verified(world, hex_id(captured.order_id))

    [story] = report.stories
    assert [entry.kind for entry in story.entries] == [
        *("CAPTURE", "SPLIT", "FREEZE", "FREEZE", "REJECTION", "UNFREEZE", "SPLIT")
    ]
    frozen_split, frozen, thawed = (entry for entry in story.entries if "FREEZE" in entry.kind)
    assert (frozen_split.id, frozen_split.split_id) == (split.id, split.id)
    assert [(entry.id, entry.split_id) for entry in (frozen, thawed)] == [(captured.order_id, None)] * 2
    assert [entry.signer for entry in (frozen_split, frozen, thawed)] == [
        *(GUARDIAN.address, GUARDIAN.address, SECOND_GUARDIAN.address)
    ]
    assert frozen_split.reason is not None
    assert (frozen_split.reason["of"], frozen_split.reason["code"]) == ("SPLIT", "dispute")
    assert all(entry.batch is None for entry in (frozen_split, frozen, thawed))
    json.dumps(story.to_json())
    print_report(report)
    shown = capsys.readouterr().out
    assert [
        what for what in ("FREEZE of SPLIT", "FREEZE of ORDER", "UNFREEZE of ORDER") if what not in shown
    ] == []


@pytest.mark.parametrize("given", ["nobody-knows-it", hex_id(ident("no order"))])
@pytest.mark.usefixtures("order")
async def test_an_order_without_a_record_is_an_error(world: World, given: str) -> None:
    with pytest.raises(OrderNotOnChain, match="no record on the chain names order"):
        await verified(world, given)


async def test_what_is_neither_id_nor_reference_is_an_error(world: World) -> None:
    with pytest.raises(InvalidReference):
        await verified(world, "no such thing")


# ------------------------------------------------------------------------------ what concerns it


async def test_its_slot_concerns_it_and_anothers_does_not(world: World, order: Capture) -> None:
    other = world.captured(5)
    for each in (order, other):
        poke(world, "SplitLedger", mapped(Slots.ORDERS, each.order_id), 1 << 96)

    report = await verified(world, hex_id(order.order_id))

    assert found(report, Code.ORDER_SLOT) == [order.order_id]
    assert report.elsewhere == 1
    assert not report.held


async def test_a_changed_root_of_one_of_its_batches_breaks_its_proof(world: World, order: Capture) -> None:
    poke(world, "SplitLedger", mapped(Slots.BATCH_ROOTS, word(1)), 5)

    report = await verified(world, hex_id(order.order_id))

    assert codes(report) == {Code.BATCH_ROOT: 1, Code.PROOF_FAILS: 1}
    [story] = report.stories
    assert [entry.proven for entry in story.entries][:2] == [False, True]


@pytest.mark.usefixtures("order")
async def test_the_root_of_a_batch_without_its_records_does_not_concern_it(world: World) -> None:
    poke(world, "SplitLedger", mapped(Slots.BATCH_ROOTS, word(2)), 5)

    report = await verified(world, REFERENCE)

    assert report.held
    assert report.elsewhere == 1


@pytest.mark.usefixtures("order")
async def test_the_standing_of_its_parties_concerns_it(world: World) -> None:
    for party in (PROMOTER, VENDOR):
        set_status(world, party.id, 3)

    report = await verified(world, REFERENCE)

    assert [each.participant for each in report.differences] == [PROMOTER.id]
    assert report.elsewhere == 1


@pytest.mark.usefixtures("order")
async def test_positions_concern_it_in_its_currency_alone(world: World) -> None:
    world.captured(5, currency="USD")
    for currency in (b"CNY", b"USD"):
        poke(world, "SplitLedger", mapped(Slots.POSITIONS, left(currency), MERCHANT.id), 7)

    report = await verified(world, REFERENCE)

    assert codes(report) == {Code.POSITION: 1, Code.CURRENCY_NOT_CONSERVED: 1}
    assert {each.currency for each in report.differences} == {"CNY"}


def found(report: AuditReport, code: Code) -> list[bytes | None]:
    """The orders of the differences of a code."""
    return [each.order for each in report.differences if each.code is code]
