"""Conditions: what a platform lets its orders wait for, and who confirms it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.chain.eip712 import condition_digest, confirmation_digest
from fenzhang.domain.conditions import ConditionState
from fenzhang.domain.identifiers import condition_id, parse_id
from fenzhang.domain.records import NOTHING, ParticipantStatus
from fenzhang.intake import participants
from fenzhang.intake.actor import Actor
from fenzhang.intake.errors import (
    ConditionAlreadyConfirmed,
    ConditionMissed,
    ConditionNotOpened,
    ConfirmerCannotSign,
    DeadlineNotAhead,
    NoConfirmer,
    NoSigningKey,
    UnknownConditionReference,
    UnknownParticipant,
    UnknownPlatform,
)
from fenzhang.intake.once import Asked, find, once
from fenzhang.intake.settlement import Outcome
from fenzhang.intake.signatures import Verifier
from fenzhang.intake.snapshot import chain_time, is_id, platform_of
from fenzhang.store import keys
from fenzhang.store.conditions import condition_of, conditions_of
from fenzhang.store.payloads import ConditionConfirmation, ConditionOpening
from fenzhang.store.tables import Condition, Instruction, InstructionType, Order, Participant


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionRequest:
    """Open a condition: `needed` orders captured and the confirmation of `confirmer`, until `deadline` (Unix seconds).

    `signature` is the platform authority's; without one its keystore key signs.
    """

    reference: str
    deadline: int
    needed: int = 0
    confirmer: str | None = None
    signature: bytes | None = None

    def content(self) -> dict[str, Any]:
        """The request in the client's names."""
        content: dict[str, Any] = {"out_condition_no": self.reference, "deadline": self.deadline}
        named = {"needed": self.needed or None, "confirmer": self.confirmer}
        return content | {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True, slots=True)
class ConditionReading:
    """A condition as it was asked for, and as the mirror has it; either may be missing."""

    condition_id: bytes
    platform_id: bytes
    opening: Instruction | None
    row: Condition | None
    confirmer: str | None
    """Reference or 0x id of the confirmer."""
    now: int
    """The chain's time, Unix seconds."""

    @property
    def state(self) -> ConditionState:
        """UNKNOWN while it is not on the chain."""
        return ConditionState.UNKNOWN if self.row is None else condition_of(self.row).state_at(self.now)


async def open_condition(
    session: AsyncSession, actor: Actor, request: ConditionRequest, verifier: Verifier
) -> Outcome:
    """Open a condition of the actor's platform.

    Raises UnknownParticipant, ConfirmerCannotSign, DeadlineNotAhead, NoSigningKey, SignatureRefused,
    PlatformNotActive, ReferenceConflict.
    """
    platform = await platform_of(session, actor.namespace)

    async def ask() -> Asked:
        participants.require_active(platform)
        now = await chain_time(session)
        if request.deadline <= now:
            raise DeadlineNotAhead("deadline", "it must be still to come", deadline=request.deadline, now=now)
        confirmer = NOTHING
        if request.confirmer is not None:
            confirmer = await _confirmer(session, platform, request.confirmer)
        identifier = condition_id(platform.id, request.reference)
        terms = (platform.id, identifier, request.needed, request.deadline, confirmer)
        if request.signature is None:
            await _require_key(session, platform.id)
        else:
            domain = verifier.network.condition_domain
            digest = condition_digest(domain, *terms)
            verifier.check(domain, platform.authority or b"", digest, request.signature, "signature")
        return identifier, ConditionOpening(*terms, request.signature or b"")

    kind = InstructionType.CONDITION
    return await once(
        session, actor, platform.id, kind, request.reference, content=request.content(), ask=ask
    )


async def _confirmer(session: AsyncSession, platform: Participant, name: str) -> bytes:
    """Id of who confirms: a participant of the platform, or another platform. Either has a key of its own."""
    try:
        found = await participants.participant_named(session, platform.id, name, "confirmer")
    except UnknownParticipant:
        found = await _other_platform(session, name)
    if found.authority is None or found.status != ParticipantStatus.ACTIVE:
        raise ConfirmerCannotSign(
            f"participant {name!r} is not active or signs nothing", field="confirmer", reference=name
        )
    return found.id


async def _other_platform(session: AsyncSession, name: str) -> Participant:
    found = None
    if is_id(name):
        found = await session.get(Participant, parse_id("confirmer", name))
    else:
        try:
            found = await participants.platform_named(session, name)
        except UnknownPlatform:
            found = None
    if found is None or found.id != found.platform_id:
        raise UnknownParticipant(name, "confirmer")
    return found


async def _require_key(session: AsyncSession, signer: bytes) -> None:
    if not await keys.has(session, keys.platform_label(signer)):
        raise NoSigningKey(
            "the keystore has no key of who must sign: send the request signed", field="signature"
        )


async def confirm_condition(
    session: AsyncSession,
    actor: Actor,
    platform: Participant,
    condition: str,
    *,
    reference: str,
    signature: bytes | None,
    verifier: Verifier,
) -> Outcome:
    """Confirm a condition of `platform` with its confirmer's signature, whoever brings it; or as the confirmer itself.

    Raises UnknownConditionReference, ConditionNotOpened, NoConfirmer, ConditionAlreadyConfirmed, ConditionMissed,
    NoSigningKey, SignatureRefused, ReferenceConflict.
    """
    content = {
        "out_request_no": reference,
        "platform": platform.reference,
        "out_condition_no": condition,
    }

    async def ask() -> Asked:
        found = await read_condition(session, platform.id, condition)
        row = found.row
        if row is None:
            raise ConditionNotOpened("the condition is not on the chain yet", reference=condition)
        if row.confirmer is None:
            raise NoConfirmer("nobody confirms this condition", reference=condition)
        if row.confirmed:
            raise ConditionAlreadyConfirmed("the condition is confirmed already", reference=condition)
        if found.state is ConditionState.MISSED:
            raise ConditionMissed("the condition was missed", reference=condition, deadline=row.deadline)
        confirmation = ConditionConfirmation(platform.id, row.condition_id, row.confirmer, signature or b"")
        await _check_confirmation(session, actor, confirmation, verifier)
        return row.condition_id, confirmation

    kind = InstructionType.CONFIRMATION
    return await once(session, actor, platform.id, kind, reference, content=content, ask=ask)


async def _check_confirmation(
    session: AsyncSession, actor: Actor, wanted: ConditionConfirmation, verifier: Verifier
) -> None:
    if not wanted.signature:
        if actor.platform_id != wanted.confirmer:
            raise NoSigningKey("only its confirmer may leave the signature out", field="signature")
        await _require_key(session, wanted.confirmer)
        return
    confirmer = await session.get(Participant, wanted.confirmer)
    if confirmer is None or confirmer.authority is None:
        return  # enrolled by another backend: the chain knows its key
    domain = verifier.network.condition_domain
    digest = confirmation_digest(domain, wanted.platform, wanted.condition_id)
    verifier.check(domain, confirmer.authority, digest, wanted.signature, "signature")


# ------------------------------------------------------------------------------ reading


async def read_condition(session: AsyncSession, platform_id: bytes, reference: str) -> ConditionReading:
    """A condition of a platform. Raises UnknownConditionReference."""
    identifier = condition_id(platform_id, reference)
    opening = await find(session, platform_id, InstructionType.CONDITION, reference)
    row = await session.get(Condition, (identifier, platform_id))
    if opening is None and row is None:
        raise UnknownConditionReference(reference, "out_condition_no")
    [found] = await _readings(session, platform_id, [(identifier, opening, row)])
    return found


async def list_conditions(
    session: AsyncSession, platform_id: bytes, after: int, limit: int
) -> list[ConditionReading]:
    """Conditions that the platform asked for here, in order of acceptance, after the write number `after`."""
    query = (
        select(Instruction)
        .where(Instruction.platform_id == platform_id, Instruction.seq > after)
        .where(Instruction.type == InstructionType.CONDITION)
        .order_by(Instruction.seq)
        .limit(limit)
    )
    asked = (await session.execute(query)).scalars().all()
    rows = await conditions_of(session, platform_id, [instruction.id for instruction in asked])
    return await _readings(session, platform_id, [(each.id, each, rows.get(each.id)) for each in asked])


async def condition_of_order(session: AsyncSession, order_id: bytes | None) -> ConditionReading | None:
    """The condition of a captured order, None without one."""
    order = None if order_id is None else await session.get(Order, order_id)
    if order is None or order.condition_id is None:
        return None
    return await condition_with_id(session, order.platform_id, order.condition_id)


async def condition_with_id(session: AsyncSession, platform_id: bytes, identifier: bytes) -> ConditionReading:
    """A condition that is known by its id."""
    query = select(Instruction).where(
        Instruction.id == identifier, Instruction.type == InstructionType.CONDITION
    )
    asked = [row for row in (await session.execute(query)).scalars() if row.platform_id == platform_id]
    row = await session.get(Condition, (identifier, platform_id))
    [found] = await _readings(session, platform_id, [(identifier, asked[0] if asked else None, row)])
    return found


async def _readings(
    session: AsyncSession,
    platform_id: bytes,
    found: Sequence[tuple[bytes, Instruction | None, Condition | None]],
) -> list[ConditionReading]:
    now = await chain_time(session)
    readings = []
    for identifier, opening, row in found:
        confirmer = None if row is None else row.confirmer
        named = None if opening is None else opening.content.get("confirmer")
        if named is None and confirmer is not None:
            named = "0x" + confirmer.hex()
        readings.append(ConditionReading(identifier, platform_id, opening, row, named, now))
    return readings
