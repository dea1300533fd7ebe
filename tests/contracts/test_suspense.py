"""Suspense positions: where shares wait whose recipient is not active, and to whom they go."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fenzhang.chain.events import HeirNamed, OrderRefunded, OrderSplit, SplitReturned, SuspenseResolved
from fenzhang.domain.errors import (
    InsufficientPosition,
    NothingHeld,
    NothingParked,
    ParticipantFrozen,
    RecipientNotActive,
)
from fenzhang.domain.records import Capture
from fenzhang.domain.rules import RuleTerms
from fenzhang.domain.suspense import suspense_id
from support.parties import COURIER, MERCHANT, PAIR, PROMOTER, Party, RuleRef, ident
from support.positions import write_position
from support.system import GUARDIAN, OUTSIDER, REGISTRAR
from support.world import World

PARKING = replace(PAIR, rule_id=ident("rule", "parking"), terms=RuleTerms(park=True))
LENIENT = replace(PAIR, rule_id=ident("rule", "lenient parking"), terms=RuleTerms(park=True, may_owe=True))


@pytest.fixture
def market(world: World) -> World:
    for rule in (PARKING, LENIENT):
        world.put_in_force(rule)
    return world


def waiting(world: World, who: Party, currency: str = "CNY") -> int:
    [amount] = world.system.call("LedgerView", "positions", currency.encode(), [suspense_id(who.id)])
    assert isinstance(amount, int)
    return amount


def captured(world: World, amount: int = 1_000, rule: RuleRef = PARKING) -> Capture:
    return world.captured(amount, rule=rule, bindings=(PROMOTER.id, MERCHANT.id))


def parked(world: World, amount: int = 1_000, rule: RuleRef = PARKING) -> tuple[Capture, bytes]:
    """An order of a promoter that is suspended when it is split whole; the split's id."""
    capture = captured(world, amount, rule)
    world.register("suspend", PROMOTER.id)
    split = world.split(capture.order_id, amount)
    world.did(split)
    return capture, split.id


def name_heir(world: World, who: Party, heir: Party) -> None:
    world.act(GUARDIAN, "ParticipantRegistry", "nameHeir", who.id, heir.id)


def test_a_share_of_a_suspended_recipient_waits_by_its_name(market: World) -> None:
    capture = captured(market, 1_000, rule=PARKING)
    market.register("suspend", PROMOTER.id)
    split = market.did(market.split(capture.order_id, 1_000)).only(OrderSplit)
    shares = {leaf.recipient: leaf.amount for leaf in split.allocations}
    assert suspense_id(PROMOTER.id) in shares
    assert PROMOTER.id not in shares
    assert waiting(market, PROMOTER) == shares[suspense_id(PROMOTER.id)] > 0
    assert market.position(PROMOTER) == 0


def test_a_closed_one_s_waits_as_well_and_a_rule_that_does_not_park_rejects(market: World) -> None:
    by_parking, by_pair = captured(market, 100, rule=PARKING), captured(market, 100, rule=PAIR)
    market.register("close", PROMOTER.id)
    [reason] = market.settle(
        market.authorize(market.split(by_parking.order_id, 100), market.split(by_pair.order_id, 100))
    ).reasons
    assert reason == RecipientNotActive(PROMOTER.id)
    assert waiting(market, PROMOTER) > 0


def test_who_is_active_again_gets_it_whoever_calls(market: World) -> None:
    parked(market)
    amount = waiting(market, PROMOTER)
    assert market.resolution_refused(PROMOTER) == RecipientNotActive(PROMOTER.id)
    market.register("resume", PROMOTER.id)
    told = market.resolve(PROMOTER).only(SuspenseResolved)
    assert (told.currency, told.participant, told.heir, told.amount) == (
        "CNY",
        PROMOTER.id,
        PROMOTER.id,
        amount,
    )
    assert (waiting(market, PROMOTER), market.position(PROMOTER)) == (0, amount)
    assert market.resolution_refused(PROMOTER) == NothingParked("CNY", PROMOTER.id)
    assert market.resolution_refused(PROMOTER, "JPY") == NothingParked("JPY", PROMOTER.id)


def test_what_waits_for_a_closed_one_goes_to_the_heir_that_a_guardian_names(market: World) -> None:
    parked(market)
    amount = waiting(market, PROMOTER)
    market.register("close", PROMOTER.id)
    assert market.resolution_refused(PROMOTER) == RecipientNotActive(PROMOTER.id)
    name_heir(market, PROMOTER, COURIER)
    market.register("suspend", COURIER.id)
    assert market.resolution_refused(PROMOTER) == RecipientNotActive(PROMOTER.id)
    market.register("resume", COURIER.id)
    before = market.position(COURIER)
    assert market.resolve(PROMOTER).only(SuspenseResolved).heir == COURIER.id
    assert (waiting(market, PROMOTER), market.position(COURIER)) == (0, before + amount)


def test_only_a_guardian_names_an_heir_and_only_of_a_closed_participant(market: World) -> None:
    def refusal(who: Party, heir: Party) -> str | None:
        return market.refused(GUARDIAN, "ParticipantRegistry", "nameHeir", who.id, heir.id).contract_error

    assert refusal(PROMOTER, COURIER) == "ParticipantRegistry_WrongStatus"
    market.register("close", PROMOTER.id)
    assert refusal(PROMOTER, PROMOTER) == "ParticipantRegistry_OwnHeir"
    nobody = Party("nobody", ident("nobody"), PROMOTER.key)
    assert refusal(PROMOTER, nobody) == "ParticipantRegistry_UnknownParticipant"
    assert refusal(nobody, PROMOTER) == "ParticipantRegistry_UnknownParticipant"
    for sender in (REGISTRAR, OUTSIDER):
        error = market.refused(sender, "ParticipantRegistry", "nameHeir", PROMOTER.id, COURIER.id)
        assert error.contract_error == "AccessManagedUnauthorized"
    [told] = market.act(GUARDIAN, "ParticipantRegistry", "nameHeir", PROMOTER.id, COURIER.id)
    assert isinstance(told, HeirNamed)
    assert (told.participant, told.heir, told.guardian) == (PROMOTER.id, COURIER.id, GUARDIAN.address)


def test_nobody_can_be_enrolled_as_the_suspense_position_of_another(market: World) -> None:
    error = market.refused(
        REGISTRAR, "ParticipantRegistry", "enroll", suspense_id(PROMOTER.id), OUTSIDER.address
    )
    assert error.contract_error == "ParticipantRegistry_SuspenseId"


def test_a_return_takes_from_where_the_share_waits(market: World) -> None:
    capture, split = parked(market)
    before = waiting(market, PROMOTER)
    back = market.did(market.give_back(capture.order_id, split, 500)).only(SplitReturned)
    taken = {leaf.recipient: leaf.amount for leaf in back.allocations}
    assert waiting(market, PROMOTER) == before - taken[suspense_id(PROMOTER.id)]


def test_after_a_resolution_who_got_it_gives(market: World) -> None:
    capture, _ = parked(market)
    share = waiting(market, PROMOTER)
    market.register("close", PROMOTER.id)
    name_heir(market, PROMOTER, COURIER)
    market.resolve(PROMOTER)
    assert market.position(COURIER) == share
    back = market.did(market.refund(capture.order_id, 1_000)).only(OrderRefunded)
    assert {take.recipient: take.amount for take in back.takes} == {
        COURIER.id: share,
        MERCHANT.id: 1_000 - share,
    }
    assert market.position(COURIER) == market.position(MERCHANT) == 0


def test_what_waits_helps_where_the_own_position_falls_short(market: World) -> None:
    early = captured(market)
    first = market.split(early.order_id, 1_000)
    market.did(first)
    parked(market)
    write_position(market, PROMOTER, 3)
    back = market.did(market.give_back(early.order_id, first.id, 600)).only(SplitReturned)
    assert suspense_id(PROMOTER.id) in {leaf.recipient for leaf in back.allocations}
    assert (market.position(PROMOTER), waiting(market, PROMOTER)) == (3, 200)


def test_the_own_position_of_one_that_was_closed_later_gives_before_its_heir(market: World) -> None:
    capture, split = parked(market)
    market.register("resume", PROMOTER.id)
    market.resolve(PROMOTER)
    market.register("close", PROMOTER.id)
    name_heir(market, PROMOTER, COURIER)
    market.did(market.give_back(capture.order_id, split, 1_000))
    assert (market.position(PROMOTER), market.position(COURIER)) == (0, 0)


def test_a_frozen_participant_s_share_is_frozen_with_it(market: World) -> None:
    capture, split = parked(market)
    market.freeze(PROMOTER)
    [reason] = market.settle(market.authorize(market.give_back(capture.order_id, split, 500))).reasons
    assert reason == ParticipantFrozen(suspense_id(PROMOTER.id))


def test_a_frozen_heir_does_not_give(market: World) -> None:
    capture, split = parked(market)
    market.register("close", PROMOTER.id)
    name_heir(market, PROMOTER, COURIER)
    market.resolve(PROMOTER)
    market.freeze(COURIER)
    [reason] = market.settle(market.authorize(market.give_back(capture.order_id, split, 1_000))).reasons
    assert isinstance(reason, InsufficientPosition)
    assert reason.values["recipient"] == suspense_id(PROMOTER.id)


def test_by_a_rule_that_lets_owe_the_heir_owes(market: World) -> None:
    capture, split = parked(market, rule=LENIENT)
    share = waiting(market, PROMOTER)
    market.register("close", PROMOTER.id)
    name_heir(market, PROMOTER, COURIER)
    market.resolve(PROMOTER)
    write_position(market, COURIER, share - 7)
    market.did(market.give_back(capture.order_id, split, 1_000))
    assert (waiting(market, PROMOTER), market.position(COURIER)) == (0, -7)


def test_a_release_parks_nothing(market: World) -> None:
    capture = captured(market, 1_000, rule=PARKING)
    market.register("suspend", MERCHANT.id)
    [reason] = market.settle(market.authorize(market.release(capture.order_id))).reasons
    assert reason == RecipientNotActive(MERCHANT.id)
    assert market.held(capture.order_id) == 1_000
    market.register("resume", MERCHANT.id)
    market.did(market.release(capture.order_id))
    [reason] = market.settle(market.authorize(market.release(capture.order_id))).reasons
    assert reason == NothingHeld(capture.order_id)
