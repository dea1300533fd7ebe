"""What the contracts answer, read from a real chain."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from fenzhang.chain.eip712 import capture_hash, proposal_hash
from fenzhang.chain.errors import ContractError, RpcError, Undecodable
from fenzhang.chain.evidence import ZERO_HEAD, capture_leaf, order_slot
from fenzhang.chain.governance import (
    close_call,
    enroll_call,
    rotate_authority_call,
    set_consent_call,
    suspend_call,
)
from fenzhang.chain.node import NodeClient
from fenzhang.chain.steps import suggested_fees
from fenzhang.chain.views import CHUNK, ParticipantView, RuleHeader, RuleView, Totals
from fenzhang.devnet import RunningNode, ephemeral_node
from fenzhang.domain.errors import GivenCount, GivenOutOfBounds, LegExceedsRemaining
from fenzhang.domain.records import Attestation, Capture, ParticipantStatus, RuleState
from fenzhang.domain.rules import NO_TERMS, Leg, LegKind
from unit.chain.drawing import KEYS, LEGS, PLATFORMS, RECIPIENTS, RULES, TERMS, UNASKED, populate
from unit.chain.system import ATTESTOR, REGISTRAR, System

pytestmark = pytest.mark.node

ORDER = b"O" * 32
CAPTURE = Capture(ORDER, PLATFORMS[0], RECIPIENTS[0], RULES[b"fixed"], 1, "CNY", 5_000, ())
NONCE = (9 << 8) + 3


@pytest.fixture(scope="module")
def chain() -> Iterator[RunningNode]:
    with ephemeral_node() as node:
        yield node


@pytest.fixture(scope="module")
async def system(chain: RunningNode, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    async with NodeClient(chain.url) as node:
        found = await System.deployed(node, tmp_path_factory.mktemp("deployment"), ["CNY"])
        await populate(found)
        attestation = found.attest(Attestation(ATTESTOR.address, NONCE, 2**63, (CAPTURE,)))
        await found.capture(attestation)
        yield found


async def test_an_order_has_its_slot(system: System) -> None:
    slots = await system.view.order_slots([ORDER, bytes(32)])
    assert slots == [order_slot(capture_hash(CAPTURE), ZERO_HEAD, 5_000), 0]


async def test_many_ids_are_read_in_pieces(system: System) -> None:
    ids = [number.to_bytes(32, "big") for number in range(2 * CHUNK)] + [ORDER]
    slots = await system.view.order_slots(ids)
    assert len(slots) == len(ids)
    assert slots[-1] != 0
    assert await system.view.order_slots([]) == []
    assert await system.view.positions("CNY", ids) == [0] * len(ids)


async def test_totals_and_batches(system: System) -> None:
    view = system.view
    assert await view.totals("CNY") == Totals(5_000, 5_000, 0, enabled=True)
    assert await view.totals("EUR") == Totals(0, 0, 0, enabled=False)
    assert await view.batch_count() == 1
    assert await view.batch_roots([1, 2]) == [capture_leaf(CAPTURE), bytes(32)]
    assert await view.batch_root(1) == capture_leaf(CAPTURE)
    assert await view.is_recorded(1, capture_leaf(CAPTURE), [])
    assert not await view.is_recorded(2, capture_leaf(CAPTURE), [])


async def test_a_used_nonce_is_one_bit(system: System) -> None:
    signer = ATTESTOR.address.rjust(32, b"\0")
    assert await system.view.nonce_bitmap(signer, 9) == 1 << 3
    assert await system.view.nonce_used(signer, NONCE)
    assert not await system.view.nonce_used(signer, NONCE + 1)
    assert not await system.view.nonce_used(PLATFORMS[0], NONCE)


async def test_participants(system: System) -> None:
    view = system.view
    active, unknown = ParticipantStatus.ACTIVE, ParticipantStatus.UNKNOWN
    assert await view.participant_of(PLATFORMS[0]) == ParticipantView(active, KEYS[0].address)
    assert await view.participants_of([RECIPIENTS[0], ORDER]) == [
        ParticipantView(active, bytes(20)),
        ParticipantView(unknown, bytes(20)),
    ]
    assert await view.standing(RECIPIENTS[0], PLATFORMS[0]) == (active, True)
    assert await view.standing(RECIPIENTS[0], PLATFORMS[1]) == (active, False)
    assert await view.standing(PLATFORMS[1], PLATFORMS[1]) == (active, True)


async def test_governance_writes_reach_the_registry(system: System) -> None:
    who = b"N" * 32
    for call in (
        enroll_call(who),
        rotate_authority_call(who, KEYS[1].address),
        set_consent_call(who, PLATFORMS[1], granted=True),
        suspend_call(who),
        close_call(who),
    ):
        await system.govern(REGISTRAR, "ParticipantRegistry", call)
    found = await system.view.participant_of(who)
    assert found == ParticipantView(ParticipantStatus.CLOSED, KEYS[1].address)
    assert await system.view.standing(who, PLATFORMS[1]) == (ParticipantStatus.CLOSED, True)


async def test_rules(system: System) -> None:
    view, platform = system.view, PLATFORMS[0]
    assert await view.latest_rule(platform, RULES[b"old"]) == (2, False)
    assert await view.latest_rule(platform, RULES[b"gone"]) == (1, True)
    assert await view.latest_rule(platform, ORDER) == (0, False)
    expected = proposal_hash(platform, RULES[b"late"], 1, 2**63, LEGS[b"fixed"], TERMS)
    proposer = KEYS[0].address
    header = RuleHeader(expected, 2**63, approved=True, proposer=proposer)
    assert await view.rule_header(platform, RULES[b"late"], 1) == header
    rule = await view.rule(platform, RULES[b"nested"], 1)
    assert (rule.state, rule.legs, rule.roles) == (
        RuleState.IN_FORCE,
        LEGS[b"nested"],
        ("platform", "merchant"),
    )
    assert (rule.terms, (await view.rule(platform, RULES[b"late"], 1)).terms) == (NO_TERMS, TERMS)
    unknown = await view.rule(platform, ORDER, 1)
    assert unknown == RuleView(RuleState.UNKNOWN, (), (), NO_TERMS)
    states = [
        (await view.rule(platform, RULES[name], 1)).state for name in (b"old", b"gone", b"new", b"late")
    ]
    assert states == [RuleState.SUPERSEDED, RuleState.RETIRED, RuleState.PROPOSED, RuleState.NOT_EFFECTIVE]


async def test_the_contract_quotes(system: System) -> None:
    given = (Leg(-1, LegKind.GIVEN, 5_000, 10, role="agent"), Leg(-1, LegKind.REMAINDER, role="merchant"))
    quotes = await system.view.quotes(
        [
            (LEGS[b"fixed"], 1_000, ()),
            (LEGS[b"fixed"], 299, ()),
            (given, 99, (49,)),
            (given, 99, (50,)),
            (given, 99, ()),
        ]
    )
    assert [(quote.leaves, quote.error) for quote in quotes] == [
        ((300, 333, 367), None),
        ((), LegExceedsRemaining(0, 300, 299)),
        ((49, 50), None),
        ((), GivenOutOfBounds(0, 50, 10, 49)),
        ((), GivenCount(0, 1)),
    ]
    assert (await system.view.quote([Leg(-1, LegKind.REMAINDER)], 5)).leaves == (5,)
    with pytest.raises(ContractError) as caught:
        await system.view.quote([], 5)
    assert caught.value.code == "leg_count"


async def test_a_view_of_an_earlier_block_shows_what_was(system: System) -> None:
    who = b"L" * 32
    before = await system.node.block()
    assert before is not None
    await system.govern(REGISTRAR, "ParticipantRegistry", enroll_call(who))
    for place in (before.number, "0x" + before.hash.hex()):
        assert (await system.view.at(place).participant_of(who)).status is ParticipantStatus.UNKNOWN
    assert (await system.view.participant_of(who)).status is ParticipantStatus.ACTIVE


async def test_contracts_that_are_not_there_give_no_answer(system: System) -> None:
    elsewhere = replace(system.view, deployment=replace(system.deployment, ledger_view=bytes(19) + b"\x99"))
    with pytest.raises(Undecodable):
        await elsewhere.batch_count()
    with pytest.raises(RpcError):
        await system.view.at(10**9).batch_count()


async def test_roles(system: System) -> None:
    assert await system.view.has_role(3, ATTESTOR.address)
    assert not await system.view.has_role(3, REGISTRAR.address)


async def test_no_consent_was_given_by_the_unasked(system: System) -> None:
    assert await system.view.standing(UNASKED, PLATFORMS[0]) == (ParticipantStatus.ACTIVE, False)


async def test_fees_are_nothing_where_gas_costs_nothing(system: System) -> None:
    assert await suggested_fees(system.node) == (0, 0)
