"""Traffic as platforms make it, and what must come of it: a model that knows nothing of the system but the rules."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from fenzhang.chain.signer import LocalKey
from fenzhang.client import (
    ApiError,
    AsyncClient,
    Client,
    Credentials,
    InstructionType,
    NewInstruction,
    NewOrder,
    NewRefund,
    NewRelease,
    NewReturn,
    NewSplit,
    PlatformKey,
    Refused,
    RetryPolicy,
    State,
)
from fenzhang.domain.allocation import Allocation, allocate, spread_takes, take_back
from fenzhang.domain.errors import Rejection
from fenzhang.domain.rules import Leg, LegKind
from fenzhang.testing.system import LocalSystem
from support.faults.system import FaultSystem

PATIENT = RetryPolicy(patience_s=600.0, longest_pause_s=0.5, timeout_s=60.0)
"""A client that never gives up: what it has sent ends answered."""
CURRENCY, CHANNEL, RULE = "CNY", "wechat", "five-ways"
ROLES = ("logistics", "supplier", "promoter", "leader", "merchant")
LEGS = (
    Leg(-1, LegKind.FIXED, 3, role="logistics"),
    Leg(-1, LegKind.SHARE, 1_000, min=1, role="supplier"),
    Leg(-1, LegKind.SHARE, 500, role="promoter"),
    Leg(-1, LegKind.SHARE, 200, role="leader"),
    Leg(-1, LegKind.REMAINDER, role="merchant"),
)
MEMBERS = 3
"""Participants of each role."""
HELD, REFUNDED, CAPTURED = "(held)", "(refunded)", "(captured)"
Key = tuple[str, InstructionType, str]
"""Platform, type and reference: what a write is known by."""


@dataclass(slots=True)
class Model:
    """What the accepted instructions come to: the state each must end in, and money by platform and name."""

    states: dict[Key, State] = field(default_factory=dict)
    money: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))


@dataclass(slots=True)
class PaperOrder:
    """One order as it will be, if its instructions come in this sequence."""

    platform: str
    new: NewOrder
    held: int = 0
    splits: dict[str, list[Allocation]] = field(default_factory=dict)

    def play(self, item: NewInstruction, model: Model) -> None:
        """Add an instruction that was accepted to the model."""
        money = model.money[self.platform]
        try:
            taken, allocations = self._decide(item)
        except Rejection:
            model.states[self.platform, item.type, item.reference] = State.REJECTED
            return
        model.states[self.platform, item.type, item.reference] = State.SETTLED
        if isinstance(item, NewOrder):
            money[CAPTURED] += item.amount
        if isinstance(item, NewRefund):
            money[REFUNDED] += item.amount
        self.held -= taken
        money[HELD] -= taken
        for allocation in allocations:
            money[allocation.recipient.decode()] += allocation.amount

    def rejects(self, item: NewInstruction) -> bool:
        """Whether the chain would reject an instruction now."""
        try:
            self._decide(item)
        except Rejection:
            return True
        return False

    def _decide(self, item: NewInstruction) -> tuple[int, list[Allocation]]:
        """What is taken from the held money, and what positions gain or lose. Raises Rejection."""
        match item:
            case NewOrder():
                return -item.amount, []
            case NewSplit():
                if item.amount > self.held:
                    raise Rejection
                bindings = {role: name.encode() for role, name in self.new.bindings.items()}
                self.splits[item.out_split_no] = allocate(LEGS, item.amount, bindings)
                return item.amount, self.splits[item.out_split_no]
            case NewRelease():
                if not self.held:
                    raise Rejection
                self.splits[item.out_release_no] = [Allocation(self.new.merchant.encode(), self.held)]
                return self.held, self.splits[item.out_release_no]
            case NewReturn():
                return self._take_back(item)
            case NewRefund():
                return self._refund(item)

    def _refund(self, item: NewRefund) -> tuple[int, list[Allocation]]:
        leaves = [leaf for split in self.splits.values() for leaf in split]
        from_held = min(self.held, item.amount)
        if item.amount > self.held + sum(leaf.amount for leaf in leaves):
            raise Rejection
        takes = spread_takes([leaf.amount for leaf in leaves], item.amount - from_held)
        given = iter(takes)
        for name, split in self.splits.items():
            self.splits[name] = [Allocation(leaf.recipient, leaf.amount - next(given)) for leaf in split]
        taken = [Allocation(leaf.recipient, -take) for leaf, take in zip(leaves, takes, strict=True)]
        return from_held, taken

    def _take_back(self, item: NewReturn) -> tuple[int, list[Allocation]]:
        if item.out_split_no not in self.splits:
            raise Rejection
        left = self.splits[item.out_split_no]
        takes = take_back(b"", [leaf.amount for leaf in left], item.amount)
        taken = [Allocation(leaf.recipient, -take) for leaf, take in zip(left, takes, strict=True)]
        self.splits[item.out_split_no] = [
            Allocation(leaf.recipient, leaf.amount - take) for leaf, take in zip(left, takes, strict=True)
        ]
        return -item.amount, taken


@dataclass(slots=True)
class Platform:
    """A platform with its client. `signs` says whether it signs for itself."""

    name: str
    client: AsyncClient
    signs: bool
    id: bytes
    credentials: Credentials


@dataclass(slots=True)
class Traffic:
    """Writes orders of all platforms and keeps the model up to date with what was answered 2xx."""

    system: FaultSystem
    chosen: random.Random
    platforms: list[Platform] = field(default_factory=list)
    retired: list[Platform] = field(default_factory=list)
    """Platforms that write no more, and count all the same."""
    model: Model = field(default_factory=Model)
    refused: list[str] = field(default_factory=list)
    """Answers that no instruction of this traffic may get."""
    sent: int = 0
    _mark: str = field(default_factory=lambda: secrets.token_hex(3))
    _number: int = 0

    async def prepare(self, names: Sequence[tuple[str, bool]] = (("plaza", False), ("bazaar", True))) -> None:
        """Enrol platforms and their participants, and put the rule in force."""
        keys = {name: LocalKey(self.chosen.randbytes(32)) if signs else None for name, signs in names}
        async with asyncio.TaskGroup() as group:
            for name, key in keys.items():
                group.create_task(self.join(name, key))
        self.platforms.sort(key=lambda platform: platform.name)

    async def join(self, name: str, key: LocalKey | None) -> Platform:
        """A new platform, ready for orders. It signs with `key`, or the keystore does."""
        platform = await asyncio.to_thread(self._join, name, key)
        await self.system.make_final()
        self.platforms.append(platform)
        return platform

    def _join(self, name: str, key: LocalKey | None) -> Platform:
        local = LocalSystem(self.system.endpoints)
        credentials = local.new_app(name, key)
        own = None if key is None else PlatformKey(key=key, platform=name)
        with Client(local.api, credentials, key=own, policy=PATIENT) as client:
            local.enrol(client, [f"{role}-{number}" for role in ROLES for number in range(MEMBERS)])
            local.put_rule_in_force(client, name, RULE, LEGS)
        with local.operator() as operator:
            found = bytes.fromhex(operator.get_platform(name).participant_id.removeprefix("0x"))
        client_for_traffic = AsyncClient(local.api, credentials, key=own, policy=PATIENT)
        return Platform(name, client_for_traffic, key is not None, found, credentials)

    async def close(self) -> None:
        """Close the clients."""
        for platform in self.everybody:
            await platform.client.close()

    @property
    def everybody(self) -> list[Platform]:
        """All platforms."""
        return [*self.platforms, *self.retired]

    # -------------------------------------------------------------------------- orders

    def new_order(self, platform: Platform, amount: int | None = None) -> PaperOrder:
        """An order that nobody knows yet."""
        merchant = f"merchant-{self.chosen.randrange(MEMBERS)}"
        bindings = {role: f"{role}-{self.chosen.randrange(MEMBERS)}" for role in ROLES[:-1]}
        new = NewOrder(
            out_order_no=self._reference("O"),
            out_rule_no=RULE,
            merchant=merchant,
            currency=CURRENCY,
            amount=amount or self.chosen.randint(500, 5_000),
            channel=CHANNEL,
            bindings={**bindings, "merchant": merchant},
        )
        return PaperOrder(platform.name, new)

    def _reference(self, kind: str) -> str:
        self._number += 1
        return f"{self._mark}-{kind}{self._number}"

    def life(self, order: PaperOrder) -> list[NewInstruction]:
        """What happens to an order: mostly sensible, sometimes more than there is."""
        name = order.new.out_order_no
        items: list[NewInstruction] = [order.new]
        splits: list[NewSplit] = []
        for _ in range(self.chosen.randint(1, 4)):
            match self.chosen.randrange(7):
                case 0 | 1 | 2:
                    split = self.split(order, self.chosen.randint(1, 2_000))
                    splits.append(split)
                    items.append(split)
                case 3 | 4 if splits:
                    split = self.chosen.choice(splits)
                    items.append(self.give_back(split, self.chosen.randint(1, split.amount + 20)))
                case 5:
                    items.append(NewRelease(out_release_no=self._reference("R"), out_order_no=name))
                case 6:
                    amount = self.chosen.randint(1, order.new.amount + 20)
                    items.append(
                        NewRefund(out_refund_no=self._reference("F"), out_order_no=name, amount=amount)
                    )
                case _:
                    items.append(self.split(order, order.new.amount + 1))
        return items

    def split(self, order: PaperOrder, amount: int) -> NewSplit:
        """A split of an order."""
        number = order.new.out_order_no
        return NewSplit(out_split_no=self._reference("S"), out_order_no=number, amount=amount)

    def give_back(self, split: NewSplit, amount: int) -> NewReturn:
        """A return from a split."""
        return NewReturn(out_return_no=self._reference("B"), out_split_no=split.out_split_no, amount=amount)

    # -------------------------------------------------------------------------- sending

    async def send_orders(self, count: int, workers: int = 8, pause_s: float = 0.0) -> None:
        """Send the lives of `count` new orders, by several clients at once, with pauses between two orders."""
        queue = [self.new_order(self.chosen.choice(self.platforms)) for _ in range(count)]
        lives = [(order, self.life(order)) for order in queue]
        batched = {place for place in range(count) if self.chosen.random() < 0.3}

        async def work(first: int) -> None:
            for place in range(first, count, workers):
                order, items = lives[place]
                platform = self._platform(order.platform)
                if place in batched and not platform.signs:
                    await self.send_batch(platform, [(order, items)])
                else:
                    for item in items:
                        await self.send(platform, order, item)
                if pause_s:
                    await asyncio.sleep(pause_s)

        async with asyncio.TaskGroup() as group:
            for first in range(workers):
                group.create_task(work(first))

    async def send(self, platform: Platform, order: PaperOrder, item: NewInstruction) -> None:
        """Send one instruction until it is answered, and note what it must come to."""
        try:
            await self._request(platform.client, item)
        except ApiError as error:
            self._refused(order, item, f"{error.code} {error.message}")
        else:
            order.play(item, self.model)
            self.sent += 1

    @staticmethod
    async def _request(client: AsyncClient, item: NewInstruction) -> None:
        match item:
            case NewOrder():
                await client.create_order(item)
            case NewSplit():
                await client.split(item)
            case NewRelease():
                await client.release(item)
            case NewReturn():
                await client.return_(item)
            case NewRefund():
                await client.refund(item)

    def _refused(self, order: PaperOrder, item: NewInstruction, why: str) -> None:
        """Intake may refuse what it knows that the chain would reject, such as a return from a rejected split."""
        if not order.rejects(item):
            self.refused.append(f"{item.reference} was refused: {why}")

    async def send_batch(
        self, platform: Platform, lives: Sequence[tuple[PaperOrder, Sequence[NewInstruction]]]
    ) -> None:
        """Send whole lives in one request."""
        items = [(order, item) for order, life in lives for item in life]
        answers = await platform.client.submit([item for _, item in items])
        for (order, item), answer in zip(items, answers, strict=True):
            if isinstance(answer, Refused):
                self._refused(order, item, f"{answer.code} {answer.detail}")
                continue
            order.play(item, self.model)
            self.sent += 1

    def _platform(self, name: str) -> Platform:
        [found] = [platform for platform in self.platforms if platform.name == name]
        return found
