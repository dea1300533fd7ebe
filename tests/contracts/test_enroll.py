"""Enrolment: who becomes a participant, by whose hand."""

from __future__ import annotations

import pytest

from fenzhang.chain.events import ConsentChanged, ParticipantEnrolled
from fenzhang.chain.signer import LocalKey
from fenzhang.domain.records import ParticipantStatus
from support.parties import MALL, MERCHANT, STRANGER, VENDOR, ident, party
from support.system import ADMIN, APPROVER, BANK, OUTSIDER, REGISTRAR, SUBMITTER
from support.twin import NOWHERE
from support.world import World, reason_of

REGISTRY = "ParticipantRegistry"
NEWCOMER = party("newcomer")
NO_KEY = bytes(20)


def status_of(world: World, participant: bytes) -> tuple[ParticipantStatus, bytes]:
    status, authority = world.system.call(REGISTRY, "participantOf", participant)
    return ParticipantStatus(status), authority


def test_the_registrar_enrols_a_participant_with_an_authority(world: World) -> None:
    assert status_of(world, NEWCOMER.id) == (ParticipantStatus.UNKNOWN, NO_KEY)
    events = world.register("enroll", NEWCOMER.id, NEWCOMER.key.address)
    assert events == [ParticipantEnrolled(NOWHERE, NEWCOMER.id, NEWCOMER.key.address)]
    assert status_of(world, NEWCOMER.id) == (ParticipantStatus.ACTIVE, NEWCOMER.key.address)


def test_a_participant_without_an_authority_never_signs(world: World) -> None:
    world.register("enroll", NEWCOMER.id, NO_KEY)
    assert status_of(world, NEWCOMER.id) == (ParticipantStatus.ACTIVE, NO_KEY)


def test_a_recipient_is_enrolled_together_with_its_consent(world: World) -> None:
    events = world.register("enrollRecipient", NEWCOMER.id, MALL.id)
    assert events == [
        ParticipantEnrolled(NOWHERE, NEWCOMER.id, NO_KEY),
        ConsentChanged(NOWHERE, NEWCOMER.id, MALL.id, granted=True),
    ]
    assert world.system.call(REGISTRY, "standing", NEWCOMER.id, MALL.id) == (ParticipantStatus.ACTIVE, True)


def test_a_new_participant_has_consented_to_nobody(world: World) -> None:
    assert world.system.call(REGISTRY, "standing", STRANGER.id, MALL.id) == (ParticipantStatus.ACTIVE, False)
    assert world.system.call(REGISTRY, "standing", VENDOR.id, MALL.id) == (ParticipantStatus.ACTIVE, False)
    assert world.system.call(REGISTRY, "hasConsent", NEWCOMER.id, MALL.id) is False


def test_an_id_is_enrolled_once(world: World) -> None:
    for participant in (MALL.id, MERCHANT.id):
        for call in (("enroll", participant, NO_KEY), ("enrollRecipient", participant, MALL.id)):
            error = world.refused(REGISTRAR, REGISTRY, *call)
            assert reason_of(error) == ("ParticipantRegistry_AlreadyEnrolled", {"participant": participant})


def test_a_closed_participant_is_never_enrolled_again(world: World) -> None:
    world.register("close", MERCHANT.id)
    error = world.refused(REGISTRAR, REGISTRY, "enroll", MERCHANT.id, NO_KEY)
    assert reason_of(error) == ("ParticipantRegistry_AlreadyEnrolled", {"participant": MERCHANT.id})


def test_zero_is_no_participant(world: World) -> None:
    for call in (("enroll", bytes(32), NO_KEY), ("enrollRecipient", bytes(32), MALL.id)):
        assert reason_of(world.refused(REGISTRAR, REGISTRY, *call)) == (
            "ParticipantRegistry_ZeroParticipant",
            {},
        )


def test_a_recipient_consents_only_to_an_enrolled_platform(world: World) -> None:
    nobody = ident("nobody")
    error = world.refused(REGISTRAR, REGISTRY, "enrollRecipient", NEWCOMER.id, nobody)
    assert reason_of(error) == ("ParticipantRegistry_UnknownParticipant", {"participant": nobody})
    assert status_of(world, NEWCOMER.id) == (ParticipantStatus.UNKNOWN, NO_KEY)


WITHOUT_THE_ROLE = {
    "the administrator": ADMIN,
    "a rule approver": APPROVER,
    "an attestor": BANK,
    "a submitter": SUBMITTER,
    "anybody": OUTSIDER,
    "a platform": MALL.key,
}


@pytest.mark.parametrize("sender", WITHOUT_THE_ROLE.values(), ids=WITHOUT_THE_ROLE)
def test_only_the_registrar_enrols_and_not(world: World, sender: LocalKey) -> None:
    world.node.impersonate(sender.address)
    for call in (("enroll", NEWCOMER.id, NO_KEY), ("enrollRecipient", NEWCOMER.id, MALL.id)):
        error = world.refused(sender.address, REGISTRY, *call)
        assert reason_of(error) == ("AccessManagedUnauthorized", {"caller": sender.address})
