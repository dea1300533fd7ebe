"""Rules: proposing versions, approving them by another party, retiring them; the last two of schedules as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.chain.abi import role_bytes
from fenzhang.chain.eip712 import retirement_digest
from fenzhang.chain.schedules import content_hash_of
from fenzhang.domain import rules as domain_rules
from fenzhang.domain.identifiers import hex_id, rule_id
from fenzhang.domain.schedules import SCHEDULE
from fenzhang.intake import participants
from fenzhang.intake.actor import Actor
from fenzhang.intake.errors import (
    ApproverIsProposer,
    ContentMismatch,
    EffectiveBeforePrevious,
    EffectiveWithinLock,
    NoSigningKey,
    RuleAlreadyApproved,
    RuleInEffect,
    RuleNotProposed,
    RuleRetired,
    RuleVetoed,
    UnknownRule,
    VersionNotNext,
)
from fenzhang.intake.once import Asked, once
from fenzhang.intake.settlement import Outcome
from fenzhang.intake.signatures import Verifier
from fenzhang.intake.snapshot import Snapshot, chain_time, load_participants, platform_of
from fenzhang.store import chainsettings, keys, payloads
from fenzhang.store.tables import (
    SCHEDULE_REFERENCE,
    Instruction,
    InstructionState,
    InstructionType,
    Participant,
    RuleVersion,
)


@dataclass(frozen=True, slots=True)
class NamedLeg:
    """A leg as a platform writes it: `recipient` is its reference of a participant, or a 0x id."""

    leg: domain_rules.Leg
    recipient: str | None

    def with_recipient(self, participant: bytes) -> domain_rules.Leg:
        """The leg with the participant's id."""
        return replace(self.leg, recipient=participant)

    def content(self) -> dict[str, Any]:
        """The leg in the client's names."""
        [shown] = payloads.legs_to_json([self.leg])
        return {**shown, "recipient": self.recipient}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposeRequest:
    """Propose a version. `version` None takes the next one; `effective_from` None means as soon as it is approved.

    `signature` is the platform authority's over the proposal; then version and effective time are named too.
    """

    reference: str
    rule: str
    legs: tuple[NamedLeg, ...]
    terms: domain_rules.RuleTerms = domain_rules.NO_TERMS
    version: int | None = None
    effective_from: int | None = None
    signature: bytes | None = None

    def content(self) -> dict[str, Any]:
        """The request in the client's names."""
        content = {
            "out_request_no": self.reference,
            "out_rule_no": self.rule,
            "legs": [leg.content() for leg in self.legs],
        }
        terms = None if self.terms == domain_rules.NO_TERMS else payloads.terms_to_json(self.terms)
        named = {"terms": terms, "version": self.version, "effective_from": self.effective_from}
        return content | {name: value for name, value in named.items() if value is not None}


async def propose(
    session: AsyncSession, actor: Actor, request: ProposeRequest, verifier: Verifier
) -> Outcome:
    """Propose a rule version of the actor's platform.

    Raises InvalidRule, UnknownParticipant, ParticipantNotActive, VersionNotNext, EffectiveBeforePrevious,
    EffectiveWithinLock, RuleRetired, NoSigningKey, SignatureRefused, PlatformNotActive, ReferenceConflict.
    """
    platform = await platform_of(session, actor.namespace)

    async def ask() -> Asked:
        participants.require_active(platform)
        legs = await resolve_legs(session, platform, request.legs)
        rule = rule_id(platform.id, request.rule)
        version, effective_from = await next_version(session, platform, rule, request)
        proposal = payloads.Proposal(
            platform.id, rule, version, effective_from, legs, request.signature or b"", request.terms
        )
        await check_signed(session, platform, proposal, verifier)
        session.add(
            RuleVersion(
                platform_id=platform.id,
                rule_id=rule,
                version=version,
                reference=request.rule,
                legs=payloads.legs_to_json(legs),
                terms=payloads.terms_to_json(request.terms),
                effective_from=effective_from,
                content_hash=content_hash_of(proposal),
            )
        )
        return rule, proposal

    return await once(
        session,
        actor,
        platform.id,
        InstructionType.PROPOSE,
        request.reference,
        content=request.content(),
        ask=ask,
    )


async def resolve_legs(
    session: AsyncSession, platform: Participant, legs: Sequence[NamedLeg]
) -> tuple[domain_rules.Leg, ...]:
    """Legs with participant ids in place of references, checked to be a rule.

    Raises InvalidRule, UnknownParticipant, ParticipantNotActive.
    """
    snapshot = Snapshot(platform, 0)
    await load_participants(session, snapshot, {leg.recipient for leg in legs if leg.recipient is not None})
    resolved = tuple(
        named.with_recipient(snapshot.active_participant(f"legs[{index}].recipient", named.recipient))
        if named.recipient is not None
        else named.leg
        for index, named in enumerate(legs)
    )
    domain_rules.validate(resolved)
    return resolved


class VersionRequest(Protocol):
    """Asks for a version of a rule, or of the schedule."""

    @property
    def rule(self) -> str:
        """Its name."""

    @property
    def version(self) -> int | None:
        """Number, None for the next one."""

    @property
    def effective_from(self) -> int | None:
        """When it takes effect, None for as soon as it is approved."""


async def next_version(
    session: AsyncSession, platform: Participant, rule: bytes, request: VersionRequest
) -> tuple[int, int]:
    """Number and effective time of the version to propose; what a refused proposal left behind makes room.

    Raises RuleRetired, VersionNotNext, EffectiveBeforePrevious, EffectiveWithinLock.
    """
    rows = await versions_of(session, platform.id, rule)
    if any(row.retired for row in rows):
        raise RuleRetired("the rule is retired", rule=request.rule)
    refused = await _refused_versions(session, platform.id, rule)
    live = [row for row in rows if row.proposed or row.version not in refused]
    version = max((row.version for row in live), default=0) + 1
    if request.version not in {None, version}:
        raise VersionNotNext(
            f"the next version is {version}",
            field="version",
            rule=request.rule,
            version=request.version,
            expected=version,
        )
    previous = max((row.effective_from for row in live if not row.vetoed), default=0)
    effective_from = previous if request.effective_from is None else request.effective_from
    await _check_lock(session, request.rule, version, effective_from)
    if effective_from < previous:
        raise EffectiveBeforePrevious(
            "a version cannot be in force before the one it follows",
            field="effective_from",
            rule=request.rule,
            effective_from=effective_from,
            previous=previous,
        )
    # Only what was seen to be refused: another proposal may be arriving at this moment.
    dead = [row.version for row in rows if row not in live]
    await session.execute(
        delete(RuleVersion).where(
            RuleVersion.platform_id == platform.id,
            RuleVersion.rule_id == rule,
            RuleVersion.version.in_(dead),
        )
    )
    return version, effective_from


async def _check_lock(session: AsyncSession, rule: str, version: int, effective_from: int) -> None:
    """Raises EffectiveWithinLock for what nobody can approve in time any more, while the lock is what it is."""
    lock = await chainsettings.read(session, chainsettings.APPROVAL_LOCK)
    earliest = await chain_time(session) + lock
    if lock and effective_from < earliest:
        raise EffectiveWithinLock(
            f"a version is approved at least {lock} seconds before it takes effect",
            field="effective_from",
            rule=rule,
            version=version,
            effective_from=effective_from,
            approval_lock=lock,
            earliest=earliest,
        )


async def _refused_versions(session: AsyncSession, platform_id: bytes, rule: bytes) -> set[int]:
    """Versions whose proposals were all refused by the chain."""
    query = select(Instruction.payload, Instruction.state).where(
        Instruction.id == rule,
        Instruction.type == InstructionType.PROPOSE,
        Instruction.platform_id == platform_id,
    )
    refused: set[int] = set()
    open_or_settled: set[int] = set()
    for payload, state in await session.execute(query):
        is_refused = state == InstructionState.REJECTED
        (refused if is_refused else open_or_settled).add(payload["version"])
    return refused - open_or_settled


async def check_signed(
    session: AsyncSession, platform: Participant, proposal: payloads.Proposal, verifier: Verifier
) -> None:
    """Raises SignatureRefused for a bad signature, and NoSigningKey for none where the keystore has no key."""
    if not proposal.signature:
        await _require_key(session, platform)
        return
    domain = verifier.network.rule_domain
    digest = domain.digest(content_hash_of(proposal))
    verifier.check(domain, platform.authority or b"", digest, proposal.signature, "signature")


async def _require_key(session: AsyncSession, platform: Participant) -> None:
    if not await keys.has(session, keys.platform_label(platform.id)):
        raise NoSigningKey(
            "the keystore has no key of the platform: send the request signed",
            field="signature",
            reference=platform.reference,
        )


# ------------------------------------------------------------------------------ approval and retirement


async def approve(
    session: AsyncSession,
    actor: Actor,
    platform: Participant,
    reference: str,
    *,
    rule: str,
    version: int,
    content_hash: bytes,
) -> Outcome:
    """Approve exactly the content that `content_hash` names, under the approver's own `reference`.

    Raises UnknownRule, RuleNotProposed, RuleVetoed, RuleAlreadyApproved, EffectiveWithinLock, ContentMismatch,
    ApproverIsProposer, ReferenceConflict.
    """
    content = {
        "out_request_no": reference,
        "platform": platform.reference,
        "out_rule_no": rule,
        "version": version,
        "content_hash": hex_id(content_hash),
    }

    async def ask() -> Asked:
        row = await version_of(session, platform.id, rule, version)
        _check_read(row, content_hash)
        if row.approved:
            raise RuleAlreadyApproved("the version is approved already", rule=rule, version=version)
        await _check_lock(session, rule, version, row.effective_from)
        await _check_other_party(session, actor, platform, row)
        return row.rule_id, payloads.Approval(platform.id, row.rule_id, version, content_hash)

    return await once(
        session, actor, platform.id, InstructionType.APPROVE, reference, content=content, ask=ask
    )


async def _check_other_party(
    session: AsyncSession, actor: Actor, platform: Participant, row: RuleVersion
) -> None:
    proposers = select(Instruction.app_id).where(
        Instruction.id == row.rule_id,
        Instruction.type == InstructionType.PROPOSE,
        Instruction.platform_id == platform.id,
    )
    own_app = actor.client_id in set((await session.execute(proposers)).scalars())
    if own_app or actor.platform_id == platform.id:
        raise ApproverIsProposer(
            "a rule is approved by another party than its platform", rule=row.reference, version=row.version
        )


async def veto(
    session: AsyncSession,
    actor: Actor,
    platform: Participant,
    reference: str,
    *,
    rule: str,
    version: int,
    content_hash: bytes,
    reason_code: str,
) -> Outcome:
    """Veto a version that is not in effect yet, under the guardian's own `reference`.

    Raises UnknownRule, RuleNotProposed, RuleVetoed, RuleInEffect, ContentMismatch, ReferenceConflict.
    """
    content = {
        "out_request_no": reference,
        "platform": platform.reference,
        "out_rule_no": rule,
        "version": version,
        "content_hash": hex_id(content_hash),
        "reason_code": reason_code,
    }

    async def ask() -> Asked:
        row = await version_of(session, platform.id, rule, version)
        _check_read(row, content_hash)
        if row.approved and row.effective_from <= await chain_time(session):
            raise RuleInEffect(
                "the version took effect already",
                rule=rule,
                version=version,
                effective_from=row.effective_from,
            )
        return row.rule_id, payloads.Veto(
            platform.id, row.rule_id, version, content_hash, role_bytes(reason_code)
        )

    return await once(session, actor, platform.id, InstructionType.VETO, reference, content=content, ask=ask)


def _check_read(row: RuleVersion, content_hash: bytes) -> None:
    """Raises RuleNotProposed, ContentMismatch, RuleVetoed unless the row is on the chain, not vetoed, and was read."""
    if not row.proposed:
        raise RuleNotProposed("the proposal is not on the chain", rule=row.reference, version=row.version)
    if row.content_hash != content_hash:
        raise ContentMismatch(
            "the version has another content", field="content_hash", expected=hex_id(row.content_hash)
        )
    if row.vetoed:
        raise RuleVetoed("the rule version was vetoed", rule=row.reference, version=row.version)


async def retire(
    session: AsyncSession,
    actor: Actor,
    reference: str,
    *,
    rule: str,
    signature: bytes | None,
    verifier: Verifier,
) -> Outcome:
    """Retire a rule of the actor's platform for new orders, for ever.

    Raises UnknownRule, RuleRetired, NoSigningKey, SignatureRefused, PlatformNotActive, ReferenceConflict.
    """
    platform = await platform_of(session, actor.namespace)
    content = {"out_request_no": reference, "out_rule_no": rule}

    async def ask() -> Asked:
        participants.require_active(platform)
        identifier = identifier_of(platform.id, rule)
        rows = [row for row in await versions_of(session, platform.id, identifier) if row.proposed]
        if not rows:
            raise UnknownRule(rule)
        if any(row.retired for row in rows):
            raise RuleRetired("the rule is retired", rule=rule)
        if signature is None:
            await _require_key(session, platform)
        else:
            domain = verifier.network.rule_domain
            digest = retirement_digest(domain, platform.id, identifier)
            verifier.check(domain, platform.authority or b"", digest, signature, "signature")
        return identifier, payloads.Retirement(platform.id, identifier, signature or b"")

    return await once(
        session, actor, platform.id, InstructionType.RETIRE, reference, content=content, ask=ask
    )


# ------------------------------------------------------------------------------ reading


def identifier_of(platform_id: bytes, rule: str) -> bytes:
    """Under which the versions of a rule stand on chain, or those of the schedule."""
    return SCHEDULE if rule == SCHEDULE_REFERENCE else rule_id(platform_id, rule)


async def versions_of(session: AsyncSession, platform_id: bytes, rule: bytes) -> Sequence[RuleVersion]:
    """All versions of a rule, in order."""
    query = (
        select(RuleVersion)
        .where(RuleVersion.platform_id == platform_id, RuleVersion.rule_id == rule)
        .order_by(RuleVersion.version)
    )
    return (await session.execute(query)).scalars().all()


async def version_of(session: AsyncSession, platform_id: bytes, rule: str, version: int) -> RuleVersion:
    """One version of a rule by reference. Raises UnknownRule."""
    found = await session.get(RuleVersion, (platform_id, identifier_of(platform_id, rule), version))
    if found is None:
        raise UnknownRule(f"{rule} version {version}")
    return found


async def list_rules(session: AsyncSession, platform_id: bytes) -> Mapping[str, Sequence[RuleVersion]]:
    """All rules of a platform with their versions."""
    query = (
        select(RuleVersion)
        .where(RuleVersion.platform_id == platform_id, RuleVersion.rule_id != SCHEDULE)
        .order_by(RuleVersion.reference, RuleVersion.version)
    )
    found: dict[str, list[RuleVersion]] = {}
    for row in (await session.execute(query)).scalars():
        found.setdefault(row.reference, []).append(row)
    return found
