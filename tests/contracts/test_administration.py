"""Administration: roles come and go through AccessManager, with delays; only the administrator opens currencies."""

from __future__ import annotations

import pytest

from fenzhang.chain.codec import encode_call
from fenzhang.chain.events import CurrencyChanged, OrderCaptured, OrderReleased
from fenzhang.chain.keccak import keccak
from fenzhang.chain.signer import LocalKey
from fenzhang.chain.views import ATTESTOR_ROLE, REGISTRAR_ROLE, RULE_APPROVER_ROLE
from fenzhang.domain.errors import CurrencyNotEnabled, NotAttestor
from support.parties import MALL, MERCHANT, PAIR, RuleRef, party
from support.system import ADMIN, APPROVER, BANK, OUTSIDER, REGISTRAR
from support.twin import NOWHERE
from support.world import World, reason_of

HOUR = 3_600
LATE = party("a registrar who waits").key
NEWCOMER = party("newcomer")


def grant(world: World, role: int, key: LocalKey, delay: int = 0) -> None:
    world.node.impersonate(key.address)
    world.act(ADMIN, "AccessManager", "grantRole", role, key.address, delay)


def operation(caller: LocalKey, target: bytes, data: bytes) -> bytes:
    """Id of a scheduled operation: keccak256(abi.encode(caller, target, data))."""
    words = caller.address.rjust(32, b"\0") + target.rjust(32, b"\0") + (96).to_bytes(32, "big")
    return keccak(words + len(data).to_bytes(32, "big") + data + bytes(-len(data) % 32))


SUSPENSION = ("suspend", MERCHANT.id)
ROTATION = ("rotateAuthority", MALL.id, NEWCOMER.key.address)
CONSENT = ("setConsent", MERCHANT.id, MALL.id, False)


@pytest.mark.parametrize("call", [SUSPENSION, ROTATION, CONSENT], ids=lambda call: call[0])
def test_a_registrar_with_a_delay_acts_only_after_announcing_it_that_long(
    world: World, call: tuple[str, object]
) -> None:
    grant(world, REGISTRAR_ROLE, LATE, delay=HOUR)
    registry = world.system.deployment.participant_registry
    data = encode_call("ParticipantRegistry", *call)
    announced = operation(LATE, registry, data)

    error = world.refused(LATE, "ParticipantRegistry", *call)
    assert reason_of(error) == ("AccessManagerNotScheduled", {"operationId": announced})
    mined = world.system.transact(LATE, "AccessManager", "schedule", registry, data, 0)
    assert mined.error is None
    world.node.next_block_at(mined.timestamp + HOUR - 1)
    error = world.refused(LATE, "ParticipantRegistry", *call)
    assert reason_of(error) == ("AccessManagerNotReady", {"operationId": announced})
    world.node.next_block_at(mined.timestamp + HOUR)
    assert world.act(LATE, "ParticipantRegistry", *call)
    error = world.refused(LATE, "ParticipantRegistry", *call)
    assert reason_of(error) == ("AccessManagerNotScheduled", {"operationId": announced}), (
        "once announced, once done"
    )


def test_the_registrar_without_a_delay_acts_at_once(world: World) -> None:
    assert world.act(REGISTRAR, "ParticipantRegistry", *SUSPENSION)


def test_a_rule_approver_with_a_delay_waits_as_well(world: World) -> None:
    grant(world, RULE_APPROVER_ROLE, LATE, delay=HOUR)
    rule = RuleRef(MALL, PAIR.rule_id, 2, PAIR.legs)
    world.propose(rule)
    error = world.refused(LATE, "RuleBook", "approve", *world.approval(rule))
    assert error.contract_error == "AccessManagerNotScheduled"


def test_a_revoked_registrar_is_nobody(world: World) -> None:
    world.act(ADMIN, "AccessManager", "revokeRole", REGISTRAR_ROLE, REGISTRAR.address)
    error = world.refused(REGISTRAR, "ParticipantRegistry", "enroll", NEWCOMER.id, bytes(20))
    assert reason_of(error) == ("AccessManagedUnauthorized", {"caller": REGISTRAR.address})
    error = world.refused(REGISTRAR, "ParticipantRegistry", *ROTATION)
    assert error.contract_error == "ParticipantRegistry_NotAllowed"


def test_an_attestor_comes_and_goes_with_its_role(world: World) -> None:
    capture = world.capture()
    attested = world.attest(capture, key=LATE)
    assert world.settle(attested).refusals == [NotAttestor(LATE.address)]
    grant(world, ATTESTOR_ROLE, LATE)
    assert world.settle(attested).only(OrderCaptured).order_id == capture.order_id
    world.act(ADMIN, "AccessManager", "revokeRole", ATTESTOR_ROLE, BANK.address)
    assert world.settle(world.attest(world.capture())).refusals == [NotAttestor(BANK.address)]


def test_an_attestor_whose_grant_is_delayed_does_not_count_before(world: World) -> None:
    five_days = 5 * 24 * HOUR
    world.act(ADMIN, "AccessManager", "setGrantDelay", ATTESTOR_ROLE, HOUR)
    world.node.next_block_at(world.node.now + five_days)  # the setback of a longer grant delay
    grant(world, ATTESTOR_ROLE, LATE)
    world.twin.world.attestors.discard(LATE.address)
    attested = world.attest(world.capture(), key=LATE)
    assert world.settle(attested).refusals == [NotAttestor(LATE.address)]
    world.node.next_block_at(world.node.now + HOUR)
    world.twin.world.attestors.add(LATE.address)
    assert world.settle(attested).all(OrderCaptured)


def test_the_administrator_opens_and_closes_currencies(world: World) -> None:
    order = world.captured(currency="JPY")
    enabled = False
    events = world.act(ADMIN, "SplitLedger", "setCurrencies", [b"JPY", b"XYZ"], enabled)
    assert events == [
        CurrencyChanged(NOWHERE, "JPY", enabled=False),
        CurrencyChanged(NOWHERE, "XYZ", enabled=False),
    ]
    assert world.settle(world.attest(world.capture(currency="JPY"))).reasons == [CurrencyNotEnabled("JPY")]
    assert world.did(world.release(order.order_id)).only(OrderReleased).amount == order.amount
    world.set_currency("JPY", enabled=True)
    assert world.settle(world.attest(world.capture(currency="JPY"))).all(OrderCaptured)


OTHERS = {"the registrar": REGISTRAR, "an approver": APPROVER, "a bank": BANK, "anybody": OUTSIDER}


@pytest.mark.parametrize("sender", OTHERS.values(), ids=OTHERS)
def test_only_the_administrator_opens_a_currency_and_not(world: World, sender: LocalKey) -> None:
    enabled = True
    error = world.refused(sender, "SplitLedger", "setCurrencies", [b"XYZ"], enabled)
    assert reason_of(error) == ("AccessManagedUnauthorized", {"caller": sender.address})


def test_only_the_access_manager_can_be_told_to_change_who_decides(world: World) -> None:
    for contract in ("ParticipantRegistry", "RuleBook", "Conditions", "SplitLedger", "ClearingHouse"):
        error = world.refused(ADMIN, contract, "setAuthority", OUTSIDER.address)
        assert reason_of(error) == ("AccessManagedUnauthorized", {"caller": ADMIN.address})
