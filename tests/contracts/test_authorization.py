"""What is signed takes effect once, as it was signed, for whom it was signed, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from fenzhang.chain.eip712 import (
    SigningDomain,
    attestation_digest,
    authorization_digest,
    rule_book_domain,
    split_ledger_domain,
)
from fenzhang.chain.events import (
    AuthorizationRejected,
    BatchSealed,
    OrderCaptured,
    OrderReleased,
    OrderSplit,
)
from fenzhang.chain.signer import LocalKey
from fenzhang.chain.views import ATTESTOR_ROLE
from fenzhang.domain.errors import (
    DeadlinePassed,
    EmptyAuthorization,
    InvalidSignature,
    NonceUsed,
    NotAttestor,
    NotOrderPlatform,
    PlatformNotActive,
)
from fenzhang.domain.records import Attestation, Authorization, Capture
from fenzhang.domain.settlement import attestor_signer
from support.parties import MALL, MERCHANT, PAIR, SHOP, VENDING, VENDOR, ident, party
from support.system import ADMIN, BANK, OUTSIDER, REGISTRAR, SUBMITTER
from support.world import World

BANK_SIGNER = attestor_signer(BANK.address)


@pytest.fixture
def orders(world: World) -> list[Capture]:
    """Two captured orders over 100 each."""
    return [world.captured(100, rule=PAIR) for _ in range(2)]


@pytest.fixture
def signed(world: World, orders: list[Capture]) -> Authorization:
    """A split of each, with nonce 7."""
    return world.authorize(*(world.split(order.order_id, 60) for order in orders), nonce=7)


@pytest.fixture
def attested(world: World) -> Attestation:
    """Two new captures, with nonce 7."""
    return world.attest(world.capture(100, rule=PAIR), world.capture(200, rule=PAIR), nonce=7)


def assert_refused_authorization(world: World, authorization: Authorization) -> None:
    """Refused as badly signed, with nothing changed, nothing recorded and the nonce free."""
    settled = world.settle(authorization)
    assert settled.refusals == [InvalidSignature(authorization.platform)]
    assert len(settled.events) == 1
    assert not world.nonce_used(authorization.platform, authorization.nonce)


# ------------------------------------------------------------------------------ forged


FORGERS = {
    "another platform": SHOP.key,
    "a recipient": MERCHANT.key,
    "the bank": BANK,
    "the administrator": ADMIN,
    "whoever submits": SUBMITTER,
}


@pytest.mark.parametrize("key", FORGERS.values(), ids=FORGERS)
def test_a_split_is_refused_when_signed_by(world: World, orders: list[Capture], key: LocalKey) -> None:
    split = world.split(orders[0].order_id, 60)
    assert_refused_authorization(world, world.authorize(split, key=key))


NO_BANKS = {"the platform": MALL.key, "the administrator": ADMIN, "the registrar": REGISTRAR}


@pytest.mark.parametrize("key", NO_BANKS.values(), ids=NO_BANKS)
def test_a_capture_is_refused_when_the_bank_is_named_but_it_was_signed_by(
    world: World, key: LocalKey
) -> None:
    capture = world.capture()
    settled = world.settle(world.attest(capture, key=key, attestor=BANK.address, nonce=7))
    assert settled.refusals == [InvalidSignature(BANK_SIGNER)]
    assert world.held(capture.order_id) == 0
    assert not world.nonce_used(BANK_SIGNER, 7)


@pytest.mark.parametrize("key", NO_BANKS.values(), ids=NO_BANKS)
def test_a_capture_is_refused_when_its_signer_is_no_attestor_but(world: World, key: LocalKey) -> None:
    settled = world.settle(world.attest(world.capture(), key=key))
    assert settled.refusals == [NotAttestor(key.address)]


def malformed(signature: bytes) -> list[bytes]:
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    upper = (order - int.from_bytes(signature[32:64], "big")).to_bytes(32, "big")
    flipped = bytes([55 - signature[64]])
    return [
        b"",
        signature[:64],
        signature[:65] + b"\0",
        bytes(65),
        b"\xff" * 65,
        signature[:32] + upper + flipped,
        signature[:64] + flipped,
        signature[:64] + bytes([signature[64] - 27]),
    ]


def test_a_malformed_signature_is_an_invalid_one(
    world: World, signed: Authorization, attested: Attestation
) -> None:
    for signature in malformed(signed.signature):
        assert_refused_authorization(world, replace(signed, signature=signature))
    for signature in malformed(attested.signature):
        settled = world.settle(replace(attested, signature=signature))
        assert settled.refusals == [InvalidSignature(BANK_SIGNER)]


# ------------------------------------------------------------------------------ changed


def with_first(authorization: Authorization, **changes: object) -> Authorization:
    first, *rest = authorization.instructions
    return replace(authorization, instructions=(replace(first, **changes), *rest))  # type: ignore[arg-type] # fields by name


CHANGES: dict[str, Callable[[Authorization], Authorization]] = {
    "the order of its instructions": lambda a: replace(a, instructions=a.instructions[::-1]),
    "their number, by one less": lambda a: replace(a, instructions=a.instructions[:1]),
    "their number, by one twice": lambda a: replace(a, instructions=(*a.instructions, a.instructions[0])),
    "an amount": lambda a: with_first(a, amount=61),
    "an instruction's id": lambda a: with_first(a, id=ident("other")),
    "an order": lambda a: with_first(a, order_id=a.instructions[1].order_id),
    "a split id": lambda a: with_first(a, split_id=ident("other")),
    "bindings": lambda a: with_first(a, bindings=(MALL.id, MERCHANT.id)),
    "amounts per leaf": lambda a: with_first(a, amounts=(30, 30)),
    "the deadline": lambda a: replace(a, deadline=a.deadline + 1),
    "the nonce": lambda a: replace(a, nonce=a.nonce + 1),
    "the platform": lambda a: replace(a, platform=SHOP.id),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_an_authorization_is_refused_after_a_change_of(
    world: World, signed: Authorization, change: Callable[[Authorization], Authorization]
) -> None:
    assert_refused_authorization(world, change(signed))
    assert len(world.settle(signed).all(OrderSplit)) == 2, "the signed one is as good as ever"


def with_capture(attestation: Attestation, **changes: object) -> Attestation:
    first, *rest = attestation.captures
    return replace(attestation, captures=(replace(first, **changes), *rest))  # type: ignore[arg-type] # fields by name


CAPTURE_CHANGES: dict[str, Callable[[Attestation], Attestation]] = {
    "the order of its captures": lambda a: replace(a, captures=a.captures[::-1]),
    "their number": lambda a: replace(a, captures=a.captures[:1]),
    "an order id": lambda a: with_capture(a, order_id=ident("other")),
    "an amount": lambda a: with_capture(a, amount=101),
    "a currency": lambda a: with_capture(a, currency="USD"),
    "a merchant": lambda a: with_capture(a, merchant=MALL.id),
    "a binding": lambda a: with_capture(a, bindings=(MALL.id, MERCHANT.id)),
    "a platform": lambda a: with_capture(a, platform=SHOP.id),
    "a rule": lambda a: with_capture(a, rule_id=VENDING.rule_id),
    "a rule's version": lambda a: with_capture(a, rule_version=2),
    "the deadline": lambda a: replace(a, deadline=a.deadline - 1),
    "the nonce": lambda a: replace(a, nonce=a.nonce + 1),
}


@pytest.mark.parametrize("change", CAPTURE_CHANGES.values(), ids=CAPTURE_CHANGES)
def test_an_attestation_is_refused_after_a_change_of(
    world: World, attested: Attestation, change: Callable[[Attestation], Attestation]
) -> None:
    settled = world.settle(change(attested))
    assert settled.refusals == [InvalidSignature(BANK_SIGNER)]
    assert len(settled.events) == 1
    assert len(world.settle(attested).all(OrderCaptured)) == 2


# ------------------------------------------------------------------------------ for somewhere else


def foreign(world: World) -> dict[str, SigningDomain]:
    mine = world.domain
    return {
        "another chain": split_ledger_domain(1, mine.verifying_contract),
        "another contract": split_ledger_domain(mine.chain_id, ident("another ledger")[12:]),
        "the rule book": rule_book_domain(mine.chain_id, world.system.deployment.rule_book),
        "another name": replace(mine, name="fenzhang RuleBook"),
    }


@pytest.mark.parametrize("where", ["another chain", "another contract", "the rule book", "another name"])
def test_what_was_signed_for_somewhere_else_is_worth_nothing_here(
    world: World, orders: list[Capture], where: str
) -> None:
    domain = foreign(world)[where]
    assert_refused_authorization(world, world.authorize(world.split(orders[0].order_id, 60), domain=domain))
    settled = world.settle(world.attest(world.capture(), domain=domain))
    assert settled.refusals == [InvalidSignature(BANK_SIGNER)]


# ------------------------------------------------------------------------------ repeated


def test_an_authorization_takes_effect_once(world: World, signed: Authorization) -> None:
    assert len(world.settle(signed).all(OrderSplit)) == 2
    held = world.totals()
    again = world.settle(signed)
    assert again.refusals == [NonceUsed(7)]
    assert len(again.events) == 1
    assert world.totals() == held


def test_it_takes_effect_once_also_within_one_transaction(world: World, signed: Authorization) -> None:
    settled = world.settle(signed, signed)
    assert len(settled.all(OrderSplit)) == 2
    assert settled.refusals == [NonceUsed(7)]


def test_an_attestation_takes_effect_once(world: World, attested: Attestation) -> None:
    assert len(world.settle(attested).all(OrderCaptured)) == 2
    assert world.settle(attested).refusals == [NonceUsed(7)]
    assert world.totals() == (300, 300)


def test_a_nonce_is_used_up_even_when_every_instruction_was_rejected(world: World) -> None:
    authorization = world.authorize(world.release(ident("nothing")), nonce=3)
    assert len(world.settle(authorization).reasons) == 1
    assert world.nonce_used(MALL.id, 3)
    assert world.settle(authorization).refusals == [NonceUsed(3)]


def test_other_instructions_under_a_used_nonce_are_refused(
    world: World, orders: list[Capture], signed: Authorization
) -> None:
    world.settle(signed)
    other = world.authorize(world.release(orders[0].order_id), nonce=7)
    assert world.settle(other).refusals == [NonceUsed(7)]


def test_nonces_are_bits_that_may_come_in_any_order(world: World) -> None:
    for nonce in (300, 0, 255, 256, 2**256 - 1, 1):
        world.settle(world.authorize(world.release(ident("nothing")), nonce=nonce))
    words = [world.system.call("LedgerView", "nonceBitmap", MALL.id, word) for word in (0, 1, 2, 2**248 - 1)]
    assert words == [1 | 1 << 1 | 1 << 255, 1 | 1 << 44, 0, 1 << 255]


def test_the_same_nonce_of_different_signers_is_not_the_same(world: World) -> None:
    second_bank = party("a second bank").key
    world.act(ADMIN, "AccessManager", "grantRole", ATTESTOR_ROLE, second_bank.address, 0)
    mine, theirs = world.capture(10), world.capture(20, rule=VENDING)
    settled = world.settle(
        world.attest(mine, nonce=5),
        world.attest(theirs, nonce=5, key=second_bank),
        world.authorize(world.release(mine.order_id), nonce=5),
        world.authorize(world.release(theirs.order_id), nonce=5, platform=SHOP),
    )
    assert (settled.reasons, settled.refusals) == ([], [])
    assert (world.position(MERCHANT), world.position(VENDOR)) == (10, 20)


def test_what_authorises_nothing_is_refused_and_leaves_its_nonce_free(
    world: World, signed: Authorization, attested: Attestation
) -> None:
    nothing = world.settle(world.attest(nonce=7), world.authorize(nonce=7))
    assert nothing.refusals == [EmptyAuthorization(7), EmptyAuthorization(7)]
    assert not world.nonce_used(MALL.id, 7)
    assert not world.nonce_used(BANK_SIGNER, 7)
    settled = world.settle(attested, signed)
    assert (len(settled.all(OrderCaptured)), len(settled.all(OrderSplit))) == (2, 2)
    again = world.settle(world.attest(nonce=7), world.authorize(nonce=7))
    assert again.refusals == [NonceUsed(7), NonceUsed(7)]


# ------------------------------------------------------------------------------ expired


def test_an_authorization_takes_effect_up_to_its_deadline(world: World, orders: list[Capture]) -> None:
    noon = world.node.now + 100
    in_time = world.authorize(world.split(orders[0].order_id, 60), deadline=noon)
    late = world.authorize(world.split(orders[1].order_id, 60), deadline=noon, nonce=9)
    world.node.next_block_at(noon)
    assert world.settle(in_time).all(OrderSplit)
    assert world.settle(late).refusals == [DeadlinePassed(noon, noon + 1)]
    assert not world.nonce_used(MALL.id, 9)


def test_an_attestation_takes_effect_up_to_its_deadline(world: World) -> None:
    noon = world.node.now + 100
    in_time, late = (world.attest(world.capture(), deadline=noon) for _ in range(2))
    world.node.next_block_at(noon)
    assert world.settle(in_time).all(OrderCaptured)
    assert world.settle(late).refusals == [DeadlinePassed(noon, noon + 1)]


def test_a_deadline_of_zero_has_always_passed(world: World) -> None:
    now = world.node.now
    assert world.settle(world.authorize(deadline=0)).refusals == [DeadlinePassed(0, now + 1)]


# ------------------------------------------------------------------------------ for another platform


def test_a_platform_authorises_nothing_for_another(world: World, orders: list[Capture]) -> None:
    theirs = world.captured(100, rule=VENDING)
    settled = world.settle(
        world.authorize(world.release(orders[0].order_id), platform=SHOP),
        world.authorize(world.release(theirs.order_id), platform=MALL),
        world.authorize(world.release(theirs.order_id), platform=SHOP, key=MALL.key),
    )
    assert settled.reasons == [
        NotOrderPlatform(orders[0].order_id, SHOP.id),
        NotOrderPlatform(theirs.order_id, MALL.id),
    ]
    assert settled.refusals == [InvalidSignature(SHOP.id)]
    assert world.totals() == (300, 300)


def test_nobody_unknown_authorises_anything(world: World, orders: list[Capture]) -> None:
    nobody = party("nobody")
    settled = world.settle(world.authorize(world.release(orders[0].order_id), platform=nobody))
    assert settled.refusals == [PlatformNotActive(nobody.id)]


# ------------------------------------------------------------------------------ precedence and neighbours


def test_of_several_faults_the_first_is_the_reason(world: World) -> None:
    what, capture = world.release(ident("nothing")), world.capture(0)
    world.settle(world.authorize(what, nonce=1), world.attest(capture, nonce=1))
    outside = party("outside")
    now = world.node.now
    settled = world.settle(
        world.attest(key=outside.key, attestor=outside.key.address, deadline=5, nonce=1),
        world.attest(key=outside.key, attestor=BANK.address, deadline=5, nonce=1),
        world.attest(deadline=5, nonce=1),
        world.attest(nonce=1),
        world.attest(nonce=2),
        world.authorize(platform=outside, key=SHOP.key, deadline=5, nonce=1),
        world.authorize(key=SHOP.key, deadline=5, nonce=1),
        world.authorize(deadline=5, nonce=1),
        world.authorize(nonce=1),
        world.authorize(nonce=2),
    )
    assert settled.refusals == [
        NotAttestor(outside.key.address),
        InvalidSignature(BANK_SIGNER),
        DeadlinePassed(5, now + 1),
        NonceUsed(1),
        EmptyAuthorization(2),
        PlatformNotActive(outside.id),
        InvalidSignature(MALL.id),
        DeadlinePassed(5, now + 1),
        NonceUsed(1),
        EmptyAuthorization(2),
    ]
    assert settled.all(BatchSealed) == []


def test_refused_neighbours_stop_nobody(world: World, orders: list[Capture], signed: Authorization) -> None:
    capture = world.capture(10)
    used = world.authorize(world.release(ident("nothing")), nonce=1)
    world.settle(used)
    settled = world.settle(
        world.attest(world.capture(), key=OUTSIDER),
        world.attest(capture),
        world.attest(world.capture(), key=SHOP.key, attestor=BANK.address),
        used,
        signed,
        world.authorize(world.release(orders[0].order_id), key=SHOP.key),
        world.authorize(world.release(orders[0].order_id), deadline=0),
        world.authorize(world.release(orders[1].order_id)),
    )
    assert settled.only(OrderCaptured).order_id == capture.order_id
    assert len(settled.all(OrderSplit)) == 2
    assert settled.only(OrderReleased).order_id == orders[1].order_id
    assert len(settled.refusals) == 5
    assert settled.only(BatchSealed).records == 4


def test_a_refusal_names_what_was_to_be_signed(world: World, signed: Authorization) -> None:
    forged = with_first(signed, amount=1)
    event = world.settle(forged).only(AuthorizationRejected)
    assert (event.signer, event.nonce) == (MALL.id, 7)
    assert event.digest == authorization_digest(world.domain, forged)
    attestation = world.attest(world.capture(), key=OUTSIDER, nonce=8)
    event = world.settle(attestation).only(AuthorizationRejected)
    assert (event.signer, event.nonce) == (attestor_signer(OUTSIDER.address), 8)
    assert event.digest == attestation_digest(world.domain, attestation)


def test_relaying_needs_no_role(world: World, orders: list[Capture]) -> None:
    settled = world.settle(world.authorize(world.release(orders[0].order_id)), sender=OUTSIDER)
    assert settled.only(OrderReleased).amount == 100
