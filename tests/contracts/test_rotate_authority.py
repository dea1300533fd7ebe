"""Rotation of a participant's signing address."""

from __future__ import annotations

from fenzhang.chain.events import AuthorityRotated, OrderSplit
from fenzhang.domain.errors import InvalidSignature, PlatformNotActive
from support.parties import MALL, MERCHANT, ident, party
from support.system import APPROVER, OUTSIDER, REGISTRAR
from support.twin import NOWHERE
from support.world import World, reason_of

REGISTRY = "ParticipantRegistry"
NEXT = party("the mall's next key").key


def test_the_authority_hands_over_by_itself(world: World) -> None:
    world.node.impersonate(MALL.key.address)
    events = world.act(MALL.key, REGISTRY, "rotateAuthority", MALL.id, NEXT.address)
    assert events == [AuthorityRotated(NOWHERE, MALL.id, MALL.key.address, NEXT.address)]
    assert world.system.call(REGISTRY, "participantOf", MALL.id)[1] == NEXT.address


def test_the_registrar_replaces_a_lost_authority(world: World) -> None:
    events = world.register("rotateAuthority", MALL.id, NEXT.address)
    assert events == [AuthorityRotated(NOWHERE, MALL.id, MALL.key.address, NEXT.address)]


def test_the_registrar_gives_an_authority_to_a_participant_that_had_none(world: World) -> None:
    events = world.register("rotateAuthority", MERCHANT.id, NEXT.address)
    assert events == [AuthorityRotated(NOWHERE, MERCHANT.id, bytes(20), NEXT.address)]


def test_nobody_else_replaces_it(world: World) -> None:
    for sender in (OUTSIDER, APPROVER):
        error = world.refused(sender, REGISTRY, "rotateAuthority", MALL.id, NEXT.address)
        assert reason_of(error) == (
            "ParticipantRegistry_NotAllowed",
            {"participant": MALL.id, "caller": sender.address},
        )


def test_a_replaced_authority_has_no_say_any_more(world: World) -> None:
    world.register("rotateAuthority", MALL.id, NEXT.address)
    world.node.impersonate(MALL.key.address)
    error = world.refused(MALL.key, REGISTRY, "rotateAuthority", MALL.id, MALL.key.address)
    assert reason_of(error) == (
        "ParticipantRegistry_NotAllowed",
        {"participant": MALL.id, "caller": MALL.key.address},
    )


def test_an_authority_is_replaced_never_removed(world: World) -> None:
    error = world.refused(REGISTRAR, REGISTRY, "rotateAuthority", MALL.id, bytes(20))
    assert reason_of(error) == ("ParticipantRegistry_ZeroAuthority", {"participant": MALL.id})


def test_an_unknown_participant_has_none_to_replace(world: World) -> None:
    nobody = ident("nobody")
    error = world.refused(REGISTRAR, REGISTRY, "rotateAuthority", nobody, NEXT.address)
    assert reason_of(error) == ("ParticipantRegistry_UnknownParticipant", {"participant": nobody})


def test_what_the_old_authority_signed_and_nobody_relayed_is_refused_afterwards(world: World) -> None:
    order = world.captured()
    stale = world.authorize(world.split(order.order_id, 100), nonce=1)
    world.register("rotateAuthority", MALL.id, NEXT.address)
    assert world.settle(stale).refusals == [InvalidSignature(MALL.id)]
    fresh = world.authorize(world.split(order.order_id, 100), nonce=1, key=NEXT)
    assert world.settle(fresh).only(OrderSplit).amount == 100


def test_a_platform_without_an_authority_instructs_nothing_whoever_signs(world: World) -> None:
    lonely = party("lonely")
    world.register("enroll", lonely.id, bytes(20))
    settled = world.settle(world.authorize(platform=lonely, key=lonely.key))
    assert settled.refusals == [PlatformNotActive(lonely.id)]
