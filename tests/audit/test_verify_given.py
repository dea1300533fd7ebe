"""Given amounts are verified like computed ones: against what was signed, and the bounds that were approved."""

from __future__ import annotations

from collections import Counter

import pytest

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
    verified,
)
from audit.auditing import word as key_word
from fenzhang.audit.differences import Code
from fenzhang.audit.verification import AuditReport
from fenzhang.chain.abi import word
from fenzhang.chain.codec import encode_settle
from fenzhang.chain.events import AuthorizationRejected, InstructionRejected, OrderSplit
from fenzhang.chain.reverts import decode_revert
from fenzhang.domain.errors import GivenOutOfBounds
from fenzhang.domain.records import Authorization, Capture
from support.parties import AGENCY, MALL
from support.system import SUBMITTER
from support.world import World

GIVEN, CLAIMED = 77, 78


@pytest.fixture
def agency(world: World) -> World:
    world.put_in_force(AGENCY)
    return world


def settle_data(world: World, *signed: Authorization) -> bytes:
    call = world.complete(signed)
    return encode_settle(call.attestations, call.authorizations, call.witnesses, call.order_index)


async def test_a_history_of_given_amounts_and_of_refused_ones_holds(agency: World) -> None:
    order = agency.captured(1_000, rule=AGENCY)
    split = agency.split(order.order_id, 500, given=(70, 300, 150))
    agency.did(split)
    bad = [(91, 0, 0), (3, 301, 0), (), (3, 0), (3, 0, 0, 0), (2**96, 0, 0), (2**256 - 1, 0, 0)]
    refused = agency.settle(
        *(agency.authorize(agency.split(order.order_id, 500, given=given)) for given in bad)
    )
    assert len(refused.reasons) == len(bad)
    agency.did(agency.give_back(order.order_id, split.id, 100))
    agency.did(agency.release(order.order_id))

    report = await verified(agency)

    assert report.differences == ()
    assert (report.counts["splits"], report.counts["rejections"]) == (1, len(bad))


async def lied_to(world: World, *methods: str) -> AuditReport:
    """What an auditor finds that asks a node which tells one given amount otherwise in these answers."""
    return await lied_to_about(world, word(GIVEN).hex(), word(CLAIMED).hex(), *methods)


@pytest.fixture
def settled(agency: World) -> Capture:
    """An order split with a given amount that nothing else on the chain has."""
    order = agency.captured(1_000, rule=AGENCY)
    agency.did(agency.split(order.order_id, 1_000, given=(GIVEN, 300, 150)))
    return order


async def test_a_record_that_claims_another_given_amount_is_found(agency: World, settled: Capture) -> None:
    report = await lied_to(agency, "eth_getLogs")

    difference = only(report, Code.DECISION_DIFFERS)
    assert difference.order == settled.order_id
    assert isinstance(difference.expected, OrderSplit)
    assert isinstance(difference.found, OrderSplit)
    assert difference.expected.allocations[0].amount == GIVEN
    assert difference.found.allocations[0].amount == CLAIMED


@pytest.mark.usefixtures("settled")
async def test_a_node_that_claims_another_given_amount_was_signed_is_found(agency: World) -> None:
    report = await lied_to(agency, "eth_getTransactionByHash", "eth_getLogs")

    difference = only(report, Code.AUTHORIZATION_DIFFERS)
    assert isinstance(difference.expected, AuthorizationRejected)
    assert isinstance(difference.found, OrderSplit)


def allow_more(world: World, before: int, after: int) -> None:
    """Overwrite the promoter's maximum in the stored legs of AGENCY."""
    rule = mapped(Slots.RULES, MALL.id, AGENCY.rule_id) + 1
    version = mapped(rule, key_word(1)) + 1
    blob = (peek(world, "RuleBook", version) & (1 << 160) - 1).to_bytes(20, "big")
    code = code_of(world, blob)
    assert key_word(before) in code
    world.node.set_code(blob, code.replace(key_word(before), key_word(after), 1))


async def test_an_amount_beyond_what_was_approved_is_found_where_the_chain_took_it(agency: World) -> None:
    order = agency.captured(1_000, rule=AGENCY)
    allow_more(agency, 90, 900)
    data = settle_data(agency, agency.authorize(agency.split(order.order_id, 1_000, given=(150, 0, 0))))
    mined = agency.node.transact(SUBMITTER.address, agency.system.deployment.split_ledger, data)
    allow_more(agency, 900, 90)

    report = await verified(agency)

    difference = only(report, Code.DECISION_DIFFERS)
    assert (difference.transaction, difference.order) == (mined.hash, order.order_id)
    assert isinstance(difference.expected, InstructionRejected)
    assert decode_revert(difference.expected.reason) == GivenOutOfBounds(0, 150, 3, 90)
    assert isinstance(difference.found, OrderSplit)


@pytest.mark.parametrize(("taken", "differs"), [(80, 0), (150, 1)])
async def test_bounds_are_checked_also_where_calldata_does_not_show_what_was_given(
    agency: World, taken: int, differs: int
) -> None:
    order, ledger = agency.captured(1_000, rule=AGENCY), agency.system.deployment.split_ledger
    install_forwarder(agency.node)
    allow_more(agency, 90, 900)
    data = settle_data(agency, agency.authorize(agency.split(order.order_id, 1_000, given=(taken, 6, 2))))
    agency.node.transact(SUBMITTER.address, FORWARDER, forwarded(ledger, data))
    allow_more(agency, 900, 90)

    report = await verified(agency)

    assert codes(report) == Counter({Code.NOT_VERIFIABLE: 1, Code.ALLOCATION_DIFFERS: differs})
