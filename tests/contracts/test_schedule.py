"""A platform's schedule: what is one, who puts it in force, and that it binds every capture while it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fenzhang.chain.errors import ContractError
from fenzhang.chain.events import RuleApproved, RuleRetired, RuleVetoed, ScheduleProposed
from fenzhang.chain.schedules import entries_from_values, schedule_hash
from fenzhang.domain.errors import FenzhangError, InvalidSchedule, RuleNotInForce, RuleNotSelected
from fenzhang.domain.facts import Facts
from fenzhang.domain.records import Capture, RuleState
from fenzhang.domain.schedules import MAX_ENTRIES, SCHEDULE, Entry, validate
from support.parties import MALL, MARKET, PAIR, SHOP, RuleRef, ScheduleRef, ident
from support.schedules import Schedule, nearly_schedules, sales, schedules
from support.system import ADMIN, APPROVER, GUARDIAN, OUTSIDER, SUBMITTER
from support.twin import NOWHERE
from support.world import World, reason_of

NOON = 2_000_000_000
TEA, GOLD = Facts(category="tea").pack(), Facts(member_tier="gold").pack()
ENTRIES = (
    Entry(PAIR.rule_id, TEA, "CNY", 1_000, 5_000),
    Entry(PAIR.rule_id, GOLD),
    Entry(MARKET.rule_id),
)
"""Teas of 1,000 to 4,999 and gold members by PAIR, everything else by MARKET."""
FIRST = ScheduleRef(MALL, 1, ENTRIES)
WHY = b"unfair".ljust(32, b"\0")
GENERATED = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


def state(world: World, schedule: ScheduleRef) -> RuleState:
    found, entries = world.system.call("RuleBook", "loadSchedule", schedule.platform.id, schedule.version)
    assert entries_from_values(entries) == (() if found == RuleState.UNKNOWN else schedule.entries)
    return RuleState(found)


def refused(world: World, schedule: ScheduleRef, **how: Any) -> tuple[str | None, dict[str, object]]:
    arguments = world.schedule_proposal(schedule, **how)
    return reason_of(world.refused(SUBMITTER, "RuleBook", "proposeSchedule", *arguments))


def decided(world: World, *captures: Capture) -> list[FenzhangError]:
    return world.settle(world.attest(*captures)).reasons


# ------------------------------------------------------------------------------ versions


def test_a_schedule_is_proposed_and_approved_as_a_rule_is(world: World) -> None:
    assert state(world, FIRST) is RuleState.UNKNOWN
    content = schedule_hash(MALL.id, 1, NOON, ENTRIES)
    assert world.propose(FIRST, NOON) == [ScheduleProposed(NOWHERE, MALL.id, 1, NOON, content, ENTRIES)]
    assert state(world, FIRST) is RuleState.PROPOSED
    header = world.system.call("RuleBook", "header", MALL.id, SCHEDULE, 1)
    assert header == (content, NOON, False, MALL.key.address)
    assert world.approve(FIRST, NOON) == [
        RuleApproved(NOWHERE, MALL.id, SCHEDULE, 1, content, APPROVER.address)
    ]
    assert state(world, FIRST) is RuleState.NOT_EFFECTIVE
    world.node.next_block_at(NOON)
    world.node.mine()
    assert state(world, FIRST) is RuleState.IN_FORCE


def test_only_what_the_platform_signed_is_proposed(world: World) -> None:
    invalid = ("RuleBook_InvalidSignature", {"platform": MALL.id})
    for key in (SHOP.key, ADMIN, APPROVER):
        assert refused(world, FIRST, key=key) == invalid
    elsewhere = replace(world.system.deployment.rule_domain(), chain_id=1)
    assert refused(world, FIRST, domain=elsewhere) == invalid
    (platform, version, effective_from, entries), signature = world.schedule_proposal(FIRST)
    values = {
        "an entry less": (platform, version, effective_from, entries[1:]),
        "another time": (platform, version, NOON, entries),
        **{
            f"field {place} of an entry": (
                platform,
                version,
                effective_from,
                [(*entries[0][:place], _other(entries[0][place]), *entries[0][place + 1 :]), *entries[1:]],
            )
            for place in range(7)
        },
    }
    for changed in values.values():
        error = world.refused(SUBMITTER, "RuleBook", "proposeSchedule", changed, signature)
        assert reason_of(error) == invalid


def _other(value: bytes | int) -> bytes | int:
    return value + 1 if isinstance(value, int) else b"Z" + value[1:]


def test_versions_follow_each_other_as_those_of_a_rule(world: World) -> None:
    second = replace(FIRST, version=2, entries=ENTRIES[1:])
    assert refused(world, second)[0] == "RuleBook_VersionNotNext"
    world.put_in_force(FIRST, NOON)
    assert refused(world, second, effective_from=NOON - 1)[0] == "RuleBook_EffectiveBeforePrevious"
    world.put_in_force(second, NOON + 10)
    world.node.next_block_at(NOON + 10)
    world.node.mine()
    assert [state(world, each) for each in (FIRST, second)] == [RuleState.SUPERSEDED, RuleState.IN_FORCE]


def test_a_guardian_vetoes_a_schedule_before_its_time(world: World) -> None:
    world.put_in_force(FIRST, NOON)
    approval = world.approval(FIRST, NOON)
    assert world.act(GUARDIAN, "RuleBook", "veto", *approval, WHY) == [
        RuleVetoed(NOWHERE, MALL.id, SCHEDULE, 1, approval[3], GUARDIAN.address, WHY)
    ]
    world.node.next_block_at(NOON)
    assert decided(world, world.capture(rule=PAIR)) == []
    assert state(world, FIRST) is RuleState.VETOED


def test_the_approval_lock_and_the_second_party_hold_for_schedules(world: World) -> None:
    world.act(ADMIN, "RuleBook", "setApprovalLock", 1_000)
    world.propose(FIRST)
    error = world.refused(APPROVER, "RuleBook", "approve", *world.approval(FIRST))
    assert reason_of(error)[0] == "RuleBook_EffectiveWithinLock"
    world.act(ADMIN, "RuleBook", "setApprovalLock", 0)
    world.register("rotateAuthority", MALL.id, APPROVER.address)
    error = world.refused(APPROVER, "RuleBook", "approve", *world.approval(FIRST))
    assert reason_of(error)[0] == "RuleBook_ApproverIsAuthority"


def test_a_rule_cannot_take_the_id_under_which_schedules_stand(world: World) -> None:
    thief = RuleRef(MALL, SCHEDULE, 1, PAIR.legs)
    error = world.refused(SUBMITTER, "RuleBook", "propose", *world.proposal(thief))
    assert reason_of(error) == ("RuleBook_ReservedRuleId", {"ruleId": SCHEDULE})


def test_a_schedule_is_no_rule_to_capture_by(world: World) -> None:
    world.put_in_force(FIRST)
    [reason] = decided(world, world.capture(rule=replace(PAIR, rule_id=SCHEDULE)))
    assert reason == RuleNotInForce(SCHEDULE, 1, RuleState.UNKNOWN)


# ------------------------------------------------------------------------------ what it binds


def test_while_a_schedule_is_in_force_the_rule_that_it_selects_is_the_only_one(world: World) -> None:
    world.put_in_force(FIRST)
    assert decided(
        world,
        world.capture(4_999, rule=PAIR, facts=TEA),
        world.capture(5_000, rule=PAIR, facts=TEA),
        world.capture(5_000, rule=MARKET, facts=TEA),
        world.capture(4_999, rule=MARKET, facts=TEA),
        world.capture(1_000, rule=PAIR, facts=TEA),
        world.capture(999, rule=PAIR, facts=TEA),
        world.capture(rule=PAIR, facts=Facts("618", "coffee", "gold", "app").pack()),
        world.capture(rule=MARKET, facts=GOLD),
        world.capture(rule=MARKET),
    ) == [
        RuleNotSelected(PAIR.rule_id, MARKET.rule_id),
        RuleNotSelected(MARKET.rule_id, PAIR.rule_id),
        RuleNotSelected(PAIR.rule_id, MARKET.rule_id),
        RuleNotSelected(MARKET.rule_id, PAIR.rule_id),
    ]


def test_the_currency_and_the_time_of_capture_count(world: World) -> None:
    world.set_currency("JPY", enabled=True)
    soon = world.node.now + 1_000
    entries = (
        Entry(PAIR.rule_id, currency="JPY"),
        Entry(PAIR.rule_id, valid_from=soon, valid_until=soon + 10),
        Entry(MARKET.rule_id),
    )
    world.put_in_force(ScheduleRef(MALL, 1, entries))
    assert decided(world, world.capture(rule=PAIR, currency="JPY"), world.capture(rule=MARKET)) == []
    for time, expected in (
        (soon - 1, MARKET),
        (soon, PAIR),
        (soon + 9, PAIR),
        (soon + 10, MARKET),
    ):
        world.node.next_block_at(time)
        other = MARKET if expected is PAIR else PAIR
        captures = world.capture(rule=expected), world.capture(rule=other)
        assert decided(world, *captures) == [RuleNotSelected(other.rule_id, expected.rule_id)]


def test_a_rule_that_is_not_in_force_is_refused_before_a_rule_that_is_not_selected(world: World) -> None:
    world.put_in_force(FIRST)
    [reason] = decided(world, world.capture(rule=replace(PAIR, version=2), bindings=()))
    assert reason == RuleNotInForce(PAIR.rule_id, 2, RuleState.UNKNOWN)


def test_an_entry_may_name_a_rule_that_nobody_can_use_and_then_its_orders_wait(world: World) -> None:
    world.put_in_force(ScheduleRef(MALL, 1, (Entry(ident("later")),)))
    assert decided(world, world.capture()) == [RuleNotSelected(MARKET.rule_id, ident("later"))]


def test_a_schedule_binds_its_platform_alone(world: World) -> None:
    world.put_in_force(ScheduleRef(SHOP, 1, (Entry(MARKET.rule_id),)))
    assert decided(world, world.capture(rule=PAIR)) == []


def test_orders_that_are_there_are_split_as_ever(world: World) -> None:
    order = world.captured(rule=PAIR)
    world.put_in_force(ScheduleRef(MALL, 1, (Entry(MARKET.rule_id),)))
    world.did(world.split(order.order_id, 500))


@pytest.mark.parametrize("how", ["retired", "not approved", "not effective"])
def test_without_a_schedule_in_force_the_platform_chooses(world: World, how: str) -> None:
    world.propose(FIRST, NOON if how == "not effective" else 0)
    if how != "not approved":
        world.approve(FIRST, NOON if how == "not effective" else 0)
    if how == "retired":
        assert world.retire(FIRST) == [RuleRetired(NOWHERE, MALL.id, SCHEDULE)]
        assert state(world, FIRST) is RuleState.RETIRED
    assert decided(world, world.capture(rule=PAIR, facts=TEA), world.capture(rule=MARKET, facts=TEA)) == []
    answer = world.system.call("RuleBook", "select", MALL.id, TEA, b"CNY", 1_000)
    assert answer == (0, 0, bytes(32))


def test_the_platform_alone_retires_its_schedule(world: World) -> None:
    world.put_in_force(FIRST)
    error = world.refused(OUTSIDER, "RuleBook", "retire", *world.retirement(FIRST, SHOP.key))
    assert reason_of(error) == ("RuleBook_InvalidSignature", {"platform": MALL.id})
    world.retire(FIRST)
    assert refused(world, replace(FIRST, version=2)) == ("RuleBook_AlreadyRetired", {"ruleId": SCHEDULE})


def test_the_largest_schedule_fits_and_its_last_entry_is_found(world: World) -> None:
    entries = tuple(
        Entry(ident(n), TEA, "CNY", 2**95 + n, 2**95 + n + 1, 2**63, 2**64 - 1)
        for n in range(MAX_ENTRIES - 1)
    )
    largest = ScheduleRef(MALL, 1, (*entries, Entry(MARKET.rule_id)))
    world.put_in_force(largest)
    assert state(world, largest) is RuleState.IN_FORCE
    assert decided(world, world.capture(facts=TEA)) == []
    answer = world.system.call("RuleBook", "select", MALL.id, TEA, b"CNY", 1_000)
    assert answer == (1, MAX_ENTRIES - 1, MARKET.rule_id)


def test_a_schedule_in_force_shows_in_what_is_loaded(world: World) -> None:
    def scheduled() -> bool:
        *_, found = world.system.call("RuleBook", "load", MALL.id, PAIR.rule_id, 1)
        return bool(found)

    assert not scheduled()
    world.put_in_force(FIRST)
    assert scheduled()
    world.retire(FIRST)
    assert not scheduled()


# ------------------------------------------------------------------------------ contract and specification

SAYINGS = {
    "Schedule_EntryCount": "entries, not",
    "Schedule_Facts": "codes are ASCII",
    "Schedule_Amounts": "no amount is",
    "Schedule_Times": "no time is",
    "Schedule_Rule": "names a rule",
    "Schedule_Precedence": "less specific",
    "Schedule_Overlap": "could match it as well",
    "Schedule_LastStatesSomething": "states nothing",
}
"""The contract's errors in the words of Python's InvalidSchedule."""


def specified(entries: Schedule) -> tuple[str, int] | None:
    try:
        validate(entries)
    except InvalidSchedule as error:
        [name] = [name for name, saying in SAYINGS.items() if saying in error.message]
        return name, error.entry
    return None


def contracted(world: World, every: list[Schedule]) -> list[tuple[str, int] | None]:
    """What `proposeSchedule` says, without a transaction."""
    proposals = [world.schedule_proposal(ScheduleRef(MALL, 1, entries)) for entries in every]
    answers = world.system.calls("RuleBook", "proposeSchedule", proposals)
    return [_fault_of(answer) for answer in answers]


def _fault_of(answer: object) -> tuple[str, int] | None:
    if not isinstance(answer, FenzhangError):
        return None
    assert isinstance(answer, ContractError)
    entry = answer.values.get("entry", -1)
    assert isinstance(entry, int)
    return str(answer.contract_error), entry


def test_contract_and_specification_take_the_same_lists_and_name_the_same_fault(world: World) -> None:
    seen: set[str | None] = set()

    @GENERATED
    @given(st.lists(nearly_schedules(NOON), min_size=5, max_size=20))
    def compare(every: list[Schedule]) -> None:
        faults = [specified(entries) for entries in every]
        assert contracted(world, every) == faults
        seen.update(None if fault is None else fault[0] for fault in faults)

    compare()
    too_many = (Entry(MARKET.rule_id),) * (MAX_ENTRIES + 1)
    assert contracted(world, [too_many, ()]) == [specified(too_many), specified(())]
    assert seen >= {None, *SAYINGS} - {"Schedule_EntryCount"}


def test_contract_and_specification_select_the_same_entry(world: World) -> None:
    version = 0
    places: set[int] = set()

    @GENERATED
    @given(st.data())
    def compare(data: st.DataObject) -> None:
        nonlocal version
        version += 1
        now = world.node.now
        schedule = ScheduleRef(MALL, version, data.draw(schedules(now)))
        world.put_in_force(schedule)
        drawn = data.draw(st.lists(sales, min_size=10, max_size=40))
        asked = [(MALL.id, sale.facts, sale.currency.encode(), sale.amount) for sale in drawn]
        for sale, answer in zip(drawn, world.system.calls("RuleBook", "select", asked), strict=True):
            found = world.twin.world.selection(MALL.id, sale.facts, sale.currency, sale.amount, now)
            assert found is not None
            assert answer == (found[0], found[1].index, found[1].entry.rule_id)
            places.add(found[1].index)

    compare()
    assert len(places) > 5
