"""A history in which everything was done that the contracts allow or refuse: nothing differs."""

from __future__ import annotations

from dataclasses import replace

from audit.auditing import FORWARDER, forwarded, install_forwarder, verified
from fenzhang.chain.abi import currency_bytes
from fenzhang.chain.codec import encode_call, encode_settle
from fenzhang.chain.views import REGISTRAR_ROLE, RULE_APPROVER_ROLE
from fenzhang.domain.rules import Leg, LegKind
from support.parties import (
    BOTH,
    MALL,
    MARKET,
    MERCHANT,
    NOBODY,
    PAIR,
    PROMOTER,
    SHOP,
    STRANGER,
    VENDING,
    VENDOR,
    RuleRef,
    ident,
    party,
)
from support.system import ADMIN, OUTSIDER, REGISTRAR, SUBMITTER
from support.world import World


async def test_a_world_without_orders_holds(world: World) -> None:
    report = await verified(world)

    assert report.differences == ()
    assert report.held
    assert report.counts["rule_versions"] == 3
    assert report.currencies == {}


def _settle_all_kinds(world: World) -> None:
    first, open_role = world.captured(1_000), world.captured(501, rule=PAIR, bindings=(NOBODY, MERCHANT.id))
    yen = world.captured(77, rule=VENDING, currency="JPY")
    split, other = world.split(first.order_id, 600), world.split(first.order_id, 100)
    world.did(split, other)
    world.did(world.give_back(first.order_id, split.id, 60))
    world.did(world.give_back(first.order_id, split.id, 7, (3, 0, 0, 4)))
    world.did(world.release(first.order_id))
    world.did(world.split(open_role.order_id, 101, bindings=(PROMOTER.id, NOBODY)))
    world.did(world.split(yen.order_id, 77), platform=SHOP)
    # Captured, split and released in one transaction.
    new = world.capture(333)
    world.settle(
        world.attest(new), world.authorize(world.split(new.order_id, 100), world.release(new.order_id))
    )


async def test_captures_splits_returns_and_releases_hold(world: World) -> None:
    _settle_all_kinds(world)

    report = await verified(world)

    assert report.differences == ()
    counts = ("captures", "splits", "returns", "releases", "rejections", "batches")
    assert [report.counts[each] for each in counts] == [4, 5, 2, 2, 0, 10]
    assert report.counts["records"] == 13
    assert report.counts["order_slots"] == 4
    assert set(report.currencies) == {"CNY", "JPY"}
    for money in report.currencies.values():
        assert sum(money.positions.values()) + money.held == money.captured


async def test_rejections_hold_to_the_last_byte_of_their_reasons(world: World) -> None:
    order, fixed = world.captured(500), world.captured(10)
    open_role = world.captured(500, rule=PAIR, bindings=(NOBODY, MERCHANT.id))
    split = world.split(order.order_id, 200)
    world.did(split)
    bad = [
        world.split(world.fresh("order"), 1),
        world.split(order.order_id, 301),
        world.split(order.order_id, 0),
        world.split(fixed.order_id, 10),
        world.split(open_role.order_id, 5),
        world.split(open_role.order_id, 5, bindings=(PROMOTER.id,)),
        world.split(open_role.order_id, 5, bindings=(STRANGER.id, NOBODY)),
        world.split(open_role.order_id, 5, bindings=(PROMOTER.id, PROMOTER.id)),
        replace(world.split(order.order_id, 5), amounts=(5,)),
        replace(world.release(order.order_id), amount=1),
    ]
    assert len(world.settle(world.authorize(*bad)).reasons) == len(bad)
    returns = [
        world.give_back(order.order_id, ident("no split"), 5),
        world.give_back(order.order_id, split.id, 201),
        world.give_back(order.order_id, split.id, 3, (0, 0, 3)),
        world.give_back(order.order_id, split.id, 200, (200, 0, 0, 0)),
    ]
    assert len(world.settle(world.authorize(*returns)).reasons) == len(returns)
    late = [world.split(order.order_id, 1), world.give_back(order.order_id, split.id, 5)]
    assert len(world.settle(world.authorize(*late)).reasons) == 1
    world.did(world.release(order.order_id))
    assert world.settle(world.authorize(world.release(order.order_id))).reasons
    assert world.settle(world.authorize(world.release(order.order_id), platform=SHOP)).reasons

    report = await verified(world)

    assert report.differences == ()
    assert report.counts["rejections"] == len(bad) + len(returns) + 3
    assert report.counts["order_slots"] == 4, "the order that was never captured is looked at as well"


async def test_captures_that_are_refused_hold(world: World) -> None:
    captured = world.captured()
    world.set_currency("EUR", enabled=False)
    world.register("suspend", VENDOR.id)
    refused = [
        world.capture(0),
        world.capture(2**63),
        world.capture(currency="EUR"),
        world.capture(order_id=captured.order_id),
        world.capture(rule=replace(MARKET, version=2)),
        world.capture(bindings=(PROMOTER.id,)),
        world.capture(merchant=STRANGER),
        world.capture(rule=VENDING),
        replace(world.capture(), platform=STRANGER.id),
        replace(world.capture(), platform=ident("nobody")),
    ]
    assert len(world.settle(world.attest(*refused)).reasons) == len(refused)

    report = await verified(world)

    assert report.differences == ()
    assert report.counts["rejections"] == len(refused)


async def test_replays_forgeries_and_outdated_witnesses_hold(world: World) -> None:
    order, other = world.captured(), world.captured()
    signed = world.authorize(world.split(order.order_id, 100))
    attested = world.attest(world.capture())
    stale = world.twin.witness(order.order_id, opened=True)
    world.settle(signed)
    world.settle(attested)
    world.settle(
        signed,
        attested,
        world.attest(world.capture(), key=OUTSIDER),
        world.authorize(world.split(order.order_id, 100), key=SHOP.key),
        world.authorize(world.split(other.order_id, 100), deadline=1),
        world.authorize(world.split(other.order_id, 100), platform=party("unheard of")),
    )
    skipped = world.settle(
        world.authorize(world.split(order.order_id, 100)),
        world.authorize(world.split(other.order_id, 5)),
        witnesses=[stale, world.twin.witness(other.order_id, opened=False)],
        order_index=[0, 1],
    )
    assert len(skipped.skipped) == 1

    report = await verified(world)

    assert report.differences == ()
    assert report.counts["authorizations_without_effect"] == 7


async def test_changing_parties_rules_and_roles_hold(world: World) -> None:
    order, waiting = world.captured(), world.captured()
    heir = party("heir of the mall")
    next_version = replace(MARKET, version=2, legs=(Leg(-1, LegKind.REMAINDER, role="Merchant"),))
    world.register("suspend", PROMOTER.id)
    assert world.settle(world.authorize(world.split(order.order_id, 100))).reasons
    world.register("resume", PROMOTER.id)
    world.register("rotateAuthority", MALL.id, heir.key.address)
    world.settle(world.authorize(world.split(order.order_id, 100)))
    world.settle(world.authorize(world.split(order.order_id, 100), key=heir.key))
    withdrawn = (BOTH.id, MALL.id, False)
    world.node.impersonate(BOTH.key.address)
    world.act(BOTH.key.address, "ParticipantRegistry", "setConsent", *withdrawn)
    world.act(BOTH.key.address, "ParticipantRegistry", "rotateAuthority", BOTH.id, OUTSIDER.address)
    world.act(SUBMITTER, "RuleBook", "propose", *world.proposal(next_version, key=heir.key))
    world.settle(world.attest(world.capture(rule=next_version, bindings=(MERCHANT.id,))))
    world.approve(next_version)
    world.settle(world.attest(world.capture(), world.capture(rule=next_version, bindings=(MERCHANT.id,))))
    world.act(SUBMITTER, "RuleBook", "retire", *world.retirement(PAIR, heir.key))
    world.settle(world.attest(world.capture(rule=PAIR)))
    world.register("close", VENDOR.id)
    world.act(ADMIN, "AccessManager", "revokeRole", REGISTRAR_ROLE, REGISTRAR.address)
    world.act(ADMIN, "AccessManager", "grantRole", RULE_APPROVER_ROLE, OUTSIDER.address, 60)
    world.settle(world.authorize(world.release(waiting.order_id), key=heir.key))

    report = await verified(world)

    assert report.differences == ()
    assert report.counts["rule_versions"] == 4


async def test_what_the_access_manager_carries_out_holds(world: World) -> None:
    deployment = world.system.deployment
    order = world.captured()
    switches: list[tuple[str, bool]] = [("USD", False), ("CHF", True)]
    closing, opening = (
        encode_call("SplitLedger", "setCurrencies", [currency_bytes(currency)], enabled)
        for currency, enabled in switches
    )
    split = world.complete([world.authorize(world.split(order.order_id, 100))])
    settle = encode_settle(split.attestations, split.authorizations, split.witnesses, split.order_index)
    execute = [
        encode_call("AccessManager", "execute", deployment.split_ledger, data)
        for data in (closing, opening, settle)
    ]
    mined = world.system.transact(ADMIN, "AccessManager", "multicall", execute)
    assert mined.error is None

    report = await verified(world)

    assert report.differences == ()
    assert report.counts["splits"] == 1


async def test_an_authorization_of_nothing_is_refused_and_holds(world: World) -> None:
    order, captured = world.captured(), world.capture()
    nothing = world.settle(world.authorize(nonce=10_001), world.attest(nonce=10_000))
    assert len(nothing.refusals) == 2
    settled = world.settle(
        world.attest(captured, nonce=10_000), world.authorize(world.release(order.order_id), nonce=10_001)
    )
    assert settled.refusals == []

    report = await verified(world)

    assert report.differences == ()
    assert report.counts["authorizations_without_effect"] == 2
    assert report.counts["releases"] == 1


async def test_a_registrar_with_an_execution_delay_holds(world: World) -> None:
    newcomer = party("announced")
    world.act(ADMIN, "AccessManager", "grantRole", REGISTRAR_ROLE, OUTSIDER.address, 60)
    registry = world.system.deployment.participant_registry
    enroll = encode_call("ParticipantRegistry", "enrollRecipient", newcomer.id, MALL.id)
    world.act(OUTSIDER, "AccessManager", "schedule", registry, enroll, 0)
    world.node.next_block_at(world.node.now + 61)
    world.act(OUTSIDER, "ParticipantRegistry", "enrollRecipient", newcomer.id, MALL.id)

    report = await verified(world)

    assert report.differences == ()


async def test_a_registrar_that_is_a_contract_holds(world: World) -> None:
    newcomer, deployment = party("newcomer"), world.system.deployment
    install_forwarder(world.node)
    world.act(ADMIN, "AccessManager", "grantRole", REGISTRAR_ROLE, FORWARDER, 0)
    enroll = encode_call("ParticipantRegistry", "enrollRecipient", newcomer.id, MALL.id)
    data = forwarded(deployment.participant_registry, enroll)
    assert world.node.transact(OUTSIDER.address, FORWARDER, data).logs

    report = await verified(world)

    assert report.differences == ()


RULE_OF_NOBODY = RuleRef(STRANGER, ident("rule", "nobody's"), 1, PAIR.legs)


async def test_a_platform_that_was_never_used_may_propose(world: World) -> None:
    world.put_in_force(RULE_OF_NOBODY)

    assert (await verified(world)).held
