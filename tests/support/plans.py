"""Random batches: what a generated plan means in the present state of a world.

A plan is a few small numbers, so that Hypothesis can shrink it. `Planner` turns it into signed attestations and
authorizations, some of them forged, late, repeated, changed or for another chain, and into witnesses, some wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any

from hypothesis import strategies as st

from fenzhang.chain.codec import SettleCall
from fenzhang.domain.allocation import given_ranges
from fenzhang.domain.facts import Facts
from fenzhang.domain.past import order_leaves, returnable
from fenzhang.domain.records import (
    NOTHING,
    Attestation,
    Authorization,
    Capture,
    Instruction,
    OrderWitness,
    RecordKind,
)
from fenzhang.domain.rules import Leg, given_indices, roles_of
from support.parties import (
    BOTH,
    COURIER,
    MALL,
    MERCHANT,
    NOBODY,
    PROMOTER,
    SHOP,
    STRANGER,
    SUPPLIER,
    VENDOR,
    Party,
    RuleRef,
    ident,
)
from support.system import OUTSIDER
from support.world import World

Signed = Attestation | Authorization
RECEIVERS = (MERCHANT, PROMOTER, COURIER, SUPPLIER, BOTH, VENDOR, STRANGER, MALL)
CURRENCIES = (*("CNY",) * 7, "XYZ", *("JPY",) * 4, *("CNY",) * 4)
AMOUNTS = (
    1_000,
    5_000,
    12_345,
    29,
    0,
    35,
    100,
    2**63,
    999,
    10**6,
    1,
    10**9,
    10**12,
    2**63 - 1,
    77_777,
    10**5,
)
"""Hypothesis likes the ends of a range, so what is refused stands in the middle."""


class Trick(Enum):
    """What is wrong with a group as a whole."""

    NONE = auto()
    FORGED = auto()
    LATE = auto()
    ELSEWHERE = auto()
    CHANGED = auto()
    REORDERED = auto()
    TWICE = auto()
    REPLAYED = auto()


class Deceit(Enum):
    """What is wrong with the witnesses of a batch."""

    NONE = auto()
    MISSING = auto()
    OTHER_HEAD = auto()
    HIDDEN = auto()
    DOUBLED = auto()


@dataclass(frozen=True, slots=True)
class Act:
    """One capture or instruction: its kind, and numbers that say which order, how much, and what else."""

    kind: str
    which: int
    amount: int
    extra: int


@dataclass(frozen=True, slots=True)
class Group:
    """One attestation or authorization."""

    signer: str
    trick: Trick
    acts: tuple[Act, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """One transaction."""

    groups: tuple[Group, ...]
    deceit: Deceit
    victim: int


_numbers = st.integers(0, 255)
_instructions = st.builds(
    Act,
    st.sampled_from(["split", "split", "split", "return", "return", "refund", "release"]),
    _numbers,
    _numbers,
    _numbers,
)
_captures = st.builds(Act, st.just("capture"), _numbers, _numbers, _numbers)
_tricks = st.one_of(st.just(Trick.NONE), st.just(Trick.NONE), st.just(Trick.NONE), st.sampled_from(Trick))
_deceits = st.one_of(
    st.just(Deceit.NONE), st.just(Deceit.NONE), st.sampled_from([*Deceit, Deceit.DOUBLED, Deceit.DOUBLED])
)
_banks = st.builds(Group, st.just("bank"), _tricks, st.lists(_captures, min_size=1, max_size=3).map(tuple))
_platforms = st.builds(
    Group,
    st.sampled_from(["mall", "mall", "mall", "shop"]),
    _tricks,
    st.lists(_instructions, min_size=1, max_size=4).map(tuple),
)
_groups = st.one_of(_banks, _platforms, _platforms, _platforms)
plans = st.builds(Plan, st.lists(_groups, min_size=1, max_size=4).map(tuple), _deceits, _numbers)
openings = st.builds(
    Plan,
    st.tuples(
        st.builds(
            Group,
            st.just("bank"),
            st.just(Trick.NONE),
            st.lists(_captures, min_size=6, max_size=8).map(tuple),
        )
    ),
    st.just(Deceit.NONE),
    st.just(0),
)
"""A first transaction: captures alone."""


def category_of(rule: RuleRef) -> bytes:
    """Facts that state the category whose orders a schedule gives to a rule."""
    return Facts(category=rule.rule_id.hex()[:8]).pack()


@dataclass(slots=True)
class Planner:
    """Reads plans against a world; remembers what was honestly signed, for replays and the invariant of authority."""

    world: World
    rules: list[RuleRef]
    keys: dict[bytes, Any]
    """Present authority of each platform."""
    attested: set[Capture] = field(default_factory=set)
    authorized: dict[bytes, tuple[bytes, Instruction]] = field(default_factory=dict)
    """By instruction id: the platform that signed it, and the instruction."""
    history: list[Signed] = field(default_factory=list)
    conditions: list[bytes] = field(default_factory=list)
    """Those that the mall has opened."""

    def call(self, plan: Plan) -> SettleCall:
        """The transaction that a plan means now."""
        fresh: list[Capture] = []
        signed: list[Signed] = []
        for group in plan.groups:
            signed += self._group(group, fresh)
        call = self.world.complete(signed)
        return _deceive(call, plan) if call.witnesses else call

    # -------------------------------------------------------------------------- signing

    def _group(self, group: Group, fresh: list[Capture]) -> list[Signed]:
        if group.trick is Trick.REPLAYED and self.history:
            return [self.history[group.acts[0].which % len(self.history)]]
        how: dict[str, Any] = {}
        if group.trick is Trick.LATE:
            how["deadline"] = self.world.node.now
        if group.trick is Trick.ELSEWHERE:
            how["domain"] = replace(self.world.domain, chain_id=1)
        if group.signer == "bank":
            item = self._attestation(group, fresh, how)
        else:
            item = self._authorization(group, fresh, how)
        sent = _tampered(item, group.trick)
        if group.trick not in {Trick.FORGED, Trick.ELSEWHERE} and sent == item:
            self.remember(item)
        return [sent] * (2 if group.trick is Trick.TWICE else 1)

    def _attestation(self, group: Group, fresh: list[Capture], how: dict[str, Any]) -> Signed:
        captures = [self._capture(act) for act in group.acts]
        fresh += captures
        if group.trick is Trick.FORGED:
            how["key"] = OUTSIDER
            if group.acts[0].extra % 2:
                how["attestor"] = self.world.attest().attestor
        return self.world.attest(*captures, **how)

    def _authorization(self, group: Group, fresh: list[Capture], how: dict[str, Any]) -> Signed:
        platform = MALL if group.signer == "mall" else SHOP
        how["key"] = self.keys[platform.id]
        if group.trick is Trick.FORGED:
            how["key"] = self.keys[SHOP.id if platform is MALL else MALL.id]
        instructions = [self._instruction(act, platform, fresh) for act in group.acts]
        return self.world.authorize(*instructions, platform=platform, **how)

    def remember(self, item: Signed) -> None:
        """Note what was honestly signed."""
        self.history.append(item)
        if isinstance(item, Attestation):
            self.attested.update(item.captures)
        else:
            for instruction in item.instructions:
                self.authorized[instruction.id] = (item.platform, instruction)

    # -------------------------------------------------------------------------- captures and instructions

    def _capture(self, act: Act) -> Capture:
        rule = self.rules[act.which % len(self.rules)]
        roles = roles_of(rule.legs)
        own = (VENDOR, BOTH) if rule.platform is SHOP else (MERCHANT, PROMOTER, COURIER, SUPPLIER, BOTH)
        bindings = [own[(act.extra + place) % len(own)].id for place in range(len(roles))]
        merchant: Party = own[0]
        match act.extra % 16:
            case 7:
                bindings = bindings[1:]
            case 8:
                merchant = STRANGER
            case 2 | 3 | 4:
                bindings[0] = NOBODY
            case 9:
                bindings[-1] = RECEIVERS[act.which % len(RECEIVERS)].id
            case _:
                pass
        order_id = None
        if act.which >> 4 == 7 and self.world.twin.world.orders:
            orders = list(self.world.twin.world.orders)
            order_id = orders[act.which % len(orders)]
        hold_until, expires_at = self._times(act)
        return self.world.capture(
            AMOUNTS[act.amount % len(AMOUNTS)],
            rule=rule,
            bindings=bindings,
            merchant=merchant,
            currency=CURRENCIES[act.extra >> 4],
            order_id=order_id,
            hold_until=hold_until,
            expires_at=expires_at,
            condition=self._condition(act),
            facts=NOTHING if act.extra % 4 == 1 else category_of(rule),
        )

    def _condition(self, act: Act) -> bytes:
        """Most orders have none; others one of the last, which may be another platform's, or one that nobody opened."""
        match act.extra % 16:
            case 10 | 11 | 12 | 13 if self.conditions:
                return self.conditions[-1 - act.which % min(len(self.conditions), 3)]
            case 14 if act.which % 4 == 0:
                return ident("no condition")
            case _:
                return NOBODY

    def _times(self, act: Act) -> tuple[int, int]:
        """Half of the orders have no times; the others' are not far ahead, now and then the wrong way round."""
        now = self.world.node.now
        match (act.amount >> 4) % 8:
            case 4:
                return now + act.which % 8, 0
            case 5:
                return 0, now + act.which % 32
            case 6:
                return now + act.which % 8, now + act.which % 8 + 1 + act.extra % 32
            case 7:
                return now + act.which % 8, now + act.which % 12
            case _:
                return 0, 0

    def expiring(self, number: int) -> list[bytes | OrderWitness]:
        """Orders to be expired: some of the last, with fresh witnesses, a wrong one, and one that nobody captured."""
        orders = list(self.world.twin.world.orders)
        chosen: list[bytes | OrderWitness] = [
            order for order in orders[-8:] if number & 3 or order == orders[-1]
        ]
        if chosen and number % 3 == 1:
            chosen.append(
                replace(self.world.twin.witness(orders[-1], opened=False), head=ident("another head"))
            )
        if number % 3 == 2:
            chosen.append(OrderWitness(self.world.capture(5, expires_at=1), bytes(32)))
        return chosen

    def _instruction(self, act: Act, platform: Party, fresh: Sequence[Capture]) -> Instruction:
        capture = self._order(act, platform, fresh)
        order_id = ident("unknown", act.which) if capture is None else capture.order_id
        order = self.world.twin.world.orders.get(order_id)
        held = order.held if order is not None else capture.amount if capture is not None else 5
        if act.kind == "release":
            release = self.world.release(order_id)
            return replace(release, amount=1) if act.extra % 16 == 7 else release
        if act.kind == "refund":
            return self._refund(act, order_id, held)
        has_split = order is not None and any(record.kind is RecordKind.SPLIT for record in order.past)
        if act.kind == "split" or not (has_split or act.extra % 8 == 5):
            return self._split(act, order_id, capture, held)
        return self._return(act, order_id)

    def _order(self, act: Act, platform: Party, fresh: Sequence[Capture]) -> Capture | None:
        """An order of the platform most times; of another now and then; one that nobody captured."""
        known = [order.capture for order in self.world.twin.world.orders.values()]
        candidates = [*known[-6:], *fresh]
        if act.which >> 3 & 15 != 7:
            candidates = [capture for capture in candidates if capture.platform == platform.id]
        if act.extra >> 3 & 7 != 5:
            candidates = [capture for capture in candidates if self._is_fit(act, capture)] or candidates
        if not candidates or act.which >> 3 == 17:
            return None
        return candidates[act.which % len(candidates)]

    def _is_fit(self, act: Act, capture: Capture) -> bool:
        """Whether an instruction of this kind has something to do on an order."""
        order = self.world.twin.world.orders.get(capture.order_id)
        if act.kind == "return":
            return order is not None and any(record.kind is RecordKind.SPLIT for record in order.past)
        return act.kind == "refund" or order is None or order.held > 0

    def _split(self, act: Act, order_id: bytes, capture: Capture | None, held: int) -> Instruction:
        match act.amount % 16:
            case 7:
                amount = held + 1
            case 8:
                amount = 0
            case 0 | 1:
                amount = held
            case _:
                amount = max(1, held * act.amount // 256)
        bindings: list[bytes] = []
        if capture is not None and (NOBODY in capture.bindings or act.extra % 16 == 7) and act.extra % 8 != 3:
            receivers = RECEIVERS[act.extra % len(RECEIVERS) :] + RECEIVERS
            bindings = [
                receiver.id if bound == NOBODY or act.extra % 16 == 7 else NOBODY
                for bound, receiver in zip(capture.bindings, receivers, strict=False)
            ]
        given = () if capture is None else _given(self.world.twin.world.legs_of(capture), amount, act)
        split = self.world.split(order_id, amount, bindings=bindings, given=given)
        return replace(split, amounts=(amount,)) if act.extra % 32 == 13 else split

    def _return(self, act: Act, order_id: bytes) -> Instruction:
        order = self.world.twin.world.orders.get(order_id)
        splits = [] if order is None else [r.id for r in order.past if r.kind is RecordKind.SPLIT]
        if order is None or not splits:
            return self.world.give_back(order_id, ident("no split"), 1)
        split_id = splits[act.extra % len(splits)]
        leaves = [leaf.amount for leaf in returnable(order.past, split_id) or []]
        takes: list[int] = []
        match act.amount % 16:
            case 7:
                amount = sum(leaves) + 1
            case 8:
                amount = 0
            case 0 | 1:
                amount = sum(leaves)
            case 2 | 3 | 4:
                takes = [leaf // 2 for leaf in leaves]
                amount = sum(takes)
            case 9 | 10:
                takes = [leaves[0] + 1, *leaves[1:]]
                amount = sum(takes)
            case _:
                amount = max(1, sum(leaves) * act.amount // 256)
        return self.world.give_back(order_id, split_id, amount, takes)

    def _refund(self, act: Act, order_id: bytes, held: int) -> Instruction:
        order = self.world.twin.world.orders.get(order_id)
        leaves = [] if order is None else order_leaves(order.past, order.capture.merchant)
        refundable = held + sum(leaf.amount for leaf in leaves)
        match act.amount % 16:
            case 7:
                amount = refundable + 1
            case 8:
                amount = 0
            case 0:
                amount = refundable
            case 1 | 2:
                amount = held
            case 3 | 4 | 5:
                amount = max(1, held * act.amount // 256)
            case _:
                amount = max(1, refundable * act.amount // 256)
        refund = self.world.refund(order_id, amount)
        return replace(refund, amounts=(amount,)) if act.extra % 32 == 13 else refund


def _given(legs: Sequence[Leg], amount: int, act: Act) -> list[int]:
    """What a split gives: as much as may be, as little, or in between; now and then too much, or one too few."""
    given: list[int] = []
    for place in range(len(given_indices(legs))):
        found = given_ranges(legs, amount, given)[place]
        most = amount if found.most is None else found.most
        match (act.extra + act.amount + place) % 8:
            case 0:
                taken = most + 1
            case 1 | 2:
                taken = most
            case 3:
                taken = found.least
            case _:
                taken = max(found.least, most * act.which // 256)
        given.append(taken)
    return given[:-1] if act.amount % 8 == 5 else given


def _tampered(item: Signed, trick: Trick) -> Signed:
    if isinstance(item, Attestation):
        first, *others = item.captures
        if trick is Trick.CHANGED:
            return replace(item, captures=(replace(first, amount=first.amount + 1), *others))
        return replace(item, captures=item.captures[::-1]) if trick is Trick.REORDERED else item
    instruction, *rest = item.instructions
    if trick is Trick.CHANGED:
        return replace(item, instructions=(replace(instruction, amount=instruction.amount + 1), *rest))
    return replace(item, instructions=item.instructions[::-1]) if trick is Trick.REORDERED else item


def _deceive(call: SettleCall, plan: Plan) -> SettleCall:
    """The call with its witnesses as the relayer wants them; indices go on pointing where they did."""
    victim = plan.victim % len(call.witnesses)
    witness = call.witnesses[victim]
    captured = sum(len(attestation.captures) for attestation in call.attestations)
    match plan.deceit:
        case Deceit.NONE:
            return call
        case Deceit.MISSING:
            indices = tuple(0xFFFF if at == captured + victim else at for at in call.order_index)
            return replace(call, order_index=indices)
        case Deceit.OTHER_HEAD:
            return _with_witness(call, victim, replace(witness, head=ident("another head")))
        case Deceit.HIDDEN:
            return _with_witness(call, victim, replace(witness, past=witness.past[:-1]))
        case Deceit.DOUBLED:
            places = [n for n, at in enumerate(call.order_index) if at == captured + victim]
            last = captured + len(call.witnesses)
            indices = tuple(last if n == places[-1] else at for n, at in enumerate(call.order_index))
            return replace(call, witnesses=(*call.witnesses, witness), order_index=indices)


def _with_witness(call: SettleCall, place: int, witness: OrderWitness) -> SettleCall:
    return replace(call, witnesses=(*call.witnesses[:place], witness, *call.witnesses[place + 1 :]))
