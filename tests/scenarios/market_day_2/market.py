"""Who takes part in the second market day, by which rules, and when: what its files say and its sums are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]
BAZAAR, TUAN, PORTAL = "bazaar", "tuan", "portal"
OPENING, MORNING, NOON, AFTERNOON, EVENING, NIGHT, MIDNIGHT, DAWN = PARTS = (
    "opening",
    "morning",
    "noon",
    "afternoon",
    "evening",
    "night",
    "midnight",
    "dawn",
)
HOLD_S, EXPIRY_S, EFFECT_S = 13, 15, 8
"""Seconds after the opening: when holds end, when orders expire, when the second version of `standard` takes effect."""
DEADLINE_S = 11
"""Of a group that stays too small, after the opening."""
EVENING_S = 16
LOCK_S = 60


def leg(kind: str, value: int = 0, role: str | None = None, parent: int = -1, **bounds: int) -> Json:
    """A leg as rules.json has it."""
    return {
        "parent": parent,
        "kind": kind,
        "value": value,
        **bounds,
        **({} if role is None else {"role": role}),
    }


def standard(platform: int, promoter: int, **more: Any) -> Json:
    """A version of the mall's standard rule, shares in basis points."""
    legs = [
        leg("SHARE", platform, "platform", min=10),
        leg("SHARE", promoter, "promoter"),
        leg("REMAINDER", 0, "merchant"),
    ]
    return {"legs": legs, **more}


TIERS = [
    leg("SHARE", 200, "platform"),
    leg("SHARE", 6_000),
    leg("SHARE", 5_000, parent=1),
    leg("SHARE", 4_000, "mill", parent=2),
    leg("SHARE", 1_000, "farm", parent=2),
    leg("REMAINDER", 0, "workshop", parent=2),
    leg("REMAINDER", 0, "carrier", parent=1),
    leg("REMAINDER", 0, "merchant"),
]
RULES: Json = {
    "standard": {
        "versions": [
            standard(600, 1_000),
            standard(400, 1_200, terms={"max_share_out": 3_000}, effective_from=f"+{EFFECT_S}"),
            standard(2_500, 1_000, effective_from="+600"),
            standard(300, 1_000, effective_from="+1"),
        ]
    },
    "agency": [
        leg("GIVEN", 3_000, "agent", max=2_000),
        leg("SHARE", 100, "platform"),
        leg("REMAINDER", 0, "merchant"),
    ],
    "capped": {
        "versions": [
            {
                "legs": [leg("SHARE", 2_500, "promoter"), leg("REMAINDER", 0, "merchant")],
                "terms": {"max_share_out": 2_000},
            }
        ]
    },
    "parking": {
        "versions": [
            {
                "legs": [leg("SHARE", 500, "courier"), leg("REMAINDER", 0, "merchant")],
                "terms": {"park": True},
            }
        ]
    },
    "plain": [leg("SHARE", 500, "platform"), leg("REMAINDER", 0, "merchant")],
    "seasonal": [leg("FIXED", 300, "courier"), leg("REMAINDER", 0, "merchant")],
    "group-buy": [
        leg("SHARE", 200, "platform"),
        leg("REMAINDER"),
        leg("SHARE", 1_500, "leader", parent=1, min=50, max=3_000),
        leg("REMAINDER", 0, "merchant", parent=1),
    ],
    "on-credit": {
        "versions": [
            {
                "legs": [leg("SHARE", 2_000, "guide"), leg("REMAINDER", 0, "merchant")],
                "terms": {"may_owe": True},
            }
        ]
    },
    "tiers": {
        "versions": [
            {"legs": TIERS},
            {"legs": [leg("SHARE", 150, "platform"), *TIERS[1:]], "effective_from": "+900"},
        ]
    },
}
RULES_OF = {
    BAZAAR: ["standard", "agency", "capped", "parking", "plain", "seasonal"],
    TUAN: ["group-buy", "on-credit"],
    PORTAL: ["tiers"],
}
PLACES = {
    OPENING: {"workshop-1": "brand-1", "workshop-2": "brand-1", "workshop-3": "brand-2"},
    MORNING: {"mill-1": "workshop-1", "mill-2": "workshop-3", "carrier-1": "brand-1"},
    NOON: {"farm-1": "mill-1", "farm-2": "mill-2"},
}
"""Who is placed below whom, in which part."""
PARENTS = {name: parent for places in PLACES.values() for name, parent in places.items()}


def numbered(kind: str, count: int) -> list[str]:
    """Names of participants of a kind."""
    return [f"{kind}-{number}" for number in range(1, count + 1)]


PARTICIPANTS = {
    kind: numbered(kind, count)
    for kind, count in {
        "merchant": 8,
        "promoter": 4,
        "agent": 3,
        "courier": 3,
        "shop": 6,
        "leader": 4,
        "guide": 3,
        "brand": 2,
        "workshop": 3,
        "mill": 2,
        "farm": 2,
        "carrier": 2,
    }.items()
}


def roles_of_leaves(legs: Sequence[Json]) -> list[str]:
    """Role of each leaf."""
    return [each["role"] for each in legs if "role" in each]


def legs_of(rule: str, version: int) -> list[Json]:
    """Legs of a version."""
    found = RULES[rule]
    legs: list[Json] = found if isinstance(found, list) else found["versions"][version - 1]["legs"]
    return legs
