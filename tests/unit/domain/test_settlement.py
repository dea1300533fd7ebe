"""The decisions of SplitLedger: what settles, and which of several reasons is the one that is told.

The contracts are held to the same decisions in tests/unit/chain/test_model.py and tests/contracts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from fenzhang.domain.allocation import Allocation
from fenzhang.domain.errors import (
    AmountAboveLimit,
    BindingCount,
    CurrencyNotEnabled,
    DeadlinePassed,
    GivenCount,
    GivenOutOfBounds,
    InsufficientHeld,
    InsufficientPosition,
    InsufficientRefundable,
    InsufficientReturnable,
    InvalidSignature,
    LeafNotReturnable,
    LegExceedsRemaining,
    MalformedInstruction,
    NonceUsed,
    NotAttestor,
    NothingHeld,
    NotOrderPlatform,
    OrderAlreadyCaptured,
    PlatformNotActive,
    RecipientNotActive,
    RecipientNotConsented,
    Rejection,
    ReturnNotFirst,
    RoleAlreadyBound,
    RoleNotBound,
    RuleNotInForce,
    UnknownOrder,
    UnknownSplit,
    ZeroAmount,
)
from fenzhang.domain.money import MAX_AMOUNT
from fenzhang.domain.past import returnable
from fenzhang.domain.records import (
    Attestation,
    Authorization,
    Capture,
    Instruction,
    InstructionKind,
    ParticipantStatus,
    PastRecord,
    RecordKind,
    RuleState,
)
from fenzhang.domain.rules import Leg, LegKind
from fenzhang.domain.settlement import (
    Decision,
    Outcome,
    attestor_signer,
    decide_capture,
    settle_attestation,
    settle_authorization,
)
from fenzhang.domain.world import Participant, Rule, Version, World

MALL, SHOP, RIDER, FRIEND, OTHER_MALL, CLOSED, STRANGER = (
    name.encode().ljust(32, b".")
    for name in ("mall", "shop", "rider", "friend", "other", "closed", "stranger")
)
RULE, ORDER, SPLIT, RETURN, REFUND = (
    name.encode().ljust(32, b"-") for name in ("rule", "order", "split", "return", "refund")
)
BANK = b"bank".ljust(20, b".")
AUTHORITY = b"key".ljust(20, b".")
NOBODY = bytes(32)
NOW = 1_000
LEGS = (
    Leg(-1, LegKind.FIXED, 30, role="rider"),
    Leg(-1, LegKind.SHARE, 1_000, role="friend"),
    Leg(-1, LegKind.REMAINDER, role="shop"),
)
CAPTURE = Capture(ORDER, MALL, SHOP, RULE, 1, "CNY", 1_000, (RIDER, NOBODY, SHOP))
TO_FRIEND = (NOBODY, FRIEND, NOBODY)


@pytest.fixture
def world() -> World:
    found = World(attestors={BANK}, currencies={"CNY"})
    for platform in (MALL, OTHER_MALL):
        found.participants[platform] = Participant(authority=AUTHORITY)
    for recipient in (SHOP, RIDER, FRIEND):
        found.participants[recipient] = Participant()
        found.consents.add((recipient, MALL))
    found.participants[CLOSED] = Participant(ParticipantStatus.CLOSED)
    found.rules[MALL, RULE] = Rule({1: Version(LEGS, 0, approved=True)})
    return found


@pytest.fixture
def captured(world: World) -> World:
    assert attest(world, CAPTURE) == [Outcome(RecordKind.CAPTURE, 1_000)]
    return world


def attest(world: World, *captures: Capture, nonce: int = 0) -> list[Decision]:
    nonce = nonce or len(world.nonces) + 1
    return settle_attestation(world, Attestation(BANK, nonce, NOW, captures), NOW, signed=True)


def authorize(world: World, *instructions: Instruction, platform: bytes = MALL) -> list[Decision]:
    authorization = Authorization(platform, len(world.nonces) + 1, NOW, instructions)
    return settle_authorization(world, authorization, NOW, signed=True)


def split(amount: int, *, named: bytes = SPLIT, bindings: tuple[bytes, ...] = TO_FRIEND) -> Instruction:
    return Instruction(InstructionKind.SPLIT, named, ORDER, amount=amount, bindings=bindings)


def release() -> Instruction:
    return Instruction(InstructionKind.RELEASE, b"release".ljust(32), ORDER)


def give_back(amount: int, *amounts: int, of: bytes = SPLIT) -> Instruction:
    return Instruction(InstructionKind.RETURN, RETURN, ORDER, of, amount, (), amounts)


def refund(amount: int) -> Instruction:
    return Instruction(InstructionKind.REFUND, REFUND, ORDER, amount=amount)


def reason(decide: Callable[[], object]) -> Rejection:
    with pytest.raises(Rejection) as caught:
        decide()
    return caught.value


def conserved(world: World) -> bool:
    held = sum(order.held for order in world.orders.values())
    return (
        world.totals["CNY"].captured
        == world.totals["CNY"].held + world.totals["CNY"].refunded + sum(world.positions.values())
        and world.totals["CNY"].held == held
        and min(world.positions.values(), default=0) >= 0
    )


# ------------------------------------------------------------------------------ what settles


def test_a_split_pays_the_recipients_of_its_rule(captured: World) -> None:
    [outcome] = authorize(captured, split(400))
    allocations = (Allocation(RIDER, 30), Allocation(FRIEND, 40), Allocation(SHOP, 330))
    assert outcome == Outcome(RecordKind.SPLIT, 400, allocations)
    assert captured.positions == {("CNY", RIDER): 30, ("CNY", FRIEND): 40, ("CNY", SHOP): 330}
    order = captured.orders[ORDER]
    assert order.held == 600
    assert order.past == [PastRecord(RecordKind.SPLIT, SPLIT, 400, NOBODY, allocations)]
    assert conserved(captured)


def test_a_release_gives_the_rest_to_the_merchant_of_the_order(captured: World) -> None:
    assert authorize(captured, split(400), release())[1] == Outcome(RecordKind.RELEASE, 600)
    assert captured.positions["CNY", SHOP] == 930
    assert captured.orders[ORDER].held == 0
    assert conserved(captured)


def test_a_return_takes_back_in_proportion_and_the_money_is_held_again(captured: World) -> None:
    authorize(captured, split(400))
    [outcome] = authorize(captured, give_back(100))
    allocations = (Allocation(RIDER, 7), Allocation(FRIEND, 10), Allocation(SHOP, 83))
    assert outcome == Outcome(RecordKind.RETURN, 100, allocations)
    assert captured.orders[ORDER].held == 700
    assert captured.positions["CNY", SHOP] == 247
    assert conserved(captured)


def test_a_return_may_name_the_amount_per_leaf(captured: World) -> None:
    authorize(captured, split(400))
    [outcome] = authorize(captured, give_back(35, 30, 0, 5))
    assert isinstance(outcome, Outcome)
    assert [allocation.amount for allocation in outcome.allocations] == [30, 0, 5]
    assert conserved(captured)


def test_what_was_returned_is_split_again(captured: World) -> None:
    authorize(captured, split(1_000))
    again = authorize(captured, give_back(1_000), split(1_000, named=b"again".ljust(32)))
    assert [type(decision) for decision in again] == [Outcome, Outcome]
    assert captured.orders[ORDER].held == 0
    assert conserved(captured)


def test_a_refund_takes_what_is_held_and_then_from_all_that_was_given(captured: World) -> None:
    authorize(captured, split(400), split(500, named=b"again".ljust(32)))
    [outcome] = authorize(captured, refund(190))
    # 100 were held; 90 of the 900 that 30, 40, 330 and 30, 50, 420 are.
    amounts = (3, 4, 33, 3, 5, 42)
    who = (RIDER, FRIEND, SHOP) * 2
    takes = tuple(Allocation(each, amount) for each, amount in zip(who, amounts, strict=True))
    assert outcome == Outcome(RecordKind.REFUND, 190, takes)
    assert captured.orders[ORDER].held == 0
    assert captured.totals["CNY"].refunded == 190
    assert captured.positions["CNY", SHOP] == 675
    assert conserved(captured)


def test_a_release_is_refunded_like_a_leaf_of_the_merchant(captured: World) -> None:
    authorize(captured, split(400), release())
    [outcome] = authorize(captured, refund(1_000))
    assert isinstance(outcome, Outcome)
    assert [take.amount for take in outcome.allocations] == [30, 40, 330, 600]
    assert set(captured.positions.values()) == {0}
    assert conserved(captured)
    assert authorize(captured, refund(1)) == [InsufficientRefundable(ORDER, 1, 0)]


def test_a_refund_that_cannot_be_is_refused_with_the_first_reason(captured: World) -> None:
    authorize(captured, split(400))
    for bad in ({"split_id": SPLIT}, {"bindings": TO_FRIEND}, {"amounts": (1,)}):
        assert authorize(captured, replace(refund(0), **bad)) == [MalformedInstruction(REFUND)]
    decisions = authorize(captured, refund(0), refund(1_001), split(100), refund(0))
    assert decisions[:2] == [ZeroAmount(), InsufficientRefundable(ORDER, 1_001, 1_000)]
    assert decisions[3] == ReturnNotFirst(ORDER)
    captured.positions["CNY", SHOP] = 1
    assert authorize(captured, refund(1_000)) == [InsufficientPosition(SHOP, 330, 1)]
    assert captured.totals["CNY"].refunded == 0


def test_a_leaf_of_zero_is_recorded_and_moves_nothing(world: World) -> None:
    legs = (Leg(-1, LegKind.SHARE, 0, recipient=FRIEND), Leg(-1, LegKind.REMAINDER, recipient=SHOP))
    world.rules[MALL, RULE].versions[1].legs = legs
    attest(world, replace(CAPTURE, bindings=()))
    [outcome] = authorize(world, split(5, bindings=()))
    assert outcome == Outcome(RecordKind.SPLIT, 5, (Allocation(FRIEND, 0), Allocation(SHOP, 5)))
    assert ("CNY", FRIEND) not in world.positions


def test_an_order_is_split_by_its_version_for_ever(captured: World) -> None:
    rule = captured.rules[MALL, RULE]
    rule.versions[2] = Version((Leg(-1, LegKind.REMAINDER, recipient=FRIEND),), 0, approved=True)
    rule.retired = True
    captured.consents.clear()
    captured.consents.add((FRIEND, MALL))
    [outcome] = authorize(captured, split(400))
    assert isinstance(outcome, Outcome)
    assert len(outcome.allocations) == 3


def test_the_first_split_of_an_id_is_meant_and_every_return_counts_against_it() -> None:
    first = PastRecord(RecordKind.SPLIT, SPLIT, 10, NOBODY, (Allocation(SHOP, 10),))
    second = PastRecord(RecordKind.SPLIT, SPLIT, 70, NOBODY, (Allocation(FRIEND, 30), Allocation(SHOP, 40)))
    back = PastRecord(RecordKind.RETURN, RETURN, 4, SPLIT, (Allocation(SHOP, 4),))
    assert returnable([first, second, back], SPLIT) == [Allocation(SHOP, 6)]
    assert returnable([first], RETURN) is None
    assert returnable([], SPLIT) is None


def test_one_bad_instruction_does_not_block_its_neighbours(captured: World) -> None:
    decisions = authorize(captured, split(5_000), split(0), split(100), give_back(1), release())
    assert decisions[0] == InsufficientHeld(ORDER, 5_000, 1_000)
    assert decisions[1] == ZeroAmount()
    assert isinstance(decisions[2], Outcome)
    assert decisions[3] == ReturnNotFirst(ORDER)
    assert isinstance(decisions[4], Outcome)
    assert conserved(captured)


def test_a_rejected_instruction_does_not_stand_before_a_return(captured: World) -> None:
    authorize(captured, split(100))
    decisions = authorize(captured, split(5_000), give_back(10))
    assert [type(decision) for decision in decisions] == [InsufficientHeld, Outcome]


# ------------------------------------------------------------------------------ what is refused, and why first

WorldChange = Callable[[World], object]


def _remove_consents(world: World) -> None:
    world.consents.clear()


def _close(participant: bytes) -> WorldChange:
    return lambda world: world.participants.update({participant: Participant(ParticipantStatus.CLOSED)})


CAPTURE_REASONS: list[tuple[Capture, WorldChange | None, Rejection]] = [
    # Every capture has all faults of those below it as well.
    (replace(CAPTURE, amount=0), None, ZeroAmount()),
    (replace(CAPTURE, amount=MAX_AMOUNT + 1), None, AmountAboveLimit(MAX_AMOUNT + 1, MAX_AMOUNT)),
    (replace(CAPTURE, currency="XXX"), None, CurrencyNotEnabled("XXX")),
    (replace(CAPTURE, platform=CLOSED), None, PlatformNotActive(CLOSED)),
    (CAPTURE, lambda world: attest(world, CAPTURE), OrderAlreadyCaptured(ORDER)),
    (replace(CAPTURE, rule_version=2), None, RuleNotInForce(RULE, 2, RuleState.UNKNOWN)),
    (replace(CAPTURE, bindings=()), None, BindingCount(0, 3)),
    (replace(CAPTURE, merchant=CLOSED, bindings=(STRANGER,) * 3), None, RecipientNotActive(CLOSED)),
    (CAPTURE, _remove_consents, RecipientNotConsented(SHOP, MALL)),
    (replace(CAPTURE, bindings=(NOBODY, CLOSED, STRANGER)), None, RecipientNotActive(CLOSED)),
    (replace(CAPTURE, bindings=(NOBODY, NOBODY, STRANGER)), None, RecipientNotActive(STRANGER)),
    (
        replace(CAPTURE, bindings=(RIDER, FRIEND, SHOP)),
        lambda world: world.consents.discard((FRIEND, MALL)),
        RecipientNotConsented(FRIEND, MALL),
    ),
]


@pytest.mark.parametrize(("capture", "change", "expected"), CAPTURE_REASONS, ids=lambda v: type(v).__name__)
def test_why_a_capture_is_refused(
    world: World, capture: Capture, change: WorldChange | None, expected: Rejection
) -> None:
    if change is not None:
        change(world)
    before = dict(world.orders)
    assert attest(world, capture) == [expected]
    assert world.orders == before
    assert conserved(world)


def test_the_first_reason_of_a_capture_that_has_all() -> None:
    world = World()
    bad = Capture(ORDER, STRANGER, CLOSED, RULE, 9, "XXX", 0, (STRANGER,))
    steps: list[tuple[Rejection, Capture, WorldChange]] = [
        (ZeroAmount(), replace(bad, amount=2**70), lambda _: None),
        (AmountAboveLimit(2**70, MAX_AMOUNT), replace(bad, amount=1), lambda _: None),
        (CurrencyNotEnabled("XXX"), replace(bad, amount=1), lambda w: w.currencies.add("XXX")),
        (
            PlatformNotActive(STRANGER),
            replace(bad, amount=1),
            lambda w: w.participants.update({STRANGER: Participant()}),
        ),
        (RuleNotInForce(RULE, 9, RuleState.UNKNOWN), replace(bad, amount=1), _with_rule),
        (BindingCount(1, 3), replace(bad, amount=1, bindings=(CLOSED,) * 3), lambda _: None),
        (
            RecipientNotActive(CLOSED),
            replace(bad, amount=1, bindings=(CLOSED,) * 3, merchant=STRANGER),
            lambda _: None,
        ),
    ]
    capture = bad
    for expected, next_capture, change in steps:
        assert reason(lambda c=capture: decide_capture(world, c, NOW)) == expected  # type: ignore[misc]  # a default argument binds the loop's value
        capture = next_capture
        change(world)


def _with_rule(world: World) -> None:
    world.rules[STRANGER, RULE] = Rule({9: Version(LEGS, 0, approved=True)})


@pytest.mark.parametrize(
    ("rule", "state"),
    [
        (Rule(), RuleState.UNKNOWN),
        (Rule({1: Version(LEGS, 0)}), RuleState.PROPOSED),
        (Rule({1: Version(LEGS, 0)}, retired=True), RuleState.PROPOSED),
        (Rule({1: Version(LEGS, 0, vetoed=True)}), RuleState.VETOED),
        (
            Rule({1: Version(LEGS, 0, approved=True), 2: Version(LEGS, 0, vetoed=True)}),
            RuleState.IN_FORCE,
        ),
        (Rule({1: Version(LEGS, 0, approved=True)}, retired=True), RuleState.RETIRED),
        (Rule({1: Version(LEGS, NOW + 1, approved=True)}), RuleState.NOT_EFFECTIVE),
        (
            Rule({1: Version(LEGS, 0, approved=True), 2: Version(LEGS, NOW, approved=True)}),
            RuleState.SUPERSEDED,
        ),
        (Rule({1: Version(LEGS, NOW, approved=True)}), RuleState.IN_FORCE),
        (Rule({1: Version(LEGS, 0, approved=True), 2: Version(LEGS, NOW)}), RuleState.IN_FORCE),
        (
            Rule({1: Version(LEGS, 0, approved=True), 2: Version(LEGS, NOW + 1, approved=True)}),
            RuleState.IN_FORCE,
        ),
        (
            Rule(
                {n: Version(LEGS, 0, approved=n != 2) for n in (1, 2)} | {3: Version(LEGS, 0, approved=True)}
            ),
            RuleState.SUPERSEDED,
        ),
    ],
)
def test_a_capture_needs_a_rule_version_in_force(world: World, rule: Rule, state: RuleState) -> None:
    world.rules[MALL, RULE] = rule
    [decision] = attest(world, CAPTURE)
    if state is RuleState.IN_FORCE:
        assert isinstance(decision, Outcome)
    else:
        assert decision == RuleNotInForce(RULE, 1, state)


INSTRUCTION_REASONS: list[tuple[str, Instruction, Rejection]] = [
    ("unknown order", replace(split(0), order_id=STRANGER), UnknownOrder(STRANGER)),
    ("split with a split id", replace(split(0), split_id=SPLIT), MalformedInstruction(SPLIT)),
    ("split with amounts", replace(split(0), amounts=(0,)), MalformedInstruction(SPLIT)),
    ("split of nothing", split(0, bindings=(FRIEND,)), ZeroAmount()),
    ("split of too much", split(1_001, bindings=(FRIEND,)), InsufficientHeld(ORDER, 1_001, 1_000)),
    ("too few bindings", split(1, bindings=(FRIEND,)), BindingCount(1, 3)),
    ("bound before", split(1, bindings=(FRIEND, NOBODY, NOBODY)), RoleAlreadyBound("rider", RIDER)),
    ("bound to nobody", split(1, bindings=()), RoleNotBound("friend")),
    ("bound to nobody explicitly", split(1, bindings=(RIDER, NOBODY, FRIEND)), RoleNotBound("friend")),
    ("bound to a closed one", split(1, bindings=(RIDER, CLOSED, NOBODY)), RecipientNotActive(CLOSED)),
    (
        "bound to one without consent",
        split(1, bindings=(NOBODY, OTHER_MALL, NOBODY)),
        RecipientNotConsented(OTHER_MALL, MALL),
    ),
    ("a leg that exceeds", split(29), LegExceedsRemaining(0, 30, 29)),
    ("release with an amount", replace(release(), amount=1), MalformedInstruction(release().id)),
    ("release with a split id", replace(release(), split_id=SPLIT), MalformedInstruction(release().id)),
    ("release with bindings", replace(release(), bindings=(NOBODY,)), MalformedInstruction(release().id)),
    ("release with amounts", replace(release(), amounts=(0,)), MalformedInstruction(release().id)),
    ("return with bindings", replace(give_back(0), bindings=(NOBODY,)), MalformedInstruction(RETURN)),
    ("return of an unknown split", give_back(0), UnknownSplit(ORDER, SPLIT)),
]


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [case[1:] for case in INSTRUCTION_REASONS],
    ids=[case[0] for case in INSTRUCTION_REASONS],
)
def test_why_an_instruction_is_refused(
    captured: World, instruction: Instruction, expected: Rejection
) -> None:
    assert authorize(captured, instruction) == [expected]
    assert captured.orders[ORDER].held == 1_000
    assert not captured.orders[ORDER].past
    assert conserved(captured)


def test_an_order_obeys_its_own_platform_alone(captured: World) -> None:
    assert authorize(captured, split(0), platform=OTHER_MALL) == [NotOrderPlatform(ORDER, OTHER_MALL)]


def test_every_leaf_must_be_active_when_it_is_paid_but_needs_consent_no_more(captured: World) -> None:
    captured.consents.discard((RIDER, MALL))
    captured.participants[SHOP].status = ParticipantStatus.SUSPENDED
    assert authorize(captured, split(400)) == [RecipientNotActive(SHOP)]
    captured.participants[RIDER].status = ParticipantStatus.SUSPENDED
    assert authorize(captured, split(400)) == [RecipientNotActive(RIDER)]
    assert authorize(captured, split(29)) == [LegExceedsRemaining(0, 30, 29)]
    assert authorize(captured, release()) == [RecipientNotActive(SHOP)]


def test_nothing_is_released_twice(captured: World) -> None:
    captured.participants[SHOP].status = ParticipantStatus.ACTIVE
    assert [type(d) for d in authorize(captured, release(), release())] == [Outcome, NothingHeld]
    captured.participants[SHOP].status = ParticipantStatus.CLOSED
    assert authorize(captured, release()) == [NothingHeld(ORDER)]


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        (give_back(0), ZeroAmount()),
        (give_back(0, 0, 0, 0), ZeroAmount()),
        (give_back(401), InsufficientReturnable(SPLIT, 401, 400)),
        (give_back(31, 31, 0), MalformedInstruction(RETURN)),
        (give_back(31, 31, 0, 1), MalformedInstruction(RETURN)),
        (give_back(31, 31, 0, 0), LeafNotReturnable(SPLIT, 0, 31, 30)),
        (give_back(82, 0, 41, 41), LeafNotReturnable(SPLIT, 1, 41, 40)),
        (give_back(500, 0, 0, 500), LeafNotReturnable(SPLIT, 2, 500, 330)),
        (give_back(1, of=RETURN), UnknownSplit(ORDER, RETURN)),
    ],
)
def test_why_a_return_is_refused(captured: World, instruction: Instruction, expected: Rejection) -> None:
    authorize(captured, split(400))
    positions = dict(captured.positions)
    assert authorize(captured, instruction) == [expected]
    assert dict(captured.positions) == positions


def test_what_is_no_longer_there_cannot_be_taken_back(captured: World) -> None:
    authorize(captured, split(400))
    captured.positions["CNY", FRIEND] = 39
    assert authorize(captured, give_back(400)) == [InsufficientPosition(FRIEND, 40, 39)]
    assert isinstance(authorize(captured, give_back(390))[0], Outcome)


def test_a_recipient_on_several_leaves_must_have_it_all(world: World) -> None:
    legs = (Leg(-1, LegKind.SHARE, 5_000, recipient=SHOP), Leg(-1, LegKind.REMAINDER, recipient=SHOP))
    world.rules[MALL, RULE].versions[1].legs = legs
    attest(world, replace(CAPTURE, bindings=()))
    authorize(world, split(100, bindings=()))
    world.positions["CNY", SHOP] = 99
    assert authorize(world, give_back(100)) == [InsufficientPosition(SHOP, 100, 99)]


# ------------------------------------------------------------------------------ authorizations as a whole


@pytest.mark.parametrize("signed", [True, False])
def test_the_first_reason_of_an_attestation_that_has_all(world: World, *, signed: bool) -> None:
    attestation = Attestation(STRANGER[:20], 7, NOW - 1, (CAPTURE,))
    assert reason(lambda: settle_attestation(world, attestation, NOW, signed=signed)) == NotAttestor(
        STRANGER[:20]
    )
    ours = replace(attestation, attestor=BANK)
    signer = attestor_signer(BANK)
    assert signer == bytes(12) + BANK
    world.nonces.add((signer, 7))
    expected: Rejection = DeadlinePassed(NOW - 1, NOW) if signed else InvalidSignature(signer)
    assert reason(lambda: settle_attestation(world, ours, NOW, signed=signed)) == expected
    in_time = replace(ours, deadline=NOW)
    if signed:
        assert reason(lambda: settle_attestation(world, in_time, NOW, signed=signed)) == NonceUsed(7)
    assert not world.orders


@pytest.mark.parametrize(
    "participant",
    [
        None,
        Participant(ParticipantStatus.SUSPENDED, AUTHORITY),
        Participant(ParticipantStatus.CLOSED, AUTHORITY),
        Participant(ParticipantStatus.ACTIVE),
    ],
    ids=["unknown", "suspended", "closed", "without authority"],
)
def test_a_platform_that_may_not_author_is_refused_before_anything_else(
    captured: World, participant: Participant | None
) -> None:
    if participant is None:
        del captured.participants[MALL]
    else:
        captured.participants[MALL] = participant
    late = Authorization(MALL, 1, 0, (split(1),))
    assert reason(lambda: settle_authorization(captured, late, NOW, signed=False)) == PlatformNotActive(MALL)


def test_the_first_reason_of_an_authorization_that_has_all(captured: World) -> None:
    late = Authorization(MALL, 5, NOW - 1, (split(100),))
    captured.nonces.add((MALL, 5))
    assert reason(lambda: settle_authorization(captured, late, NOW, signed=False)) == InvalidSignature(MALL)
    assert reason(lambda: settle_authorization(captured, late, NOW, signed=True)) == DeadlinePassed(
        NOW - 1, NOW
    )
    used = replace(late, deadline=NOW)
    assert reason(lambda: settle_authorization(captured, used, NOW, signed=True)) == NonceUsed(5)
    assert captured.orders[ORDER].held == 1_000


def test_an_authorization_takes_effect_once(captured: World) -> None:
    once = Authorization(MALL, 5, NOW, (split(100),))
    [outcome] = settle_authorization(captured, once, NOW, signed=True)
    assert isinstance(outcome, Outcome)
    assert reason(lambda: settle_authorization(captured, once, NOW, signed=True)) == NonceUsed(5)
    assert captured.orders[ORDER].held == 900


def test_nonces_are_each_signers_own(captured: World) -> None:
    captured.nonces.add((OTHER_MALL, 5))
    [outcome] = settle_authorization(captured, Authorization(MALL, 5, NOW, (release(),)), NOW, signed=True)
    assert isinstance(outcome, Outcome)


GIVING = (Leg(-1, LegKind.GIVEN, 2_000, 3, 90, role="rider"), *LEGS[1:])


@pytest.fixture
def giving(world: World) -> World:
    """The same order by a rule whose first leg is GIVEN."""
    world.rules[MALL, RULE] = Rule({1: Version(GIVING, 0, approved=True)})
    attest(world, CAPTURE)
    return world


def test_a_given_leg_takes_what_the_split_says(giving: World) -> None:
    [outcome] = authorize(giving, replace(split(400), amounts=(77,)))
    paid = (Allocation(RIDER, 77), Allocation(FRIEND, 40), Allocation(SHOP, 283))
    assert outcome == Outcome(RecordKind.SPLIT, 400, paid)
    assert giving.orders[ORDER].held == 600


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        (replace(split(0), amounts=(2**96,)), MalformedInstruction(SPLIT)),
        (split(0), ZeroAmount()),
        (split(1_001), InsufficientHeld(ORDER, 1_001, 1_000)),
        (split(10, bindings=()), GivenCount(0, 1)),
        (replace(split(10, bindings=()), amounts=(1, 1)), GivenCount(2, 1)),
        (replace(split(10, bindings=()), amounts=(1,)), RoleNotBound("friend")),
        (replace(split(10), amounts=(1,)), GivenOutOfBounds(0, 1, 3, 2)),
        (replace(split(1_000), amounts=(91,)), GivenOutOfBounds(0, 91, 3, 90)),
    ],
)
def test_why_a_split_that_gives_is_refused(
    giving: World, instruction: Instruction, expected: Rejection
) -> None:
    assert authorize(giving, instruction) == [expected]


def test_a_rule_without_given_legs_takes_no_amounts(captured: World) -> None:
    assert authorize(captured, replace(split(0), amounts=(5,))) == [MalformedInstruction(SPLIT)]
