"""Consent of a recipient to receive from a platform."""

from __future__ import annotations

from fenzhang.chain.events import ConsentChanged, OrderCaptured, OrderReleased, OrderSplit
from fenzhang.domain.errors import RecipientNotConsented
from support.parties import BOTH, MALL, MERCHANT, PAIR, PROMOTER, SHOP, STRANGER, VENDOR, ident
from support.system import OUTSIDER, REGISTRAR
from support.twin import NOWHERE
from support.world import World, reason_of

REGISTRY = "ParticipantRegistry"


def consents(world: World, recipient: bytes, platform: bytes) -> bool:
    return bool(world.system.call(REGISTRY, "hasConsent", recipient, platform))


def test_a_recipient_grants_and_revokes_by_its_own_authority(world: World) -> None:
    world.node.impersonate(STRANGER.key.address)
    for granted in (True, False):
        events = world.act(STRANGER.key, REGISTRY, "setConsent", STRANGER.id, MALL.id, granted)
        assert events == [ConsentChanged(NOWHERE, STRANGER.id, MALL.id, granted)]
        assert consents(world, STRANGER.id, MALL.id) is granted


def test_the_registrar_attests_it_for_a_recipient_that_never_signs(world: World) -> None:
    world.consent(VENDOR, MALL, granted=True)
    assert consents(world, VENDOR.id, MALL.id)
    assert consents(world, VENDOR.id, SHOP.id), "one platform's consent says nothing about another's"


def test_neither_the_platform_nor_anybody_else_consents_for_it(world: World) -> None:
    world.node.impersonate(MALL.key.address)
    for sender in (OUTSIDER.address, MALL.key.address):
        granted = True
        error = world.refused(sender, REGISTRY, "setConsent", STRANGER.id, MALL.id, granted)
        assert reason_of(error) == (
            "ParticipantRegistry_NotAllowed",
            {"participant": STRANGER.id, "caller": sender},
        )


def test_both_sides_must_be_enrolled(world: World) -> None:
    nobody = ident("nobody")
    for recipient, platform in ((nobody, MALL.id), (MERCHANT.id, nobody)):
        granted = True
        error = world.refused(REGISTRAR, REGISTRY, "setConsent", recipient, platform, granted)
        assert reason_of(error) == ("ParticipantRegistry_UnknownParticipant", {"participant": nobody})


def test_a_platform_always_agrees_to_receive_from_itself(world: World) -> None:
    assert consents(world, MALL.id, MALL.id)
    world.consent(MALL, MALL, granted=False)
    assert consents(world, MALL.id, MALL.id)
    assert not consents(world, MALL.id, SHOP.id)


def test_a_revoked_consent_stops_new_orders_and_leaves_captured_ones_alone(world: World) -> None:
    order = world.captured(rule=PAIR)
    world.consent(PROMOTER, MALL, granted=False)
    world.consent(MERCHANT, MALL, granted=False)
    settled = world.settle(
        world.attest(world.capture(rule=PAIR)),
        world.authorize(world.split(order.order_id, 10), world.release(order.order_id)),
    )
    assert settled.reasons == [RecipientNotConsented(MERCHANT.id, MALL.id)]
    assert settled.only(OrderSplit).order_id == order.order_id
    assert settled.only(OrderReleased).order_id == order.order_id


def test_a_role_left_open_is_bound_by_a_split_to_one_who_consents_now(world: World) -> None:
    order = world.captured(rule=PAIR, bindings=(bytes(32), MERCHANT.id))
    bound = (BOTH.id, MERCHANT.id)
    world.consent(BOTH, MALL, granted=False)
    settled = world.settle(world.authorize(world.split(order.order_id, 10, bindings=bound)))
    assert settled.reasons == [RecipientNotConsented(BOTH.id, MALL.id)]
    world.consent(BOTH, MALL, granted=True)
    settled = world.settle(world.authorize(world.split(order.order_id, 10, bindings=bound)))
    assert settled.only(OrderSplit).allocations[0].recipient == BOTH.id


def test_consent_given_after_a_rejected_capture_lets_the_next_one_through(world: World) -> None:
    capture = world.capture(rule=PAIR, bindings=(STRANGER.id, MERCHANT.id))
    assert world.settle(world.attest(capture)).reasons == [RecipientNotConsented(STRANGER.id, MALL.id)]
    world.consent(STRANGER, MALL, granted=True)
    assert world.settle(world.attest(capture)).only(OrderCaptured).order_id == capture.order_id
