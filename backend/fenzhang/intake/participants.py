"""Who takes part: enrolment of platforms and recipients, standing, consent, and caps of platforms."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.chain.keystore import STANDARD_WORK_FACTOR, encrypt_key, refuse_dev_key
from fenzhang.chain.signer import LocalKey
from fenzhang.domain.errors import InvalidInput
from fenzhang.domain.identifiers import hex_id, new_participant_id, parse_id
from fenzhang.domain.places import MAX_LEVEL, TOP
from fenzhang.domain.records import ParticipantStatus
from fenzhang.intake.actor import OPERATOR_NAMESPACE, Actor
from fenzhang.intake.errors import (
    AlreadyEnrolled,
    KeyExists,
    ParticipantNotActive,
    ParticipantNotSuspended,
    PlaceNotPossible,
    PlatformNotActive,
    UnknownParticipant,
    UnknownPlatform,
)
from fenzhang.intake.once import Asked, find, once
from fenzhang.intake.settlement import Outcome
from fenzhang.intake.snapshot import is_id, platform_of
from fenzhang.store import keys
from fenzhang.store.bulk import chunks
from fenzhang.store.payloads import Cap, ConsentChange, Enrollment, Placement, StandingChange
from fenzhang.store.tables import Instruction, InstructionType, KeystoreKey, Participant


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made for a platform, encrypted."""

    address: bytes
    keyfile: dict[str, Any]


def make_key(secret: bytes, password: str, chain_id: int, work_factor: int = STANDARD_WORK_FACTOR) -> NewKey:
    """Encrypt a key. Takes about a second on purpose: call it in a thread, outside of transactions."""
    key = LocalKey(secret)
    refuse_dev_key(key.address, chain_id)
    return NewKey(key.address, encrypt_key(key, password, work_factor=work_factor))


# ------------------------------------------------------------------------------ enrolment


async def enrol_platform(
    session: AsyncSession, actor: Actor, reference: str, authority: bytes | None, key: NewKey | None
) -> Outcome:
    """Enrol a platform that signs with `authority` (20 bytes), or with `key`, which goes into the keystore.

    Platforms have references of their own, unique among platforms. Raises ReferenceConflict, KeyExists.
    """
    content = platform_content(reference, authority)

    async def ask() -> Asked:
        participant = new_participant_id()
        signs_with = authority
        if key is not None:
            if await session.get(KeystoreKey, key.address) is not None:
                raise KeyExists("the keystore has this key already", address=hex_id(key.address))
            keys.add(session, keys.platform_label(participant), key.address, key.keyfile)
            signs_with = key.address
        session.add(
            Participant(id=participant, platform_id=participant, reference=reference, authority=signs_with)
        )
        return participant, Enrollment(participant=participant, authority=signs_with, platform=None)

    return await once(
        session, actor, OPERATOR_NAMESPACE, InstructionType.ENROLL, reference, content=content, ask=ask
    )


def platform_content(reference: str, authority: bytes | None) -> dict[str, Any]:
    """What is asked when a platform is enrolled; without an authority, its key is made here."""
    return {
        "out_participant_no": reference,
        **({"generate_key": True} if authority is None else {"authority": hex_id(authority)}),
    }


async def is_known_platform(session: AsyncSession, reference: str) -> bool:
    """Whether a platform was enrolled under this reference, so that no key need be made for it."""
    return await find(session, OPERATOR_NAMESPACE, InstructionType.ENROLL, reference) is not None


async def enrol_recipient(session: AsyncSession, actor: Actor, reference: str) -> Outcome:
    """Enrol a participant that agreed to receive from the actor's platform. Its id is random.

    Raises ReferenceConflict, AlreadyEnrolled, PlatformNotActive.
    """
    platform = await platform_of(session, actor.namespace)
    content = {"out_participant_no": reference}

    async def ask() -> Asked:
        require_active(platform)
        taken = select(Participant.id).where(
            Participant.platform_id == platform.id, Participant.reference == reference
        )
        if (await session.execute(taken)).scalar_one_or_none() is not None:
            raise AlreadyEnrolled(f"{reference!r} is the platform's own name", reference=reference)
        participant = new_participant_id()
        session.add(Participant(id=participant, platform_id=platform.id, reference=reference))
        return participant, Enrollment(participant=participant, authority=None, platform=platform.id)

    return await once(
        session, actor, platform.id, InstructionType.ENROLL, reference, content=content, ask=ask
    )


# ------------------------------------------------------------------------------ standing

_CLOSABLE = frozenset({ParticipantStatus.ACTIVE, ParticipantStatus.SUSPENDED})


async def change_standing(
    session: AsyncSession, actor: Actor, participant: Participant, kind: InstructionType, reference: str
) -> Outcome:
    """SUSPEND, RESUME or CLOSE a participant under the client's own `reference`.

    Raises ReferenceConflict, ParticipantNotActive, ParticipantNotSuspended.
    """
    content = {"out_request_no": reference, "out_participant_no": participant.reference}

    async def ask() -> Asked:
        status = ParticipantStatus(participant.status)
        if kind is InstructionType.SUSPEND and status is not ParticipantStatus.ACTIVE:
            raise ParticipantNotActive(participant.reference, status)
        if kind is InstructionType.RESUME and status is not ParticipantStatus.SUSPENDED:
            raise ParticipantNotSuspended(
                "only a suspended participant can be resumed",
                reference=participant.reference,
                status=status.name,
            )
        if kind is InstructionType.CLOSE and status not in _CLOSABLE:
            raise ParticipantNotActive(participant.reference, status)
        return participant.id, StandingChange(participant=participant.id)

    return await once(session, actor, actor.namespace, kind, reference, content=content, ask=ask)


async def change_consent(
    session: AsyncSession, actor: Actor, participant: Participant, reference: str, *, granted: bool
) -> Outcome:
    """Attest that a participant agrees, or no longer agrees, to receive from the actor's platform.

    Orders that were captured before are split as ever. Raises ReferenceConflict, ParticipantNotActive.
    """
    content = {
        "out_request_no": reference,
        "out_participant_no": participant.reference,
        "granted": granted,
    }

    async def ask() -> Asked:
        status = ParticipantStatus(participant.status)
        if status is ParticipantStatus.UNKNOWN:
            raise ParticipantNotActive(participant.reference, status)
        return participant.id, ConsentChange(participant.id, participant.platform_id, granted)

    return await once(
        session, actor, participant.platform_id, InstructionType.CONSENT, reference, content=content, ask=ask
    )


async def cap_platform(
    session: AsyncSession, actor: Actor, platform: Participant, reference: str, max_share_out: int
) -> Outcome:
    """Cap what a platform's splits give to others than their merchants, under the guardian's own `reference`.

    Raises ReferenceConflict, PlatformNotActive for one that is not on the chain yet.
    """
    content = {
        "out_request_no": reference,
        "platform": platform.reference,
        "max_share_out": max_share_out,
    }

    async def ask() -> Asked:
        status = ParticipantStatus(platform.status)
        if status is ParticipantStatus.UNKNOWN:
            raise PlatformNotActive(platform.reference, status)
        return platform.id, Cap(platform.id, max_share_out)

    return await once(session, actor, platform.id, InstructionType.CAP, reference, content=content, ask=ask)


# ------------------------------------------------------------------------------ places


async def place(
    session: AsyncSession, actor: Actor, participant: Participant, parent: Participant | None, reference: str
) -> Outcome:
    """Put a participant directly below another one, or with None at the top, under the client's own `reference`.

    What earlier requests are still going to change is not looked at; then the chain refuses what does not fit.
    Raises ReferenceConflict, ParticipantNotActive, PlaceNotPossible.
    """
    content = {
        "out_request_no": reference,
        "out_participant_no": participant.reference,
        "out_parent_no": None if parent is None else parent.reference,
    }

    async def ask() -> Asked:
        await _check_place(session, participant, parent)
        return participant.id, Placement(
            participant=participant.id, parent=TOP if parent is None else parent.id
        )

    return await once(
        session, actor, actor.namespace, InstructionType.PLACE, reference, content=content, ask=ask
    )


async def _check_place(session: AsyncSession, participant: Participant, parent: Participant | None) -> None:
    for each in (participant, parent):
        if each is not None and each.status == ParticipantStatus.UNKNOWN:
            raise ParticipantNotActive(each.reference, ParticipantStatus.UNKNOWN)
    lower = select(Participant.reference).where(Participant.parent_id == participant.id).limit(1)
    found = (await session.execute(lower)).scalar_one_or_none()
    if found is not None:
        raise PlaceNotPossible(participant.reference, f"{found!r} stands below it")
    if parent is None:
        return
    if parent.id == participant.id:
        raise PlaceNotPossible(participant.reference, "it would stand below itself")
    if parent.level >= MAX_LEVEL:
        raise PlaceNotPossible(
            participant.reference, f"{parent.reference!r} stands on level {parent.level}, which is the lowest"
        )


# ------------------------------------------------------------------------------ reading


def require_active(platform: Participant) -> None:
    """Raises PlatformNotActive."""
    if platform.status != ParticipantStatus.ACTIVE:
        raise PlatformNotActive(platform.reference, ParticipantStatus(platform.status))


async def platform_named(session: AsyncSession, reference: str) -> Participant:
    """The platform with this reference. Raises UnknownPlatform."""
    query = select(Participant).where(
        Participant.id == Participant.platform_id, Participant.reference == reference
    )
    found = (await session.execute(query)).scalar_one_or_none()
    if found is None:
        raise UnknownPlatform(reference, "platform")
    return found


async def participant_named(
    session: AsyncSession, platform_id: bytes, name: str, field: str = ""
) -> Participant:
    """A participant of a platform by reference or 0x id. Raises UnknownParticipant, which tells of a body's `field`."""
    query = select(Participant).where(Participant.platform_id == platform_id)
    if is_id(name):
        try:
            query = query.where(Participant.id == parse_id("participant", name.lower()))
        except InvalidInput:
            raise UnknownParticipant(name, field) from None
    else:
        query = query.where(Participant.reference == name)
    found = (await session.execute(query)).scalar_one_or_none()
    if found is None:
        raise UnknownParticipant(name, field)
    return found


async def list_participants(
    session: AsyncSession, platform_id: bytes, after: str, limit: int
) -> Sequence[Participant]:
    """Up to `limit` participants of a platform whose references follow `after`, by reference (code points)."""
    order = _by_code_point(session)
    query = (
        select(Participant)
        .where(Participant.platform_id == platform_id, order > after)
        .order_by(order)
        .limit(limit)
    )
    return (await session.execute(query)).scalars().all()


async def owners_of(session: AsyncSession, ids: Collection[bytes]) -> dict[bytes, tuple[bytes, str]]:
    """Whose these participants are, and what they are called there: platform id and reference, by id."""
    found: dict[bytes, tuple[bytes, str]] = {}
    for chunk in chunks(sorted(ids)):
        query = select(Participant.id, Participant.platform_id, Participant.reference).where(
            Participant.id.in_(chunk)
        )
        found |= {row[0]: (row[1], row[2]) for row in await session.execute(query)}
    return found


async def enrolment_of(session: AsyncSession, participant: Participant) -> Instruction | None:
    """The instruction that enrolled a participant; None if another backend did."""
    is_platform = participant.id == participant.platform_id
    namespace = OPERATOR_NAMESPACE if is_platform else participant.platform_id
    return await find(session, namespace, InstructionType.ENROLL, participant.reference)


def _by_code_point(session: AsyncSession) -> Any:
    # PostgreSQL's default collation may order letters by language; a cursor needs one order everywhere.
    if session.get_bind().dialect.name == "postgresql":
        return Participant.reference.collate("C")
    return Participant.reference
