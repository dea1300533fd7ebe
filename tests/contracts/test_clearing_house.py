"""Cycles: who may close them, what payouts take from positions, and what follows on what the bank reports.

Every transaction is held against the specification (fenzhang.domain.cycles) by support.clearing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fenzhang.chain import clearing
from fenzhang.chain.abi import role_bytes
from fenzhang.chain.events import (
    BatchSealed,
    CycleClosed,
    OutcomePassedOver,
    PayoutFailed,
    PayoutPaid,
    PayoutRefused,
    PayoutReturned,
    PayoutTaken,
)
from fenzhang.chain.evidence import merkle_root
from fenzhang.chain.keccak import keccak
from fenzhang.chain.reverts import decode_revert
from fenzhang.chain.views import CLEARING_BANK_ROLE
from fenzhang.domain.clearing import IN_TRANSIT, PAID, Cycle, OutcomeKind, Payout, PayoutState
from fenzhang.domain.errors import (
    FenzhangError,
    InsufficientPosition,
    ParticipantFrozen,
    RecipientNotActive,
)
from fenzhang.domain.suspense import suspense_id
from support.clearing import BANK_CODE, Desk, Take
from support.parties import COURIER, MALL, MERCHANT, PAIR, PROMOTER, Party, ident
from support.system import ADMIN, BANK, CLEARING_BANK, OUTSIDER, REGISTRAR
from support.world import World

STATES = {
    PayoutState.NONE: (),
    PayoutState.IN_TRANSIT: (None,),
    PayoutState.PAID: (None, OutcomeKind.PAID),
    PayoutState.ENDED: (None, OutcomeKind.FAILED),
}
"""What brings a payout into each state: None is a take."""
FOLLOWS = {
    (PayoutState.IN_TRANSIT, OutcomeKind.PAID): PayoutState.PAID,
    (PayoutState.IN_TRANSIT, OutcomeKind.FAILED): PayoutState.ENDED,
    (PayoutState.PAID, OutcomeKind.RETURNED): PayoutState.ENDED,
}
"""All that can follow on a report."""


@pytest.fixture
def desk(world: World) -> Desk:
    """A market where the merchant has 900 and the promoter 100 coming to them."""
    earn(world, 1_000)
    return Desk(world)


def earn(world: World, amount: int) -> None:
    """An order that gives a tenth to the promoter, and the rest to the merchant."""
    capture = world.captured(amount, rule=PAIR, bindings=(PROMOTER.id, MERCHANT.id))
    world.did(world.split(capture.order_id, amount // 5))
    world.did(world.release(capture.order_id))


def sums(world: World) -> tuple[tuple[Party, int], tuple[Party, int]]:
    """What is payable to both of them."""
    return (MERCHANT, world.position(MERCHANT)), (PROMOTER, world.position(PROMOTER))


def states(desk: Desk, cycle_id: bytes) -> list[PayoutState]:
    indices = range(len(desk.payouts[cycle_id]))
    found = desk.world.system.call("ClearingHouse", "payoutStates", cycle_id, list(indices))
    return [PayoutState(state) for state in found]


def name_of(error: object) -> str | None:
    assert isinstance(error, FenzhangError), error
    return error.contract_error


# ------------------------------------------------------------------------------ closing


def test_a_cycle_is_closed_by_anybody_with_the_banks_signature(desk: Desk) -> None:
    cycle, payouts = desk.cycle(*sums(desk.world))
    settled = desk.attempt_close(desk.signed(cycle))
    assert not isinstance(settled, FenzhangError)
    told = settled.only(CycleClosed)
    number = clearing.cycle_id("CNY", "standard", 1)
    assert (told.cycle_id, told.cycle, told.bank) == (number, cycle, CLEARING_BANK.address)
    [sealed] = settled.all(BatchSealed)
    assert (sealed.root, sealed.records) == (clearing.cycle_leaf(told), 1)
    kept = (cycle.payout_root, 1_000, 0, b"CNY", 1, 2)
    assert desk.world.system.call("ClearingHouse", "cycleOf", number) == kept
    assert desk.world.system.call("ClearingHouse", "lastCycle", b"CNY", role_bytes("standard")) == (
        1,
        cycle.to_block,
    )
    assert cycle.payout_root == merkle_root([clearing.payout_id(number, payout) for payout in payouts])


def test_a_cycle_that_pays_nothing_closes_and_anchors(desk: Desk) -> None:
    number = desk.close()
    assert desk.world.system.call("ClearingHouse", "cycleOf", number) == (bytes(32), 0, 0, b"CNY", 1, 0)
    assert name_of(desk.attempt_take(taking(number))) == "ClearingHouse_IndexOutOfRange"


def taking(cycle_id: bytes) -> Take:
    """A `take` of one payout of the merchant that nobody signed."""
    return Take(cycle_id, (Payout(0, MERCHANT.id, 1),), ((),))


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("DeadlinePassed", {"deadline": 1}),
        ("WrongNumber", {"number": 1}),
        ("WrongNumber", {"number": 3}),
        ("WrongNumber", {"number": 0}),
        ("BlockNotAbove", {"to_block": 0}),
        ("BlockBefore", {"at_block": -1}),
        ("BlockNotPast", {"at_block": 1}),
        ("InconsistentPayouts", {"payouts": 0}),
        ("InconsistentPayouts", {"total": 0}),
        ("InconsistentPayouts", {"payout_root": bytes(32)}),
        ("InconsistentPayouts", {"payouts": 0, "total": 0}),
        ("InconsistentPayouts", {"payouts": 0, "payout_root": bytes(32)}),
    ],
)
def test_a_cycle_that_does_not_follow_on_the_last_is_refused(
    desk: Desk, name: str, other: dict[str, Any]
) -> None:
    desk.close()
    last = desk.world.twin.world.last_cycles["CNY", "standard"]
    cycle, _ = desk.cycle(*sums(desk.world))
    if "to_block" in other:
        other = {"to_block": last.to_block}
    if "at_block" in other:
        other = {"at_block": cycle.at_block + other["at_block"]}
    assert name_of(desk.attempt_close(desk.signed(replace(cycle, **other)))) == f"ClearingHouse_{name}"
    assert not isinstance(desk.attempt_close(desk.signed(cycle)), FenzhangError)


def test_schemes_and_currencies_are_numbered_for_themselves(desk: Desk) -> None:
    desk.close()
    for scheme, currency in (("late", "CNY"), ("standard", "USD")):
        other = Desk(desk.world, scheme, currency)
        assert other.close() == clearing.cycle_id(currency, scheme, 1)
    assert desk.close() == clearing.cycle_id("CNY", "standard", 2)


@pytest.mark.parametrize("key", [BANK, OUTSIDER, ADMIN], ids=["attestor", "outsider", "admin"])
def test_only_a_clearing_bank_closes(desk: Desk, key: Any) -> None:
    cycle, _ = desk.cycle(*sums(desk.world))
    assert name_of(desk.attempt_close(desk.signed(cycle, key))) == "ClearingHouse_NotClearingBank"
    forged = desk.signed(cycle, key, bank=CLEARING_BANK.address)
    assert name_of(desk.attempt_close(forged)) == "ClearingHouse_InvalidSignature"


def test_a_bank_that_lost_its_role_closes_and_reports_no_more(desk: Desk) -> None:
    number = desk.close(*sums(desk.world))
    desk.take(number)
    desk.world.act(ADMIN, "AccessManager", "revokeRole", CLEARING_BANK_ROLE, CLEARING_BANK.address)
    cycle, _ = desk.cycle()
    assert name_of(desk.attempt_close(desk.signed(cycle))) == "ClearingHouse_NotClearingBank"
    call = desk.report_call(number, (0, OutcomeKind.PAID))
    assert name_of(desk.attempt_report(call)) == "ClearingHouse_NotClearingBank"


@pytest.mark.parametrize(
    "change",
    [
        {"total": 999},
        {"scheme": "late"},
        {"currency": "USD"},
        {"bill_root": b"\x01" * 32},
        {"journal_head": b"\x01" * 32},
        {"deadline": 2**41},
    ],
)
def test_what_was_signed_cannot_be_changed(desk: Desk, change: dict[str, Any]) -> None:
    cycle, _ = desk.cycle(*sums(desk.world))
    call = desk.signed(cycle)
    changed = replace(call, cycle=replace(cycle, **change))
    assert name_of(desk.attempt_close(changed)) == "ClearingHouse_InvalidSignature"


def test_a_closing_is_not_relayed_twice(desk: Desk) -> None:
    cycle, _ = desk.cycle(*sums(desk.world))
    call = desk.signed(cycle)
    assert not isinstance(desk.attempt_close(call), FenzhangError)
    assert name_of(desk.attempt_close(call)) == "ClearingHouse_WrongNumber"


# ------------------------------------------------------------------------------ taking


def test_payouts_leave_the_positions_in_chunks_and_once(desk: Desk) -> None:
    world = desk.world
    number = desk.close(*sums(world))
    settled = desk.take(number, 1)
    taken = settled.only(PayoutTaken)
    assert (taken.index, taken.participant, taken.amount) == (1, PROMOTER.id, 100)
    assert states(desk, number) == [PayoutState.NONE, PayoutState.IN_TRANSIT]
    assert (world.position(MERCHANT), world.position(PROMOTER), desk.moving()) == (900, 0, (100, 0))
    assert len(desk.take(number).all(PayoutTaken)) == 1
    assert (world.position(MERCHANT), world.position(PROMOTER), desk.moving()) == (0, 0, (1_000, 0))
    again = desk.take(number)
    assert again.events == []
    assert desk.moving() == (1_000, 0)


def test_a_payout_that_cannot_be_taken_is_refused_for_good_and_its_neighbours_are_taken(desk: Desk) -> None:
    world = desk.world
    earn(world, 2_000)
    unknown, waiting = ident("nobody"), suspense_id(MERCHANT.id)
    number = desk.close(
        (MERCHANT, 100),
        (PROMOTER, 301),
        (COURIER, 1),
        (unknown, 1),
        (waiting, 1),
        (IN_TRANSIT, 1),
        (PROMOTER, 300),
    )
    settled = desk.take(number)
    assert [event.index for event in settled.all(PayoutTaken)] == [0, 6]
    assert [decode_revert(event.reason) for event in settled.all(PayoutRefused)] == [
        InsufficientPosition(PROMOTER.id, 301, 300),
        InsufficientPosition(COURIER.id, 1, 0),
        RecipientNotActive(unknown),
        RecipientNotActive(waiting),
        RecipientNotActive(IN_TRANSIT),
    ]
    earn(world, 100_000)
    assert desk.take(number).events == []
    assert states(desk, number)[1] is PayoutState.ENDED


def test_who_is_frozen_or_suspended_is_refused_and_who_is_closed_is_paid(desk: Desk) -> None:
    world = desk.world
    number = desk.close((MERCHANT, 10), (PROMOTER, 10))
    world.freeze(MERCHANT)
    world.register("suspend", PROMOTER.id)
    settled = desk.take(number)
    reasons = [decode_revert(event.reason) for event in settled.all(PayoutRefused)]
    assert reasons == [ParticipantFrozen(MERCHANT.id), RecipientNotActive(PROMOTER.id)]
    world.unfreeze(MERCHANT)
    world.register("close", PROMOTER.id)
    assert len(desk.take(desk.close((MERCHANT, 10), (PROMOTER, 10))).all(PayoutTaken)) == 2


def test_a_participant_named_twice_gives_no_more_than_it_has(desk: Desk) -> None:
    number = desk.close((MERCHANT, 500), (PROMOTER, 100), (MERCHANT, 400), (MERCHANT, 1), (PROMOTER, 1))
    settled = desk.take(number)
    assert [event.index for event in settled.all(PayoutRefused)] == [3, 4]
    assert decode_revert(settled.all(PayoutRefused)[0].reason) == InsufficientPosition(MERCHANT.id, 1, 0)
    assert desk.moving() == (1_000, 0)


def test_the_total_is_a_limit_whatever_the_tree_says(desk: Desk) -> None:
    number = desk.close(*sums(desk.world), total=999)
    assert name_of(desk.attempt_take(desk.take_call(number))) == "ClearingHouse_AboveTotal"
    assert desk.moving() == (0, 0)
    desk.take(number, 0)
    assert name_of(desk.attempt_take(desk.take_call(number, 1))) == "ClearingHouse_AboveTotal"
    assert desk.moving() == (900, 0)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("InvalidProof", {"amount": 899}),
        ("InvalidProof", {"participant": COURIER.id}),
        ("InvalidProof", {"index": 1}),
        ("IndexOutOfRange", {"index": 2}),
        ("IndexOutOfRange", {"index": 2**32 - 1}),
    ],
)
def test_a_payout_that_the_bank_did_not_sign_is_not_taken(
    desk: Desk, name: str, change: dict[str, Any]
) -> None:
    number = desk.close(*sums(desk.world))
    call = desk.take_call(number)
    forged = replace(call, payouts=(replace(call.payouts[0], **change), call.payouts[1]))
    assert name_of(desk.attempt_take(forged)) == f"ClearingHouse_{name}"
    swapped = replace(call, proofs=(*call.proofs[1:], ()))
    assert name_of(desk.attempt_take(swapped)) == "ClearingHouse_InvalidProof"
    assert desk.moving() == (0, 0)


def test_lists_of_different_lengths_and_unknown_cycles_are_refused(desk: Desk) -> None:
    number = desk.close(*sums(desk.world))
    call = desk.take_call(number)
    refused = desk.world.refused
    payouts = [(payout.index, payout.participant, payout.amount) for payout in call.payouts]
    error = refused(OUTSIDER, "ClearingHouse", "take", number, payouts, call.proofs[:1])
    assert (error.contract_error, error.values) == (
        "ClearingHouse_CountMismatch",
        {"count": 1, "expected": 2},
    )
    told = [(clearing.payout_id(number, payout), 0, bytes(32)) for payout in call.payouts]
    for lists in ((told[:1], payouts, call.proofs), (told, payouts, call.proofs[:1])):
        error = refused(OUTSIDER, "ClearingHouse", "report", number, *lists, CLEARING_BANK.address, b"")
        assert error.contract_error == "ClearingHouse_CountMismatch"
    nowhere = clearing.cycle_id("CNY", "standard", 9)
    assert name_of(desk.attempt_take(taking(nowhere))) == "ClearingHouse_UnknownCycle"
    report = replace(desk.report_call(number, (0, OutcomeKind.PAID)), cycle_id=nowhere)
    assert name_of(desk.attempt_report(report)) == "ClearingHouse_UnknownCycle"


# ------------------------------------------------------------------------------ reporting


@pytest.mark.parametrize("state", list(STATES))
@pytest.mark.parametrize("kind", list(OutcomeKind))
def test_an_outcome_follows_from_the_state_or_is_passed_over(
    desk: Desk, state: PayoutState, kind: OutcomeKind
) -> None:
    world = desk.world
    number = desk.close(*sums(world))
    for step in STATES[state]:
        if step is None:
            desk.take(number)
        else:
            desk.report(number, (0, step))
    before = (world.position(MERCHANT), *desk.moving())
    settled = desk.report(number, (0, kind))
    follows = FOLLOWS.get((state, kind))
    assert states(desk, number)[0] is (state if follows is None else follows)
    if follows is None:
        told = settled.only(OutcomePassedOver)
        assert (told.kind, told.state, len(settled.events)) == (kind, state, 1)
        assert (world.position(MERCHANT), *desk.moving()) == before
        return
    kinds = {
        OutcomeKind.PAID: (PayoutPaid, (0, 100, 900)),
        OutcomeKind.FAILED: (PayoutFailed, (900, 100, 0)),
        OutcomeKind.RETURNED: (PayoutReturned, (900, 100, 0)),
    }
    event, after = kinds[kind]
    told = settled.only(event)
    assert (told.participant, told.amount) == (MERCHANT.id, 900)
    assert getattr(told, "reason", "") == ("" if kind is OutcomeKind.PAID else BANK_CODE)
    assert (world.position(MERCHANT), *desk.moving()) == after


def test_a_report_that_is_relayed_again_changes_nothing(desk: Desk) -> None:
    number = desk.close(*sums(desk.world))
    desk.take(number)
    calls = [
        desk.report_call(number, (0, OutcomeKind.PAID), (1, OutcomeKind.FAILED)),
        desk.report_call(number, (0, OutcomeKind.RETURNED)),
    ]
    for call in calls:
        assert not isinstance(desk.attempt_report(call), FenzhangError)
    before = (desk.world.position(MERCHANT), desk.world.position(PROMOTER), desk.moving())
    for call in calls:
        settled = desk.attempt_report(call)
        assert not isinstance(settled, FenzhangError)
        assert settled.events == settled.all(OutcomePassedOver) != []
    assert (desk.world.position(MERCHANT), desk.world.position(PROMOTER), desk.moving()) == before


def test_one_report_may_tell_a_payouts_whole_story(desk: Desk) -> None:
    number = desk.close(*sums(desk.world))
    desk.take(number)
    kinds = (OutcomeKind.PAID, OutcomeKind.RETURNED, OutcomeKind.PAID)
    settled = desk.report(number, *((0, kind) for kind in kinds))
    assert [type(event) for event in settled.events] == [
        PayoutPaid,
        PayoutReturned,
        OutcomePassedOver,
        BatchSealed,
    ]
    assert desk.moving() == (100, 0)


def test_a_returned_payout_is_carried_forward_by_a_later_cycle(desk: Desk) -> None:
    first = desk.close((MERCHANT, 900))
    desk.take(first)
    desk.report(first, (0, OutcomeKind.PAID))
    desk.report(first, (0, OutcomeKind.RETURNED))
    second = desk.close((MERCHANT, 900))
    desk.take(second)
    desk.report(second, (0, OutcomeKind.PAID))
    assert (desk.world.position(MERCHANT), desk.moving()) == (0, (0, 900))


def test_only_what_the_bank_signed_is_followed(desk: Desk) -> None:
    number = desk.close(*sums(desk.world))
    desk.take(number)
    call = desk.report_call(number, (0, OutcomeKind.PAID))
    other = desk.report_call(number, (1, OutcomeKind.PAID))
    failed = desk.report_call(number, (0, OutcomeKind.FAILED))
    refusals = {
        "NotClearingBank": desk.report_call(number, (0, OutcomeKind.PAID), key=BANK),
        "InvalidSignature": replace(failed, signature=call.signature),
        "OtherPayout": replace(call, payouts=other.payouts, proofs=other.proofs),
        "InvalidProof": replace(call, proofs=((),)),
        "IndexOutOfRange": replace(call, payouts=(replace(call.payouts[0], index=2),)),
    }
    for name, forged in refusals.items():
        assert name_of(desk.attempt_report(forged)) == f"ClearingHouse_{name}"
    assert states(desk, number) == [PayoutState.IN_TRANSIT, PayoutState.IN_TRANSIT]


# ------------------------------------------------------------------------------ positions that nobody has


def test_nobody_can_be_enrolled_by_the_ids_of_money_that_leaves(world: World) -> None:
    assert keccak(b"fenzhang in transit") == IN_TRANSIT
    assert keccak(b"fenzhang paid") == PAID
    for number in (IN_TRANSIT, PAID, suspense_id(IN_TRANSIT), suspense_id(PAID)):
        for function, *arguments in (("enroll", OUTSIDER.address), ("enrollRecipient", MALL.id)):
            error = world.refused(REGISTRAR, "ParticipantRegistry", function, number, *arguments)
            assert error.contract_error == "ParticipantRegistry_ReservedId"


def test_nobody_but_the_clearing_house_books(world: World) -> None:
    for sender in (ADMIN, CLEARING_BANK, OUTSIDER):
        error = world.refused(sender, "SplitLedger", "book", b"CNY", [], b"\x01" * 32, 1)
        assert error.contract_error == "AccessManagedUnauthorized"


def test_a_booking_never_makes_a_debt(world: World) -> None:
    house = world.system.deployment.clearing_house
    world.node.impersonate(house)
    movements = [(MERCHANT.id, COURIER.id, 1)]
    error = world.refused(house, "SplitLedger", "book", b"CNY", movements, b"\x01" * 32, 1)
    assert error == InsufficientPosition(MERCHANT.id, 1, 0)


# ------------------------------------------------------------------------------ any tree


@settings(max_examples=25, deadline=None)
@given(count=st.integers(1, 300), data=st.data())
def test_every_payout_of_any_tree_is_proven_by_its_path_alone(count: int, data: st.DataObject) -> None:
    number = clearing.cycle_id("CNY", "standard", 1)
    payouts = [Payout(index, ident("payee", index), index + 1) for index in range(count)]
    root = clearing.payout_root(number, payouts)
    index = data.draw(st.integers(0, count - 1))
    proof = clearing.payout_proof(number, payouts, index)
    node = clearing.payout_id(number, payouts[index])
    for sibling in proof:
        node = keccak(min(node, sibling) + max(node, sibling))
    assert node == root


def test_states_of_many_payouts_stand_in_words_of_128(world: World) -> None:
    earn(world, 100_000)
    desk = Desk(world)
    number = desk.close(*((MERCHANT, amount) for amount in range(1, 131)))
    desk.take(number, 0, 127, 128, 129)
    desk.report(number, (127, OutcomeKind.PAID), (128, OutcomeKind.FAILED))
    found = states(desk, number)
    assert {index: state for index, state in enumerate(found) if state is not PayoutState.NONE} == {
        0: PayoutState.IN_TRANSIT,
        127: PayoutState.PAID,
        128: PayoutState.ENDED,
        129: PayoutState.IN_TRANSIT,
    }


def test_a_cycle_survives_the_way_through_calldata_and_events(desk: Desk) -> None:
    cycle, _ = desk.cycle(*sums(desk.world))
    assert isinstance(cycle, Cycle)
    call = desk.signed(cycle)
    assert (
        clearing.decode_close_cycle(clearing.close_cycle_call(call.cycle, call.bank, call.signature)) == call
    )
    number = desk.close(*sums(desk.world))
    take = desk.take_call(number)
    sent = clearing.decode_take(clearing.take_call(number, take.payouts, take.proofs))
    assert (sent.cycle_id, sent.payouts) == (number, take.payouts)
    assert [sent.path(place) for place in range(2)] == list(take.proofs)
    report = desk.report_call(number, (0, OutcomeKind.FAILED), (1, OutcomeKind.PAID))
    written = clearing.report_call(
        number, report.outcomes, report.payouts, report.proofs, report.bank, report.signature
    )
    assert clearing.decode_report(written) == report
