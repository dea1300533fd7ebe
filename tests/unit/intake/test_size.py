"""What intake lets a client sign at once, submission can always send."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fenzhang.domain.records import Capture, Instruction, InstructionKind
from fenzhang.domain.schedules import MAX_ENTRIES
from fenzhang.intake.size import TransactionSize
from fenzhang.intake.snapshot import OrderFacts, RuleShape
from fenzhang.store.tables import SETTLEMENT_TYPES
from fenzhang.submission import gas

ids = st.integers(1, 200).map(lambda n: n.to_bytes(32, "big"))


@st.composite
def items(draw: st.DrawFn) -> tuple[Capture, OrderFacts, RuleShape, Instruction]:
    """An order of some rule with some past, and an instruction for it."""
    roles = draw(st.integers(1, 20))
    leaves = draw(st.integers(roles, 20))
    shape = RuleShape(
        roles=tuple(f"r{n}" for n in range(roles)),
        recipients=tuple(draw(ids) for _ in range(leaves - roles)),
        leaves=leaves,
        legs=draw(st.integers(leaves, 32)),
    )
    bindings = tuple(draw(ids) for _ in range(roles))
    order_id, rule = draw(ids), draw(ids)
    version = draw(st.integers(1, 3))
    capture = Capture(order_id, b"p" * 32, draw(ids), rule, version, "CNY", 1, bindings)
    written = {kind.value: draw(st.integers(0, 16)) for kind in SETTLEMENT_TYPES[1:]}
    order = OrderFacts(
        order_id,
        rejected=False,
        rule_id=rule,
        rule_version=version,
        currency="CNY",
        bindings=bindings,
        merchant=capture.merchant,
        captured=capture.amount,
        written=written,
    )
    kind = draw(st.sampled_from(InstructionKind))
    instruction = Instruction(
        kind,
        draw(ids),
        order_id,
        bindings=bindings if kind is InstructionKind.SPLIT and draw(st.booleans()) else (),
        amounts=(1,) * _amounts(draw, kind, leaves, shape.legs),
    )
    return capture, order, shape, instruction


def _amounts(draw: st.DrawFn, kind: InstructionKind, leaves: int, legs: int) -> int:
    """How many amounts an instruction has: of a return one per leaf, of a split one per GIVEN leg, or none."""
    match kind:
        case InstructionKind.RETURN:
            return leaves if draw(st.booleans()) else 0
        case InstructionKind.SPLIT:
            return draw(st.integers(0, legs - 1))
        case InstructionKind.RELEASE | InstructionKind.REFUND:
            return 0


def _recipients_gas(currency: str, recipients: set[bytes]) -> int:
    """As fenzhang.submission.planning counts: standing and position of each, once."""
    positions = {(currency, recipient) for recipient in recipients}
    return gas.COLD_STANDING * len(recipients) + gas.COLD_POSITION * len(positions)


@given(st.lists(items(), min_size=1, max_size=8))
def test_bound_is_above_what_submission_counts_with(
    drawn: list[tuple[Capture, OrderFacts, RuleShape, Instruction]],
) -> None:
    size = TransactionSize()
    counted, calldata = gas.TRANSACTION + gas.GROUP, gas.TRANSACTION_BYTES + gas.GROUP_BYTES
    recipients: set[bytes] = set()
    rules: set[tuple[bytes, int]] = set()
    for capture, order, shape, instruction in drawn:
        size.add(instruction, order, shape)
        opened = instruction.kind.opens_past
        past = (order.instructions, order.past_leaves(shape.leaves)) if opened else (0, 0)
        is_refund = instruction.kind is InstructionKind.REFUND
        leaves = order.leaves(shape.leaves) if is_refund else shape.leaves
        counted += gas.witness_gas(capture, *past) + gas.instruction_gas(instruction, leaves)
        calldata += gas.witness_bytes(capture, *past) + gas.instruction_bytes(instruction)
        is_release = instruction.kind is InstructionKind.RELEASE
        paid = (
            (capture.merchant,) if is_release else (*shape.recipients, *order.bindings, *instruction.bindings)
        )
        recipients |= {*paid, b"refunded"} if is_refund else set(paid)
        if (order.rule_id, order.rule_version) not in rules:
            counted += gas.rule_gas(shape.legs)
            rules.add((order.rule_id, order.rule_version))
    counted += _recipients_gas("CNY", recipients)
    assert size.gas >= counted
    assert size.calldata >= calldata


@given(st.lists(items(), min_size=1, max_size=8))
def test_bound_of_captures_is_above_what_submission_counts_with(
    drawn: list[tuple[Capture, OrderFacts, RuleShape, Instruction]],
) -> None:
    size = TransactionSize()
    counted, calldata = gas.TRANSACTION + gas.GROUP, gas.TRANSACTION_BYTES + gas.GROUP_BYTES
    recipients: set[bytes] = set()
    rules: set[tuple[bytes, int]] = set()
    for capture, _, shape, _ in drawn:
        size.add_capture(capture, shape)
        counted += gas.capture_gas(replace(capture, facts=b"f" * 32), MAX_ENTRIES)
        calldata += gas.capture_bytes(capture)
        recipients |= {capture.merchant, *capture.bindings}
        if (capture.rule_id, capture.rule_version) not in rules:
            counted += gas.rule_gas(shape.legs)
            rules.add((capture.rule_id, capture.rule_version))
    counted += _recipients_gas("CNY", recipients)
    assert size.gas >= counted
    assert size.calldata >= calldata
