"""What the database knows about the names in a request, read in a few queries however many items it has."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.domain import identifiers, records
from fenzhang.domain.conditions import Condition, ConditionState
from fenzhang.domain.records import Capture, ParticipantStatus
from fenzhang.domain.rules import Leg, given_indices, leaf_indices, roles_of
from fenzhang.domain.schedules import SCHEDULE, Entry, Selection
from fenzhang.domain.schedules import select as select_entry
from fenzhang.intake import rulestate
from fenzhang.intake.errors import (
    ConditionMissed,
    OrderNotCaptured,
    ParticipantNotActive,
    PlatformNotActive,
    RecipientNotConsented,
    RoleNotInRule,
    UnknownConditionReference,
    UnknownOrderReference,
    UnknownParticipant,
    UnknownPlatform,
    UnknownRule,
    UnknownSplitReference,
)
from fenzhang.intake.requests import (
    CaptureRequest,
    ReturnRequest,
    SettlementRequest,
    SplitRequest,
)
from fenzhang.intake.rows import InstructionRow, NewInstruction
from fenzhang.store import payloads
from fenzhang.store.blocks import NEWEST_TIME, newest_time
from fenzhang.store.bulk import chunks
from fenzhang.store.conditions import condition_of, conditions_of
from fenzhang.store.orders import bindings_of
from fenzhang.store.tables import (
    Freeze,
    Instruction,
    InstructionState,
    InstructionType,
    Order,
    Participant,
    RuleVersion,
)

_NOBODY = bytes(32)
_ID_CHARACTERS = 66
"""0x and 64 hexadecimal digits; a reference has at most 64 characters."""


@dataclass(slots=True)
class RuleShape:
    """What a split needs to know of a rule version: its legs, role names in order, fixed recipients, counts."""

    roles: tuple[str, ...]
    recipients: tuple[bytes, ...]
    leaves: int
    legs: int
    gives: bool = False
    """Whether some of its legs are GIVEN."""
    tree: tuple[Leg, ...] = ()
    max_share_out: int = 0
    """Cap in basis points, 0 for none."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A version of the platform's schedule."""

    version: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Selected:
    """What a version of the schedule selects: the entry that won, and the platform's name of its rule."""

    schedule_version: int
    selection: Selection
    rule: str

    def content(self) -> dict[str, Any]:
        """Which entry won and why, for an answer."""
        return {
            "version": self.schedule_version,
            "entry": self.selection.index,
            "criteria": list(self.selection.entry.criteria),
        }


@dataclass(slots=True)
class OrderFacts:
    """An order as far as intake needs it. `written` counts its splits, releases, returns and refunds by type so far."""

    order_id: bytes
    rejected: bool
    rule_id: bytes
    rule_version: int
    currency: str
    bindings: tuple[bytes, ...]
    merchant: bytes
    captured: int
    hold_until: int = 0
    expires_at: int = 0
    written: dict[str, int] = field(default_factory=dict)

    @property
    def instructions(self) -> int:
        """How many instructions it has so far."""
        return sum(self.written.values())

    def add(self, kind: str, count: int = 1) -> None:
        """Count further instructions of a type."""
        self.written[kind] = self.written.get(kind, 0) + count

    def leaves(self, of_split: int) -> int:
        """At most so many leaves it has: `of_split` for each split, and one for each release."""
        written = self.written
        return written.get(InstructionType.SPLIT, 0) * of_split + written.get(InstructionType.RELEASE, 0)

    def past_leaves(self, of_split: int, following: str | None = None) -> int:
        """At most so many leaves its opened past has, perhaps after a `following` instruction of some type.

        Every refund has all leaves of the order.
        """
        if following is not None:
            after = replace(self, written=dict(self.written))
            after.add(following)
            return after.past_leaves(of_split)
        own, returns = self.leaves(of_split), self.written.get(InstructionType.RETURN, 0)
        return own + returns * of_split + self.written.get(InstructionType.REFUND, 0) * own


_ANY_FREEZE = exists().where(Freeze.ended_block.is_(None))


async def chain_time(session: AsyncSession) -> int:
    """Now in Unix seconds: this machine's time, or the last mirrored block's when that is ahead."""
    return max(int(time.time()), await newest_time(session))


@dataclass(slots=True)
class Snapshot:
    """The platform's participants, rules, orders and instructions that a list of requests names.

    `now` is as `chain_time` has it, `block_time` the last mirrored block's time: the chain is at least that far.
    """

    platform: Participant
    now: int
    block_time: int = 0
    known: dict[tuple[str, str], InstructionRow] = field(default_factory=dict)
    participants: dict[str, Participant] = field(default_factory=dict)
    rules: dict[bytes, list[RuleVersion]] = field(default_factory=lambda: defaultdict(list))
    shapes: dict[tuple[bytes, int], RuleShape] = field(default_factory=dict)
    orders: dict[bytes, OrderFacts] = field(default_factory=dict)
    frozen: dict[tuple[bytes, bytes], str] = field(default_factory=dict)
    """What a guardian has frozen, with the reason: by order, and order again or split."""
    conditions: dict[bytes, Condition] = field(default_factory=dict)
    """Those on the chain, by id."""
    _bound: dict[tuple[object, ...], tuple[bytes, ...]] = field(default_factory=dict)
    _usable: dict[tuple[str, int | None], RuleVersion] = field(default_factory=dict)
    _schedule: Schedule | None = None
    _has_schedule: bool | None = None
    """None while nobody has asked."""

    def require_active_platform(self) -> None:
        """Raises PlatformNotActive."""
        if self.platform.status != ParticipantStatus.ACTIVE or self.platform.authority is None:
            raise PlatformNotActive(self.platform.reference, ParticipantStatus(self.platform.status))

    def active_participant(self, field_name: str, name: str) -> bytes:
        """Id of an active participant. Raises UnknownParticipant or ParticipantNotActive."""
        participant = self.participants.get(name)
        if participant is None:
            raise UnknownParticipant(name, field_name)
        if participant.status != ParticipantStatus.ACTIVE:
            raise ParticipantNotActive(name, ParticipantStatus(participant.status), field=field_name)
        return participant.id

    def consenting_participant(self, field_name: str, name: str) -> bytes:
        """Id of an active participant that agrees to receive from the platform.

        Raises UnknownParticipant, ParticipantNotActive, RecipientNotConsented.
        """
        found = self.active_participant(field_name, name)
        if not self.participants[name].consents:
            raise RecipientNotConsented(
                "the participant does not agree to receive from the platform",
                field=field_name,
                reference=name,
            )
        return found

    def rule_for_capture(self, reference: str, version: int | None) -> RuleVersion:
        """The version to capture by: the named one, else the one in force. Raises why it cannot be used."""
        usable = self._usable.get((reference, version))
        if usable is not None:
            return usable
        versions = self.rules.get(identifiers.rule_id(self.platform.id, reference), [])
        if not versions:
            raise UnknownRule(reference, "out_rule_no")
        if version is not None:
            found = next((v for v in versions if v.version == version), None)
            if found is None:
                raise UnknownRule(f"{reference} version {version}", "rule_version")
            rulestate.require_in_force(found, versions, self.now)
        else:
            found = rulestate.usable(versions, self.now)
        self._usable[reference, version] = found
        return found

    @property
    def schedule(self) -> Schedule | None:
        """The platform's schedule in force, if `rules` has its versions; None without one."""
        if self._has_schedule is None:
            found = rulestate.in_force(self.rules.get(SCHEDULE, []), self.now)
            if found is not None:
                entries = payloads.entries_from_json(found.entries or [])
                self._schedule = Schedule(found.version, entries)
            self._has_schedule = found is not None
        return self._schedule

    def selection(self, facts: bytes, currency: str, amount: int) -> Selected | None:
        """What the schedule in force selects for an order captured now; None without one."""
        if self.schedule is None:
            return None
        found = select_entry(self.schedule.entries, facts, currency, amount, self.now)
        if found is None:
            return None
        versions = self.rules.get(found.entry.rule_id)
        rule = versions[0].reference if versions else identifiers.hex_id(found.entry.rule_id)
        return Selected(self.schedule.version, found, rule)

    def shape(self, rule_id: bytes, version: int) -> RuleShape:
        """Roles and leaf count of a rule version. Raises UnknownRule for one that is not in this database."""
        key = (rule_id, version)
        if key not in self.shapes:
            found = next((v for v in self.rules.get(rule_id, []) if v.version == version), None)
            if found is None:
                raise UnknownRule(identifiers.hex_id(rule_id))
            legs = payloads.legs_from_json(found.legs)
            self.shapes[key] = RuleShape(
                roles=tuple(roles_of(legs)),
                recipients=tuple(leg.recipient for leg in legs if leg.recipient is not None),
                leaves=len(leaf_indices(legs)),
                legs=len(legs),
                gives=bool(given_indices(legs)),
                tree=legs,
                max_share_out=payloads.terms_from_json(found.terms).max_share_out,
            )
        return self.shapes[key]

    def bind(self, shape: RuleShape, bindings: Mapping[str, str]) -> tuple[bytes, ...]:
        """Participants per role of the rule; 32 zero bytes where `bindings` names nobody.

        Raises RoleNotInRule, UnknownParticipant, ParticipantNotActive, RecipientNotConsented.
        """
        # Most items of a request bind the same few combinations.
        key = (shape.roles, *bindings.items())
        bound = self._bound.get(key)
        if bound is None:
            for role in bindings:
                if role not in shape.roles:
                    raise RoleNotInRule(
                        f"the rule has no role {role!r}", field=f"bindings.{role}", roles=list(shape.roles)
                    )
            bound = self._bound[key] = tuple(
                self.consenting_participant(f"bindings.{role}", bindings[role])
                if role in bindings
                else _NOBODY
                for role in shape.roles
            )
        return bound

    def order(self, reference: str) -> OrderFacts:
        """An order. Raises UnknownOrderReference, or OrderNotCaptured when its capture was rejected."""
        return self.order_by_id(identifiers.order_id(self.platform.id, reference), reference)

    def order_by_id(self, order_id: bytes, reference: str) -> OrderFacts:
        """An order by its id. Raises as `order` does."""
        facts = self.orders.get(order_id)
        if facts is None:
            raise UnknownOrderReference(reference, "out_order_no")
        if facts.rejected:
            raise OrderNotCaptured("the capture of the order was rejected", reference=reference)
        return facts

    def condition(self, reference: str) -> bytes:
        """Id of a condition that an order may join. Raises UnknownConditionReference or ConditionMissed."""
        identifier = identifiers.condition_id(self.platform.id, reference)
        found = self.conditions.get(identifier)
        if found is None:
            raise UnknownConditionReference(reference, "condition_no")
        if found.state_at(self.block_time) is ConditionState.MISSED:
            raise ConditionMissed(
                f"condition {reference!r} was missed",
                field="condition_no",
                reference=reference,
                deadline=found.deadline,
            )
        return identifier

    def split(self, reference: str) -> InstructionRow:
        """A split instruction. Raises UnknownSplitReference."""
        found = self.known.get((InstructionType.SPLIT, reference))
        if found is None:
            raise UnknownSplitReference(reference, "out_split_no")
        return found

    def remember(self, instruction: NewInstruction, payload: Capture | records.Instruction) -> None:
        """Take up an instruction that was just accepted, so that later items of the request can refer to it."""
        self.known[instruction.type, instruction.reference] = instruction
        if isinstance(payload, Capture):
            self.orders[payload.order_id] = _facts_of_capture(payload, InstructionState.ACCEPTED)
        else:
            self.orders[payload.order_id].add(instruction.type)


def _facts_of_capture(capture: Capture, state: str) -> OrderFacts:
    return OrderFacts(
        order_id=capture.order_id,
        rejected=state == InstructionState.REJECTED,
        rule_id=capture.rule_id,
        rule_version=capture.rule_version,
        currency=capture.currency,
        bindings=capture.bindings,
        hold_until=capture.hold_until,
        expires_at=capture.expires_at,
        merchant=capture.merchant,
        captured=capture.amount,
    )


# ------------------------------------------------------------------------------ reading


async def platform_of(session: AsyncSession, platform_id: bytes) -> Participant:
    """The platform itself. Raises UnknownPlatform."""
    found = await session.get(Participant, platform_id)
    if found is None or found.platform_id != found.id:
        raise UnknownPlatform(identifiers.hex_id(platform_id))
    return found


async def order_ids_of(
    session: AsyncSession, platform_id: bytes, requests: Sequence[SettlementRequest]
) -> set[bytes]:
    """Ids of the orders that the requests touch, as far as they can be known."""
    found = {identifiers.order_id(platform_id, r.order) for r in requests if not isinstance(r, ReturnRequest)}
    splits = {r.split for r in requests if isinstance(r, ReturnRequest)}
    if splits:
        query = select(Instruction.order_id).where(
            Instruction.platform_id == platform_id,
            Instruction.type == InstructionType.SPLIT,
            Instruction.reference.in_(splits),
        )
        found |= {order_id for order_id in (await session.execute(query)).scalars() if order_id is not None}
    return found


async def load(
    session: AsyncSession, platform: Participant, requests: Sequence[SettlementRequest]
) -> Snapshot:
    """Read everything that `requests` name."""
    latest, freezes = (await session.execute(select(NEWEST_TIME, _ANY_FREEZE))).one()
    block_time = latest or 0
    snapshot = Snapshot(platform, max(int(time.time()), block_time), block_time)
    wanted: dict[InstructionType, set[str]] = defaultdict(set)
    names: set[str] = set()
    for request in requests:
        wanted[request.type].add(request.reference)
        match request:
            case CaptureRequest():
                names |= {request.merchant, *request.bindings.values()}
            case SplitRequest():
                names.update(request.bindings.values())
            case ReturnRequest():
                wanted[InstructionType.SPLIT].add(request.split)
    await _load_instructions(session, snapshot, wanted)
    order_ids = {
        identifiers.order_id(platform.id, r.order) for r in requests if not isinstance(r, ReturnRequest)
    }
    order_ids |= {i.order_id for i in snapshot.known.values() if i.order_id is not None}
    await _load_orders(session, snapshot, order_ids)
    if freezes:
        await _load_freezes(session, snapshot)
    rule_ids = {facts.rule_id for facts in snapshot.orders.values()}
    captures = [request for request in requests if isinstance(request, CaptureRequest)]
    rule_ids |= {identifiers.rule_id(platform.id, r.rule) for r in captures if r.rule is not None}
    if captures:
        rule_ids.add(SCHEDULE)
    await load_rules(session, snapshot, rule_ids)
    await load_participants(session, snapshot, names)
    named = {r.condition for r in requests if isinstance(r, CaptureRequest) and r.condition is not None}
    await _load_conditions(session, snapshot, named)
    return snapshot


async def _load_conditions(session: AsyncSession, snapshot: Snapshot, names: Iterable[str]) -> None:
    platform = snapshot.platform.id
    wanted = {identifiers.condition_id(platform, name) for name in names}
    rows = await conditions_of(session, platform, wanted)
    snapshot.conditions |= {condition: condition_of(row) for condition, row in rows.items()}


async def load_rules(session: AsyncSession, snapshot: Snapshot, rule_ids: Iterable[bytes]) -> None:
    """Read all versions of these rules of the platform; with SCHEDULE, also of those that its schedule names."""
    wanted = set(rule_ids)
    await _load_versions(session, snapshot, wanted)
    if snapshot.schedule is not None:
        named = {entry.rule_id for entry in snapshot.schedule.entries}
        await _load_versions(session, snapshot, named - wanted)


async def _load_versions(session: AsyncSession, snapshot: Snapshot, rule_ids: Iterable[bytes]) -> None:
    query = (
        select(RuleVersion)
        .where(RuleVersion.platform_id == snapshot.platform.id, RuleVersion.rule_id.in_(list(rule_ids)))
        .order_by(RuleVersion.version)
    )
    for version in (await session.execute(query)).scalars():
        snapshot.rules[version.rule_id].append(version)


async def load_participants(session: AsyncSession, snapshot: Snapshot, names: Iterable[str]) -> None:
    """Read participants by the platform's reference, or by 0x id if they are the platform's own."""
    references = [name for name in names if not is_id(name)]
    ids = {name: identifiers.parse_id("participant", name.lower()) for name in names if is_id(name)}
    if not references and not ids:
        return
    own = snapshot.platform.id
    by_reference = select(Participant).where(
        Participant.platform_id == own, Participant.reference.in_(references)
    )
    by_id = select(Participant).where(Participant.id.in_(list(ids.values())))
    found = list((await session.execute(by_reference)).scalars()) if references else []
    if ids:
        found += [each for each in (await session.execute(by_id)).scalars() if each.platform_id == own]
    snapshot.participants |= {participant.reference: participant for participant in found}
    known = {participant.id: participant for participant in found}
    snapshot.participants |= {name: known[raw] for name, raw in ids.items() if raw in known}


def is_id(name: str) -> bool:
    """Whether a participant is named by its id; references are shorter than ids."""
    return len(name) == _ID_CHARACTERS and name.startswith("0x")


async def _load_instructions(
    session: AsyncSession, snapshot: Snapshot, wanted: Mapping[InstructionType, set[str]]
) -> None:
    for kind, references in wanted.items():
        query = select(Instruction).where(
            Instruction.platform_id == snapshot.platform.id,
            Instruction.type == kind,
            Instruction.reference.in_(references),
        )
        for instruction in (await session.execute(query)).scalars():
            snapshot.known[instruction.type, instruction.reference] = instruction


async def _load_orders(session: AsyncSession, snapshot: Snapshot, order_ids: set[bytes]) -> None:
    if not order_ids:
        return
    # Here and wherever ids are given: asked whose they are, SQLite would walk all rows of the platform instead.
    captures = select(Instruction.platform_id, Instruction.payload, Instruction.state).where(
        Instruction.id.in_(order_ids), Instruction.type == InstructionType.CAPTURE
    )
    for platform_id, payload, state in await session.execute(captures):
        if platform_id != snapshot.platform.id:
            continue
        facts = _facts_of_capture(payloads.capture_from(payload), state)
        snapshot.orders[facts.order_id] = facts
    missing = order_ids - snapshot.orders.keys()
    if missing:
        # Orders that another backend of this platform captured are known from the chain alone.
        mirrored = select(Order).where(Order.order_id.in_(missing))
        for order in (await session.execute(mirrored)).scalars():
            if order.platform_id == snapshot.platform.id:
                snapshot.orders[order.order_id] = _facts_of_order(order)
    counts = (
        select(Instruction.order_id, Instruction.type, func.count())
        .where(Instruction.order_id.in_(list(snapshot.orders)), Instruction.type != InstructionType.CAPTURE)
        .group_by(Instruction.order_id, Instruction.type)
    )
    for order_id, kind, count in await session.execute(counts):
        if order_id is not None:
            snapshot.orders[order_id].add(kind, count)


async def _load_freezes(session: AsyncSession, snapshot: Snapshot) -> None:
    splits = [i.id for i in snapshot.known.values() if i.type == InstructionType.SPLIT]
    for chunk in chunks([*snapshot.orders, *splits]):
        query = select(Freeze).where(Freeze.target_id.in_(chunk), Freeze.ended_block.is_(None))
        for freeze in (await session.execute(query)).scalars():
            snapshot.frozen[freeze.order_id or _NOBODY, freeze.target_id] = freeze.reason


def _facts_of_order(order: Order) -> OrderFacts:
    return OrderFacts(
        order_id=order.order_id,
        rejected=False,
        rule_id=order.rule_id,
        rule_version=order.rule_version,
        currency=order.currency,
        bindings=bindings_of(order),
        hold_until=order.hold_until,
        expires_at=order.expires_at,
        merchant=order.merchant,
        captured=order.captured,
    )
