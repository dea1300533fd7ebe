"""Freezes: what guardians stop does not move, and another guardian lets it move again."""

from __future__ import annotations

from typing import Any

import pytest

from fenzhang.chain.abi import role_bytes
from fenzhang.chain.events import FreezeChanged, OrderReleased, ParticipantFreezeChanged
from fenzhang.domain.errors import OrderFrozen, ParticipantFrozen, SplitFrozen
from fenzhang.domain.records import Capture, Instruction
from fenzhang.domain.world import WHOLE_ORDER
from support.parties import BOTH, MALL, MERCHANT, PAIR, PROMOTER, SHOP, VENDING, VENDOR, Party, ident
from support.system import APPROVER, GUARDIAN, OUTSIDER, REGISTRAR, SECOND_GUARDIAN
from support.twin import NOWHERE
from support.world import World

DISPUTE = role_bytes("dispute")


@pytest.fixture
def order(world: World) -> Capture:
    """An order of 1,000 that expires soon."""
    return world.captured(1_000, rule=PAIR, expires_at=world.node.now + 100)


@pytest.fixture
def split(world: World, order: Capture) -> Instruction:
    """A split of 600 of it: 300 for the promoter and the merchant each."""
    made = world.split(order.order_id, 600)
    world.did(made)
    return made


def test_who_froze_and_why_is_told_and_kept(world: World, order: Capture, split: Instruction) -> None:
    for split_id in (WHOLE_ORDER, split.id):
        what = (order.order_id, split_id)
        freeze, unfreeze = (*what, True, DISPUTE), (*what, False, role_bytes("solved"))
        events = world.act(GUARDIAN, "Conditions", "setFrozen", *freeze)
        assert events == [FreezeChanged(NOWHERE, *what, GUARDIAN.address, frozen=True, reason="dispute")]
        kept = world.system.call("Conditions", "freezeOf", *what)
        assert kept == (GUARDIAN.address, DISPUTE)
        assert world.system.call("Conditions", "frozenCount") == 1
        assert world.system.call("Conditions", "isFrozen", order.order_id) == (split_id == WHOLE_ORDER)
        events = world.act(SECOND_GUARDIAN, "Conditions", "setFrozen", *unfreeze)
        assert events == [
            FreezeChanged(NOWHERE, *what, SECOND_GUARDIAN.address, frozen=False, reason="solved")
        ]
        assert world.system.call("Conditions", "freezeOf", *what) == (bytes(20), bytes(32))
        assert world.system.call("Conditions", "frozenCount") == 0
    for guardian, frozen in ((GUARDIAN, True), (SECOND_GUARDIAN, False)):
        events = world.act(guardian, "ParticipantRegistry", "setFrozen", BOTH.id, frozen, DISPUTE)
        assert events == [
            ParticipantFreezeChanged(NOWHERE, BOTH.id, guardian.address, frozen=frozen, reason="dispute")
        ]
        assert world.system.call("ParticipantRegistry", "isFrozen", BOTH.id) == frozen
        assert world.system.call("ParticipantRegistry", "frozenCount") == frozen


def test_nothing_moves_on_a_frozen_order(world: World, order: Capture, split: Instruction) -> None:
    world.freeze(order.order_id)
    for instruction in (
        world.split(order.order_id, 100),
        world.release(order.order_id),
        world.give_back(order.order_id, split.id, 100),
    ):
        settled = world.settle(world.authorize(instruction))
        assert settled.reasons == [OrderFrozen(order.order_id)]
    world.node.next_block_at(order.expires_at)
    assert world.expire(order.order_id).passed_over == [OrderFrozen(order.order_id)]
    assert (world.held(order.order_id), world.totals()) == (400, (1_000, 400))

    world.unfreeze(order.order_id)
    assert world.expire(order.order_id).only(OrderReleased).amount == 400
    world.did(world.give_back(order.order_id, split.id, 100))
    assert world.held(order.order_id) == 100


def test_a_frozen_order_stops_no_neighbour(world: World, order: Capture) -> None:
    other = world.captured(50, rule=PAIR)
    world.freeze(order.order_id)
    settled = world.settle(world.authorize(world.split(order.order_id, 1), world.split(other.order_id, 50)))
    assert settled.reasons == [OrderFrozen(order.order_id)]
    assert world.held(other.order_id) == 0


def test_a_witness_from_before_a_freeze_is_good_after_it(world: World, order: Capture) -> None:
    witness = world.twin.witness(order.order_id, opened=False)
    world.freeze(order.order_id)
    world.unfreeze(order.order_id)
    world.settle(world.authorize(world.split(order.order_id, 5)), witnesses=[witness])
    assert world.held(order.order_id) == 995


def test_nothing_is_returned_from_a_frozen_split(world: World, order: Capture, split: Instruction) -> None:
    other = world.split(order.order_id, 200)
    world.did(other)
    world.freeze(order.order_id, split.id)
    settled = world.settle(world.authorize(world.give_back(order.order_id, split.id, 100)))
    assert settled.reasons == [SplitFrozen(order.order_id, split.id)]
    world.did(world.give_back(order.order_id, other.id, 200))
    world.did(world.split(order.order_id, 400))
    world.unfreeze(order.order_id, split.id)
    world.did(world.give_back(order.order_id, split.id, 100))


def test_nothing_is_taken_from_a_frozen_participant_and_it_is_still_paid(
    world: World, order: Capture, split: Instruction
) -> None:
    world.freeze(PROMOTER)
    settled = world.settle(world.authorize(world.give_back(order.order_id, split.id, 100)))
    assert settled.reasons == [ParticipantFrozen(PROMOTER.id)]
    assert world.position(PROMOTER) == 300
    # A return that takes nothing from it is not its business.
    world.did(world.give_back(order.order_id, split.id, 100, (0, 100)))
    world.did(world.split(order.order_id, 100))
    assert world.position(PROMOTER) == 350
    world.unfreeze(PROMOTER)
    world.did(world.give_back(order.order_id, split.id, 100))
    assert world.position(PROMOTER) == 350 - 60, "it has 300 of the 500 that can be returned"


def test_the_instructions_of_a_frozen_platform_are_refused_and_may_come_again(world: World) -> None:
    order = world.captured(70, rule=VENDING, merchant=VENDOR, expires_at=world.node.now + 50)
    signed = world.authorize(world.split(order.order_id, 70), platform=SHOP)
    world.freeze(SHOP)
    assert world.settle(signed).refusals == [ParticipantFrozen(SHOP.id)]
    assert world.captured(5, rule=VENDING, merchant=VENDOR).amount == 5, "the bank still may"
    world.unfreeze(SHOP)
    assert world.settle(signed).refusals == []
    assert world.held(order.order_id) == 0


def test_the_orders_of_a_frozen_platform_and_merchant_expire(world: World, order: Capture) -> None:
    world.freeze(MALL)
    world.freeze(MERCHANT)
    world.node.next_block_at(order.expires_at)
    assert world.expire(order.order_id).only(OrderReleased).amount == 1_000


# ------------------------------------------------------------------------------ who may


def refused(world: World, *how: Any) -> str | None:
    error = world.refused(*how)
    assert error.contract_error is not None
    return error.contract_error


@pytest.mark.parametrize("what", ["order", "split", "participant"])
def test_only_another_guardian_undoes_a_freeze(
    world: World, order: Capture, split: Instruction, what: str
) -> None:
    targets: dict[str, tuple[Party | bytes, bytes]] = {
        "order": (order.order_id, WHOLE_ORDER),
        "split": (order.order_id, split.id),
        "participant": (BOTH, WHOLE_ORDER),
    }
    target = targets[what]
    for key in (OUTSIDER, REGISTRAR, APPROVER):
        how = world.set_frozen(*target, key, frozen=True)
        assert refused(world, *how) == "AccessManagedUnauthorized"
    assert refused(world, *world.set_frozen(*target, GUARDIAN, frozen=False)) == "Freezes_NotFrozen"
    world.freeze(*target)
    for key in (GUARDIAN, SECOND_GUARDIAN):
        again = world.set_frozen(*target, key, frozen=True)
        assert refused(world, *again) == "Freezes_AlreadyFrozen"
    own = world.set_frozen(*target, GUARDIAN, frozen=False)
    assert refused(world, *own) == "Freezes_SameGuardian"
    outsider = world.set_frozen(*target, OUTSIDER, frozen=False)
    assert refused(world, *outsider) == "AccessManagedUnauthorized"
    world.unfreeze(*target)


def test_an_order_is_frozen_before_it_is_captured(world: World) -> None:
    capture = world.capture(50, rule=PAIR)
    world.freeze(capture.order_id)
    split = world.split(capture.order_id, 50)
    settled = world.settle(world.attest(capture), world.authorize(split))
    assert settled.reasons == [OrderFrozen(capture.order_id)]
    assert world.held(capture.order_id) == 50


def test_a_freeze_needs_a_reason_and_a_participant_to_freeze(world: World, order: Capture) -> None:
    without = (order.order_id, WHOLE_ORDER, True, bytes(32))
    assert refused(world, GUARDIAN, "Conditions", "setFrozen", *without) == "Freezes_NoReason"
    registry = (GUARDIAN, "ParticipantRegistry", "setFrozen", ident("nobody"), True, DISPUTE)
    assert refused(world, *registry) == "ParticipantRegistry_UnknownParticipant"
