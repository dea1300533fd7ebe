"""Orders of the second market day with what becomes of them, by plain arithmetic: nothing of fenzhang is used."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from scenarios.market_day_2.market import (
    OPENING,
    PARTICIPANTS,
    PARTS,
    Json,
    legs_of,
    roles_of_leaves,
)


def divide(legs: Sequence[Json], amount: int, given: Sequence[int] = ()) -> list[int]:
    """Amounts of the leaves, in leg order."""
    pools, left, gifts = {-1: amount}, {-1: amount}, iter(given)
    for number, each in enumerate(legs):
        parent = each["parent"]
        match each["kind"]:
            case "FIXED":
                take = each["value"]
            case "GIVEN":
                take = next(gifts)
            case "SHARE":
                take = max(pools[parent] * each["value"] // 10_000, each.get("min", 0))
                take = min(take, each["max"]) if each.get("max") else take
            case _:
                take = left[parent]
        if take > left[parent]:
            raise ValueError(f"leg {number} takes {take} of {left[parent]}")
        left[parent] -= take
        pools[number] = left[number] = take
    inner = {each["parent"] for each in legs}
    return [pools[number] for number in range(len(legs)) if number not in inner]


def spread(weights: Sequence[int], amount: int) -> list[int]:
    """An amount in proportion to weights: the first k together get the rounded down share of the first k."""
    if amount == 0:
        return [0] * len(weights)
    takes, whole, so_far, given = [], sum(weights), 0, 0
    for weight in weights:
        so_far += weight
        takes.append(so_far * amount // whole - given)
        given += takes[-1]
    return takes


class Day:
    """What happens, and what it comes to."""

    def __init__(self) -> None:
        self.chance = random.Random(20_261_112)
        self.sales: list[Sale] = []
        self.acts: dict[str, list[Json]] = {name: [] for name in PARTS}
        self.counts: Counter[str] = Counter(
            dict.fromkeys(("captured", "settled", "released", "returned", "refunded", "rejected"), 0)
        )
        self.reasons: Counter[str] = Counter()
        self.positions: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def act(self, part: str, op: str, platform: str, ref: str = "", refused: str = "", **values: Any) -> None:
        """Something happens beside the orders."""
        act: Json = {"op": op, "platform": platform, **({"ref": ref} if ref else {}), **values}
        if refused:
            act["expect"] = {"state": "REFUSED", "reason": refused}
        self.acts[part].append(act)

    def failed(self, state: str, reason: str) -> Json:
        """A write is refused or rejected."""
        self.counts["rejected"] += 1
        self.reasons[reason] += 1
        return {"state": state, "reason": reason}

    def sale(self, platform: str, *what: Any, **more: Any) -> Sale:
        """An order, as `Sale` has it."""
        self.sales.append(Sale(self, f"{platform}-1112-{len(self.sales) + 1:04}", platform, *what, **more))
        return self.sales[-1]

    def amount(self) -> int:
        """Of an order, heavy-tailed."""
        return int(900 * self.chance.paretovariate(1.3)) % 5_000_000 + 100

    def one_of(self, kind: str) -> str:
        """Somebody of a kind."""
        return self.chance.choice(PARTICIPANTS[kind])


class Sale:
    """An order with its steps, as they become of it."""

    def __init__(  # noqa: PLR0917 -- an order has many fields
        self,
        day: Day,
        ref: str,
        platform: str,
        rule: str,
        amount: int,
        merchant: str,
        roles: dict[str, str] | None = None,
        *,
        currency: str = "CNY",
        part: str = OPENING,
        version: int = 1,
        refused: str = "",
        **more: Any,
    ) -> None:
        self.day, self.ref, self.part, self.version, self.rule = day, ref, part, version, rule
        self.currency, self.merchant, self.held = currency, merchant, amount
        self.roles = {"merchant": merchant, "platform": platform, **(roles or {})}
        self.past: dict[str, tuple[list[str], list[int]]] = {}
        """Recipients and what they still have, by record."""
        self.splits: list[int] = []
        self.sums: Counter[str] = Counter()
        self.ends: Json = {"rule_version": version}
        self.captured = not refused
        named = roles_of_leaves(legs_of(rule, version))
        self.line: Json = {
            "order_ref": ref,
            "platform": platform,
            "part": part,
            "currency": currency,
            "amount": amount,
            "channel": "bank-gateway",
            "rule": rule,
            "merchant": merchant,
            "bindings": {role: name for role, name in self.roles.items() if role in named},
            **more,
            "expect": day.failed("REFUSED", refused) if refused else "SETTLED",
            "steps": [],
        }
        if self.captured:
            day.counts["captured"] += 1
            day.positions[currency]["(captured)"] += amount

    def then(self, part: str) -> Sale:
        """What follows happens in this part."""
        self.part = part
        return self

    def split(self, amount: int, given: Sequence[int] = (), waits: str = "", *, later: bool = False) -> Sale:
        """A split that settles. The share of somebody who is suspended `waits`; `later` waits for a condition."""
        legs = legs_of(self.rule, self.version)
        names = [self.roles[role] for role in roles_of_leaves(legs)]
        names = [f"{name} (waits)" if name == waits else name for name in names]
        shares = divide(legs, amount, given)
        more: Json = {**({"given": list(given)} if given else {}), **({"waits": True} if later else {})}
        ref = self._step("split", "S", settled=zip(names, shares, strict=True), amount=amount, **more)
        self.past[ref] = (names, shares.copy())
        self.splits.append(amount)
        self.held -= amount
        self.sums["split"] += amount
        self.day.counts["settled"] += 1
        return self

    def give_back(self, amount: int, of: int = 1, amounts: Sequence[int] = ()) -> Sale:
        """A return of the split number `of`, spread or as the amounts say."""
        name = f"{self.ref}-S{of}"
        names, left = self.past[name]
        takes = list(amounts) or spread(left, amount)
        more: Json = {"amounts": takes} if amounts else {}
        self._step(
            "return", "R", settled=zip(names, takes, strict=True), split_ref=name, amount=amount, **more
        )
        self._take([name], takes)
        self.held += amount
        self.sums["returned"] += amount
        self.day.counts["returned"] += 1
        return self

    def refund(self, amount: int) -> Sale:
        """A refund: of what is held, then of what everybody got."""
        from_held = min(self.held, amount)
        names = [name for holders, _ in self.past.values() for name in holders]
        left = [each for _, amounts in self.past.values() for each in amounts]
        takes = spread(left, amount - from_held)
        told = zip(names, takes, strict=True)
        self._step("refund", "F", settled=told, more={"from_held": from_held}, amount=amount)
        self._take(list(self.past), takes)
        self.held -= from_held
        self.sums["refunded"] += amount
        self.day.counts["refunded"] += 1
        return self

    def release(self) -> Sale:
        """The rest goes to the merchant."""
        ref = self._step("release", "L")
        self._close(ref)
        self.day.counts["released"] += 1
        return self

    def expires(self) -> Sale:
        """The rest goes to the merchant by itself."""
        self.sums["released_by_expiry"] += self.held
        self._close(f"expiry {len(self.past)}")
        return self

    def missed(self) -> Sale:
        """Its condition was missed: all of it goes back to the buyer by itself."""
        self.sums["refunded"] += self.held
        self.ends["refunded_as_missed"] = self.held
        self.held = 0
        return self

    def fails(self, state: str, reason: str, op: str, letter: str, **values: Any) -> Sale:
        """A step that is REFUSED by the API or REJECTED by the chain."""
        ref = f"{self.ref}-{letter}{len(self.line['steps']) + 1}x"
        expect = self.day.failed(state, reason)
        self.line["steps"].append({"op": op, "ref": ref, "part": self.part, **values, "expect": expect})
        return self

    def no_split(self, amount: int, state: str, reason: str, **values: Any) -> Sale:
        """A split that does not come about."""
        return self.fails(state, reason, "split", "S", amount=amount, **values)

    def no_return(self, amount: int, state: str, reason: str) -> Sale:
        """A return of the first split that does not come about."""
        return self.fails(state, reason, "return", "R", split_ref=f"{self.ref}-S1", amount=amount)

    def no_refund(self, amount: int, state: str, reason: str) -> Sale:
        """A refund that does not come about."""
        return self.fails(state, reason, "refund", "F", amount=amount)

    def resolved(self, name: str, heir: str = "") -> Sale:
        """What waited for somebody is its own now, or its heir's, who gives it back if need be."""
        for names, _ in self.past.values():
            names[:] = [(heir or name) if each == f"{name} (waits)" else each for each in names]
        return self

    def told(self) -> Json:
        """The line of the orders file."""
        if not self.captured:
            return self.line
        names = ("split", "returned", "released", "refunded", "released_by_expiry")
        end = {"held": self.held, **{name: self.sums[name] for name in names}, **self.ends}
        return {**self.line, "end": end}

    def book(self) -> None:
        """Add what stands at the end to the positions of all."""
        if not self.captured:
            return
        money = self.day.positions[self.currency]
        money["(held)"] += self.held
        money["(refunded)"] += self.sums["refunded"]
        for names, left in self.past.values():
            for name, amount in zip(names, left, strict=True):
                money[name] += amount

    def _step(
        self,
        op: str,
        letter: str,
        settled: Iterable[tuple[str, int]] | None = None,
        more: Json | None = None,
        **values: Any,
    ) -> str:
        number = sum(step["op"] == op and not step["ref"].endswith("x") for step in self.line["steps"]) + 1
        ref = f"{self.ref}-{letter}{number}"
        expect: Json = {"state": "SETTLED", **(more or {})}
        if settled is not None:
            expect["allocations"] = [list(pair) for pair in settled]
        self.line["steps"].append({"op": op, "ref": ref, "part": self.part, **values, "expect": expect})
        return ref

    def _take(self, records: Sequence[str], takes: Sequence[int]) -> None:
        amounts = iter(takes)
        for record in records:
            left = self.past[record][1]
            for place in range(len(left)):
                left[place] -= next(amounts)

    def _close(self, record: str) -> None:
        self.past[record] = ([self.merchant], [self.held])
        self.sums["released"] += self.held
        self.held = 0
