"""A history that the contracts' rules do not lead to is found where it happened; nothing is reported twice over."""

from __future__ import annotations

import pytest

from audit.auditing import (
    FORWARDER,
    Slots,
    code_of,
    codes,
    forwarded,
    install_forwarder,
    left,
    mapped,
    only,
    peek,
    poke,
    replace_fee,
    right,
    verified,
    word,
)
from fenzhang.audit.differences import Code
from fenzhang.chain.abi import currency_bytes
from fenzhang.chain.codec import encode_call, encode_settle
from fenzhang.chain.events import (
    AuthorizationRejected,
    CurrencyChanged,
    InstructionRejected,
    OrderCaptured,
    OrderSplit,
)
from fenzhang.chain.keccak import keccak
from fenzhang.chain.views import ATTESTOR_ROLE, REGISTRAR_ROLE, RULE_APPROVER_ROLE
from fenzhang.domain.records import Attestation, Authorization
from fenzhang.domain.settlement import attestor_signer
from support.node import Mined
from support.parties import MALL, MARKET, PAIR, PROMOTER, RuleRef, ident, party
from support.system import ADMIN, APPROVER, BANK, OUTSIDER, REGISTRAR, SUBMITTER
from support.world import World


def settled(world: World, *signed: Attestation | Authorization) -> Mined:
    """Settle without asking the twin, which knows nothing of tampering."""
    mined = world.node.transact(
        SUBMITTER.address, world.system.deployment.split_ledger, settle_data(world, *signed)
    )
    assert mined.error is None
    return mined


def settle_data(world: World, *signed: Attestation | Authorization) -> bytes:
    call = world.complete(signed)
    return encode_settle(call.attestations, call.authorizations, call.witnesses, call.order_index)


async def test_a_split_of_more_than_was_captured(world: World) -> None:
    order = world.captured(1_000)
    slot = mapped(Slots.ORDERS, order.order_id)
    poke(world, "SplitLedger", slot, peek(world, "SplitLedger", slot) + 500)
    poke(world, "SplitLedger", mapped(Slots.TOTALS, left(b"CNY")), (1_500 << 128) + 1_000)
    mined = settled(world, world.authorize(world.split(order.order_id, 1_200)))

    report = await verified(world)

    difference = only(report, Code.DECISION_DIFFERS)
    assert (difference.order, difference.block) == (order.order_id, mined.block_number)
    assert difference.transaction == mined.hash
    assert isinstance(difference.expected, InstructionRejected)
    assert isinstance(difference.found, OrderSplit)
    assert codes(report)[Code.ORDER_NOT_CONSERVED] > 0


async def test_money_attested_by_somebody_who_was_never_an_attestor(world: World) -> None:
    slot = mapped(Slots.MANAGER_ROLES, word(ATTESTOR_ROLE), right(OUTSIDER.address))
    poke(world, "AccessManager", slot, 1)
    mined = settled(world, world.attest(world.capture(), key=OUTSIDER))

    report = await verified(world)

    difference = only(report, Code.AUTHORIZATION_DIFFERS)
    assert difference.transaction == mined.hash
    assert isinstance(difference.expected, AuthorizationRejected)
    assert isinstance(difference.found, OrderCaptured)
    assert len(report.differences) == 1, "what followed from it is followed, not reported again"


async def test_an_authorization_that_took_effect_twice(world: World) -> None:
    order = world.captured()
    signed = world.authorize(world.split(order.order_id, 100))
    world.settle(signed)
    poke(world, "SplitLedger", mapped(Slots.NONCES, MALL.id, word(signed.nonce >> 8)), 0)
    mined = settled(world, signed)

    report = await verified(world)

    difference = only(report, Code.AUTHORIZATION_DIFFERS)
    assert (difference.participant, difference.transaction) == (MALL.id, mined.hash)
    assert len(report.differences) == 1


async def test_an_authorization_that_was_refused_for_a_nonce_that_nobody_used(world: World) -> None:
    order = world.captured()
    signed = world.authorize(world.split(order.order_id, 100))
    slot = mapped(Slots.NONCES, MALL.id, word(signed.nonce >> 8))
    poke(world, "SplitLedger", slot, peek(world, "SplitLedger", slot) | 1 << (signed.nonce & 0xFF))
    mined = settled(world, signed, world.authorize(world.release(order.order_id)))

    report = await verified(world)

    difference = only(report, Code.AUTHORIZATION_DIFFERS)
    assert (difference.participant, difference.transaction) == (MALL.id, mined.hash)
    assert isinstance(difference.found, AuthorizationRejected)
    assert len(report.differences) == 1
    assert report.counts["releases"] == 1


async def test_an_attestation_that_was_refused_for_a_nonce_that_nobody_used(world: World) -> None:
    signed = world.attest(world.capture())
    bank = attestor_signer(BANK.address)
    poke(
        world, "SplitLedger", mapped(Slots.NONCES, bank, word(signed.nonce >> 8)), 1 << (signed.nonce & 0xFF)
    )
    settled(world, signed)

    report = await verified(world)

    assert only(report, Code.AUTHORIZATION_DIFFERS).participant == bank
    assert len(report.differences) == 1


async def test_a_forged_signature_that_was_taken(world: World) -> None:
    order, slot = world.captured(), mapped(Slots.PARTICIPANTS, MALL.id)
    forger = int.from_bytes(OUTSIDER.address, "big")
    before = poke(
        world, "ParticipantRegistry", slot, peek(world, "ParticipantRegistry", slot) >> 160 << 160 | forger
    )
    settled(world, world.authorize(world.split(order.order_id, 100), key=OUTSIDER))
    poke(world, "ParticipantRegistry", slot, before)

    report = await verified(world)

    assert codes(report) == {Code.AUTHORIZATION_DIFFERS: 1}
    expected = only(report, Code.AUTHORIZATION_DIFFERS).expected
    assert isinstance(expected, AuthorizationRejected)


async def test_a_split_by_other_legs_than_were_approved(world: World) -> None:
    order = world.captured()
    replace_fee(world, 30, 90)
    mined = settled(world, world.authorize(world.split(order.order_id, 500)))
    replace_fee(world, 90, 30)

    report = await verified(world)

    difference = only(report, Code.DECISION_DIFFERS)
    assert isinstance(difference.expected, OrderSplit)
    assert isinstance(difference.found, OrderSplit)
    assert difference.expected.allocations[0].amount == 30
    assert difference.found.allocations[0].amount == 90
    assert (difference.transaction, len(report.differences)) == (mined.hash, 1)


async def test_a_payment_to_somebody_who_was_suspended(world: World) -> None:
    order, slot = world.captured(), mapped(Slots.PARTICIPANTS, PROMOTER.id)
    world.register("suspend", PROMOTER.id)
    suspended = poke(world, "ParticipantRegistry", slot, 1 << 160)
    settled(world, world.authorize(world.split(order.order_id, 100), world.release(order.order_id)))
    poke(world, "ParticipantRegistry", slot, suspended)

    report = await verified(world)

    assert codes(report) == {Code.DECISION_DIFFERS: 1}


async def test_a_batch_out_of_turn(world: World) -> None:
    world.captured()
    poke(world, "SplitLedger", Slots.BATCH_COUNT, 7)
    settled(world, world.attest(world.capture()))

    report = await verified(world)

    difference = only(report, Code.BATCH_DIFFERS)
    assert difference.batch == 2
    assert isinstance(difference.found, dict)
    assert difference.found["batch"] == 8
    assert codes(report)[Code.BATCH_ROOT] == 2, "batch 2 has no root, and the count is another"


# ------------------------------------------------------------------------------ governance


async def test_a_registrar_without_the_role(world: World) -> None:
    slot = mapped(Slots.MANAGER_ROLES, word(REGISTRAR_ROLE), right(OUTSIDER.address))
    poke(world, "AccessManager", slot, 1)
    newcomer = party("newcomer")
    world.act(OUTSIDER, "ParticipantRegistry", "enrollRecipient", newcomer.id, MALL.id)

    report = await verified(world)

    assert codes(report) == {Code.NOT_ALLOWED: 2}, "the enrolment and the consent"
    assert {difference.participant for difference in report.differences} == {newcomer.id}


async def test_a_rule_approved_by_the_platform_that_proposed_it(world: World) -> None:
    rule = RuleRef(MALL, ident("rule", "of one party"), 1, PAIR.legs)
    slot = mapped(Slots.PARTICIPANTS, MALL.id)
    world.propose(rule)
    world.act(ADMIN, "AccessManager", "grantRole", RULE_APPROVER_ROLE, MALL.key.address, 0)
    before = poke(world, "ParticipantRegistry", slot, 1 << 160)
    proposer = mapped(mapped(Slots.RULES, MALL.id, rule.rule_id) + 1, word(1)) + 2
    signed = poke(world, "RuleBook", proposer, 0)
    world.node.impersonate(MALL.key.address)
    world.act(MALL.key.address, "RuleBook", "approve", *world.approval(rule))
    poke(world, "ParticipantRegistry", slot, before)
    poke(world, "RuleBook", proposer, signed)

    report = await verified(world)

    difference = only(report, Code.TWO_PARTY_RULE)
    assert (difference.rule, difference.found) == (rule.rule_id, MALL.key.address)
    assert len(report.differences) == 1


async def test_a_rule_approved_by_the_authority_that_proposed_it_and_was_replaced(world: World) -> None:
    rule = RuleRef(MALL, ident("rule", "of one party"), 1, PAIR.legs)
    world.propose(rule)
    world.act(ADMIN, "AccessManager", "grantRole", RULE_APPROVER_ROLE, MALL.key.address, 0)
    world.register("rotateAuthority", MALL.id, OUTSIDER.address)
    proposer = mapped(mapped(Slots.RULES, MALL.id, rule.rule_id) + 1, word(1)) + 2
    signed = poke(world, "RuleBook", proposer, 0)
    world.node.impersonate(MALL.key.address)
    world.act(MALL.key.address, "RuleBook", "approve", *world.approval(rule))

    report = await verified(world)

    assert codes(report) == {Code.TWO_PARTY_RULE: 1, Code.RULE_HEADER: 1}, "the proposer was erased"
    poke(world, "RuleBook", proposer, signed)
    assert codes(await verified(world)) == {Code.TWO_PARTY_RULE: 1}


async def test_a_rule_approved_through_the_access_manager(world: World) -> None:
    """Other code stood at the rule book's address and told of an approval that hides its approver."""
    rule = RuleRef(MALL, ident("rule", "of somebody"), 1, PAIR.legs)
    world.propose(rule)
    book, manager = world.system.deployment.rule_book, world.system.deployment.access_manager
    platform, rule_id, version, content = world.approval(rule)
    original = code_of(world, book)
    signature = keccak(b"RuleApproved(bytes32,bytes32,uint32,bytes32,address)")
    words = (content, b"\x5f", right(manager), b"\x60\x20")
    data = b"".join(b"\x7f" + value + at + b"\x52" for value, at in zip(words[::2], words[1::2], strict=True))
    pushed = b"".join(b"\x7f" + topic for topic in (word(version), rule_id, platform, signature))
    world.node.set_code(book, data + pushed + bytes.fromhex("60405fa400"))
    approval = encode_call("RuleBook", "approve", platform, rule_id, version, content)
    assert world.system.transact(APPROVER, "AccessManager", "execute", book, approval).error is None
    world.node.set_code(book, original)

    report = await verified(world)

    assert codes(report) == {Code.TWO_PARTY_RULE: 1, Code.RULE_HEADER: 1}, "and nothing was approved"
    assert only(report, Code.TWO_PARTY_RULE).found == APPROVER.address


async def test_a_rule_approved_without_the_role(world: World) -> None:
    rule = RuleRef(MALL, ident("rule", "of an outsider"), 1, PAIR.legs)
    world.propose(rule)
    slot = mapped(Slots.MANAGER_ROLES, word(RULE_APPROVER_ROLE), right(OUTSIDER.address))
    poke(world, "AccessManager", slot, 1)
    world.act(OUTSIDER, "RuleBook", "approve", *world.approval(rule))

    report = await verified(world)

    assert only(report, Code.NOT_ALLOWED).rule == rule.rule_id
    assert len(report.differences) == 1


async def test_a_rule_approved_under_another_content(world: World) -> None:
    rule = RuleRef(MALL, MARKET.rule_id, 2, PAIR.legs)
    world.propose(rule)
    slot = mapped(Slots.RULES, MALL.id, MARKET.rule_id) + 1
    content_hash = poke(world, "RuleBook", mapped(slot, word(2)), 12345)
    world.act(APPROVER, "RuleBook", "approve", MALL.id, rule.rule_id, 2, word(12345))
    poke(world, "RuleBook", mapped(slot, word(2)), content_hash)

    report = await verified(world)

    difference = only(report, Code.CONTENT_HASH_DIFFERS)
    assert (difference.rule, difference.found) == (rule.rule_id, word(12345))
    assert len(report.differences) == 1


async def test_a_rule_version_out_of_turn(world: World) -> None:
    latest = mapped(Slots.RULES, MALL.id, MARKET.rule_id)
    poke(world, "RuleBook", latest, 4)
    world.propose(RuleRef(MALL, MARKET.rule_id, 5, PAIR.legs))

    report = await verified(world)

    assert codes(report) == {Code.RULE_INVALID: 1}


async def test_a_rule_proposed_with_a_forged_signature(world: World) -> None:
    slot = mapped(Slots.PARTICIPANTS, MALL.id)
    rule = RuleRef(MALL, ident("rule", "forged"), 1, PAIR.legs)
    forger = int.from_bytes(OUTSIDER.address, "big")
    before = poke(world, "ParticipantRegistry", slot, 1 << 160 | forger)
    world.act(SUBMITTER, "RuleBook", "propose", *world.proposal(rule, key=OUTSIDER))
    poke(world, "ParticipantRegistry", slot, before)

    report = await verified(world)

    difference = only(report, Code.SIGNATURE_INVALID)
    assert (difference.rule, difference.participant) == (rule.rule_id, MALL.id)


async def test_a_participant_that_came_back_from_the_dead(world: World) -> None:
    world.register("close", PROMOTER.id)
    poke(world, "ParticipantRegistry", mapped(Slots.PARTICIPANTS, PROMOTER.id), 2 << 160)
    world.register("resume", PROMOTER.id)

    report = await verified(world)

    difference = only(report, Code.PARTICIPANT_TRANSITION)
    assert difference.participant == PROMOTER.id
    assert "CLOSED to ACTIVE" in difference.message


async def test_contracts_given_to_another_access_manager(world: World) -> None:
    other = world.system.deployment.rule_book
    world.act(ADMIN, "AccessManager", "updateAuthority", world.system.deployment.split_ledger, other)

    report = await verified(world)

    assert codes(report) == {Code.WIRING_DIFFERS: 2}, "when it happened, and how it is now"


# ------------------------------------------------------------------------------ what calldata does not show


async def test_a_settlement_through_another_contract_is_followed_and_named(world: World) -> None:
    order, ledger = world.captured(), world.system.deployment.split_ledger
    install_forwarder(world.node)
    hidden = [
        world.authorize(world.split(order.order_id, 100)),
        world.authorize(world.split(order.order_id, 2_000)),
    ]
    mined = world.node.transact(SUBMITTER.address, FORWARDER, forwarded(ledger, settle_data(world, *hidden)))
    events = world.system.events(mined)
    assert len(events) == 3
    # Refused in the open, for a nonce that was used out of sight.
    settled(world, hidden[0])

    report = await verified(world)

    difference = only(report, Code.NOT_VERIFIABLE)
    assert (difference.transaction, difference.found) == (mined.hash, FORWARDER)
    assert len(report.differences) == 1
    assert (report.counts["splits"], report.counts["rejections"]) == (1, 1)


async def test_the_arithmetic_of_what_calldata_does_not_show_is_checked(world: World) -> None:
    order, ledger = world.captured(), world.system.deployment.split_ledger
    install_forwarder(world.node)
    replace_fee(world, 30, 90)
    data = settle_data(world, world.authorize(world.split(order.order_id, 500)))
    world.node.transact(SUBMITTER.address, FORWARDER, forwarded(ledger, data))
    replace_fee(world, 90, 30)

    report = await verified(world)

    assert codes(report) == {Code.NOT_VERIFIABLE: 1, Code.ALLOCATION_DIFFERS: 1}
    assert only(report, Code.ALLOCATION_DIFFERS).order == order.order_id


async def test_a_rule_proposed_through_another_contract_is_named(world: World) -> None:
    rule = RuleRef(MALL, ident("rule", "hidden"), 1, PAIR.legs)
    install_forwarder(world.node)
    data = encode_call("RuleBook", "propose", *world.proposal(rule))
    world.node.transact(SUBMITTER.address, FORWARDER, forwarded(world.system.deployment.rule_book, data))

    assert codes(await verified(world)) == {Code.NOT_VERIFIABLE: 1}


async def test_a_log_that_is_no_event_of_the_contracts(world: World) -> None:
    ledger = world.system.deployment.split_ledger
    code = code_of(world, ledger)
    world.node.set_code(ledger, bytes.fromhex("5f5fa000"))  # a log without topics
    mined = world.node.transact(SUBMITTER.address, ledger, b"")
    world.node.set_code(ledger, code)

    report = await verified(world)

    assert only(report, Code.UNKNOWN_EVENT).transaction == mined.hash
    assert len(report.differences) == 1


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (encode_settle([], [], [], []), Code.EVENT_UNEXPECTED),
        (encode_call("SplitLedger", "setCurrencies", [currency_bytes("USD")], True), Code.EVENT_UNEXPECTED),  # noqa: FBT003
    ],
    ids=["nothing asked for", "something else asked for"],
)
async def test_an_event_that_was_not_asked_for(world: World, data: bytes, code: Code) -> None:
    """Other code stood at the ledger's address for a moment, and closed the yuan."""
    ledger = world.system.deployment.split_ledger
    original = code_of(world, ledger)
    topics = (left(currency_bytes("CNY")), keccak(b"CurrencyChanged(bytes3,bool)"))
    pushed = b"".join(b"\x7f" + topic for topic in topics)
    world.node.set_code(ledger, pushed + bytes.fromhex("60205fa200"))
    mined = world.node.transact(ADMIN.address, ledger, data)
    world.node.set_code(ledger, original)

    report = await verified(world)

    difference = only(report, code)
    assert difference.transaction == mined.hash
    assert isinstance(difference.found, CurrencyChanged)
    assert codes(report) == {code: 1, Code.CURRENCY_SWITCH: 1}


async def test_an_event_that_is_missing(world: World) -> None:
    """Other code stood at the registry's address and told half of an enrolment."""
    registry = world.system.deployment.participant_registry
    original, newcomer = code_of(world, registry), party("half enrolled")
    topics = (bytes(32), newcomer.id, keccak(b"ParticipantEnrolled(bytes32,address)"))
    pushed = b"".join(b"\x7f" + topic for topic in topics)
    world.node.set_code(registry, pushed + bytes.fromhex("5f5fa300"))
    data = encode_call("ParticipantRegistry", "enrollRecipient", newcomer.id, MALL.id)
    world.node.transact(REGISTRAR.address, registry, data)
    world.node.set_code(registry, original)

    report = await verified(world)

    assert codes(report) == {Code.EVENT_MISSING: 1, Code.PARTICIPANT: 1}


# ------------------------------------------------------------------------------ contract accounts

WALLET = ident("wallet")[12:]
YES = bytes.fromhex("631626ba7e60e01b5f5260205ff3")
"""Code of a contract account that accepts every signature."""
NO = bytes.fromhex("5f5ffd")
"""Code of one that reverts."""
ENDLESS = bytes.fromhex("5b5f56")
"""Code of one that runs until its gas is gone."""


async def test_a_contract_account_is_asked_about_its_signature(world: World) -> None:
    order = world.captured()
    world.node.set_code(WALLET, YES)
    world.register("rotateAuthority", MALL.id, WALLET)
    settled(world, world.authorize(world.split(order.order_id, 100), key=OUTSIDER))
    for refusing in (NO, ENDLESS):
        world.node.set_code(WALLET, refusing)
        settled(world, world.authorize(world.split(order.order_id, 100), key=OUTSIDER))

    report = await verified(world)

    assert report.differences == ()
    assert report.counts["splits"] == 1
    assert report.counts["authorizations_without_effect"] == 2


@pytest.mark.parametrize(("code_today", "known"), [(YES, True), (NO, False)], ids=["agrees", "differs"])
async def test_a_contract_account_whose_past_the_node_has_forgotten(
    world: World, code_today: bytes, *, known: bool
) -> None:
    order = world.captured()
    world.node.set_code(WALLET, YES)
    world.register("rotateAuthority", MALL.id, WALLET)
    mined = settled(world, world.authorize(world.split(order.order_id, 100), key=OUTSIDER))
    world.node.set_code(WALLET, code_today)
    for _ in range(40):
        world.node.mine()

    report = await verified(world)

    if known:
        assert report.differences == ()
    else:
        assert only(report, Code.SIGNATURE_NOT_VERIFIABLE).transaction == mined.hash
        assert len(report.differences) == 1
