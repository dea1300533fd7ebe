"""Proposals of rules and schedules: what calldata leads to, and whether each could follow what was before."""

from __future__ import annotations

from dataclasses import replace

from fenzhang.audit.tape import NOWHERE
from fenzhang.chain.calldata import decode_proposal
from fenzhang.chain.eip712 import proposal_hash
from fenzhang.chain.eventtypes import RuleProposed, ScheduleProposed
from fenzhang.chain.schedules import decode_schedule, schedule_hash
from fenzhang.domain import schedules
from fenzhang.domain.errors import InvalidRule, InvalidSchedule
from fenzhang.domain.rules import validate, validate_terms
from fenzhang.domain.schedules import SCHEDULE
from fenzhang.domain.world import Rule, Version

Proposed = RuleProposed | ScheduleProposed


def rule_proposed(calldata: bytes) -> RuleProposed:
    """The event of a `propose`. Raises Undecodable."""
    sent = decode_proposal(calldata)
    content = (sent.platform, sent.rule_id, sent.version, sent.effective_from)
    content_hash = proposal_hash(*content, sent.legs, sent.terms)
    return RuleProposed(NOWHERE, *content, content_hash, sent.legs, sent.terms)


def schedule_proposed(calldata: bytes) -> ScheduleProposed:
    """The event of a `proposeSchedule`. Raises Undecodable."""
    sent = decode_schedule(calldata)
    content = (sent.platform, sent.version, sent.effective_from)
    return ScheduleProposed(NOWHERE, *content, schedule_hash(*content, sent.entries), sent.entries)


def hash_of(event: Proposed) -> bytes:
    """The hash of the content that an event tells."""
    if isinstance(event, ScheduleProposed):
        return schedule_hash(event.platform, event.version, event.effective_from, event.entries)
    content = (event.platform, event.rule_id, event.version, event.effective_from)
    return proposal_hash(*content, event.legs, event.terms)


def version_of(event: Proposed, proposer: bytes) -> Version:
    """The version that an event adds."""
    if isinstance(event, ScheduleProposed):
        return Version((), event.effective_from, proposer=proposer, entries=event.entries)
    return Version(event.legs, event.effective_from, proposer=proposer, terms=event.terms)


def problem_of(event: Proposed, rule: Rule) -> str | None:
    """Why a proposal cannot follow the versions of its rule or schedule; None when it can."""
    latest = max(rule.versions, default=0)
    if rule.retired:
        return "was proposed for a retired rule"
    if event.version != latest + 1:
        return f"follows version {latest}"
    if event.effective_from < rule.earliest_effect():
        return "takes effect before its predecessor"
    try:
        _check_content(event)
    except (InvalidRule, InvalidSchedule) as error:
        return f"is no {'rule' if isinstance(error, InvalidRule) else 'schedule'}: {error.message}"
    return None


def _check_content(event: Proposed) -> None:
    if isinstance(event, ScheduleProposed):
        schedules.validate(event.entries)
        return
    if event.rule_id == SCHEDULE:
        raise InvalidRule(-1, "it has the id under which schedules stand")
    # The contract takes any role name; what a role may be called is the API's business.
    validate([leg if leg.role is None else replace(leg, role="role") for leg in event.legs])
    validate_terms(event.terms)
