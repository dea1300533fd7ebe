"""Which units go into which transaction, by the planner alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import count

from fenzhang.chain.codec import UNKNOWN_ORDER_INDEX
from fenzhang.domain.records import Capture, Instruction, InstructionKind
from fenzhang.submission.building import gas_limit, order_index
from fenzhang.submission.config import SubmissionConfig
from fenzhang.submission.facts import Facts, KnownOrder, Shape, rule_key
from fenzhang.submission.picking import Pending, Queue, Signed, Suspicion, Unit
from fenzhang.submission.planning import Plan, in_sequence, make_plans
from support.parties import MALL, MERCHANT, PROMOTER, SHOP, ident

CONFIG = SubmissionConfig()
_numbers = count(1)


def capture_of(name: str) -> Capture:
    return Capture(
        ident("order", name), MALL.id, MERCHANT.id, ident("rule"), 1, "CNY", 1_000, (PROMOTER.id, MERCHANT.id)
    )


def instruction(kind: InstructionKind, name: str) -> Instruction:
    split = ident("split", name) if kind is InstructionKind.RETURN else bytes(32)
    return Instruction(kind, ident(kind, next(_numbers)), ident("order", name), split, amount=10)


def split(name: str) -> Instruction:
    return instruction(InstructionKind.SPLIT, name)


def give_back(name: str) -> Instruction:
    return instruction(InstructionKind.RETURN, name)


def pending(what: Capture | Instruction, platform: bytes = MALL.id) -> Pending:
    return Pending(next(_numbers), platform, what.order_id, what, open=True, tried_in=None)


def single(what: Capture | Instruction, platform: bytes = MALL.id) -> Unit:
    return Unit((pending(what, platform),), None)


def signed(*what: Capture | Instruction, suspicion: Suspicion | None = None) -> Unit:
    attestation = isinstance(what[0], Capture)
    authorization = Signed(next(_numbers), MALL.id, attestation, next(_numbers), 2**40, b"")
    return Unit(tuple(map(pending, what)), authorization, suspicion)


def facts(*names: str) -> Facts:
    """These orders are captured and mirrored."""
    captures = [capture_of(name) for name in names]
    shapes = {rule_key(capture_of("any")): Shape(3, 2, ())}
    return Facts({c.order_id: KnownOrder(c, bytes(32)) for c in captures}, shapes)


def plan(
    units: Sequence[Unit],
    known: Facts | None = None,
    *,
    config: SubmissionConfig = CONFIG,
    busy: Sequence[str] = (),
    max_plans: int = 8,
    held_back: Sequence[int] = (),
) -> list[Plan]:
    queue = Queue(list(units), {ident("order", name) for name in busy})
    return make_plans(queue, known or facts(), config, max_plans, set(held_back))


def seqs(plans: Sequence[Plan]) -> list[list[int]]:
    return [[item.seq for item in each.instructions] for each in plans]


def places(units: Sequence[Unit]) -> list[int]:
    return [item.seq for unit in units for item in unit.items]


def test_a_split_may_follow_its_capture_in_one_transaction() -> None:
    units = [single(capture_of("a")), single(split("a"))]
    [only] = plan(units)
    assert seqs([only]) == [places(units)]
    assert order_index(only) == [0]
    assert not only.witnesses


def test_known_orders_are_witnessed_once_behind_the_captures() -> None:
    units = [single(capture_of("new")), single(split("b")), single(split("a")), single(split("b"))]
    [only] = plan(units, facts("a", "b"))
    assert order_index(only) == [1, 2, 1]
    assert list(only.witnesses) == [ident("order", "b"), ident("order", "a")]


def test_an_unknown_order_is_sent_as_such_and_will_be_rejected() -> None:
    [only] = plan([single(split("nowhere"))])
    assert order_index(only) == [UNKNOWN_ORDER_INDEX]


def test_an_order_in_flight_waits_with_everything_behind_it() -> None:
    free = single(split("b"))
    plans = plan([single(split("a")), signed(split("a"), split("c")), single(split("c")), free], busy=["a"])
    assert seqs(plans) == [places([free])]


def test_a_keystore_platform_s_instructions_share_one_authorization() -> None:
    units = [single(split("a")), single(split("b")), single(split("c"), SHOP.id), single(split("d"))]
    [only] = plan(units, facts("a", "b", "c", "d"))
    assert [[item.seq for item in group.items] for group in only.authorizations] == [
        [units[0].items[0].seq, units[1].items[0].seq, units[3].items[0].seq],
        [units[2].items[0].seq],
    ]


def test_a_client_signed_group_stays_whole_and_in_place() -> None:
    units = [single(split("a")), signed(split("b"), split("a")), single(split("a"))]
    [only] = plan(units, facts("a", "b"))
    # The last one would have to join the first group, which stands before the client's: it waits.
    assert seqs([only]) == [places(units[:2])]


def test_a_return_is_the_first_of_its_order_in_a_transaction() -> None:
    units = [single(split("a")), single(give_back("a")), single(split("a")), single(split("b"))]
    [only] = plan(units, facts("a", "b"))
    assert seqs([only]) == [places([units[0], units[3]])]


def test_what_follows_a_return_may_share_its_transaction_but_no_second_return() -> None:
    units = [single(give_back("a")), single(split("a")), single(give_back("a"))]
    [only] = plan(units, facts("a"))
    assert seqs([only]) == [places(units[:2])]


def test_a_return_does_not_share_a_transaction_with_its_capture() -> None:
    units = [single(capture_of("a")), single(split("a")), single(give_back("a"))]
    [only] = plan(units)
    assert seqs([only]) == [places(units[:2])]


def test_a_capture_behind_an_instruction_of_its_order_waits() -> None:
    units = [single(split("a")), single(capture_of("a"))]
    [only] = plan(units)
    assert seqs([only]) == [places(units[:1])]


def test_after_a_second_capture_of_a_known_order_the_order_waits() -> None:
    units = [single(capture_of("a")), single(split("a"))]
    [only] = plan(units, facts("a"))
    assert seqs([only]) == [places(units[:1])]


def test_transactions_are_bounded_by_orders_gas_and_calldata() -> None:
    captures = [single(capture_of(str(n))) for n in range(450)]
    assert [each.units for each in plan(captures)] == [200, 200, 50]
    scarce = dataclasses.replace(CONFIG, target_gas=1_000_000)
    assert all(each.gas <= 1_000_000 for each in plan(captures[:50], config=scarce))
    narrow = dataclasses.replace(CONFIG, max_calldata_bytes=10_000)
    assert all(each.size <= 10_000 for each in plan(captures[:50], config=narrow))


def test_no_more_transactions_than_there_is_room_for() -> None:
    captures = [single(capture_of(str(n))) for n in range(450)]
    assert [each.units for each in plan(captures, max_plans=2)] == [200, 200]
    assert plan(captures, max_plans=0) == []


def test_an_order_of_one_transaction_waits_for_the_others() -> None:
    config = dataclasses.replace(CONFIG, max_orders=1)
    units = [single(split("a")), single(split("b")), single(split("a"))]
    plans = plan(units, facts("a", "b"), config=config)
    assert seqs(plans) == [places(units[:1]), places(units[1:2])]


def test_a_unit_larger_than_a_transaction_gets_one_for_itself() -> None:
    config = dataclasses.replace(CONFIG, target_gas=300_000)
    large = signed(*[split(str(n)) for n in range(20)])
    known = facts("x", *map(str, range(20)))
    plans = plan([single(split("x")), large, single(split("x"))], known, config=config)
    assert [each.units for each in plans] == [1, 1]
    assert gas_limit(plans[1], config) == config.gas_cap


def test_suspects_are_tried_in_halves_apart_from_everything_else() -> None:
    first = [signed(split(str(n)), suspicion=Suspicion(9, 0)) for n in range(2)]
    second = [signed(split(str(n)), suspicion=Suspicion(9, 1)) for n in range(2, 4)]
    other = single(split("x"))
    plans = plan([*first, *second, other], facts("x", "0", "1", "2", "3"))
    assert seqs(plans) == [places(first), places(second), places([other])]
    assert [each.exclusive for each in plans] == [True, True, False]


def test_what_is_held_back_makes_its_orders_wait() -> None:
    held, behind, free = signed(split("a")), single(split("a")), single(split("b"))
    assert held.signed is not None
    plans = plan([held, behind, free], facts("a", "b"), held_back=[held.signed.id])
    assert seqs(plans) == [places([free])]


def test_everything_is_sent_in_the_end_and_orders_keep_their_order() -> None:
    """Plan, mark as settled, plan again: no unit is forgotten or overtaken."""
    kinds = [InstructionKind.SPLIT, InstructionKind.RETURN, InstructionKind.RELEASE]
    units = []
    for n in range(200):
        names = [str(n * 7 % 11), str(n * 5 % 13)]
        what = [instruction(kinds[(n + k) % 3], name) for k, name in enumerate(dict.fromkeys(names))]
        units.append(signed(*what) if n % 3 == 0 else single(what[0], MALL.id if n % 2 else SHOP.id))
    known = facts(*map(str, range(13)))
    sent: list[int] = []
    left = units
    for _ in range(200):
        plans = plan(left, known, config=dataclasses.replace(CONFIG, max_orders=5), max_plans=3)
        done = {seq for each in seqs(plans) for seq in each}
        touched = [order for each in plans for order in each.order_ids]
        assert len(touched) == len(set(touched))
        for each in plans:
            sent += [item.seq for group in (*each.attestations, *each.authorizations) for item in group.items]
        left = [unit for unit in left if unit.items[0].seq not in done]
        if not left:
            break
    assert sorted(sent) == sorted(places(units))
    order_of = {item.seq: item.order_id for unit in units for item in unit.items}
    for order in set(order_of.values()):
        assert [s for s in sent if order_of[s] == order] == sorted(s for s in sent if order_of[s] == order)


# ------------------------------------------------------------------------------ sequence across units


def _captures_and_splits_apart() -> tuple[Unit, Unit, Unit]:
    """One attestation over two captures, and a split of each: by its last capture it comes after the first split."""
    items = [pending(what) for what in (capture_of("a"), split("a"), capture_of("b"), split("b"))]
    attestation = Signed(next(_numbers), MALL.id, True, next(_numbers), 2**40, b"")  # noqa: FBT003 -- a record's field
    both = Unit((items[0], items[2]), attestation)
    first, second = (
        Unit((item,), Signed(next(_numbers), MALL.id, False, next(_numbers), 2**40, b""))  # noqa: FBT003 -- same
        for item in (items[1], items[3])
    )
    return first, both, second


def test_a_split_does_not_go_ahead_of_a_capture_that_was_signed_with_later_ones() -> None:
    first, both, second = _captures_and_splits_apart()
    assert in_sequence([first, both, second]) == [both, first, second]
    [only] = plan([first, both, second])
    assert [item.seq for item in only.instructions] == [
        item.seq for unit in (both, first, second) for item in unit.items
    ]


def test_nor_when_that_capture_is_suspected_or_held_back() -> None:
    first, both, second = _captures_and_splits_apart()
    suspected = [
        Unit(unit.items, unit.signed, Suspicion(1, half))
        for unit, half in ((first, 0), (both, 0), (second, 1))
    ]
    [only] = plan(suspected)
    assert [item.seq for item in only.instructions] == [
        item.seq for unit in (both, first) for item in unit.items
    ]
    assert both.signed is not None
    assert plan([first, both, second], held_back=[both.signed.id]) == []


def test_units_that_wait_for_each_other_do_not_wait_for_ever() -> None:
    a, b, c, d = (pending(split(name)) for name in ("a", "b", "b", "a"))
    units = [
        Unit(items, Signed(next(_numbers), MALL.id, False, next(_numbers), 2**40, b""))  # noqa: FBT003 -- same
        for items in ((a, c), (b, d))
    ]
    assert in_sequence(units) == units[::-1]
    assert seqs(plan(units, facts("a", "b")))
