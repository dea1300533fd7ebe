"""Writes the second market day: what happens, and what must come of it, a second opinion by plain arithmetic.

From the folder tests, after a change of the day:

    python -m scenarios.market_day_2.make_day
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from scenarios.market_day_2.market import (
    AFTERNOON,
    BAZAAR,
    DAWN,
    DEADLINE_S,
    EVENING,
    EVENING_S,
    EXPIRY_S,
    HOLD_S,
    LOCK_S,
    MIDNIGHT,
    MORNING,
    NIGHT,
    NOON,
    OPENING,
    PARENTS,
    PARTICIPANTS,
    PLACES,
    PORTAL,
    RULES,
    RULES_OF,
    TUAN,
    Json,
    legs_of,
    roles_of_leaves,
)
from scenarios.market_day_2.sales import Day, Sale, divide


def ordinary_business(day: Day) -> None:
    """Orders of all three platforms, and what is usual with them."""
    for number in range(60):
        sale = standard_sale(day, OPENING, 1)
        sale.split(sale.held * 2 // 3 + 1 if number % 4 == 0 else sale.held)
        if number % 8 == 0 and sale.held:
            sale.release()
        elif sale.held:
            sale.split(sale.held)
    for number in range(50):
        sale = group_sale(day, OPENING, day.amount() + 300)
        sale.split(sale.held)
        if number % 5 == 0:
            sale.then(MORNING).give_back(sale.sums["split"] // 2).then(NOON).release()
    for number in range(36):
        sale = tiers_sale(day, OPENING if number % 2 else NOON, "JPY" if number % 4 == 3 else "CNY")
        sale.split(sale.held)
        if number % 9 == 0:
            sale.then(AFTERNOON).give_back(sale.sums["split"] // 4).refund(sale.sums["split"] // 3)


def debts(day: Day) -> None:
    """Recipients who may owe by the terms of the rule. Nothing was paid out yet, so nobody does."""
    for number in range(12):
        sale = day.sale(TUAN, "on-credit", day.amount(), day.one_of("shop"), {"guide": day.one_of("guide")})
        sale.split(sale.held)
        if number % 3 == 0:
            sale.then(AFTERNOON).refund(sale.sums["split"])


def standard_sale(day: Day, part: str, version: int, **more: Any) -> Sale:
    """An order of the mall by its standard rule; its splits are asked about in the what-if."""
    roles = {"promoter": day.one_of("promoter")}
    return day.sale(
        BAZAAR, "standard", day.amount(), day.one_of("merchant"), roles, part=part, version=version, **more
    )


def group_sale(day: Day, part: str, amount: int, **more: Any) -> Sale:
    """An order of a group."""
    return day.sale(
        TUAN, "group-buy", amount, day.one_of("shop"), {"leader": day.one_of("leader")}, part=part, **more
    )


def tiers_sale(day: Day, part: str, currency: str = "CNY") -> Sale:
    """An order of the supply chain."""
    roles = {kind: day.one_of(kind) for kind in ("mill", "farm", "workshop", "carrier")}
    return day.sale(
        PORTAL, "tiers", day.amount() * 10, day.one_of("brand"), roles, part=part, currency=currency
    )


def plain_sale(day: Day, amount: int = 10_000, part: str = OPENING, **more: Any) -> Sale:
    """An order of the mall of which only the platform gets a share."""
    return day.sale(BAZAAR, "plain", amount, "merchant-1", part=part, **more)


def usual_mistakes(day: Day) -> None:
    """Splits, returns, refunds and releases that are too much."""
    plain_sale(day).no_split(10_001, "REJECTED", "insufficient_held").split(10_000).no_return(
        10_001, "REJECTED", "insufficient_returnable"
    )
    sale = plain_sale(day, 9_999).split(4_000).then(MORNING).refund(7_000)
    sale.then(NOON).no_refund(3_000, "REJECTED", "insufficient_refundable").then(AFTERNOON).refund(2_999)
    plain_sale(day, 5_000).split(5_000).fails("REJECTED", "nothing_held", "release", "L")
    sale = plain_sale(day, 7_000).split(7_000).then(MORNING).give_back(1_000, amounts=[100, 900])
    sale.then(NOON).no_split(0, "REFUSED", "invalid_amount").split(1_000)
    day.sale(BAZAAR, "seasonal", 250, "merchant-2", {"courier": "courier-1"}).no_split(
        250, "REJECTED", "leg_exceeds_remaining"
    ).release()


def given_amounts(day: Day) -> None:
    """Commissions that the platform computes, within the bounds of the rule."""
    for number in range(24):
        sale = day.sale(
            BAZAAR, "agency", day.amount() + 500, day.one_of("merchant"), {"agent": day.one_of("agent")}
        )
        most = min(sale.held * 3_000 // 10_000, 2_000)
        sale.split(sale.held, [day.chance.randint(0, most)])
        if number % 6 == 0:
            sale.then(MORNING).refund(sale.sums["split"] // 3)
    sale = day.sale(BAZAAR, "agency", 10_000, "merchant-3", {"agent": "agent-1"})
    sale.split(4_000, [1_111]).no_split(6_000, "REFUSED", "given_out_of_bounds", given=[1_801])
    sale.no_split(6_000, "REFUSED", "given_count").split(6_000, [1_800]).then(MORNING).give_back(600, of=2)


def caps_and_consent(day: Day) -> None:
    """A cap in the terms of a rule, one of a platform, and a promoter who has had enough for some hours."""
    roles = {"promoter": "promoter-1"}
    sale = day.sale(BAZAAR, "capped", 10_000, "merchant-4", roles)
    sale.no_split(10_000, "REFUSED", "share_out_above_cap").split(6_000).no_split(
        4_000, "REJECTED", "share_out_above_cap"
    ).split(2_000)
    sale.then(MORNING).give_back(4_000).then(NOON).split(3_999)
    day.act(NOON, "cap", TUAN, "cap-1", max_share_out=1_500)
    capped = day.sale(TUAN, "group-buy", 8_000, "shop-1", {"leader": "leader-1"})
    capped.then(NOON).no_split(8_000, "REFUSED", "share_out_above_cap").split(7_000)
    day.act(AFTERNOON, "cap", TUAN, "cap-2", max_share_out=0)
    capped.then(AFTERNOON).split(1_000)

    before = day.sale(BAZAAR, "capped", 3_000, "merchant-5", {"promoter": "promoter-2"})
    day.act(MORNING, "consent", BAZAAR, "consent-1", participant="promoter-2", granted=False)
    before.then(MORNING).split(2_000)
    for part, refused in ((MORNING, "recipient_not_consented"), (AFTERNOON, "")):
        again = day.sale(
            BAZAAR, "capped", 3_000, "merchant-5", {"promoter": "promoter-2"}, part=part, refused=refused
        )
        if not refused:
            again.split(1_500).release()
    day.act(NOON, "consent", BAZAAR, "consent-2", participant="promoter-2", granted=True)


def holds_and_expiry(day: Day) -> None:
    """Orders that are kept back, and orders that are released by themselves."""
    for number in range(4):
        held = plain_sale(day, 6_000 + number, hold_until=f"+{HOLD_S}")
        held.no_split(1_000, "REFUSED", "on_hold")
        if number == 0:
            held.then(MORNING).refund(500)  # a hold is there for the buyer
        held.then(EVENING).split(5_000).release()
    plain_sale(day, hold_until="+9", expires_at="+9", refused="hold_beyond_expiry")
    expiring = []
    for number in range(4):
        sale = day.sale(
            TUAN, "group-buy", 9_000 + number, "shop-2", {"leader": "leader-2"}, expires_at=f"+{EXPIRY_S}"
        )
        expiring.append(sale.split(4_000).expires())
    day.act(EVENING, "expiry", TUAN, orders=[sale.ref for sale in expiring])
    expiring[0].then(EVENING).no_split(1_000, "REFUSED", "order_expired").give_back(1_000).expires()
    day.act(NIGHT, "expiry", TUAN, orders=[expiring[0].ref])


def disputes(day: Day) -> None:
    """Frozen by one guardian, let go by another."""
    order, split = (plain_sale(day).split(6_000) for _ in range(2))
    guide = day.sale(TUAN, "on-credit", 5_000, "shop-3", {"guide": "guide-3"}).split(5_000)
    frozen = {
        "case-1": (BAZAAR, {"order": order.ref}),
        "case-2": (BAZAAR, {"order": split.ref, "split": f"{split.ref}-S1"}),
        "case-3": (TUAN, {"participant": "guide-3"}),
    }
    for case, (platform, what) in frozen.items():
        day.act(MORNING, "freeze", platform, case, reason="buyer-dispute", **what)
        day.act(AFTERNOON, "unfreeze", platform, f"{case}-end", reason="solved", **what)
    own = {"refused": "guardian_is_freezer", "by": "guardian", "reason": "solved"}
    day.act(NOON, "unfreeze", BAZAAR, "case-1-own", order=order.ref, **own)
    day.act(NOON, "freeze", BAZAAR, "case-1-twice", "already_frozen", reason="fraud", order=order.ref)
    order.then(MORNING).no_split(1_000, "REFUSED", "order_frozen").no_refund(100, "REFUSED", "order_frozen")
    split.then(MORNING).no_return(100, "REFUSED", "split_frozen").split(1_000)
    split.then(NOON).no_refund(3_001, "REJECTED", "split_frozen")
    guide.then(MORNING).no_refund(1_000, "REJECTED", "participant_frozen")
    order.then(EVENING).give_back(6_000).refund(10_000)
    split.then(EVENING).give_back(5_000, of=1).release()
    guide.then(EVENING).refund(1_000)


def suspension(day: Day) -> None:
    """A courier that is suspended for an afternoon, and one that is closed for ever.

    What is split meanwhile is rejected, or their shares wait.
    """
    roles = {"courier": "courier-2"}
    sale = day.sale(BAZAAR, "seasonal", 4_000, "merchant-6", roles)
    parked = day.sale(BAZAAR, "parking", 8_000, "merchant-6", roles).split(1_000)
    day.act(AFTERNOON, "suspend", BAZAAR, "suspend-1", participant="courier-2")
    sale.then(AFTERNOON).no_split(4_000, "REJECTED", "recipient_not_active")
    parked.then(AFTERNOON).split(6_000, waits="courier-2")
    day.act(EVENING, "resume", BAZAAR, "resume-1", participant="courier-2")
    sale.then(EVENING).split(4_000)
    parked.then(EVENING).give_back(2_000, of=2)
    day.act(NIGHT, "resolve", BAZAAR, "resolve-2", participant="courier-2", currency="CNY")
    parked.resolved("courier-2").then(NIGHT).refund(4_000)

    left = day.sale(BAZAAR, "parking", 7_000, "merchant-6", {"courier": "courier-3"})
    day.act(AFTERNOON, "close", BAZAAR, "close-3", participant="courier-3")
    left.then(AFTERNOON).split(7_000, waits="courier-3")
    day.act(EVENING, "heir", BAZAAR, "heir-3", participant="courier-3", heir="courier-1")
    day.act(NIGHT, "resolve", BAZAAR, "resolve-3", participant="courier-3", currency="CNY")
    left.resolved("courier-3", "courier-1").then(NIGHT).give_back(1_000)
    day.act(NIGHT, "resume", BAZAAR, "resume-3", "participant_not_suspended", participant="courier-3")


def governance(day: Day) -> None:
    """A second version, a vetoed third one, one inside the approval lock, and a rule that is retired."""
    rule = {"rule": "standard"}
    day.act(OPENING, "propose", BAZAAR, "propose-2", version=2, **rule)
    day.act(MORNING, "approve", BAZAAR, "approve-2", version=2, **rule)
    day.act(MORNING, "propose", BAZAAR, "propose-3", version=3, **rule)
    day.act(NOON, "approve", BAZAAR, "approve-3", version=3, **rule)
    day.act(AFTERNOON, "veto", BAZAAR, "veto-3", version=3, reason="share_too_high", **rule)
    day.act(AFTERNOON, "approval_lock", BAZAAR, seconds=LOCK_S, **rule)
    day.act(EVENING, "propose", BAZAAR, "propose-4", "effective_within_lock", version=4, **rule)
    day.act(AFTERNOON, "propose", PORTAL, "propose-tiers-2", rule="tiers", version=2)
    day.act(EVENING, "approve", PORTAL, "approve-tiers-2", rule="tiers", version=2)
    day.act(NIGHT, "approval_lock", BAZAAR, seconds=0, **rule)
    changed = [
        {"role": role, "fields": [{"field": "value", "before": before, "after": after}]}
        for role, before, after in (("platform", 600, 400), ("promoter", 1_000, 1_200))
    ]
    terms = [{"field": "max_share_out", "before": 0, "after": 3_000}]
    answer = {"same_legs": False, "terms": terms, "changed": changed, "added": [], "removed": [], "moved": []}
    versions: Json = {"from": 1, "to": 2}
    day.act(AFTERNOON, "diff", BAZAAR, **rule, **versions, answer=answer)
    for version, why in ((1, "rule_superseded"), (3, "rule_vetoed"), (4, "unknown_rule")):
        standard_sale(day, NIGHT, 1, rule_version=version, refused=why)

    seasonal = day.sale(BAZAAR, "seasonal", 2_000, "merchant-7", {"courier": "courier-1"}).split(1_000)
    day.act(MORNING, "retire", BAZAAR, "retire-1", rule="seasonal")
    roles = {"courier": "courier-1"}
    day.sale(BAZAAR, "seasonal", 2_000, "merchant-7", roles, part=NOON, refused="rule_retired")
    seasonal.then(NOON).split(1_000)


ENTRIES: list[Json] = [
    {"rule": "capped", "facts": {"promotion": "1112", "category": "tea"}, "valid_until": "+900"},
    {"rule": "plain", "facts": {"category": "tea"}, "amount_from": 100_000},
    {"rule": "agency", "facts": {"member_tier": "gold"}, "currency": "CNY"},
    {"rule": "parking", "facts": {"channel": "app"}},
    {"rule": "standard"},
]
"""The mall's schedule, the most specific entry first."""


def schedules(day: Day) -> None:
    """From midnight on the mall's schedule selects the rule of each order."""
    tie = [*ENTRIES[:2], {"rule": "capped", "facts": {"category": "tea"}, "amount_from": 5}, *ENTRIES[2:]]
    day.act(MORNING, "propose_schedule", BAZAAR, "schedule-0", "invalid_schedule", schedule=1, entries=tie)
    day.act(MORNING, "propose_schedule", BAZAAR, "schedule-1", schedule=1, entries=ENTRIES)
    day.act(MIDNIGHT, "approve_schedule", BAZAAR, "approve-schedule-1", schedule=1)
    roles = {"promoter": "promoter-1", "agent": "agent-1", "courier": "courier-1"}
    asked = [
        (0, 4_000, {"promotion": "1112", "category": "tea", "member_tier": "gold"}),
        (1, 100_000, {"category": "tea", "member_tier": "gold"}),
        (2, 99_999, {"category": "tea", "member_tier": "gold"}),
        (3, 3_000, {"promotion": "1111", "channel": "app"}),
        (4, 5_000, {"category": "toys"}),
        (4, 6_000, {}),
    ]
    for number, amount, facts in asked:
        rule = ENTRIES[number]["rule"]
        version = 2 if rule == "standard" else 1
        sale = day.sale(
            BAZAAR, rule, amount, "merchant-2", roles, part=MIDNIGHT, version=version, facts=facts
        )
        sale.ends["entry"] = number
        if facts:
            del sale.line["rule"]
        sale.split(amount // 2, [1_000] if rule == "agency" else ())
        answer = {"version": 1, "entry": number, "out_rule_no": rule}
        day.act(DAWN, "select", BAZAAR, amount=amount, currency="CNY", facts=facts, answer=answer)
    plain_sale(day, 5_000, MIDNIGHT, facts={"category": "tea"}, refused="rule_not_selected")


def conditions(day: Day) -> None:
    """A group that is complete, one that is not, and a parcel that the portal delivers for the mall."""
    day.act(OPENING, "open", TUAN, "group-1", needed=2, deadline="+600")
    day.act(OPENING, "open", TUAN, "group-2", needed=3, deadline=f"+{DEADLINE_S}")
    day.act(OPENING, "open", BAZAAR, "parcel-1", confirmer=PORTAL, deadline="+600")
    for _ in range(2):
        group_sale(day, OPENING, 12_000, condition="group-1").split(12_000)
    alone = [group_sale(day, OPENING, 11_000 + number, condition="group-2") for number in range(2)]
    for sale in alone:
        sale.no_split(11_000, "REJECTED", "condition_missed", waits=True).missed()
    day.act(EVENING, "expiry", TUAN, orders=[sale.ref for sale in alone])
    group_sale(day, EVENING, 9_000, condition="group-2", refused="condition_missed")
    group_sale(day, EVENING, 9_000, condition="group-9", refused="unknown_condition")
    plain_sale(day, 20_000, condition="parcel-1").split(20_000, later=True)
    day.act(MORNING, "confirm", BAZAAR, "delivered-1", condition="parcel-1", by=PORTAL)


def levels(day: Day) -> None:
    """Who stands below whom in the supply chain."""
    for part, places in PLACES.items():
        for name, parent in places.items():
            day.act(part, "place", PORTAL, f"place-{name}", participant=name, below=parent)
    day.act(
        AFTERNOON, "place", PORTAL, "move-1", "place_not_possible", participant="workshop-1", below="brand-2"
    )
    day.act(AFTERNOON, "place", PORTAL, "move-2", participant="workshop-2", below="brand-2")


def bulk_files(day: Day) -> None:
    """The evening's orders come as files, and some of their rows are refused."""
    for number in range(30):
        sale = standard_sale(day, EVENING, 2, file="evening.csv")
        if number % 10 == 9:
            sale.no_split(0, "REFUSED", "invalid_amount")
        sale.split(sale.held)
    unknown = {"merchant": "merchant-8", "promoter": "promoter-3"}
    day.sale(
        BAZAAR, "standard", 900, "merchant-8", unknown, part=EVENING, version=2, refused="unknown_currency"
    )
    day.sales[-1].line |= {"currency": "XXX", "file": "evening.csv"}
    for number in range(20):
        sale = group_sale(day, EVENING, day.amount(), file="night.jsonl")
        sale.split(sale.held)
        if number % 4 == 0:
            sale.then(NIGHT).refund(sale.sums["split"] // 2)


def what_if(day: Day) -> None:
    """What the vetoed version would have made of the standard orders."""
    asked = [sale for sale in day.sales if sale.rule == "standard" and sale.captured]
    draft = legs_of("standard", 3)
    actual: Counter[str] = Counter()
    instead: Counter[str] = Counter()
    for sale in asked:
        names = [sale.roles[role] for role in roles_of_leaves(draft)]
        for amount in sale.splits:
            for sums, version in ((actual, sale.version), (instead, 3)):
                for name, share in zip(names, divide(legs_of("standard", version), amount), strict=True):
                    sums[name] += share
    answer = {
        "orders": len(asked),
        "splits_replayed": sum(len(sale.splits) for sale in asked),
        "splits_not_replayed": 0,
        "participants": [
            {"out_participant_no": name, "actual": actual[name], "hypothetical": instead[name]}
            for name in sorted(actual)
        ],
    }
    day.act(NIGHT, "what_if", BAZAAR, rule="standard", version=3, answer=answer)


def make_day() -> Day:
    """All of it."""
    day = Day()
    for happening in (
        *(
            ordinary_business,
            debts,
            usual_mistakes,
            given_amounts,
            caps_and_consent,
            holds_and_expiry,
            disputes,
        ),
        *(suspension, governance, levels, bulk_files, what_if, schedules, conditions),
    ):
        happening(day)
    return day


def levels_at_the_end(day: Day) -> Json:
    """What everybody of the supply chain who has others below holds together with them."""
    parents = PARENTS | {"workshop-2": "brand-2"}
    together: dict[str, Counter[str]] = {name: Counter() for name in sorted(set(parents.values()))}
    for currency, money in day.positions.items():
        for name in {*parents, *parents.values()}:
            above: str | None = name
            while above is not None:
                if above in together and money[name]:
                    together[above][currency] += money[name]
                above = parents.get(above)
    return {PORTAL: {name: dict(sorted(sums.items())) for name, sums in together.items()}}


def write_day(folder: Path) -> None:
    """Write the files of the scenario."""
    day = make_day()
    lines = [sale.told() for sale in day.sales]
    for sale in day.sales:
        sale.book()
    parts = [
        {"name": name, **({"after": {OPENING: EVENING_S}} if name == EVENING else {}), "acts": acts}
        for name, acts in day.acts.items()
    ]
    positions = {currency: dict(sorted(money.items())) for currency, money in sorted(day.positions.items())}
    expected = {
        "counts": day.counts,
        "rejections": dict(sorted(day.reasons.items())),
        "positions": positions,
        "levels": levels_at_the_end(day),
    }
    participants = {"platforms": list(RULES_OF), "rules_of": RULES_OF, "participants": PARTICIPANTS}
    documents = {
        "participants.json": participants,
        "rules.json": RULES,
        "day.json": {"parts": parts},
        "expected.json": expected,
    }
    for name, content in documents.items():
        (folder / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    orders = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    (folder / "orders.jsonl").write_text(orders, encoding="utf-8")


if __name__ == "__main__":
    write_day(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
