"""A platform's schedule: proposing versions, and which entry an order would be of. The rest goes as with rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fenzhang.chain.schedules import content_hash_of
from fenzhang.domain import schedules as domain_schedules
from fenzhang.domain.facts import NO_FACTS, Facts
from fenzhang.domain.identifiers import rule_id
from fenzhang.domain.schedules import SCHEDULE, Entry
from fenzhang.intake import participants, rules
from fenzhang.intake.actor import Actor
from fenzhang.intake.errors import UnknownRule
from fenzhang.intake.once import Asked, once
from fenzhang.intake.settlement import Outcome
from fenzhang.intake.signatures import Verifier
from fenzhang.intake.snapshot import Selected, Snapshot, chain_time, load_rules, platform_of
from fenzhang.store import payloads
from fenzhang.store.tables import SCHEDULE_REFERENCE, InstructionType, Participant, RuleVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedEntry:
    """An entry as a platform writes it: `rule` is its reference of the rule."""

    rule: str
    facts: Facts = NO_FACTS
    currency: str = ""
    amount_from: int = 0
    amount_below: int = 0
    valid_from: int = 0
    valid_until: int = 0

    def entry(self, platform: bytes) -> Entry:
        """The entry as it goes on chain. Raises InvalidInput for a fact that is no code."""
        return Entry(
            rule_id(platform, self.rule),
            self.facts.pack(),
            self.currency,
            self.amount_from,
            self.amount_below,
            self.valid_from,
            self.valid_until,
        )

    def content(self) -> dict[str, Any]:
        """The entry in the client's names."""
        values = {
            "facts": self.facts.stated(),
            "currency": self.currency,
            "amount_from": self.amount_from,
            "amount_below": self.amount_below,
            "valid_from": self.valid_from,
            "valid_until": self.valid_until,
        }
        return {"out_rule_no": self.rule, **{name: value for name, value in values.items() if value}}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRequest:
    """Propose a version. `version` None takes the next one; `effective_from` None means as soon as it is approved.

    `signature` is the platform authority's over the proposal; then version and effective time are named too.
    """

    reference: str
    entries: tuple[NamedEntry, ...]
    version: int | None = None
    effective_from: int | None = None
    signature: bytes | None = None

    @property
    def rule(self) -> str:
        """What stands for the name of a rule."""
        return SCHEDULE_REFERENCE

    def content(self) -> dict[str, Any]:
        """The request in the client's names."""
        named = {"version": self.version, "effective_from": self.effective_from}
        return {
            "out_request_no": self.reference,
            "out_rule_no": self.rule,
            "entries": [entry.content() for entry in self.entries],
            **{name: value for name, value in named.items() if value is not None},
        }


async def propose(
    session: AsyncSession, actor: Actor, request: ScheduleRequest, verifier: Verifier
) -> Outcome:
    """Propose a version of the schedule of the actor's platform.

    Raises InvalidSchedule, InvalidInput, UnknownRule, VersionNotNext, EffectiveBeforePrevious, EffectiveWithinLock,
    RuleRetired, NoSigningKey, SignatureRefused, PlatformNotActive, ReferenceConflict.
    """
    platform = await platform_of(session, actor.namespace)

    async def ask() -> Asked:
        participants.require_active(platform)
        entries = await _resolve(session, platform.id, request.entries)
        version, effective_from = await rules.next_version(session, platform, SCHEDULE, request)
        signature = request.signature or b""
        proposal = payloads.Proposal(
            platform.id, SCHEDULE, version, effective_from, (), signature, entries=entries
        )
        await rules.check_signed(session, platform, proposal, verifier)
        session.add(
            RuleVersion(
                platform_id=platform.id,
                rule_id=SCHEDULE,
                version=version,
                reference=SCHEDULE_REFERENCE,
                legs=[],
                entries=payloads.entries_to_json(entries),
                effective_from=effective_from,
                content_hash=content_hash_of(proposal),
            )
        )
        return SCHEDULE, proposal

    return await once(
        session,
        actor,
        platform.id,
        InstructionType.PROPOSE,
        request.reference,
        content=request.content(),
        ask=ask,
    )


async def _resolve(
    session: AsyncSession, platform_id: bytes, named: Sequence[NamedEntry]
) -> tuple[Entry, ...]:
    """Entries with ids in place of references, checked to be a schedule of rules that somebody proposed."""
    entries = tuple(each.entry(platform_id) for each in named)
    known = await rule_names(session, platform_id, entries)
    for index, (entry, each) in enumerate(zip(entries, named, strict=True)):
        if entry.rule_id not in known:
            raise UnknownRule(each.rule, f"entries[{index}].out_rule_no")
    domain_schedules.validate(entries)
    return entries


async def choose(
    session: AsyncSession, platform: Participant, facts: Facts, currency: str, amount: int
) -> tuple[Selected, Sequence[RuleVersion]] | None:
    """What the platform's schedule selects for an order captured now, and the versions of that rule.

    None when no schedule is in force. Raises InvalidInput for a fact that is no code.
    """
    snapshot = Snapshot(platform, await chain_time(session))
    await load_rules(session, snapshot, [SCHEDULE])
    selected = snapshot.selection(facts.pack(), currency, amount)
    if selected is None:
        return None
    return selected, snapshot.rules.get(selected.selection.entry.rule_id, [])


async def rule_names(session: AsyncSession, platform_id: bytes, entries: Sequence[Entry]) -> dict[bytes, str]:
    """The platform's references of the rules that entries name, by id, as far as they are known here."""
    query = select(RuleVersion.rule_id, RuleVersion.reference).where(
        RuleVersion.platform_id == platform_id, RuleVersion.rule_id.in_({entry.rule_id for entry in entries})
    )
    return {row.rule_id: row.reference for row in await session.execute(query)}
