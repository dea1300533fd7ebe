"""Witnesses: a relayer's evidence of an order's past. A wrong one costs the signer nothing, and is of no use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from fenzhang.chain.codec import SETTLE_SELECTOR, UNKNOWN_ORDER_INDEX, encode_settle
from fenzhang.chain.events import (
    AuthorizationSkipped,
    OrderCaptured,
    OrderReleased,
    OrderSplit,
    SplitReturned,
)
from fenzhang.domain.allocation import Allocation
from fenzhang.domain.errors import OrderAlreadyCaptured, UnknownOrder
from fenzhang.domain.records import Authorization, Capture, OrderWitness, PastRecord, RecordKind
from support.parties import MALL, MERCHANT, PAIR, PROMOTER, ident
from support.system import SUBMITTER
from support.world import World, reason_of

Past = tuple[PastRecord, ...]


@pytest.fixture
def order(world: World) -> Capture:
    """An order with a past: two splits and a return."""
    captured = world.captured(1_000, rule=PAIR)
    first = world.split(captured.order_id, 200)
    world.did(first)
    world.did(world.split(captured.order_id, 300))
    world.did(world.give_back(captured.order_id, first.id, 50))
    return captured


def past_of(world: World, order: Capture) -> Past:
    return tuple(world.twin.world.orders[order.order_id].past)


def assert_skipped_and_later_settled(
    world: World,
    authorization: Authorization,
    witnesses: list[OrderWitness],
    order_index: list[int] | None = None,
) -> None:
    """Skipped with nothing consumed; with the right witness the same bytes take effect."""
    order_id = authorization.instructions[0].order_id
    held = world.held(order_id)
    settled = world.settle(authorization, witnesses=witnesses, order_index=order_index)
    skipped = settled.only(AuthorizationSkipped)
    assert (skipped.signer, skipped.nonce, skipped.order_id) == (MALL.id, authorization.nonce, order_id)
    assert len(settled.events) == 1
    assert world.held(order_id) == held
    assert not world.nonce_used(MALL.id, authorization.nonce)
    assert world.settle(authorization).reasons == []
    assert world.nonce_used(MALL.id, authorization.nonce)


# ------------------------------------------------------------------------------ skipped


def test_a_missing_witness_skips(world: World, order: Capture) -> None:
    assert_skipped_and_later_settled(world, world.authorize(world.release(order.order_id)), [])


def test_a_witness_that_is_not_pointed_at_skips(world: World, order: Capture) -> None:
    witness = world.twin.witness(order.order_id, opened=False)
    authorization = world.authorize(world.release(order.order_id))
    assert_skipped_and_later_settled(world, authorization, [witness], [UNKNOWN_ORDER_INDEX])
    authorization = world.authorize(world.split(order.order_id, 0))
    settled = world.settle(authorization, witnesses=[witness], order_index=[1])
    assert settled.skipped == [order.order_id]


def test_the_witness_of_another_order_skips(world: World, order: Capture) -> None:
    other = world.captured(1_000, rule=PAIR)
    witness = world.twin.witness(other.order_id, opened=False)
    assert_skipped_and_later_settled(world, world.authorize(world.release(order.order_id)), [witness], [0])


def test_a_witness_from_before_the_last_record_skips(world: World, order: Capture) -> None:
    stale = world.twin.witness(order.order_id, opened=True)
    world.did(world.split(order.order_id, 10))
    assert_skipped_and_later_settled(world, world.authorize(world.release(order.order_id)), [stale])


FALSE_CAPTURES: dict[str, Callable[[Capture], Capture]] = {
    "amount": lambda c: replace(c, amount=c.amount + 1),
    "platform": lambda c: replace(c, platform=PROMOTER.id),
    "merchant": lambda c: replace(c, merchant=PROMOTER.id),
    "rule": lambda c: replace(c, rule_id=ident("other")),
    "rule version": lambda c: replace(c, rule_version=2),
    "currency": lambda c: replace(c, currency="USD"),
    "bindings": lambda c: replace(c, bindings=c.bindings[::-1]),
}


@pytest.mark.parametrize("falsify", FALSE_CAPTURES.values(), ids=FALSE_CAPTURES)
def test_a_witness_skips_with_another(
    world: World, order: Capture, falsify: Callable[[Capture], Capture]
) -> None:
    honest = world.twin.witness(order.order_id, opened=False)
    witness = replace(honest, capture=falsify(order))
    assert_skipped_and_later_settled(world, world.authorize(world.release(order.order_id)), [witness])


@pytest.mark.parametrize(
    "head", [bytes(32), ident("another head"), b"\xff" * 32], ids=["none", "other", "ones"]
)
def test_a_witness_skips_with_a_head_of(world: World, order: Capture, head: bytes) -> None:
    witness = replace(world.twin.witness(order.order_id, opened=False), head=head)
    assert_skipped_and_later_settled(world, world.authorize(world.release(order.order_id)), [witness])


def test_every_instruction_needs_its_witness_or_none_is_looked_at(world: World, order: Capture) -> None:
    other = world.captured(100, rule=PAIR)
    authorization = world.authorize(world.release(order.order_id), world.release(other.order_id))
    settled = world.settle(authorization, witnesses=[world.twin.witness(order.order_id, opened=False)])
    assert settled.skipped == [other.order_id]
    assert len(settled.events) == 1
    assert len(world.settle(authorization).all(OrderReleased)) == 2


def test_a_skipped_neighbour_stops_nobody(world: World, order: Capture) -> None:
    other, capture = world.captured(100, rule=PAIR), world.capture(50)
    skipped = world.authorize(world.release(order.order_id))
    settled = world.settle(
        world.attest(capture),
        skipped,
        world.authorize(world.release(other.order_id)),
        witnesses=[world.twin.witness(other.order_id, opened=False)],
    )
    assert settled.skipped == [order.order_id]
    assert settled.only(OrderReleased).order_id == other.order_id
    assert settled.only(OrderCaptured).order_id == capture.order_id


# ------------------------------------------------------------------------------ opened pasts


HIDING: dict[str, Callable[[Past], Past]] = {
    "nothing opened": lambda _: (),
    "the last record hidden": lambda past: past[:-1],
    "the first record hidden": lambda past: past[1:],
    "the return hidden": lambda past: tuple(r for r in past if r.kind is not RecordKind.RETURN),
    "a record twice": lambda past: (*past, past[-1]),
    "records in another order": lambda past: (past[1], past[0], *past[2:]),
    "a larger split": lambda past: (replace(past[0], amount=past[0].amount + 1), *past[1:]),
    "another split id": lambda past: (replace(past[0], id=ident("other")), *past[1:]),
    "a smaller return": lambda past: (*past[:2], replace(past[2], amount=1)),
    "a return of another split": lambda past: (*past[:2], replace(past[2], split_id=past[1].id)),
    "richer leaves": lambda past: (
        replace(past[0], allocations=(Allocation(PROMOTER.id, 200), Allocation(MERCHANT.id, 0))),
        *past[1:],
    ),
    "other recipients": lambda past: (
        replace(past[0], allocations=past[0].allocations[::-1]),
        *past[1:],
    ),
    "fewer leaves": lambda past: (replace(past[0], allocations=past[0].allocations[:1]), *past[1:]),
    "a release made up": lambda past: (*past, PastRecord(RecordKind.RELEASE, ident("r"), 1)),
    "a split called a capture": lambda past: (replace(past[0], kind=RecordKind.CAPTURE), *past[1:]),
    "a split called a rejection": lambda past: (replace(past[0], kind=RecordKind.REJECTION), *past[1:]),
}


@pytest.mark.parametrize("hide", HIDING.values(), ids=HIDING)
def test_a_return_is_skipped_by_a_past_with(
    world: World, order: Capture, hide: Callable[[Past], Past]
) -> None:
    past = past_of(world, order)
    honest = world.twin.witness(order.order_id, opened=True)
    authorization = world.authorize(world.give_back(order.order_id, past[0].id, 100))
    assert_skipped_and_later_settled(world, authorization, [replace(honest, past=hide(past))])


def test_what_a_record_does_not_commit_to_cannot_lead_a_return_astray(world: World, order: Capture) -> None:
    world.did(world.release(order.order_id))
    first, *others, release = past_of(world, order)
    dressed = (
        replace(first, split_id=others[0].id),
        *others,
        replace(release, split_id=first.id, allocations=(Allocation(PROMOTER.id, 5),) * 3),
    )
    honest = world.twin.witness(order.order_id, opened=True)
    settled = world.settle(
        world.authorize(world.give_back(order.order_id, first.id, 150)),
        witnesses=[replace(honest, past=dressed)],
    )
    assert [a.amount for a in settled.only(SplitReturned).allocations] == [75, 75]


def test_only_a_return_needs_the_past_opened(world: World, order: Capture) -> None:
    nonsense = (PastRecord(RecordKind.SPLIT, ident("nonsense"), 2**96 - 1),)
    witness = replace(world.twin.witness(order.order_id, opened=False), past=nonsense)
    settled = world.settle(
        world.authorize(world.split(order.order_id, 10), world.release(order.order_id)), witnesses=[witness]
    )
    assert (len(settled.all(OrderSplit)), len(settled.all(OrderReleased))) == (1, 1)


def test_a_return_in_a_later_authorization_of_the_transaction_waits_for_a_fresh_witness(
    world: World, order: Capture
) -> None:
    first = past_of(world, order)[0].id
    returning = world.authorize(world.give_back(order.order_id, first, 100))
    settled = world.settle(world.authorize(world.split(order.order_id, 10)), returning)
    assert settled.skipped == [order.order_id]
    assert len(settled.all(OrderSplit)) == 1
    assert world.settle(returning).only(SplitReturned).amount == 100


def test_a_return_in_a_later_authorization_settles_when_the_one_before_was_rejected(
    world: World, order: Capture
) -> None:
    first = past_of(world, order)[0].id
    settled = world.settle(
        world.authorize(world.split(order.order_id, 2_000)),
        world.authorize(world.give_back(order.order_id, first, 100)),
    )
    assert len(settled.reasons) == 1
    assert settled.only(SplitReturned).amount == 100


def test_a_later_authorization_follows_what_an_earlier_one_did(world: World, order: Capture) -> None:
    settled = world.settle(
        world.authorize(world.split(order.order_id, 10)),
        world.authorize(world.split(order.order_id, 20), world.release(order.order_id)),
    )
    assert [split.amount for split in settled.all(OrderSplit)] == [10, 20]
    assert settled.only(OrderReleased).amount == 520


def test_a_split_of_an_order_captured_here_is_returned_from_in_a_later_transaction(world: World) -> None:
    capture = world.capture(100, rule=PAIR)
    split = world.split(capture.order_id, 100)
    returning = world.authorize(world.give_back(capture.order_id, split.id, 100))
    settled = world.settle(world.attest(capture), world.authorize(split), returning)
    assert settled.skipped == [capture.order_id]
    assert world.settle(returning).only(SplitReturned).amount == 100


# ------------------------------------------------------------------------------ unknown orders


def test_an_unknown_order_needs_no_witness_and_cannot_have_one(world: World, order: Capture) -> None:
    unknown = replace(order, order_id=ident("unknown"))
    made_up = OrderWitness(unknown, bytes(32), ())
    for witnesses, index in (
        ([], [UNKNOWN_ORDER_INDEX]),
        ([], [0]),
        ([made_up], [0]),
        ([made_up], [UNKNOWN_ORDER_INDEX]),
        ([made_up], [1]),
    ):
        settled = world.settle(
            world.authorize(world.release(unknown.order_id)), witnesses=witnesses, order_index=index
        )
        assert settled.reasons == [UnknownOrder(unknown.order_id)]


def test_an_unknown_order_under_the_witness_of_a_known_one_skips(world: World, order: Capture) -> None:
    witness = world.twin.witness(order.order_id, opened=False)
    settled = world.settle(
        world.authorize(world.release(ident("unknown"))), witnesses=[witness], order_index=[0]
    )
    assert settled.skipped == [ident("unknown")]


def test_a_capture_that_was_rejected_here_gives_no_hold_on_the_order(world: World, order: Capture) -> None:
    settled = world.settle(
        world.attest(order),
        world.authorize(world.release(order.order_id)),
        order_index=[0],
    )
    assert settled.reasons == [OrderAlreadyCaptured(order.order_id)]
    assert settled.skipped == [order.order_id]
    refused = world.capture(0)
    settled = world.settle(world.attest(refused), world.authorize(world.release(refused.order_id)))
    assert settled.reasons[1:] == [UnknownOrder(refused.order_id)]


def test_a_capture_whose_attestation_was_refused_leaves_the_order_unknown(world: World) -> None:
    capture = world.capture()
    settled = world.settle(
        world.attest(capture, deadline=0), world.authorize(world.release(capture.order_id))
    )
    assert settled.reasons == [UnknownOrder(capture.order_id)]


# ------------------------------------------------------------------------------ the transaction as a whole


def test_two_witnesses_of_one_order_revert_as_soon_as_they_disagree(world: World, order: Capture) -> None:
    witness = world.twin.witness(order.order_id, opened=True)
    authorization = world.authorize(world.split(order.order_id, 10), world.release(order.order_id), nonce=4)
    error = world.reverted(authorization, witnesses=[witness, witness], order_index=[0, 1])
    assert reason_of(error) == ("SplitLedger_OrderChanged", {"orderId": order.order_id})
    assert not world.nonce_used(MALL.id, 4)
    assert len(world.settle(authorization).all(OrderReleased)) == 1


def test_a_witness_of_an_order_captured_here_reverts_once_the_order_has_moved_on(world: World) -> None:
    capture = world.capture(100, rule=PAIR)
    signed = (
        world.attest(capture),
        world.authorize(world.split(capture.order_id, 10)),
        world.authorize(world.release(capture.order_id)),
    )
    witness = OrderWitness(capture, bytes(32), ())
    error = world.reverted(*signed, witnesses=[witness], order_index=[0, 1])
    assert reason_of(error) == ("SplitLedger_OrderChanged", {"orderId": capture.order_id})
    assert world.settle(*signed).only(OrderReleased).amount == 90


def test_two_witnesses_of_one_order_do_no_harm_when_one_is_used(world: World, order: Capture) -> None:
    witness = world.twin.witness(order.order_id, opened=True)
    settled = world.settle(
        world.authorize(world.split(order.order_id, 10), world.release(order.order_id)),
        witnesses=[witness, witness],
        order_index=[1, 1],
    )
    assert len(settled.all(OrderReleased)) == 1


@pytest.mark.parametrize("entries", [0, 1, 3])
def test_there_is_one_index_entry_per_instruction_over_all_authorizations(
    world: World, order: Capture, entries: int
) -> None:
    error = world.reverted(
        world.authorize(world.split(order.order_id, 10)),
        world.authorize(world.release(order.order_id)),
        order_index=[0] * entries,
    )
    assert reason_of(error) == ("SplitLedger_IndexCount", {"length": 2 * entries, "expected": 4})


def test_an_index_of_an_odd_length_reverts(world: World) -> None:
    data = encode_settle([], [], [], [0])
    assert data.startswith(SETTLE_SELECTOR)
    at = data.rindex((2).to_bytes(32, "big"))
    odd = data[:at] + (1).to_bytes(32, "big") + data[at + 32 :]
    error = world.node.transact(SUBMITTER.address, world.system.deployment.split_ledger, odd).error
    assert error is not None
    assert reason_of(error) == ("SplitLedger_IndexCount", {"length": 1, "expected": 0})
