"""Who stands above whom: what the registrar may do, and what nobody may."""

from __future__ import annotations

import itertools
import random

import pytest

from fenzhang.chain.errors import ContractError
from fenzhang.chain.events import ParticipantPlaced
from fenzhang.chain.signer import LocalKey
from fenzhang.domain.places import TOP
from support.parties import COURIER, MALL, MERCHANT, PROMOTER, SUPPLIER, Party, ident
from support.system import APPROVER, OUTSIDER, REGISTRAR
from support.twin import NOWHERE
from support.world import World, reason_of

REGISTRY = "ParticipantRegistry"
CHAIN = (MALL, MERCHANT, SUPPLIER, COURIER)


def place(world: World, participant: Party, parent: Party | None) -> ParticipantPlaced:
    [event] = world.register("place", participant.id, TOP if parent is None else parent.id)
    assert isinstance(event, ParticipantPlaced)
    return event


@pytest.fixture
def ladder(world: World) -> World:
    """Four levels, one participant on each."""
    for parent, participant in itertools.pairwise(CHAIN):
        place(world, participant, parent)
    return world


def test_four_levels(ladder: World) -> None:
    found = [ladder.system.call(REGISTRY, "placeOf", party.id) for party in (*CHAIN, PROMOTER)]
    assert found == [
        (TOP, 1, 1),
        (MALL.id, 2, 1),
        (MERCHANT.id, 3, 1),
        (SUPPLIER.id, 4, 0),
        (TOP, 1, 0),
    ]


def test_an_event_tells_parent_and_level(world: World) -> None:
    assert place(world, MERCHANT, MALL) == ParticipantPlaced(NOWHERE, MERCHANT.id, MALL.id, 2)
    assert place(world, MERCHANT, None) == ParticipantPlaced(NOWHERE, MERCHANT.id, TOP, 1)


def test_the_lowest_can_be_moved_and_frees_its_parent(ladder: World) -> None:
    place(ladder, COURIER, MERCHANT)
    place(ladder, SUPPLIER, None)
    assert ladder.system.call(REGISTRY, "placeOf", MERCHANT.id) == (MALL.id, 2, 1)
    assert ladder.system.call(REGISTRY, "placeOf", SUPPLIER.id) == (TOP, 1, 0)


def test_nobody_stands_deeper_than_level_four(ladder: World) -> None:
    error = ladder.refused(REGISTRAR, REGISTRY, "place", PROMOTER.id, COURIER.id)
    assert reason_of(error) == (
        "ParticipantRegistry_TooDeep",
        {"participant": PROMOTER.id, "level": 5, "limit": 4},
    )


def test_whoever_has_others_below_stays(ladder: World) -> None:
    for parent in (TOP, COURIER.id, PROMOTER.id):
        error = ladder.refused(REGISTRAR, REGISTRY, "place", SUPPLIER.id, parent)
        assert reason_of(error) == (
            "ParticipantRegistry_NotLowest",
            {"participant": SUPPLIER.id, "below": 1},
        )


def test_nobody_stands_below_itself(world: World) -> None:
    error = world.refused(REGISTRAR, REGISTRY, "place", MERCHANT.id, MERCHANT.id)
    assert reason_of(error) == ("ParticipantRegistry_OwnParent", {"participant": MERCHANT.id})


def test_both_are_enrolled(world: World) -> None:
    nobody = ident("nobody")
    for participant, parent in ((nobody, MALL.id), (MERCHANT.id, nobody), (nobody, TOP)):
        error = world.refused(REGISTRAR, REGISTRY, "place", participant, parent)
        assert reason_of(error) == ("ParticipantRegistry_UnknownParticipant", {"participant": nobody})


@pytest.mark.parametrize("who", [OUTSIDER, APPROVER])
def test_only_the_registrar_places(world: World, who: LocalKey) -> None:
    error = world.refused(who, REGISTRY, "place", MERCHANT.id, MALL.id)
    assert error.contract_error == "AccessManagedUnauthorized"


def test_chain_and_specification_refuse_the_same(world: World) -> None:
    parties = (*CHAIN, PROMOTER)
    chance = random.Random(9)
    refused = 0
    for _ in range(60):
        participant = chance.choice(parties)
        parent = chance.choice([None, *parties])
        above = TOP if parent is None else parent.id
        problem = world.twin.world.places.problem_of(participant.id, above)
        if problem is None:
            place(world, participant, parent)
        else:
            refused += 1
            error = world.refused(REGISTRAR, REGISTRY, "place", participant.id, above)
            assert isinstance(error, ContractError)
    assert 0 < refused < 60
    places = world.twin.world.places
    for party in parties:
        expected = (places.parent_of(party.id), places.level_of(party.id), places.below[party.id])
        assert world.system.call(REGISTRY, "placeOf", party.id) == expected
