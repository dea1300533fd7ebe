"""Which units go into which transaction. Pure: from what is pending and known to a list of plans.

An order's instructions keep their order of acceptance. A unit that has to wait makes all its orders wait for the rest
of this planning. Two plans never touch the same order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from fenzhang.domain.records import NOTHING, Capture, Instruction, InstructionKind
from fenzhang.store.conditions import Key
from fenzhang.submission import gas as model
from fenzhang.submission.config import SubmissionConfig
from fenzhang.submission.facts import Facts, KnownOrder, RuleKey, rule_key
from fenzhang.submission.picking import Pending, Queue, Signed, Unit

_LAST_PART = 16
"""In this part of a transaction's calldata it is looked at what stands behind a capture."""
_CONDITIONS = b""
"""Stands for the contract that keeps conditions among what is looked at for the first time."""
_REFUNDED = b""
"""Stands for the total of refunds among the positions of a currency."""
_CAPTURED_HERE = -1
"""Place of captures among the groups of a plan: before all authorizations."""


@dataclass(slots=True)
class Group:
    """One attestation or authorization of a transaction. `signed` is None for one that the keystore signs now.

    `platform_id` names the platform of an authorization.
    """

    platform_id: bytes
    signed: Signed | None
    items: list[Pending] = field(default_factory=list)


@dataclass(slots=True)
class _Cost:
    """What adding a unit takes."""

    gas: int = 0
    size: int = 0
    standings: set[bytes] = field(default_factory=set)
    positions: set[tuple[str, bytes]] = field(default_factory=set)
    rules: dict[RuleKey, int] = field(default_factory=dict)


@dataclass(slots=True)
class Plan:
    """One transaction in the making. `exclusive` plans hold suspected units only."""

    facts: Facts
    config: SubmissionConfig
    exclusive: bool = False
    gas: int = model.TRANSACTION
    size: int = model.TRANSACTION_BYTES
    attestations: list[Group] = field(default_factory=list)
    authorizations: list[Group] = field(default_factory=list)
    captured: dict[bytes, Capture] = field(default_factory=dict)
    witnesses: dict[bytes, KnownOrder] = field(default_factory=dict)
    """Witnesses in order of first use; with the past only where a return or refund needs it."""
    units: int = 0
    _open_captures: Group | None = None
    _open: dict[bytes, int] = field(default_factory=dict)
    _touched: dict[bytes, int] = field(default_factory=dict)
    _standings: set[bytes] = field(default_factory=set)
    _positions: set[tuple[str, bytes]] = field(default_factory=set)
    _rules: set[RuleKey] = field(default_factory=set)
    _signed_by_others: bool = False
    _costed: tuple[Unit, _Cost] | None = None
    """The unit that was asked about last, which is mostly the next to be added."""

    @property
    def order_ids(self) -> Collection[bytes]:
        """Orders that it touches."""
        return self._touched.keys()

    @property
    def instructions(self) -> list[Pending]:
        """All its captures and instructions."""
        return [item for group in (*self.attestations, *self.authorizations) for item in group.items]

    def accepts(self, unit: Unit) -> bool:
        """Whether the unit may follow what is in this transaction already."""
        if isinstance(unit.items[0].what, Capture):
            return not any(order in self._touched for order in unit.order_ids)
        place = len(self.authorizations)
        if unit.signed is None:
            place = self._open.get(unit.items[0].platform_id, place)
        for item in unit.items:
            touched = self._touched.get(item.order_id)
            if touched is None:
                continue
            # A group that was begun earlier stands before what touched the order since.
            if touched > place or _opens_past(item):
                return False
            # It was captured before: the chain will refuse the capture in this transaction, and know the order.
            if item.order_id in self.captured and item.order_id in self.facts.orders:
                return False
        return True

    def fits(self, unit: Unit, followers: Sequence[Instruction] = ()) -> bool:
        """Whether there is room; the first unit always fits.

        A capture fits if its `followers` do as well: in the next transaction they would wait until it is mirrored.
        """
        if not self.units:
            return True
        cost = self._cost(unit)
        self._costed = (unit, cost)
        if followers and isinstance(unit.items[0].what, Capture):
            cost = self._with_followers(cost, unit.items[0].what, followers)
        orders = len(self._touched) + len(unit.order_ids - self._touched.keys())
        return (
            self.gas + cost.gas <= self.config.target_gas
            and self.size + cost.size <= self.config.max_calldata_bytes
            and orders <= self.config.max_orders
        )

    def _with_followers(self, cost: _Cost, capture: Capture, followers: Sequence[Instruction]) -> _Cost:
        found = _Cost(cost.gas, cost.size)
        for follower in followers:
            self._cost_of_instruction(follower, capture, found)
        found.gas += model.COLD_STANDING * len(found.standings - self._standings)
        found.gas += model.COLD_POSITION * len(found.positions - self._positions)
        return found

    def add(self, unit: Unit) -> None:
        """Add a unit that it accepts."""
        known = self._costed
        cost = known[1] if known is not None and known[0] is unit else self._cost(unit)
        self._costed = None
        self.gas += cost.gas
        self.size += cost.size
        self._standings |= cost.standings
        self._positions |= cost.positions
        self._rules |= cost.rules.keys()
        self.units += 1
        self._signed_by_others |= unit.signed is not None
        place = _CAPTURED_HERE
        if isinstance(unit.items[0].what, Capture):
            self._attestation_for(unit).items.extend(unit.items)
        else:
            place = self._authorization_for(unit)
            self.authorizations[place].items.extend(unit.items)
        for item in unit.items:
            self._touched[item.order_id] = place
            if isinstance(item.what, Capture):
                self.captured[item.order_id] = item.what
            elif item.order_id not in self.captured and item.order_id in self.facts.orders:
                self._add_witness(item)

    def _add_witness(self, item: Pending) -> None:
        known = self.facts.orders[item.order_id]
        if _opens_past(item):
            self.witnesses[item.order_id] = known
        else:
            self.witnesses.setdefault(item.order_id, KnownOrder(known.capture, known.head))

    def _attestation_for(self, unit: Unit) -> Group:
        if unit.signed is not None:
            self.attestations.append(Group(b"", unit.signed))
            return self.attestations[-1]
        if self._open_captures is None:
            self._open_captures = Group(b"", None)
            self.attestations.append(self._open_captures)
        return self._open_captures

    def _authorization_for(self, unit: Unit) -> int:
        platform = unit.items[0].platform_id
        if unit.signed is None and platform in self._open:
            return self._open[platform]
        self.authorizations.append(Group(platform, unit.signed))
        place = len(self.authorizations) - 1
        if unit.signed is None:
            self._open[platform] = place
        return place

    # -------------------------------------------------------------------------- cost

    def _cost(self, unit: Unit) -> _Cost:
        cost = _Cost()
        if not self._joins(unit):
            cost.gas, cost.size = model.GROUP, model.GROUP_BYTES
        if unit.signed is not None and not self._signed_by_others:
            cost.gas += model.WALLET
        witnessed: set[bytes] = set()
        captured: dict[bytes, Capture] = {}
        for item in unit.items:
            if isinstance(item.what, Capture):
                captured[item.order_id] = item.what
                self._cost_of_capture(item.what, cost)
                continue
            here = self.captured.get(item.order_id) or captured.get(item.order_id)
            known = self.facts.orders.get(item.order_id)
            if here is None and known is not None and (_opens_past(item) or item.order_id not in witnessed):
                witnessed.add(item.order_id)
                past = known.past if _opens_past(item) else ()
                leaves = known.past_leaves if past else 0
                if item.order_id not in self.witnesses or past:
                    cost.gas += model.witness_gas(known.capture, len(past), leaves)
                    cost.size += model.witness_bytes(known.capture, len(past), leaves)
            if here is None and known is not None and item.what.kind is InstructionKind.REFUND:
                self._cost_of_refund(item.what, known, cost)
                continue
            self._cost_of_instruction(item.what, here or (known.capture if known else None), cost)
        cost.gas += model.COLD_STANDING * len(cost.standings - self._standings)
        cost.gas += model.COLD_POSITION * len(cost.positions - self._positions)
        cost.gas += sum(model.rule_gas(legs) for key, legs in cost.rules.items() if key not in self._rules)
        return cost

    def _joins(self, unit: Unit) -> bool:
        """Whether the unit goes into a group that has been begun."""
        if unit.signed is not None:
            return False
        if isinstance(unit.items[0].what, Capture):
            return self._open_captures is not None
        return unit.items[0].platform_id in self._open

    def _cost_of_capture(self, capture: Capture, cost: _Cost) -> None:
        cost.gas += model.capture_gas(capture, self.facts.entries.get(capture.platform, 0))
        cost.size += model.capture_bytes(capture)
        cost.rules[rule_key(capture)] = self.facts.shape_of(capture).legs
        cost.standings |= {capture.platform, capture.merchant, *capture.bindings}
        if capture.condition != NOTHING:
            cost.standings |= {capture.condition, _CONDITIONS}

    def _cost_of_instruction(self, instruction: Instruction, capture: Capture | None, cost: _Cost) -> None:
        cost.size += model.instruction_bytes(instruction)
        if capture is None:
            # An unknown order: a rejection.
            cost.gas += model.instruction_gas(instruction, 1)
            return
        shape = self.facts.shape_of(capture)
        cost.gas += model.instruction_gas(instruction, shape.leaves) + model.condition_gas(capture)
        if instruction.kind is InstructionKind.RELEASE:
            paid = {capture.merchant}
        elif instruction.kind is InstructionKind.REFUND:
            # Captured in the same transaction, so nobody was given anything yet.
            cost.positions.add((capture.currency, _REFUNDED))
            return
        else:
            paid = {who for who in (*shape.recipients, *capture.bindings, *instruction.bindings) if any(who)}
            cost.rules[rule_key(capture)] = shape.legs
            if self.facts.is_capped(capture):
                known = self.facts.orders.get(capture.order_id)
                cost.gas += model.cap_gas(shape.leaves + (known.past_leaves if known else 0))
        cost.positions |= {(capture.currency, who) for who in paid}
        if not instruction.kind.opens_past:
            # Whether somebody who gives back is frozen is asked for less, and is part of a return's price.
            cost.standings |= paid

    def _cost_of_refund(self, instruction: Instruction, known: KnownOrder, cost: _Cost) -> None:
        cost.size += model.instruction_bytes(instruction)
        # The rule is asked whether its recipients may owe.
        cost.rules[rule_key(known.capture)] = self.facts.shape_of(known.capture).legs
        leaves = known.leaves
        cost.gas += model.instruction_gas(instruction, len(leaves)) + model.condition_gas(known.capture)
        cost.positions |= {(known.capture.currency, leaf.recipient) for leaf in leaves}
        cost.positions.add((known.capture.currency, _REFUNDED))


def _opens_past(item: Pending) -> bool:
    return isinstance(item.what, Instruction) and item.what.kind.opens_past


def make_plans(
    queue: Queue, facts: Facts, config: SubmissionConfig, max_plans: int, held_back: Collection[int] = ()
) -> list[Plan]:
    """At most `max_plans` transactions from the queue. `held_back` are authorizations that are not tried yet."""
    return _Planner(queue, facts, config, max_plans, held_back).run()


def in_sequence(units: Sequence[Unit]) -> list[Unit]:
    """The units, each after all those that hold an earlier open instruction of one of its orders.

    A signature may cover much, and its unit stands where its last instruction does: behind some that need its first.
    Units that need each other come in some order, for nothing is to wait for ever.
    """
    if all(len(unit.items) == 1 for unit in units):
        return list(units)
    places: dict[bytes, list[tuple[int, int]]] = defaultdict(list)
    for place, unit in enumerate(units):
        for item in unit.items:
            if item.open:
                places[item.order_id].append((item.seq, place))
    result: list[Unit] = []
    seen: set[int] = set()
    for first in range(len(units)):
        stack = [(first, False)]
        while stack:
            place, done = stack.pop()
            if done:
                result.append(units[place])
            elif place not in seen:
                seen.add(place)
                stack.append((place, True))
                earlier = {
                    other
                    for item in units[place].items
                    if item.open
                    for seq, other in places[item.order_id]
                    if seq < item.seq and other not in seen
                }
                stack += [(other, False) for other in sorted(earlier, reverse=True)]
    return result


class _Planner:
    def __init__(
        self, queue: Queue, facts: Facts, config: SubmissionConfig, max_plans: int, held_back: Collection[int]
    ) -> None:
        self._queue = queue
        self._facts = facts
        self._config = config
        self._max_plans = max_plans
        self._held_back = held_back
        self._plans: list[Plan] = []
        self._regular: Plan | None = None
        self._exclusive: dict[tuple[int, int], Plan] = {}
        self._owner: dict[bytes, Plan] = {}
        self._waiting: set[bytes] = set(queue.busy)
        self._refused: set[bytes] = set(queue.busy)
        """Orders that wait for something else than a condition."""
        self._kept: list[tuple[Unit, set[Key]]] = []
        """Units that wait for conditions, with those that are open."""
        self._nearly_full = config.max_calldata_bytes - config.max_calldata_bytes // _LAST_PART
        self._behind: dict[bytes, list[Instruction]] = defaultdict(list)
        self._captures = {
            item.order_id: item.what
            for unit in (queue.units if queue.open.by_key else ())
            for item in unit.items
            if isinstance(item.what, Capture)
        }
        for unit in queue.units:
            what = unit.items[0].what
            if unit.signed is None and isinstance(what, Instruction):
                self._behind[what.order_id].append(what)

    def run(self) -> list[Plan]:
        for unit in in_sequence(self._queue.units):
            keys = self._waits_for(unit)
            if keys:
                self._kept.append((unit, keys))
                self._waiting |= unit.order_ids - self._conditional(unit)
                continue
            plan = self._plan_for(unit)
            if plan is None:
                self._waiting |= unit.order_ids
                self._refused |= unit.order_ids
                continue
            plan.add(unit)
            self._owner |= dict.fromkeys(unit.order_ids, plan)
        for unit, keys in self._kept:
            if not self._add_to_completing(unit, keys):
                self._refused |= unit.order_ids
        return [plan for plan in self._plans if plan.units]

    def _waits_for(self, unit: Unit) -> set[Key]:
        """The open conditions that keep a unit from being sent."""
        return {key for order_id in self._conditional(unit) if (key := self._key_of(order_id)) is not None}

    def _conditional(self, unit: Unit) -> set[bytes]:
        """Orders of a unit with open conditions, if it splits or releases them."""
        if not self._queue.open.by_key:
            return set()
        return {
            item.order_id
            for item in unit.items
            if isinstance(item.what, Instruction)
            and item.what.kind.needs_condition
            and self._key_of(item.order_id) is not None
        }

    def _key_of(self, order_id: bytes) -> Key | None:
        known = self._facts.orders.get(order_id)
        capture = self._captures.get(order_id) if known is None else known.capture
        return None if capture is None else self._queue.open.key_of(capture)

    def _add_to_completing(self, unit: Unit, keys: set[Key]) -> bool:
        """Whether a unit goes with the captures that complete its conditions: they are in one transaction."""
        conditions, orders = self._queue.open, unit.order_ids
        if not orders.isdisjoint(self._refused) or self._is_held_back(unit):
            return False
        for plan in self._plans:
            fresh = [capture for order, capture in plan.captured.items() if order not in self._facts.orders]
            if not keys <= conditions.completed_by(fresh):
                continue
            here = all(self._owner.get(order, plan) is plan for order in orders)
            known = all(order in self._facts.orders or order in plan.captured for order in orders)
            if here and known and not plan.exclusive and plan.accepts(unit) and plan.fits(unit):
                plan.add(unit)
                self._owner |= dict.fromkeys(orders, plan)
                return True
        return False

    def _is_held_back(self, unit: Unit) -> bool:
        return unit.signed is not None and unit.signed.id in self._held_back

    def _plan_for(self, unit: Unit) -> Plan | None:
        orders = unit.order_ids
        if not orders.isdisjoint(self._waiting) or self._is_held_back(unit):
            return None
        owners = {id(owner): owner for order in orders if (owner := self._owner.get(order))}
        plan = self._suspects_plan(unit) if unit.suspicion else self._regular
        if plan is not None and plan.accepts(unit) and plan.fits(unit, self._followers_of(unit, plan)):
            return plan if not owners.keys() - {id(plan)} else None
        if owners or unit.suspicion:
            return None
        self._regular = self._open()
        return self._regular

    def _followers_of(self, unit: Unit, plan: Plan) -> Sequence[Instruction]:
        """What waits behind a capture, asked for near the end of a transaction only."""
        if plan.size < self._nearly_full or unit.signed is not None:
            return ()
        return self._behind.get(unit.items[0].order_id, ())

    def _suspects_plan(self, unit: Unit) -> Plan | None:
        if unit.suspicion is None:
            return None
        key = (unit.suspicion.transaction_id, unit.suspicion.half)
        if key not in self._exclusive:
            opened = self._open(exclusive=True)
            if opened is None:
                return None
            self._exclusive[key] = opened
        return self._exclusive[key]

    def _open(self, *, exclusive: bool = False) -> Plan | None:
        if len(self._plans) == self._max_plans:
            return None
        plan = Plan(self._facts, self._config, exclusive)
        self._plans.append(plan)
        return plan
