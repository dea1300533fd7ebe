"""A slot of storage that was changed behind the contracts' back is found, and named."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from audit.auditing import (
    Slots,
    code_of,
    codes,
    left,
    mapped,
    market_slot,
    market_version_slot,
    only,
    peek,
    poke,
    replace_fee,
    right,
    verified,
    word,
)
from fenzhang.audit.differences import Code, plain
from fenzhang.chain.views import REGISTRAR_ROLE
from fenzhang.domain.records import Capture
from fenzhang.domain.settlement import attestor_signer
from support.parties import MALL, MARKET, MERCHANT, PROMOTER, SHOP, STRANGER, ident
from support.system import BANK, OUTSIDER, REGISTRAR
from support.world import World

ABOVE_HELD = 1 << 96


@pytest.fixture
def order(world: World) -> Capture:
    """An order of 1,000 of which 400 were split."""
    captured = world.captured(1_000)
    world.did(world.split(captured.order_id, 400))
    return captured


@pytest.mark.parametrize(
    ("change", "part"),
    [(1, "held"), (-1, "held"), (ABOVE_HELD, "commitment")],
    ids=["more held", "less held", "another commitment"],
)
async def test_an_order_slot(world: World, order: Capture, change: int, part: str) -> None:
    slot = mapped(Slots.ORDERS, order.order_id)
    poke(world, "SplitLedger", slot, peek(world, "SplitLedger", slot) + change)

    report = await verified(world)

    difference = only(report, Code.ORDER_SLOT)
    assert difference.order == order.order_id
    assert isinstance(difference.expected, dict)
    assert isinstance(difference.found, dict)
    assert [key for key in difference.expected if difference.expected[key] != difference.found[key]] == [part]
    # The sum over orders no longer is what the currency's total says.
    assert codes(report)[Code.CURRENCY_NOT_CONSERVED] == (part == "held")


@pytest.mark.usefixtures("order")
async def test_an_order_that_was_never_captured(world: World) -> None:
    invented = world.split(ident("invented"), 1)
    world.settle(world.authorize(invented))
    poke(world, "SplitLedger", mapped(Slots.ORDERS, invented.order_id), ABOVE_HELD + 5)

    assert only(await verified(world), Code.ORDER_SLOT).order == invented.order_id


@pytest.mark.usefixtures("order")
async def test_a_position(world: World) -> None:
    slot = mapped(Slots.POSITIONS, left(b"CNY"), MERCHANT.id)
    before = poke(world, "SplitLedger", slot, 999_999)

    report = await verified(world)

    difference = only(report, Code.POSITION)
    assert (difference.participant, difference.currency) == (MERCHANT.id, "CNY")
    assert (difference.expected, difference.found) == (before, 999_999)
    assert only(report, Code.CURRENCY_NOT_CONSERVED).expected == 1_000


@pytest.mark.usefixtures("order")
async def test_a_position_of_somebody_who_never_received_anything(world: World) -> None:
    poke(world, "SplitLedger", mapped(Slots.POSITIONS, left(b"CNY"), STRANGER.id), 1)

    assert only(await verified(world), Code.POSITION).participant == STRANGER.id


@pytest.mark.usefixtures("order")
async def test_positions_that_are_shifted_within_their_sum(world: World) -> None:
    for party, change in ((MERCHANT, -7), (PROMOTER, 7)):
        slot = mapped(Slots.POSITIONS, left(b"CNY"), party.id)
        poke(world, "SplitLedger", slot, peek(world, "SplitLedger", slot) + change)

    report = await verified(world)

    assert codes(report) == {Code.POSITION: 2}


@pytest.mark.usefixtures("order")
async def test_totals(world: World) -> None:
    poke(world, "SplitLedger", mapped(Slots.TOTALS, left(b"CNY")), (600 << 128) + 1_001)

    report = await verified(world)

    difference = only(report, Code.TOTALS)
    assert difference.currency == "CNY"
    assert difference.expected == {"captured": 1_000, "held": 600, "refunded": 0}
    assert difference.found == {"captured": 1_001, "held": 600, "refunded": 0}
    assert codes(report)[Code.CURRENCY_NOT_CONSERVED] == 1


@pytest.mark.usefixtures("order")
async def test_a_currency_that_was_opened(world: World) -> None:
    world.set_currency("USD", enabled=False)
    poke(world, "SplitLedger", mapped(Slots.ENABLED, left(b"USD")), 1)

    assert only(await verified(world), Code.CURRENCY_SWITCH).currency == "USD"


@pytest.mark.usefixtures("order")
async def test_a_batch_root(world: World) -> None:
    poke(world, "SplitLedger", mapped(Slots.BATCH_ROOTS, word(1)), 12345)

    report = await verified(world)

    difference = only(report, Code.BATCH_ROOT)
    assert difference.batch == 1
    assert difference.found == word(12345)
    assert len(report.differences) == 1


@pytest.mark.usefixtures("order")
async def test_the_number_of_batches(world: World) -> None:
    poke(world, "SplitLedger", Slots.BATCH_COUNT, 9)

    difference = only(await verified(world), Code.BATCH_ROOT)
    assert (difference.expected, difference.found) == (2, 9)


@pytest.mark.usefixtures("order")
@pytest.mark.parametrize("signer", [MALL.id, attestor_signer(BANK.address)], ids=["platform", "attestor"])
async def test_a_nonce_word(world: World, signer: bytes) -> None:
    [nonce] = [nonce for who, nonce in world.twin.world.nonces if who == signer]
    poke(world, "SplitLedger", mapped(Slots.NONCES, signer, word(nonce >> 8)), 0)

    difference = only(await verified(world), Code.NONCES)
    assert difference.participant == signer
    assert difference.found == f"0x{0:064x}"


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        (lambda slot: slot + (1 << 160), "status", "SUSPENDED"),
        (
            lambda slot: slot >> 160 << 160 | int.from_bytes(OUTSIDER.address, "big"),
            "authority",
            "0x" + OUTSIDER.address.hex(),
        ),
    ],
    ids=["status", "authority"],
)
async def test_a_participant(world: World, change: Callable[[int], int], field: str, value: str) -> None:
    slot = mapped(Slots.PARTICIPANTS, MALL.id)
    poke(world, "ParticipantRegistry", slot, change(peek(world, "ParticipantRegistry", slot)))

    difference = only(await verified(world), Code.PARTICIPANT)
    assert difference.participant == MALL.id
    assert plain(difference.found)[field] == value


async def test_a_participant_with_a_status_that_does_not_exist(world: World) -> None:
    slot = mapped(Slots.PARTICIPANTS, STRANGER.id)
    poke(world, "ParticipantRegistry", slot, 9 << 160)

    difference = only(await verified(world), Code.UNREADABLE)
    assert difference.expected == (STRANGER.id,)


async def test_a_consent(world: World) -> None:
    world.register("setConsent", MERCHANT.id, SHOP.id, True)  # noqa: FBT003 - positional, as the contract has it
    poke(world, "ParticipantRegistry", mapped(Slots.CONSENTS, MERCHANT.id, SHOP.id), 0)

    difference = only(await verified(world), Code.CONSENT)
    assert (difference.participant, difference.expected, difference.found) == (MERCHANT.id, True, False)


async def test_the_consent_with_which_a_recipient_was_enrolled(world: World) -> None:
    slot = mapped(Slots.PARTICIPANTS, MERCHANT.id)
    poke(world, "ParticipantRegistry", slot, peek(world, "ParticipantRegistry", slot) & (1 << 168) - 1)

    difference = only(await verified(world), Code.CONSENT)
    assert (difference.participant, difference.expected, difference.found) == (MERCHANT.id, True, False)


@pytest.mark.parametrize(("offset", "value"), [(0, 2), (0, 1 | 1 << 32)], ids=["latest", "retired"])
async def test_a_rule(world: World, offset: int, value: int) -> None:
    poke(world, "RuleBook", market_slot(offset), value)

    assert only(await verified(world), Code.RULE_HEADER).rule == MARKET.rule_id


@pytest.mark.parametrize("offset", [0, 1], ids=["content hash", "effective time"])
async def test_a_rule_header(world: World, offset: int) -> None:
    slot = market_version_slot(offset)
    poke(world, "RuleBook", slot, peek(world, "RuleBook", slot) ^ 1 << 200)

    difference = only(await verified(world), Code.RULE_HEADER)
    assert difference.rule == MARKET.rule_id
    assert difference.participant == MALL.id


@pytest.mark.parametrize("bit", [232, 248], ids=["cap", "may owe"])
async def test_the_terms_of_a_rule(world: World, bit: int) -> None:
    slot = market_version_slot(1)
    poke(world, "RuleBook", slot, peek(world, "RuleBook", slot) ^ 1 << bit)

    assert only(await verified(world), Code.RULE_LEGS).rule == MARKET.rule_id


async def test_the_legs_of_a_rule(world: World) -> None:
    replace_fee(world, 30, 100)

    assert only(await verified(world), Code.RULE_LEGS).rule == MARKET.rule_id


async def test_the_membership_of_a_role(world: World) -> None:
    slot = mapped(Slots.MANAGER_ROLES, word(REGISTRAR_ROLE), right(REGISTRAR.address))
    since = poke(world, "AccessManager", slot, 0)

    difference = only(await verified(world), Code.ROLE)
    assert (difference.expected, difference.found) == (since, 0)


@pytest.mark.usefixtures("order")
async def test_the_code_of_a_contract(world: World) -> None:
    registry = world.system.deployment.participant_registry
    world.node.set_code(registry, code_of(world, registry) + b"\0")

    report = await verified(world)

    assert codes(report) == {Code.CODE_DIFFERS: 1}
    assert "ParticipantRegistry" in only(report, Code.CODE_DIFFERS).message


@pytest.mark.usefixtures("order")
async def test_the_immutables_of_a_contract(world: World) -> None:
    """The compiled code, with another registry filled in: only what the contract says of itself betrays it."""
    deployment = world.system.deployment
    code = bytes.fromhex(
        world.node.request("eth_getCode", "0x" + deployment.split_ledger.hex(), "latest")[2:]
    )
    world.node.set_code(
        deployment.split_ledger, code.replace(deployment.participant_registry, OUTSIDER.address)
    )

    report = await verified(world)

    assert only(report, Code.WIRING_DIFFERS).found == OUTSIDER.address
    assert "deployment file" in only(report, Code.CODE_DIFFERS).message


async def test_a_place(world: World) -> None:
    world.register("place", PROMOTER.id, MERCHANT.id)
    slot = mapped(Slots.PLACES, PROMOTER.id)
    poke(world, "ParticipantRegistry", slot + 1, int.from_bytes(MALL.id, "big"))

    report = await verified(world)

    assert codes(report) == {Code.PLACE: 1}
    assert only(report, Code.PLACE).participant == PROMOTER.id
