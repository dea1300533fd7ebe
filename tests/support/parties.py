"""Who takes part in the tests, and the rules they have agreed on. Ids and keys are the same in every run."""

from __future__ import annotations

from dataclasses import dataclass

from fenzhang.chain.keccak import keccak
from fenzhang.chain.signer import LocalKey
from fenzhang.domain.rules import NO_TERMS, Leg, LegKind, RuleTerms
from fenzhang.domain.schedules import SCHEDULE, Entry

NOBODY = bytes(32)
"""A binding that leaves its role open."""


def ident(*parts: object) -> bytes:
    """A fixed id of 32 bytes, the same in every run."""
    return keccak("/".join(map(str, parts)).encode())


@dataclass(frozen=True, slots=True)
class Party:
    """A participant; `key` signs for it."""

    name: str
    id: bytes
    key: LocalKey


def party(name: str) -> Party:
    """A participant that a test makes up. Nobody has enrolled it yet."""
    return Party(name, ident("participant", name), LocalKey(ident("key", name)))


MALL, SHOP = party("mall"), party("shop")
"""Two platforms."""
MERCHANT, PROMOTER, COURIER, SUPPLIER = map(party, ("merchant", "promoter", "courier", "supplier"))
"""Receive from the mall."""
VENDOR = party("vendor")
"""Receives from the shop alone."""
BOTH = party("both")
"""Receives from the mall and from the shop, and signs for itself."""
STRANGER = party("stranger")
"""Enrolled, but agreed to receive from nobody."""


@dataclass(frozen=True, slots=True)
class RuleRef:
    """A version of a platform's rule."""

    platform: Party
    rule_id: bytes
    version: int
    legs: tuple[Leg, ...]
    terms: RuleTerms = NO_TERMS


@dataclass(frozen=True, slots=True)
class ScheduleRef:
    """A version of a platform's schedule."""

    platform: Party
    version: int
    entries: tuple[Entry, ...]

    @property
    def rule_id(self) -> bytes:
        """Under which the versions of a schedule stand."""
        return SCHEDULE


MARKET_LEGS = (
    Leg(-1, LegKind.FIXED, 30, recipient=MALL.id),
    Leg(-1, LegKind.SHARE, 1_000, role="promoter"),
    Leg(-1, LegKind.REMAINDER),
    Leg(2, LegKind.SHARE, 2_500, min=5, max=400, role="courier"),
    Leg(2, LegKind.REMAINDER, role="merchant"),
)
"""A fee of 30 and a tenth to the promoter; of the rest a quarter, 5 to 400, to the courier, and what remains to the
merchant."""
MARKET = RuleRef(MALL, ident("rule", "market"), 1, MARKET_LEGS)
PAIR = RuleRef(
    MALL,
    ident("rule", "pair"),
    1,
    (Leg(-1, LegKind.SHARE, 5_000, role="promoter"), Leg(-1, LegKind.REMAINDER, role="merchant")),
)
"""Fifty-fifty, the odd unit to the merchant."""
AGENCY_LEGS = (
    Leg(-1, LegKind.GIVEN, 2_000, min=3, max=90, role="promoter"),
    Leg(-1, LegKind.GIVEN, 6_000),
    Leg(-1, LegKind.REMAINDER, role="merchant"),
    Leg(1, LegKind.GIVEN, 5_000, role="courier"),
    Leg(1, LegKind.REMAINDER, recipient=MALL.id),
)
"""The split says what the promoter gets, 3 to 90 and at most a fifth; what the mall takes, at most six tenths; and what
of that the courier gets, at most half."""
AGENCY = RuleRef(MALL, ident("rule", "agency"), 1, AGENCY_LEGS)
VENDING = RuleRef(SHOP, ident("rule", "vending"), 1, (Leg(-1, LegKind.REMAINDER, role="vendor"),))
"""All to one vendor of the shop."""
