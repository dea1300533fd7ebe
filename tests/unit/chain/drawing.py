"""Participants, and rules in every state, for the tests of the views."""

from __future__ import annotations

from fenzhang.chain.governance import enroll_call, enroll_recipient_call
from fenzhang.chain.signer import LocalKey
from fenzhang.domain.rules import Leg, LegKind, RuleTerms
from unit.chain.system import REGISTRAR, System

CURRENCIES = ("CNY", "JPY")
FAR = 2**63
KEYS = [LocalKey(bytes([number]) * 32) for number in (1, 2)]
PLATFORMS = [b"P" * 31 + bytes([number]) for number in (1, 2)]
RECIPIENTS = [b"R" * 31 + bytes([number]) for number in range(6)]
UNASKED = b"U" * 32
RULES = {
    name: name.ljust(32, b".") for name in (b"roles", b"fixed", b"nested", b"old", b"gone", b"new", b"late")
}


TERMS = RuleTerms(3_000, may_owe=True, park=True)
"""Of the rule that is not effective yet."""
LEGS = {
    b"roles": (
        Leg(-1, LegKind.SHARE, 500, min=10, max=200, role="platform"),
        Leg(-1, LegKind.SHARE, 1_500, role="promoter"),
        Leg(-1, LegKind.REMAINDER, role="merchant"),
    ),
    b"fixed": (
        Leg(-1, LegKind.FIXED, 300, recipient=RECIPIENTS[0]),
        Leg(-1, LegKind.SHARE, 3_333, recipient=RECIPIENTS[1]),
        Leg(-1, LegKind.REMAINDER, recipient=RECIPIENTS[0]),
    ),
    b"nested": (
        Leg(-1, LegKind.SHARE, 1_000, role="platform"),
        Leg(-1, LegKind.REMAINDER),
        Leg(1, LegKind.SHARE, 2_500, recipient=RECIPIENTS[2]),
        Leg(1, LegKind.REMAINDER),
        Leg(3, LegKind.SHARE, 9_999, role="merchant"),
        Leg(3, LegKind.REMAINDER, role="platform"),
    ),
}


async def populate(system: System) -> None:
    """Participants and rules in every state."""
    for platform, key in zip(PLATFORMS, KEYS, strict=True):
        await system.govern(REGISTRAR, "ParticipantRegistry", enroll_call(platform, key.address))
    for recipient in RECIPIENTS:
        await system.govern(REGISTRAR, "ParticipantRegistry", enroll_recipient_call(recipient, PLATFORMS[0]))
    await system.govern(REGISTRAR, "ParticipantRegistry", enroll_call(UNASKED))
    mine = (KEYS[0], PLATFORMS[0])
    for name, legs in LEGS.items():
        await system.rule(*mine, RULES[name], legs)
    await system.rule(*mine, RULES[b"old"], LEGS[b"roles"])
    await system.rule(*mine, RULES[b"old"], LEGS[b"nested"], version=2)
    await system.rule(*mine, RULES[b"gone"], LEGS[b"fixed"])
    await system.retire(*mine, RULES[b"gone"])
    await system.rule(*mine, RULES[b"new"], LEGS[b"fixed"], approve=False)
    await system.rule(*mine, RULES[b"late"], LEGS[b"fixed"], effective_from=FAR, terms=TERMS)
    await system.rule(
        KEYS[1], PLATFORMS[1], RULES[b"fixed"], (Leg(-1, LegKind.REMAINDER, recipient=PLATFORMS[1]),)
    )
