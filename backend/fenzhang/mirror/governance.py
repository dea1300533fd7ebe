"""Participants and rules as the chain has them, and the instructions that changed them.

These rows hold the present state only. After a reorganisation they are read anew from the contracts at the head of the
chain (`look_up`, `restore`): replaying the events from the common ancestor sets the same values again, so that once the
mirror has caught up they are exact. Until then they may be ahead of the checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Update, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.chain.abi import role_text
from fenzhang.chain.events import (
    ApprovalLockChanged,
    AuthorityRotated,
    ConditionConfirmed,
    ConditionJoined,
    ConditionOpened,
    ConditionReached,
    ConsentChanged,
    MaxShareOutChanged,
    ParticipantEnrolled,
    ParticipantPlaced,
    ParticipantStatusChanged,
    RuleApproved,
    RuleProposed,
    RuleRetired,
    RuleVetoed,
    ScheduleProposed,
)
from fenzhang.chain.schedules import content_hash_of
from fenzhang.chain.views import ChainView
from fenzhang.domain.conditions import Condition
from fenzhang.domain.identifiers import hex_id
from fenzhang.domain.places import TOP
from fenzhang.domain.records import ParticipantStatus, RuleState
from fenzhang.domain.schedules import SCHEDULE
from fenzhang.mirror.conditions import follow_conditions, look_up_conditions
from fenzhang.mirror.freezes import follow_freezes
from fenzhang.mirror.outcomes import Asked, Verdicts, instruction_columns
from fenzhang.mirror.reading import GovernanceEvent
from fenzhang.store import chainsettings, payloads
from fenzhang.store.bulk import chunks, update_rows
from fenzhang.store.conditions import Key
from fenzhang.store.tables import (
    CLEARING_TYPES,
    SCHEDULE_REFERENCE,
    TERMINAL_STATES,
    Instruction,
    InstructionType,
    Participant,
    RuleVersion,
    Transaction,
)

_NO_ADDRESS = bytes(20)
_Signed = RuleProposed | ScheduleProposed | RuleRetired
"""What carries the platform's own signature."""


async def follow(session: AsyncSession, events: Sequence[GovernanceEvent], verdicts: Verdicts) -> None:
    """Write what the events changed, and add to `verdicts` the instructions that they settle."""
    if not events:
        return
    await _follow_participants(session, events)
    await _follow_rules(session, events)
    await follow_freezes(session, events)
    await follow_conditions(session, events)
    await _settle(session, events, verdicts)


async def _follow_participants(session: AsyncSession, events: Sequence[GovernanceEvent]) -> None:
    changes: dict[bytes, dict[str, Any]] = {}
    for event in events:
        match event:
            case ParticipantEnrolled():
                change = {"status": int(ParticipantStatus.ACTIVE), "authority": _address(event.authority)}
            case ParticipantStatusChanged():
                change = {"status": int(event.status)}
            case ParticipantPlaced():
                change = {"parent_id": _parent(event.parent), "level": event.level}
            case AuthorityRotated():
                change = {"authority": _address(event.next)}
            case _:
                continue
        changes.setdefault(event.participant, {"id": event.participant}).update(change)
    for columns in ({"status"}, {"authority"}, {"parent_id", "level"}):
        rows = [
            {name: change[name] for name in ("id", *columns)}
            for change in changes.values()
            if columns <= change.keys()
        ]
        await update_rows(session, Participant, "id", rows)
    await _follow_consents(session, events)
    caps = {event.platform: event.max_share_out for event in events if isinstance(event, MaxShareOutChanged)}
    rows = [{"id": platform, "max_share_out": cap} for platform, cap in caps.items()]
    await update_rows(session, Participant, "id", rows)


async def _follow_consents(session: AsyncSession, events: Sequence[GovernanceEvent]) -> None:
    """Consent to other platforms than a participant's own has no row."""
    consents = {
        (event.recipient, event.platform): event.granted
        for event in events
        if isinstance(event, ConsentChanged)
    }
    for chunk in chunks(sorted({recipient for recipient, _ in consents})):
        query = select(Participant.id, Participant.platform_id).where(Participant.id.in_(chunk))
        pairs = [(row.id, row.platform_id) for row in await session.execute(query)]
        rows = [{"id": pair[0], "consents": consents[pair]} for pair in pairs if pair in consents]
        await update_rows(session, Participant, "id", rows)


async def _follow_rules(session: AsyncSession, events: Sequence[GovernanceEvent]) -> None:
    for event in events:
        match event:
            case RuleProposed():
                await _set_flag(session, event, "proposed")
            case ScheduleProposed():
                await _take_schedule(session, event)
            case RuleApproved():
                await _set_flag(session, event, "approved")
            case RuleVetoed():
                await _veto(session, event)
            case ApprovalLockChanged():
                await chainsettings.write(session, chainsettings.APPROVAL_LOCK, event.lock)
            case RuleRetired():
                await session.execute(
                    update(RuleVersion)
                    .where(RuleVersion.platform_id == event.platform, RuleVersion.rule_id == event.rule_id)
                    .values(retired=True)
                )
            case _:
                pass


async def _set_flag(session: AsyncSession, event: RuleProposed | RuleApproved, flag: str) -> None:
    await session.execute(_row_of(event).values({flag: True}))


async def _take_schedule(session: AsyncSession, event: ScheduleProposed) -> None:
    """Entries are names of rules alone, so a schedule that this backend did not propose is known as well."""
    row = RuleVersion(
        platform_id=event.platform,
        rule_id=SCHEDULE,
        version=event.version,
        reference=SCHEDULE_REFERENCE,
        legs=[],
        entries=payloads.entries_to_json(event.entries),
        effective_from=event.effective_from,
        content_hash=event.content_hash,
        proposed=True,
    )
    await session.merge(row)
    await session.flush()


async def _veto(session: AsyncSession, event: RuleVetoed) -> None:
    veto = {
        "guardian": hex_id(event.guardian),
        "reason_code": role_text(event.reason),
        "block_number": event.at.block_number,
    }
    await session.execute(_row_of(event).values(approved=False, vetoed=True, veto=veto))


def _row_of(event: RuleProposed | RuleApproved | RuleVetoed) -> Update:
    # The platform may have had another content recorded without this backend; its row then stays unproposed.
    return update(RuleVersion).where(
        RuleVersion.platform_id == event.platform,
        RuleVersion.rule_id == event.rule_id,
        RuleVersion.version == event.version,
        RuleVersion.content_hash == event.content_hash,
    )


async def _settle(session: AsyncSession, events: Sequence[GovernanceEvent], verdicts: Verdicts) -> None:
    # Orders join a condition where they are captured, and their transactions carry no request.
    told = [event for event in events if not isinstance(event, ConditionJoined | ConditionReached)]
    positions = {event.at.tx_hash: event.at for event in told}
    for chunk in chunks(sorted(positions)):
        # A governance instruction has a transaction of its own, so the transaction's event is its event.
        query = (
            instruction_columns()
            .add_columns(Transaction.hash)
            .join(Transaction, Transaction.id == Instruction.transaction_id)
            .where(Transaction.hash.in_(chunk))
        )
        for row in await session.execute(query):
            asked = Asked._make(row[:-1])
            if asked.type in _GOVERNANCE:
                verdicts.settle(asked, positions[row.hash])
    for event in events:
        if isinstance(event, _Signed):
            await _settle_relayed(session, event, verdicts)
        elif isinstance(event, ConditionOpened | ConditionConfirmed):
            await _settle_condition(session, event, verdicts)


async def _settle_condition(
    session: AsyncSession, event: ConditionOpened | ConditionConfirmed, verdicts: Verdicts
) -> None:
    """Conditions and their confirmations are signed for: anybody may have brought them to the chain."""
    is_opening = isinstance(event, ConditionOpened)
    kind = InstructionType.CONDITION if is_opening else InstructionType.CONFIRMATION
    query = instruction_columns().where(Instruction.id == event.condition_id, Instruction.type == kind.value)
    for row in await session.execute(query):
        asked = Asked._make(row)
        if verdicts.state_of(asked) in TERMINAL_STATES or asked.platform_id != event.platform:
            continue
        if isinstance(event, ConditionOpened):
            wanted = payloads.condition_opening_from(asked.payload)
            terms = (wanted.needed, wanted.deadline, wanted.confirmer)
            if terms != (event.needed, event.deadline, event.confirmer):
                continue
        verdicts.settle(asked, event.at)


async def _settle_relayed(session: AsyncSession, event: _Signed, verdicts: Verdicts) -> None:
    """Proposals and retirements carry the platform's own signature: anybody may have brought it to the chain."""
    kind = InstructionType.RETIRE if isinstance(event, RuleRetired) else InstructionType.PROPOSE
    query = instruction_columns().where(
        Instruction.platform_id == event.platform, Instruction.type == kind.value
    )
    for row in await session.execute(query):
        asked = Asked._make(row)
        if verdicts.state_of(asked) not in TERMINAL_STATES and _asks_for(asked.payload, event):
            verdicts.settle(asked, event.at)


def _asks_for(payload: dict[str, Any], event: _Signed) -> bool:
    if isinstance(event, RuleRetired):
        return payloads.retirement_from(payload).rule_id == event.rule_id
    return content_hash_of(payloads.proposal_from(payload)) == event.content_hash


_GOVERNANCE = frozenset(
    kind.value
    for kind in (
        InstructionType.ENROLL,
        InstructionType.SUSPEND,
        InstructionType.RESUME,
        InstructionType.CLOSE,
        InstructionType.HEIR,
        InstructionType.RESOLVE,
        InstructionType.PLACE,
        InstructionType.CONSENT,
        InstructionType.CAP,
        InstructionType.PROPOSE,
        InstructionType.APPROVE,
        InstructionType.RETIRE,
        InstructionType.VETO,
        InstructionType.FREEZE,
        InstructionType.UNFREEZE,
        InstructionType.CONDITION,
        InstructionType.CONFIRMATION,
        *CLEARING_TYPES,
    )
)


# ------------------------------------------------------------------------------ after a reorganisation


@dataclass(frozen=True, slots=True)
class Standing:
    """Participants, rule versions and settings as the contracts have them, as rows to be written."""

    participants: list[dict[str, Any]]
    rules: list[tuple[bytes, bytes, int, dict[str, bool]]]
    approval_lock: int
    conditions: dict[Key, Condition]


async def look_up(session: AsyncSession, view: ChainView) -> Standing:
    """Ask the contracts about every participant and rule version of the database. Raises NodeUnavailable, RpcError."""
    query = select(Participant.id, Participant.platform_id).order_by(Participant.id)
    pairs = [(row.id, row.platform_id) for row in await session.execute(query)]
    ids = [participant for participant, _ in pairs]
    participants: list[dict[str, Any]] = []
    standings, places = await view.participants_of(ids), await view.places_of(ids)
    agreed, caps = await view.consents(pairs), await view.max_shares_out(ids)
    for participant, standing, place, consents, cap in zip(ids, standings, places, agreed, caps, strict=True):
        row: dict[str, Any] = {
            "id": participant,
            "status": int(standing.status),
            "parent_id": _parent(place.parent),
            "level": place.level,
            "max_share_out": cap,
        }
        # One that is not enrolled (any more) will agree when it is.
        row["consents"] = consents or standing.status is ParticipantStatus.UNKNOWN
        # A participant that is not enrolled (any more) keeps the authority that it asked to be enrolled with.
        if standing.status is not ParticipantStatus.UNKNOWN:
            row["authority"] = _address(standing.authority)
        participants.append(row)
    rules = []
    for rule in (await session.execute(select(RuleVersion))).scalars():
        header = await view.rule_header(rule.platform_id, rule.rule_id, rule.version)
        _, retired = await view.latest_rule(rule.platform_id, rule.rule_id)
        state = await _state_of(view, rule)
        same = header.content_hash == rule.content_hash
        flags = {
            "proposed": same,
            "approved": same and header.approved,
            "vetoed": same and state is RuleState.VETOED,
            "retired": retired,
        }
        rules.append((rule.platform_id, rule.rule_id, rule.version, flags))
    conditions = await look_up_conditions(session, view)
    return Standing(participants, rules, await view.approval_lock(), conditions)


async def _state_of(view: ChainView, rule: RuleVersion) -> RuleState:
    if rule.rule_id == SCHEDULE:
        return (await view.schedule(rule.platform_id, rule.version)).state
    return (await view.rule(rule.platform_id, rule.rule_id, rule.version)).state


async def restore(session: AsyncSession, standing: Standing) -> None:
    """Write what `look_up` found."""
    rows = standing.participants
    await update_rows(session, Participant, "id", [row for row in rows if "authority" in row])
    await update_rows(session, Participant, "id", [row for row in rows if "authority" not in row])
    for platform, rule, version, flags in standing.rules:
        key = (
            RuleVersion.platform_id == platform,
            RuleVersion.rule_id == rule,
            RuleVersion.version == version,
        )
        await session.execute(update(RuleVersion).where(*key).values(flags))
    await chainsettings.write(session, chainsettings.APPROVAL_LOCK, standing.approval_lock)


def _address(value: bytes) -> bytes | None:
    return None if value == _NO_ADDRESS else value


def _parent(value: bytes) -> bytes | None:
    return None if value == TOP else value
