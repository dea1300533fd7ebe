"""From a request in the platform's names to what goes on chain, with every check that needs no money to be counted."""

from __future__ import annotations

from fenzhang.domain import errors, identifiers
from fenzhang.domain.allocation import allocate, leaf_amounts
from fenzhang.domain.records import Capture, Instruction, InstructionKind
from fenzhang.domain.rules import MAX_LEAVES, given_indices, smaller_cap
from fenzhang.domain.sharing import most_share_out, to_others
from fenzhang.intake.errors import (
    CurrencyMismatch,
    GivenCount,
    GivenOutOfBounds,
    HoldBeyondExpiry,
    LeafCount,
    LegExceedsRemaining,
    NoScheduleInForce,
    OrderExpired,
    OrderFrozen,
    OrderOnHold,
    RoleBoundByOrder,
    RuleNotSelected,
    ShareOutAboveCap,
    SplitFrozen,
    SplitRejected,
    TooManyInstructions,
    UnboundRole,
    UnknownRule,
)
from fenzhang.intake.limits import MAX_INSTRUCTIONS_PER_ORDER, MAX_PAST_LEAVES
from fenzhang.intake.requests import (
    CaptureRequest,
    RefundRequest,
    ReleaseRequest,
    ReturnRequest,
    SettlementRequest,
    SplitRequest,
)
from fenzhang.intake.snapshot import OrderFacts, RuleShape, Selected, Snapshot
from fenzhang.store.tables import InstructionState, InstructionType, RuleVersion

_NOBODY = bytes(32)


def build(snapshot: Snapshot, request: SettlementRequest) -> Capture | Instruction:
    """What `request` puts on chain. Raises the reason for which it is refused."""
    snapshot.require_active_platform()
    if isinstance(request, CaptureRequest):
        return _capture(snapshot, request)
    built = _instruction(snapshot, request)
    _check_past(snapshot, snapshot.orders[built.order_id], request)
    return built


def _instruction(
    snapshot: Snapshot, request: SplitRequest | ReleaseRequest | ReturnRequest | RefundRequest
) -> Instruction:
    match request:
        case SplitRequest():
            return _split(snapshot, request)
        case ReleaseRequest():
            return _release(snapshot, request)
        case ReturnRequest():
            return _return(snapshot, request)
        case RefundRequest():
            return _refund(snapshot, request)


def _capture(snapshot: Snapshot, request: CaptureRequest) -> Capture:
    if 0 < request.expires_at <= request.hold_until:
        raise HoldBeyondExpiry(
            "hold_until",
            "it must be before expires_at",
            hold_until=request.hold_until,
            expires_at=request.expires_at,
        )
    facts = request.facts.pack()
    version = _rule_of(snapshot, request, snapshot.selection(facts, request.currency, request.amount))
    shape = snapshot.shape(version.rule_id, version.version)
    return Capture(
        order_id=identifiers.order_id(snapshot.platform.id, request.reference),
        platform=snapshot.platform.id,
        merchant=snapshot.consenting_participant("merchant", request.merchant),
        rule_id=version.rule_id,
        rule_version=version.version,
        currency=request.currency,
        amount=request.amount,
        bindings=snapshot.bind(shape, request.bindings),
        hold_until=request.hold_until,
        expires_at=request.expires_at,
        condition=_NOBODY if request.condition is None else snapshot.condition(request.condition),
        facts=facts,
    )


def _rule_of(snapshot: Snapshot, request: CaptureRequest, selected: Selected | None) -> RuleVersion:
    """The rule version to capture by: while a schedule is in force, of the rule that it selects."""
    if request.rule is None:
        if selected is None:
            raise NoScheduleInForce
        return snapshot.rule_for_capture(selected.rule, None)
    version = snapshot.rule_for_capture(request.rule, request.rule_version)
    if selected is not None and selected.selection.entry.rule_id != version.rule_id:
        raise RuleNotSelected(
            f"by entry {selected.selection.index} of the schedule the rule is {selected.rule!r}",
            field="out_rule_no",
            rule=request.rule,
            selected=selected.rule,
            schedule=selected.content(),
        )
    return version


def _split(snapshot: Snapshot, request: SplitRequest) -> Instruction:
    order = snapshot.order(request.order)
    _check_order(order, request.order, request.currency)
    _check_movable(snapshot, order, request.order, request.type)
    shape = snapshot.shape(order.rule_id, order.rule_version)
    own = snapshot.bind(shape, request.bindings)
    for role, bound, given in zip(shape.roles, order.bindings, own, strict=True):
        if bound == given == _NOBODY:
            raise UnboundRole(
                f"role {role!r} is bound neither by the order nor by the split", field="bindings", role=role
            )
        if _NOBODY not in {bound, given} and bound != given:
            raise RoleBoundByOrder(
                f"the order binds role {role!r} to somebody else", field=f"bindings.{role}"
            )
    if shape.gives or request.given:
        _check_given(shape, request)
    cap = smaller_cap(shape.max_share_out, snapshot.platform.max_share_out)
    if cap:
        _check_share_out(order, shape, request, own, cap)
    return Instruction(
        kind=InstructionKind.SPLIT,
        id=identifiers.split_id(snapshot.platform.id, request.reference),
        order_id=order.order_id,
        amount=request.amount,
        # One form per content, so that a client knows what it signs: nothing, or an entry for every role.
        bindings=own if request.bindings else (),
        amounts=request.given,
    )


def _check_given(shape: RuleShape, request: SplitRequest) -> None:
    """Raises the reason for which the chain would refuse the given amounts: rule and amount say it all."""
    legs, given = shape.tree, request.given
    places = {leg: f"given[{place}]" for place, leg in enumerate(given_indices(legs))}
    if len(given) != len(places):
        raise GivenCount(
            "given", f"the rule has {len(places)} GIVEN legs", count=len(given), expected=len(places)
        )
    try:
        leaf_amounts(legs, request.amount, given)
    except errors.GivenOutOfBounds as refusal:
        raise GivenOutOfBounds(places[refusal.leg], refusal.message, **refusal.values) from None
    except errors.LegExceedsRemaining as refusal:
        field = places.get(refusal.leg, "amount")
        raise LegExceedsRemaining(field, refusal.message, **refusal.values) from None


def _check_share_out(
    order: OrderFacts, shape: RuleShape, request: SplitRequest, own: tuple[bytes, ...], cap: int
) -> None:
    """Raises ShareOutAboveCap for a split that is too much whatever was split and returned before."""
    holders = {
        role: given if bound == _NOBODY else bound
        for role, bound, given in zip(shape.roles, order.bindings, own, strict=True)
    }
    try:
        allocations = allocate(shape.tree, request.amount, holders, request.given)
    except errors.LegExceedsRemaining:
        return  # the chain rejects it for that reason
    leaving, most = to_others(allocations, order.merchant), most_share_out(order.captured, cap)
    if leaving > most:
        raise ShareOutAboveCap(
            "amount",
            f"{leaving} would go to others than the merchant, and at most {most} of this order may",
            leaving=leaving,
            most=most,
            max_share_out=cap,
        )


def _release(snapshot: Snapshot, request: ReleaseRequest) -> Instruction:
    order = snapshot.order(request.order)
    _check_order(order, request.order, None)
    _check_movable(snapshot, order, request.order, request.type)
    return Instruction(
        kind=InstructionKind.RELEASE,
        id=identifiers.release_id(snapshot.platform.id, request.reference),
        order_id=order.order_id,
    )


def _return(snapshot: Snapshot, request: ReturnRequest) -> Instruction:
    split = snapshot.split(request.split)
    if split.state == InstructionState.REJECTED:
        raise SplitRejected(
            f"split {request.split!r} was rejected", field="out_split_no", reference=request.split
        )
    reference = split.content["out_order_no"]
    order = snapshot.order_by_id(split.order_id or _NOBODY, reference)
    _check_order(order, reference, request.currency)
    _check_movable(snapshot, order, reference, request.type)
    if (frozen := snapshot.frozen.get((order.order_id, split.id))) is not None:
        raise SplitFrozen(
            f"a guardian has frozen split {request.split!r}",
            field="out_split_no",
            reference=request.split,
            reason=frozen,
        )
    if request.amounts is not None:
        leaves = snapshot.shape(order.rule_id, order.rule_version).leaves
        if len(request.amounts) != leaves:
            raise LeafCount(f"the split has {leaves} leaves", field="amounts", leaves=leaves)
    return Instruction(
        kind=InstructionKind.RETURN,
        id=identifiers.return_id(snapshot.platform.id, request.reference),
        order_id=order.order_id,
        split_id=split.id,
        amount=request.amount,
        amounts=request.amounts or (),
    )


def _refund(snapshot: Snapshot, request: RefundRequest) -> Instruction:
    order = snapshot.order(request.order)
    _check_order(order, request.order, request.currency)
    _check_movable(snapshot, order, request.order, request.type)
    return Instruction(
        kind=InstructionKind.REFUND,
        id=identifiers.refund_id(snapshot.platform.id, request.reference),
        order_id=order.order_id,
        amount=request.amount,
    )


def _check_movable(snapshot: Snapshot, order: OrderFacts, reference: str, kind: InstructionType) -> None:
    """Raises the reason for which the chain is certain to refuse an instruction of this kind now."""
    if (frozen := snapshot.frozen.get((order.order_id, order.order_id))) is not None:
        raise OrderFrozen(
            f"a guardian has frozen order {reference!r}",
            field="out_order_no",
            reference=reference,
            reason=frozen,
        )
    # A hold is there for the buyer, so it does not keep a refund back.
    if snapshot.now < order.hold_until and kind is not InstructionType.REFUND:
        raise OrderOnHold(
            f"nothing may be done on order {reference!r} before {order.hold_until}",
            field="out_order_no",
            reference=reference,
            hold_until=order.hold_until,
        )
    if kind is InstructionType.SPLIT and 0 < order.expires_at <= snapshot.block_time:
        raise OrderExpired(
            f"order {reference!r} expired at {order.expires_at}",
            field="out_order_no",
            reference=reference,
            expires_at=order.expires_at,
        )


def _check_order(order: OrderFacts, reference: str, currency: str | None) -> None:
    if currency is not None and currency != order.currency:
        raise CurrencyMismatch(
            f"the order is in {order.currency}",
            field="currency",
            currency=currency,
            order_currency=order.currency,
        )
    if order.instructions >= MAX_INSTRUCTIONS_PER_ORDER:
        raise TooManyInstructions(
            f"an order has at most {MAX_INSTRUCTIONS_PER_ORDER} instructions",
            reference=reference,
            limit=MAX_INSTRUCTIONS_PER_ORDER,
        )


def _check_past(snapshot: Snapshot, order: OrderFacts, request: SettlementRequest) -> None:
    """Refunds tell of all leaves of their order, so with some of them the past grows faster than instructions."""
    if InstructionType.REFUND not in {request.type, *order.written}:
        return
    try:
        of_split = snapshot.shape(order.rule_id, order.rule_version).leaves
    except UnknownRule:
        of_split = MAX_LEAVES  # captured by another backend of the platform
    leaves = order.past_leaves(of_split, request.type)
    if leaves > MAX_PAST_LEAVES:
        raise TooManyInstructions(
            f"the past of an order has at most {MAX_PAST_LEAVES} leaves, and each refund as many as the order",
            reference=request.reference,
            leaves=leaves,
            limit=MAX_PAST_LEAVES,
        )
