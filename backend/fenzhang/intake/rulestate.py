"""Whether a rule version may be used now, from what the mirror read."""

from __future__ import annotations

from collections.abc import Sequence

from fenzhang.domain.records import RuleState
from fenzhang.domain.world import Rule, Version
from fenzhang.intake.errors import RuleNotApproved, RuleNotEffective, RuleRetired, RuleSuperseded, RuleVetoed
from fenzhang.store.tables import RuleVersion


def state_of(version: RuleVersion, siblings: Sequence[RuleVersion], now: int) -> RuleState:
    """State of `version` at `now` (Unix seconds) among all versions of its rule, itself included."""
    rule = Rule(
        versions={
            s.version: Version((), s.effective_from, s.approved, vetoed=s.vetoed)
            for s in siblings
            if s.proposed
        },
        retired=any(s.retired for s in siblings),
    )
    return rule.state_of(version.version, now)


def in_force(versions: Sequence[RuleVersion], now: int) -> RuleVersion | None:
    """The version that orders captured at `now` are split by, None when there is none."""
    return next((v for v in versions if state_of(v, versions, now) is RuleState.IN_FORCE), None)


def usable(versions: Sequence[RuleVersion], now: int) -> RuleVersion:
    """The version in force among some. Raises the reason for which there is none."""
    found = in_force(versions, now)
    # None in force: the newest approved version, else the newest, says best why.
    found = found or max(versions, key=lambda v: (v.approved, v.version))
    require_in_force(found, versions, now)
    return found


def require_in_force(version: RuleVersion, siblings: Sequence[RuleVersion], now: int) -> None:
    """Raises the reason for which `version` cannot be used for an order captured at `now`."""
    names = {"rule": version.reference, "version": version.version}
    match state_of(version, siblings, now):
        case RuleState.VETOED:
            raise RuleVetoed("the rule version was vetoed", **names)
        case RuleState.UNKNOWN | RuleState.PROPOSED:
            raise RuleNotApproved("the rule version is not approved", **names)
        case RuleState.RETIRED:
            raise RuleRetired("the rule is retired", **names)
        case RuleState.NOT_EFFECTIVE:
            raise RuleNotEffective(
                "the rule version is not in force yet", effective_from=version.effective_from, **names
            )
        case RuleState.SUPERSEDED:
            raise RuleSuperseded("a later version of the rule is in force", **names)
