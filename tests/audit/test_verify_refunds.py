"""Refunds are verified: what they take is computed again, and a claim of anything else is found."""

from __future__ import annotations

from collections import Counter

import pytest

from audit.auditing import (
    FORWARDER,
    Slots,
    codes,
    forwarded,
    install_forwarder,
    left,
    lied_to_about,
    mapped,
    only,
    poke,
    verified,
)
from fenzhang.audit.differences import Code
from fenzhang.chain.abi import word
from fenzhang.chain.codec import encode_settle
from fenzhang.chain.events import OrderRefunded
from fenzhang.domain.records import Capture
from support.parties import MERCHANT, PAIR
from support.positions import write_position
from support.system import SUBMITTER
from support.world import World

AMOUNT, TAKE, CLAIMED = 777, 45, 46
"""The refund, what the first leaf gives to it, and what somebody says that it gave."""


@pytest.fixture
def refunded(world: World) -> Capture:
    """An order split twice and released, a part of it returned, then refunded."""
    order = world.captured(1_000, rule=PAIR)
    first = world.split(order.order_id, 150)
    world.did(first, world.split(order.order_id, 500))
    world.did(world.give_back(order.order_id, first.id, 10))
    world.did(world.refund(order.order_id, AMOUNT))
    return order


async def test_a_history_with_refunds_holds(world: World, refunded: Capture) -> None:
    world.did(world.refund(refunded.order_id, 100))
    rest = world.captured(50, rule=PAIR)
    world.did(world.refund(rest.order_id, 20), world.release(rest.order_id))
    world.did(world.refund(rest.order_id, 30))
    over = world.settle(world.authorize(world.refund(rest.order_id, 1)))
    assert len(over.reasons) == 1

    report = await verified(world)

    assert report.differences == ()
    assert report.counts["refunds"] == 4
    money = report.currencies["CNY"]
    assert (money.refunded, money.is_conserved) == (AMOUNT + 100 + 50, True)
    shown = report.to_json()["currencies"]["CNY"]
    assert (shown["refunded"], shown["conserved"]) == (AMOUNT + 150, True)


async def test_the_story_of_an_order_tells_of_its_refund(world: World, refunded: Capture) -> None:
    report = await verified(world, "0x" + refunded.order_id.hex())
    [story] = report.stories
    assert (story.captured, story.split, story.returned, story.refunded, story.held) == (
        1_000,
        650,
        10,
        AMOUNT,
        0,
    )
    assert story.entries[-1].kind == "REFUND"
    assert story.entries[-1].proven
    assert story.entries[-1].allocations[0].amount == TAKE


async def test_a_refund_that_claims_to_have_taken_more_is_found(world: World, refunded: Capture) -> None:
    truth, claim = (word(amount).hex() for amount in (TAKE, CLAIMED))
    report = await lied_to_about(world, truth, claim, "eth_getLogs")

    difference = only(report, Code.DECISION_DIFFERS)
    assert difference.order == refunded.order_id
    assert isinstance(difference.expected, OrderRefunded)
    assert isinstance(difference.found, OrderRefunded)
    assert (difference.expected.takes[0].amount, difference.found.takes[0].amount) == (TAKE, CLAIMED)
    # It is no sum any more, and neither the record nor the order is the one that the chain committed to.
    assert {Code.ORDER_NOT_CONSERVED, Code.BATCH_DIFFERS, Code.ORDER_SLOT, Code.POSITION} <= set(
        codes(report)
    )


async def test_takes_are_computed_again_where_calldata_does_not_show_the_instruction(world: World) -> None:
    order = world.captured(1_000, rule=PAIR)
    world.did(world.split(order.order_id, 701))
    install_forwarder(world.node)
    call = world.complete([world.authorize(world.refund(order.order_id, 400))])
    data = encode_settle(call.attestations, call.authorizations, call.witnesses, call.order_index)
    world.node.transact(SUBMITTER.address, FORWARDER, forwarded(world.system.deployment.split_ledger, data))

    assert codes(await verified(world)) == Counter({Code.NOT_VERIFIABLE: 1})


@pytest.mark.usefixtures("refunded")
async def test_a_tampered_total_of_refunds_is_found(world: World) -> None:
    poke(world, "SplitLedger", mapped(Slots.REFUNDED, left(b"CNY")), AMOUNT - 1)

    report = await verified(world)

    difference = only(report, Code.TOTALS)
    assert isinstance(difference.expected, dict)
    assert isinstance(difference.found, dict)
    assert (difference.expected["refunded"], difference.found["refunded"]) == (AMOUNT, AMOUNT - 1)
    assert codes(report)[Code.CURRENCY_NOT_CONSERVED] == 1


@pytest.mark.usefixtures("refunded")
async def test_a_position_lowered_behind_a_refund_is_found(world: World) -> None:
    write_position(world, MERCHANT, 0)
    assert codes(await verified(world)) == Counter({Code.POSITION: 1, Code.CURRENCY_NOT_CONSERVED: 1})
