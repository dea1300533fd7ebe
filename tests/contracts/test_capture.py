"""Captures: an attestor says that an order's money was received, once for ever."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fenzhang.chain.events import BatchSealed, InstructionRejected, OrderCaptured
from fenzhang.chain.views import ATTESTOR_ROLE
from fenzhang.domain.errors import (
    AmountAboveLimit,
    BindingCount,
    CurrencyNotEnabled,
    OrderAlreadyCaptured,
    PlatformNotActive,
    RecipientNotActive,
    RecipientNotConsented,
    Rejection,
    RuleNotInForce,
    ZeroAmount,
)
from fenzhang.domain.records import Capture, RecordKind, RuleState
from fenzhang.domain.settlement import attestor_signer
from support.ghosts import capture_of
from support.parties import (
    BOTH,
    COURIER,
    MALL,
    MERCHANT,
    NOBODY,
    PROMOTER,
    STRANGER,
    VENDING,
    VENDOR,
    ident,
    party,
)
from support.system import ADMIN, BANK, OUTSIDER, REGISTRAR
from support.world import World

LIMIT = 2**63 - 1
ABSENT = ident("nobody")


def rejected(world: World, capture: Capture) -> Rejection:
    """The reason of a capture that must be rejected and change nothing."""
    before = world.totals(), world.held(capture.order_id)
    settled = world.settle(world.attest(capture))
    assert (world.totals(), world.held(capture.order_id)) == before
    [reason] = settled.reasons
    assert isinstance(reason, Rejection)
    return reason


def test_a_captured_order_holds_its_money(world: World) -> None:
    capture = world.capture(1_234)
    settled = world.settle(world.attest(capture))
    assert capture_of(settled.only(OrderCaptured)) == capture
    assert settled.only(BatchSealed).records == 1
    assert world.held(capture.order_id) == 1_234
    assert world.totals() == (1_234, 1_234)
    assert world.position(MERCHANT) == 0, "nothing is payable before a split"


def test_currencies_are_kept_apart(world: World) -> None:
    world.settle(*(world.attest(world.capture(amount, currency=c)) for amount, c in ((5, "USD"), (7, "JPY"))))
    assert [world.totals(currency) for currency in ("CNY", "USD", "JPY")] == [(0, 0), (5, 5), (7, 7)]


def test_one_attestation_covers_orders_of_several_platforms(world: World) -> None:
    captures = (world.capture(10), world.capture(20, rule=VENDING), world.capture(30))
    settled = world.settle(world.attest(*captures))
    assert [capture_of(event) for event in settled.all(OrderCaptured)] == list(captures)


@pytest.mark.parametrize("amount", [1, LIMIT])
def test_an_amount_may_be(world: World, amount: int) -> None:
    assert world.captured(amount).amount == amount


def test_a_role_may_stay_open_and_one_party_may_hold_several(world: World) -> None:
    world.captured(bindings=(NOBODY, NOBODY, NOBODY))
    world.captured(bindings=(MERCHANT.id, MERCHANT.id, MERCHANT.id))


def test_a_platform_may_be_merchant_of_its_own_order_without_consenting_to_itself(world: World) -> None:
    world.captured(merchant=MALL, bindings=(MALL.id, COURIER.id, MALL.id))


def test_a_capture_is_rejected_for_an_amount_of_nothing_or_too_much(world: World) -> None:
    assert rejected(world, world.capture(0)) == ZeroAmount()
    assert rejected(world, world.capture(LIMIT + 1)) == AmountAboveLimit(LIMIT + 1, LIMIT)
    assert rejected(world, world.capture(2**96 - 1)) == AmountAboveLimit(2**96 - 1, LIMIT)


@pytest.mark.parametrize("currency", ["XYZ", "cny", "\0\0\0"])
def test_a_capture_is_rejected_in_a_currency_that_is_not_open(world: World, currency: str) -> None:
    assert rejected(world, world.capture(currency=currency)) == CurrencyNotEnabled(currency)


def test_a_capture_is_rejected_for_a_platform_that_is_not_active(world: World) -> None:
    assert rejected(world, replace(world.capture(), platform=ABSENT)) == PlatformNotActive(ABSENT)
    world.register("suspend", MALL.id)
    assert rejected(world, world.capture()) == PlatformNotActive(MALL.id)


def test_an_order_is_captured_once_for_ever(world: World) -> None:
    order = world.captured()
    again = replace(order, amount=5)
    assert rejected(world, order) == OrderAlreadyCaptured(order.order_id)
    assert rejected(world, again) == OrderAlreadyCaptured(order.order_id)
    world.did(world.release(order.order_id))
    assert rejected(world, again) == OrderAlreadyCaptured(order.order_id), (
        "also when nothing is held any more"
    )


def test_an_order_is_captured_once_within_one_attestation_and_one_transaction(world: World) -> None:
    first, second = world.capture(10), world.capture(20)
    settled = world.settle(
        world.attest(first, replace(first, amount=11)), world.attest(second), world.attest(second)
    )
    assert [event.amount for event in settled.all(OrderCaptured)] == [10, 20]
    assert settled.reasons == [
        OrderAlreadyCaptured(first.order_id),
        OrderAlreadyCaptured(second.order_id),
    ]


def test_one_order_id_is_one_order_whatever_the_platform(world: World) -> None:
    order = world.captured()
    theirs = world.capture(rule=VENDING, order_id=order.order_id)
    assert rejected(world, theirs) == OrderAlreadyCaptured(order.order_id)


def test_another_attestor_cannot_capture_it_either(world: World) -> None:
    order = world.captured()
    second_bank = party("a second bank").key
    world.act(ADMIN, "AccessManager", "grantRole", ATTESTOR_ROLE, second_bank.address, 0)
    settled = world.settle(world.attest(order, key=second_bank))
    assert settled.reasons == [OrderAlreadyCaptured(order.order_id)]
    assert settled.only(InstructionRejected).signer == attestor_signer(second_bank.address)


@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_a_capture_is_rejected_unless_it_has_one_binding_per_role(world: World, count: int) -> None:
    capture = world.capture(bindings=(MERCHANT.id,) * count)
    assert rejected(world, capture) == BindingCount(count, 3)


def test_a_capture_is_rejected_when_its_merchant_may_not_receive(world: World) -> None:
    capture = world.capture()
    assert rejected(world, replace(capture, merchant=ABSENT)) == RecipientNotActive(ABSENT)
    assert rejected(world, replace(capture, merchant=NOBODY)) == RecipientNotActive(NOBODY)
    assert rejected(world, replace(capture, merchant=VENDOR.id)) == RecipientNotConsented(VENDOR.id, MALL.id)
    world.register("suspend", MERCHANT.id)
    assert rejected(world, capture) == RecipientNotActive(MERCHANT.id)


@pytest.mark.parametrize("role", [0, 1, 2])
def test_a_capture_is_rejected_when_a_bound_party_may_not_receive(world: World, role: int) -> None:
    def bound_to(participant: bytes) -> Capture:
        bindings = [PROMOTER.id, COURIER.id, MERCHANT.id]
        bindings[role] = participant
        return world.capture(bindings=bindings, merchant=BOTH)

    assert rejected(world, bound_to(ABSENT)) == RecipientNotActive(ABSENT)
    assert rejected(world, bound_to(STRANGER.id)) == RecipientNotConsented(STRANGER.id, MALL.id)
    suspended = (PROMOTER, COURIER, MERCHANT)[role]
    world.register("suspend", suspended.id)
    assert rejected(world, bound_to(suspended.id)) == RecipientNotActive(suspended.id)


def test_the_first_fault_is_the_reason(world: World) -> None:
    taken = world.captured()
    capture = replace(
        world.capture(0, currency="XYZ", bindings=(VENDOR.id,), merchant=VENDOR),
        platform=STRANGER.id,
        order_id=taken.order_id,
        rule_version=9,
    )
    world.register("suspend", STRANGER.id)
    version_nine = RuleNotInForce(capture.rule_id, 9, RuleState.UNKNOWN)
    corrections: list[tuple[Rejection, dict[str, object]]] = [
        (ZeroAmount(), {"amount": 2**64}),
        (AmountAboveLimit(2**64, LIMIT), {"amount": 1}),
        (CurrencyNotEnabled("XYZ"), {"currency": "CNY"}),
        (PlatformNotActive(STRANGER.id), {"platform": MALL.id}),
        (OrderAlreadyCaptured(taken.order_id), {"order_id": ident("free")}),
        (version_nine, {"rule_version": 1}),
        (BindingCount(1, 3), {"bindings": (STRANGER.id, VENDOR.id, MERCHANT.id)}),
        (RecipientNotConsented(VENDOR.id, MALL.id), {"merchant": MERCHANT.id}),
        (RecipientNotActive(STRANGER.id), {"bindings": (PROMOTER.id, VENDOR.id, MERCHANT.id)}),
        (RecipientNotConsented(VENDOR.id, MALL.id), {"bindings": (PROMOTER.id, COURIER.id, MERCHANT.id)}),
    ]
    for reason, correction in corrections:
        assert rejected(world, capture) == reason
        capture = replace(capture, **correction)  # type: ignore[arg-type] # fields by name
    assert world.settle(world.attest(capture)).only(OrderCaptured).amount == 1


def test_a_rejected_capture_is_recorded_and_its_neighbours_settle(world: World) -> None:
    good, bad, also_good = world.capture(10), world.capture(0), world.capture(30)
    settled = world.settle(world.attest(good, bad, also_good))
    assert [event.amount for event in settled.all(OrderCaptured)] == [10, 30]
    rejection = settled.only(InstructionRejected)
    assert (rejection.signer, rejection.id, rejection.order_id, rejection.kind, rejection.amount) == (
        attestor_signer(BANK.address),
        bad.order_id,
        bad.order_id,
        RecordKind.CAPTURE,
        0,
    )
    assert settled.only(BatchSealed).records == 3


def test_a_rejected_order_id_is_still_free(world: World) -> None:
    capture = world.capture(0)
    rejected(world, capture)
    world.settle(world.attest(replace(capture, amount=1)))
    assert world.held(capture.order_id) == 1


def test_relaying_an_attestation_needs_no_role(world: World) -> None:
    for sender in (OUTSIDER, REGISTRAR, ADMIN):
        assert world.settle(world.attest(world.capture()), sender=sender).all(OrderCaptured)
