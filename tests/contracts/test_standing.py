"""Suspension, resumption and closing of participants, and what each means for instructions."""

from __future__ import annotations

import pytest

from fenzhang.chain.events import OrderCaptured, OrderSplit, ParticipantStatusChanged
from fenzhang.domain.errors import PlatformNotActive, RecipientNotActive
from fenzhang.domain.records import ParticipantStatus
from support.parties import BOTH, MALL, MERCHANT, PAIR, PROMOTER, ident
from support.system import OUTSIDER, REGISTRAR
from support.twin import NOWHERE
from support.world import World, reason_of

REGISTRY = "ParticipantRegistry"
ACTIVE, SUSPENDED, CLOSED = (
    ParticipantStatus.ACTIVE,
    ParticipantStatus.SUSPENDED,
    ParticipantStatus.CLOSED,
)
MOVES = {"suspend": SUSPENDED, "resume": ACTIVE, "close": CLOSED}
ALLOWED = {("suspend", ACTIVE), ("resume", SUSPENDED), ("close", ACTIVE), ("close", SUSPENDED)}


def bring_to(world: World, status: ParticipantStatus) -> None:
    if status is SUSPENDED:
        world.register("suspend", MERCHANT.id)
    if status is CLOSED:
        world.register("close", MERCHANT.id)


@pytest.mark.parametrize(("move", "status"), sorted(ALLOWED), ids=str)
def test_the_registrar_may(world: World, move: str, status: ParticipantStatus) -> None:
    bring_to(world, status)
    assert world.register(move, MERCHANT.id) == [ParticipantStatusChanged(NOWHERE, MERCHANT.id, MOVES[move])]
    assert world.system.call(REGISTRY, "participantOf", MERCHANT.id)[0] == MOVES[move]


@pytest.mark.parametrize(
    ("move", "status"),
    [
        (move, status)
        for move in MOVES
        for status in (ACTIVE, SUSPENDED, CLOSED)
        if (move, status) not in ALLOWED
    ],
    ids=str,
)
def test_not_even_the_registrar_may(world: World, move: str, status: ParticipantStatus) -> None:
    bring_to(world, status)
    error = world.refused(REGISTRAR, REGISTRY, move, MERCHANT.id)
    assert reason_of(error) == (
        "ParticipantRegistry_WrongStatus",
        {"participant": MERCHANT.id, "status": status},
    )


@pytest.mark.parametrize("move", MOVES)
def test_nobody_unknown_is_moved(world: World, move: str) -> None:
    error = world.refused(REGISTRAR, REGISTRY, move, ident("nobody"))
    assert reason_of(error) == ("ParticipantRegistry_UnknownParticipant", {"participant": ident("nobody")})


@pytest.mark.parametrize("move", MOVES)
def test_only_the_registrar_moves_anybody_not_even_the_party_itself(world: World, move: str) -> None:
    world.node.impersonate(BOTH.key.address)
    for sender in (OUTSIDER.address, BOTH.key.address):
        error = world.refused(sender, REGISTRY, move, BOTH.id)
        assert reason_of(error) == ("AccessManagedUnauthorized", {"caller": sender})


def test_a_suspended_recipient_is_neither_captured_for_nor_paid_until_it_is_resumed(world: World) -> None:
    order = world.captured(rule=PAIR)
    world.register("suspend", PROMOTER.id)
    settled = world.settle(
        world.attest(world.capture(rule=PAIR)), world.authorize(world.split(order.order_id, 10))
    )
    assert settled.reasons == [RecipientNotActive(PROMOTER.id)] * 2
    world.register("resume", PROMOTER.id)
    settled = world.settle(
        world.attest(world.capture(rule=PAIR)), world.authorize(world.split(order.order_id, 10))
    )
    assert settled.only(OrderCaptured).amount == 1_000
    assert settled.only(OrderSplit).amount == 10


def test_a_closed_recipient_keeps_its_position_and_can_still_be_returned_from(world: World) -> None:
    order = world.captured(rule=PAIR)
    split = world.split(order.order_id, 10)
    world.did(split)
    world.register("close", PROMOTER.id)
    assert world.position(PROMOTER) == 5
    world.did(world.give_back(order.order_id, split.id, 10))
    assert world.position(PROMOTER) == 0


@pytest.mark.parametrize("move", ["suspend", "close"])
def test_a_platform_that_is_not_active_neither_captures_nor_instructs(world: World, move: str) -> None:
    order = world.captured()
    world.register(move, MALL.id)
    settled = world.settle(
        world.attest(world.capture()), world.authorize(world.split(order.order_id, 10), nonce=77)
    )
    assert settled.reasons == [PlatformNotActive(MALL.id)]
    assert settled.refusals == [PlatformNotActive(MALL.id)]
    assert not world.nonce_used(MALL.id, 77)


def test_an_authorization_of_a_suspended_platform_takes_effect_after_it_is_resumed(world: World) -> None:
    order = world.captured()
    authorization = world.authorize(world.split(order.order_id, 100))
    world.register("suspend", MALL.id)
    assert world.settle(authorization).refusals == [PlatformNotActive(MALL.id)]
    world.register("resume", MALL.id)
    assert world.settle(authorization).only(OrderSplit).amount == 100
